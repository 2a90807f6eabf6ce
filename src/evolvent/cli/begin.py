"""Commands of the first hour: demo and init.

Not here: the demo's steps (`evolvent.demo`), the settings' meaning (`plan.py`).
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from evolvent.cli.base import HERE, AsJson, Dir, Told, emit, opened, show
from evolvent.errors import CheckFailed, UsageError


def demo(
    folder: Annotated[Path, typer.Option("--dir", "-C", file_okay=False, help="Folder of the demo.")] = Path(
        "evolvent-demo"
    ),
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Seed of all randomness but the judge's.")] = None,
    turns: Annotated[int | None, typer.Option("--turns", min=1, help="Turns of the loop.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start over: delete the demo that is there.")] = False,
    as_json: AsJson = False,
) -> None:
    """A whole run on the shipped seed model, a forced mistake, its rollback, and the report."""
    started = time.monotonic()
    from evolvent.cli.live import Live, spent_before
    from evolvent.cli.publish import REPORT, audited, gain_row, write_report
    from evolvent.demo import play, prepare
    from evolvent.inputs import seed_files
    from evolvent.report import terminal

    run = prepare(folder, seed=seed, turns=turns, fresh=fresh)
    if not seed_files(run.settings.model):
        raise UsageError(
            f"demo: this installation lacks the seed model {run.settings.model!r}; install the package again"
        )
    last = run.settings.goal.turns
    with Live(run.settings, run.evidence, turns=last, as_json=as_json, bar=True, spent=spent_before(run)) as live:
        play(run, on_event=live.on_event, on_stage=live.on_stage, say=live.say)
    findings = audited(folder)
    story = write_report(folder, folder / REPORT, findings)
    with opened(folder) as (_, ledger):
        kinds = [(event.kind, event.payload.get("forced", False)) for event in ledger.events()]
    result = {
        "seconds": round(time.monotonic() - started),
        "promoted": kinds.count(("promoted", False)),
        "rejected": kinds.count(("rejected", False)),
        "rolled_back": kinds.count(("rolled_back", False)),
        "skills": {name: gain_row(gain) for name, gain in story.gains.items()},
        "audit": "failed" if findings.wrong else "ok",
        "report": str(folder / REPORT),
    }
    if as_json:
        emit(result)
    else:
        counts = ((result["promoted"], "promoted by the gate"), (result["rejected"], "rejected"))
        said = ", ".join(f"{n} {what}" for n, what in (*counts, (result["rolled_back"], "rolled back")))
        checked = f"audit {result['audit']}: {findings.counts.get('events', 0)} events"
        show(
            "", terminal.before_after(story), f"{said}; {checked}; {result['seconds']} s", f"report: {result['report']}"
        )
    if findings.wrong:
        raise (Told if as_json else CheckFailed)("audit: " + "; ".join(findings.wrong))


def init(
    target: Annotated[
        Path | None, typer.Argument(metavar="[DIR]", file_okay=False, help="Folder to make; that of --dir by default.")
    ] = None,
    folder: Dir = HERE,
    as_json: AsJson = False,
) -> None:
    """Write a commented evolvent.yaml. Never overwrites one."""
    from evolvent.cli.template import settings_text
    from evolvent.disk import write_atomic
    from evolvent.plan import CONFIG_NAME

    path = (target or folder) / CONFIG_NAME
    if path.exists():
        raise UsageError(f"{path}: is there already and is never overwritten; edit it, or name another folder")
    write_atomic(path, settings_text().encode(), mode=0o644)
    if as_json:
        return emit({"settings": str(path)})
    return show(f"wrote {path}", f"next: `evolvent check -C {path.parent}`, then `evolvent run -C {path.parent}`")

"""Commands that act on a run: run, promote, rollback, report.

Not here: what they do (`run.py`); these only ask, show and word it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from evolvent.cli.base import HERE, AsJson, Dir, Told, emit, opened, show, whoami
from evolvent.errors import CheckFailed, GateRefused, UsageError

By = Annotated[str, typer.Option("--by", help="Who decides; your login name by default. It is kept in the ledger.")]


def run(
    folder: Dir = HERE,
    turns: Annotated[
        int | None, typer.Option("--turns", min=1, help="Stop after this turn instead of the goal's.")
    ] = None,
    memory: Annotated[
        Path | None, typer.Option("--memory", help="Memory exported by an earlier run; only at the start.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Start the run, or go on where it stopped."""
    from evolvent.cli.live import Live, spent_before
    from evolvent.report import terminal
    from evolvent.report.story import Story
    from evolvent.run import Run

    if memory is not None and not memory.is_file():
        raise UsageError(f"--memory {memory}: no such file; `evolvent memory export --out FILE` writes one")
    here = Run.open(folder)
    lines = as_json or not sys.stdout.isatty()
    last = here.settings.goal.turns if turns is None else turns
    with Live(here.settings, here.evidence, turns=last, as_json=lines, bar=True, spent=spent_before(here)) as live:
        here.go(turns=turns, memory=memory, on_event=live.on_event, on_stage=live.on_stage)
    if not lines:
        with opened(folder) as (_, ledger):
            story = Story.of(ledger.events())
        show("", terminal.status(story), "", f"`evolvent report -C {folder} --sealed` measures seed and champion.")


def promote(
    version: Annotated[str, typer.Argument(help="First letters of the version.")],
    folder: Dir = HERE,
    force: Annotated[bool, typer.Option("--force", help="Override the gate. Needed, and recorded.")] = False,
    reason: Annotated[str, typer.Option("--reason", help="Why. Needed, and recorded.")] = "",
    by: By = "",
    as_json: AsJson = False,
) -> None:
    """Make a version champion by a person's word, outside the error guarantee."""
    from evolvent.provenance.versions import find_version

    with opened(folder) as (here, ledger):
        built = find_version(ledger, version)
        said = ledger.get(f"{built.get('id', 'seed')}/verdict")
    if not (force and reason.strip()):
        word = f"the judge said {said.payload['verdict']['reason']}" if said else "the judge was never asked"
        raise GateRefused(
            f"promote: a person's word overrides the gate, and {word} of {built['version'][:12]}; "
            f"give --force and --reason TEXT, both are recorded"
        )
    here.promote(version, by=by or whoami(), reason=reason.strip())
    if as_json:
        return emit({"champion": built["version"], "forced": True})
    return show(f"{built['version'][:12]} is champion now, forced. The next standing check looks at it.")


def rollback(
    to: Annotated[
        str, typer.Argument(metavar="[VERSION]", help="Version to go back to; the previous champion by default.")
    ] = "",
    folder: Dir = HERE,
    reason: Annotated[str, typer.Option("--reason", help="Why; recorded.")] = "asked for",
    by: By = "",
    as_json: AsJson = False,
) -> None:
    """Give the champion's place back to an earlier version."""
    with opened(folder) as (here, _):
        pass
    name = here.rollback(by=by or whoami(), to=to, reason=reason)
    return emit({"champion": name}) if as_json else show(f"{name[:12]} is champion again.")


def report(
    folder: Dir = HERE,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="File to write; report.html in the folder by default.")
    ] = None,
    sealed: Annotated[
        bool, typer.Option("--sealed", help="First measure seed and champion on sealed problems, once per champion.")
    ] = False,
    problems: Annotated[int, typer.Option("--problems", min=1, help="Sealed problems of each skill.")] = 1000,
    as_json: AsJson = False,
) -> None:
    """Write the self-contained HTML report, with an audit inside."""
    from evolvent.cli.live import Live
    from evolvent.cli.publish import REPORT, audited, gain_row, write_report
    from evolvent.report import terminal, words

    notes: list[str] = []
    if sealed:
        with opened(folder) as (here, _):
            counts = dict.fromkeys(here.settings.plan.protected, problems)
        with Live(here.settings, here.evidence, turns=here.settings.goal.turns, as_json=False, bar=False) as live:
            with here.working(on_event=(lambda event: None) if as_json else live.on_event) as loop:
                here.seal(loop, loop.judge, counts)
                opened_with = loop.ledger.get(f"sealed/{loop.state.champion}")
        if opened_with is not None and (had := opened_with.payload["question"]["counts"]) != counts:
            notes.append(
                f"the sealed problems were opened before, with {words.pairs(had)}; that stays, whatever is asked"
            )
    place = out or folder / REPORT
    findings = audited(folder)
    story = write_report(folder, place, findings)
    if as_json:
        rows = {name: gain_row(gain) for name, gain in story.gains.items()}
        emit({"report": str(place), "skills": rows, "notes": notes, "audit": "failed" if findings.wrong else "ok"})
    else:
        faults = [f"AUDIT: {fault}" for fault in findings.wrong]
        show(terminal.report(story), *notes, *faults, "", f"wrote {place}")
    if findings.wrong:
        raise (Told if as_json else CheckFailed)(f"report: written, but the audit failed: {findings.wrong[0]}")

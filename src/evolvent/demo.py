"""The demo: a whole run on the shipped seed, and then a person's mistake that the standing check must find.

Nothing is scripted but the steps: what is promoted, refused and rolled back is decided by evidence. Every step leaves
an event and is skipped when its event is there, so that an interrupted demo goes on, and a finished one is only told
again.

Not here: how it is shown (`cli/`).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from evolvent import plan, standing
from evolvent.disk import write_atomic
from evolvent.errors import UsageError
from evolvent.ledger import Ledger
from evolvent.loop import Loop, Payload
from evolvent.plan import CONFIG_NAME, Settings
from evolvent.run import JUDGE, LEDGER, STORE, Run
from evolvent.types import Event

__all__ = ["DEMO", "SEALED", "play", "prepare"]

# Small enough for three minutes on two cores, large enough for the gate to see the gain (`evolvent check`).
DEMO: dict[str, Any] = {
    "task": "sql_migration",
    "model": "sql-seed",
    "seed": 0,
    "goal": {"gain_points": 20, "turns": 2},
    "plan": {
        "target": "multi",
        "protected": {"single": 5, "multi": 5},
        "first_epoch_slots": 8,
        "minimum_gain_points": 5,
        "max_items": 3000,
    },
    "build": {
        "problems": 200,
        "samples": 1,
        "steps": 64,
        "tokens_per_step": 2048,
        "learning_rate": "0.0008",
        "gold_share": 50,
    },
    "dev": {"problems": 100},
    "probes": {"every_turns": 1},
    "proposals_per_turn": 3,
}
SEALED = {"single": 1000, "multi": 500}  # sealed problems by skill
USER = "demo user"
REASON = "demo: a person overrides the gate by mistake"
CHECK_KEY = "demo/standing"
_OURS = (CONFIG_NAME, LEDGER, f"{LEDGER}-wal", f"{LEDGER}-shm", STORE, JUDGE, "report.html")


def prepare(folder: Path, *, seed: int | None, turns: int | None, fresh: bool) -> Run:
    """The demo's run in its folder: a new one, or the one that is there.

    Args:
        folder: where it lives.
        seed: of the run's randomness; ``None`` keeps the demo's, or the folder's.
        turns: turns until it ends; likewise.
        fresh: delete what an earlier demo left there.

    Raises:
        UsageError: the folder holds other things, or a demo with another seed or other turns.
    """
    strange = sorted(path.name for path in folder.iterdir() if path.name not in _OURS) if folder.is_dir() else []
    config = folder / CONFIG_NAME
    if strange and (fresh or not config.is_file()):
        raise UsageError(
            f"{folder}: holds {', '.join(strange[:3])}, which no demo wrote; name another folder with --dir"
        )
    if config.is_file() and not _a_demo(plan.load(config)):
        raise UsageError(
            f"{folder}: holds a run of your own, and a demo forces a mistake in; name another folder with --dir"
        )
    if fresh and folder.is_dir():
        for name in _OURS:
            path = folder / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    if not config.is_file():
        wanted = {**DEMO, "goal": dict(DEMO["goal"])}
        wanted["seed"] = DEMO["seed"] if seed is None else seed
        wanted["goal"]["turns"] = DEMO["goal"]["turns"] if turns is None else turns
        plan.parse(wanted, "demo")
        text = json.dumps(wanted, indent=2)  # JSON is YAML
        note = "# The demo's settings; `evolvent init` writes a file that explains each key."
        write_atomic(config, f"{note}\n{text}\n".encode(), mode=0o644)
    run = Run.open(folder)
    for name, asked, is_ in (("seed", seed, run.settings.seed), ("turns", turns, run.settings.goal.turns)):
        if asked is not None and asked != is_:
            raise UsageError(
                f"{folder}: holds a demo with {name} {is_}; add --fresh to start over, or name another folder"
            )
    return run


def _a_demo(settings: Settings) -> bool:
    """Whether these are a demo's settings, with any seed and number of turns."""
    goal = {**DEMO["goal"], "turns": settings.goal.turns}
    return settings == plan.parse({**DEMO, "seed": settings.seed, "goal": goal}, "demo")


def play(
    run: Run,
    *,
    on_event: Callable[[Event], None],
    on_stage: Callable[[str, Payload], None],
    say: Callable[[str], None],
    secret_hex: str | None = None,
) -> None:
    """Play what is left of the demo.

    Args:
        run: as `prepare` gave it.
        on_event: told of each event.
        on_stage: told what is going on.
        say: takes a line for people.
        secret_hex: the judge's secret, for tests.
    """
    watch: dict[str, Any] = {"on_event": on_event, "on_stage": on_stage}
    if not _has(run, "run.stopped"):
        say("The loop runs: diagnose, propose, build, screen, judge, gate.")
        # All its turns, reached or not: a planted regression, which a person then forces in, comes up in a later one.
        run.go(turns=run.settings.goal.turns, secret_hex=secret_hex, **watch)
    force_a_regression(run, on_event=on_event, say=say)
    if _finished(run):
        return
    with run.working(secret_hex=secret_hex, **watch) as loop:
        caught = _check_forced(loop, say)
        if caught:
            _seal(run, loop, say)
    if not caught:
        say("It found no evidence of a loss, which can happen; the person takes the mistake back.")
        run.rollback(by=USER, reason="the person saw the mistake", on_event=on_event)
        with run.working(secret_hex=secret_hex, **watch) as loop:
            _seal(run, loop, say)


def _check_forced(loop: Loop, say: Callable[[str], None]) -> bool:
    """Whether the forced version, if there is one, is champion no more after a standing check."""
    forced = _forced(loop.ledger)
    if forced is None:
        return True
    if loop.ledger.get(CHECK_KEY) is None:
        say("A standing check holds the champion against the last certified version, on fresh problems.")
    standing.check(loop, loop.state.turn, CHECK_KEY)
    return loop.state.champion != forced.payload["version"]


def _seal(run: Run, loop: Loop, say: Callable[[str], None]) -> None:
    say("The sealed problems, never used before, measure the seed and the champion.")
    run.seal(loop, loop.judge, SEALED)


def force_a_regression(run: Run, *, on_event: Callable[[Event], None], say: Callable[[str], None]) -> None:
    """Promote the newest planted regression that the judge refused, as a person in a hurry would. At most once."""
    with run.ledger() as ledger:
        if _forced(ledger) is not None:
            return
        version = _planted(ledger)
    if not version:
        say("No planted regression was refused by the judge in this run, so there is none to force in.")
        return
    say(f"Now a mistake: a person forces {version[:8]} in, a planted regression that the judge refused.")
    run.promote(version, by=USER, reason=REASON, on_event=on_event)


def _planted(ledger: Ledger) -> str:
    """The newest planted regression with a verdict other than accept."""
    planted: set[str] = set()
    newest = ""
    for event in ledger.events(kinds={"proposed", "verdict"}):
        p = event.payload
        if event.kind == "proposed" and p["proposal"]["operator"] == "planted_regression":
            planted.add(p["id"])
        elif event.kind == "verdict" and p["id"] in planted and p["verdict"]["decision"] == "reject":
            newest = p["verdict"]["candidate"]
    return newest


def _forced(ledger: Ledger) -> Event | None:
    promotions = ledger.events(kinds={"promoted"})
    return next((event for event in promotions if event.payload["forced"] and event.payload["by"] == USER), None)


def _finished(run: Run) -> bool:
    """Whether the champion was measured, after the check of the forced version if there is one."""
    with run.ledger() as ledger:
        checked = _forced(ledger) is None or ledger.get(CHECK_KEY) is not None
        return checked and ledger.get(f"reported/{run.state(ledger).champion}") is not None


def _has(run: Run, kind: str) -> bool:
    if not (run.folder / LEDGER).is_file():
        return False
    with run.ledger() as ledger:
        return next(ledger.events(kinds={kind}), None) is not None

"""Live progress: a bar with stage, time, budget left and evidence on a terminal, one JSON line per event elsewhere.

While a question is open, the test in most doubt shows with its evidence against its threshold.

Not here: what the lines say (`telling.py`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from evolvent.cli.base import console, emit
from evolvent.cli.telling import Evidence, stage_line, tell
from evolvent.state import COSTLY, UNITS
from evolvent.types import Event

if TYPE_CHECKING:
    from evolvent.plan import Settings
    from evolvent.run import Run

__all__ = ["Live", "spent_before"]

_STAGES = {
    "diagnose": "diagnosing",
    "build": "building",
    "screen": "screening",
    "judge": "judging",
    "judging": "judging",
    "standing": "standing check",
    "sealed": "sealed problems",
    "wait": "waiting for",
}
# What a turn's time goes into, roughly: shares of the bar.
_WEIGHTS = {"diagnosed": 1, "built": 3, "build.failed": 3, "rejected": 3, "promoted": 3, "held": 3}


class Live:
    """Told of events and stages while a run works. Use as a context manager.

    Args:
        settings: of the run, for the bar's length and the budget.
        evidence: opens the judge's evidence by hash.
        spent: by unit, before this process.
        turns: turns that this run goes to.
        as_json: print events as JSON lines.
        bar: draw the bar; lines alone otherwise.
    """

    def __init__(
        self,
        settings: Settings,
        evidence: Evidence,
        *,
        turns: int,
        as_json: bool,
        bar: bool,
        spent: Mapping[str, int] | None = None,
    ) -> None:
        self._settings, self._evidence, self._as_json = settings, evidence, as_json
        self._turn_weight = 1 + 6 * settings.proposals_per_turn
        self._spent = {**dict.fromkeys(UNITS, 0), **(spent or {})}
        self._began = time.monotonic()
        self._stage = self._items = ""
        self._console = console()
        self._progress = self._task = None
        if bar and not as_json:
            self._progress = _bar(self._console)
            self._total = max(1, turns * self._turn_weight)
            self._task = self._progress.add_task("starting", total=self._total, detail="")

    def on_event(self, event: Event) -> None:
        """Print it, and move the bar."""
        if self._as_json:
            emit(event.plain())
            return
        for line in tell(event, self._evidence):
            self._console.print(line, soft_wrap=True)
        self._count(event)
        if self._progress is None or self._task is None:
            return
        done = self._progress.tasks[0].completed + _WEIGHTS.get(event.kind, 0)
        if event.kind in ("turn.started", "turn.ended"):
            done = (event.payload["turn"] - (event.kind == "turn.started")) * self._turn_weight
        # Never quite full: what follows the last turn (checks, sealed problems) takes its time too, and a full bar's
        # clock stands still.
        self._progress.update(self._task, completed=min(done, 0.99 * self._total))
        if event.kind in ("verdict", "standing.checked"):
            self._items = ""
        self._draw()

    def on_stage(self, stage: str, fields: Mapping[str, Any]) -> None:
        """Show what is going on."""
        if stage == "witness":
            return self._console.print(*fields["failed"], sep="\n", soft_wrap=True) if not self._as_json else None
        self._stage = _STAGES.get(stage, stage)
        if stage == "judging":
            counts = fields.get("items", {})
            self._items = " ".join(f"{skill} {n:,}" for skill, n in sorted(counts.items()))
            if test := fields.get("test"):
                self._items += f"; {stage_line(test)}"
        elif stage == "wait":
            self._stage += f" {fields['for']}"
        elif "operator" in fields:
            self._stage += f" {fields['operator']}"
        elif fields.get("proposals"):
            self._stage += " " + ", ".join(fields["proposals"])
        self._draw()

    def say(self, line: str) -> None:
        """A line of our own between the events; nothing with JSON."""
        if not self._as_json:
            self._console.print(line, soft_wrap=True)

    def __enter__(self) -> Self:
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress is not None:
            self._progress.stop()

    def _count(self, event: Event) -> None:
        if event.kind in COSTLY:
            for unit in self._spent:
                self._spent[unit] += int(event.payload.get(unit, 0))

    def _draw(self) -> None:
        if self._progress is None or self._task is None:
            return
        parts = [f"items: {self._items}"] if self._items else []
        spent = {**self._spent, "seconds": int(time.monotonic() - self._began)}
        limits = self._settings.budget.limits()
        parts += [f"{_amount(max(0, limit - spent[unit]))} {unit} left" for unit, limit in limits.items()]
        self._progress.update(self._task, description=self._stage or "starting", detail=", ".join(parts))


def spent_before(run: Run) -> dict[str, int]:
    """What a run has spent so far, by unit; nothing if it has not begun."""
    from evolvent.run import LEDGER

    if not (run.folder / LEDGER).is_file():
        return {}
    with run.ledger() as ledger:
        return run.state(ledger).spent


def _bar(out: Any) -> Any:
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[detail]}", markup=False),
    )
    return Progress(*columns, console=out, transient=True, speed_estimate_period=600)


def _amount(number: int) -> str:
    for size, letter in ((10**15, "P"), (10**12, "T"), (10**9, "G"), (10**6, "M")):
        if number >= size:
            return f"{number / size:.3g} {letter}"
    return f"{number:,}"

"""The goal: what is asked for, how far dev says it is, and what its subgoals cost and gave.

Not here: what follows from that (`goals.py`, `steering.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evolvent.cli.base import HERE, AsJson, Dir, emit, opened, show

if TYPE_CHECKING:
    from evolvent.ledger import Ledger
    from evolvent.run import Run

_ENDED = ("goal.closed", "goal.abandoned")


def goal(folder: Dir = HERE, as_json: AsJson = False) -> None:
    """The goal by dev problems: how far it is, turn by turn, and its subgoals with budgets and reasons."""
    with opened(folder) as (run, ledger):
        told = _told(run, ledger)
    return emit(told) if as_json else _shown(told)


def _told(run: Run, ledger: Ledger) -> dict[str, Any]:
    from evolvent.goals import MS_AN_HOUR
    from evolvent.steering import goal_of, measured

    state = run.state(ledger)
    found = measured(state, run.settings)
    said_of = state.outcome.get("champion", state.dev_of)
    ended = [{**event.payload, "state": event.kind.removeprefix("goal.")} for event in ledger.events(kinds=_ENDED)]
    return {
        "goal": goal_of(run.settings).plain(),
        "turns_done": state.turn,
        "hours_worked": round(state.worked_ms / MS_AN_HOUR, 3),
        "outcome": state.outcome.get("kind", "pursued").removeprefix("goal."),
        "reason": state.outcome.get("reason", ""),
        "said_of": said_of,
        "champion": state.dev_of,
        "measured": found.plain() if state.dev_of else None,
        "in_words": found.words if state.dev_of else "nothing was measured yet",
        "lost": found.lost,
        "progress": _progress(ledger),
        "subgoals": [{**row, "state": "open"} for row in state.subgoals.values()] + ended[::-1],
        "ended": state.ended,
        "budgets": state.division,
        "note": "dev problems only: this steers, and proves nothing",
    }


def _progress(ledger: Ledger) -> list[dict[str, Any]]:
    """The goal's problems solved by each champion that was measured, in order; a champion once."""
    rows: list[dict[str, Any]] = []
    for event in ledger.events(kinds={"diagnosed", "goal.measured"}):
        p = event.payload
        if not rows or rows[-1]["champion"] != p["champion"]:
            rows.append({"turn": p["turn"], "champion": p["champion"], **p["goal"]})
    return rows


def _shown(told: dict[str, Any]) -> None:
    from rich.text import Text

    from evolvent.observe.diagnose import wilson
    from evolvent.report import words
    from evolvent.report.terminal import table

    asked = told["goal"]
    hours = f" of {asked['hours']}" if asked["hours"] else ""
    time = f"{told['turns_done']} of {asked['turns']} turns, {told['hours_worked']:.2f}{hours} hours worked"
    lines = [words.goal_wanted(asked), time, told["reason"] or f"pursued: {told['in_words']}"]
    if told["said_of"] != told["champion"]:
        lines.append(f"that was said of {words.short(told['said_of'])}; the champion measured last: {told['in_words']}")
    for skill, (low, high) in (told["measured"] or {"kept": {}})["kept"].items():
        lines.append(f"{skill} {float(low):+.1f} to {float(high):+.1f} points against the seed")
    rows = table("turn>", "champion", "solved>", "of>", "90 % interval")
    for row in told["progress"]:
        low, high = wilson(row["correct"], row["n"])
        span = f"{words.percent(low)} to {words.percent(high)}"
        rows.add_row(str(row["turn"]), words.short(row["champion"]), str(row["correct"]), str(row["n"]), span)
    parts = table("subgoal", "state", "at start>", "now>", "turns>", "operations>", "promotions>", "reason")
    for row in told["subgoals"]:
        counts = (f"{row[f'failures{when}']} of {row[f'n{when}']}" for when in ("_at_start", ""))
        cells = (row["id"], row["state"], *counts, *_spent(row), str(row["promotions"]), row["reason"])
        parts.add_row(*(Text(words.clean(cell, 120)) for cell in cells))
    show(*(Text(words.clean(line, 300)) for line in lines), "", rows, parts, Text(told["note"], style="dim"))


def _spent(row: dict[str, Any]) -> tuple[str, str]:
    """Since the last promotion of what the budget allows, and in all."""
    from evolvent.report import words

    budget, spent = row["budget"], row["spent"]
    turns = f"{spent['turns']} of {budget['turns']}" if "turns" in budget else "0"
    flops = words.flops(spent["flops"]) + (f" of {words.flops(budget['flops'])}" if "flops" in budget else "")
    total = row["total"]
    return f"{turns} ({total['turns']} in all)", f"{flops} ({words.flops(total['flops'])} in all)"

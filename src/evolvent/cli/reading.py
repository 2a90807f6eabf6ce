"""Commands that read a run and change nothing: status, log, show, diff, lineage, diagnose.

Not here: commands that act (`acting.py`) or check (`checks.py`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evolvent.cli.base import HERE, AsJson, Dir, console, emit, opened, show
from evolvent.errors import UsageError

if TYPE_CHECKING:
    from rich.table import Table

    from evolvent.ledger import Ledger
    from evolvent.report.story import Story
    from evolvent.run import Run

_LONGEST_SEQ = 9  # a longer row of digits is the start of a version's name


def status(folder: Dir = HERE, as_json: AsJson = False) -> None:
    """Where the run stands: goal, champion, what waits for a person, budgets, the gate's sight, probes, subgoals."""
    from evolvent.report import terminal
    from evolvent.report.sight import probed, sight

    with opened(folder) as (run, ledger):
        story = _story(ledger)
        state = run.state(ledger)
    if not as_json:
        return show(terminal.status(story))
    kept = (
        "turn",
        "seed",
        "champion",
        "certified",
        "slots",
        "promotions",
        "standing",
        "held",
        "asked",
        "subgoals",
        "outcome",
        "worked_ms",
        "spent",
        "stopped",
    )
    return emit({
        "run": story.run.run,
        "goal": story.run.goal,
        **{name: getattr(state, name) for name in kept},
        "alpha_safety_spent": str(story.alpha_spent),
        "sight": vars(seen) if (seen := sight(story)) else None,
        "probes": vars(probed(story)),
        "events": story.num_events,
        "head": story.head,
    })  # fmt: skip


def log(
    folder: Dir = HERE,
    last: Annotated[int, typer.Option("--last", "-n", min=0, help="Only the last so many; 0 for all.")] = 0,
    events: Annotated[bool, typer.Option("--events", help="Events instead of proposals.")] = False,
    as_json: AsJson = False,
) -> None:
    """What was tried and what became of it; with --json or --events the events, one a line."""
    from evolvent.cli.telling import tell
    from evolvent.report import terminal, words

    with opened(folder) as (run, ledger):
        first = max(0, ledger.head()[0] - last) if last else 0
        if as_json:
            for event in ledger.events(first):
                emit(event.plain())
        elif events:
            out = console()
            for event in ledger.events(first):
                lines = tell(event, lambda name: _evidence_or_none(run, name))
                text = lines[0].strip() if lines else ""
                out.print(f"{event.seq:>6}  {words.date(event.time_ns)}  {event.kind:<17} {text}", soft_wrap=True)
        else:
            show(terminal.log(_story(ledger), last or None))


def show_one(
    what: Annotated[
        str, typer.Argument(metavar="VERSION|SEQ", help="First letters of a version, or an event's number.")
    ],
    folder: Dir = HERE,
    statement: Annotated[
        bool, typer.Option("--statement", help="The signed statements about its promotions instead, one a line.")
    ] = False,
    proof: Annotated[
        bool, typer.Option("--proof", help="Of an event: what shows that it is in the newest signed head. JSON.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """A version's whole story, from the seed to what became of it; or one event."""
    from evolvent.cli.versions import event_at, inclusion
    from evolvent.provenance.origin import statements_of, version_story
    from evolvent.provenance.versions import find_version
    from evolvent.report.biography import biography
    from evolvent.run import SIGNING

    with opened(folder) as (run, ledger):
        if what.isdecimal() and len(what) <= _LONGEST_SEQ:
            event = event_at(ledger, int(what)).plain()
            if proof:
                return emit({"event": event, "proof": inclusion(ledger, folder / SIGNING, int(what))})
            return emit(event) if as_json else show(_tree(event))
        built = find_version(ledger, what)
        signed = statements_of(folder / SIGNING, built["version"])
        if statement:
            return _print_statements(built["version"], signed)
        story = version_story(ledger, built, run.evidence, run.store)
        champion = run.state(ledger).champion
    story |= {"champion": champion == built["version"], "statements": [str(path) for path in signed]}
    return emit(story) if as_json else show(biography(story))


def _print_statements(version: str, signed: list[Path]) -> None:
    if not signed:
        raise UsageError(f"version {version[:12]}: there is no statement, because it was never promoted")
    for path in signed:
        print(path.read_text(encoding="utf-8"), end="")


def diff(
    a: Annotated[str, typer.Argument(metavar="A", help="First letters of a version.")],
    b: Annotated[str, typer.Argument(metavar="B", help="First letters of another.")],
    folder: Dir = HERE,
    as_json: AsJson = False,
) -> None:
    """How two versions differ in making, scaffold, policy and verdict."""
    from rich.text import Text

    from evolvent.cli.versions import differences
    from evolvent.provenance.origin import version_story
    from evolvent.provenance.versions import find_version
    from evolvent.report import words
    from evolvent.report.terminal import table

    with opened(folder) as (run, ledger):
        mine, theirs = (version_story(ledger, find_version(ledger, name), run.evidence) for name in (a, b))
    found = differences(mine, theirs)
    if as_json:
        pairs = {path: list(pair) for path, pair in found.items()}
        return emit({"a": mine["version"], "b": theirs["version"], "differences": pairs})
    if not found:
        return show("no difference but the name")
    rows = table("", words.short(mine["version"]), words.short(theirs["version"]))
    for path, pair in found.items():
        rows.add_row(Text(path), *(Text(_plain(value, 60)) for value in pair))
    return show(rows)


def lineage(folder: Dir = HERE, as_json: AsJson = False) -> None:
    """Who came from whom; champions marked."""
    from evolvent.report import terminal

    with opened(folder) as (_, ledger):
        story = _story(ledger)
    if not as_json:
        return show(terminal.lineage(story))
    promoted = {promotion.version: promotion.forced for promotion in story.promotions}
    rows = [
        {
            "version": entry.version,
            "parents": list(entry.parents),
            "turn": entry.turn,
            "operator": entry.operator,
            "outcome": story.attempts[entry.attempt].outcome.value if entry.attempt in story.attempts else "seed",
            "promoted": entry.version in promoted,
            "forced": promoted.get(entry.version, False),
            "champion": entry.version == story.champion,
        }
        for entry in story.versions.values()
    ]
    return emit({"champion": story.champion, "versions": rows})


def diagnose(folder: Dir = HERE, as_json: AsJson = False) -> None:
    """The last diagnosis: the champion's weaknesses on dev problems."""
    from rich.text import Text

    from evolvent.report import words
    from evolvent.report.terminal import table

    with opened(folder) as (_, ledger):
        found = None
        for event in ledger.events(kinds={"diagnosed"}):
            found = event.payload
    if found is None:
        raise UsageError(f"{folder}: nothing was diagnosed yet; `evolvent run` does it at the start of each turn")
    if as_json:
        return emit(found)
    scores = (
        f"{name} {words.percent(c['correct'] / max(1, c['n']))} of {c['n']}"
        for name, c in sorted(found["skills"].items())
    )
    rows = table("skill", "slice", "failed", "90 % interval", "errors", "suspected cause")
    for row in found["weaknesses"]:
        span = f"{words.percent(float(row['low']))} to {words.percent(float(row['high']))}"
        cells = (row["skill"], words.pairs(row["slice"]), f"{row['failures']} of {row['n']}", span)
        rows.add_row(*(Text(words.clean(cell)) for cell in (*cells, words.pairs(row["errors"]), row["cause"])))
    return show(f"turn {found['turn']}, champion {words.short(found['champion'])}: {', '.join(scores)}", rows)


def _story(ledger: Ledger) -> Story:
    from evolvent.report.story import Story

    return Story.of(ledger.events())


def _evidence_or_none(run: Run, name: str) -> dict[str, Any]:
    try:
        return run.evidence(name)
    except UsageError:
        return {}


def _tree(value: dict[str, Any]) -> Table:
    """Nested JSON as two columns: dotted path and value."""
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column()
    for path, item in _rows(value, ""):
        grid.add_row(Text(path), Text(_plain(item, 400)))
    return grid


def _rows(value: Any, path: str) -> list[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        return [row for name, item in value.items() for row in _rows(item, f"{path}.{name}".lstrip("."))]
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        return [row for i, item in enumerate(value) for row in _rows(item, f"{path}.{item.get('name', i)}")]
    return [(path, value)] if value not in (None, "", {}, []) else []


def _plain(value: Any, limit: int) -> str:
    from evolvent.report import words

    return words.clean(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), limit)

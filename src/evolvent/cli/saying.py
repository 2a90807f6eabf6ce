"""Commands by which a person is heard: approve, decline, pick.

They only write down what a person said, also while the run works; the loop heeds it, at once if it waits for it.

Not here: the words' meaning (`people.py`), overriding the gate (`acting.py`).
"""

from __future__ import annotations

from typing import Annotated

import typer

from evolvent.cli.base import HERE, AsJson, Dir, emit, opened, show, whoami
from evolvent.errors import UsageError

What = Annotated[str, typer.Argument(metavar="VERSION|ID", help="First letters of the version, or the candidate's id.")]
Note = Annotated[str, typer.Option("--note", help="Why; recorded.")]
By = Annotated[str, typer.Option("--by", help="Who decides; your login name by default. It is kept in the ledger.")]


def approve(what: What, folder: Dir = HERE, note: Note = "", by: By = "", as_json: AsJson = False) -> None:
    """Let a candidate that the gate accepted, and that waits for a person, become champion."""
    _answer(what, folder, note, by, as_json, approve=True)


def decline(what: What, folder: Dir = HERE, note: Note = "", by: By = "", as_json: AsJson = False) -> None:
    """Reject a candidate that the gate accepted and that waits for a person."""
    _answer(what, folder, note, by, as_json, approve=False)


def pick(
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ID...]", help="Candidates that go to the judge, in this order.")
    ] = None,
    folder: Dir = HERE,
    none: Annotated[bool, typer.Option("--none", help="Pick none of them.")] = False,
    note: Note = "",
    by: By = "",
    as_json: AsJson = False,
) -> None:
    """Pick which candidates of this turn go to the judge; without an id, show them."""
    from evolvent import people
    from evolvent.report import terminal
    from evolvent.report.story import Story

    chosen = list(dict.fromkeys(ids or ()))
    if chosen and none:
        raise UsageError("pick: expected ids or --none, got both")
    with opened(folder) as (run, ledger):
        if not (chosen or none):
            story = Story.of(ledger.events())
            return emit({"asked": story.waiting.asked}) if as_json else show(terminal.picks(story))
        asked = people.pick(ledger, run.state(ledger), chosen, by=by or whoami(), note=note)
    if as_json:
        return emit({"turn": asked["turn"], "picked": chosen})
    return show(f"{', '.join(chosen) or 'None'} picked in turn {asked['turn']}. {_then(folder)}")


def _answer(what: str, folder: Dir, note: str, by: str, as_json: bool, *, approve: bool) -> None:
    from evolvent import people

    with opened(folder) as (run, ledger):
        case = people.answer(ledger, run.state(ledger), what, approve=approve, by=by or whoami(), note=note)
    said = "approved" if approve else "declined"
    if as_json:
        return emit({"id": case["id"], "version": case["version"], "said": said})
    return show(f"{case['id']} ({case['version'][:12]}) {said}. {_then(folder)}")


def _then(folder: Dir) -> str:
    return f"A run that is at work heeds it; otherwise `evolvent run -C {folder}` does."

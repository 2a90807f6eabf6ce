"""What every command shares: its options, its errors, and the two ways of printing.

Each command prints text for people, or with ``--json`` one JSON object (lists of events: one a line). Text that came
from a ledger goes out as `Text` or JSON, never as markup.

Not here: commands.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evolvent.errors import CheckFailed, UsageError

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from evolvent.ledger import Ledger
    from evolvent.run import Run

Dir = Annotated[Path, typer.Option("--dir", "-C", file_okay=False, help="Folder of the run.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
HERE = Path()


class Told(CheckFailed):
    """What is wrong was printed already, as the one JSON object that a command prints."""


def emit(value: Any) -> None:
    """One JSON value on one line of standard output."""
    print(json.dumps(value, ensure_ascii=True), flush=True)


def console() -> Console:
    """The terminal; plain text where standard output is none."""
    from rich.console import Console

    # A pipe has no width: tables there are as wide as they need.
    return Console(markup=False, highlight=False, width=None if sys.stdout.isatty() else 160)


def show(*parts: RenderableType) -> None:
    """Text for people on standard output."""
    out = console()
    for part in parts:
        out.print(part)


@contextmanager
def opened(folder: Path) -> Iterator[tuple[Run, Ledger]]:
    """The run of a folder and its ledger, to read.

    Raises:
        UsageError: no settings there, or no run yet.
    """
    from evolvent.run import LEDGER, Run

    run = Run.open(folder)
    if not (folder / LEDGER).is_file():
        raise UsageError(f"{folder / LEDGER}: no run here yet; `evolvent run -C {folder}` starts one")
    with run.ledger() as ledger:
        yield run, ledger


def begun(folder: Path) -> str:
    """How far the run of a folder is.

    Raises:
        UsageError: it has begun with other settings.
    """
    from evolvent.report.words import several
    from evolvent.run import LEDGER

    if not (folder / LEDGER).is_file():
        return "not begun"
    with opened(folder) as (run, ledger):
        return f"begun, {several(run.state(ledger).turn, 'turn')} done"


def whoami() -> str:
    """Name under which a person's decision is recorded, unless ``--by`` says another."""
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError):  # no such user in the system's list
        return "unknown"

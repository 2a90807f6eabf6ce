"""Writes the tables of the documentation that come from the code: settings and commands.

Run ``python scripts/docs_tables.py`` after a change of `plan.py` or of the command line. `tests/test_docs.py` fails
when a page says something else than the code.

Not here: the event table, which is written by hand and tested against the events that the code emits.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from evolvent.cli.app import app
from evolvent.cli.template import _WORDS as WORDS
from evolvent.plan import Settings

DOCS = Path(__file__).resolve().parents[1] / "docs"
SHARED = {"--json", "--dir", "--help"}  # of every command; explained above the table


def settings_table() -> str:
    """Every key of `evolvent.yaml`, its default and what it is."""
    return "\n".join(["| key | default | is |", "|---|---|---|", *_settings(Settings, "")])


def _settings(model: type[BaseModel], path: str) -> Iterator[str]:
    for name, info in model.model_fields.items():
        key = f"{path}{name}"
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            yield from _settings(info.annotation, f"{key}.")
            continue
        text = WORDS.get(key) or info.description
        if not text:
            raise ValueError(f"settings: {key} has no description")
        yield f"| `{key}` | {_default(info)} | {text} |"


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "required"
    return f"`{json.dumps(info.get_default(call_default_factory=True))}`"


def commands_table() -> str:
    """Every command with its arguments and own options."""
    rows = [f"| `{usage}` | {text} |" for usage, text in _commands(typer.main.get_command(app), "")]
    return "\n".join(["| command | does |", "|---|---|", *rows])


def _commands(command: Any, path: str) -> Iterator[tuple[str, str]]:
    for name, child in getattr(command, "commands", {}).items():
        if hasattr(child, "commands"):
            yield from _commands(child, f"{path}{name} ")
            continue
        words = [f"evolvent {path}{name}"]
        for parameter in child.params:
            if parameter.param_type_name == "argument":
                words.append((parameter.metavar or parameter.name.upper()).replace("|", " or "))
            elif not SHARED & set(parameter.opts):
                value = "" if parameter.is_flag else f" {parameter.opts[0].lstrip('-').upper()}"
                words.append(f"[{parameter.opts[0]}{value}]")
        yield " ".join(words), " ".join((child.help or "").split())


TABLES = {
    DOCS / "concepts" / "change-plan.md": ("settings", settings_table),
    DOCS / "cli.md": ("commands", commands_table),
}


def page(path: Path) -> str:
    """The page as it should be."""
    name, table = TABLES[path]
    text = path.read_text(encoding="utf-8")
    mark = f"<!-- {name}: written by scripts/docs_tables.py -->\n"
    block = f"{mark}{table()}\n<!-- end -->"
    found, count = re.subn(f"{re.escape(mark)}.*?<!-- end -->", lambda _: block, text, flags=re.DOTALL)
    if count != 1:
        raise ValueError(f"{path}: expected one block that starts with {mark.strip()}")
    return found


def main() -> None:
    """Write the pages."""
    for path in TABLES:
        path.write_text(page(path), encoding="utf-8")


if __name__ == "__main__":
    main()

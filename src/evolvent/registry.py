"""The registry: components by name, found through entry points.

Built-ins and plug-ins go by the same door, so nothing registers by being imported and ``evolvent --help`` loads no
component. In a source checkout the entry points of its `pyproject.toml` count too, installed or not.

Not here: what a component must do (the base of its room says so, `evolvent.testing` examines it).
"""

from __future__ import annotations

import difflib
import importlib
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

from evolvent.errors import UsageError

TASKS = "evolvent.tasks"
OPERATORS = "evolvent.operators"
PROPOSERS = "evolvent.proposers"
RECIPES = "evolvent.recipes"


def names(group: str) -> list[str]:
    """The registered names of a group, sorted."""
    return sorted(_entries(group))


def load(group: str, name: str) -> Any:
    """The component registered under that name.

    Raises:
        UsageError: no such name (with the nearest one), or its module or attribute cannot be loaded.
    """
    entries = _entries(group)
    if name not in entries:
        near = difflib.get_close_matches(name, entries, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"there is: {', '.join(sorted(entries)) or 'nothing'}"
        raise UsageError(f"{group}: there is no '{name}'; {hint}")
    return resolve(entries[name])


def resolve(target: str) -> Any:
    """The object that ``package.module:attribute`` names.

    Raises:
        UsageError: the text has another form, the module does not load, or it has no such attribute.
    """
    module_name, _, attribute = target.partition(":")
    if not module_name or not attribute.isidentifier():
        raise UsageError(f"expected 'package.module:name', got '{target}'")
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as exc:  # whatever a stranger's module does when it is read
        raise UsageError(f"'{target}': the module does not load: {type(exc).__name__}: {exc}") from exc
    if not hasattr(module, attribute):
        near = difflib.get_close_matches(attribute, dir(module), n=1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise UsageError(f"'{target}': the module has no '{attribute}'{hint}")
    return getattr(module, attribute)


def _entries(group: str) -> dict[str, str]:
    installed = {entry.name: entry.value for entry in metadata.entry_points(group=group)}
    return installed | _checkout_entries(group)


def _checkout_entries(group: str) -> dict[str, str]:
    """Entry points of the checkout that this file lies in: an editable install's own list may be older."""
    path = Path(__file__).resolve().parents[2] / "pyproject.toml"
    if not path.is_file():
        return {}
    project = tomllib.loads(path.read_text(encoding="utf-8")).get("project", {})
    return project.get("entry-points", {}).get(group, {}) if project.get("name") == "evolvent" else {}

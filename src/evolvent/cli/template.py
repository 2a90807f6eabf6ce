"""`evolvent.yaml` with every key explained, written from the settings' own descriptions, so that it cannot fall behind.

Not here: what a key means to the loop (`plan.py`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, cast

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from evolvent.plan import Settings

DEFAULTS: dict[str, Any] = {
    "task": "sql_migration",
    "model": "sql-seed",
    "plan": {"target": "multi", "protected": {"single": 5, "multi": 5}},
}
_HEADER = """\
# Settings of an Evolvent run. `evolvent check` validates them and says what the gate can see; `evolvent run` starts.
# Once a run has begun it keeps its settings: to change one, start a new folder.
"""
# Keys that need no description in the code; a reader of the file gets a line all the same.
_WORDS = {
    "plan": "the change plan: nothing outside it happens, and the promise is about exactly these numbers",
    "goal": "what the run is for",
    "build": "how a candidate is built; operators vary some of it",
    "dev": "dev rollouts: diagnosis and screening",
    "probes": "the loop tests its own honesty",
    "people": "where the loop asks a person; which promotions always wait for one stands in the plan",
    "budget": "hard limits of the run; 0 is no limit",
    "endpoint": "a language model that proposes, for `proposers: [language_model]`; asked only where this names it",
    "judge": "where the judge lives; may be changed while a run goes on, for the run is the same",
    "budget.turn": "limits of one turn, inside the run's; a candidate that has begun is finished, the rest is dropped",
    "budget.build": "limits of one build, inside its even share of what its turn and run have left",
    "budget.flops": "floating-point operations of building and screening",
    "budget.tokens": "tokens read and written",
    "proposals_per_turn": "changes tried in a turn, built side by side",
    "workers": "jobs that run at once",
}


def settings_text() -> str:
    """The file: valid as it stands."""
    return _HEADER + "\n".join(_lines(Settings, DEFAULTS, "")) + "\n"


def _lines(model: type[BaseModel], given: dict[str, Any], path: str) -> Iterator[str]:
    indent = "  " * path.count(".")
    # What is plain comes first: below a nested key it would read as part of it.
    for name, info in sorted(model.model_fields.items(), key=lambda item: _nested(item[1])):
        where = f"{path}{name}"
        value = given.get(name, _default(info))
        text = _WORDS.get(where) or info.description
        assert text, f"settings: {where} has no description"
        if _nested(info):
            yield f"\n{indent}# {text}\n{indent}{name}:"
            yield from _lines(cast("type[BaseModel]", info.annotation), given.get(name, {}), f"{where}.")
        elif isinstance(value, dict) and value:
            yield f"{indent}{name}:  # {text}"
            yield from (f"{indent}  {key}: {json.dumps(item)}" for key, item in value.items())
        else:
            yield f"{indent}{name}: {json.dumps(value)}  # {text}"


def _nested(info: FieldInfo) -> bool:
    return isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel)


def _default(info: FieldInfo) -> Any:
    return info.get_default(call_default_factory=True)

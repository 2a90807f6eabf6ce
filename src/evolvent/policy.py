"""A policy: how a run looks for improvements, as a text that can be proposed, judged and adopted like any other change.

It names who proposes, what is expected of each kind of change before there is evidence, and how a build is made: each
from a few values, in this order. What else a run's settings say, it cannot say: judge, change plan, protected skills
and budgets are out of its reach, because no word for them exists here.

Not here: whether one policy is better than another (`tasks/improvement`), what is tried within a run (`propose/`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from evolvent.types import canonical_json

Policy = dict[str, str | int]

OPERATORS = ("self_labels", "directive", "gold", "policy", "scaffold")
_POINTS = (0, 2, 5, 10, 20)
SPACE: Mapping[str, tuple[str | int, ...]] = {
    "proposer": ("bandit", "rules", "population", "crossover", "random"),
    **{f"prior_{name}": _POINTS for name in OPERATORS},
    "gold_share": (0, 20, 40, 60, 80),
    "learning_rate": ("0.00125", "0.0025", "0.005", "0.01", "0.02"),
    "problems": (30, 60, 120, 240),
    "samples": (1, 2, 4),
    "steps": (30, 60, 120, 240),
    "target_rate": (25, 50, 75),
}
# What is often right only together: how large a build is; and how large, with a learning rate against it.
TOGETHER: Mapping[str, Mapping[str, int]] = {
    "size": {"problems": 1, "steps": 1},
    "pace": {"problems": 1, "steps": 1, "learning_rate": -1},
}
# By hand: the priors nearest to those that the operators declare, and builds as in earlier runs on small functions.
BY_HAND: Policy = {
    "proposer": "bandit", "prior_self_labels": 10, "prior_directive": 5, "prior_gold": 2, "prior_policy": 5,
    "prior_scaffold": 10, "gold_share": 60, "learning_rate": "0.005", "problems": 120, "samples": 2, "steps": 120,
    "target_rate": 50,
}  # fmt: skip
_BUILD = ("gold_share", "learning_rate", "problems", "samples", "steps", "target_rate")


def check(policy: Mapping[str, Any]) -> None:
    """Raise on what is no policy.

    Raises:
        ValueError: a name is missing or unknown, or has a value outside its list.
    """
    if policy.keys() != SPACE.keys():
        missing, unknown = sorted(SPACE.keys() - policy.keys()), sorted(policy.keys() - SPACE.keys())
        raise ValueError(f"policy: expected {', '.join(SPACE)}; missing {missing}, unknown {unknown}")
    for name, values in SPACE.items():
        if type(policy[name]) is not type(values[0]) or policy[name] not in values:
            raise ValueError(f"policy.{name}: expected one of {', '.join(map(str, values))}, got {policy[name]!r}")


def text_of(policy: Mapping[str, Any]) -> str:
    """The policy as text, always the same for the same policy."""
    return canonical_json(dict(policy))


def read(text: str) -> Policy:
    """The policy that a text states.

    Raises:
        ValueError: it states none.
    """
    try:
        policy = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise ValueError(f"policy: is no JSON: {exc}") from None
    if not isinstance(policy, dict):
        raise ValueError(f"policy: expected names and values, got {type(policy).__name__}")
    check(policy)
    return policy


def settings(policy: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of `evolvent.yaml` that it sets."""
    return {
        "proposers": [policy["proposer"]],
        "priors": {name: policy[f"prior_{name}"] for name in OPERATORS},
        "build": {name: policy[name] for name in _BUILD},
    }


def neighbour(policy: Mapping[str, Any], name: str, move: int) -> Policy:
    """The policy with one value, or those of `TOGETHER`, moved by so many places in its list, whose ends meet."""
    moved = dict(policy)
    for value, sign in TOGETHER.get(name, {name: 1}).items():
        values = SPACE[value]
        moved[value] = values[(values.index(policy[value]) + sign * move) % len(values)]
    return moved

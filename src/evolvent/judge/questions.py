"""What the judge can be asked. The question is in the ledger before the first item is drawn.

A question fixes everything that could be bent afterwards: who, which skills, margins, levels, item budget, and the rule
that reads the outcomes. Its hash names the answer: asked again, the judge answers the same.

Not here: how it is answered (`gate.py`, `server.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self, TypeVar

from evolvent.errors import UsageError
from evolvent.types import Record

__all__ = ["RULE", "Protected", "Question", "SealedQuestion", "StandingQuestion"]

RULE = "paired-grid-1"
_POINTS = 100
_R = TypeVar("_R", bound=Record)


@dataclass(frozen=True, kw_only=True)
class Protected(Record):
    """A skill that must not be lost.

    Attributes:
        skill: its name in the task.
        margin_points: loss that is still tolerated, whole percentage points, 1 to 99.
        discordance: planned share of items on which two models differ, decimal text. Shapes the bets, not
            their validity.
    """

    skill: str
    margin_points: int
    discordance: str = "0.1"

    def __post_init__(self) -> None:
        """Check ranges."""
        if not 1 <= self.margin_points < _POINTS:
            raise UsageError(f"margin_points of '{self.skill}': expected 1 to 99, got {self.margin_points}")
        _share(f"discordance of '{self.skill}'", self.discordance)

    @property
    def margin(self) -> float:
        """The margin as a share."""
        return self.margin_points / _POINTS


@dataclass(frozen=True, kw_only=True)
class Question(Record):
    """May this candidate replace the incumbent?

    Attributes:
        slot: number of the slot that it spends, from 1; never used twice.
        candidate: plain form of the candidate.
        incumbent: plain form of the champion.
        anchor: plain form of the frozen anchor; may equal the incumbent.
        target: skill that must get better.
        protected: skills that must not get worse; the target is one of them.
        alpha_sup: level of the superiority test, decimal text.
        alpha_ni: level of each non-inferiority test, decimal text.
        max_items: problems that may be drawn in all, over all skills.
        block_items: problems drawn at a time.
        discordance: planned share of target items on which candidate and incumbent differ, decimal text.
        mei_points: smallest gain of interest, whole percentage points; less is futile.
        beta: chance, at most, to stop a candidate that is worth it as futile, decimal text.
        max_new_tokens: limit of each output.
        rule: rule that reads the outcomes; a judge with another rule refuses.
    """

    slot: int
    candidate: dict[str, Any]
    incumbent: dict[str, Any]
    anchor: dict[str, Any]
    target: str
    protected: tuple[Protected, ...]
    alpha_sup: str
    alpha_ni: str
    max_items: int
    block_items: int = 64
    discordance: str = "0.2"
    mei_points: int = 5
    beta: str = "0.1"
    max_new_tokens: int = 256
    rule: str = RULE

    def __post_init__(self) -> None:
        """Check what would make the answer meaningless."""
        for name in ("alpha_sup", "alpha_ni", "discordance", "beta"):
            _share(name, getattr(self, name))
        _at_least_one(self, "slot", "max_items", "block_items", "mei_points", "max_new_tokens")
        _check_protected(self.protected)
        if self.target not in {entry.skill for entry in self.protected}:
            raise UsageError(f"target '{self.target}' is not protected: list it in `protected` with its margin too")
        if self.rule != RULE:
            raise UsageError(f"rule: expected '{RULE}', got '{self.rule}'; this judge has one rule")

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        """Rebuild from the plain form.

        Raises:
            UsageError: a field is unknown, missing or out of range.
        """
        return _build(cls, plain)


@dataclass(frozen=True, kw_only=True)
class StandingQuestion(Record):
    """Has the champion become worse than an earlier version, after all?

    Attributes:
        number: which standing check this is, from 1; each draws fresh items.
        reference: plain form of the version that the champion is held against.
        champion: plain form of the champion.
        protected: skills and tolerated losses.
        alpha: chance, at most, of a false alarm in this check over all skills, decimal text.
        max_items: problems that may be drawn in all.
        block_items: problems drawn at a time.
        beta: level at which a skill counts as kept and is looked at no further, decimal text.
        max_new_tokens: limit of each output.
    """

    number: int
    reference: dict[str, Any]
    champion: dict[str, Any]
    protected: tuple[Protected, ...]
    alpha: str
    max_items: int
    block_items: int = 64
    beta: str = "0.1"
    max_new_tokens: int = 256

    def __post_init__(self) -> None:
        """Check what would make the answer meaningless."""
        _share("alpha", self.alpha)
        _share("beta", self.beta)
        _at_least_one(self, "number", "max_items", "block_items", "max_new_tokens")
        _check_protected(self.protected)

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        """Rebuild from the plain form.

        Raises:
            UsageError: a field is unknown, missing or out of range.
        """
        return _build(cls, plain)


@dataclass(frozen=True, kw_only=True)
class SealedQuestion(Record):
    """How good are seed and champion on the sealed split? For the final report only.

    Attributes:
        seed_candidate: plain form of the version that the run began with.
        champion: plain form of the version that it ended with.
        counts: problems by skill.
        block_items: problems drawn at a time.
        max_new_tokens: limit of each output.
    """

    seed_candidate: dict[str, Any]
    champion: dict[str, Any]
    counts: dict[str, int]
    block_items: int = 64
    max_new_tokens: int = 256

    def __post_init__(self) -> None:
        """Check ranges."""
        _at_least_one(self, "block_items", "max_new_tokens")

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        """Rebuild from the plain form.

        Raises:
            UsageError: a field is unknown, missing or out of range.
        """
        return _build(cls, plain)


def _build(cls: type[_R], plain: Mapping[str, Any]) -> _R:
    known = {f.name for f in fields(cls)}
    unknown = sorted(set(plain) - known)
    if unknown:
        raise UsageError(f"question: unknown fields {unknown}; known are {sorted(known)}")
    values = dict(plain)
    try:
        if "protected" in values:
            values["protected"] = tuple(Protected(**entry) for entry in values["protected"])
        return cls(**values)
    except TypeError as exc:
        raise UsageError(f"question: {exc}") from exc


def _share(name: str, text: str) -> None:
    try:
        inside = 0 < float(text) < 1
    except (TypeError, ValueError):
        inside = False
    if not inside:
        raise UsageError(f"{name}: expected decimal text between 0 and 1, got {text!r}")


def _at_least_one(record: Record, *names: str) -> None:
    for name in names:
        value = getattr(record, name)
        if type(value) is not int or value < 1:  # True is 1 in Python, and would be a second name of the first slot
            raise UsageError(f"{name}: expected a whole number of 1 or more, got {value!r}")


def _check_protected(protected: tuple[Protected, ...]) -> None:
    skills = [entry.skill for entry in protected]
    if not skills or len(set(skills)) != len(skills):
        raise UsageError(f"protected: expected each skill once and at least one, got {skills}")

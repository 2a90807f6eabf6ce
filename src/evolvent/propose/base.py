"""What a proposer sees and owes.

Not here: how a change is carried out (`operators/`), who is asked in which turn (`market.py`).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any, Protocol

from evolvent.memory.effects import Case, Estimate, Foreseen, Prior
from evolvent.memory.episodes import is_named
from evolvent.memory.memory import Memory
from evolvent.types import Diagnosis, canonical_json, content_hash

PROBES = ("null", "planted_regression")  # the loop's tests of its own honesty: each must be refused
_LONG = 400  # characters
JUDGING_COST = 0.4  # of a full build: what a verdict costs whatever is judged (benchmarks/overhead.py prints it)


@dataclass(frozen=True, kw_only=True)
class Written:
    """A parameter that no list can hold, such as a program: whoever proposes it writes it.

    Attributes:
        form: what it has to be, for one who never saw one.
        check: raises `ValueError` for a value that it may not have.
    """

    form: str
    check: Callable[[Any], None]

    def refusal(self, value: Any) -> str:
        """Why a stranger's value is none, or ``""``. Never raises: what a check cannot even look at is none either."""
        try:
            self.check(value)
        except Exception as exc:  # an edge: deep nesting ends the look itself
            return str(exc) if isinstance(exc, ValueError) else type(exc).__name__
        return ""


@dataclass(frozen=True, kw_only=True)
class OperatorSpec:
    """All that a proposer sees of an operator.

    Attributes:
        name: registered name.
        summary: one sentence for people.
        space: parameter -> values that may be chosen, in their order.
        prior_points: gain expected of the usual values before any evidence, percentage points.
        relative_cost: build cost, 1 for a full round of self-labels and fine-tuning, with the usual values.
        usual: the usual value of a parameter, where it is not the first.
        scales: parameters whose values multiply a share of that cost -> the share; what no share names is fixed.
        remedy: regimes in which it is the first thing to try, before there is evidence (`rules.py`).
        written: further parameters that are written freely; only a proposer that writes can choose such an operator.
        probe: belongs to the loop's tests of its own honesty; never chosen for gain, never screened out.
    """

    name: str
    summary: str
    space: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    prior_points: float = 1.0
    relative_cost: float = 1.0
    usual: Mapping[str, Any] = field(default_factory=dict)
    scales: Mapping[tuple[str, ...], float] = field(default_factory=dict)
    remedy: tuple[str, ...] = ()
    written: Mapping[str, Written] = field(default_factory=dict)
    probe: bool = False

    def cost(self, params: Mapping[str, Any]) -> float:
        """Build cost of these parameters, as declared."""
        factors = (share * (prod(float(params[name]) for name in names) - 1) for names, share in self.scales.items())
        return self.relative_cost * (1 + sum(factors))

    @property
    def prior(self) -> Prior:
        """What is expected before any evidence: a value that makes a build cheaper gains less by the share of its cost.

        So that a build is not thought a bargain for being small: before it was seen, only chance would speak for that.
        A dearer one gains no more. Each value is taken alone, so of several the smallest build is expected to give
        about nothing.
        """
        usual = {name: self.usual.get(name, values[0]) for name, values in self.space.items()}
        whole = self.cost(usual)
        shares = {
            f"{name}={canonical_json(value)}": self.cost({**usual, name: value}) / whole
            for name, values in self.space.items()
            for value in values
            if whole
        }
        return Prior(points=self.prior_points, shares={name: share for name, share in shares.items() if share < 1})

    def is_usual(self, params: Mapping[str, Any]) -> bool:
        """Each parameter has its usual value; which program is the usual one is not said."""
        return all(params[n] == self.usual.get(n, values[0]) for n, values in self.space.items() if n != "kind")

    def draw(self, rng: random.Random) -> dict[str, Any]:
        """Parameters at random."""
        return {name: rng.choice(values) for name, values in sorted(self.space.items())}


@dataclass(frozen=True, kw_only=True)
class Idea:
    """An operator with parameters, the weakness that it answers, and what it is expected to gain.

    Attributes:
        operator: registered name.
        params: chosen values.
        diagnosis: the weakness answered, or ``None``.
        foreseen: what it should give; scored once it was tried.
        proposer: who thought of it.
        why: in words, for people.
    """

    operator: str
    params: dict[str, Any]
    diagnosis: Diagnosis | None
    foreseen: Foreseen
    proposer: str = ""
    why: str = ""

    @property
    def fingerprint(self) -> str:
        """Names the idea."""
        return fingerprint(self.operator, self.params)


@dataclass(frozen=True, kw_only=True)
class Failing:
    """A dev problem that the champion fails: what it was asked, what it said, and the kind of error."""

    prompt: str
    output: str
    error: str


@dataclass(frozen=True, kw_only=True)
class Situation:
    """What is known when a turn begins.

    Attributes:
        turn: its number, from 1.
        weaknesses: worst first.
        memory: of this run and those before it.
        band: regime of the target.
        policy: the champion's policy (parameter defaults that travel with it).
        scaffold: the champion's scaffold.
        barred: fingerprints of ideas that make no sense now, such as a scaffold just refused.
        tried: fingerprints of what was tried on this champion, newest last.
        failing: of the worst weakness, as many as ``endpoint.traces`` says; for whoever may see prompts and answers.
    """

    turn: int
    weaknesses: Sequence[Diagnosis]
    memory: Memory
    band: str
    policy: Mapping[str, Any]
    scaffold: Mapping[str, Any]
    barred: frozenset[str] = frozenset()
    tried: Sequence[str] = ()
    failing: Sequence[Failing] = ()

    @property
    def worst(self) -> Diagnosis | None:
        """The weakness that is answered."""
        return self.weaknesses[0] if self.weaknesses else None

    @property
    def case(self) -> Case:
        """Regime and failure class, for which effects are asked."""
        return Case(band=self.band, error=failure_class(self.worst.errors if self.worst else {}))

    def allows(self, spec: OperatorSpec, params: Mapping[str, Any]) -> bool:
        """These parameters lie in the operator's space, change something, and are not barred."""
        if (
            spec.written
            or params.keys() != spec.space.keys()
            or any(params[name] not in spec.space[name] for name in params)
        ):
            return False
        if params.get("kind") is not None and params["kind"] == self.scaffold.get("kind"):
            return False
        return fingerprint(spec.name, params) not in self.barred

    def estimate(self, spec: OperatorSpec, params: Mapping[str, Any]) -> Estimate:
        """What memory says of its gain here."""
        return self.memory.effects.estimate(spec.name, params, self.case, spec.prior)

    def idea(self, spec: OperatorSpec, params: dict[str, Any], why: str = "") -> Idea:
        """The idea, with the gain that memory foresees."""
        foreseen = self.memory.effects.foresee(spec.name, params, self.case, spec.prior)
        return Idea(operator=spec.name, params=params, diagnosis=self.worst, foreseen=foreseen, why=why)


class Proposer(Protocol):
    """Chooses what to try. Pure: the same situation and generator give the same ideas.

    One that asks somebody else is as good as pure to the loop: its ideas are written down before they are carried out.
    """

    def propose(
        self, situation: Situation, specs: Sequence[OperatorSpec], count: int, rng: random.Random
    ) -> list[Idea]:
        """At most `count` ideas that the situation allows, the most promising first."""
        ...


class Prices:
    """What builds cost, a full round being 1: as measured where something of their kind was built, else as declared."""

    def __init__(self, specs: Sequence[OperatorSpec], memory: Memory) -> None:
        self._effects = memory.effects
        mflops = units = 0.0
        for key, effect in self._effects.groups.items():
            arm = key.split("|", 1)[0]
            declared = next((s.relative_cost for s in specs if is_named(arm, s.name)), 0.0)
            if effect.builds and declared:
                mflops += effect.mflops
                units += effect.builds * declared
        self._unit = mflops / units if units else 0.0

    def of(self, spec: OperatorSpec, params: Mapping[str, Any]) -> float:
        """Build and verdict."""
        known = self._effects.cost(spec.name, params) if self._unit else 0
        return (known / self._unit if known else spec.cost(params)) + JUDGING_COST


def fingerprint(operator: str, params: Mapping[str, Any]) -> str:
    """Names an idea, to bar it or to know it again; what is long, such as a program, by its hash."""
    text = canonical_json(dict(params))
    return f"{operator}|{text if len(text) <= _LONG else content_hash(dict(params))}"


def failure_class(errors: Mapping[str, int]) -> str:
    """The kind of failure that is most frequent; ``""`` for none."""
    return max(sorted(errors), key=lambda kind: errors[kind]) if errors else ""


def due_probes(turn: int, every_turns: int) -> list[Idea]:
    """The test of its own honesty that the loop adds in this turn, if one is due; they take turns."""
    if not every_turns or turn % every_turns:
        return []
    name = PROBES[(turn // every_turns - 1) % len(PROBES)]
    return [Idea(operator=name, params={}, diagnosis=None, foreseen=Foreseen(points=0.0, deviation=0.0))]

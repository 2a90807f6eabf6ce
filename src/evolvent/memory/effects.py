"""Effect estimates: how much does a change help, for which failures, in which regime, and what does it cost?

The second layer of memory. Running sums in whole numbers per ``arm|regime|failure class``, folded from episodes, so
that they are the same after a crash and on each machine. An estimate is shrunk level by level: the operator's prior,
the operator over everything, its kind, the kind in this regime, the kind in this regime on this class. How far a level
is trusted follows from the spread among its groups (method of moments), so classes that behave alike lend each other
their evidence, and a class that is different is believed once it was seen often enough. Values of parameters shift the
estimate, each by what was seen with it, as far as the values of its parameter were seen apart.

Gains come from dev, never from the judge's items; the judge gives one bit, which is counted too.

Not here: episodes, what a signal is worth, rules.

References:
    DerSimonian and Laird, "Meta-analysis in clinical trials", Controlled Clinical Trials 1986 (spread between groups).
    Efron and Morris, "Stein's estimation rule and its competitors", JASA 1973 (shrinkage).
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import sqrt
from typing import Any

from evolvent.memory.episodes import ACCEPTED, MILLI, Episode, arm
from evolvent.types import canonical_json

_TRIAL_VARIANCE = 100.0  # of one trial's gain about its arm's mean, points squared, before any was seen
_OPERATOR_VARIANCE = 100.0  # of an operator's mean about its prior
_KIND_VARIANCE = 50.0  # of a kind's mean about its operator's: programs differ more than rates do
_GROUP_VARIANCE = 25.0  # of a regime's or class's mean about its arm's
_VALUE_VARIANCE = 100.0  # of what the values of an arm's parameters add together, about its mean
_WORTH = 3.0  # trials, or groups, that such an assumption is worth
KEPT = 512  # groups and values of parameters: open-ended spaces must not make a loop grow that goes on forever
_LEAST_VARIANCE = 4.0  # points squared: a few trials that agree prove no certainty, and dev problems are few


@dataclass(kw_only=True)
class Effect:
    """Running sums of one arm in one regime on one class.

    Attributes:
        n: screened proposals.
        total: sum of dev gains on the target, milli-points.
        squares: sum of squared gains, in points (rounded), for the spread.
        accepted: promotions by the gate.
        judged: verdicts.
        builds: builds that cost something; `mflops`: sum of their costs, millions of operations.
    """

    n: int = 0
    total: int = 0
    squares: int = 0
    accepted: int = 0
    judged: int = 0
    builds: int = 0
    mflops: int = 0

    def learn(self, episode: Episode) -> None:
        """Count one episode."""
        if episode.gain is not None:
            self.n += 1
            self.total += episode.gain
            self.squares += round((episode.gain / MILLI) ** 2)
        self.judged += int(episode.judged)
        self.accepted += int(episode.outcome == ACCEPTED)
        self.builds += int(episode.mflops > 0)
        self.mflops += episode.mflops

    def withdraw(self, gain: int) -> None:
        """An episode that was accepted with this gain, milli-points, is taken to have been refused without one."""
        self.total -= gain
        self.squares -= round((gain / MILLI) ** 2)
        self.accepted -= 1

    @property
    def mean(self) -> float:
        """Mean gain, points."""
        return self.total / MILLI / max(1, self.n)

    def plain(self) -> dict[str, int]:
        """As JSON."""
        return dict(vars(self))


@dataclass(frozen=True, kw_only=True)
class Foreseen:
    """What a change should give, said before it is built.

    Attributes:
        points: gain on the target's dev problems.
        deviation: standard deviation of that gain, points: of one trial, not of the mean.
        flops: operations of its build; 0 where nothing of its kind was built yet.
    """

    points: float
    deviation: float
    flops: int = 0


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What is known of the mean gain.

    Attributes:
        mean: points.
        error: standard error of that mean, points.
        deviation: standard deviation of a single trial about it, points.
        n: trials of the arm, anywhere.
    """

    mean: float
    error: float
    deviation: float
    n: int


@dataclass(frozen=True, kw_only=True)
class Case:
    """For what an estimate is asked.

    Attributes:
        band: regime.
        error: failure class, ``""`` for none.
    """

    band: str
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class Prior:
    """What is expected of an operator before any evidence.

    Attributes:
        points: gain with its usual values.
        shares: of the operator's gain that another value is expected to give, by ``param=value``; 1 if not named.
    """

    points: float
    shares: Mapping[str, float] = field(default_factory=dict)


@dataclass
class Effects:
    """All sums: `groups` by ``arm|band|error``, `values` by ``arm|param=value``."""

    groups: dict[str, Effect] = field(default_factory=dict)
    values: dict[str, Effect] = field(default_factory=dict)

    def learn(self, episode: Episode) -> None:
        """Count one episode."""
        self.groups.setdefault(_group_name(episode), Effect()).learn(episode)
        for name in _value_names(episode.operator, episode.params):
            self.values.setdefault(name, Effect()).learn(episode)
        for sums in (self.groups, self.values):
            if len(sums) > KEPT:
                del sums[min(sums, key=lambda name: (sums[name].n, name))]

    def withdraw(self, episode: Episode) -> None:
        """An accepted episode, counted before, was misleading."""
        named = [self.groups.get(_group_name(episode))]
        named += [self.values.get(name) for name in _value_names(episode.operator, episode.params)]
        for effect in named:
            if effect is not None and effect.accepted:
                effect.withdraw(episode.gain or 0)

    def forget(self, arm_or_operator: str) -> int:
        """Drop all sums of an arm, or of all arms of an operator. Returns how many groups went."""
        before = len(self.groups)
        self.groups = {k: e for k, e in self.groups.items() if not _names(k, arm_or_operator)}
        self.values = {k: e for k, e in self.values.items() if not _names(k, arm_or_operator)}
        return before - len(self.groups)

    def estimate(self, operator: str, params: Mapping[str, Any], case: Case, prior: Prior) -> Estimate:
        """The mean gain of a change in a case, shrunk level by level, shifted by what its parameters' values did.

        Args:
            operator: registered name.
            params: its parameters; a value never seen adds doubt, and the points that its prior says.
            case: regime and failure class.
            prior: before any evidence.
        """
        name = arm(operator, params)
        own = self._own(name)
        trial = self._trial_variance(list(own.values()))
        kinds, spread = self._kinds(operator), 0.0
        if name != operator.replace("|", "/"):
            spread = _between(list(kinds.values()), trial, _KIND_VARIANCE)
        mean, variance = _updated(prior.points, self._operator_variance(), kinds.values(), trial, spread)
        if spread:
            mean, variance = _within(mean, variance, spread, kinds.get(name, Effect()), trial)
        prefix = name
        for part in (case.band, _barless(case.error)):
            level = _grouped(own, prefix.count("|") + 2)
            spread = _between(list(level.values()), trial, _GROUP_VARIANCE)
            prefix = f"{prefix}|{part}"
            mean, variance = _within(mean, variance, spread, level.get(prefix, Effect()), trial)
        values = _value_names(operator, params)
        whole = mean
        for value in values:
            shift, doubt = self._shift(name, value, len(values), prior, whole)
            mean, variance = mean + shift, variance + doubt
        n = sum(effect.n for effect in own.values())
        return Estimate(mean=mean, error=sqrt(variance), deviation=sqrt(trial + variance), n=n)

    def draws(
        self, operator: str, choices: Sequence[Mapping[str, Any]], case: Case, prior: Prior, rng: random.Random
    ) -> list[tuple[float, float]]:
        """Draws of the mean gain of each choice from what is known of it, for Thompson sampling: ``(all, arm)``.

        They belong together: an arm has one draw, and so has each value of a parameter. ``all`` is of both, to choose
        among the values of one arm; ``arm`` has the arm's draw and the values' means, to choose among arms. The best
        ``all`` of an arm grows with the number of its values, which is no reason to hope for more.
        """
        arms: dict[str, float] = {}
        means: dict[str, float] = {}
        shifts: dict[str, float] = {}
        drawn = []
        for params in choices:
            name, values = arm(operator, params), _value_names(operator, params)
            if name not in arms:
                plain = {"kind": params["kind"]} if "kind" in params else {}
                known = self.estimate(operator, plain, case, prior)
                arms[name] = rng.gauss(known.mean, known.error)
            for value in values:
                if value not in shifts:
                    mean, variance = self._shift(name, value, len(values), prior, arms[name])
                    means[value], shifts[value] = mean, rng.gauss(mean, sqrt(variance))
            both, of_arm = (arms[name] + sum(known[value] for value in values) for known in (shifts, means))
            drawn.append((both, of_arm))
        return drawn

    def foresee(self, operator: str, params: Mapping[str, Any], case: Case, prior: Prior) -> Foreseen:
        """What the next trial should give and cost."""
        known = self.estimate(operator, params, case, prior)
        return Foreseen(points=known.mean, deviation=known.deviation, flops=self.cost(operator, params) * 10**6)

    def cost(self, operator: str, params: Mapping[str, Any]) -> int:
        """Millions of operations of a build: the mean of the arm's, times what its parameters' values made of it."""
        name = arm(operator, params)
        own = _sum(self._own(name).values())
        if not own.builds:
            return 0
        mean, factor = own.mflops / own.builds, 1.0
        for value in _value_names(operator, params):
            seen = self.values.get(value)
            if seen is not None and seen.builds:
                factor *= seen.mflops / seen.builds / mean
        return round(mean * factor)

    def _shift(self, name: str, value: str, parameters: int, prior: Prior, whole: float) -> tuple[float, float]:
        """Mean and variance of what a value adds to `whole`, its arm's gain: by its share until more of it was seen."""
        own = self._own(name)
        seen, before = self.values.get(value, Effect()), (prior.shares.get(value.split("|", 1)[1], 1.0) - 1) * whole
        apart = before + (_sum(own.values()).mean if seen.n else 0.0)
        trial = self._trial_variance(list(own.values()))
        parameter = value.rsplit("=", 1)[0] + "="
        beside = [effect for key, effect in self.values.items() if key.startswith(parameter)]
        spread = _between(beside, trial, _VALUE_VARIANCE / max(1, parameters))
        mean, variance = _within(apart, 0.0, spread, seen, trial)
        return mean - (apart - before), variance

    def _kinds(self, operator: str) -> dict[str, Effect]:
        """Sums of an operator's arms."""
        arms: dict[str, list[Effect]] = {}
        for key, effect in self.groups.items():
            name = key.split("|", 1)[0]
            if f"{name}:".startswith(f"{operator.replace('|', '/')}:"):
                arms.setdefault(name, []).append(effect)
        return {name: _sum(own) for name, own in arms.items()}

    def _own(self, name: str) -> dict[str, Effect]:
        return {key: effect for key, effect in self.groups.items() if key.split("|", 1)[0] == name}

    def _trial_variance(self, own: Sequence[Effect]) -> float:
        """Of one trial about the mean of its group: all arms' first, then this arm's own."""
        everyone = _pooled(list(self.groups.values()), _TRIAL_VARIANCE)
        return max(_pooled(own, everyone), _LEAST_VARIANCE)

    def _operator_variance(self) -> float:
        """Of an operator's mean about its prior: the further operators are seen apart, the less is a prior believed.

        So that one early success does not end the search: where an operator gave far more than was thought, so may
        another.
        """
        operators: dict[str, list[Effect]] = {}
        for key, effect in self.groups.items():
            operators.setdefault(key.split("|", 1)[0].split(":", 1)[0], []).append(effect)
        everyone = _pooled(list(self.groups.values()), _TRIAL_VARIANCE)
        return _between([_sum(own) for own in operators.values()], everyone, _OPERATOR_VARIANCE)

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "groups": {key: e.plain() for key, e in sorted(self.groups.items())},
            "values": {key: e.plain() for key, e in sorted(self.values.items())},
        }

    @classmethod
    def from_plain(cls, data: Mapping[str, Any]) -> Effects:
        """From JSON.

        Raises:
            KeyError, TypeError, ValueError, AttributeError: it is something else.
        """
        if any(str(key).count("|") != 2 for key in data["groups"]):
            raise ValueError("a group is named arm|band|class")
        return cls(*({str(k): Effect(**{f: int(v) for f, v in e.items()}) for k, e in data[part].items()}
                     for part in ("groups", "values")))  # fmt: skip


def _barless(name: str) -> str:
    return name.replace("|", "/")


def _group_name(episode: Episode) -> str:
    return f"{episode.arm}|{episode.band}|{_barless(episode.error)}"


def _value_names(operator: str, params: Mapping[str, Any]) -> list[str]:
    name = arm(operator, params)
    return [f"{name}|{key}={canonical_json(value)}" for key, value in sorted(params.items()) if key != "kind"]


def _names(key: str, arm_or_operator: str) -> bool:
    name = key.split("|", 1)[0]
    return arm_or_operator in (name, name.split(":", 1)[0])


def _sum(effects: Iterable[Effect]) -> Effect:
    total = Effect()
    for effect in effects:
        for name, value in effect.plain().items():
            setattr(total, name, getattr(total, name) + value)
    return total


def _grouped(own: Mapping[str, Effect], parts: int) -> dict[str, Effect]:
    """Sums by the first `parts` of their keys."""
    groups: dict[str, list[Effect]] = {}
    for key, effect in own.items():
        groups.setdefault("|".join(key.split("|")[:parts]), []).append(effect)
    return {key: _sum(members) for key, members in groups.items()}


def _updated(mean: float, variance: float, kinds: Iterable[Effect], trial: float, spread: float) -> tuple[float, float]:
    """Normal prior of an operator's mean, and trials of its kinds, whose means differ by `spread`: its posterior."""
    weighed = [(1 / (trial / seen.n + spread), seen.mean) for seen in kinds if seen.n]
    precision = 1 / variance + sum(weight for weight, _ in weighed)
    return (mean / variance + sum(weight * own for weight, own in weighed)) / precision, 1 / precision


def _within(above: float, doubt: float, spread: float, seen: Effect, trial: float) -> tuple[float, float]:
    """Mean of a group drawn with variance `spread` about a mean known to be `above` with variance `doubt`."""
    weight = spread / (spread + trial / seen.n) if seen.n else 0.0
    return above + weight * (seen.mean - above), spread * (1 - weight) + (1 - weight) ** 2 * doubt


def _pooled(groups: Sequence[Effect], assumed: float) -> float:
    """Variance of a trial about its group's mean, with `_WORTH` trials of the assumed one."""
    squares = sum(max(0.0, e.squares - e.n * e.mean**2) for e in groups)
    free = sum(max(0, e.n - 1) for e in groups)
    return (squares + _WORTH * assumed) / (free + _WORTH)


def _between(groups: Sequence[Effect], trial: float, assumed: float) -> float:
    """Variance of the groups' true means, by moments (DerSimonian-Laird), with `_WORTH` groups of the assumed one."""
    seen = [e for e in groups if e.n]
    n = sum(e.n for e in seen)
    found, free = 0.0, len(seen) - 1
    if free > 0:
        mean = sum(e.total for e in seen) / MILLI / n
        q = sum(e.n * (e.mean - mean) ** 2 for e in seen) / trial
        scale = n - sum(e.n**2 for e in seen) / n
        found = max(0.0, (q - free) / scale) * trial
    return (max(free, 0) * found + _WORTH * assumed) / (max(free, 0) + _WORTH)

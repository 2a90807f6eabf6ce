"""Effect estimates: how much does a change help, for which failures, in which regime, and what does it cost?

The second layer of memory. Running sums in whole numbers per ``arm|regime|failure class``, folded from episodes, so
that they are the same after a crash and on each machine. An estimate is shrunk level by level: the operator's prior,
the operator over everything, its kind, the kind in this regime, the kind in this regime on this class. How far a level
is trusted follows from the spread among its groups (method of moments), so classes that behave alike lend each other
their evidence, and a class that is different is believed once it was seen often enough. Values of parameters shift the
estimate, judged together (`values.py`), as far as the values of a parameter were seen apart.

Gains come from dev, never from the judge's items; the judge gives one bit, which is counted too.

Not here: how a mean is shrunk (`sums.py`), episodes, what a signal is worth, rules.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from math import sqrt
from typing import Any

from evolvent.memory.episodes import MILLI, Episode, arm, is_named, operator_of, whole
from evolvent.memory.sums import Effect, between, pooled, summed, updated, within
from evolvent.memory.values import Shifts, judged
from evolvent.types import canonical_json

_TRIAL_VARIANCE = 100.0  # of one trial's gain about its arm's mean, points squared, before any was seen
_OPERATOR_VARIANCE = 100.0  # of an operator's mean about its prior
_KIND_VARIANCE = 50.0  # of a kind's mean about its operator's: programs differ more than rates do
_GROUP_VARIANCE = 25.0  # of a regime's or class's mean about its arm's
_VALUE_VARIANCE = 100.0  # of what the values of an arm's parameters add together, about its mean
_KEPT_PAIRS = 4096  # of values; also so that a loop does not grow
_AND = " & "
_JUDGED = 64  # values of an arm that are judged together
KEPT = 512  # groups and values of parameters: open-ended spaces must not make a loop grow that goes on forever
_LEAST_VARIANCE = 4.0  # points squared: a few trials that agree prove no certainty, and dev problems are few


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
    """All sums: `groups` by ``arm|band|error``, `values` by ``arm|param=value``.

    `pairs` counts the screened trials that show two values, by ``value & value``, the lesser name first.
    """

    groups: dict[str, Effect] = field(default_factory=dict)
    values: dict[str, Effect] = field(default_factory=dict)
    pairs: dict[str, int] = field(default_factory=dict)

    def learn(self, episode: Episode) -> None:
        """Count one episode."""
        self.groups.setdefault(_group_name(episode), Effect()).learn(episode)
        for name in _value_names(episode.operator, episode.params):
            self.values.setdefault(name, Effect()).learn(episode)
        if episode.gain is not None:
            for pair in _pair_names(_value_names(episode.operator, episode.params)):
                self.pairs[pair] = self.pairs.get(pair, 0) + 1
            if len(self.pairs) > _KEPT_PAIRS:
                del self.pairs[min(self.pairs, key=lambda name: (self.pairs[name], name))]
        for sums in (self.groups, self.values):
            if len(sums) > KEPT:
                gone = min(sums, key=lambda name: (sums[name].n, name))
                del sums[gone]
                self.pairs = {k: n for k, n in self.pairs.items() if gone not in k.split(_AND)}

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
        self.pairs = {k: n for k, n in self.pairs.items() if not _names(k, arm_or_operator)}
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
        if name != arm(operator, {}):
            spread = between(list(kinds.values()), trial, _KIND_VARIANCE)
        mean, variance = updated(prior.points, self._operator_variance(), kinds.values(), trial, spread)
        if spread:
            mean, variance = within(mean, variance, spread, kinds.get(name, Effect()), trial)
        prefix = name
        for part in (case.band, _barless(case.error)):
            level = _grouped(own, prefix.count("|") + 2)
            spread = between(list(level.values()), trial, _GROUP_VARIANCE)
            prefix = f"{prefix}|{part}"
            mean, variance = within(mean, variance, spread, level.get(prefix, Effect()), trial)
        if values := _value_names(operator, params):
            shift, doubt = self._shifts(name, values, prior, mean).of(values)
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
        asked: dict[str, dict[str, None]] = {}
        for params in choices:
            asked.setdefault(arm(operator, params), {}).update(dict.fromkeys(_value_names(operator, params)))
        arms: dict[str, float] = {}
        means: dict[str, Mapping[str, float]] = {}
        shifts: dict[str, Mapping[str, float]] = {}
        drawn = []
        for params in choices:
            name, values = arm(operator, params), _value_names(operator, params)
            if name not in arms:
                plain = {"kind": params["kind"]} if "kind" in params else {}
                known = self.estimate(operator, plain, case, prior)
                arms[name] = rng.gauss(known.mean, known.error)
                judged_here = self._shifts(name, list(asked[name]), prior, arms[name])
                means[name], shifts[name] = judged_here.means, judged_here.draw(rng)
            both, of_arm = (arms[name] + sum(known[name][value] for value in values) for known in (shifts, means))
            drawn.append((both, of_arm))
        return drawn

    def foresee(self, operator: str, params: Mapping[str, Any], case: Case, prior: Prior) -> Foreseen:
        """What the next trial should give and cost."""
        known = self.estimate(operator, params, case, prior)
        return Foreseen(points=known.mean, deviation=known.deviation, flops=self.cost(operator, params) * 10**6)

    def cost(self, operator: str, params: Mapping[str, Any]) -> int:
        """Millions of operations of a build: the mean of the arm's, times what its parameters' values made of it."""
        name = arm(operator, params)
        own = summed(self._own(name).values())
        if not own.builds:
            return 0
        mean, factor = own.mflops / own.builds, 1.0
        for value in _value_names(operator, params):
            seen = self.values.get(value)
            if seen is not None and seen.builds:
                factor *= seen.mflops / seen.builds / mean
        return round(mean * factor)

    def _shifts(self, name: str, asked: Sequence[str], prior: Prior, whole: float) -> Shifts:
        """What values add to `whole`, their arm's gain: by their shares until more of them was seen."""
        own = list(self._own(name).values())
        trial, mean = self._trial_variance(own), summed(own).mean
        known = sorted((v for v in self.values if v.startswith(f"{name}|")), key=lambda v: (-self.values[v].n, v))
        names = list(dict.fromkeys([*asked, *known]))[: max(len(asked), _JUDGED)]
        parameters: dict[str, list[str]] = {}
        for value in names:
            parameters.setdefault(_parameter(value), []).append(value)
        assumed = _VALUE_VARIANCE / max(1, len(parameters))
        seen = {value: self.values.get(value, Effect()) for value in names}
        spread = {
            parameter: between([seen[value] for value in values], trial, assumed)
            for parameter, values in parameters.items()
        }

        def together(one: str, other: str) -> int:
            return seen[one].n if one == other else self.pairs.get(_pair_name(one, other), 0)

        return judged(
            names,
            [(prior.shares.get(value.split("|", 1)[1], 1.0) - 1) * whole for value in names],
            [spread[_parameter(value)] for value in names],
            [seen[value].total / MILLI - seen[value].n * mean for value in names],
            together,
            trial,
        )

    def _kinds(self, operator: str) -> dict[str, Effect]:
        """Sums of an operator's arms."""
        arms: dict[str, list[Effect]] = {}
        for key, effect in self.groups.items():
            if operator_of(_arm(key)) == arm(operator, {}):
                arms.setdefault(_arm(key), []).append(effect)
        return {name: summed(own) for name, own in arms.items()}

    def _own(self, name: str) -> dict[str, Effect]:
        return {key: effect for key, effect in self.groups.items() if _arm(key) == name}

    def _trial_variance(self, own: Sequence[Effect]) -> float:
        """Of one trial about the mean of its group: all arms' first, then this arm's own."""
        everyone = pooled(list(self.groups.values()), _TRIAL_VARIANCE)
        return max(pooled(own, everyone), _LEAST_VARIANCE)

    def _operator_variance(self) -> float:
        """Of an operator's mean about its prior: the further operators are seen apart, the less is a prior believed.

        So that one early success does not end the search: where an operator gave far more than was thought, so may
        another.
        """
        operators: dict[str, list[Effect]] = {}
        for key, effect in self.groups.items():
            operators.setdefault(operator_of(_arm(key)), []).append(effect)
        everyone = pooled(list(self.groups.values()), _TRIAL_VARIANCE)
        return between([summed(own) for own in operators.values()], everyone, _OPERATOR_VARIANCE)

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "groups": {key: e.plain() for key, e in sorted(self.groups.items())},
            "values": {key: e.plain() for key, e in sorted(self.values.items())},
            "pairs": dict(sorted(self.pairs.items())),
        }

    @classmethod
    def from_plain(cls, data: Mapping[str, Any]) -> Effects:
        """From JSON.

        Raises:
            KeyError, TypeError, ValueError, AttributeError: it is something else.
        """
        if any(str(key).count("|") != 2 for key in data["groups"]):
            raise ValueError("a group is named arm|band|class")
        groups, values = (
            {str(k): Effect.from_plain(e) for k, e in data[part].items()} for part in ("groups", "values")
        )
        pairs = {str(k): whole(n) for k, n in data["pairs"].items()}
        if min(pairs.values(), default=0) < 0:
            raise ValueError("pairs: a count is below 0")
        return cls(groups, values, pairs)


def _barless(name: str) -> str:
    return name.replace("|", "/")


def _group_name(episode: Episode) -> str:
    return f"{episode.arm}|{episode.band}|{_barless(episode.error)}"


def _value_names(operator: str, params: Mapping[str, Any]) -> list[str]:
    """What a trial shows of parameters; one that was written freely is never seen twice, and teaches nothing."""
    name = arm(operator, params)
    chosen = sorted((key, v) for key, v in params.items() if key != "kind" and not isinstance(v, Mapping | list))
    return [f"{name}|{key}={canonical_json(value)}" for key, value in chosen]


def _pair_names(values: Sequence[str]) -> list[str]:
    return [_pair_name(one, other) for one, other in combinations(values, 2)]


def _pair_name(one: str, other: str) -> str:
    return _AND.join(sorted((one, other)))


def _parameter(value: str) -> str:
    return value.split("|", 1)[1].split("=", 1)[0]


def _names(key: str, arm_or_operator: str) -> bool:
    return is_named(_arm(key), arm_or_operator)


def _arm(key: str) -> str:
    return key.split("|", 1)[0]


def _grouped(own: Mapping[str, Effect], parts: int) -> dict[str, Effect]:
    """Sums by the first `parts` of their keys."""
    groups: dict[str, list[Effect]] = {}
    for key, effect in own.items():
        groups.setdefault("|".join(key.split("|")[:parts]), []).append(effect)
    return {key: summed(members) for key, members in groups.items()}

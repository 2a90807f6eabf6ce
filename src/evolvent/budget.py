"""Budgets: nested limits, each with an owner.

A build's limit lies inside the turn's, which lies inside the run's; what is spent in one is spent in all around it, and
whoever reaches a limit is told whose it is. Units are whole numbers, so that the same work always costs the same.

A build goes on in a worker, out of reach of the budgets around it, and beside other builds. So its share is fixed
before it begins (`allowance`), travels with the job, and is asked there before each step (`afford`).

Seconds only stop a run or kill a job, they never decide between candidates: a slower machine must reach the same
verdicts.

Not here: predicting cost (operators do); killing a job by the clock (`jobs.py`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from evolvent.errors import BudgetSpent, JobFailed, UsageError

UNITS = ("flops", "tokens", "problems", "seconds")
BUILD_UNITS = ("flops", "tokens")


class Budget:
    """What one owner may spend.

    Attributes:
        owner: who set the limits, for example ``run`` or ``build``.
        limits: limit by unit; a unit that is not named has none here.

    Guarantees:
        What was charged is counted, in this budget and in all around it, also when it crosses a limit.
    """

    def __init__(
        self,
        owner: str,
        limits: Mapping[str, int],
        *,
        spent: Mapping[str, int] | None = None,
        clock: Callable[[], float] | None = None,
        parent: Budget | None = None,
    ) -> None:
        """Start with what was `spent` before.

        Args:
            owner: who sets the limits.
            limits: whole numbers by unit.
            spent: spent here before, by unit; the budgets around know of it already.
            clock: monotonic seconds. When given, time that passes counts as ``seconds`` besides what is charged.
            parent: the budget around this one.

        Raises:
            UsageError: a unit is unknown, or a limit is not a whole number of at least 0.
        """
        _check(owner, limits)
        _check(owner, spent or {})
        self.owner, self.limits = owner, dict(limits)
        self._parent, self._clock = parent, clock
        self._start_s = clock() if clock else 0.0
        self._charged: dict[str, int] = {**dict.fromkeys(UNITS, 0), **(spent or {})}

    def charge(self, **amounts: int) -> None:
        """Count what was spent, here and in every budget around.

        Args:
            **amounts: whole numbers by unit: ``flops``, ``tokens``, ``problems``, ``seconds``.

        Raises:
            BudgetSpent: a limit is crossed; names the innermost owner whose limit it is.
            UsageError: a unit is unknown, or an amount is not a whole number of at least 0.
        """
        _check(self.owner, amounts)
        for budget in self._chain():
            for unit, amount in amounts.items():
                budget._charged[unit] += amount
        self._raise_if_over({})

    def check(self, **wanted: int) -> None:
        """Ask before spending; counts nothing.

        Raises:
            BudgetSpent: `wanted` would cross a limit here or around, or time has run out.
            UsageError: a unit is unknown, or an amount is not a whole number of at least 0.
        """
        _check(self.owner, wanted)
        self._raise_if_over(wanted)

    @property
    def spent(self) -> dict[str, int]:
        """Spent so far by unit; ``seconds`` includes whole seconds measured by the clock."""
        measured = int(self._clock() - self._start_s) if self._clock else 0
        return {**self._charged, "seconds": self._charged["seconds"] + measured}

    def left(self, unit: str) -> int | None:
        """How much may still be spent here, given every limit around; ``None`` when nothing limits it."""
        _check(self.owner, {unit: 0})
        rests = [budget.limits[unit] - budget.spent[unit] for budget in self._chain() if unit in budget.limits]
        return max(0, min(rests)) if rests else None

    def _chain(self) -> Iterator[Budget]:
        budget: Budget | None = self
        while budget is not None:
            yield budget
            budget = budget._parent

    def _raise_if_over(self, wanted: Mapping[str, int]) -> None:
        for budget in self._chain():
            spent = budget.spent
            for unit, limit in budget.limits.items():
                total = spent[unit] + wanted.get(unit, 0)
                if total > limit:
                    raise BudgetSpent(budget.owner, unit, limit, total)


class Stopwatch:
    """Wall time between laps.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._since_s = clock, clock()

    def lap_ms(self) -> int:
        """Whole milliseconds since it was asked last, or made; what is lost by rounding is in the next lap."""
        lap = int(1000 * (self._clock() - self._since_s))
        self._since_s += lap / 1000
        return lap


def allowance(around: Budget, limits: Mapping[str, int], builds: int) -> dict[str, int]:
    """What each of `builds` builds, side by side, may spend: `limits`, and an even share of what is left around.

    A unit that nothing limits is not named.
    """
    share = {unit: left // builds for unit in BUILD_UNITS if (left := around.left(unit)) is not None}
    return {u: min(found) for u in BUILD_UNITS if (found := [part[u] for part in (share, limits) if u in part])}


def afford(params: Mapping[str, Any], wanted: Mapping[str, int], spent: Mapping[str, int]) -> None:
    """Ask, inside a job, whether its build's allowance (``max_flops``, ``max_tokens`` of `params`) holds `wanted`.

    Args:
        params: of the job.
        wanted: units spent after the next step.
        spent: units spent so far, for the record.

    Raises:
        JobFailed: ``over_budget``; says what was spent.
    """
    for unit, amount in wanted.items():
        limit = params.get(f"max_{unit}")
        if limit is not None and amount > int(limit):
            why = f"{amount:,} {unit} wanted, {int(limit):,} allowed to this build; see `budget` in the settings"
            raise JobFailed("over_budget", why, flops=spent["flops"], tokens=spent["tokens"])


def _check(owner: str, amounts: Mapping[str, int]) -> None:
    for unit, amount in amounts.items():
        if unit not in UNITS:
            raise UsageError(f"budget of '{owner}': expected one of {', '.join(UNITS)}, got '{unit}'")
        if type(amount) is not int or amount < 0:
            raise UsageError(f"budget of '{owner}': {unit}: expected a whole number of at least 0, got {amount!r}")

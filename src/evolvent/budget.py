"""Budgets: nested limits, each with an owner.

A build's limit lies inside the turn's, which lies inside the run's; what is spent in one is spent in all around it, and
whoever reaches a limit is told whose it is. Units are whole numbers, so that the same work always costs the same.

Seconds only stop a run, they never decide anything: a slower machine must reach the same verdicts.

Not here: predicting cost (operators do); stopping a job in the middle (`jobs.py` has its own time limit).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager

from evolvent.errors import BudgetSpent, UsageError

UNITS = ("flops", "tokens", "problems", "seconds")


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
        clock: Callable[[], float] | None = None,
        parent: Budget | None = None,
    ) -> None:
        """Start with nothing spent.

        Args:
            owner: who sets the limits.
            limits: whole numbers by unit.
            clock: monotonic seconds. When given, time that passes counts as ``seconds`` besides what is charged.
            parent: the budget around this one.

        Raises:
            UsageError: a unit is unknown, or a limit is not a whole number of at least 0.
        """
        _check(owner, limits)
        self.owner, self.limits = owner, dict(limits)
        self._parent, self._clock = parent, clock
        self._start_s = clock() if clock else 0.0
        self._charged: dict[str, int] = dict.fromkeys(UNITS, 0)

    @contextmanager
    def slice(self, owner: str, limits: Mapping[str, int]) -> Generator[Budget, None, None]:
        """A budget within this one: ``with budget.slice("build", {"flops": 10**12}) as build:``."""
        yield Budget(owner, limits, clock=self._clock, parent=self)

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


def _check(owner: str, amounts: Mapping[str, int]) -> None:
    for unit, amount in amounts.items():
        if unit not in UNITS:
            raise UsageError(f"budget of '{owner}': expected one of {', '.join(UNITS)}, got '{unit}'")
        if type(amount) is not int or amount < 0:
            raise UsageError(f"budget of '{owner}': {unit}: expected a whole number of at least 0, got {amount!r}")

"""What a recipe owes: its arms, the control among them, and figures of one arm and one seed.

Every arm of a seed starts from the same artifact, and has the same steps, tokens a step and evaluations; the control
lacks the mechanism and nothing else. An arm that reads truth is declared an oracle. Figures are measured on fresh
problems that no arm has seen.

Not here: running units, resuming (`running.py`); intervals (`observed.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from evolvent.store import Store

__all__ = ["Figures", "Recipe", "Settings", "Unit"]

Figures = dict[str, float]
Settings = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Unit:
    """One arm of one seed.

    Attributes:
        arm: its name.
        seed: of everything random in it. What the arms are to share is drawn from the seed without the arm.
        settings: full or quick: plain JSON without floats.
        store: where artifacts lie.
        start: store hashes of what all arms of the seed start from, by name; empty for a recipe without a `start`.
    """

    arm: str
    seed: int
    settings: Settings
    store: Store
    start: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A published loop, small, with its controls. One file each, registered under ``evolvent.recipes``.

    Attributes:
        name: as registered.
        title: a few words.
        paper: where it comes from.
        claim: what is claimed there, and by whom.
        expected: what we expected to see before we ran it, and why.
        arms: name -> what it does.
        mechanism: the arm that has what is claimed to work.
        control: the arm that lacks it alone.
        oracles: arms that read truth.
        metric: the figure on which the two are compared; more is better.
        traps: what makes such a figure look better than it is.
        run: figures of one unit; the same names for every arm, though an arm may add some.
        start: ``module:function`` of a job that makes what all arms of a seed start from; its parameters are
            ``settings["start"]``. Recipes with the same start share it.
        full: settings; ``seeds`` is a list and part of no unit, ``version`` is raised when code changes figures.
        quick: settings of ``--quick``: the same code, smaller.
    """

    name: str
    title: str
    paper: str
    claim: str
    expected: str
    arms: Mapping[str, str]
    mechanism: str
    control: str
    metric: str
    traps: tuple[str, ...]
    run: Callable[[Unit], Figures]
    full: Settings
    quick: Settings
    oracles: tuple[str, ...] = ()
    start: str = ""

    def __post_init__(self) -> None:
        """Check the names.

        Raises:
            ValueError: mechanism, control or an oracle is no arm, or the mechanism is its own control.
        """
        for arm in (self.mechanism, self.control, *self.oracles):
            if arm not in self.arms:
                raise ValueError(f"{self.name}: expected one of {', '.join(self.arms)}, got {arm!r}")
        if self.mechanism == self.control:
            raise ValueError(f"{self.name}: expected a control beside {self.mechanism!r}")

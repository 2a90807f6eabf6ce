"""How well this machine can hold model-written code: try from the strongest tier down, and prove the one that is taken.

- ``bubblewrap``: the zygote in a box of bubblewrap; its children under the filter and Landlock; no writes at all.
- ``namespaces``: namespaces of its own for each child (the network's is the zygote's, which is empty), a root with
  nothing but the standard library, the filter, Landlock if there.
- ``kernel``: the filter and Landlock alone; no writes at all.
- ``reduced``: some of that, but network, files and other processes are out of reach; may screen and train, never
  promote.

In each tier resource limits hold as well. A tier that the machine cannot set up is passed over, and the reason kept.
One that was set up is then tried from inside, by a task like any other (`probe_task.py`), while this side looks whether
anything arrived. What gets through a tier that claimed to hold is an error, not a reason to try a weaker one. Where no
tier holds, hostile code is refused.

Not here: the attempts (`probes.py`), what each protection is (`namespaces.py`, `allowlist.py`, `landlock.py`).
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from evolvent.errors import SandboxError, boundary
from evolvent.sandbox import bubblewrap, probes
from evolvent.sandbox.isolate import KERNEL, REDUCED
from evolvent.sandbox.outcome import Limits, run_task
from evolvent.sandbox.spawn import Nursery

__all__ = ["BUBBLEWRAP", "NAMESPACES", "PROMOTING", "Ground", "Plan", "find_ground", "plans"]

BUBBLEWRAP, NAMESPACES = "bubblewrap", "namespaces"
# The tiers whose verdicts may promote.
PROMOTING = frozenset({BUBBLEWRAP, NAMESPACES, KERNEL})
_LIMITS = Limits(cpu_s=10, wall_s=30.0)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One way to hold a child.

    Attributes:
        tier: what it is called if it holds.
        needs: what a child must report that it is held by.
        namespaces: the zygote asks the kernel for them.
        seccomp: children ask for the filter.
        opens: the filter lets files be opened, so something else must decide which.
        prefix: what stands in front of the zygote's own arguments.
    """

    tier: str
    needs: frozenset[str]
    namespaces: bool
    seccomp: bool = True
    opens: bool = True
    prefix: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ground:
    """What was found to hold.

    Attributes:
        tier: its name.
        plan: how it is set up.
        passed_over: why each stronger one was not taken.
    """

    tier: str
    plan: Plan
    passed_over: tuple[str, ...]

    def nursery(self) -> Nursery:
        """A zygote on this ground.

        Raises:
            SandboxError: it does not start.
        """
        settings = {name: getattr(self.plan, name) for name in ("namespaces", "seccomp", "opens")}
        return Nursery(settings, self.plan.prefix)


def plans() -> list[Plan]:
    """The ways to hold a child that are worth trying here, the strongest first."""
    if sys.platform != "linux":
        return []
    both = frozenset({"seccomp", "landlock"})
    box = shutil.which("bwrap")
    return [
        *([Plan(tier=BUBBLEWRAP, needs=both, namespaces=False, prefix=tuple(bubblewrap.argv(box)))] if box else []),
        Plan(tier=NAMESPACES, needs=frozenset({"namespaces", "seccomp"}), namespaces=True),
        Plan(tier=KERNEL, needs=both, namespaces=False),
        Plan(tier=REDUCED, needs=frozenset({"namespaces"}), namespaces=True, seccomp=False),
        Plan(tier=REDUCED, needs=frozenset({"seccomp"}), namespaces=False, opens=False),
    ]


def find_ground(hidden: Sequence[Path] = ()) -> tuple[Ground, Nursery]:
    """The strongest tier that can be set up here and keeps its word, and the zygote that kept it.

    Args:
        hidden: paths that must be unreadable from inside, besides what is always tried.

    Raises:
        SandboxError: no tier can be set up, each with its reason; or one was set up and an attempt got through.
    """
    reasons: list[str] = []
    for plan in plans():
        ground = Ground(plan.tier, plan, tuple(reasons))
        try:
            return ground, _proven(ground, hidden)
        except probes.GotThrough:
            raise
        except SandboxError as exc:
            reasons.append(f"{plan.tier}: {exc}")
    why = "; ".join(reasons) or f"nothing is known to hold on {sys.platform}"
    raise SandboxError(f"no sandbox for model-written code on this machine, so none is run: {why}")


def _proven(ground: Ground, hidden: Sequence[Path]) -> Nursery:
    nursery = ground.nursery()
    try:
        with boundary(SandboxError, "probes"):
            _prove(ground, nursery, hidden)
    except BaseException:
        nursery.close()
        raise
    return nursery


def _prove(ground: Ground, nursery: Nursery, hidden: Sequence[Path]) -> None:
    child = nursery.order(_LIMITS.bounds())
    held = frozenset(child.wait_locked())
    if missing := ground.plan.needs - held:
        nursery.end(child)
        raise SandboxError(f"this kernel gives no {', '.join(sorted(missing))}")
    with probes.Watch(hidden, scratch="namespaces" in held, opens=ground.plan.opens) as watch:
        outcome = run_task(nursery, child, probes.task(watch.attempts), _LIMITS, ground.tier)
        watch.judge(outcome, complete=ground.tier in PROMOTING)

"""Run a function that a model wrote, on arguments of ours, where it can reach nothing.

``CodeSandbox`` keeps a zygote and a few children that are locked in and wait. A call takes one, sends it the source and
the arguments, reads one answer and ends it; nothing is used twice. The answer is data: values as they were returned
(`plain.py`), or how it failed. Expected values stay on this side.

Not here: whether the values are right; the rollout worker of the judge (`isolate.py`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from evolvent.errors import SandboxError
from evolvent.sandbox.outcome import CallResult, Limits, Outcome, Task, run_task
from evolvent.sandbox.spawn import Child, Nursery
from evolvent.sandbox.tiers import Ground, find_ground
from evolvent.types import Json

__all__ = ["CallResult", "CodeSandbox", "Limits", "Outcome"]


class CodeSandbox:
    """Runs model-written functions, one task at a time. Not for several threads at once.

    Args:
        warm: children kept ready.
        hidden: paths that must be unreadable inside, such as the judge's folder; each is tried at the start.
        limits: of every call that names no others. A call with its own limits takes a new child.

    Attributes:
        ground: what was found to hold, and why nothing stronger was taken.

    Raises:
        SandboxError: no tier holds on this machine, or an attempt got through one that claimed to.
    """

    def __init__(self, *, warm: int = 2, hidden: Sequence[Path] = (), limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._warm = warm
        self._ready: deque[Child] = deque()
        self.ground: Ground
        self._nursery: Nursery | None
        self.ground, self._nursery = find_ground(hidden)
        self._fill()

    @property
    def tier(self) -> str:
        """Name of what was proven at the start; see `tiers.py`."""
        return self.ground.tier

    def call(
        self, source: str, function: str, calls: Sequence[Sequence[Json]], limits: Limits | None = None
    ) -> Outcome:
        """Load a module and call one of its functions, each time with one list of arguments, in one process.

        Args:
            source: of the module.
            function: its name.
            calls: argument lists, each argument in the encoding of `plain`.
            limits: of this task, if they are not the sandbox's own.

        Raises:
            SandboxError: the sandbox itself failed, and nothing can be said about the task. The next call starts a new
                zygote.
        """
        limits = limits or self._limits
        task = Task(source=source, function=function, calls=calls)
        try:
            nursery, child = self._take(limits)
            outcome = run_task(nursery, child, task, limits, self.tier)
            self._fill()  # born while the caller, or the next task, is at work
        except BaseException:  # Ctrl-C too: what was begun must not go on
            self.close()
            raise
        return outcome

    def close(self) -> None:
        """End everything. May be called again; a later call starts anew."""
        while self._ready:
            self._ready.popleft().close()
        if self._nursery is not None:
            self._nursery.close()
            self._nursery = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _fill(self) -> None:
        while self._nursery is not None and len(self._ready) < self._warm:
            self._ready.append(self._nursery.order(self._limits.bounds()))

    def _take(self, limits: Limits) -> tuple[Nursery, Child]:
        if self._nursery is None:
            self._nursery = self.ground.nursery()
        wanted = limits.bounds()
        if self._ready and self._ready[0].bounds == wanted:
            child = self._ready.popleft()
        else:
            child = self._nursery.order(wanted)
        try:
            held = frozenset(child.wait_locked())
        except SandboxError:
            child.close()
            raise
        if missing := self.ground.plan.needs - held:
            raise SandboxError(f"sandbox child: lost {', '.join(sorted(missing))}, which was there at the start")
        return self._nursery, child

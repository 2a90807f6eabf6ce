"""What passes between a nursery and its zygote: orders and how children ended, as numbers in fixed places.

Both ends are ours and no task passes here. Numbers, because whatever the zygote touches between two births is a page
that it must get anew.

Not here: who sends (`spawn.py`), who obeys (`zygote.py`).
"""

from __future__ import annotations

import struct
from typing import NamedTuple

__all__ = [
    "BEAR", "KILL", "NEVER_BORN", "READY", "Bounds", "bear", "end", "ended", "number_of", "read_bear", "read_ended",
]  # fmt: skip

BEAR, KILL, _END = 1, 2, 3
READY = b"ready"
NEVER_BORN = -1000  # no exit code or signal
_HEAD = struct.Struct("=BQ")
_BIRTH = struct.Struct("=BQ5Q")
_ENDED = struct.Struct("=Qqd?")


class Bounds(NamedTuple):
    """What of `outcome.Limits` a child must know; it has no say in the time on the wall."""

    cpu_s: int
    memory_bytes: int
    output_bytes: int
    scratch_bytes: int
    num_tasks: int


def bear(number: int, bounds: Bounds) -> bytes:
    """The order to bear a child."""
    return _BIRTH.pack(BEAR, number, *bounds)


def end(number: int, *, at_once: bool) -> bytes:
    """The order to end it: `at_once`, or once it had a moment to end by itself."""
    return _HEAD.pack(KILL if at_once else _END, number)


def number_of(order: bytes) -> int:
    """The child that an order is about."""
    return _HEAD.unpack_from(order)[1]


def read_bear(order: bytes) -> Bounds:
    """The bounds of an order to bear."""
    return Bounds(*_BIRTH.unpack(order)[2:])


def ended(number: int, exit_code: int, cpu_s: float, *, killed: bool) -> bytes:
    """The answer to `end`; `killed` where the zygote found the child alive and killed it."""
    return _ENDED.pack(number, exit_code, cpu_s, killed)


def read_ended(answer: bytes) -> tuple[int, int, float, bool]:
    """Number, exit code, processor seconds, and whether the zygote killed it.

    Raises:
        struct.error: it is no such answer.
    """
    return _ENDED.unpack(answer)

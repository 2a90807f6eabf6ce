"""A probe: code that tries one thing from inside of a sandbox, and says that it ran and what it was told.

``act(T)`` returns True if it got what it wanted, False if it ran and got nothing, and raises `OSError` if it was refused.
``T`` is what `base.Field` knows. Anything else that it raises proves nothing.

Not here: what is tried (`reach.py`, `harm.py`).
"""

from __future__ import annotations

import errno
import random
import socket
import textwrap
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from evolvent.sandbox import CodeSandbox, Limits, Outcome, plain
from hostile.base import Attack, Ending, Field, Found, Json

__all__ = ["GONE", "MADE", "REFUSED", "ask", "probe", "read_ending", "read_said", "source_of"]

REFUSED = frozenset({errno.EPERM, errno.EACCES, errno.EROFS, errno.ENOSYS})
# It is there outside, and not in here: another root, another network, other processes. Or a limit of ours was reached.
GONE = frozenset(
    {
        errno.ENOENT,
        errno.ENOTDIR,
        errno.ESRCH,
        errno.ENETUNREACH,
        errno.ECONNREFUSED,
        errno.EADDRNOTAVAIL,
        errno.ECHILD,
        errno.EAGAIN,
        errno.ENOMEM,
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOSPC,
        errno.EFBIG,
        errno.EDQUOT,
        errno.EBADF,
        socket.EAI_AGAIN,
        socket.EAI_NONAME,
        socket.EAI_FAIL,
    }
)
_HEAD = '''
import ctypes, errno, gc, io, os, pathlib, resource, select, signal, socket, stat, struct, sys, threading, time
_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long

def call(number, *arguments):
    """A system call, or the error that it gives."""
    ctypes.set_errno(0)
    said = _libc.syscall(*[ctypes.c_long(a) if isinstance(a, int) else a for a in (number, *arguments)])
    if said < 0:
        raise OSError(ctypes.get_errno(), "refused")
    return said

def f(T):
    try:
        return ["done", act(T) is True, ""]
    except OSError as exc:
        return ["errno", exc.errno or 0, str(exc)[:120]]
    except MemoryError:
        return ["errno", errno.ENOMEM, ""]
    except BaseException as exc:
        if isinstance(exc, ValueError) and "maximum limit" in str(exc):
            return ["errno", errno.EPERM, str(exc)]  # how Python says that setrlimit was refused
        return ["broke", 0, type(exc).__name__ + ": " + str(exc)[:120]]

def act(T):
'''
# Every class of probes, so that the same may be tried against another sandbox: name, id, bodies.
MADE: list[tuple[str, str, Callable[[Json], Sequence[str]]]] = []
_box: list[CodeSandbox] = []


def source_of(body: str) -> str:
    """The module of a probe."""
    return _HEAD + textwrap.indent(textwrap.dedent(body).strip() + "\n", "    ")


def ask() -> CodeSandbox:
    """The sandbox under attack, one for this process."""
    if not _box:
        _box.append(CodeSandbox())
    return _box[0]


def probe(
    name: str,
    trust: str,
    stops: str,
    bodies: Callable[[Json], Sequence[str]],
    *,
    ends: Sequence[str] = (),
    most: int | None = None,
    limits: Limits | None = None,
    box: Json | None = None,
    no_control: str = "",
) -> Attack:
    """A class of probes against the sandbox for model-written code.

    Args:
        name: of the class.
        trust: id in the threat list.
        stops: what stops it.
        bodies: of ``act``, one a variant; told the field's target only to know how many folders there are.
        ends: statuses of a whole task that count as stopped, where the code cannot live to tell.
        most: attempts, where each is slow.
        limits: other than the sandbox's own.
        box: how it is tried in the box. ``outlives``: it works if it uses more processor seconds than this, where it
            cannot tell by itself; ``soft``: limits may be raised again.
        no_control: why the box does not try it; empty if it does.
    """
    MADE.append((name, trust, bodies))

    def run(field: Field, variants: int, seed: int) -> Iterator[Ending]:
        made = list(bodies(field.target))
        rng = random.Random(f"{name}{seed}")
        wanted = min(variants, most or variants)
        chosen = rng.sample(made, wanted) if len(made) > wanted else made
        argument = plain.encode(field.target)
        for body in chosen:
            outcome = ask().call(source_of(body), "f", [[argument]], limits)
            yield read_ending(outcome, body, ends)
        yield from _next_honest()

    def controls() -> list[tuple[str, Json]]:
        counted = {
            "folders": ["/tmp/outside"],
            "secrets": ["s"],
            "sources": ["s"],
            "files": ["f"],
            "library": "/tmp/library",
        }
        made = list(bodies(counted))
        some = [*made[:: max(1, len(made) // 6)][:7], made[-1]]
        return [("probe", {"source": source_of(body), "outlives": 0.0, "soft": False, **(box or {})}) for body in some]

    return Attack(
        name=name, trust=trust, stops=stops, run=run, control=None if no_control else controls, no_control=no_control
    )


def read_ending(outcome: Outcome, body: str, ends: Sequence[str] = ()) -> Ending:
    """What a probe's outcome proves."""
    where = " ".join(body.split())[:60]
    if outcome.status in ends:
        return Ending(Found.BLOCKED, f"{outcome.status}: {outcome.detail} [{where}]")
    if outcome.status != "ok" or outcome.results[0].error:
        return Ending(Found.NO_PROBE, f"{outcome.status} {outcome.detail} {outcome.results[:1]} [{where}]")
    return read_said(plain.decode(outcome.results[0].value), where)


def read_said(said: Any, where: str) -> Ending:
    """What a probe's own words prove."""
    if not (isinstance(said, list) and len(said) == 3):
        return Ending(Found.NO_PROBE, f"{said!r} [{where}]")
    kind, value, text = said
    if kind == "errno" and value in REFUSED | GONE:
        return Ending(Found.BLOCKED, f"{errno.errorcode.get(value, text)} [{where}]")
    if kind == "done":
        return Ending(Found.ESCAPED if value else Found.NO_EFFECT, f"[{where}]")
    return Ending(Found.NO_PROBE, f"{kind} {value} {text} [{where}]")


def _next_honest() -> Iterator[Ending]:
    """After the attacks of a class an honest task must get its answer."""
    told = ask().call("def f(a): return a + 1", "f", [[plain.encode(41)]])
    if told.status != "ok" or plain.decode(told.results[0].value) != 42:
        yield Ending(Found.ESCAPED, f"the next honest task fails: {told.status} {told.detail}")

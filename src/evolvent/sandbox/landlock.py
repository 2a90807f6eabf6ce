"""Landlock: which files a process may touch, by its own request and without privileges.

Rights are denied unless a rule allows them beneath a folder. Where the kernel knows how, TCP and signals and abstract
sockets to outside are denied as well.

Source: Documentation/userspace-api/landlock.rst of Linux.

Not here: which folders those are (`isolate.py`, `lock.py`).
"""

from __future__ import annotations

import ctypes
import functools
import os
import struct
from collections.abc import Iterable
from pathlib import Path

from evolvent.sandbox import seccomp

__all__ = [
    "ADD", "CREATE", "LIST", "PATH_BENEATH", "READ", "READ_FILE", "RESTRICT", "SCRATCH", "handled", "restrict", "rule",
    "ruleset", "version",
]  # fmt: skip

READ = 0b1101  # EXECUTE, READ_FILE, READ_DIR
READ_FILE = 0b101
LIST = 0b1000  # READ_DIR
# READ_FILE, READ_DIR, WRITE_FILE, REMOVE_DIR, REMOVE_FILE, MAKE_DIR, MAKE_REG, TRUNCATE; no link, device, socket or
# FIFO
SCRATCH = 0b1100 | 0b10 | 1 << 4 | 1 << 5 | 1 << 7 | 1 << 8 | 1 << 14

# Access rights by the version of the interface that brought them.
_FS_RIGHTS = {1: (1 << 13) - 1, 2: 1 << 13, 3: 1 << 14, 5: 1 << 15}
_NET_TCP, _SCOPES = 0b11, 0b11
_ABI_NET, _ABI_SCOPE = 4, 6
PATH_BENEATH = 1
# The same numbers on every architecture.
CREATE, ADD, RESTRICT = (
    seccomp.NUMBERS[f"landlock_{name}"][0] for name in ("create_ruleset", "add_rule", "restrict_self")
)


def version(libc: ctypes.CDLL) -> int:
    """Version of the kernel's interface; 0 where there is none."""
    return max(0, libc.syscall(CREATE, None, ctypes.c_size_t(0), 1))


@functools.cache
def handled(libc: ctypes.CDLL) -> tuple[int, bytes] | None:
    """File rights that this kernel can deny, and what a ruleset asks it for; ``None`` where there is no Landlock."""
    abi = version(libc)
    if not abi:
        return None
    rights = sum(bits for since, bits in _FS_RIGHTS.items() if abi >= since)
    words = [rights, *([_NET_TCP] if abi >= _ABI_NET else []), *([_SCOPES] if abi >= _ABI_SCOPE else [])]
    return rights, struct.pack(f"={len(words)}Q", *words)


def ruleset(libc: ctypes.CDLL, rules: Iterable[tuple[str | Path, int]]) -> int | None:
    """A descriptor of rules for `restrict`, which the caller closes; ``None`` where the kernel has none.

    Args:
        libc: with ``use_errno``.
        rules: path and the rights allowed beneath it; a path that is not there allows nothing.
    """
    known = handled(libc)
    if known is None:
        return None
    rights, attributes = known
    handle = libc.syscall(CREATE, attributes, ctypes.c_size_t(len(attributes)), 0)
    if handle < 0:
        return None
    for path, access in rules:
        _allow_beneath(libc, handle, path, access & rights)
    return handle


def rule(access: int, beneath: int) -> bytes:
    """What allows `access` beneath the folder of a descriptor."""
    return struct.pack("=Qi", access, beneath)


def restrict(libc: ctypes.CDLL, handle: int) -> bool:
    """Bind the calling thread, and what it starts, to the rules for good: True once they hold."""
    return libc.syscall(RESTRICT, handle, 0) == 0


def _allow_beneath(libc: ctypes.CDLL, handle: int, path: str | Path, access: int) -> None:
    try:
        beneath = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # not on this machine, so nothing to allow
    try:
        libc.syscall(ADD, handle, PATH_BENEATH, rule(access, beneath), 0)
    finally:
        os.close(beneath)

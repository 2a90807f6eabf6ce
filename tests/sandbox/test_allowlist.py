"""The filter's program, run here by the rules of the kernel's machine, on both architectures and every number."""

import errno
import struct
from itertools import product

import pytest

from evolvent.sandbox import allowlist, seccomp

ALLOW, EPERM, ENOSYS = seccomp.ALLOW, seccomp.ERRNO | errno.EPERM, seccomp.ERRNO | errno.ENOSYS
KILL = 0x80000000
ARCHITECTURES = (0xC000003E, 0xC00000B7)
SWITCHES = [dict(zip(("opens", "scratch", "threads"), row, strict=True)) for row in product((False, True), repeat=3)]


def decide(code: bytes, column: int, number: int, *arguments: int, arch: int | None = None) -> int:
    """What the kernel would do with one call."""
    padded = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("=iIQ6Q", number, ARCHITECTURES[column] if arch is None else arch, 0, *padded)
    at, word = 0, 0
    while True:
        step, if_true, if_false, value = struct.unpack_from("=HBBI", code, at * 8)
        at += 1
        if step == seccomp.LOAD_WORD:
            (word,) = struct.unpack_from("=I", data, value)
        elif step == seccomp.RETURN:
            return value
        else:
            holds = {
                seccomp.JUMP_EQ: word == value,
                seccomp.JUMP_GE: word >= value,
                seccomp.JUMP_SET: bool(word & value),
            }[step]
            at += if_true if holds else if_false


@pytest.mark.parametrize("column", [0, 1], ids=["x86_64", "aarch64"])
@pytest.mark.parametrize("switches", SWITCHES, ids=str)
def test_what_is_not_on_the_list_is_refused(column: int, switches: dict[str, bool]) -> None:
    code = allowlist.build_allowlist(column, **switches)
    tables = [allowlist._ALLOWED, *([allowlist._IN_SCRATCH] if switches["scratch"] else [])]
    listed = {pair[column] for table in tables for pair in table.values() if pair[column] >= 0}
    special = {pair[column] for pair in (allowlist._OPEN, allowlist._OPENAT, allowlist._CLONE, allowlist._PRLIMIT)}
    special |= {allowlist._FCNTL[column], allowlist._PIPE2[column]}
    for number in set(range(424)) - special:
        assert decide(code, column, number) == (ALLOW if number in listed else EPERM), number
    for number in [*range(424, 600), 0x40000000, 0x40000029]:
        assert decide(code, column, number) in (ENOSYS, ALLOW)
        assert decide(code, column, number) == ENOSYS or number in (436, 439, 441, 449)
    assert decide(code, column, 0, arch=ARCHITECTURES[1 - column]) == KILL
    assert decide(code, column, 0, arch=0x40000003) == KILL  # 32-bit x86


@pytest.mark.parametrize("column", [0, 1], ids=["x86_64", "aarch64"])
@pytest.mark.parametrize("switches", SWITCHES, ids=str)
def test_arguments_are_looked_at(column: int, switches: dict[str, bool]) -> None:
    code = allowlist.build_allowlist(column, **switches)

    def allowed(pair: tuple[int, int], *arguments: int) -> bool:
        return decide(code, column, pair[column], *arguments) == ALLOW

    reads, writes = switches["opens"], switches["opens"] and switches["scratch"]
    assert allowed(allowlist._OPENAT, 0, 0, 0o2000000) == reads
    for flags in (0o1, 0o2, 0o100, 0o1000, 0o2000, 0o20000000):
        assert allowed(allowlist._OPENAT, 0, 0, flags) == writes
    thread = 0x3D0F00
    assert allowed(allowlist._CLONE, thread) == switches["threads"]
    for flags in (0x11, 0x4111, thread | 0x10000000, thread | 0x40000000, thread | 0x20000):
        assert not allowed(allowlist._CLONE, flags)
    assert allowed(allowlist._PRLIMIT, 0, 7, 0, 1)
    assert not allowed(allowlist._PRLIMIT, 0, 7, 1, 0)
    assert not allowed(allowlist._PRLIMIT, 0, 7, 1 << 32, 0)
    assert [command for command in range(2048) if allowed(allowlist._FCNTL, 0, command)] == [0, 1, 2, 3, 1030]
    assert allowed(allowlist._PIPE2, 0, 0x80000)
    assert not allowed(allowlist._PIPE2, 0, 0o200)


def test_no_call_of_the_refused_is_listed() -> None:
    for column in (0, 1):
        listed = {pair[column] for table in (allowlist._ALLOWED, allowlist._IN_SCRATCH) for pair in table.values()}
        for name in ("socket", "execve", "ptrace", "kill", "tgkill", "mount", "unshare", "setns", "bpf", "keyctl"):
            assert seccomp.NUMBERS[name][column] not in listed
        for name in ("memfd_create", "userfaultfd", "perf_event_open", "shmget", "symlinkat", "linkat", "prlimit64"):
            assert seccomp.NUMBERS[name][column] not in listed

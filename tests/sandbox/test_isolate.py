"""The probes run in a child that has locked itself in, and report the error numbers that they got."""

import errno
import json
import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from evolvent.sandbox import KERNEL, REDUCED, IsolatedProcess, seccomp

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="other systems give the reduced level, which never promotes"
)

CHILD = """
import ctypes, json, os, resource, signal, socket, sys, threading
{before}
from evolvent.sandbox import isolate, write_json
tier = isolate()
libc = ctypes.CDLL(None, use_errno=True)
def errno_of(probe):
    try:
        exec(probe, globals())
    except OSError as exc:
        return exc.errno
    return 0
got = {{name: errno_of(probe) for name, probe in json.loads({probes!r}).items()}}
write_json(sys.stdout.buffer, {{"tier": tier, "errno": got}})
"""
LIBC = "if libc.{} != 0: raise OSError(ctypes.get_errno(), '')"

PROBES = {
    "tcp": "socket.create_connection(('127.0.0.1', 9))",
    "udp": "socket.socket(socket.AF_INET, socket.SOCK_DGRAM)",
    "abstract socket": "socket.socket(socket.AF_UNIX)",
    "socket pair": "socket.socketpair()",
    "fork": "os.fork()",
    "spawn": "os.posix_spawn('/bin/true', ['true'], {})",
    "exec": "os.execv('/bin/true', ['true'])",
    "write to tmp": "open('/tmp/x', 'w')",
    "append to own source": "open(socket.__file__, 'a')",
    "remove": "os.unlink('/tmp/x')",
    "rename": "os.rename('/tmp/x', '/tmp/y')",
    "link": "os.symlink('/tmp', '/tmp/y')",
    "folder": "os.mkdir('/tmp/y')",
    "mode": "os.chmod(socket.__file__, 0o777)",
    "passwords": "open('/etc/passwd')",
    "parent's environment": "open(f'/proc/{os.getppid()}/environ')",
    "root by proc": "open('/proc/self/root/etc/passwd')",
    "climb out": "open(os.path.dirname(socket.__file__) + '/../../../../../../etc/passwd')",
    "kill the parent": "os.kill(os.getppid(), 0)",
    "kill all": "os.kill(-1, 0)",
    "raise a limit": LIBC.format("setrlimit(4, (ctypes.c_ulong * 2)(0, 0))"),
    "memory file": "os.memfd_create('x')",
    "mount": LIBC.format("mount(b'none', b'/tmp', b'tmpfs', 0, None)"),
    "namespace": LIBC.format("unshare(0x10000000)"),
    "chroot": "os.chroot('/tmp')",
    "trace": LIBC.format("ptrace(0, 0, 0, 0)"),
}
COLUMN = seccomp.machine()
if COLUMN is not None:
    for name in ("io_submit", "seccomp"):
        PROBES[name] = LIBC.format(f"syscall({seccomp.NUMBERS[name][COLUMN]}, 0, 0, 0)")
# Numbers that every architecture shares; what is newer than the list does not exist for the child.
UNKNOWN = {"io_uring_setup": 425, "pidfd_open": 434, "clone3": 435, "openat2": 437, "landlock again": 444, "mseal": 462}
if platform.machine() == "x86_64":
    UNKNOWN["socket by its x32 number"] = 0x40000000 + 41
ALL = PROBES | {name: LIBC.format(f"syscall({number}, 0, 0, 0, 0, 0)") for name, number in UNKNOWN.items()}


def run(probes: dict[str, str], before: str = "", hidden: Sequence[Path] = ()) -> dict[str, Any]:
    code = CHILD.format(probes=json.dumps(probes), before=before)
    with IsolatedProcess([sys.executable, "-c", code], hidden=hidden) as child:
        return child.receive(timeout_s=30)


@pytest.fixture(scope="module")
def refusals() -> dict[str, Any]:
    return run(ALL)


@pytest.mark.parametrize("name", PROBES)
def test_probe_is_refused(refusals: dict[str, Any], name: str) -> None:
    assert refusals["tier"] == KERNEL
    assert refusals["errno"][name] in (errno.EPERM, errno.EACCES)


@pytest.mark.parametrize("name", UNKNOWN)
def test_unknown_calls_do_not_exist(refusals: dict[str, Any], name: str) -> None:
    assert refusals["errno"][name] == errno.ENOSYS


def test_threads_and_imports_still_work() -> None:
    probe = "t = threading.Thread(target=__import__, args=('decimal',)); t.start(); t.join(); sys.modules['decimal']"
    assert run({"probe": probe}) == {"tier": KERNEL, "errno": {"probe": 0}}


def test_the_filter_also_binds_a_thread_that_lived_before() -> None:
    before = """
go, seen = threading.Event(), []
def late():
    go.wait()
    try:
        open('/tmp/evolvent-late', 'w')
    except OSError as exc:
        seen.append(exc.errno)
thread = threading.Thread(target=late)
thread.start()
"""
    assert run({"late": "go.set(); thread.join(); raise OSError(seen[0], '')"}, before)["errno"]["late"] == errno.EPERM


def test_hidden_folder_is_proven_unreadable(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    answer = run({"read": f"open({str(tmp_path / 'secret')!r})"}, hidden=[tmp_path, tmp_path / "secret"])
    assert answer == {"tier": KERNEL, "errno": {"read": errno.EACCES}}


def test_hidden_below_a_readable_folder_is_an_error(tmp_path: Path) -> None:
    code = f"from evolvent.sandbox import isolate; isolate(readable=[{str(tmp_path)!r}], hidden=[{str(tmp_path)!r}])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "lies below" in done.stderr


BREAK = "import sys, evolvent.sandbox; m = sys.modules['evolvent.sandbox.isolate']; m.{} = lambda *a: {}; "


@pytest.mark.parametrize("broken", ["_restrict_files", "_install_filter"])
def test_without_the_kernel_the_level_is_reduced(broken: str) -> None:
    assert run({}, BREAK.format(broken, False))["tier"] == REDUCED


@pytest.mark.parametrize("broken", ["_restrict_files", "_install_filter"])
def test_a_protection_that_lies_is_found_by_the_probes(broken: str) -> None:
    code = BREAK.format(broken, True) + "m.isolate()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "probe" in done.stderr

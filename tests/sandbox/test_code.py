"""Functions that a model wrote, in children of the zygote: what comes back, and what becomes of those that
misbehave."""

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from evolvent.errors import SandboxError
from evolvent.sandbox import KERNEL, REDUCED, CodeSandbox, Limits, Outcome, tiers
from evolvent.sandbox.plain import decode, encode
from evolvent.sandbox.tiers import BUBBLEWRAP, NAMESPACES
from evolvent.sandbox.zygote import LATER, PRELOADED

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="no tier holds on other systems: the sandbox refuses")


# Time enough on a busy machine, for what must not end by the clock.
ROOMY = Limits(cpu_s=10, wall_s=60)
SOON = Limits(wall_s=0.7)
BEST = "the best of this machine"
_plans = tiers.plans


@pytest.fixture(
    scope="module",
    params=[
        BEST,
        pytest.param(KERNEL, marks=pytest.mark.slow),
        pytest.param(
            BUBBLEWRAP,
            marks=[
                pytest.mark.slow,
                pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not here"),
            ],
        ),
    ],
)
def box(request: pytest.FixtureRequest) -> Iterator[CodeSandbox]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiers, "plans", lambda: [plan for plan in _plans() if request.param in (BEST, plan.tier)])
        with CodeSandbox(limits=ROOMY) as sandbox:
            assert request.param in (BEST, sandbox.tier)
            yield sandbox


def call(box: CodeSandbox, body: str, *arguments: Any, limits: Limits | None = None) -> Outcome:
    source = "def f(*args):\n" + "\n".join("    " + line for line in body.splitlines())
    return box.call(source, "f", [[encode(argument) for argument in arguments]], limits)


def test_values_come_back_as_they_were(box: CodeSandbox) -> None:
    source = "def f(a, b): return a + b"
    outcome = box.call(source, "f", [[encode(a), encode(b)] for a, b in ((1, 2), (0.5, -0.5), ("a", "b"), ("a", 1))])
    assert outcome.status == "ok"
    assert [decode(result.value) for result in outcome.results] == [3, 0.0, "ab", None]
    assert [result.error for result in outcome.results[:3]] == ["", "", ""]
    assert outcome.results[3].error.startswith("TypeError: ")


@pytest.mark.parametrize(
    ("source", "detail"),
    [("def f(:", "SyntaxError"), ("g = 1", "KeyError: 'f'"), ("1 / 0", "ZeroDivisionError"), ("import sys; sys.exit(0)",
    "SystemExit")],
)  # fmt: skip
def test_a_module_that_does_not_load_is_an_error(box: CodeSandbox, source: str, detail: str) -> None:
    outcome = box.call(source, "f", [[]])
    assert (outcome.status, outcome.results) == ("error", ())
    assert outcome.detail.startswith(detail)


def test_a_call_with_other_limits_takes_a_child_of_its_own(box: CodeSandbox) -> None:
    body = "import resource\nreturn resource.getrlimit(resource.RLIMIT_AS)[0]"
    for size in (200 << 20, 300 << 20):
        assert decode(call(box, body, limits=Limits(cpu_s=10, wall_s=60, memory_bytes=size)).results[0].value) == size
    assert decode(call(box, body).results[0].value) == Limits().memory_bytes


def test_limits_are_positive() -> None:
    assert Limits(scratch_bytes=0).scratch_bytes == 0
    with pytest.raises(ValueError, match="cpu_s: expected more than 0"):
        Limits(cpu_s=0)


def test_threads_start_only_where_the_task_may_have_some(box: CodeSandbox) -> None:
    body = "import threading\nt = threading.Thread(target=args.count, args=(1,))\nt.start()\nt.join()\nreturn 1"
    assert call(box, body).results[0].error.startswith("RuntimeError: can't start new thread")
    assert decode(call(box, body, limits=Limits(cpu_s=10, wall_s=60, num_tasks=4)).results[0].value) == 1


# What hostile code does, and what may be said of it.
HOSTILE: dict[str, tuple[str, set[str], Limits]] = {
    "endless loop": ("while True: pass", {"timeout"}, Limits(wall_s=60)),
    "endless loop in C": ("return pow(3, 10**9)", {"timeout", "memory"}, SOON),
    "endless regex": ("import re\nre.match('(a+)+$', 'a' * 50 + 'b')", {"timeout"}, SOON),
    "signals ignored": (
        "import signal\nfor n in {*range(1, 65)} - {9, 19, 32, 33}: signal.signal(n, signal.SIG_IGN)\nwhile True: pass",
        {"timeout"},
        SOON,
    ),
    "sleep": ("import time\ntime.sleep(1000)", {"timeout"}, SOON),
    "memory bomb": ("x = []\nwhile True: x.append(bytearray(1 << 24))", {"memory"}, ROOMY),
    "one large block": ("return len(bytearray(1 << 40))", {"memory"}, ROOMY),
    "fork bomb": ("import os\nwhile True:\n    try: os.fork()\n    except OSError: pass", {"timeout"}, SOON),
    "thread bomb": (
        "import threading\nwhile True: threading.Thread(target=threading.Event().wait).start()",
        {"ok", "memory"},
        Limits(cpu_s=10, wall_s=60, num_tasks=8),
    ),
    "100 MB on standard output": ("for _ in range(100): print('x' * 10**6)", {"ok"}, ROOMY),
    "100 MB on both, as bytes": ("import os\nfor _ in range(100): os.write(1, b'\\xff' * 10**6)", {"ok"}, ROOMY),
    "100 MB returned": ("return 'x' * 10**8", {"output", "memory"}, ROOMY),
    "100 MB into the answer": ("import os\nwhile True: os.write(4, b'J' * 10**6)", {"output"}, ROOMY),
    "a stack too deep for C": (
        "import sys\nsys.setrecursionlimit(10**9)\ndef g(): return [*map(lambda _: g(), [0])]\ng()",
        {"crashed", "memory", "timeout"},
        ROOMY,
    ),
    "exit before the answer": ("import os\nos._exit(0)", {"crashed"}, ROOMY),
    "exit by a fault": ("import ctypes\nctypes.string_at(1)", {"crashed"}, ROOMY),
    "a second answer": (
        "import os, json\nt = json.dumps({'status': 'ok', 'results': [[['i', '0x2a'], '']], 'detail': ''}).encode()\n"
        "os.write(4, b'J' + len(t).to_bytes(4, 'big') + t)\nreturn 42",
        {"crashed"},
        ROOMY,
    ),
    "bytes behind the answer": (
        "import os\nt = b'{\"status\":\"ok\",\"results\":[[null,\"\"]],\"detail\":\"\"}'\n"
        "os.write(4, b'J' + len(t).to_bytes(4, 'big') + t + b'J')\nos._exit(0)",
        {"crashed"},
        ROOMY,
    ),
    "half an answer": ("import os\nos.write(4, b'J\\0\\0\\1\\0{')\nos._exit(0)", {"crashed"}, ROOMY),
    "an answer that is not JSON": ("import os\nos.write(4, b'J\\0\\0\\0\\4NaN]')\nos._exit(0)", {"output"}, ROOMY),
    "an answer too many": (
        "import os, json\nt = json.dumps({'status': 'ok', 'results': [[None, '']] * 2, 'detail': ''}).encode()\n"
        "os.write(4, b'J' + len(t).to_bytes(4, 'big') + t)\nos._exit(0)",
        {"output"},
        ROOMY,
    ),
    "an untyped answer": (
        "import os, json\nt = json.dumps({'status': 'ok', 'results': [[42, '']], 'detail': ''}).encode()\n"
        "os.write(4, b'J' + len(t).to_bytes(4, 'big') + t)\nos._exit(0)",
        {"output"},
        ROOMY,
    ),
    "an answer, then work": (
        "import os\nt = b'{\"status\":\"ok\",\"results\":[[null,\"\"]],\"detail\":\"\"}'\n"
        "os.write(4, b'J' + len(t).to_bytes(4, 'big') + t)\nwhile True: pass",
        {"timeout"},
        SOON,
    ),
    "every descriptor closed": ("import os\nos.closerange(0, 4096)", {"crashed"}, ROOMY),
    "every descriptor closed, then work": ("import os\nos.closerange(0, 4096)\nwhile True: pass", {"crashed"}, ROOMY),
    "every descriptor closed late": (
        "import os, time\nwhile time.process_time() < 1.2: pass\nos.closerange(0, 4096)\nwhile True: pass",
        {"crashed"},
        Limits(cpu_s=2, wall_s=60),
    ),
    "descriptors spent": ("import os\nwhile True: os.dup(0)", {"ok"}, ROOMY),
    "pipes filled": ("import os\nwhile True: os.pipe()", {"ok"}, ROOMY),
    "a million files": ("for n in range(10**6): open(f'{n}', 'w').close()", {"ok"}, ROOMY),
    "a sparse file": ("f = open('x', 'wb')\nf.truncate(1 << 40)", {"ok", "crashed"}, ROOMY),
    "a large file": ("f = open('x', 'wb')\nwhile True: f.write(bytes(1 << 20))", {"ok", "crashed"}, ROOMY),
    "sys.exit": ("import sys\nsys.exit(0)", {"ok"}, ROOMY),
    "daemon": ("import os\nif os.fork() == 0:\n    os.setsid()\n    while True: pass", {"ok"}, ROOMY),
}  # fmt: skip


# What stands between this process and the children: one that waits for the zygote, bubblewrap and its first process,
# the zygote.
MACHINERY = {NAMESPACES: 1, KERNEL: 0, BUBBLEWRAP: 2, REDUCED: 1}


def living(box: CodeSandbox) -> list[psutil.Process]:
    """Everything below the process that was started, those that wait included."""
    return [process for process in psutil.Process(pid_of(box)).children(recursive=True) if process.is_running()]


def pid_of(box: CodeSandbox) -> int:
    nursery = box._nursery
    assert nursery is not None
    return nursery.pid


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_code_is_an_outcome_and_leaves_nothing(box: CodeSandbox, name: str) -> None:
    body, statuses, limits = HOSTILE[name]
    files = set(os.listdir("/tmp"))
    outcome = call(box, body, limits=limits)
    assert outcome.status in statuses, outcome
    if outcome.status == "ok" and not name.startswith("100 MB"):
        assert outcome.results[0].error, "it did what it should not have been able to do"
    assert len(living(box)) <= MACHINERY[box.tier] + 2  # and two children that wait
    assert not [new for new in set(os.listdir("/tmp")) - files if new in ("0", "x")]
    honest = call(box, "return args[0] + 1", 41)
    assert honest.status == "ok"
    assert decode(honest.results[0].value) == 42


def test_a_task_finds_nothing_of_the_one_before(box: CodeSandbox) -> None:
    mark = "nobody-else-writes-this"
    call(
        box,
        f"import builtins, os, sys\nbuiltins.mark = sys.mark = os.environ['mark'] = {mark!r}\nopen('mark', 'w')",
        mark,
    )
    search = (
        "import builtins, gc, os, sys\n"
        "seen = [o for o in gc.get_objects() if type(o) in (dict, list, tuple) and args[0][::-1] in str(o)[:10**5]]\n"
        "left = [hasattr(builtins, 'mark'), hasattr(sys, 'mark'), os.path.exists('mark')]\n"
        "return [*left, sorted(os.environ), len(seen)]"
    )
    found = decode(call(box, search, mark[::-1], limits=Limits(cpu_s=20, wall_s=60)).results[0].value)
    assert found[:3] == [False, False, False]
    assert set(found[3]) <= {"LC_CTYPE", "PATH", "PWD"}
    assert found[4] == 0


def test_what_the_standard_library_offers_can_be_imported(box: CodeSandbox) -> None:
    """Also what links to libraries that no child could open by itself."""
    import ssl  # noqa: F401 - this interpreter has OpenSSL, or the test shows nothing

    names = [*PRELOADED, *LATER, "gzip", "hmac", "zipfile"]
    body = f"import importlib\nreturn [importlib.import_module(name).__name__ for name in {names!r}]"
    assert decode(call(box, body, limits=Limits(cpu_s=20, wall_s=60)).results[0].value) == names
    body = "import hashlib, zlib\nreturn [len(hashlib.scrypt(b'p', salt=b's', n=2, r=1, p=1)), zlib.crc32(b'a')]"
    assert decode(call(box, body).results[0].value) == [64, 3904355907]


def test_a_set_of_texts_has_the_same_order_in_every_sandbox(box: CodeSandbox) -> None:
    """Or a run that goes on, or is built again, would see other answers."""
    body = "return [hash('a'), *{str(n) for n in range(50)}]"
    with CodeSandbox(warm=0) as other:
        assert call(box, body).results == call(other, body).results


def test_a_task_leaves_no_mark_on_what_is_shared(box: CodeSandbox) -> None:
    """The null device is opened once for all: its flags and times would carry bits from task to task."""
    for attempt in ("fcntl.fcntl(1, fcntl.F_SETFL, os.O_APPEND)", "os.utime(1)", "os.fchmod(1, 0o600)"):
        assert "not permitted" in call(box, f"import fcntl, os\n{attempt}").results[0].error


def test_words_from_inside_are_safe_to_print_and_store(box: CodeSandbox) -> None:
    outcome = call(box, "raise ValueError('\\ud800 \\x1b[31m red \\0')")
    assert outcome.results[0].error == "ValueError: ? \ufffd[31m red \ufffd"


def test_a_child_is_the_first_process_of_a_world_without_others(box: CodeSandbox) -> None:
    if box.tier != NAMESPACES:
        pytest.skip("only there")
    body = "import os\nreturn [os.getpid(), os.getppid(), os.getuid(), os.listdir('/'), os.getcwd()]"
    pid, parent, user, root, here = decode(call(box, body).results[0].value)
    assert (pid, parent, here) == (1, 0, "/tmp")
    assert user != 0
    assert not {"proc", "dev", "etc", "sys", "run"} & set(root)


def test_a_zygote_that_dies_costs_one_call() -> None:
    with CodeSandbox(warm=1) as box:
        begun = living(box)
        assert begun
        while some := living(box):  # until none is left: a child may be born while we kill
            for process in some:
                with contextlib.suppress(psutil.NoSuchProcess):  # gone with one that was killed before
                    process.kill()
        with pytest.raises(SandboxError, match="sandbox"):
            call(box, "return 1")
        assert call(box, "return 1").status == "ok"
        left = [*living(box), psutil.Process(pid_of(box))]
    assert not any(process.is_running() for process in left)


def test_all_die_with_the_process_that_asked_for_them() -> None:
    code = """
import os, psutil
from evolvent.sandbox import CodeSandbox
box = CodeSandbox(warm=2)
while sum(len(p.children()) == 0 for p in psutil.Process().children(recursive=True)) < 2: pass
print(*[p.pid for p in psutil.Process().children(recursive=True)], flush=True)
os.kill(os.getpid(), 9)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    pids = [int(text) for text in done.stdout.split()]
    assert len(pids) >= 3, done.stderr
    deadline = time.monotonic() + 10
    while any(map(psutil.pid_exists, pids)):
        assert time.monotonic() < deadline, "something outlived its master"
        time.sleep(0.05)

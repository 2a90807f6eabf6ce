"""Attacks on the sandbox for model-written code that want to do harm: bombs, kernel doors, noise, leftovers.

Not here: those that want to reach something (`reach.py`).
"""

from __future__ import annotations

from collections.abc import Iterator

from evolvent.sandbox import Limits, plain
from hostile.base import Attack, Ending, Field, Found, Json
from hostile.probes import ask, probe, read_ending, source_of

__all__ = ["ATTACKS"]

_SLOW = 10  # attempts of a class in which each waits for a limit
_SHORT = Limits(cpu_s=1, wall_s=1.5)
_THREADS = Limits(num_tasks=4)


def _forks(_: Json) -> list[str]:
    made = [
        f"if {way} == 0: os._exit(0)\nreturn True"
        for way in (
            "os.fork()",
            "_libc.fork()",
            "call(57)",
            "call(56, 17, 0, 0, 0, 0)",
            "os.forkpty()[0]",
            "call(56, 0x100 | 17, 0, 0, 0, 0)",
            "call(56, 0x10000000 | 17, 0, 0, 0, 0)",
            "call(56, 0x20000000 | 17, 0, 0, 0, 0)",
            "call(435, ctypes.create_string_buffer(88), 88)",
        )
    ]
    made = [
        body.replace(
            "if _libc.fork() == 0", "pid = _libc.fork()\nif pid < 0: raise OSError(ctypes.get_errno(), '')\nif pid == 0"
        )
        for body in made
    ]
    starts = (
        "os.posix_spawn({0}, [{0}], {{}})",
        "os.execv({0}, [{0}])",
        "os.execve({0}, [{0}], {{}})",
        "os.spawnv(os.P_WAIT, {0}, [{0}])",
        "__import__('subprocess').run([{0}], check=True)",
        "__import__('_posixsubprocess'); os.posix_spawnp({0}, [{0}], {{}})",
    )
    return made + [
        f"{start.format(program)}\nreturn True"
        for start in starts
        for program in ("'/bin/sh'", "sys.executable", "'/usr/bin/env'", "'/proc/self/exe'", "'/bin/true'", "'x'")
    ]


def _fork_bombs(_: Json) -> list[str]:
    return [
        f"born = 0\nfor _ in range({n}):\n    try:\n        {way}\n        born += 1\n    except (OSError, RuntimeError):\n"
        f"        pass\nif not born: raise OSError(errno.EPERM, 'none was born')\nreturn born >= {floor}"
        for n in (40, 150, 400, 1000)
        for way, floor in (
            ("if os.fork() == 0: time.sleep(1); os._exit(0)", 1),
            ("threading.Thread(target=time.sleep, args=(1,), daemon=True).start()", 8),
            ("import _thread; _thread.start_new_thread(time.sleep, (1,))", 8),
            ("if call(56, 17, 0, 0, 0, 0) == 0: os._exit(0)", 1),
        )
    ]


def _memory(_: Json) -> list[str]:
    sizes = ("400 << 20", "600 << 20", "1 << 40")
    ways = (
        "kept = bytearray({0})",
        "kept = b'x' * ({0})",
        "kept = [0] * (({0}) >> 3)",
        "kept = 'a' * ({0})",
        "import mmap; kept = mmap.mmap(-1, {0}); kept[0] = 1",
        "kept = 1 << (8 * ({0}))",
        "kept = list(range(({0}) >> 5))",
        "kept = [bytearray(1 << 20) for _ in range(({0}) >> 20)]",
        "kept = {{i: str(i) for i in range(({0}) >> 6)}}",
        "kept = ctypes.create_string_buffer({0})",
        "kept = 'x'.ljust({0})",
        "kept = bytes({0}).hex()",
    )
    return [
        f"try:\n    {way.format(size)}\nexcept MemoryError:\n    raise OSError(errno.ENOMEM, '')\nreturn True"
        for size in sizes
        for way in ways
    ]


def _disk(_: Json) -> list[str]:
    names = ("'big'", "'/tmp/big'", "'a/../big'", "'deep/big'")
    ways = (
        "with open({0}, 'wb') as s:\n    for _ in range(40): s.write(bytes(1 << 20)); s.flush()",
        "for i in range(40):\n    with open({0} + str(i), 'wb') as s: s.write(bytes(1 << 20))",
        "fd = os.open({0}, os.O_CREAT | os.O_WRONLY)\nfor _ in range(600): os.write(fd, bytes(1 << 16))",
        "fd = os.open({0}, os.O_CREAT | os.O_RDWR)\nos.posix_fallocate(fd, 0, 40 << 20)",
    )
    head = "for folder in ('a', 'deep'):\n    os.makedirs(folder, exist_ok=True)\n"
    return [f"{head}{way.format(name)}\nreturn True" for way in ways for name in names]


def _files(_: Json) -> list[str]:
    ways = ("open(name, 'w').close()", "os.mkdir(name)", "os.mkfifo(name)", "os.close(os.open(name, os.O_CREAT))")
    return [
        f"for i in range({n}):\n    name = '{stem}%d' % i\n    {way}\nreturn True"
        for n in (4000, 9000)
        for way in ways
        for stem in ("f", "/tmp/", "a-long-name-" * 8)
    ]


def _sparse(_: Json) -> list[str]:
    sizes = ("40 << 20", "1 << 32", "1 << 40", "(1 << 62)")
    ways = (
        "s.truncate({0})",
        "s.seek(({0}) - 1); s.write(b'x'); s.flush()",
        "os.pwrite(s.fileno(), b'x', ({0}) - 1)",
        "os.posix_fallocate(s.fileno(), ({0}) - 4096, 4096)",
    )
    return [f"with open('sparse', 'wb+') as s:\n    {way.format(size)}\nreturn True" for size in sizes for way in ways]


_IGNORED = (
    "for n in range(1, 64):\n    try: signal.signal(n, lambda *_: None)\n    except (OSError, ValueError): pass\n"
)
_ENDLESS = (
    "while True: pass",
    "n = 0\nwhile True: n += 1",
    "import itertools\nfor _ in itertools.count(): pass",
    "def again(): return again\nwhile again(): pass",
    "while True:\n    try: 1 / 0\n    except Exception: pass",
    "while True:\n    try: raise KeyboardInterrupt\n    except BaseException: pass",
)
_IN_C = (
    "sum(range(10 ** 13))",
    "3 ** (10 ** 8) % 7",
    "'a' * 30 in __import__('re').sub('x*x*x*y', '', 'x' * 4000) * 10 ** 6",
    "__import__('re').match('(a+)+$', 'a' * 64 + 'b')",
    "max(range(10 ** 13))",
    "list(zip(range(10 ** 13)))[:1]",
    "str(7 ** (4 * 10 ** 6)).count('1') if not sys.set_int_max_str_digits(0) else 0",
    "any(map(int, iter(int, 1)))",
    "all(x < 0 for x in iter(lambda: -1, 0))",
    "__import__('math').factorial(10 ** 7)",
)


def _asleep(_: Json) -> list[str]:
    return [
        f"{ignored}{way}\nreturn True"
        for ignored in ("", _IGNORED)
        for way in (
            "time.sleep(1000)",
            "threading.Event().wait()",
            "select.select([], [], [])",
            "signal.pause()",
            "lock = threading.Lock(); lock.acquire(); lock.acquire()",
            "os.read(os.pipe()[0], 1)",
        )
    ]


def _orphans(_: Json) -> list[str]:
    late = "time.sleep(0.2); open('late', 'w').write('x')"
    return [
        f"{way}\nreturn True"
        for way in (
            f"if os.fork() == 0:\n    os.setsid()\n    {late}\n    os._exit(0)",
            "pid = os.fork()\nif pid == 0:\n    if os.fork() == 0:\n        time.sleep(60)\n    os._exit(0)",
            "os.setsid()",
            "os.setpgid(0, 0); call(57)",
            "call(109, 0, 0)\nif call(56, 17, 0, 0, 0, 0) == 0: time.sleep(60)",
            "import multiprocessing as m; m.get_context('fork').Process(target=time.sleep, args=(60,)).start()",
            "import multiprocessing as m; m.get_context('spawn').Process(target=time.sleep, args=(60,)).start()",
            "import concurrent.futures as c; c.ProcessPoolExecutor(2).submit(time.sleep, 60).result(1)",
            "import subprocess; subprocess.Popen(['/bin/sleep', '60'], start_new_session=True)",
        )
    ]


def _noise(_: Json) -> list[str]:
    floods = (
        "sys.stdout.write('x' * {0}); sys.stdout.flush()",
        "os.write({1}, b'x' * {0})",
        "print('x' * {0}, file=sys.stderr, flush=True)",
        "sys.__stdout__.buffer.write(bytes({0})); sys.__stdout__.flush()",
        "_libc.puts(b'x' * {0})",
    )
    return [
        f"for _ in range(100):\n    {flood.format('(1 << 20)', fd)}\nreturn False"
        for flood in floods
        for fd in (0, 1, 2)
    ]


def _bad_answers() -> list[str]:
    """What is written straight to the descriptor of the answer, as `act`'s last deed."""
    frames = (
        "b'\\xff\\xfe' * 9",
        "b'J' + (1 << 31).to_bytes(4, 'big')",
        "b'J\\0\\0\\0\\1{'",
        "b'B\\0\\0\\0\\2xx'",
        "b'J\\0\\0\\0\\2{}'",
        "b'J\\0\\0\\0\\2[]'",
        "b'J\\0\\0\\0\\4null'",
        "b'X' * 5",
        "b'J\\0\\0'",
        "b'J' + (9).to_bytes(4, 'big') + b'{\"a\":NaN}'",
        "b'J' + (13).to_bytes(4, 'big') + b'{\"a\":1,\"a\":1}'",
        "b'J' + (10 ** 5).to_bytes(4, 'big') + b'[' * 10 ** 5",
        "b'\\0' * (1 << 17)",
        "b'J' + (60000).to_bytes(4, 'big') + b'{\"a\":' + b'[' * 59995",
        "b'J' + (26).to_bytes(4, 'big') + b'{\"status\":\"ok\",\"results\":0}'",
    )
    ends = ("os._exit(0)", "os.close(4); os._exit(0)", "os.abort()", "os.kill(os.getpid(), 9)", "return True")
    return [f"os.write(4, {frame})\n{end}" for frame in frames for end in ends]


def _bad_bytes(field: Field, variants: int, seed: int) -> Iterator[Ending]:
    """None of these is an answer: only a status that says so is right."""
    for body in _bad_answers()[:variants]:
        told = ask().call(source_of(body), "f", [[plain.encode(field.target)]])
        bad = told.status in ("crashed", "output", "timeout", "memory")
        yield Ending(Found.BLOCKED if bad else Found.ESCAPED, f"{told.status}: {told.detail} [{body[:60]}]")


def _unanswered(field: Field, variants: int, seed: int) -> Iterator[Ending]:
    """The pipe of the answer is closed, held, or drowned."""
    ways = (
        "os.close(4); return True",
        "os.close(4); time.sleep(1000)",
        "os.dup2(1, 4); return True",
        "os.write(4, b'J\\0\\0'); time.sleep(1000)",
        "while True: os.write(4, b'J')",
        "os.dup(4); os.close(4); return True",
        "os.closerange(0, 64); return True",
    )
    for body in ways[:variants]:
        told = ask().call(source_of(body), "f", [[plain.encode(field.target)]], _SHORT)
        bad = told.status in ("crashed", "output", "timeout")
        yield Ending(Found.BLOCKED if bad else Found.ESCAPED, f"{told.status}: {told.detail} [{body[:60]}]")


_LEAVES = (
    ("open('/tmp/left', 'w').write('x')", "return os.path.exists('/tmp/left')"),
    ("os.mkdir('d')", "return os.listdir('.') != []"),
    ("import json; json.left = 1", "import json; return hasattr(json, 'left')"),
    ("import builtins; builtins.left = 1", "import builtins; return hasattr(builtins, 'left')"),
    ("os.environ['LEFT'] = '1'", "return 'LEFT' in os.environ"),
    ("sys.modules['left'] = sys", "return 'left' in sys.modules"),
    ("sys.path.insert(0, '/tmp/left')", "return '/tmp/left' in sys.path"),
    ("os.umask(0o777)", "old = os.umask(0); return old == 0o777"),
    ("signal.signal(10, signal.SIG_IGN)", "return signal.getsignal(10) == signal.SIG_IGN"),
    ("os.nice(5)", "return os.nice(0) >= 5"),
    (
        "import random; random.seed(5); random.getstate()",
        "import random; return random.random() == random.Random(5).random()",
    ),
    ("import threading; threading.left = 1", "return hasattr(threading, 'left')"),
    ("sys.setrecursionlimit(77)", "return sys.getrecursionlimit() == 77"),
    ("gc.set_threshold(7, 7, 7)", "return gc.get_threshold() == (7, 7, 7)"),
    (
        "import locale; locale.setlocale(locale.LC_ALL, 'C'); locale.left = 1",
        "import locale; return hasattr(locale, 'left')",
    ),
    ("import decimal; decimal.getcontext().prec = 3", "import decimal; return decimal.getcontext().prec == 3"),
    ("sys.set_int_max_str_digits(0)", "return sys.get_int_max_str_digits() == 0"),
)


def _leftovers(field: Field, variants: int, seed: int) -> Iterator[Ending]:
    """One task leaves something, the next ones look for it."""
    argument = plain.encode(field.target)
    for i in range(variants):
        leave, look = _LEAVES[i % len(_LEAVES)]
        first = ask().call(source_of(f"{leave}\nreturn True"), "f", [[argument]])
        left = read_ending(first, leave)
        if left.found is not Found.ESCAPED:  # "it got what it wanted": here that is allowed
            yield left
            continue
        seen = [ask().call(source_of(look), "f", [[argument]]) for _ in range(2)]
        said = [plain.decode(told.results[0].value) if told.status == "ok" else told.status for told in seen]
        clean = all(value == ["done", False, ""] for value in said)
        yield Ending(Found.NO_EFFECT if clean else Found.ESCAPED, f"{said} [{leave}]")


ATTACKS: tuple[Attack, ...] = (
    probe("another process, another program", "S8", "filter: no fork, clone or exec", _forks),
    probe(
        "fork and thread bombs",
        "S8",
        "filter; limit of tasks",
        _fork_bombs,
        ends=("timeout", "memory", "crashed"),
        most=16,
    ),
    probe("memory bombs", "S9", "limit of the address space", _memory, ends=("memory", "timeout")),
    probe("filling the disk", "S9", "small scratch folder in memory; limit of file sizes", _disk, ends=("crashed",)),
    probe("a multitude of files", "S9", "scratch folder with few inodes", _files, ends=("timeout",)),
    probe("sparse files", "S9", "limit of file sizes", _sparse, ends=("crashed",)),
    probe(
        "endless loops, signals ignored",
        "S10",
        "processor time, ended with SIGKILL",
        lambda _: [f"{ignored}{loop}" for loop in _ENDLESS for ignored in ("", _IGNORED)],
        ends=("timeout",),
        most=_SLOW,
        limits=_SHORT,
        box={"outlives": 1.2},
    ),
    probe(
        "loops inside of C",
        "S10",
        "processor time, ended with SIGKILL",
        lambda _: [f"{ignored}{loop}\nreturn True" for loop in _IN_C for ignored in ("", _IGNORED)],
        ends=("timeout", "memory"),
        most=_SLOW,
        limits=_SHORT,
        box={"outlives": 1.2},
    ),
    probe(
        "asleep for ever",
        "S10",
        "wall clock, kept outside",
        _asleep,
        ends=("timeout",),
        most=_SLOW,
        limits=_SHORT,
        box={"outlives": 99.0},
    ),
    probe(
        "orphans and daemons", "S11", "filter: no fork; the namespace ends with its child", _orphans, limits=_THREADS
    ),
    probe(
        "100 MB of output",
        "S15",
        "output goes to the null device; nothing is read from it",
        _noise,
        ends=("timeout",),
        no_control="nothing to reach: it shows that the judge is not held up",
    ),
    Attack(
        name="bytes that are no answer",
        trust="S15",
        stops="strict frame, one only; the end of the child must fit it",
        run=_bad_bytes,
        no_control="the reader is what is attacked",
    ),
    Attack(
        name="a pipe that is closed, held or drowned",
        trust="S15",
        stops="length cap, wall clock",
        run=_unanswered,
        no_control="the reader is what is attacked",
    ),
    Attack(
        name="what one task leaves for the next",
        trust="S16",
        stops="each child is used once; fresh scratch folder",
        run=_leftovers,
        no_control="its first half proves that it ran",
    ),
)

"""What isolation costs a model-written function, and what hostile code leaves behind.

Arms, one after the other. ``warm`` and ``cold``: the code sandbox with children that wait, and without; a call while a
child is ready (other work lies between two calls), and as many calls in a row as one core gives. ``harness``: the form
of HumanEval's evaluators beside it, on the same tasks: a fresh ``python`` for each sample, a time limit, no isolation.
``hostile``: a batch that loops, eats memory, forks, writes, ignores signals and forges answers; after each one the
processes and files left are counted and an honest task is timed. The harness does not get that batch, because nothing
would hold it; it gets acts that harm nobody (``mischief``), as does the sandbox.

Bars: a median call costs at most 5 ms warm and 40 ms cold; a core runs at least 150 a second warm and 30 cold; the
    hostile batch leaves nothing, and the next honest task takes at most a second.

Run ``python benchmarks/sandbox.py [--quick]``.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil
from common import Results, Unit, bench_main

from evolvent.sandbox import CodeSandbox, Limits
from evolvent.sandbox.plain import encode

ARMS = ("warm", "cold", "harness", "hostile")
FULL = {"seeds": [0, 1, 2], "calls": 400, "arm_seeds": {"hostile": [0]}}
QUICK = {"seeds": [0], "calls": 60}
PAUSE_S = 0.02

# Honest functions in the form of such sets: source, name, and (arguments, expected).
HONEST: list[tuple[str, str, list[tuple[list[Any], Any]]]] = [
    (
        "def below_zero(operations):\n    balance = 0\n    for op in operations:\n        balance += op\n"
        "        if balance < 0:\n            return True\n    return False\n",
        "below_zero",
        [([[1, 2, -4, 5]], True), ([[1, 2, 3]], False)],
    ),
    (
        "def intersperse(ns, delimiter):\n    out = []\n    for n in ns[:-1]:\n        out += [n, delimiter]\n"
        "    return out + ns[-1:]\n",
        "intersperse",
        [([[1, 2, 3], 4], [1, 4, 2, 4, 3]), ([[], 4], [])],
    ),
    (
        "import math\ndef mean_absolute_deviation(xs):\n    m = math.fsum(xs) / len(xs)\n"
        "    return math.fsum(abs(x - m) for x in xs) / len(xs)\n",
        "mean_absolute_deviation",
        [([[1.0, 2.0, 3.0, 4.0]], 1.0)],
    ),
    (
        "from collections import Counter\ndef remove_duplicates(ns):\n    c = Counter(ns)\n"
        "    return [n for n in ns if c[n] <= 1]\n",
        "remove_duplicates",
        [([[1, 2, 3, 2, 4]], [1, 3, 4])],
    ),
    (
        "import re\ndef words(text):\n    return tuple(sorted(set(re.findall(r'[a-z]+', text.lower()))))\n",
        "words",
        [(["To be or not to be"], ("be", "not", "or", "to"))],
    ),
]
# What hostile code does; every one has its own way not to end well.
_FRAME = "json.dumps({'status': 'ok', 'results': [[None, '']], 'detail': ''}).encode()"
HOSTILE = {
    "endless loop": ["while True: pass"],
    "endless loop in C": ["return pow(3, 10**9)"],
    "endless regex": ["import re", "re.match('(a+)+$', 'a' * 60 + 'b')"],
    "signals ignored": [
        "import signal",
        "for n in {*range(1, 65)} - {9, 19, 32, 33}: signal.signal(n, signal.SIG_IGN)",
        "while True: pass",
    ],
    "memory bomb": ["x = []", "while True: x.append(bytearray(1 << 24))"],
    "fork bomb": ["while True:", "    try: os.fork()", "    except OSError: pass"],
    "thread bomb": ["import threading", "while True: threading.Thread(target=threading.Event().wait).start()"],
    "100 MB of output": ["for _ in range(100): print('x' * 10**6)"],
    "100 MB of results": ["return 'x' * 10**8"],
    "deep recursion": [
        "import sys",
        "sys.setrecursionlimit(10**9)",
        "def g(): return [*map(lambda _: g(), [0])]",
        "g()",
    ],
    "exit before the answer": ["os._exit(0)"],
    "forged answer": [
        "import json",
        f"text = {_FRAME}",
        "os.write(4, b'J' + len(text).to_bytes(4, 'big') + text)",
    ],
    "descriptors closed": ["os.closerange(0, 4096)"],
    "a million files": ["for n in range(10**6): open(str(n), 'w').close()"],
    "sparse file": ["open('x', 'wb').truncate(1 << 40)"],
    "daemon": ["if os.fork() == 0:", "    os.setsid()", "    while True: pass"],
}
# Acts that should be refused and that harm nobody if they are not: each returns True if it got its way.
MISCHIEF = {
    "reads the environment of its parent": ["return bool(open(f'/proc/{os.getppid()}/environ', 'rb').read())"],
    "reads the password file": ["return 'root' in open('/etc/passwd').read()"],
    "writes a file that stays": ["open(args[0], 'w').close()", "return True"],
    "opens a socket": ["import socket", "socket.socket().close()", "return True"],
    "starts a program": ["import subprocess", "return subprocess.run(['/bin/true']).returncode == 0"],
    "signals its parent": ["os.kill(os.getppid(), 0)", "return os.getppid() > 0"],
    "outlives its time limit": [
        "if os.fork() == 0:",
        "    os.setsid()",
        "    time.sleep(5)",
        "    os._exit(0)",
        "return True",
    ],
}


def main() -> int:
    """The command line."""
    return bench_main("sandbox", ARMS, run_unit, summarise, full=FULL, quick=QUICK, workers=1)


def run_unit(unit: Unit) -> dict[str, Any]:
    """One arm."""
    if unit.arm == "hostile":
        return hostile()
    if unit.arm == "harness":
        return {"tier": "none", **timed(harness, unit.settings["calls"] // 4), "mischief": mischief_in_harness()}
    with CodeSandbox(warm=2 if unit.arm == "warm" else 0) as box:
        figures = timed(lambda n: in_sandbox(box, n), unit.settings["calls"])
        return {"tier": box.tier, **figures, "mischief": mischief_in_sandbox(box)}


def timed(run: Callable[[int], bool], calls: int) -> dict[str, float]:
    """Milliseconds of a call with a pause before it, and calls a second in a row on one core."""
    assert all(run(n) for n in range(len(HONEST))), "an honest task failed"
    paused: list[float] = []
    for n in range(calls):
        time.sleep(PAUSE_S)
        began = time.perf_counter()
        assert run(n), "an honest task failed"
        paused.append((time.perf_counter() - began) * 1e3)
    ours = psutil.Process()
    cores = ours.cpu_affinity()
    one = [cores[0]]
    for process in (ours, *ours.children(recursive=True)):
        process.cpu_affinity(one)
    began = time.perf_counter()
    for n in range(calls):
        assert run(n), "an honest task failed"
    rate = calls / (time.perf_counter() - began)
    ours.cpu_affinity(cores)
    p95 = statistics.quantiles(paused, n=20)[-1]
    return {"median_ms": round(statistics.median(paused), 2), "p95_ms": round(p95, 2), "per_s": round(rate, 1)}


def in_sandbox(box: CodeSandbox, n: int) -> bool:
    """Whether the honest task of that number is answered as it should be."""
    source, name, cases = HONEST[n % len(HONEST)]
    outcome = box.call(source, name, [[encode(argument) for argument in arguments] for arguments, _ in cases])
    return [result.value for result in outcome.results] == [encode(expected) for _, expected in cases]


def harness(n: int) -> bool:
    """The same task as a program of its own that checks itself."""
    source, name, cases = HONEST[n % len(HONEST)]
    checks = [f"assert {name}(*{arguments!r}) == {expected!r}" for arguments, expected in cases]
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "sample.py"
        program.write_text("\n".join([source, *checks]), encoding="utf-8")
        done = subprocess.run([sys.executable, program], cwd=folder, capture_output=True, timeout=3, check=False)
    return done.returncode == 0


def mischief_in_sandbox(box: CodeSandbox) -> list[str]:
    """What got its way."""
    with tempfile.TemporaryDirectory() as folder:
        seen: list[str] = []
        for name, body in MISCHIEF.items():
            target = Path(folder) / "stays"
            outcome = box.call(_function(body), "f", [[encode(str(target))]])
            if (outcome.results and outcome.results[0].value is True) or target.exists():
                seen.append(name)
        return seen


def mischief_in_harness() -> list[str]:
    """What got its way."""
    with tempfile.TemporaryDirectory() as folder:
        seen: list[str] = []
        for name, body in MISCHIEF.items():
            target = str(Path(folder) / "stays")
            program = _function(body) + f"assert f({target!r}) is True\n"
            quiet = subprocess.DEVNULL
            done = subprocess.run([sys.executable, "-c", program], stderr=quiet, timeout=3, check=False)
            if done.returncode == 0:
                seen.append(name)
        return seen


def hostile() -> dict[str, Any]:
    """Each hostile task, what it left, and the honest task after it."""
    rows: dict[str, Any] = {}
    with CodeSandbox(warm=2) as box:
        assert in_sandbox(box, 0), "an honest task failed"
        idle = _settled(box)
        for name, body in HOSTILE.items():
            files = set(os.listdir(tempfile.gettempdir()))
            outcome = box.call(_function(body), "f", [[]], Limits(wall_s=2.0))
            began = time.perf_counter()
            honest = in_sandbox(box, 0)
            next_ms = (time.perf_counter() - began) * 1e3
            assert honest, f"the honest task after '{name}' failed"
            made = set(os.listdir(tempfile.gettempdir())) - files
            rows[name] = {
                "status": outcome.status,
                "next_ms": round(next_ms, 1),
                "processes_left": max(0, _settled(box) - idle),
                "files_left": len([file for file in made if file == "x" or file.isdigit()]),
            }
        below = psutil.Process().children(recursive=True)
    left = [process for process in below if process.is_running()]
    return {"tier": box.tier, "rows": rows, "left_at_the_end": len(left)}


def _settled(box: CodeSandbox) -> int:
    """Processes below us once the children that wait are born."""
    count = -1
    while (now := len(psutil.Process().children(recursive=True))) != count:
        count = now
        time.sleep(0.2)
    return count


def _function(lines: Sequence[str]) -> str:
    return "import os, time\ndef f(*args):\n" + "".join(f"    {line}\n" for line in lines)


def summarise(results: Results, settings: dict[str, Any]) -> dict[str, Any]:
    """Medians over seeds, and the bars."""

    def over_seeds(arm: str, figure: str) -> float:
        return statistics.median(result[figure] for result in results[arm].values())

    arms = ("warm", "cold", "harness")
    figures: dict[str, Any] = {
        arm: {figure: over_seeds(arm, figure) for figure in ("median_ms", "p95_ms", "per_s")}
        | {"mischief": _first(results[arm])["mischief"]}
        for arm in arms
    }
    batch = _first(results["hostile"])
    rows: Sequence[dict[str, Any]] = list(batch["rows"].values())
    figures |= {"tier": batch["tier"], "hostile": batch["rows"], "calls": settings["calls"]}
    left = sum(row["processes_left"] + row["files_left"] for row in rows) + batch["left_at_the_end"]
    slowest = max(row["next_ms"] for row in rows)
    acts = len(MISCHIEF)
    bars = {
        "warm: median ms of a call": (figures["warm"]["median_ms"], "at most 5", figures["warm"]["median_ms"] <= 5),
        "cold: median ms of a call": (figures["cold"]["median_ms"], "at most 40", figures["cold"]["median_ms"] <= 40),
        "warm: calls a second on a core": (figures["warm"]["per_s"], "at least 150", figures["warm"]["per_s"] >= 150),
        "cold: calls a second on a core": (figures["cold"]["per_s"], "at least 30", figures["cold"]["per_s"] >= 30),
        f"processes and files left by {len(rows)} hostile tasks": (left, "0", left == 0),
        "slowest honest task after one, ms": (slowest, "at most 1000", slowest <= 1000),
        f"acts of {acts} let through, sandbox": (
            len(figures["warm"]["mischief"]),
            "0",
            not figures["warm"]["mischief"],
        ),
        f"harness: median ms, calls a second, acts of {acts} let through": (
            [figures["harness"]["median_ms"], figures["harness"]["per_s"], len(figures["harness"]["mischief"])],
            "none, for comparison",
            True,
        ),
    }
    return {
        "figures": figures,
        "bars": {text: {"figure": f, "bar": b, "holds": h} for text, (f, b, h) in bars.items()},
    }


def _first(by_seed: dict[int, dict[str, Any]]) -> dict[str, Any]:
    return by_seed[min(by_seed)]


if __name__ == "__main__":
    sys.exit(main())

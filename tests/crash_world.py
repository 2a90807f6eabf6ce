"""A world small enough to be killed thousands of times: the real ledger, store, job cache and judge's folder.

``python tests/crash_world.py`` reads one order a line (JSON: the arguments of `forked`), does the world's whole work in
a forked child with that fault armed, and answers one line: how the child ended, what it acknowledged before, and how
many steps it took. So a kill costs milliseconds and is a real SIGKILL of a real process. `driver` starts it.

Faults, at the step numbered ``at`` (1, 2, ...; 0 arms none): ``kill``; ``ENOSPC`` and ``EIO``, raised in place of the
step; ``short``, half of a write and then ENOSPC.
"""

from __future__ import annotations

import errno
import gc
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import evolvent
import traced
from evolvent import disk
from evolvent.errors import EvolventError
from evolvent.jobs import Job, JobContext, JobEngine
from evolvent.judge.folder import JudgeFolder
from evolvent.ledger import Ledger
from evolvent.store import Store
from evolvent.types import sha256_hex

KILLED = -signal.SIGKILL
Say = Callable[[str], None]
Watch = Callable[[str, tuple[Any, ...]], None]

watch: Watch | None = None
_listening = False


def listen(to: Watch | None) -> None:
    """Have each disk step told to `to` before it is taken; ``None`` ends it. The hook itself stays for good."""
    global watch, _listening  # noqa: PLW0603 - an audit hook can be added, never removed
    watch = to
    if not _listening:
        sys.addaudithook(_hook)
        _listening = True


def _hook(name: str, args: tuple[Any, ...]) -> None:
    if watch is not None and name == disk.EVENT:
        watch(args[0], args[1:])


class Fault:
    """Counts steps, and strikes at one of them."""

    def __init__(self, kind: str, at: int) -> None:
        self.kind, self.at, self.steps, self.struck = kind, at, 0, ""

    def __call__(self, name: str, args: tuple[Any, ...]) -> None:
        self.steps += 1
        if self.steps != self.at:
            return
        self.struck = name
        if self.kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if name in {"say", "commit", "committed", "unlink"}:
            return  # SQLite's own errors come from the kernel, see `traced.py`; an unlink needs no space
        if self.kind == "short" and name == "write":
            _path, descriptor, data = args
            os.write(descriptor, data[: len(data) // 2])
        number = errno.EIO if self.kind == "EIO" else errno.ENOSPC
        raise OSError(number, os.strerror(number))


class Engine(JobEngine):
    """A job engine whose jobs run right here: a worker process takes a second to start."""

    def _call(self, job: Job, deadline_s: float) -> dict[str, Any]:
        context = JobContext(store=self.store, inputs=job.inputs, params=job.params, seed=job.seed)
        return {"outputs": {"data": context.store.put_bytes(b"made %d " % job.seed * 9)}, "cpu_ms": 1}


def work(folder: Path, turns: int, say: Say) -> None:
    """Start or go on, to the end. Everything that was made sure of is said, right after."""
    with Ledger.open(folder / "ledger.sqlite", "run", create=True, clock=lambda: 7) as ledger:
        ledger.acquire()
        world = World(folder, say)
        for i in range(turns):
            turn(i, ledger, world, say)
        ledger.request("request.stop", {"why": "enough"}, key="stop")
        say("event request/stop")


class World:
    """All that a run keeps beside its ledger, a log of heads among it."""

    def __init__(self, folder: Path, say: Say) -> None:
        self.store, self.say, self.heads = Store(folder / "store"), say, folder / "heads.jsonl"
        self.store.sweep()
        self.judge, self.engine = JudgeFolder(folder / "judge"), Engine(self.store, workers=1)
        say(f"secret {self.judge.commitment}")

    def make(self, i: int) -> dict[str, Any]:
        """Have a job done, keep a tree, ask a question; returns what the turn's event says."""
        job = Job(function="crash_world:none", seed=i)
        result = self.engine._cached(job.key) or self.engine._run(job, job.key, 60.0)
        self.say(f"artifact {result.outputs['data']}")
        tree = self.store.put_tree({"a.txt": b"same", "b.txt": b"%d" % i * 5000}, "data", {"turn": i})
        self.say(f"artifact {tree}")
        question = sha256_hex(str(i))
        self.judge.take(f"place {i}", question)
        self.say(f"place {i}")
        answer = self.judge.answer(question) or self.judge.save(question, {"items": i}, {"decision": "accept"})
        self.say(f"answer {question}")
        if b"head %d" % i not in _lines(self.heads):
            disk.append_line(self.heads, b"head %d" % i)
        else:  # as `HeadLog.settle`: who wrote it may have been killed before it could sync
            disk.sync_file(self.heads)
            disk.sync_folder(self.heads.parent)
        self.say(f"head {i}")
        return {"tree": tree, "made": result.outputs, "evidence": answer["evidence"]}


def turn(i: int, ledger: Ledger, world: World, say: Say) -> None:
    """One turn: each step looks for its own event first, as the loop's do."""
    if ledger.get(f"turn/{i}") is not None:
        return
    ledger.append("turned", world.make(i), key=f"turn/{i}")
    say(f"event turn/{i}")
    ledger.save_snapshot("state", ledger.head()[0], {"turn": i})


def check(folder: Path, said: list[str], expected: list[str] | None = None) -> None:
    """Whatever was acknowledged is there and whole, and nothing half-made can be read.

    Args:
        folder: as a crash, or a finished run, left it.
        said: what was acknowledged.
        expected: content hashes of the whole run, where the run was ended.
    """
    store = Store(folder / "store")
    events: set[str] = set()
    if (folder / "ledger.sqlite").is_file() and (
        expected is not None or any(line.startswith("event") for line in said)
    ):
        with Ledger.open(folder / "ledger.sqlite", "run") as ledger:
            ledger.verify()
            found = list(ledger.events())
            events = {event.key for event in found}
            assert len(events) == len(found), "an event is there twice"
            if expected is not None:
                assert [event.content_hash for event in found] == expected, "another history"
    for line in said:
        assert _kept(folder, line, events), f"lost: {line}"
    for path in (folder / "store").glob("??/*"):
        store.get_bytes(path.parent.name + path.name)
    for path in [*(folder / "store" / "jobs").glob("*.json"), *(folder / "judge" / "answers").glob("*.json")]:
        json.loads(path.read_bytes())
    for path in (folder / "judge" / "evidence").glob("*.json"):
        assert sha256_hex(path.read_bytes()) == path.stem, "half a piece of evidence"
    if expected is not None:
        assert rubbish(folder) == [], "a finished run left its rubbish"


def _lines(path: Path) -> list[bytes]:
    return path.read_bytes().split(b"\n") if path.exists() else []


def _kept(folder: Path, line: str, events: Collection[str]) -> bool:
    kind, name = line.split(" ")
    match kind:
        case "event":
            return name in events
        case "artifact":
            return Store(folder / "store").complete(name)
        case "answer":
            return JudgeFolder(folder / "judge").answer(name) is not None
        case "head":
            return b"head %d" % int(name) in _lines(folder / "heads.jsonl")
        case "secret":
            return JudgeFolder(folder / "judge").commitment == name
        case _:
            return (folder / "judge" / "places" / f"place {name}").read_text() == sha256_hex(name)


def rubbish(folder: Path) -> list[Path]:
    """Files that nobody will ever ask for."""
    return [path for path in folder.rglob("*") if ".part-" in path.name or path.parent.name == "tmp"]


def child(folder: Path, turns: int, armed: Fault, answers: int) -> int:
    """The forked child's whole life; returns its exit code. Tells lines through the descriptor `answers`."""

    def say(line: str) -> None:
        armed("say", ())
        os.write(answers, f"{line}\n".encode())

    listen(armed)
    try:
        work(folder, turns, say)
    except EvolventError as exc:
        os.write(answers, f"# {type(exc).__name__}: {exc}\n".encode())
        return 1
    finally:
        os.write(answers, f"# steps {armed.steps} {armed.struck}\n".encode())
    return 0


def forked(folder: str, turns: int = 1, fault: str = "kill", at: int = 0, by_call: bool = False) -> dict[str, Any]:
    """Do the work in a child; returns ``{code, said, error, steps, struck}``.

    Steps are those that `evolvent.disk` announces, or, `by_call`, the system calls that change files (`traced`).
    """
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(ours)
        code = 70
        try:
            if by_call:
                traced.be_traced()
            code = child(Path(folder), turns, Fault(fault, 0 if by_call else at), theirs)
        finally:
            os._exit(code)
    calls = traced.follow(pid, fault, at, ignored=theirs) if by_call else None
    os.close(theirs)
    with os.fdopen(ours, "rb") as pipe:
        lines = pipe.read().decode().splitlines()
    code = calls[0] if calls else os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    notes = [line[2:] for line in lines if line.startswith("# ")]
    steps = next((note.split(" ")[1:] for note in notes if note.startswith("steps")), [str(at), ""])
    return {
        "code": code,
        "said": [line for line in lines if not line.startswith("# ")],
        "error": next((note for note in notes if not note.startswith("steps")), ""),
        "steps": calls[1] if calls else int(steps[0]),
        "struck": calls[2] if calls else " ".join(steps[1:]),
    }


@contextmanager
def driver() -> Iterator[Callable[..., dict[str, Any]]]:
    """`forked`, in a process of its own that holds little and runs no thread, so that forks are cheap and safe."""
    env = {**os.environ, "PYTHONPATH": str(Path(evolvent.__file__).parents[1])}
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, __file__], env=env, **pipes) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        stdin, stdout = process.stdin, process.stdout

        def order(folder: Path, **rest: Any) -> dict[str, Any]:
            stdin.write(json.dumps({"folder": str(folder), **rest}) + "\n")
            stdin.flush()
            return json.loads(stdout.readline())

        yield order
        stdin.close()


def main() -> None:
    """Do as told, one line after the other; once for nobody first, so that no child has to warm up again."""
    with tempfile.TemporaryDirectory() as folder:
        work(Path(folder), 1, lambda line: None)
    gc.freeze()
    for line in sys.stdin:
        print(json.dumps(forked(**json.loads(line))), flush=True)


if __name__ == "__main__":
    main()

"""Jobs: every expensive step is a pure function from hashes to hashes, run in a worker process.

So a step can be cached (same inputs, same outputs), resumed, retried and moved. A worker stays warm between jobs,
because importing torch costs seconds. It dies with its parent, however the parent dies, and its own death is a
`JobFailed`, not the end of the loop.

Not here: the order in which results count (`loop.py` commits them in the order of their proposals); isolation (a job
is our code on our data; hostile code runs in `sandbox/`); several machines.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, cast

from evolvent.disk import write_atomic
from evolvent.environment import environment
from evolvent.errors import EvolventError, JobFailed, StoreError, UsageError
from evolvent.precheck import check_outputs
from evolvent.registry import resolve
from evolvent.sandbox.privileges import die_with, drop_capabilities
from evolvent.store import Store
from evolvent.types import Record, content_hash

JOB_VERSION = 2  # raise it when the code of a job changes what it returns: cached results then no longer count

_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
_STDERR_TAIL_BYTES = 2000
_ATTEMPTS = 3


@dataclass(frozen=True, kw_only=True)
class Job(Record):
    """One call of a job function. Same job, same outputs.

    Attributes:
        function: ``package.module:function``, imported in the worker only.
        inputs: store hashes by name.
        params: plain JSON without floats (use `types.dec`).
        seed: seed of everything random in it.
    """

    function: str
    inputs: dict[str, str] = field(default_factory=dict[str, str])
    params: dict[str, Any] = field(default_factory=dict[str, Any])
    seed: int = 0

    @property
    def key(self) -> str:
        """Name of the job's result in the cache."""
        return content_hash({**self.plain(), "code": JOB_VERSION})


@dataclass(frozen=True, kw_only=True)
class JobResult:
    """What a job gave.

    Attributes:
        outputs: store hashes by name.
        seconds_ms: wall time when it ran, in milliseconds; decides nothing.
        cpu_ms: processor time of the worker and of its children that ended.
        cached: it was not run now.
    """

    outputs: dict[str, str]
    seconds_ms: int
    cpu_ms: int
    cached: bool


@dataclass(frozen=True, kw_only=True)
class JobContext:
    """What a job function is handed: ``def f(ctx: JobContext) -> dict[str, str]``.

    Attributes:
        store: where inputs lie and outputs go.
        inputs: store hashes by name.
        params: plain JSON.
        seed: seed of everything random.
        report: sends progress (plain JSON) to the parent, as best it can; never fails.
    """

    store: Store
    inputs: dict[str, str]
    params: dict[str, Any]
    seed: int
    report: Callable[[dict[str, Any]], None] = lambda _fields: None


class JobEngine:
    """Runs jobs in a fixed number of warm worker processes on this machine. Use it as a context manager.

    Guarantees:
        A result is cached only after all its outputs are on disk. No worker outlives the engine or its process.
    """

    def __init__(
        self,
        store: Store,
        *,
        workers: int = 2,
        threads: int = 1,
        timeout_s: float = 3600.0,
        on_report: Callable[[Job, dict[str, Any]], None] | None = None,
        task: str = "",
    ) -> None:
        """Start no worker yet: the first job that is not cached does.

        Args:
            store: where inputs and outputs lie; results are cached in its ``jobs`` folder.
            workers: how many jobs run at once.
            threads: threads that each worker computes with; the same number gives the same sums.
            timeout_s: wall seconds after which a job is killed.
            on_report: gets a job's progress, one call at a time, from a thread of the engine.
            task: each worker prepares for it (`tasks.prepare`) before it gives up root's powers.
        """
        if workers < 1 or threads < 1 or timeout_s <= 0:
            raise UsageError(f"jobs: expected workers, threads, timeout_s > 0, got {workers}, {threads}, {timeout_s}")
        self.store, self.timeout_s = store, timeout_s
        self._threads, self._on_report, self._task = threads, on_report, task
        self._lock, self._report_lock = threading.Lock(), threading.Lock()
        self._idle: list[_Worker] = []
        self._all: set[_Worker] = set()
        self._closed = False
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="evolvent-job")

    def __enter__(self) -> JobEngine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Kill the workers, whatever they do; jobs not finished fail."""
        with self._lock:
            self._closed = True
            workers = list(self._all)
        for worker in workers:
            worker.kill()
        self._pool.shutdown(wait=True, cancel_futures=True)
        for worker in workers:
            self._drop(worker)

    def submit(self, job: Job, timeout_s: float | None = None) -> Future[JobResult]:
        """Start a job; its future raises what `run` does. A cached one is done at once. Time limit as in `run`."""
        key = job.key
        cached = self._cached(key)
        if cached is not None:
            done: Future[JobResult] = Future()
            done.set_result(cached)
            return done
        return self._pool.submit(self._run, job, key, timeout_s or self.timeout_s)

    def run(self, job: Job, timeout_s: float | None = None) -> JobResult:
        """Run a job and wait for it; `timeout_s` counts for it instead of the engine's.

        Raises:
            JobFailed: it raised (`kind` is the exception's name), ``died``, ran into ``timeout``, its result was not
                names to hashes in the store (``bad_outputs``), or a model breaks the pre-check (``model_refused``).
            StoreError: the store could not be read or written, by the job or for its result.
        """
        return self.submit(job, timeout_s).result()

    def map(self, jobs: Sequence[Job]) -> list[JobResult | JobFailed]:
        """Run jobs side by side; results and failures come in the order of `jobs`."""
        results: list[JobResult | JobFailed] = []
        for future in [self.submit(job) for job in jobs]:
            try:
                results.append(future.result())
            except JobFailed as failed:
                results.append(failed)
        return results

    def _cache_file(self, key: str) -> Path:
        return self.store.root / "jobs" / f"{key}.json"

    def _cached(self, key: str) -> JobResult | None:
        """The cached result, unless it is missing, damaged, or an output is gone."""
        try:
            record = json.loads(self._cache_file(key).read_bytes())
            outputs = cast("dict[str, str]", record["outputs"])
            if content_hash(record["job"]) != key or not all(self.store.complete(name) for name in outputs.values()):
                return None
            times = {name: int(record[name]) for name in ("seconds_ms", "cpu_ms")}
            return JobResult(outputs=outputs, cached=True, **times)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, StoreError):
            return None

    def _run(self, job: Job, key: str, timeout_s: float) -> JobResult:
        start = time.monotonic()
        answer = self._call(job, start + timeout_s)
        outputs = self._checked(job, answer)
        times = {"seconds_ms": round((time.monotonic() - start) * 1000), "cpu_ms": int(answer["cpu_ms"])}
        record = {"job": {**job.plain(), "code": JOB_VERSION}, "outputs": outputs, **times}
        write_atomic(self._cache_file(key), json.dumps({**record, "environment": environment(self._threads)}).encode())
        return JobResult(outputs=outputs, cached=False, **times)

    def _call(self, job: Job, deadline_s: float) -> dict[str, Any]:
        """Have a worker do it. One that is lost before it began costs nothing: another tries."""
        lost = ""
        for _ in range(_ATTEMPTS):
            worker = self._take()
            try:
                answer = worker.call(job, deadline_s, lambda fields: self._report(job, fields))
            except _NeverBeganError as exc:
                self._drop(worker)
                lost = str(exc)
            except BaseException:
                self._drop(worker)
                raise
            else:
                with self._lock:
                    self._idle.append(worker)
                return answer
        raise JobFailed("died", f"{job.function}: no worker starts: the last one {lost}")

    def _checked(self, job: Job, answer: dict[str, Any]) -> dict[str, str]:
        if answer.get("failed") == StoreError.__name__:  # the disk's fault, which must not go down as the candidate's
            raise StoreError(f"{job.function}: {answer['message']}")
        if "failed" in answer:
            failed = JobFailed(answer["failed"], f"{job.function}: {answer['message']}", **answer["spent"])
            failed.add_note(answer["traceback"])
            raise failed
        outputs = answer["outputs"]
        with contextlib.suppress(StoreError, TypeError, AttributeError):
            if all(self.store.complete(name) for name in outputs.values()):
                check_outputs(self.store, outputs.values())
                return outputs
        raise JobFailed("bad_outputs", f"{job.function}: expected names -> hashes in the store, got {outputs!r:.200}")

    def _report(self, job: Job, fields: dict[str, Any]) -> None:
        if self._on_report is not None:
            with self._report_lock:
                self._on_report(job, fields)

    def _take(self) -> _Worker:
        """An idle worker; a new one where none is idle (there are never more than threads of the pool)."""
        with self._lock:
            if self._closed:
                raise JobFailed("died", "the job engine was closed")
            if self._idle:
                return self._idle.pop()
            worker = _Worker(self.store.root, self._threads, self._task)
            self._all.add(worker)
            return worker

    def _drop(self, worker: _Worker) -> None:
        worker.close()
        with self._lock:
            self._all.discard(worker)


class _NeverBeganError(Exception):
    """The worker was gone before it looked at the job."""


class _Worker:
    """The parent's end of one worker process."""

    def __init__(self, root: Path, threads: int, task: str) -> None:
        self._conn, theirs = Pipe()
        self._noise = tempfile.TemporaryFile()  # read when the worker dies
        self._kill_lock = threading.Lock()
        command = "import sys; from evolvent.jobs import work; work(*sys.argv[1:])"
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", command, str(theirs.fileno()), str(os.getpid()), str(root), task],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=self._noise,
                stderr=self._noise,
                env=_environment(threads),
                start_new_session=True,  # Ctrl-C is the parent's to handle; and the whole group can be killed
            )

    def call(self, job: Job, deadline_s: float, on_report: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        """Run one job; returns ``{outputs, cpu_ms}`` or ``{failed, message, traceback}``."""
        began = False
        try:
            self._conn.send_bytes(json.dumps(job.plain()).encode())
            while self._conn.poll(max(0.0, deadline_s - time.monotonic())):
                message = json.loads(self._conn.recv_bytes())
                if "began" in message:
                    began = True
                elif "report" in message:
                    on_report(message["report"])
                else:
                    return message
        except (EOFError, OSError) as exc:
            self.kill()
            if not began:
                raise _NeverBeganError(self._last_words()) from exc
            raise JobFailed("died", f"{job.function}: the worker {self._last_words()}") from exc
        raise JobFailed("timeout", f"{job.function}: ran longer than its time limit and was killed")

    def kill(self) -> None:
        with self._kill_lock:
            if self._process.returncode is None:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()

    def close(self) -> None:
        """Kill it and close the files. Only for the thread that uses the worker, or when none does any more."""
        self.kill()
        self._conn.close()
        self._noise.close()

    def _last_words(self) -> str:
        code = self._process.returncode
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        size = self._noise.seek(0, os.SEEK_END)
        self._noise.seek(max(0, size - _STDERR_TAIL_BYTES))
        tail = self._noise.read().decode(errors="replace").strip()
        return f"{how}; its last words: {tail}" if tail else how


def _environment(threads: int) -> dict[str, str]:
    """The parent's environment without the judge's secrets, with fixed threads, offline, and the same import path."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("EVOLVENT_JUDGE")}
    env |= dict.fromkeys(_THREAD_VARIABLES, str(threads))
    env |= {"PYTHONHASHSEED": "0", "TOKENIZERS_PARALLELISM": "false"}
    env |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
    env["PYTHONPATH"] = os.pathsep.join(entry for entry in sys.path if entry)
    env["PYTHONSAFEPATH"] = "1"  # the folder that a person happens to stand in must not shadow a module
    return env


def work(descriptor: str, parent: str, root: str, task: str) -> None:
    """Run jobs until the parent is gone: the worker process's whole life.

    Args:
        descriptor: number of the open socket to the parent.
        parent: the parent's process id.
        root: the store's folder.
        task: what it prepares for; may be empty.
    """
    die_with(int(parent))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.set_inheritable(int(descriptor), False)
    conn: Connection[Any, Any] = Connection(int(descriptor))
    jobs: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(conn, jobs), daemon=True).start()
    store = Store(Path(root))
    with contextlib.suppress(EvolventError):  # what needs what is missing will say so
        resolve("evolvent.tasks:prepare")(task)
    drop_capabilities(Path(root))  # so that root's workers cannot read a folder that the judge's user keeps to itself
    while True:
        job = json.loads(jobs.get())
        _send(conn, {"began": True})
        _send(conn, _perform(store, job, lambda fields: _send(conn, {"report": fields})))


def _listen(conn: Connection[Any, Any], jobs: queue.SimpleQueue[bytes]) -> None:
    """Own thread, so that the parent's end shows even in the middle of a job."""
    try:
        while True:
            jobs.put(conn.recv_bytes())
    except (EOFError, OSError):
        os._exit(1)


def _perform(store: Store, job: dict[str, Any], report: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    start = sum(os.times()[:4])  # with children that ended
    try:
        context = JobContext(store=store, inputs=job["inputs"], params=job["params"], seed=job["seed"], report=report)
        outputs = resolve(job["function"])(context)
        json.dumps(outputs)
    except BaseException as exc:  # SystemExit too is the job's failure, not ours
        told = exc if isinstance(exc, JobFailed) else JobFailed(type(exc).__name__, str(exc))
        spent = {"flops": told.flops, "tokens": told.tokens}
        return {"failed": told.kind, "message": str(exc), "spent": spent, "traceback": traceback.format_exc()}
    return {"outputs": outputs, "cpu_ms": round((sum(os.times()[:4]) - start) * 1000)}


def _send(conn: Connection[Any, Any], message: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):
        conn.send_bytes(json.dumps(message, default=str).encode())

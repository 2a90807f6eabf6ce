"""Jobs: cached, in order, and no way of dying fells the parent or outlives it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from evolvent.errors import JobFailed, StoreError, UsageError
from evolvent.jobs import Job, JobContext, JobEngine, JobResult
from evolvent.store import Store

# --- job functions, run in the workers -----------------------------------------------------------------------------


def write(ctx: JobContext) -> dict[str, str]:
    """Count its runs in a file named by the parameter, and keep a tree."""
    if "runs" in ctx.params:
        with Path(ctx.params["runs"]).open("a", encoding="utf-8") as file:
            file.write("x")
    ctx.report({"step": 1, "loss": 0.5})
    return {"out": ctx.store.put_tree({"seed.txt": str(ctx.seed).encode()}, "data", {}), **ctx.inputs}


def environment(ctx: JobContext) -> dict[str, str]:
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "EVOLVENT_JUDGE_SECRET_HEX")
    seen = {name: os.environ.get(name) for name in names}
    return {"env": ctx.store.put_json({**seen, "pid": os.getpid(), "torch": "torch" in sys.modules})}


def fail(ctx: JobContext) -> dict[str, str]:
    if ctx.params["how"] == "diverged":
        raise JobFailed("diverged", "loss is not finite", flops=60, tokens=7)
    if ctx.params["how"] == "exit":
        sys.exit(3)
    if ctx.params["how"] == "crash":
        print("last words", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    if ctx.params["how"] == "full disk":
        raise StoreError("the disk is full; free space and run again")
    raise ZeroDivisionError("x")


def wait(ctx: JobContext) -> dict[str, str]:
    ctx.report({"pid": os.getpid()})
    time.sleep(60)
    return {}


def lie(ctx: JobContext) -> Any:
    return {"missing": {"out": "0" * 64}, "text": {"out": "x"}, "list": [1], "none": None}[ctx.params["what"]]


def noisy(ctx: JobContext) -> dict[str, str]:
    print("x" * 200_000)
    return {}


# --- tests ----------------------------------------------------------------------------------------------------------


def job(function: str, **params: Any) -> Job:
    return Job(function=f"{__name__}:{function}", params=params)


def failed(result: JobResult | JobFailed) -> JobFailed:
    assert isinstance(result, JobFailed)
    return result


def gone(pid: int) -> bool:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.02)
    return False


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def engine(store: Store) -> Iterator[JobEngine]:
    with JobEngine(store, workers=1, timeout_s=30) as engine:
        yield engine


def test_result_is_cached_while_its_outputs_exist(engine: JobEngine, store: Store, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    work = job("write", runs=str(runs))
    first, second = engine.run(work), engine.run(work)
    assert (first.cached, second.cached, first.outputs) == (False, True, second.outputs)
    assert runs.read_text() == "x"
    record = json.loads((store.root / "jobs" / f"{work.key}.json").read_text())
    assert record["outputs"] == first.outputs
    assert first.seconds_ms == record["seconds_ms"] == second.seconds_ms
    store.path(store.get_manifest(first.outputs["out"])["files"]["seed.txt"]["sha256"]).unlink()
    assert not engine.run(work).cached
    (store.root / "jobs" / f"{work.key}.json").write_text("{}")
    assert not engine.run(work).cached
    assert runs.read_text() == "xxx"


def test_key_depends_on_everything_that_the_result_does() -> None:
    base = Job(function="m:f", inputs={"a": "1"}, params={"p": 1}, seed=1)
    others = [
        Job(function="m:g", inputs={"a": "1"}, params={"p": 1}, seed=1),
        Job(function="m:f", inputs={"a": "2"}, params={"p": 1}, seed=1),
        Job(function="m:f", inputs={"a": "1"}, params={"p": 2}, seed=1),
        Job(function="m:f", inputs={"a": "1"}, params={"p": 1}, seed=2),
    ]
    assert len({base.key, *(other.key for other in others)}) == 5
    assert base.key == Job(function="m:f", inputs={"a": "1"}, params={"p": 1}, seed=1).key


def test_worker_is_warm_light_and_knows_no_secret(
    engine: JobEngine, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVOLVENT_JUDGE_SECRET_HEX", "00")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    seen = [store.get_json(engine.run(job("environment", i=i)).outputs["env"]) for i in range(2)]
    assert seen[0] == seen[1]
    assert (seen[0]["OMP_NUM_THREADS"], seen[0]["MKL_NUM_THREADS"]) == ("1", "1")
    assert seen[0]["EVOLVENT_JUDGE_SECRET_HEX"] is None
    assert not seen[0]["torch"]
    assert seen[0]["pid"] != os.getpid()


def test_failures_are_data_in_order_and_the_worker_is_replaced(engine: JobEngine) -> None:
    jobs = [
        job("fail", how="raise"),
        job("fail", how="diverged"),
        job("fail", how="exit"),
        job("fail", how="crash"),
        job("write"),
        job("nothing"),
        *(job("lie", what=what) for what in ("missing", "text", "list", "none")),
        job("noisy"),
    ]
    results = engine.map(jobs)
    assert [r.kind if isinstance(r, JobFailed) else "ok" for r in results] == [
        *("ZeroDivisionError", "diverged", "SystemExit", "died", "ok", "UsageError"),
        *("bad_outputs", "bad_outputs", "bad_outputs", "bad_outputs", "ok"),
    ]
    assert "ZeroDivisionError: x" in failed(results[0]).__notes__[0]
    assert [(failed(r).flops, failed(r).tokens) for r in results[:2]] == [(0, 0), (60, 7)]
    assert "killed by SIGKILL; its last words: last words" in str(results[3])


def test_a_disk_that_fails_is_not_the_jobs_failure(engine: JobEngine) -> None:
    with pytest.raises(StoreError, match="free space"):
        engine.run(job("fail", how="full disk"))
    assert not engine.run(job("write")).cached


def test_job_over_its_time_is_killed(store: Store) -> None:
    pids: list[Any] = []

    def note(_job: Job, fields: dict[str, Any]) -> None:
        pids.append(fields.get("pid"))

    with JobEngine(store, workers=1, on_report=note) as engine:
        with pytest.raises(JobFailed) as caught:
            engine.run(job("wait"), timeout_s=1.5)
        assert caught.value.kind == "timeout"
        assert gone(pids[0])
        assert not engine.run(job("write")).cached


def test_progress_reaches_the_parent(store: Store) -> None:
    seen: list[tuple[Job, dict[str, Any]]] = []
    with JobEngine(store, on_report=lambda *report: seen.append(report)) as engine:
        engine.map([job("write", i=1), job("write", i=2)])
    assert sorted(j.params["i"] for j, _ in seen) == [1, 2]
    assert all(fields == {"step": 1, "loss": 0.5} for _, fields in seen)


def test_closing_kills_what_still_runs(store: Store) -> None:
    started, pids = threading.Event(), list[int]()

    def note(_job: Job, fields: dict[str, Any]) -> None:
        pids.append(fields["pid"])
        started.set()

    with JobEngine(store, workers=1, on_report=note) as engine:
        future = engine.submit(job("wait"))
        assert started.wait(20)
    assert isinstance(future.exception(timeout=5), JobFailed)
    assert gone(pids[0])


def test_worker_dies_with_a_killed_parent(store: Store, tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from evolvent.jobs import *; from evolvent.store import Store\n"
        "report = lambda job, fields: print(fields['pid'], flush=True)\n"
        "with JobEngine(Store(pathlib.Path(sys.argv[1])), on_report=report) as e:\n"
        f"    e.run(Job(function='{__name__}:wait'))\n"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    argv = [sys.executable, "-c", code, str(store.root)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=env) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        parent.kill()
    assert gone(worker)


def test_worker_that_died_idle_is_replaced(engine: JobEngine, store: Store) -> None:
    pid = store.get_json(engine.run(job("environment")).outputs["env"])["pid"]
    os.kill(pid, signal.SIGKILL)
    assert gone(pid)
    assert engine.run(job("write")).outputs


def test_worker_that_cannot_start_is_a_failure(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with JobEngine(store) as engine:
        result = failed(engine.map([job("write")])[0])
    assert (result.kind, "no worker starts" in str(result)) == ("died", True)


def test_unusable_settings_are_refused(store: Store) -> None:
    with pytest.raises(UsageError, match="workers"):
        JobEngine(store, workers=0)
    with pytest.raises(StoreError):
        store.get_bytes("0" * 64)

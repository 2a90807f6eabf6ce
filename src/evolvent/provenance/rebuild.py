"""Build a version again from what the ledger says, and see whether the same weights come out.

Each job that made it runs once more from the inputs that were recorded, on CPU, in a store of its own: nothing is found
in a cache, nothing of the run is touched. If every job gives what it gave, so does the whole chain of them. Where one
does not, the environments are compared.

Not here: judging again (`audit/` recomputes verdicts), drawing the judge's items again.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evolvent.environment import environment
from evolvent.errors import JobFailed, StoreError
from evolvent.jobs import Job, JobEngine
from evolvent.ledger import Ledger
from evolvent.store import Store

__all__ = ["JobAgain", "line_of", "made_with", "maker_of", "run_again"]

Json = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class JobAgain:
    """One job, run again.

    Attributes:
        function: what was run.
        key: name of its result.
        expected: store hashes by name, as recorded.
        found: as they came out now; empty when it failed.
        error: why it failed, or ``""``.
        differs: what of the environment is different, in words; empty when nothing is, or nothing is known.
    """

    function: str
    key: str
    expected: dict[str, str]
    found: dict[str, str]
    error: str
    differs: list[str]

    @property
    def same(self) -> bool:
        """It gave what it gave before."""
        return self.found == self.expected

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        return {**vars(self), "same": self.same}


def run_again(
    store: Store, jobs: Iterable[Json], *, threads: int, task: str, told: Callable[[str], None]
) -> list[JobAgain]:
    """Run recorded jobs again.

    Args:
        store: of the run; only read.
        jobs: as a ``built`` event lists them.
        threads: threads to compute with; the run's own gives the run's own sums.
        task: of the run.
        told: called with a job's function before it starts.
    """
    done: list[JobAgain] = []
    with tempfile.TemporaryDirectory(prefix="evolvent-rebuild-") as scratch:
        own = Store(Path(scratch))
        with JobEngine(own, workers=1, threads=threads, task=task) as engine:
            for row in jobs:
                told(row["function"])
                done.append(_again(store, own, engine, row, threads))
    return done


def _again(store: Store, own: Store, engine: JobEngine, row: Json, threads: int) -> JobAgain:
    job = Job(function=row["function"], inputs=dict(row["inputs"]), params=dict(row["params"]), seed=row["seed"])
    found: dict[str, str] = {}
    error = ""
    try:
        for artifact in job.inputs.values():
            _copy(store, own, artifact)
        found = dict(engine.run(job).outputs)
    except (JobFailed, StoreError) as exc:
        error = str(exc)
    same = found == row["outputs"]
    differs = [] if same else _differences(made_with(store, row["key"]), environment(threads))
    if not same and job.key != row["key"]:
        differs.append("the job's code has another version than then")
    return JobAgain(
        function=job.function, key=row["key"], expected=dict(row["outputs"]), found=found, error=error, differs=differs
    )


def made_with(store: Store, key: str) -> dict[str, str]:
    """The environment in which a job ran; empty when its record is gone."""
    try:
        record = json.loads((store.root / "jobs" / f"{key}.json").read_bytes())
        return {str(name): str(value) for name, value in record["environment"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _differences(then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    if not then:
        return ["what it was built with is not known any more"]
    names = [name for name in now if then.get(name) != now[name]]
    return [f"{name} was {then.get(name, 'unknown')[:60]}, is {now[name][:60]}" for name in names]


def _copy(store: Store, own: Store, artifact: str) -> None:
    """Bring an artifact over, checked; of a tree its files too."""
    data = store.get_bytes(artifact)
    if data.startswith(b'{"files":{'):
        for entry in store.get_manifest(artifact)["files"].values():
            own.put_bytes(store.get_bytes(entry["sha256"]))
    own.put_bytes(data)


def line_of(ledger: Ledger, version: str) -> list[Json]:
    """The payloads that describe a version and its ancestors, itself first, the seed last."""
    known = {event.payload["version"]: event.payload for event in _described(ledger)}
    line: list[Json] = []
    while version in known:
        line.append(known.pop(version))  # popped: a version can be its own parent's twin, never its own ancestor
        version = line[-1].get("parent", "")
    return line


def maker_of(line: list[Json]) -> Json | None:
    """The version whose jobs made the weights that the first of `line` carries, or the seed that came with them.

    Returns:
        ``None`` when neither is on record.
    """
    weights = line[0]["candidate"]["model"]
    for built in line:
        if any(weights in job["outputs"].values() for job in built.get("jobs", ())):
            return built
    return line[-1] if line[-1]["candidate"]["model"] == weights else None


def _described(ledger: Ledger) -> list[Any]:
    # The first event that describes a version counts: built again (by the null operator, say) it is the same.
    return list(ledger.events(kinds={"seed.imported", "built"}))[::-1]

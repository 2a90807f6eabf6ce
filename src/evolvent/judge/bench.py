"""The bench: draws items from the judge's secret and runs versions on them in a sandboxed worker.

Commit, then draw: an item's seed is a keyed hash of the secret, the candidate, the slot, skill and block, so nobody can
know it before the candidate is fixed, and the judge can draw it again after a crash. Weights and prompts go to the
worker through pipes, text comes back; problems, probes and the secret stay here.

Not here: what the outcomes mean (`gate.py`).
"""

from __future__ import annotations

import hmac
import random
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from evolvent.errors import SandboxError
from evolvent.precheck import built_in, read_artifact
from evolvent.sandbox import IsolatedProcess, running
from evolvent.store import Store
from evolvent.types import Problem, Score, canonical_json, content_hash, derive_seed

__all__ = ["Bench", "Block", "ItemSource", "TwinBench", "Verifier"]

_T = TypeVar("_T")
_MAX_ANSWER_BYTES = 64 << 20
_START_TIMEOUT_S = 180.0
_LIBRARY = "--library"  # tells the worker that models of the `transformers` library will come
_ASKING = threading.Lock()  # a task is asked by one thread at a time: nobody promises that theirs takes more


class Verifier(Protocol):
    """What the judge needs of a task: fresh problems and an exact check."""

    @property
    def skills(self) -> tuple[str, ...]: ...  # noqa: D102  # names of the pooled skills

    def generate(self, skill: str, rng: random.Random, count: int) -> list[Problem]: ...  # noqa: D102

    def verify(self, problem: Problem, output: str, probe_seed: int) -> Score: ...  # noqa: D102


@dataclass(frozen=True, kw_only=True)
class Block:
    """Items drawn together.

    Attributes:
        key: what the seeds derive from; also names the block in the cache.
        problems: the items.
        rollout_seed: seed of the models' sampling; each version derives its own.
        probe_seeds: per item, seed of the verifier's probes.
    """

    key: str
    problems: tuple[Problem, ...]
    rollout_seed: int
    probe_seeds: tuple[int, ...]


class ItemSource:
    """Draws blocks. The same secret and key always give the same items."""

    def __init__(self, secret: bytes, task: Verifier) -> None:
        self._secret, self._task = secret, task

    def draw(self, *, candidate: str, slot: str, skill: str, split: str, index: int, count: int) -> Block:
        """One block.

        Args:
            candidate: hash of the version that is judged; it was in the ledger before.
            slot: what the items are for; never used twice with the same candidate.
            skill: pooled skill.
            split: ``gate`` or ``sealed``.
            index: number of the block within skill and slot.
            count: items wanted.

        Raises:
            SandboxError: the task did not make as many problems as it was asked for.
        """
        key = f"{candidate}|{slot}|{skill}|{split}|{index}"
        problems = self._task.generate(skill, random.Random(self._seed(key, "items")), count)
        if len(problems) != count:
            raise SandboxError(f"task: expected {count} problems of '{skill}', got {len(problems)}")
        return Block(
            key=f"{key}|{count}",
            problems=tuple(problems),
            rollout_seed=self._seed(key, "rollout") >> 1,
            probe_seeds=tuple(self._seed(key, f"probe|{item}") >> 1 for item in range(count)),
        )

    def _seed(self, key: str, purpose: str) -> int:
        return int.from_bytes(hmac.digest(self._secret, f"{key}|{purpose}".encode(), "sha256")[:8], "big")


class Bench:
    """Runs versions on blocks; remembers the outcomes until `clear`.

    Args:
        task: verifies outputs.
        store: holds the model artifacts.
        worker: argv of the rollout worker.
        hidden: paths that the worker must not be able to read.
        threads: threads of the worker.
        timeout_s: seconds until a worker that does not answer is replaced.
    """

    def __init__(
        self,
        task: Verifier,
        store: Store,
        worker: Sequence[str],
        *,
        hidden: Sequence[Path] = (),
        threads: int = 1,
        timeout_s: float = 900.0,
    ) -> None:
        self.tokens = 0
        self._task, self._store, self._argv = task, store, tuple(worker)
        self._hidden, self._threads, self._timeout_s = tuple(hidden), threads, timeout_s
        self._worker: IsolatedProcess | None = None
        self._tier = ""
        self._loaded: set[str] = set()
        self._outcomes: dict[tuple[str, str], NDArray[np.bool_]] = {}
        self._texts: dict[tuple[str, str], list[str]] = {}

    @property
    def isolation(self) -> str:
        """Level of the worker's sandbox, as it proved at its start (which this may bring about)."""
        self._started()
        return self._tier

    def warm(self) -> None:
        """Start the worker before it is needed; a failure shows at the first question."""
        try:
            self._started()
        except SandboxError as exc:
            print(f"judge: worker did not start: {exc}", file=sys.stderr)

    def score(self, version: dict[str, Any], block: Block, max_new_tokens: int) -> NDArray[np.bool_]:
        """Which of the block's items the version solves. A version is run once per block.

        Args:
            version: plain form of a candidate.
            block: the items.
            max_new_tokens: limit of each output.

        Raises:
            ModelRefused: the model's files break the pre-check; no byte of them reached the worker.
            SandboxError: the worker failed twice, or the verifier's sandbox did.
            StoreError: the model is missing or altered.
        """
        key = _key(version, block)
        if key not in self._outcomes:
            outputs = self._outputs(version, block, max_new_tokens)
            checks = zip(block.problems, outputs, block.probe_seeds, strict=True)
            self._outcomes[key] = np.array([self._solves(*check) for check in checks], np.bool_)
            self._texts[key] = outputs
        return self._outcomes[key]

    def repeats(self, version: dict[str, Any], block: Block, max_new_tokens: int) -> NDArray[np.bool_]:
        """On which of the block's items the version, asked once more and by sampling, gives the same answer.

        Raises:
            ModelRefused, SandboxError, StoreError: as `score`.
        """
        self.score(version, block, max_new_tokens)
        again = self._outputs(version, block, max_new_tokens, again=True)
        return np.array([a == b for a, b in zip(self._texts[_key(version, block)], again, strict=True)], np.bool_)

    def clear(self, keep: Sequence[dict[str, Any]] = ()) -> None:
        """Forget outcomes and the token count, and drop every model but those of the versions in `keep`."""
        self._outcomes.clear()
        self._texts.clear()
        self.tokens = 0
        try:
            for handle in sorted(self._loaded - {version["model"] for version in keep}):
                self._loaded.discard(handle)
                self._ask({"op": "drop", "handle": handle})
        except SandboxError:
            self.close()  # a fresh worker holds no model at all

    def close(self) -> None:
        """Kill the worker."""
        if self._worker is not None:
            self._worker.close()
        self._worker = None
        self._loaded.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _outputs(self, version: dict[str, Any], block: Block, max_new_tokens: int, *, again: bool = False) -> list[str]:
        path = (block.rollout_seed, version["model"], canonical_json(version["scaffold"]))
        request = {
            "op": "rollout",
            "handle": version["model"],
            "scaffold": version["scaffold"],
            "prompts": [problem.prompt for problem in block.problems],
            # Noise of its own for each version: what two have in common must come from the items alone.
            "seed": derive_seed(*path, "again") if again else derive_seed(*path),
            "sampled": again,
            "max_new_tokens": max_new_tokens,
        }
        try:
            answer = self._on_model(version["model"], request)
        except SandboxError:
            self.close()  # a fresh worker once: a failure that comes back is the version's
            answer = self._on_model(version["model"], request)
        outputs: Any = answer.get("outputs")
        tokens = answer.get("tokens")
        if not isinstance(outputs, list) or not isinstance(tokens, int) or tokens < 0:
            raise SandboxError("worker: expected a list of outputs and a token count, got something else")
        texts = [output for output in outputs if isinstance(output, str)]
        if not len(texts) == len(outputs) == len(block.problems):
            raise SandboxError(f"worker: expected {len(block.problems)} texts, got {len(texts)} of {len(outputs)}")
        self.tokens += tokens
        return texts

    def _on_model(self, model: str, request: dict[str, Any]) -> dict[str, Any]:
        self._started()
        if model not in self._loaded:
            files = read_artifact(self._store, model)
            if not built_in(files) and _LIBRARY not in self._argv:
                self.close()  # locked in as it is it could not import that library any more, which takes its time
                self._argv = (*self._argv, _LIBRARY)
            sizes = {name: len(data) for name, data in files.items()}
            self._ask({"op": "load", "handle": model, "files": sizes}, list(files.values()))
            self._loaded.add(model)
        return self._ask(request)

    def _ask(self, request: dict[str, Any], blobs: Sequence[bytes] = ()) -> dict[str, Any]:
        # The worker may start nothing: what its scratch runs need run is run in our sandbox, as its outputs will be.
        answer = self._started().call(request, blobs, timeout_s=self._timeout_s, answer=running.answer)
        if "error" in answer:
            raise SandboxError(f"worker, {request['op']}: {str(answer['error'])[:500]}")
        return answer

    def _started(self) -> IsolatedProcess:
        if self._worker is None or not self._worker.alive:
            self.close()
            self._worker = IsolatedProcess(
                self._argv, hidden=self._hidden, threads=self._threads, max_frame_bytes=_MAX_ANSWER_BYTES
            )
            tier = str(self._worker.receive(timeout_s=_START_TIMEOUT_S).get("isolation", "none"))
            if self._tier not in ("", tier):
                raise SandboxError(f"worker: isolation changed from {self._tier} to {tier} within a run")
            self._tier = tier
        return self._worker

    def _solves(self, problem: Problem, output: str, probe_seed: int) -> bool:
        try:
            with _ASKING:
                return self._task.verify(problem, output, probe_seed).correct is True
        except SandboxError:
            raise  # nothing was found out about the output, so nothing may be concluded
        except Exception as exc:  # hostile output must not fell the judge
            print(f"judge: verifier failed on an output: {type(exc).__name__}: {exc}", file=sys.stderr)
            return False


class TwinBench:
    """Two benches side by side, each with half of a block.

    A block is halved however many workers there are, so that outcomes do not depend on their number.

    Args:
        first: runs the first halves.
        second: runs the second halves; may be the same bench, on a single core.
    """

    def __init__(self, first: Bench, second: Bench) -> None:
        self._first, self._second = first, second
        self._threads = ThreadPoolExecutor(
            max_workers=1
        )  # one thread for good: a worker dies with the thread it began in

    @property
    def isolation(self) -> str:
        """Level of the sandboxes; of two that differ, neither counts."""
        tiers = {bench.isolation for bench in self._both()}
        return tiers.pop() if len(tiers) == 1 else "mixed"

    @property
    def tokens(self) -> int:
        """Tokens since `clear`."""
        return sum(bench.tokens for bench in self._both())

    def warm(self) -> None:
        """Start the workers before they are needed, both at once."""
        self._at_once(self._first.warm, self._second.warm)

    def score(self, version: dict[str, Any], block: Block, max_new_tokens: int) -> NDArray[np.bool_]:
        """Which of the block's items the version solves. A version is run once per block.

        Raises:
            ModelRefused: the model's files break the pre-check; no byte of them reached a worker.
            SandboxError: a worker failed twice.
            StoreError: the model is missing or altered.
        """
        return self._by_halves(block, lambda bench, half: bench.score(version, half, max_new_tokens))

    def repeats(self, version: dict[str, Any], block: Block, max_new_tokens: int) -> NDArray[np.bool_]:
        """On which of the block's items the version, asked once more and by sampling, gives the same answer.

        Raises:
            ModelRefused, SandboxError, StoreError: as `score`.
        """
        return self._by_halves(block, lambda bench, half: bench.repeats(version, half, max_new_tokens))

    def clear(self, keep: Sequence[dict[str, Any]] = ()) -> None:
        """Forget outcomes and token counts, and drop every model but those of the versions in `keep`."""
        for bench in self._both():
            bench.clear(keep)

    def close(self) -> None:
        """Kill the workers."""
        for bench in self._both():
            bench.close()
        self._threads.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _by_halves(self, block: Block, work: Callable[[Bench, Block], NDArray[np.bool_]]) -> NDArray[np.bool_]:
        middle = (len(block.problems) + 1) // 2
        halves = [_part(block, "first", 0, middle), _part(block, "second", middle, len(block.problems))]
        if not halves[1].problems:
            return work(self._first, halves[0])
        return np.concatenate(
            self._at_once(lambda: work(self._first, halves[0]), lambda: work(self._second, halves[1]))
        )

    def _both(self) -> tuple[Bench, ...]:
        return (self._first,) if self._second is self._first else (self._first, self._second)

    def _at_once(self, first: Callable[[], _T], second: Callable[[], _T]) -> tuple[_T, _T]:
        if self._second is self._first:
            return first(), second()
        other = self._threads.submit(second)
        try:
            mine = first()
        finally:
            wait([other])
        return mine, other.result()


def _key(version: dict[str, Any], block: Block) -> tuple[str, str]:
    # The genome is only a description: weights and scaffold are what runs.
    return content_hash({"model": version["model"], "scaffold": version["scaffold"]}), block.key


def _part(block: Block, name: str, start: int, stop: int) -> Block:
    return Block(
        key=f"{block.key}/{name}",
        problems=block.problems[start:stop],
        rollout_seed=derive_seed(block.rollout_seed, name),  # shared noise would tie the items' outcomes together
        probe_seeds=block.probe_seeds[start:stop],
    )

"""What must hold of the bench: items from secret and key alone, outcomes in their places, what a worker must not say.

No process is started: what would talk to a worker talks to a stand-in that keeps what it was told.

Not here: gate and statistics (`battery_judge.py`).
"""

from __future__ import annotations

import json
import random
import time
from typing import Any

from evolvent import judge as _judge  # noqa: F401 - so that its modules are there before a child is born
from evolvent.errors import SandboxError
from evolvent.types import Problem, Score, canonical_json, derive_seed
from hostile.battery_judge import module, version

__all__ = ["bench"]


class _Numbers:
    """A task whose right output is the prompt's number; some verdicts are not quite true, and some verifications fail."""

    skills = ("a",)

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, int]] = []
        self.short = False

    def generate(self, skill: str, rng: random.Random, count: int) -> list[Problem]:
        return [Problem(task="n", skill=skill, prompt=str(rng.getrandbits(50))) for _ in range(count - self.short)]

    def verify(self, problem: Problem, output: str, probe_seed: int) -> Score:
        self.asked.append((problem.prompt, output, probe_seed))
        if output == "fall":
            raise RuntimeError("a hostile output")
        return Score(correct="yes" if output == "truthy" else output == problem.prompt)  # type: ignore[arg-type]


def bench() -> None:
    """Items from secret and key alone; outcomes in their places; what a worker must not say."""
    judged = module("bench")
    _drawn(judged)
    _scored(judged)
    _repeated(judged)
    _halved(judged)
    _worked(judged)


def _drawn(judged: Any) -> None:
    task = _Numbers()

    def draw(secret: bytes = b"s", **changes: Any) -> Any:
        fields: dict[str, Any] = {"candidate": "c", "slot": "1", "skill": "a", "split": "gate", "index": 0, "count": 6}
        return judged.ItemSource(secret, task).draw(**{**fields, **changes})

    one = draw()
    assert one == draw()
    assert len(one.problems) == len(one.probe_seeds) == len(set(one.probe_seeds)) == 6
    for other in (draw(b"t"), draw(candidate="d"), draw(slot="2"), draw(split="sealed"), draw(index=1)):
        assert {p.prompt for p in other.problems}.isdisjoint(p.prompt for p in one.problems)
        assert other.rollout_seed != one.rollout_seed
        assert set(other.probe_seeds).isdisjoint(one.probe_seeds)
    varied: list[dict[str, Any]] = [
        {},
        {"candidate": "d"},
        {"slot": "2"},
        {"split": "sealed"},
        {"index": 1},
        {"count": 5},
    ]
    keys = {draw(**change).key for change in varied}
    assert len(keys) == 6
    # The seed as the documents define it: the first 8 bytes of a keyed hash of key and purpose.
    import hmac  # noqa: PLC0415

    def seed(purpose: str) -> int:
        return int.from_bytes(hmac.digest(b"s", f"c|1|a|gate|0|{purpose}".encode(), "sha256")[:8], "big")

    assert [p.prompt for p in one.problems] == [p.prompt for p in task.generate("a", random.Random(seed("items")), 6)]
    assert one.rollout_seed == seed("rollout") >> 1
    assert one.probe_seeds == tuple(seed(f"probe|{i}") >> 1 for i in range(6))
    task.short = True
    _sandboxed(draw)


def _sandboxed(function: Any) -> None:
    try:
        function()
    except SandboxError:
        return
    raise AssertionError("no SandboxError")


def _bench(judged: Any, task: _Numbers, answers: Any) -> tuple[Any, list[Any]]:
    asked: list[Any] = []

    class Held(judged.Bench):
        """Answers for the worker: nothing is started."""

        def _on_model(self, model: str, request: dict[str, Any]) -> dict[str, Any]:
            asked.append((model, request))
            said = answers(model, request["prompts"])
            if isinstance(said, Exception):
                raise said
            return {"outputs": said, "tokens": len(request["prompts"])} if isinstance(said, list) else said

    return Held(task, None, ["x"]), asked


def _scored(judged: Any) -> None:
    task = _Numbers()
    block = judged.ItemSource(b"s", task).draw(candidate="c", slot="1", skill="a", split="gate", index=0, count=6)
    right = [p.prompt for p in block.problems]
    held, asked = _bench(judged, task, lambda model, prompts: [right[0], "x", "fall", right[3], "truthy", right[4]])
    one, two = version("1"), {**version("1"), "scaffold": {"kind": "other"}}
    assert held.score(one, block, 33).tolist() == [True, False, False, True, False, False]
    assert held.tokens == 6
    assert task.asked == list(
        zip(right, [right[0], "x", "fall", right[3], "truthy", right[4]], block.probe_seeds, strict=True)
    )
    held.score({**one, "genome": "1" * 64}, block, 33)
    assert (held.tokens, len(asked)) == (6, 1), "a version is run once"
    held.score(two, block, 33)
    assert (held.tokens, len(asked)) == (12, 2), "another scaffold is another version"
    seeds = [request["seed"] for _, request in asked]
    assert seeds[0] != seeds[1]
    assert asked[0][1]["prompts"] == right
    assert (asked[0][0], asked[0][1]["handle"], asked[0][1]["op"], asked[0][1]["max_new_tokens"]) == (
        one["model"],
        one["model"],
        "rollout",
        33,
    )
    assert asked[0][1]["scaffold"] == one["scaffold"]
    held.clear()
    assert held.tokens == 0
    held.score(one, block, 33)
    assert len(asked) == 3, "clear forgets"
    assert asked[2][1]["seed"] == seeds[0]
    for bad in (
        right[:5],
        [*right, "x"],
        [*right[:5], 7],
        {"outputs": "x", "tokens": 1},
        {"outputs": right, "tokens": -1},
        {"outputs": right},
        {"outputs": right, "tokens": "6"},
        SandboxError("twice"),
    ):
        broken, tries = _bench(judged, task, lambda model, prompts, bad=bad: bad)
        _sandboxed(lambda broken=broken: broken.score(one, block, 33))
        assert len(tries) == (2 if isinstance(bad, SandboxError) else 1)
    none, _ = _bench(judged, task, lambda model, prompts: {"outputs": right, "tokens": 0})
    assert none.score(one, block, 33).all()
    once: list[int] = []
    shaky, _ = _bench(judged, task, lambda model, prompts: right if once else once.append(1) or SandboxError("once"))
    assert shaky.score(one, block, 33).all()


def _repeated(judged: Any) -> None:
    """Asked once more by sampling, with noise of its own; what was counted before stays as it was."""
    task = _Numbers()
    block = judged.ItemSource(b"s", task).draw(candidate="c", slot="1", skill="a", split="gate", index=0, count=4)
    right = [p.prompt for p in block.problems]
    says = [right, ["x", right[1], "y", right[3]]]
    held, asked = _bench(judged, task, lambda model, prompts: says[len(asked) - 1])
    one = version("1")
    assert held.repeats(one, block, 9).tolist() == [False, True, False, True]
    assert [request["sampled"] for _, request in asked] == [False, True]
    path = (block.rollout_seed, one["model"], canonical_json(one["scaffold"]))
    assert [request["seed"] for _, request in asked] == [derive_seed(*path), derive_seed(*path, "again")]
    assert held.score(one, block, 9).all()
    assert len(asked) == 2, "scored before it was asked again"
    first, _ = _bench(judged, task, lambda model, prompts: prompts)
    second, _ = _bench(judged, task, lambda model, prompts: prompts)
    assert judged.TwinBench(first, second).repeats(one, block, 9).tolist() == [True] * 4


def _halved(judged: Any) -> None:
    task = _Numbers()
    for count in (1, 2, 7):
        block = judged.ItemSource(b"s", task).draw(
            candidate="c", slot="1", skill="a", split="gate", index=0, count=count
        )
        right = {p.prompt for i, p in enumerate(block.problems) if i % 3 != 1}
        answers = lambda model, prompts, right=right: [p if p in right else "no" for p in prompts]  # noqa: E731
        first, one = _bench(judged, task, answers)
        second, other = _bench(judged, task, answers)
        twin = judged.TwinBench(first, second)
        assert twin.score(version("1"), block, 9).tolist() == [i % 3 != 1 for i in range(count)]
        sizes = [len(request["prompts"]) for _, request in (*one, *other)]
        assert sizes == ([(count + 1) // 2, count // 2] if count > 1 else [1])
        assert twin.tokens == count
        single, alone = _bench(judged, task, answers)
        same = judged.TwinBench(single, single)
        assert same.score(version("1"), block, 9).tolist() == [i % 3 != 1 for i in range(count)]
        assert same.tokens == count
        if count > 1:
            assert len({request["seed"] for _, request in alone}) == 2, "halves have noise of their own"
        assert [request["seed"] for _, request in alone] == [request["seed"] for _, request in (*one, *other)]
        twin.clear()
        assert twin.tokens == 0


class _Worker:
    """In place of the worker's process: keeps what it is told, and says what `says` holds."""

    says: dict[str, Any]

    def __init__(self, argv: Any, *, hidden: Any, threads: int, max_frame_bytes: int) -> None:
        self.alive = True
        self.says["started"].append((tuple(argv), tuple(hidden), threads))

    def receive(self, *, timeout_s: float) -> dict[str, Any]:
        return {"ready": True, "isolation": self.says["tier"]}

    def call(self, request: dict[str, Any], blobs: Any = (), *, timeout_s: float, **_: Any) -> dict[str, Any]:
        self.says["told"].append((request["op"], request.get("handle"), len(blobs)))
        if self.says["fails"]:
            raise self.says["fails"].pop()
        return dict(self.says["answer"])

    def close(self) -> None:
        self.alive = False


def _worked(judged: Any) -> None:
    """Levels of isolation, models loaded once and dropped, a worker that fails is replaced."""
    task = _Numbers()
    says: dict[str, Any] = {
        "started": [],
        "told": [],
        "fails": [],
        "tier": "kernel",
        "answer": {"outputs": ["x"] * 3, "tokens": 3},
    }
    judged.IsolatedProcess = type("Worker", (_Worker,), {"says": says})
    theirs = version("3")

    def files(store: Any, name: str) -> dict[str, bytes]:
        kind = "gpt2" if name == theirs["model"] else "evolvent"
        return {"config.json": json.dumps({"model_type": kind}).encode(), "b": b"2"}

    judged.read_artifact = files
    block = judged.ItemSource(b"s", task).draw(candidate="c", slot="1", skill="a", split="gate", index=0, count=3)
    one, two = version("1"), version("2")
    held = judged.Bench(task, None, ["program"], hidden=["h"], threads=3)
    assert held.isolation == "kernel"
    assert says["started"] == [(("program",), ("h",), 3)]
    held.score(one, block, 9)
    held.clear(keep=[one])
    held.score(one, block, 9)
    assert [entry[0] for entry in says["told"]] == ["load", "rollout", "rollout"], "a model is loaded once"
    assert says["told"][0] == ("load", one["model"], 2)
    held.clear(keep=[two])
    held.score(one, block, 9)
    assert [entry[0] for entry in says["told"]] == ["load", "rollout", "rollout", "drop", "load", "rollout"]
    assert len(says["started"]) == 1
    says["answer"] = {"error": "no", **says["answer"]}
    held.clear()
    _sandboxed(lambda: held.score(one, block, 9))
    says["answer"].pop("error")
    says["fails"] = [SandboxError("it died")]
    started = len(says["started"])
    held.score(two, block, 9)
    assert len(says["started"]) == started + 1, "a worker that fails is replaced"
    before = len(says["told"])
    held._worker.alive = False
    held.clear(keep=[two])
    held.score(two, block, 9)
    assert [entry[0] for entry in says["told"][before:]] == ["load", "rollout"], "a worker that died holds no model"
    before, says["fails"] = len(says["told"]), [SandboxError("it died while a model was dropped")]
    held.clear()
    held.score(two, block, 9)
    assert [entry[0] for entry in says["told"][before:]] == ["drop", "load", "rollout"], "a fresh worker holds no model"
    held.score(one, block, 9)
    before, says["fails"] = len(says["told"]), [SandboxError("refused to drop, and lives")]
    held.clear()
    held.score(two, block, 9)
    assert [entry[0] for entry in says["told"][before:]] == ["drop", "load", "rollout"], "none of two models is left"
    before, started = len(says["told"]), len(says["started"])
    for _ in range(2):
        held.clear()
        held.score(theirs, block, 9)
    assert says["started"][started:] == [(("program", "--library"), ("h",), 3)], "it is told once, by a fresh start"
    assert [entry[0] for entry in says["told"][before:]] == ["drop", "load", "rollout", "drop", "load", "rollout"]
    says["tier"], worker = "reduced", held._worker
    held.close()
    assert not worker.alive
    _sandboxed(lambda: held.isolation)
    _two_levels(judged, task, says, lambda held: held.score(two, block, 9))


def _two_levels(judged: Any, task: _Numbers, says: dict[str, Any], ask: Any) -> None:
    says["tier"] = "reduced"
    kernel, reduced = judged.Bench(task, None, ["k"]), judged.Bench(task, None, ["r"])
    assert reduced.isolation == "reduced"
    says["tier"] = "kernel"
    assert kernel.isolation == "kernel"
    assert judged.TwinBench(kernel, reduced).isolation == "mixed"
    assert judged.TwinBench(kernel, kernel).isolation == "kernel"
    same = judged.Bench(task, None, ["k"])
    assert same.isolation == "kernel"
    assert judged.TwinBench(kernel, same).isolation == "kernel"
    with judged.TwinBench(kernel, same) as entered:
        assert entered is not None
    with judged.Bench(task, None, ["k"]) as alone:
        assert alone is not None
    _both_ended(judged)
    says["fails"] = [SandboxError("first"), SandboxError("second")]
    _sandboxed(lambda: ask(kernel))


def _both_ended(judged: Any) -> None:
    """A half that fails waits for the other: what is asked next must not meet it."""
    task, done = _Numbers(), []
    block = judged.ItemSource(b"s", task).draw(candidate="c", slot="1", skill="a", split="gate", index=0, count=4)
    bad, _ = _bench(judged, task, lambda model, prompts: SandboxError("the first half"))
    slow, _ = _bench(judged, task, lambda model, prompts: time.sleep(0.2) or done.append(1) or ["x"] * len(prompts))
    _sandboxed(lambda: judged.TwinBench(bad, slow).score(version("1"), block, 9))
    assert done

"""What must hold of gate, statistics, bench and verifiers, each checked within seconds: the nets in which mutants are caught.

Every expectation has a source of its own: published reference values, the audit's own formulas (`audit/recompute.py`, which
shares no line with the judge), the rules as the gate's documents state them, or answers that are right or wrong by
construction.

Not here: what is wrong with a mutant.
"""

from __future__ import annotations

import importlib
import math
import random
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from evolvent import judge as _judge  # noqa: F401 - so that its modules are there before a child is born
from evolvent.audit import recompute
from evolvent.errors import SandboxError
from evolvent.sandbox import plain
from evolvent.tasks.python_fix.reference import reference as python_reference
from evolvent.types import Problem, Score
from hostile import cheats, sql as hostile_sql

__all__ = ["bench", "gate", "python", "sql", "stats_and_gate"]

for _folder in ("tests", "tests/tasks", "tests/judge"):
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / _folder))
_SQL_TESTS = importlib.import_module("test_sql_migration")
_MIGRATIONS = hostile_sql.migrations(16, 5)
_ITEMS = cheats.problems(9, 5)
_MARKS = {-1: "-", 0: "0", 1: "+"}
_CLOSE = 1e-9
_SLOW = {"slow function", "ten megabytes", "cross join"}  # they end at the verifier's last limit, after seconds


def _module(name: str) -> Any:
    return sys.modules[f"evolvent.judge.{name}"]


def _marks(differences: Any) -> str:
    return "".join(_MARKS[int(d)] for d in differences)


# -- statistics --------------------------------------------------------------------------------------------------------


def stats_and_gate() -> None:
    """Reference values, the audit's formulas, and what the functions refuse; then everything that the gate makes of them."""
    stats = _module("stats")
    _references(stats)
    _paths(stats)
    _refusals(stats)
    _intervals(stats)
    gate()


def _references(stats: Any) -> None:
    for wins, losses, e in ((6, 0, 6.302758), (30, 12, 21.952977), (100, 60, 44.771070)):  # TRUST.md section 4
        assert abs(float(np.exp(stats.grid_log_e(wins, losses))) / e - 1) < 1e-6
    for wins, losses, e in ((0, 0, 1), (6, 0, 18.142857), (7, 0, 31.875)):
        assert abs(float(np.exp(stats.uniform_log_e(wins, losses))) - e) < 1e-5
    grid = np.linspace(0.5, 1, 20_001)
    assert abs(float(stats.uniform_log_e(9, 4)) - math.log(2 * np.trapezoid((2 * grid) ** 9 * (2 * (1 - grid)) ** 4, grid))) < 1e-5
    slots = (1, 2, 7, 8, 9, 24, 25, 56, 57, 100, 101, 300, 301, 10_000)
    for first in (1, 8, 100):
        for slot in slots:
            assert math.isclose(float(stats.spend_epochs(slot, first)), float(recompute.share(slot, first)), rel_tol=1e-12)
    assert math.isclose(float(stats.spend_epochs(101)), float(recompute.share(101, 100)), rel_tol=1e-12)
    for slot, level in ((1, 2.7e-3), (10, 2.0e-4), (100, 2.1e-5), (1000, 1.9e-6)):  # TRUST.md section 2, two digits
        assert abs(0.05 * float(stats.spend_javanmard(slot)) / level - 1) < 0.04
    assert np.isclose(float(stats.spend_javanmard(1)), 0.07720838 * math.log(2), rtol=1e-9)
    assert math.isclose(stats.e_lond_level(0.05, 0.01, 3), 0.05 * 0.01 * 4)
    assert math.isclose(stats.smallest_effect(300, 0.05, 0.2), math.sqrt(3 * 0.2 * math.log(20) / 300))
    assert stats.smallest_effect(0, 0.05, 0.2) == 1.0


def _paths(stats: Any) -> None:
    rng = np.random.default_rng(3)
    for margin, discordance in ((0.02, 0.05), (0.05, 0.2), (0.3, 0.02), (0.9, 0.5)):
        differences = rng.choice(np.array([-1, 0, 1], np.int8), 120, p=[0.2, 0.5, 0.3])
        marks = _marks(differences)
        kept, lost = recompute.margin_bets({"margin_points": round(margin * 100), "discordance": str(discordance)})
        pairs = (
            (stats.superiority_path(differences), (1, 0.0, recompute._STAKES)), (stats.non_inferiority_path(differences, margin, discordance), kept),
            (stats.inferiority_path(differences, margin, discordance), lost),
            (stats.futility_path(differences, margin, discordance), recompute.futility_bets(margin, discordance)),
        )  # fmt: skip
        for path, bets in pairs:
            assert np.allclose(path, list(recompute.log_e(marks, *bets)), rtol=0, atol=_CLOSE)
        assert np.allclose(stats.non_inferiority_stakes(margin, discordance), kept[2])
    flat = rng.choice(np.array([-1, 0, 1], np.int8), (3, 40))
    assert np.allclose(stats.superiority_path(flat)[1], stats.superiority_path(flat[1]))
    shared = rng.uniform(-1, 1, 50)  # differences need not be whole
    by_hand = np.log(np.mean([np.cumprod(1 + stake * shared) for stake in recompute._STAKES], axis=0))
    assert np.allclose(stats.superiority_path(shared), by_hand)
    assert np.isfinite(stats.superiority_path([1.0, -1.0, 1.0])).all()


def _refused(function: Any, *arguments: Any) -> None:
    try:
        function(*arguments)
    except ValueError:
        return
    raise AssertionError(f"{function} takes {arguments}")


def _refusals(stats: Any) -> None:
    for bad in ([1.01], [-1.01], [float("nan")], [0, 2]):
        for function, rest in ((stats.superiority_path, ()), (stats.non_inferiority_path, (0.1, 0.1)), (stats.inferiority_path, (0.1, 0.1)),
                               (stats.futility_path, (0.1, 0.1))):  # fmt: skip
            _refused(function, bad, *rest)
    assert len(stats.superiority_path([])) == 0
    for share in (0, 1, -0.1, 1.5, float("nan")):
        for function in (stats.non_inferiority_path, stats.inferiority_path, stats.futility_path):
            _refused(function, [1], share, 0.1)
            _refused(function, [1], 0.1, share)
        _refused(stats.non_inferiority_stakes, share, 0.1)
        _refused(stats.non_inferiority_stakes, 0.1, share)
    for slot in (0, -1, [1, 0]):
        _refused(stats.spend_epochs, slot)
        _refused(stats.spend_javanmard, slot)
    _refused(stats.spend_epochs, 1, 0)


def _intervals(stats: Any) -> None:
    def near(got: Any, wanted: tuple[float, float], within: float = 6e-4) -> None:
        assert all(abs(float(a) - b) < within for a, b in zip(got, wanted, strict=True)), f"{got} is not {wanted}"

    # Newcombe, Statistics in Medicine 17 (1998): 81/263 by Wilson and exactly; paired differences by method 10.
    near(stats.wilson(81, 263), (0.2553, 0.3662))
    near(stats.clopper_pearson(81, 263), (0.2527, 0.3676))
    near(stats.wilson(0, 20), (0.0, 0.1611))
    near(stats.clopper_pearson(0, 20), (0.0, 0.1684))
    near(stats.clopper_pearson(20, 20), (0.8316, 1.0))
    near(stats.wilson(29, 29), (0.8830, 1.0))
    near(stats.wilson(0, 0), (0.0, 1.0), 1e-12)
    near(stats.wilson(81, 263, 0.99), (0.2405, 0.3855), 2e-3)
    near(stats.newcombe_paired(36, 12, 2, 0), (0.0569, 0.3404))
    near(stats.newcombe_paired(0, 0, 0, 0), (-1.0, 1.0), 1e-12)
    near(stats.newcombe_paired(0, 50, 0, 0), (0.8955, 1.0), 5e-2)
    low, high = stats.newcombe_paired(10, 5, 5, 10)
    assert math.isclose(low, -high, abs_tol=1e-9)


# -- gate --------------------------------------------------------------------------------------------------------------


def gate() -> None:
    """Simulated verdicts against the audit's formulas and the written rules; levels; standing checks."""
    _levels()
    for i in range(16):
        _verdict(i)
    for i in range(6):
        _standing(i)
    _silence()


def _levels() -> None:
    make = _module("gate").slot_levels
    spend = _module("stats").spend_epochs
    for slot in (1, 8, 9, 30, 1000):
        for promotions in (0, 1, 5):
            sup, ni = make(alpha=0.05, slot=slot, promotions=promotions, spend=lambda k: spend(k, 8))
            share = recompute.share(slot, 8)
            for text, exact in ((sup, 0.05 * float(share) * (promotions + 1)), (ni, 0.05 * float(share))):
                assert exact * (1 - 1.1e-5) <= float(text) <= exact * (1 + 1e-15), f"{text} for {exact}"
    assert float(make(alpha=0.05, slot=1, promotions=0)[1]) <= 0.05 / 200
    try:
        make(alpha=0.0, slot=1, promotions=0)
    except ValueError:
        return
    raise AssertionError("a level of nothing")


def _version(name: str) -> dict[str, Any]:
    return {"model": name * 64, "scaffold": {"kind": "direct"}, "genome": "0" * 64, "schema_version": 1}


def _question(i: int) -> Any:
    questions = sys.modules["evolvent.judge.questions"]
    one, two = questions.Protected(skill="a", margin_points=5, discordance="0.2"), questions.Protected(skill="b", margin_points=8 - i % 4, discordance="0.1")
    return questions.Question(
        slot=i + 1, candidate=_version("c"), incumbent=_version("1"), anchor=_version("1" if i % 5 == 4 else "2"), target="a", protected=(one, two),
        alpha_sup=("0.01", "0.004")[i % 2], alpha_ni="0.01", max_items=(1800, 700, 130)[i % 3], block_items=(64, 50)[i % 2], mei_points=5 + i % 3,
    )  # fmt: skip


_GAINS = ({"a": 0.25, "b": 0.0}, {"a": 0.25, "b": -0.25}, {"a": 0.0, "b": 0.0}, {"a": -0.15, "b": 0.1}, {"a": 0.05, "b": 0.05}, {"a": 0.25, "b": -0.06},
          {"a": 0.18, "b": 0.05}, {"a": 0.3, "b": 0.05})  # fmt: skip


def _verdict(i: int) -> None:
    judged = _module("gate")
    question, gains, rng = _question(i), _GAINS[i % len(_GAINS)], np.random.default_rng(i)
    outcomes: dict[Any, Any] = {}
    tests = recompute.question_stages(question.plain())
    rule = judged.PairedGate().rule
    for _ in range(200):
        ruling = rule(question, outcomes)
        marks = {f"{pair.skill}:{pair.against}": _marks(values) for pair, values in outcomes.items()}
        ends, needs = _same_stages(ruling.stages, tests, marks)
        said, reason = recompute.decision(tests, ends)
        used = sum(max(len(v) for k, v in marks.items() if k.startswith(f"{skill}:")) for skill in {k.split(":")[0] for k in marks})
        assert judged.items_used(outcomes) == used
        if ruling.decision is not None:
            assert ruling.draw is None
            assert (ruling.decision.value, ruling.reason) == (said, reason), f"{ruling.decision} {ruling.reason}, not {said} {reason}"
            if said == "abstain":  # only where no item is left for what is asked next
                assert used >= question.max_items
            return
        assert said == "abstain", f"it goes on, but it is decided: {said}"
        _drawn_rightly(ruling, tests, ends, needs, marks)
        _draw(question, ruling.draw, outcomes, gains, rng, used)
    raise AssertionError("no end")


def _same_stages(stages: Any, tests: list[recompute.Test], marks: dict[str, str]) -> tuple[list[str], list[float]]:
    """How each test ends by the audit's own formulas, and what log e is missing; the stages must say the same."""
    ends, needs = [], []
    assert [stage.name for stage in stages] == [test.name for test in tests]
    for stage, test in zip(stages, tests, strict=True):
        read = marks.get(test.pair, "")
        path, outcome, end = test.read(read)
        assert f"{stage.pair.skill}:{stage.pair.against}" == test.pair
        assert (stage.outcome, stage.num_items) == (outcome, end), f"{test.name}: {stage.outcome} {stage.num_items}, not {outcome} {end}"
        assert (stage.wins, stage.losses) == (read[:end].count("+"), read[:end].count("-"))
        assert np.allclose(stage.path, path[:end], rtol=0, atol=_CLOSE)
        assert math.isclose(stage.threshold_log_e, test.threshold)
        assert stage.alpha == test.alpha
        needs.append(test.threshold - (path[end - 1] if end else 0.0))
        assert math.isclose(stage.shortfall, needs[-1], abs_tol=1e-9)
        ends.append(outcome)
    return ends, needs


def _drawn_rightly(
    ruling: Any, tests: list[recompute.Test], ends: list[str], needs: list[float], marks: dict[str, str]
) -> None:
    """Target first; then every pair that has none; then the one with the least evidence."""
    pair = f"{ruling.draw.skill}:{ruling.draw.against}"
    still = {test.pair: need for test, end, need in zip(tests, ends, needs, strict=True) if end == "open"}
    if ends[0] == "open":
        assert pair == tests[0].pair
        return
    fresh = [name for name in still if not marks.get(name)]
    if fresh:
        assert pair == fresh[0]
        return
    assert still[pair] >= max(still.values()) - _CLOSE


def _draw(question: Any, pair: Any, outcomes: dict[Any, Any], gains: dict[str, float], rng: Any, used: int) -> None:
    known = outcomes.get(pair, np.zeros(0, np.int8))
    longest = max((len(v) for p, v in outcomes.items() if p.skill == pair.skill), default=0)
    room = question.max_items - used
    size = min(question.block_items, longest - len(known)) if len(known) < longest else min(question.block_items, room)
    assert size > 0, "it asks for more items than there are"
    gain = gains[pair.skill]
    outcomes[pair] = np.concatenate([known, rng.choice(np.array([-1, 0, 1], np.int8), size, p=[(0.3 - gain) / 2, 0.7, (0.3 + gain) / 2])])


def _standing(i: int) -> None:
    questions = sys.modules["evolvent.judge.questions"]
    judged = _module("gate")
    skills = ("a", "b", "c")[: 1 + i % 3]
    question = questions.StandingQuestion(number=i + 1, reference=_version("1"), champion=_version("c"), alpha="0.01", max_items=900,
                                          protected=tuple(questions.Protected(skill=skill, margin_points=5) for skill in skills))  # fmt: skip
    rng = np.random.default_rng(i)
    tests = recompute.standing_stages(question.plain())
    for size in (0, 40, 400):
        outcomes = {judged.Pair(skill, "anchor"): rng.choice(np.array([-1, 0, 1], np.int8), size, p=[0.3 - i / 25, 0.6, 0.1 + i / 25]) for skill in skills}
        marks = {f"{pair.skill}:{pair.against}": _marks(values) for pair, values in outcomes.items()}
        _same_stages(judged.standing_stages(question, outcomes), tests, marks)


def _silence() -> None:
    """Nothing seen: the target is asked for; nothing is decided."""
    ruling = _module("gate").PairedGate().rule(_question(0), {})
    assert ruling.decision is None
    assert (ruling.draw.skill, ruling.draw.against) == ("a", "incumbent")


# -- bench -------------------------------------------------------------------------------------------------------------


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
    judged = _module("bench")
    _drawn(judged)
    _scored(judged)
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
    keys = {draw(**change).key for change in ({}, {"candidate": "d"}, {"slot": "2"}, {"split": "sealed"}, {"index": 1}, {"count": 5})}
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
    one, two = _version("1"), {**_version("1"), "scaffold": {"kind": "other"}}
    assert held.score(one, block, 33).tolist() == [True, False, False, True, False, False]
    assert held.tokens == 6
    assert task.asked == list(zip(right, [right[0], "x", "fall", right[3], "truthy", right[4]], block.probe_seeds, strict=True))
    held.score({**one, "genome": "1" * 64}, block, 33)
    assert (held.tokens, len(asked)) == (6, 1), "a version is run once"
    held.score(two, block, 33)
    assert (held.tokens, len(asked)) == (12, 2), "another scaffold is another version"
    seeds = [request["seed"] for _, request in asked]
    assert seeds[0] != seeds[1]
    assert asked[0][1]["prompts"] == right
    assert (asked[0][0], asked[0][1]["handle"], asked[0][1]["op"], asked[0][1]["max_new_tokens"]) == (one["model"], one["model"], "rollout", 33)
    assert asked[0][1]["scaffold"] == one["scaffold"]
    held.clear()
    assert held.tokens == 0
    held.score(one, block, 33)
    assert len(asked) == 3, "clear forgets"
    assert asked[2][1]["seed"] == seeds[0]
    for bad in (right[:5], [*right, "x"], [*right[:5], 7], {"outputs": "x", "tokens": 1}, {"outputs": right, "tokens": -1}, {"outputs": right},
                {"outputs": right, "tokens": "6"}, SandboxError("twice")):  # fmt: skip
        broken, tries = _bench(judged, task, lambda model, prompts, bad=bad: bad)
        _sandboxed(lambda broken=broken: broken.score(one, block, 33))
        assert len(tries) == (2 if isinstance(bad, SandboxError) else 1)
    none, _ = _bench(judged, task, lambda model, prompts: {"outputs": right, "tokens": 0})
    assert none.score(one, block, 33).all()
    once: list[int] = []
    shaky, _ = _bench(judged, task, lambda model, prompts: right if once else once.append(1) or SandboxError("once"))
    assert shaky.score(one, block, 33).all()


def _halved(judged: Any) -> None:
    task = _Numbers()
    for count in (1, 2, 7):
        block = judged.ItemSource(b"s", task).draw(candidate="c", slot="1", skill="a", split="gate", index=0, count=count)
        right = {p.prompt for i, p in enumerate(block.problems) if i % 3 != 1}
        answers = lambda model, prompts: [p if p in right else "no" for p in prompts]  # noqa: E731
        first, one = _bench(judged, task, answers)
        second, other = _bench(judged, task, answers)
        twin = judged.TwinBench(first, second)
        assert twin.score(_version("1"), block, 9).tolist() == [i % 3 != 1 for i in range(count)]
        sizes = [len(request["prompts"]) for _, request in (*one, *other)]
        assert sizes == ([(count + 1) // 2, count // 2] if count > 1 else [1])
        assert twin.tokens == count
        single, alone = _bench(judged, task, answers)
        same = judged.TwinBench(single, single)
        assert same.score(_version("1"), block, 9).tolist() == [i % 3 != 1 for i in range(count)]
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
    says: dict[str, Any] = {"started": [], "told": [], "fails": [], "tier": "kernel", "answer": {"outputs": ["x"] * 3, "tokens": 3}}
    judged.IsolatedProcess = type("Worker", (_Worker,), {"says": says})
    judged.read_artifact = lambda store, name: {"a": b"1", "b": b"2"}
    block = judged.ItemSource(b"s", task).draw(candidate="c", slot="1", skill="a", split="gate", index=0, count=3)
    one, two = _version("1"), _version("2")
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
    says["tier"] = "reduced"
    held.close()
    _sandboxed(lambda: held.isolation)
    kernel, reduced = judged.Bench(task, None, ["k"]), judged.Bench(task, None, ["r"])
    assert reduced.isolation == "reduced"
    says["tier"] = "kernel"
    assert kernel.isolation == "kernel"
    assert judged.TwinBench(kernel, reduced).isolation == "mixed"
    assert judged.TwinBench(kernel, kernel).isolation == "kernel"
    same = judged.Bench(task, None, ["k"])
    assert same.isolation == "kernel"
    assert judged.TwinBench(kernel, same).isolation == "kernel"
    says["fails"] = [SandboxError("first"), SandboxError("second")]
    _sandboxed(lambda: kernel.score(two, block, 9))


# -- verifiers ---------------------------------------------------------------------------------------------------------


def sql() -> None:
    """Right answers, hostile and wrong ones with the errors that they must be given, limits of time."""
    verify = sys.modules["evolvent.tasks.sql_migration.verify"]
    task = sys.modules["evolvent.tasks.sql_migration"].SqlMigration()
    for i, (problem, right) in enumerate(_MIGRATIONS):
        score = task.verify(problem, right, i)
        assert (score.correct, score.error, score.executed) == (True, None, True)
        assert task.well_posed(problem)
        assert task.feedback(problem.prompt, right) is None
        wrong = task.verify(problem, "SELECT 1;", i)
        assert not wrong.correct
        assert wrong.error is not None
        assert wrong.executed
    for name, (text, said) in _SQL_TESTS.HOSTILE.items():
        if name in _SLOW:
            continue
        began = time.process_time()
        score = verify.verify(_SQL_TESTS.USERS, _SQL_TESTS.USERS_MAIL, [], text, 1)
        assert time.process_time() - began < 8
        assert not score.correct or name in ("null byte at the end", "temp schema"), name
        assert said is None or score.error == said, f"{name}: {score.error}"
    for attack in hostile_sql.ATTACKS:
        for ending in attack.run(_Nowhere(), 16 if attack.trust == "Q" else 8, 2):  # type: ignore[arg-type]
            assert ending.found in ("blocked", "no effect", "flagged"), f"{attack.name}: {ending}"
    for function, cases in ((_SQL_TESTS.test_what_no_pragma_shows_counts_too, "before,after,output,said"),):
        assert cases
        for mark in function.pytestmark:
            for case in mark.args[1]:
                function(*case)
    assert not list(Path("/tmp").iterdir()), "it wrote a file"


class _Nowhere:
    """A field of which only the folder is asked for."""

    root = Path("/tmp")


def python() -> None:
    """Right answers in both forms, cheats, and the errors that they must be given."""
    task = sys.modules["evolvent.tasks.python_fix"].PythonFix()
    verify = sys.modules["evolvent.tasks.python_fix.verify"]
    for i, item in enumerate(_ITEMS):
        calls, expected = verify.hidden(item.problem, i)
        assert len(calls) == len(expected) >= 16 + 24
        assert calls != verify.hidden(item.problem, i + 1)[0]
        for text in (item.truth, python_reference(item.problem)):
            score = task.verify(item.problem, text, i)
            assert (score.correct, score.error, score.executed) == (True, None, True)
            assert task.feedback(item.problem.prompt, text) is None
        for error, body in (("wrong_name", "def other(*a): return 1"), ("syntax", "def ("), ("form", "Sure, here it is:"), ("raises", f"def {item.name}(*a): 1 / 0"),
                            ("load", f"def {item.name}(*a): return 1\n1 / 0"), ("crashed", f"import os\ndef {item.name}(*a): os._exit(0)"),
                            ("wrong_type", f"import os\ndef {item.name}(*a): return 1.5j")):  # fmt: skip
            score = task.verify(item.problem, body, i)
            assert (score.correct, score.error) == (False, error), f"{score} for {body}"
            assert score.executed is (error == "wrong_type")
            assert task.feedback(item.problem.prompt, body), body
    for wrap in cheats._NUMBERS[:2]:  # of another type, and equal in Python's eyes
        for i, item in enumerate(_ITEMS):
            assert task.verify(item.problem, cheats._twisted(wrap)(item), i).error == "wrong_type"
    item = _ITEMS[0]
    score = task.verify(item.problem, f"def {item.name}(*a):\n    while True: pass", 0)
    assert (score.correct, score.error, score.executed) == (False, "timeout", False)
    for attack in cheats.ATTACKS:
        for ending in attack.run(_Nowhere(), 4, 5):  # type: ignore[arg-type]
            assert ending.found == "blocked", f"{attack.name}: {ending}"
    _stored(task)


def _stored(task: Any) -> None:
    """A problem with hidden pairs of its own: another value of the same type is wrong, also at the last of them."""
    pairs = [[plain.encode([n]), plain.encode(n * n)] for n in range(5)]
    problem = Problem(task="python_fix", skill="single", prompt="# Square.\nassert sq(2) == 4\n# write\n", given={"hidden": pairs})
    assert task.verify(problem, "def sq(n): return n * n", 1).correct
    for body, error in (("n * n if n < 4 else 17", "wrong_value"), ("str(n)", "wrong_type"), ("n * n if n else 1", "wrong_value")):
        score = task.verify(problem, f"def sq(n): return {body}", 1)
        assert (score.correct, score.error, score.executed) == (False, error, True)
    assert task.well_posed(problem)

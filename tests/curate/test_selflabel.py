"""Self-labels: drawn at the edge of ability, kept only when the filter believes them, without reading a label."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from evolvent.curate import selflabel
from evolvent.errors import JobFailed
from evolvent.jobs import JobContext
from evolvent.models.codec import CharCodec, SqlCodec
from evolvent.models.files import to_files
from evolvent.models.transformer import Decoder, EvolventConfig
from evolvent.store import Store
from evolvent.tasks.python_fix import PythonFix
from evolvent.tasks.python_fix.reference import reference as repair
from evolvent.tasks.sql_migration import SqlMigration
from evolvent.tasks.sql_migration.reference import reference
from evolvent.tasks.strings import ALPHABET, MARK, Strings
from evolvent.types import Problem

DIRECT = {"kind": "direct"}
PARAMS = {
    "task": "strings", "scaffold": DIRECT, "filter": "cycle", "problems": 40, "samples": 3, "target_rate": 50
}  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def job(store: Store, model: str, seed: int = 1, **changes: Any) -> tuple[list[dict[str, str]], dict[str, Any]]:
    context = JobContext(store=store, inputs={"model": model}, params={**PARAMS, **changes}, seed=seed)
    made = selflabel.self_labels(context)
    rows = [json.loads(line) for line in store.get_bytes(made["data"]).decode().splitlines()]
    return rows, store.get_json(made["stats"])


@pytest.fixture
def toy(store: Store, toy_seed: Path) -> str:
    files = {name: (toy_seed / name).read_bytes() for name in ("model.safetensors", "config.json", "codec.json")}
    return store.put_tree(files, "model", {})


def test_kept_pairs_are_what_the_cycle_believes(store: Store, toy: str) -> None:
    rows, stats = job(store, toy)
    assert job(store, toy) == (rows, stats), "the same job, the same data"
    assert 0 < len(rows) == stats["kept"] <= stats["drawn"] == 40
    assert stats["sampled"] == 120
    assert stats["correct"] >= stats["kept"]
    right = sum(row["answer"] == row["prompt"][-2::-1] for row in rows)
    unfiltered, _ = job(store, toy, filter="none")
    base = sum(row["answer"] == row["prompt"][-2::-1] for row in unfiltered)
    assert right / len(rows) > base / len(unfiltered), "the filter must raise precision"
    assert stats["flops"] == 2 * 21252 * stats["tokens"]
    assert sum(n for _, n in stats["cells"].values()) == 14 * selflabel.PROBE_PROBLEMS


def test_no_label_is_read(store: Store, toy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Strings, "verify", None)
    monkeypatch.setattr("evolvent.tasks.strings.reference.reference", None)
    assert job(store, toy)[0]
    assert job(store, toy, filter="verified")[0], "a verifier that knows the answer is no filter: the cycle stands in"


def test_control_arms_keep_everything(store: Store, toy: str) -> None:
    for name in ("none", "random"):
        rows, stats = job(store, toy, filter=name)
        assert len(rows) == stats["kept"] == stats["drawn"] == 40


@pytest.mark.parametrize("kind", ["vote", "retry"])
def test_a_model_is_tried_under_its_own_program(store: Store, toy: str, kind: str) -> None:
    scaffold = {"kind": kind, "answers": 2}
    rows, stats = job(store, toy, scaffold=scaffold, filter="none", problems=20)
    assert (rows, stats) == job(store, toy, scaffold=scaffold, filter="none", problems=20)
    assert stats["sampled"] == 60


def test_nothing_kept_is_a_failed_job(store: Store) -> None:
    codec = SqlCodec(48)
    config = EvolventConfig(vocab_size=codec.size, hidden_size=16, num_hidden_layers=1, intermediate_size=16)
    model = store.put_tree(to_files(Decoder(config), codec), "model", {})
    with pytest.raises(JobFailed, match="passed the filter") as failed:
        job(store, model, task="sql_migration", filter="verified", problems=8, samples=1)
    assert failed.value.kind == "nothing_kept"
    assert failed.value.flops > 2 * failed.value.tokens > 0, "what was tried was paid for"


def test_an_unknown_filter_is_named(store: Store, toy: str) -> None:
    with pytest.raises(ValueError, match="expected one of verified, cycle, feedback, none, random, got 'oracle'"):
        job(store, toy, filter="oracle")


def tries(problems: Sequence[Problem], texts: list[list[str]]) -> selflabel.Tries:
    steps = [[[(p.prompt, text)] for text in some] for p, some in zip(problems, texts, strict=True)]
    return selflabel.Tries(texts, steps, 0)


def verified(task: SqlMigration) -> selflabel.Maker:
    return selflabel.Maker(task, None, SqlCodec(), "verified", DIRECT)


class Scripted(selflabel.Maker):
    """A maker whose model solves what `able` says, and nothing else."""

    def answers(self, problems: Any, k: int, explore: float, seed: int) -> selflabel.Tries:
        rng = random.Random(seed)
        return tries(
            problems,
            [[reference(p) if rng.random() < ability(p) else "SELECT 1" for _ in range(k)] for p in problems],
        )


def ability(problem: Problem) -> float:
    """1 for one change, one half for two, nothing beyond."""
    return {"1": 1.0, "2": 0.5}.get(problem.tags["changes"], 0.0)


def test_problems_are_drawn_where_success_is_near_the_target() -> None:
    maker = Scripted(SqlMigration(), None, SqlCodec(), "verified", DIRECT)
    drawn = selflabel.draw_problems(maker, 200, 0.5, random.Random(1), selflabel.Funnel())
    share = {n: sum(p.tags["changes"] == n for p in drawn) / len(drawn) for n in "1234"}
    assert len(drawn) == 200
    assert share["2"] > 0.6
    assert min(share.values()) > 0, "no cell is given up for good"


def test_the_verifier_is_the_filter_where_it_reads_no_answer() -> None:
    task, funnel = SqlMigration(), selflabel.Funnel()
    maker = verified(task)
    problems = task.generate("single", random.Random(2), 6)
    outputs = [[reference(p), "SELECT 1", "nonsense"] for p in problems]
    assert maker.passes(problems, outputs, 1, funnel) == [[True, False, False]] * 6
    assert funnel.executed == 12


def test_easy_problems_are_thinned_out() -> None:
    task = SqlMigration()
    problems = task.generate("single", random.Random(3), 60)
    maker = verified(task)
    hard = [[reference(p), "SELECT 1"] for p in problems]
    easy = [[reference(p)] * 2 for p in problems]

    def kept(outputs: list[list[str]]) -> int:
        return len(selflabel.select(maker, problems, tries(problems, outputs), random.Random(4), selflabel.Funnel(), 5))

    assert kept(hard) == 60
    assert 5 <= kept(easy) <= 27


def test_of_an_answer_that_is_not_the_models_own_nothing_is_learned() -> None:
    """The first try that passes was recalled, the second is its own; of the other problem both were recalled."""
    task, funnel = SqlMigration(), selflabel.Funnel()
    problems = task.generate("single", random.Random(3), 2)
    right = [reference(p) for p in problems]
    own = [(problems[0].prompt, right[0])]
    made = selflabel.Tries([[right[0], right[0], "x"], [right[1], "x"]], [[[], own, []], [[], []]], 0)
    assert selflabel.select(verified(task), problems, made, random.Random(4), funnel, 5) == own
    assert (funnel.kept, funnel.correct) == (1, 3)


@pytest.mark.parametrize("skill", ["single", "multi"])
def test_random_labels_can_be_written_and_mean_nothing(skill: str) -> None:
    task, codec = SqlMigration(), SqlCodec(48)
    problems = task.generate(skill, random.Random(6), 200)
    answers = [reference(p) for p in problems]
    pairs = selflabel._random_labels(codec, [p.prompt for p in problems], answers, random.Random(0))
    assert len(pairs) > 150
    by_prompt = {p.prompt: p for p in problems}
    assert all(codec.encode_answer(label, codec.encode(prompt)) for prompt, label in pairs)
    assert sum(task.verify(by_prompt[prompt], label, 1).correct for prompt, label in pairs) < 10


def test_random_labels_of_strings_are_answers_of_others() -> None:
    codec = CharCodec(ALPHABET + MARK)
    prompts = [p.prompt for p in Strings().generate("short", random.Random(1), 50)]
    pairs = selflabel._random_labels(codec, prompts, [p[-2::-1] for p in prompts], random.Random(0))
    assert len(pairs) == 50
    assert sum(label == prompt[-2::-1] for prompt, label in pairs) < 10
    assert selflabel._random_labels(codec, prompts[:1], ["a"], random.Random(0)) == []


def test_a_user_s_own_tests_filter_where_the_verifier_knows_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    task = PythonFix()
    problem = task.generate("single", random.Random(2), 1)[0]
    right, wrong = repair(problem), "1-"
    monkeypatch.setattr(PythonFix, "verify", lambda *a: pytest.fail("the truth was asked"))
    for name in (
        "feedback",
        "verified",
        "none",
    ):  # whatever is asked for, the task's own filter is the most that it gets
        funnel = selflabel.Funnel()
        maker = selflabel.Maker(task, None, CharCodec("a"), name, {})
        assert maker.passes([problem], [[right, wrong, right]], 1, funnel) == [[True, False, True]]
        assert funnel.executed == 3

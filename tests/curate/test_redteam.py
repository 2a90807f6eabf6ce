"""The red team on the shipped model and a task of its own: what it finds is real, and what it keeps is verified."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from evolvent import tasks
from evolvent.curate.redteam import Search, Variant, _solved, red_team, search_failures
from evolvent.curate.selflabel import Funnel, Maker
from evolvent.errors import JobFailed
from evolvent.inputs import seed_files
from evolvent.jobs import JobContext
from evolvent.models.codec import CharCodec
from evolvent.models.files import from_files
from evolvent.store import Store
from evolvent.types import derive_seed

PARAMS = {
    "task": "sql_migration", "scaffold": {"kind": "direct"}, "filter": "verified", "problems": 40, "samples": 2,
}  # fmt: skip


def context(store: Store, **changes: object) -> JobContext:
    model = store.put_tree(seed_files("sql-seed"), "model", {"parameters": 1})
    return JobContext(
        store=store, inputs={"model": model}, params={**PARAMS, **changes}, seed=5, report=lambda fields: None
    )


def test_what_breaks_the_model_is_found_and_what_is_kept_is_verified(tmp_path: Path) -> None:
    store = Store(tmp_path)
    made = red_team(context(store))
    stats = store.get_json(made["stats"])
    rows = [json.loads(line) for line in store.get_bytes(made["data"]).decode().splitlines()]
    broken, tried = stats["cells"]["distractor"]
    assert 0 < broken <= tried, "a table that nobody touches is new to the shipped model"
    assert stats["drawn"] >= stats["kept"] > 0
    assert stats["kept"] < len(rows) <= 2 * stats["kept"] + 2, "what it solves is kept up beside"
    assert all(row["prompt"].startswith("-- from\n") and row["answer"] for row in rows)
    assert red_team(context(store)) == made, "the same inputs, the same data"


def test_tries_go_to_what_breaks() -> None:
    search, rng = Search(("hard", "soft")), random.Random(1)
    for _ in range(200):
        kind = search.choose(rng)
        search.note(kind, kind == "hard" and rng.random() < 0.8)
    assert search.tried["hard"] > 5 * search.tried.get("soft", 0)
    broke, tried = search.plain()["hard"]
    assert broke <= tried == search.tried["hard"]


def test_each_failure_is_of_a_problem_that_was_solved() -> None:
    task = tasks.load("sql_migration")
    model, codec = from_files(seed_files("sql-seed"))
    maker, funnel = Maker(task, model, codec, "verified", {"kind": "direct"}), Funnel()
    fresh = task.generate("single", random.Random(2), 40)
    texts = [made[0] for made in maker.answers(fresh, 1, 0.0, 0).outputs]
    solved = [Variant(p, text) for p, text in zip(fresh, texts, strict=True) if task.verify(p, text, 0).correct]
    broken = search_failures(maker, Search(task.attacks), solved, random.Random(2), funnel)
    assert broken
    problems = [variant.problem for variant in broken]
    out = maker.answers(problems, 1, 0.0, 0)
    still = maker.passes(problems, out.outputs, 1, funnel)
    assert not any(ok[0] for ok in still), "greedy answers: it fails each of them again"
    plain = [v for v in broken if v.problem.tags["attack"] in ("distractor", "reordered")]
    solved = [task.verify(v.problem, v.answer, derive_seed(1, i)).correct for i, v in enumerate(plain)]
    assert all(solved), "the answer from before such an attack holds"


def test_an_answer_that_was_recalled_is_neither_learned_from_nor_called_a_failure() -> None:
    task = tasks.load("strings")
    fresh = task.generate("short", random.Random(2), 8)
    known = [[problem.prompt, problem.prompt[-2::-1]] for problem in {p.prompt: p for p in fresh}.values()]
    scaffold = {"kind": "steps", "steps": [{"do": "recall", "n": 1}], "examples": known}
    maker, search = Maker(task, None, CharCodec("a"), "feedback", scaffold), Search(("renamed",))
    assert _solved(maker, 8, random.Random(1), Funnel()) == []
    whole = [Variant(problem, problem.prompt[-2::-1]) for problem in fresh if len(problem.prompt) == 2]
    assert whole
    broken = [variant.problem for variant in search_failures(maker, search, whole, random.Random(1), Funnel())]
    again = maker.answers(broken, 1, 0.0, 0).outputs
    assert all(task.feedback(p.prompt, made[0]) for p, made in zip(broken, again, strict=True))


def test_a_task_without_attacks_has_no_red_team(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "judge"))
    with pytest.raises(JobFailed, match="knows no way"):
        red_team(context(Store(tmp_path), task="toy_task:ToyTask"))

"""The exam of every registered operator: an honest spec, a build that repeats exactly, every choice buildable."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

import toy_world
from evolvent import plan, policy, registry
from evolvent.errors import JobFailed, UsageError
from evolvent.jobs import Job, JobContext, JobResult
from evolvent.models.files import from_files
from evolvent.named import check_writers, load_operators
from evolvent.operators.base import Bench, Built, Operator
from evolvent.plan import Settings
from evolvent.scaffold import code, grammar
from evolvent.store import Store
from evolvent.types import Proposal, canonical_json

NAMES = registry.names(registry.OPERATORS)
SETTINGS = plan.parse(
    {
        "task": "strings",
        "model": "toy",
        "plan": {"target": "short", "protected": {"short": 10}, "operators": NAMES},
        "build": {"problems": 60, "samples": 2, "steps": 3, "tokens_per_step": 256},
    },
    "test",
)
FEW = 16
MakeBench = Callable[..., Bench]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("operators") / "store")


@pytest.fixture(scope="module")
def bench(store: Store, tmp_path_factory: pytest.TempPathFactory) -> MakeBench:
    """A bench whose jobs run here and now, without a cache."""
    # Able enough that each target rate of the challenger finds something to keep.
    seed = toy_world.make_seed(tmp_path_factory.mktemp("able") / "seed", steps=400)
    files = {name: (seed / name).read_bytes() for name in ("model.safetensors", "config.json", "codec.json")}
    model = store.put_tree(files, "model", {"parameters": 21252})
    rows = [json.dumps({"prompt": p, "answer": p[-2::-1]}) for p in ("ab>", "abc>", "dcba>", "eff>")]
    data = store.put_bytes(("\n".join(rows) + "\n").encode())

    def run(job: Job) -> JobResult:
        context = JobContext(store=store, inputs=job.inputs, params=job.params, seed=job.seed)
        return JobResult(outputs=registry.resolve(job.function)(context), seconds_ms=0, cpu_ms=0, cached=False)

    def make(name: str, params: dict[str, Any], settings: Settings = SETTINGS, **changes: Any) -> Bench:
        proposal = Proposal(turn=1, index=0, operator=name, params=params, parent="p", seed=5)
        scaffold = {"kind": grammar.POLICY, **policy.BY_HAND} if name == "policy_edit" else {"kind": "direct"}
        whole = Bench(
            run=run, store=store, settings=settings, proposal=proposal, model=model, scaffold=scaffold,
            policy={}, gold=data, pool=(data,), allowance={},
        )  # fmt: skip
        return replace(whole, **changes)

    return make


def operator(name: str) -> Operator:
    return registry.load(registry.OPERATORS, name)()


def choices(name: str) -> list[dict[str, Any]]:
    """Every combination that its space allows; of a large one the usual, and all that differ from it in one value."""
    spec = operator(name).spec
    if spec.written:
        return [{"scaffold": {"kind": "steps", "steps": grammar.steps_of({"kind": "vote", "answers": 3})}},
                {"scaffold": {"kind": "code", **code.WRITTEN["stepwise"]}}]  # fmt: skip
    every = [dict(zip(spec.space, values, strict=True)) for values in itertools.product(*spec.space.values())]
    if len(every) <= FEW:
        return every
    usual = next(params for params in every if spec.is_usual(params))
    return [usual, *(p for p in every if sum(p[key] != usual[key] for key in p) == 1)]


def test_all_operators_are_examined() -> None:
    assert NAMES == [
        "code_edit", "directive", "examples", "gold", "null", "planted_regression", "policy", "policy_edit", "red_team",
        "scaffold", "scaffold_edit", "scaffold_patch", "self_labels", "testing",
    ]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_the_spec_is_honest(name: str) -> None:
    spec = operator(name).spec
    assert spec.name == name
    assert spec.summary[0].islower()
    assert not spec.summary.endswith(".")
    assert all(values and len(set(values)) == len(values) for values in spec.space.values())
    for params in choices(name):
        canonical_json(params)  # goes into the ledger: no floats
    assert spec.probe == (name in ("null", "planted_regression"))
    assert spec.probe or spec.prior_points > 0
    assert spec.relative_cost >= 0


def assert_serves_the_loop(built: Built, bench: Bench) -> None:
    """What the loop relies on."""
    canonical_json({"policy": built.policy, "scaffold": built.scaffold, "funnel": built.funnel, "stats": built.stats})
    grammar.check(built.scaffold)
    files = bench.store.read_tree(built.model)
    model, _ = from_files(files)
    assert bench.store.get_manifest(built.model)["meta"]["parameters"] == sum(p.numel() for p in model.parameters())
    assert (built.flops > 0) == (built.tokens > 0) == (built.model != bench.model)
    assert built.data == "" or bench.store.has(built.data)
    assert bool(built.funnel) == bool(built.data)


@pytest.mark.parametrize("name", NAMES)
def test_a_build_repeats_exactly(name: str, bench: MakeBench) -> None:
    params = choices(name)[0]
    first, again = (operator(name).build(bench(name, params)) for _ in range(2))
    assert first == again
    assert_serves_the_loop(first, bench(name, params))


@pytest.mark.parametrize(("name", "params"), [(name, params) for name in NAMES for params in choices(name)[1:]])
def test_every_choice_can_be_built(name: str, params: dict[str, Any], bench: MakeBench) -> None:
    many = SETTINGS.build.model_copy(update={"problems": 240})  # of which a directive may take a quarter
    settings = SETTINGS.model_copy(update={"build": many}) if params.get("problems_factor") == "0.25" else SETTINGS
    assert_serves_the_loop(operator(name).build(bench(name, params, settings)), bench(name, params))


def test_null_changes_nothing(bench: MakeBench) -> None:
    parent = bench("null", {}, scaffold={"kind": "vote", "answers": 4}, policy={"target_rate": 35})
    built = operator("null").build(parent)
    assert (built.model, built.scaffold, built.policy) == (parent.model, parent.scaffold, parent.policy)


@pytest.mark.parametrize("kind", grammar.EQUAL_ANSWERS)
def test_a_scaffold_keeps_the_weights_and_spends_what_the_others_do(kind: str, bench: MakeBench) -> None:
    parent = bench("scaffold", {"kind": kind})
    built = operator("scaffold").build(parent)
    assert built.model == parent.model
    assert built.scaffold == {"kind": kind, "answers": grammar.EQUAL_ANSWERS[kind]}


def test_edits_of_edits_stay_programs_and_bring_tools_in_by_crossing_only(bench: MakeBench) -> None:
    edited = operator("scaffold_edit")
    scaffold: dict[str, Any] = {"kind": "direct"}
    for number in range(16):
        parent = bench("scaffold_edit", {"edit": "mutate", "number": number}, scaffold=scaffold)
        scaffold = edited.build(parent).scaffold
        grammar.check(scaffold)
        assert grammar.tools(scaffold["steps"]) <= {"feedback"}
        assert grammar.answers(scaffold["steps"]) <= max(grammar.EQUAL_ANSWERS.values())
    crossed = [
        edited.build(bench("scaffold_edit", {"edit": "cross", "number": n}, scaffold=scaffold)).scaffold
        for n in range(16)
    ]
    assert any("advance" in grammar.tools(child["steps"]) for child in crossed)
    assert len({canonical_json(child) for child in crossed}) >= 4


def test_a_program_in_python_is_begun_edited_and_not_confused_with_steps(bench: MakeBench) -> None:
    edited = operator("code_edit")
    first = edited.build(bench("code_edit", {"partner": "stepwise", "number": 1}, scaffold={"kind": "direct"}))
    assert first.scaffold["tools"] == ["advance"]
    params = {"partner": "itself", "number": 2}
    second = edited.build(bench("code_edit", params, scaffold=first.scaffold))
    assert second.scaffold["source"] != first.scaffold["source"]
    assert second.model == bench("code_edit", {}).model
    with pytest.raises(JobFailed, match="kind code has no steps"):
        operator("scaffold_edit").build(
            bench("scaffold_edit", {"edit": "mutate", "number": 1}, scaffold=first.scaffold)
        )


GOLD = [["ab>", "ba"], ["abc>", "cba"], ["dcba>", "abcd"], ["eff>", "ffe"]]


@pytest.mark.parametrize(
    ("how", "program", "steps"),
    [
        ("show", {"kind": "direct"}, ["show", "sample"]), ("recall", {"kind": "direct"}, ["sample", "recall", "vote"]),
        ("recall", {"kind": "revise", "answers": 4}, ["recall", "repair"]),
        ("recall", {"kind": "vote", "answers": 4}, ["recall", "sample", "vote"]),
        ("show", {"kind": "vote", "answers": 12}, ["show", "sample", "vote"]),
        ("show", {"kind": "retry", "answers": 4}, ["show", "sample", "retry"]),
    ],
)  # fmt: skip
def test_examples_come_from_gold_before_the_models_own_and_the_program_is_made_to_use_them(
    how: str, program: dict[str, Any], steps: list[str], bench: MakeBench
) -> None:
    parent = bench("examples", {"how": how, "n": 2}, scaffold=program)
    wrong = [{"prompt": p, "answer": "x"} for p, _ in GOLD]
    long = [
        {"prompt": "a" * 1500 + ">", "answer": ""},
        {"prompt": "a\0>", "answer": "a"},
        {"prompt": "", "answer": "a"},
    ]
    own = parent.store.put_bytes("".join(json.dumps(row) + "\n" for row in [*wrong, *long]).encode())
    built = operator("examples").build(replace(parent, pool=(own,)))
    assert sorted(built.scaffold["examples"]) == GOLD
    assert [step["do"] for step in built.scaffold["steps"]] == steps
    grammar.check(built.scaffold)
    again = operator("examples").build(replace(parent, scaffold=built.scaffold))
    assert [step["do"] for step in again.scaffold["steps"]].count(how) == 1, "in place of the ones before"


def test_one_recalled_answer_takes_the_place_of_the_first_and_one_that_would_be_idle_is_no_edit(
    bench: MakeBench,
) -> None:
    one = {"how": "recall", "n": 1}
    steps = [
        operator("examples").build(bench("examples", one, scaffold=program)).scaffold["steps"]
        for program in ({"kind": "direct"}, {"kind": "stepwise", "answers": 4})
    ]
    assert [[step["do"] for step in made] for made in steps] == [["recall"], ["recall", "advance"]]
    alone = {"kind": "steps", "steps": steps[0], "examples": GOLD}
    several = operator("examples").build(bench("examples", {"how": "recall", "n": 4}, scaffold=alone)).scaffold
    assert [step["do"] for step in several["steps"]] == ["sample", "recall", "vote"], "there is a way on from it"
    with pytest.raises(JobFailed, match="as good as one"):
        operator("examples").build(
            bench("examples", {"how": "recall", "n": 2}, scaffold={"kind": "stepwise", "answers": 4})
        )


def test_as_many_examples_are_taken_as_a_program_holds(bench: MakeBench) -> None:
    parent = bench("examples", {"how": "show", "n": 8})
    rows = [{"prompt": f"{i:03d}" + "b" * 400, "answer": "c" * 100} for i in range(100)]
    few = parent.store.put_bytes("".join(json.dumps(row) + "\n" for row in rows).encode())
    many = parent.store.put_bytes(
        "".join(json.dumps({"prompt": str(i), "answer": ""}) + "\n" for i in range(99)).encode()
    )
    taken = [
        operator("examples").build(replace(parent, gold=gold, pool=())).scaffold["examples"] for gold in (few, many)
    ]
    assert [len(bank) for bank in taken] == [12_000 // 503, 64]
    assert taken[0] != sorted(taken[0]), "drawn, not the first ones"


def test_without_anything_to_go_by_or_steps_to_put_it_into_no_examples_are_given(bench: MakeBench) -> None:
    parent = bench("examples", {"how": "recall", "n": 1})
    with pytest.raises(JobFailed, match="no gold or verified answer"):
        operator("examples").build(replace(parent, gold="", pool=()))
    for program in ({"kind": "policy", **policy.BY_HAND}, {"kind": "code", **code.WRITTEN["retry"]}):
        with pytest.raises(JobFailed, match="has no steps"):
            operator("examples").build(replace(parent, scaffold=program))
    full = {"kind": "steps", "steps": [{"do": "sample", "n": 1, "temperature": "0.6"}] * 6}
    with pytest.raises(JobFailed, match="1 to 6 steps"):
        operator("examples").build(replace(parent, scaffold=full))


def test_a_patch_and_an_edit_keep_the_champions_examples_while_a_step_uses_them(bench: MakeBench) -> None:
    using = [{"do": "recall", "n": 2}, {"do": "vote", "by": "text"}]
    champion = {"kind": "steps", "steps": using, "examples": GOLD}
    patch, check = operator("scaffold_patch"), operator("scaffold_patch").spec.written["scaffold"].check
    fewer = {"kind": "steps", "steps": [{"do": "recall", "n": 1}]}
    check(fewer)
    with pytest.raises(ValueError, match="leave them out"):
        check({**fewer, "examples": GOLD})
    built = patch.build(bench("scaffold_patch", {"scaffold": fewer}, scaffold=champion))
    assert built.scaffold == {**fewer, "examples": GOLD}
    direct = {"kind": "steps", "steps": grammar.steps_of({"kind": "direct"})}
    assert patch.build(bench("scaffold_patch", {"scaffold": direct}, scaffold=champion)).scaffold == direct
    with pytest.raises(JobFailed, match="champion has none"):
        patch.build(bench("scaffold_patch", {"scaffold": fewer}))
    with pytest.raises(JobFailed, match="this program already"):
        patch.build(bench("scaffold_patch", {"scaffold": {"kind": "steps", "steps": using}}, scaffold=champion))
    for number in range(16):
        child = operator("scaffold_edit").build(
            bench("scaffold_edit", {"edit": "mutate", "number": number}, scaffold=champion)
        )
        grammar.check(child.scaffold)


def test_a_written_program_is_checked_and_no_policy_and_not_the_champions_own(bench: MakeBench) -> None:
    patch = operator("scaffold_patch")
    written = patch.spec.written["scaffold"]
    for wrong in (None, [], "steps", {"kind": "policy"}, {"kind": "vote", "answers": 3}, {"kind": "steps", "steps": []},
                  {"kind": "code", **code.WRITTEN["retry"], "source": "import os\ndef act(a, b): pass"}):  # fmt: skip
        with pytest.raises(ValueError, match="scaffold"):
            written.check(wrong)
    assert all(word in written.form for word in ("steps", "code", "sample", "act(prompt, attempts)"))
    own = {"kind": "code", **code.WRITTEN["retry"]}
    with pytest.raises(JobFailed, match="this program already"):
        patch.build(bench("scaffold_patch", {"scaffold": own}, scaffold=own))


def test_a_plan_in_which_nobody_can_write_what_has_to_be_written_is_refused_at_the_start() -> None:
    names = ["scaffold_patch"]
    with pytest.raises(UsageError, match="add language_model to proposers"):
        check_writers(load_operators(names), ["bandit", "rules"])
    check_writers(load_operators(names), ["bandit", "language_model"])
    check_writers(load_operators([*names, "gold"]), ["bandit"])
    check_writers(load_operators(["null"]), ["bandit"])  # probes alone wait for nobody


def test_a_directive_is_about_the_settings_of_the_run(bench: MakeBench) -> None:
    jobs: list[dict[str, Any]] = []
    params = {"gold_share": 60, "learning_rate_factor": "0.5", "steps_factor": "1.5"}
    there = bench("gold", params, allowance={"tokens": 10**6})
    operator("gold").build(replace(there, run=lambda job: (jobs.append(job.params), there.run(job))[1]))
    build = SETTINGS.build
    assert jobs == [{
        "steps": round(1.5 * build.steps), "tokens_per_step": build.tokens_per_step, "gold_share": 60,
        "learning_rate": "0.0005", "max_tokens": 10**6,
    }]  # fmt: skip


@pytest.mark.parametrize("name", ["self_labels", "policy", "gold", "planted_regression"])
def test_a_build_ends_before_it_spends_more_than_its_allowance(name: str, bench: MakeBench) -> None:
    params = choices(name)[0]
    whole = operator(name).build(bench(name, params))
    assert operator(name).build(bench(name, params, allowance={"flops": whole.flops, "tokens": whole.tokens})) == whole
    for unit, limit in (("flops", whole.flops - 1), ("tokens", whole.tokens - 1)):
        with pytest.raises(JobFailed, match=f"{unit} wanted") as caught:
            operator(name).build(bench(name, params, allowance={unit: limit}))
        assert caught.value.kind == "over_budget"
        assert 0 < getattr(caught.value, unit) <= limit


def test_a_policy_travels_with_the_version(bench: MakeBench) -> None:
    built = operator("policy").build(bench("policy", {"target_rate": 65}, policy={"other": 1}))
    assert built.policy == {"other": 1, "target_rate": 65}


@pytest.mark.parametrize("name", ["gold", "planted_regression"])
def test_without_data_it_cannot_be_built(name: str, bench: MakeBench) -> None:
    with pytest.raises(JobFailed) as failed:
        operator(name).build(bench(name, choices(name)[0], gold="", pool=()))
    assert failed.value.kind == "no_data"


def test_labels_are_paid_for_when_learning_from_them_fails(bench: MakeBench) -> None:
    whole = bench("self_labels", {})
    labels: dict[str, Any] = {}

    def run(job: Job) -> JobResult:
        if job.function.endswith(":finetune"):
            raise JobFailed("diverged", "loss is nan", flops=60, tokens=7)
        done = whole.run(job)
        labels.update(whole.store.get_json(done.outputs["stats"]))
        return done

    with pytest.raises(JobFailed) as failed:
        operator("self_labels").build(replace(whole, run=run))
    assert (failed.value.flops, failed.value.tokens) == (labels["flops"] + 60, labels["tokens"] + 7)


def test_a_policy_is_edited_in_one_value_and_a_program_is_none(bench: MakeBench) -> None:
    parent = bench("policy_edit", {"move": -1, "setting": "steps"})
    built = operator("policy_edit").build(parent)
    assert grammar.stated(built.scaffold) == {**policy.BY_HAND, "steps": 60}
    assert built.model == parent.model
    with pytest.raises(JobFailed, match="states a policy"):
        operator("policy_edit").build(replace(parent, scaffold={"kind": "direct"}))

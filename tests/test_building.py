"""The operator's door: whatever a change plan leaves out is stopped there, and what was run is on record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolvent import plan
from evolvent.building import carry_out, refusal
from evolvent.errors import JobFailed
from evolvent.jobs import Job, JobResult
from evolvent.operators.base import Bench, Built
from evolvent.propose.base import OperatorSpec, Written
from evolvent.store import Store
from evolvent.types import Proposal, sha256_hex

SETTINGS = plan.parse({"task": "strings", "model": "m", "plan": {"target": "a", "protected": {"a": 5}}}, "test")
SPACE = {"rate": ("0.5", "1"), "share": (30, 60)}
MODEL, GOLD, POOL = (sha256_hex(name) for name in ("model", "gold", "pool"))
KNOWN = (MODEL, GOLD, POOL)


@dataclass
class Does:
    """An operator that does as it is told."""

    work: Callable[[Bench], Built]
    spec: OperatorSpec = field(default_factory=lambda: OperatorSpec(name="does", summary="", space=SPACE))

    def build(self, bench: Bench) -> Built:
        return self.work(bench)


def bench(params: dict[str, Any] | None = None) -> Bench:
    def run(job: Job) -> JobResult:
        outputs = {"model": sha256_hex(job.key), "stats": sha256_hex(f"{job.key} stats")}
        return JobResult(outputs=outputs, seconds_ms=0, cpu_ms=0, cached=False)

    return Bench(
        run=run, store=Store(Path("nowhere")), settings=SETTINGS, model=MODEL, scaffold={"kind": "direct"}, policy={},
        proposal=Proposal(turn=1, index=0, operator="does", params=params or {}, parent="p"), gold=GOLD, pool=(POOL,),
        allowance={},
    )  # fmt: skip


def job(*inputs: str) -> Job:
    return Job(function="x:y", inputs={f"data{i}": name for i, name in enumerate(inputs)}, seed=3)


def built(model: str, data: str = "") -> Built:
    return Built(model=model, scaffold={"kind": "direct"}, policy={}, data=data)


def test_what_was_run_is_on_record_in_its_order() -> None:
    def work(given: Bench) -> Built:
        first = given.run(job(MODEL, GOLD)).outputs
        second = given.run(job(first["model"], POOL)).outputs
        return built(second["model"], first["stats"])

    made = carry_out(Does(work), bench({"rate": "0.5"}))
    assert [row["inputs"] for row in made.jobs] == [job(MODEL, GOLD).inputs, job(made.jobs[0]["outputs"]["model"],
                                                                                POOL).inputs]  # fmt: skip
    assert made.jobs[1]["outputs"]["model"] == made.model
    assert made.jobs[0]["key"] == job(MODEL, GOLD).key


@given(rate=st.one_of(st.text(max_size=4), st.integers(), st.none()), share=st.integers(-100, 200))
def test_no_parameter_outside_the_declared_space_is_carried_out(rate: Any, share: int) -> None:
    allowed = rate in SPACE["rate"] and share in SPACE["share"]
    worker = Does(lambda given: built(given.model))
    if allowed:
        assert carry_out(worker, bench({"rate": rate, "share": share})).model == MODEL
        return
    with pytest.raises(JobFailed, match="not in the operator's declared space") as stopped:
        carry_out(worker, bench({"rate": rate, "share": share}))
    assert stopped.value.kind == "out_of_plan"


def test_what_was_written_freely_is_checked_before_it_is_carried_out() -> None:
    def short(value: Any) -> None:
        if len(value) > 3:
            raise ValueError("too long")

    worker = Does(lambda given: built(given.model))
    worker.spec = replace(worker.spec, written={"text": Written(form="three letters", check=short)})
    assert carry_out(worker, bench({"text": "abc"})).model == MODEL
    with pytest.raises(JobFailed, match="text: too long") as stopped:
        carry_out(worker, bench({"text": "abcd"}))
    assert stopped.value.kind == "out_of_plan"


@given(sources=st.lists(st.sampled_from([*KNOWN, *(sha256_hex(str(i)) for i in range(4))]), min_size=1, max_size=5))
def test_no_job_reads_a_source_that_the_plan_does_not_know(sources: list[str]) -> None:
    ran: list[Job] = []

    def work(given: Bench) -> Built:
        ran.append(job(*sources))
        return built(given.run(ran[-1]).outputs["model"])

    if set(sources) <= set(KNOWN):
        assert carry_out(Does(work), bench()).jobs
    else:
        with pytest.raises(JobFailed, match="no source that the plan knows"):
            carry_out(Does(work), bench())


@given(name=st.text(min_size=1, max_size=5))
def test_weights_and_data_come_from_a_job_or_from_the_parent(name: str) -> None:
    strange = sha256_hex(f"strange {name}")
    for made in (built(strange), built(MODEL, strange)):
        with pytest.raises(JobFailed, match="was made by no job of this build"):
            carry_out(Does(lambda given, made=made: made), bench())


def test_why_a_judged_candidate_is_not_promoted() -> None:
    assert refusal({"decision": "reject", "reason": "futile"}, True) == "futile"
    assert refusal({"decision": "abstain", "reason": "insufficient"}, False) == "insufficient"
    assert refusal({"decision": "accept", "reason": "superior"}, False).startswith("judged against")
    assert refusal({"decision": "accept", "reason": "superior"}, True).startswith("out of plan")

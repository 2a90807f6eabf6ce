"""The door through which an operator works: what it may read, and a record of every job that it ran.

An operator is given a way to run jobs and nothing else that computes, so this is where the change plan is held against
what is really done, not against what was announced: parameters of the operator's declared space, data of the sources
that the run knows (gold, and what its own jobs verified), weights of the parent or of a job just run.

Not here: which operators a plan names, and how large a model may get (`loop.py`), operators themselves (`operators/`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from evolvent.errors import JobFailed
from evolvent.jobs import Job, JobResult
from evolvent.operators.base import Bench, Built, Operator
from evolvent.propose.base import OperatorSpec
from evolvent.types import Decision, canonical_json

__all__ = ["OUT_OF_PLAN", "STALE", "carry_out", "refusal"]

STALE = "judged against a version that is champion no more"
OUT_OF_PLAN = "out_of_plan"  # kind of the failure: a person may decide otherwise, the loop may not


def carry_out(operator: Operator, bench: Bench) -> Built:
    """What the operator builds, with the jobs that made it.

    Raises:
        JobFailed: a job failed; or ``out_of_plan``: a parameter, a source of data or weights that the plan leaves out.
    """
    _check_params(operator.spec, bench.proposal.params)
    known = {bench.model, bench.gold, *bench.pool}
    jobs: list[dict[str, Any]] = []

    def run(job: Job) -> JobResult:
        if strange := sorted(name for name, artifact in job.inputs.items() if artifact not in known):
            raise JobFailed(OUT_OF_PLAN, f"{job.function}: input {', '.join(strange)} is no source that the plan knows")
        result = bench.run(job)
        jobs.append({"key": job.key, **job.plain(), "outputs": dict(result.outputs)})
        known.update(result.outputs.values())
        return result

    built = operator.build(replace(bench, run=run))
    for what, artifact in (("model", built.model), ("data", built.data)):
        if artifact and artifact not in known:
            raise JobFailed(OUT_OF_PLAN, f"{operator.spec.name}: its {what} was made by no job of this build")
    return replace(built, jobs=tuple(jobs))


def refusal(verdict: Mapping[str, Any], current: bool) -> str:
    """Why a judged candidate is not promoted: the judge's word, or what stands against an accepting one."""
    if verdict["decision"] != Decision.ACCEPT:
        return str(verdict["reason"])
    return "out of plan: it names no such operator" if current else STALE


def _check_params(spec: OperatorSpec, params: dict[str, Any]) -> None:
    for name, value in params.items():
        if name in spec.written:
            if why := spec.written[name].refusal(value):
                raise JobFailed(OUT_OF_PLAN, f"{spec.name}: {name}: {why}")
            continue
        allowed = [canonical_json(choice) for choice in spec.space.get(name, ())]
        if canonical_json(value) not in allowed:
            raise JobFailed(OUT_OF_PLAN, f"{spec.name}: {name}={value!r} is not in the operator's declared space")

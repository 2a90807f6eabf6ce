"""The dev rollout as a job: a model under its scaffold on dev problems, verified, as traces."""

from __future__ import annotations

import random

from evolvent import tasks
from evolvent.jobs import JobContext
from evolvent.models.files import from_files, num_parameters
from evolvent.observe.rollout import rollout
from evolvent.types import Trace, derive_seed


def dev_rollout(ctx: JobContext) -> dict[str, str]:
    """Inputs ``model``; params ``task, skill, count, scaffold``; the seed draws problems and probes.

    Returns:
        ``traces``: JSON list of traces; ``counts``: JSON ``{n, correct, tokens, flops}``.
    """
    task = tasks.load(ctx.params["task"])
    model, codec = from_files(ctx.store.read_tree(ctx.inputs["model"]))
    problems = task.generate(ctx.params["skill"], random.Random(ctx.seed), int(ctx.params["count"]))
    answered = rollout(model, codec, task, ctx.params["scaffold"], [p.prompt for p in problems], ctx.seed)
    traces = []
    for i, (problem, output) in enumerate(zip(problems, answered.outputs, strict=True)):
        score = task.verify(problem, output, derive_seed(ctx.seed, "probe", i))
        traces.append(
            Trace(
                problem=problem.hash,
                skill=problem.skill,
                tags=problem.tags,
                output=output,
                correct=score.correct,
                error=score.error,
                tokens=answered.tokens // len(problems),
            ).plain()
        )
    counts = {
        "n": len(traces),
        "correct": sum(trace["correct"] for trace in traces),
        "tokens": answered.tokens,
        "flops": 2 * num_parameters(model) * answered.tokens,
    }
    return {"traces": ctx.store.put_json(traces), "counts": ctx.store.put_json(counts)}

"""Challenger-made problems and the answers that the model itself found, kept only when they are verified.

The model answers under its own program; of a stepwise answer each step is a pair to learn from. The challenger knows
the task's difficulty axes. It tries a few problems of each cell, then spends the budget on cells where the success rate
is near its target: neither rare nor certain. The model samples several answers a problem; what the filter passes
becomes training data. No reference answer exists anywhere in this process.

Filters: ``verified`` (the task's verifier, if it reads no answer), ``cycle`` (the model maps its answer back; for tasks
whose verifier computes the answer), ``feedback`` (the task's scratch run does not complain: a user's own tests), and
the control arms ``none`` (all) and ``random`` (answers of other problems).

Not here: training, and the decision whether it helped.
"""

from __future__ import annotations

import itertools
import json
import math
import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from evolvent import tasks
from evolvent.budget import afford
from evolvent.errors import JobFailed
from evolvent.jobs import JobContext
from evolvent.models.codec import Codec
from evolvent.models.files import from_files, num_parameters
from evolvent.models.sampler import sample
from evolvent.observe.rollout import rollout
from evolvent.scaffold.programs import Step
from evolvent.tasks.base import Task
from evolvent.types import Problem, derive_seed

PROBE_PROBLEMS = 8  # per cell: enough to tell rare from certain, not more
TEMPERATURE = 0.7
WIDTH = 0.22  # how far, in success rate, a cell may lie from the target before it gets little
EASY_SHARE = 0.25  # of problems that all samples solved: they teach little but keep what is known
FILTERS = ("verified", "cycle", "feedback", "none", "random")


@dataclass
class Funnel:
    """What became of the challenger's problems, in whole numbers."""

    drawn: int = 0
    sampled: int = 0
    executed: int = 0
    correct: int = 0
    kept: int = 0
    tokens: int = 0
    cells: dict[str, list[int]] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        return dict(vars(self))


@dataclass(frozen=True)
class Tries:
    """Answers ``[problem][try]``, the (prompt, output) pairs that each is made of, and what they cost."""

    outputs: list[list[str]]
    steps: list[list[list[Step]]]
    tokens: int


@dataclass(frozen=True)
class Maker:
    """A model at work on a task."""

    task: Task
    model: Any
    codec: Codec
    filter: str
    scaffold: dict[str, Any]

    def answers(self, problems: Sequence[Problem], k: int, explore: float, seed: int) -> Tries:
        """`k` tries a problem, under the model's own program."""
        prompts = [problem.prompt for problem in problems]
        if self.scaffold["kind"] == "direct":  # the k samples of a prompt share its prefill
            limit = self.task.max_output_tokens
            out = sample(
                self.model, self.codec, prompts, num_samples=k, temperature=explore, max_new_tokens=limit, seed=seed
            )
            steps = [[[(p, text)] for text in samples] for p, samples in zip(prompts, out.outputs, strict=True)]
            return Tries(out.outputs, steps, out.tokens_read + out.tokens_written)
        tries = [
            rollout(self.model, self.codec, self.task, self.scaffold, prompts, derive_seed(seed, i), explore=explore)
            for i in range(k)
        ]
        return Tries(
            [list(samples) for samples in zip(*(t.outputs for t in tries), strict=True)],
            [list(made) for made in zip(*(t.steps for t in tries), strict=True)],
            sum(t.tokens for t in tries),
        )

    def passes(
        self, problems: Sequence[Problem], outputs: Sequence[list[str]], seed: int, funnel: Funnel
    ) -> list[list[bool]]:
        """Which outputs the filter believes, ``[problem][sample]``."""
        # The control arms probe by what the task allows; `verify` is asked only where it reads no answer.
        how = self.filter if self.filter in ("cycle", "feedback") else self.task.filter
        if how == "cycle":
            return self._cycle(problems, outputs, seed, funnel)
        if how == "feedback":
            return self._feedback(problems, outputs, funnel)
        believed = []
        for i, (problem, samples) in enumerate(zip(problems, outputs, strict=True)):
            scores = {text: self.task.verify(problem, text, derive_seed(seed, i)) for text in set(samples)}
            funnel.executed += sum(scores[text].executed for text in samples)
            believed.append([scores[text].correct for text in samples])
        return believed

    def _feedback(self, problems: Sequence[Problem], outputs: Sequence[list[str]], funnel: Funnel) -> list[list[bool]]:
        believed = []
        for problem, samples in zip(problems, outputs, strict=True):
            fine = {text: self.task.feedback(problem.prompt, text) is None for text in set(samples)}
            funnel.executed += len(samples)
            believed.append([fine[text] for text in samples])
        return believed

    def _cycle(
        self, problems: Sequence[Problem], outputs: Sequence[list[str]], seed: int, funnel: Funnel
    ) -> list[list[bool]]:
        believed = [[False] * len(samples) for samples in outputs]
        asked: list[tuple[int, int, str]] = []
        prompts: list[str] = []
        for i, (problem, samples) in enumerate(zip(problems, outputs, strict=True)):
            for k, text in enumerate(samples):
                back = self.task.inverse_prompt(problem.prompt, text)
                if back is not None:
                    asked.append((i, k, back[1]))
                    prompts.append(back[0])
        funnel.executed += len(prompts)
        answers = sample(self.model, self.codec, prompts, max_new_tokens=self.task.max_output_tokens, seed=seed)
        funnel.tokens += answers.tokens_read + answers.tokens_written
        for (i, k, expected), answer in zip(asked, answers.outputs, strict=True):
            believed[i][k] = answer[0] == expected
        return believed


def self_labels(ctx: JobContext) -> dict[str, str]:
    """The job. Inputs ``model``; params ``task, scaffold, filter, problems, samples, target_rate``.

    With an allowance (``max_flops, max_tokens``) its spending is looked at after probing, sampling and filtering.

    Returns:
        ``data``: JSON lines of kept pairs; ``stats``: JSON of the funnel, with success counts by cell.

    Raises:
        JobFailed: ``nothing_kept``: no answer passed the filter; or ``over_budget``.
    """
    params = ctx.params
    if params["filter"] not in FILTERS:
        raise ValueError(f"filter: expected one of {', '.join(FILTERS)}, got {params['filter']!r}")
    task = tasks.load(params["task"])
    model, codec = from_files(ctx.store.read_tree(ctx.inputs["model"]))
    maker, funnel = Maker(task, model, codec, params["filter"], params["scaffold"]), Funnel()
    rng = random.Random(ctx.seed)

    def spent() -> dict[str, int]:
        units = {"flops": 2 * num_parameters(model) * funnel.tokens, "tokens": funnel.tokens}
        afford(params, units, units)
        return units

    problems = draw_problems(maker, int(params["problems"]), int(params["target_rate"]) / 100, rng, funnel)
    spent()
    ctx.report({"stage": "sample", "problems": len(problems)})
    tries = maker.answers(problems, int(params["samples"]), TEMPERATURE, derive_seed(ctx.seed, "sample"))
    funnel.drawn, funnel.sampled = len(problems), sum(len(s) for s in tries.outputs)
    funnel.tokens += tries.tokens
    spent()
    pairs = select(maker, problems, tries, rng, funnel, derive_seed(ctx.seed, "verify"))
    units = spent()
    if not pairs:
        why = f"none of {funnel.sampled} answers to {funnel.drawn} problems passed the filter"
        raise JobFailed("nothing_kept", why, **units)
    text = "".join(json.dumps({"prompt": p, "answer": a}, ensure_ascii=False) + "\n" for p, a in pairs)
    stats = {**funnel.plain(), **units}
    return {"data": ctx.store.put_bytes(text.encode()), "stats": ctx.store.put_json(stats)}


def draw_problems(maker: Maker, count: int, target: float, rng: random.Random, funnel: Funnel) -> list[Problem]:
    """`count` problems, spent on cells of the difficulty axes whose success rate is near the target."""
    cells = [
        dict(zip(maker.task.axes, values, strict=True)) for values in itertools.product(*_grid(maker.task).values())
    ]
    if not any(cells):
        return [
            p
            for skill in maker.task.skills
            for p in maker.task.generate(skill, rng, -(-count // len(maker.task.skills)))
        ]
    tried = [problem for cell in cells for problem in maker.task.challenge(_named(cell), rng, PROBE_PROBLEMS)]
    out = maker.answers(tried, 1, 0.0, 0)
    funnel.tokens += out.tokens
    probing = Funnel()  # its counts are not the labels', but its tokens were spent
    believed = maker.passes(tried, out.outputs, rng.getrandbits(62), probing)
    funnel.tokens += probing.tokens
    weights = []
    for i, cell in enumerate(cells):
        solved = sum(b[0] for b in believed[i * PROBE_PROBLEMS : (i + 1) * PROBE_PROBLEMS])
        rate = (solved + 0.5) / (PROBE_PROBLEMS + 1)
        weights.append(math.exp(-(((rate - target) / WIDTH) ** 2) / 2) + 0.02)
        funnel.cells[",".join(f"{k}={v}" for k, v in _named(cell).items())] = [solved, PROBE_PROBLEMS]
    chosen = Counter(rng.choices(range(len(cells)), weights=weights, k=count))
    return [p for i, n in sorted(chosen.items()) for p in maker.task.challenge(_named(cells[i]), rng, n)]


def _grid(task: Task) -> Mapping[str, tuple[str, ...]]:
    """Axes to cross: the longest first, as many as keep the grid under thirty cells; the rest are drawn (``""``)."""
    grid: dict[str, tuple[str, ...]] = {axis: ("",) for axis in task.axes}
    cells = 1
    for axis, values in sorted(task.axes.items(), key=lambda item: (-len(item[1]), item[0])):
        if cells * len(values) <= 30:
            grid[axis] = values
            cells *= len(values)
    return grid


def _named(cell: Mapping[str, str]) -> dict[str, str]:
    return {axis: value for axis, value in cell.items() if value}


def select(
    maker: Maker,
    problems: Sequence[Problem],
    tries: Tries,
    rng: random.Random,
    funnel: Funnel,
    seed: int,
) -> list[Step]:
    """What to learn from: the steps of one try a problem, the first that the filter believes; easy ones thinned out.

    Of an answer that is not the model's own, such as a recalled one, nothing can be learned.
    """
    if maker.filter == "random":
        pairs = _random_labels(maker.codec, [p.prompt for p in problems], [o[0] for o in tries.outputs], rng)
        funnel.kept = len(pairs)
        return pairs
    if maker.filter == "none":
        believed = [[True] * len(samples) for samples in tries.outputs]
    else:
        believed = maker.passes(problems, tries.outputs, seed, funnel)
    pairs: list[Step] = []
    for steps, passed in zip(tries.steps, believed, strict=True):
        funnel.correct += sum(passed) if maker.filter != "none" else 0
        easy = maker.filter != "none" and all(passed) and len(passed) > 1
        own = next((made for made, ok in zip(steps, passed, strict=True) if ok and made), None)
        if own and (not easy or rng.random() < EASY_SHARE):
            funnel.kept += 1
            pairs += own
    return pairs


_NAME = re.compile(r'"[^"]*"|[A-Za-z_]\w*')
COMMON = 0.05  # words in more of the texts than this belong to the language; the others are names
TRIES = 8


def _random_labels(codec: Codec, prompts: Sequence[str], answers: Sequence[str], rng: random.Random) -> list[Step]:
    """Each prompt with the answer of another, which means nothing there; pairs that cannot be written are left out.

    Where the codec cannot write an answer below another prompt, the names in it are replaced by names of that prompt:
    such a label looks right and is not.
    """
    found = [
        set(_NAME.findall(prompt)) | set(_NAME.findall(answer)) for prompt, answer in zip(prompts, answers, strict=True)
    ]
    seen = Counter(word for words in found for word in words)
    names = [sorted(w for w in set(_NAME.findall(p)) if seen[w] <= max(2, COMMON * len(found))) for p in prompts]
    pairs: list[Step] = []
    for i, prompt in enumerate(prompts):
        encoded = codec.encode(prompt)
        for attempt in range(TRIES if len(prompts) > 1 else 0):
            other = rng.randrange(len(answers) - 1)
            label = answers[other + (other >= i)]
            if attempt and names[i]:
                renamed = {
                    w: rng.choice(names[i])
                    for w in sorted(set(_NAME.findall(label)))
                    if seen[w] <= max(2, COMMON * len(found))
                }
                label = _NAME.sub(lambda match, new=renamed: new.get(match[0], match[0]), label)
            try:
                codec.encode_answer(label, encoded)
            except ValueError:
                continue
            pairs.append((prompt, label))
            break
    return pairs

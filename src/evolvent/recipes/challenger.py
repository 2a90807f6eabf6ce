"""Challenger and solver: a second, smaller model learns to write the problems that the solver solves half of the time.

The challenger begins as an imitation of lengths drawn evenly. Its reward for a problem is ``1 - |2p - 1|``, p the share
of the solver's answers that the solver maps back to the problem: no label is read, so p is agreement, not truth. Then
the solver learns from its own answers that passed. All arms give it as many problems, steps and tokens.
"""

from __future__ import annotations

import random

from evolvent.curate.challenger import Challenger, edge_reward, passing_answers
from evolvent.curate.cycle import answers_of
from evolvent.observe.solving import accuracy
from evolvent.recipes.base import Figures, Recipe, Unit
from evolvent.recipes.strings_seed import SMALL, TARGET, TASK, draw, gold, model_of, precision
from evolvent.tasks.strings import ALPHABET, MARK
from evolvent.train.batches import Example, Source
from evolvent.train.fit import fit
from evolvent.types import derive_seed

TRIES, LONGEST = 4, 12


def uniform(seed: int) -> list[str]:
    """What the challenger imitates at first."""
    rng = random.Random(derive_seed("uniform", seed))
    return ["".join(rng.choices(ALPHABET, k=rng.randint(1, LONGEST))) for _ in range(2000)]


def run(unit: Unit) -> Figures:
    """Rounds of challenging and solving, then accuracy on fresh strings of six to eight letters."""
    settings, seed, figures = unit.settings, unit.seed, Figures()
    model, codec = model_of(unit)
    generate = answers_of(model, codec, TASK.max_output_tokens)
    challenger = Challenger(codec, uniform(seed), MARK, derive_seed("challenger", seed))
    easy, learns = gold(seed, settings["start"]["each"]), unit.arm in ("learned", "shuffled reward")

    def solved(texts: list[str], *path: object) -> list[list[str]]:
        prompts = [text + MARK for text in texts]
        return passing_answers(TASK, generate, prompts, TRIES, 0.7, derive_seed(seed, *path))

    for number in range(settings["rounds"]):
        for update in range(settings["updates"] if learns else 0):
            texts = challenger.write(settings["batch"], derive_seed(seed, "write", number, update))
            posed = [bool(text) and set(text) <= set(ALPHABET) for text in texts]
            passed = iter(solved([t for t, fine in zip(texts, posed, strict=True) if fine], number, update))
            rewards = [edge_reward(len(next(passed)) / TRIES) if fine else 0.0 for fine in posed]
            if unit.arm == "shuffled reward":
                random.Random(derive_seed(seed, number, update)).shuffle(rewards)
            figures["entropy of problems, nats"] = challenger.learn(texts, rewards)
        written = challenger.write(settings["problems"], derive_seed(seed, "round", number))
        texts = [text for text in written if text and set(text) <= set(ALPHABET)]
        if unit.arm == "curriculum":
            texts = [p.prompt[:-1] for p in draw(TASK.short + 1 + number, settings["problems"], "curriculum", seed)]
        answers = solved(texts, "solve", number)
        own = [Example(text + MARK, some[0]) for text, some in zip(texts, answers, strict=True) if some]
        sources = [Source("gold", easy, 0.3), Source("own", own, 0.7)]
        fit(model, codec, sources, settings["round"], derive_seed("round", seed, number))
        name = f"round {number + 1}:"
        figures[f"{name} share at the edge"] = sum(0 < len(some) < TRIES for some in answers) / len(texts)
        figures[f"{name} mean length"] = sum(map(len, texts)) / len(texts)
        figures[f"{name} distinct"] = len(set(texts)) / len(texts)
        figures[f"{name} precision of labels"] = precision(own)
    fresh = [p for n in (6, 7, 8) for p in draw(n, settings["test"], "test", seed)]
    return {**figures, "accuracy": accuracy(model, codec, TASK, fresh)}


FULL = {
    "seeds": [0, 1, 2, 3, 4], "version": 1, "start": SMALL, "rounds": 3, "updates": 30, "batch": 64, "problems": 1000,
    "test": 300, "round": {"steps": 250, "tokens": 512, "rate": "0.002"},
}  # fmt: skip
RECIPE = Recipe(
    name="challenger",
    title="Challenger and solver: problems at the edge of ability, written by a model that learns to",
    paper="Absolute Zero, arXiv:2505.03335; R-Zero, arXiv:2508.05004",
    claim="papers: AZR +10.2 points (7B); R-Zero on Qwen3-4B +6.49 mathematics, +7.54 general",
    expected="more problems at the edge than uniform, a higher accuracy; precision of labels falls with difficulty",
    arms={
        "learned": "the challenger learns from its reward",
        "frozen": "the challenger stays what it began as: lengths drawn evenly",
        "shuffled reward": "it learns from rewards of other problems (placebo)",
        "curriculum": "no challenger: a letter more each round",
    },
    mechanism="learned",
    control="frozen",
    metric="accuracy",
    traps=(
        "Agreement is not truth: a solver that is wrong consistently pays the challenger as well.",
        "The learned arm asks the solver more often, for rewards; its training is the same.",
        "A challenger that repeats one rewarded problem scores as well as a varied one: watch entropy and distinct.",
    ),
    run=run, start=TARGET, full=FULL,
    quick={
        **FULL, "seeds": [10, 11, 12], "rounds": 2, "updates": 6, "batch": 64, "problems": 150, "test": 100,
        "round": {"steps": 75, "tokens": 512, "rate": "0.002"},
    },
)  # fmt: skip

"""A challenger that learns: a small model of its own, which writes problems and is paid for the half-solved ones.

It begins as an imitation of given problems, so that a frozen one is a fair control. What it is paid with comes from the
solver's own agreement, never from a label; an ambiguous problem is half-solved too, and pays as well as a hard one.

Not here: solving, and training the solver; the challenger without weights that picks cells of a grid (`selflabel.py`).

References:
    Huang et al., "R-Zero", arXiv:2508.05004; Zhao et al., "Absolute Zero", arXiv:2505.03335 (rewards that peak between
    trivial and impossible).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from evolvent.curate.cycle import cycle_check
from evolvent.models.codec import Codec
from evolvent.models.sampler import sample
from evolvent.models.transformer import EvolventConfig, fresh
from evolvent.scaffold.tools import Generate
from evolvent.tasks.base import Task
from evolvent.train.batches import Example, Source
from evolvent.train.fit import fit
from evolvent.train.reward import RewardTrainer
from evolvent.types import derive_seed

__all__ = ["Challenger", "edge_reward", "passing_answers"]

_IMITATE = {"steps": 80, "tokens": 512, "rate": "0.005"}
_LEARNING_RATE = 3e-3
_ENTROPY_BONUS = 0.1  # a text that the model knows by heart lies 0.3 standard deviations below one of random letters


def edge_reward(rate: float) -> float:
    """``1 - |2 rate - 1|``: 1 for a problem solved half of the time, 0 for one that is always or never solved."""
    return 1 - abs(2 * rate - 1)


class Challenger:
    """The second model."""

    def __init__(self, codec: Codec, examples: Sequence[str], mark: str, seed: int) -> None:
        """Imitate problems.

        Args:
            codec: can write them.
            examples: problems without the mark that ends a prompt.
            mark: what it reads before it writes one.
            seed: of its weights and of the imitation.
        """
        config = EvolventConfig(vocab_size=codec.size, hidden_size=32, num_hidden_layers=2, intermediate_size=64)
        self.model: Any = fresh(config, seed)
        self.codec, self.mark, self.longest = codec, mark, max(map(len, examples)) + 3
        source = Source("imitated", [Example(mark, text) for text in examples], 1.0)
        fit(self.model, codec, [source], _IMITATE, seed)
        self._trainer = RewardTrainer(self.model, codec, _LEARNING_RATE)

    def write(self, count: int, seed: int) -> list[str]:
        """Problems, well posed or not."""
        limit = {"temperature": 1.0, "max_new_tokens": self.longest, "seed": seed}
        return sample(self.model, self.codec, [self.mark], num_samples=count, **limit).outputs[0]

    def learn(self, texts: Sequence[str], rewards: Sequence[float]) -> float:
        """One step on problems that it has just written; the entropy of its problems in nats, as these estimate it."""
        return self._trainer.step(self.mark, texts, rewards, _ENTROPY_BONUS)


def passing_answers(
    task: Task, generate: Generate, prompts: Sequence[str], tries: int, temperature: float, seed: int
) -> list[list[str]]:
    """Of each prompt's answers, those from which the solver finds the way back (`cycle.py`).

    Args:
        task: gives the way back.
        generate: the solver.
        prompts: problems.
        tries: answers sampled of each.
        temperature: of the sampling.
        seed: of it.
    """
    sampled = generate(prompts, tries, temperature, derive_seed(seed, "tries")).outputs
    pairs = [(prompt, answer) for prompt, some in zip(prompts, sampled, strict=True) for answer in some]
    kept = iter(cycle_check(task, generate, [p for p, _ in pairs], [a for _, a in pairs]).kept)
    return [[answer for answer in some if next(kept)] for some in sampled]

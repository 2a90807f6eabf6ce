"""Training on a reward: samples that earned more than the others become likelier.

REINFORCE with the batch's mean as baseline, in units of its standard deviation (as in GRPO), so a rare reward moves the
model as much as a frequent one. One step a call, on samples of the model as it is, so no importance weights are needed.
A reward is a number that somebody computed of each sample; whether it is worth having is not known here.

Not here: the reward; many steps on the same samples (clipping, a penalty for leaving a reference model).

References:
    Williams, "Simple statistical gradient-following algorithms for connectionist reinforcement learning", Machine
    Learning 8, 1992. Shao et al., "DeepSeekMath", arXiv:2402.03300 (GRPO).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from evolvent.errors import JobFailed
from evolvent.models.codec import Codec

__all__ = ["RewardTrainer", "log_likelihoods"]


def log_likelihoods(model: Any, codec: Codec, prompt: str, samples: Sequence[str]) -> Tensor:
    """Natural log of the chance of each sample after the prompt, end mark included, ``(len(samples),)``.

    Raises:
        ValueError: the codec cannot write the prompt or a sample.
    """
    encoded = codec.encode(prompt)
    rows = [encoded.ids + codec.encode_answer(text, encoded) for text in samples]
    start, width = len(encoded.ids), max(map(len, rows))
    ids = torch.tensor([row + [codec.pad] * (width - len(row)) for row in rows])
    written = torch.tensor([[start <= i < len(row) for i in range(width)] for row in rows])
    chances = torch.log_softmax(model(input_ids=ids).logits[:, :-1].float(), -1)
    picked = chances.gather(-1, ids[:, 1:, None])[..., 0]
    return (picked * written[:, 1:]).sum(-1)


class RewardTrainer:
    """A model with an optimiser of its own, moved a step at a time."""

    def __init__(self, model: Any, codec: Codec, learning_rate: float) -> None:
        self.model, self.codec = model, codec
        self._optimiser = torch.optim.AdamW(model.parameters(), lr=learning_rate, betas=(0.9, 0.98), weight_decay=0.0)

    def step(self, prompt: str, samples: Sequence[str], rewards: Sequence[float], entropy_bonus: float = 0.0) -> float:
        """One step.

        Args:
            prompt: what all samples answer.
            samples: drawn from the model as it is now, at temperature 1.
            rewards: one a sample; only differences to their mean count.
            entropy_bonus: standard deviations of the rewards that a nat of surprise a token is worth: keeps the model
                from writing one rewarded text for ever. A token's, for a sample's would pay for length.

        Returns:
            Entropy of what the model writes, in nats, as these samples estimate it, before the step.

        Raises:
            ValueError: as many rewards as samples are needed, at least two.
            JobFailed: ``diverged``: a likelihood is not finite.
        """
        if len(samples) != len(rewards) or len(samples) < 2:
            raise ValueError(f"rewards: expected one for each of two samples or more, got {len(rewards)}")
        self.model.train()
        likelihoods = log_likelihoods(self.model, self.codec, prompt, samples)
        entropy = -float(likelihoods.detach().mean())
        if not torch.isfinite(likelihoods).all():
            raise JobFailed("diverged", "a sample's likelihood is not finite; lower the learning rate")
        earned = torch.tensor([float(reward) for reward in rewards])
        tokens = torch.tensor([len(text) + 1.0 for text in samples])
        surprise = -likelihoods.detach() / tokens
        spread = float(earned.std()) or 1.0
        advantage = (earned - earned.mean()) / spread + entropy_bonus * (surprise - surprise.mean())
        loss = -(advantage * likelihoods).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)
        self.model.eval()
        return entropy

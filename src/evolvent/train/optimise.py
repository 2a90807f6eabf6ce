"""The optimisation loop: AdamW, warm-up, linear decay, clipped gradients. Deterministic for a seed and a thread count.

Not here: data, jobs, files.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from evolvent.errors import JobFailed

Spent = dict[str, int]  # by unit: ``flops``, ``tokens``


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How to train.

    Attributes:
        steps: optimiser steps.
        learning_rate: peak rate.
        warmup: steps of linear warm-up.
        final: share of the peak rate at the last step.
        weight_decay: decoupled decay of matrices.
    """

    steps: int
    learning_rate: float = 2e-3
    warmup: int = 10
    final: float = 0.02
    weight_decay: float = 0.01

    def rate(self, step: int) -> float:
        """Learning rate of a step, counted from 0."""
        if step < self.warmup:
            return self.learning_rate * (step + 1) / self.warmup
        done = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.learning_rate * (1 - (1 - self.final) * done)


@dataclass(frozen=True)
class Trained:
    """What training spent and saw: tokens, FLOPs (6 per parameter and token), losses by step."""

    tokens: int
    flops: int
    losses: list[float]


def optimise(
    model: torch.nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    schedule: Schedule,
    *,
    report: Callable[[int, float], None] | None = None,
    afford: Callable[[Spent, Spent], None] = lambda wanted, spent: None,
) -> Trained:
    """Train in place.

    Args:
        model: called as ``model(input_ids=..., labels=...)``, returns an object with ``loss``.
        batches: ``(input_ids, labels)`` pairs.
        schedule: steps and rates.
        report: called with step and loss every ten steps.
        afford: called before each step with the units spent after it and so far; raises to end the training.

    Raises:
        JobFailed: ``diverged``: a loss is not finite; or what `afford` raises.
    """
    trainable = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.dim() > 1], "weight_decay": schedule.weight_decay},
        {"params": [p for p in trainable if p.dim() <= 1], "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups, lr=schedule.learning_rate, betas=(0.9, 0.98), fused=True)
    size = sum(p.numel() for p in model.parameters())
    tokens, losses = 0, []
    model.train()
    for step, (input_ids, labels) in enumerate(batches):
        after = tokens + input_ids.numel()
        afford(_units(size, after), _units(size, tokens))
        for group in optimiser.param_groups:
            group["lr"] = schedule.rate(step)
        loss = model(input_ids=input_ids, labels=labels).loss
        value = float(loss.detach())
        if not math.isfinite(value):
            why = f"loss is {value} at step {step}; lower the learning rate"
            raise JobFailed("diverged", why, **_units(size, after))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trainable, 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        tokens = after
        losses.append(value)
        if report is not None and step % 10 == 0:
            report(step, value)
    model.eval()
    return Trained(losses=losses, **_units(size, tokens))


def _units(parameters: int, tokens: int) -> Spent:
    return {"tokens": tokens, "flops": 6 * parameters * tokens}

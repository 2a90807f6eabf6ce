"""Operators that change weights: self-labels, directives over gold and replay, and the loop's policy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from evolvent import tasks
from evolvent.budget import BUILD_UNITS
from evolvent.errors import JobFailed
from evolvent.jobs import Job
from evolvent.operators.base import Bench, Built, finetune
from evolvent.propose.base import OperatorSpec

POOL_LIMIT = 6  # newest data artifacts that are replayed; older ones have been learned from many times
FUNNEL = ("drawn", "sampled", "executed", "correct", "kept")


def _label_and_learn(
    bench: Bench, target_rate: int, directive: Mapping[str, Any], function: str = "selflabel:self_labels"
) -> Built:
    """Let a job of `curate/` make verified pairs, then fine-tune on them, on what was gathered before, and on gold."""
    task = tasks.load(bench.settings.task)
    build = bench.settings.build
    wide = {name: directive[name] for name in ("problems_factor", "samples_factor") if name in directive}
    directive = {name: value for name, value in directive.items() if name not in wide}
    params = {
        "task": bench.settings.task,
        "scaffold": bench.scaffold,
        "filter": task.filter,
        "problems": max(1, round(build.problems * float(wide.get("problems_factor", "1")))),
        "samples": max(1, round(build.samples * float(wide.get("samples_factor", "1")))),
        "target_rate": target_rate,
        **bench.limits(),
    }
    job = Job(
        function=f"evolvent.curate.{function}",
        inputs={"model": bench.model},
        params=params,
        seed=bench.proposal.seed,
    )
    made = bench.run(job).outputs
    stats = bench.store.get_json(made["stats"])
    paid = {unit: int(stats[unit]) for unit in BUILD_UNITS}
    try:
        model, trained = finetune(bench, (*bench.pool[-POOL_LIMIT:], made["data"]), directive, paid)
    except JobFailed as failed:  # the labels were paid for all the same
        failed.flops, failed.tokens = failed.flops + paid["flops"], failed.tokens + paid["tokens"]
        raise
    return Built(
        model=model,
        scaffold=bench.scaffold,
        policy={**bench.policy, "target_rate": target_rate},
        data=made["data"],
        funnel={name: int(stats[name]) for name in FUNNEL},
        flops=paid["flops"] + int(trained["flops"]),
        tokens=paid["tokens"] + int(trained["tokens"]),
        stats={"train": trained, "cells": stats["cells"]},
    )


SELF_LABELS = OperatorSpec(
    name="self_labels",
    summary="make problems at the edge of ability, keep own verified answers, fine-tune",
    space={"learning_rate_factor": ("0.5", "1")},
    usual={"learning_rate_factor": "1"},
    prior_points=8.0,
    remedy=("middle",),
)


@dataclass(frozen=True, kw_only=True)
class SelfLabels:
    """Challenger-made problems where success is neither rare nor certain, own verified answers, fine-tuning."""

    spec: OperatorSpec = SELF_LABELS

    def build(self, bench: Bench) -> Built:
        """Draw, sample, verify, train."""
        rate = int(bench.policy.get("target_rate", bench.settings.build.target_rate))
        return _label_and_learn(bench, rate, bench.proposal.params)


DIRECTIVE = OperatorSpec(
    name="directive",
    summary="self-labels under a directive: how many problems and answers, how many steps of which size, how much gold",
    space={
        "gold_share": (0, 20, 50, 80),
        "learning_rate_factor": ("0.25", "0.5", "1", "2"),
        "problems_factor": ("0.25", "0.5", "1", "2"),
        "samples_factor": ("0.5", "1", "2"),
        "steps_factor": ("0.25", "0.5", "1", "2"),
    },
    usual={
        "gold_share": 20,
        "learning_rate_factor": "1",
        "problems_factor": "1",
        "samples_factor": "1",
        "steps_factor": "1",
    },
    scales={("problems_factor", "samples_factor"): 0.5, ("steps_factor",): 0.5},
    prior_points=5.0,
)


@dataclass(frozen=True, kw_only=True)
class Directive:
    """A self-edit in SEAL's sense, chosen from a declared space (arXiv:2506.10943)."""

    spec: OperatorSpec = DIRECTIVE

    def build(self, bench: Bench) -> Built:
        """Draw, sample, verify, train, each as the directive says."""
        rate = int(bench.policy.get("target_rate", bench.settings.build.target_rate))
        return _label_and_learn(bench, rate, bench.proposal.params)


POLICY = OperatorSpec(
    name="policy",
    summary="aim the challenger at another success rate, then learn as usual",
    space={"target_rate": (25, 35, 65, 75)},
    prior_points=6.0,
)


@dataclass(frozen=True, kw_only=True)
class Policy:
    """Change the challenger's target rate, and let the result show whether it was better."""

    spec: OperatorSpec = POLICY

    def build(self, bench: Bench) -> Built:
        """As self-labels, at the proposed rate; the rate travels with the version."""
        return _label_and_learn(bench, int(bench.proposal.params["target_rate"]), {})


RED_TEAM = OperatorSpec(
    name="red_team",
    summary="look for solved problems that fail when put differently, learn from those that it then solves",
    space={"learning_rate_factor": ("0.5", "1")},
    usual={"learning_rate_factor": "1"},
    prior_points=5.0,
    remedy=("high",),
)


@dataclass(frozen=True, kw_only=True)
class RedTeam:
    """Failures that a search of the task's attacks finds become training data, once the model has solved them."""

    spec: OperatorSpec = RED_TEAM

    def build(self, bench: Bench) -> Built:
        """Attack, sample, verify, train."""
        rate = int(bench.policy.get("target_rate", bench.settings.build.target_rate))
        return _label_and_learn(bench, rate, bench.proposal.params, "redteam:red_team")


GOLD = OperatorSpec(
    name="gold",
    summary="fine-tune on gold and on verified data gathered so far; nothing new is made",
    space={"gold_share": (30, 60), "learning_rate_factor": ("0.5", "1"), "steps_factor": ("0.5", "1.5")},
    usual={"learning_rate_factor": "1", "steps_factor": "1.5"},
    scales={("steps_factor",): 0.9},
    prior_points=2.0,
    relative_cost=0.7,
    remedy=("low",),
)


@dataclass(frozen=True, kw_only=True)
class Gold:
    """A fine-tuning directive: no new data, another mix of gold and replay, rate and number of steps."""

    spec: OperatorSpec = GOLD

    def build(self, bench: Bench) -> Built:
        """Train on what is there."""
        if not bench.gold and not bench.pool:
            raise JobFailed("no_data", "neither gold nor verified data are there yet")
        model, trained = finetune(bench, bench.pool[-POOL_LIMIT:], bench.proposal.params)
        return Built(
            model=model,
            scaffold=bench.scaffold,
            policy=bench.policy,
            flops=int(trained["flops"]),
            tokens=int(trained["tokens"]),
            stats={"train": trained},
        )

"""Bayesian optimisation of an operator's parameters, by Optuna's tree-structured Parzen estimator.

The operator is drawn as the bandit draws it; its parameters are the estimator's next trial, after it was told of all
episodes of that operator that memory holds: gain on dev for what building and judging costs.

Not here: which operator (`bandit.py`).

References:
    Bergstra et al., "Algorithms for hyper-parameter optimization", NeurIPS 2011.
    Akiba et al., "Optuna", arXiv:1907.10902.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from evolvent.errors import UsageError
from evolvent.memory.episodes import MILLI
from evolvent.propose.bandit import BanditProposer
from evolvent.propose.base import Idea, OperatorSpec, Prices, Situation

STARTUP_TRIALS = 4  # drawn at random before the estimator says anything


@dataclass(frozen=True, kw_only=True)
class BayesProposer:
    """Needs ``pip install 'evolvent[bayes]'``."""

    def propose(
        self, situation: Situation, specs: Sequence[OperatorSpec], count: int, rng: random.Random
    ) -> list[Idea]:
        """At most `count` ideas with different parameters."""
        by_name, prices = {spec.name: spec for spec in specs}, Prices(specs, situation.memory)
        found: dict[str, Idea] = {}
        for first in BanditProposer().propose(situation, specs, 2 * count, rng):
            idea = self._tuned(situation, by_name[first.operator], prices, rng) or first
            if len(found) < count:
                found.setdefault(idea.fingerprint, idea)
        return list(found.values())

    def _tuned(self, situation: Situation, spec: OperatorSpec, prices: Prices, rng: random.Random) -> Idea | None:
        """The operator with parameters that the estimator asks for; ``None`` where it has none, or these are barred."""
        if not spec.space:
            return None
        optuna = optuna_or_error()
        space = {
            name: optuna.distributions.IntDistribution(0, len(values) - 1)
            if name != "kind"
            else optuna.distributions.CategoricalDistribution(list(range(len(values))))
            for name, values in sorted(spec.space.items())
        }  # places in the declared order: values are a ladder, programs are not
        sampler = optuna.samplers.TPESampler(seed=rng.getrandbits(31), n_startup_trials=STARTUP_TRIALS)
        study = optuna.create_study(direction="maximize", sampler=sampler)
        for episode in situation.memory.episodes:
            if episode.operator == spec.name and episode.gain is not None:
                places = _places(spec, episode.params)
                if places is not None:
                    value = episode.gain / MILLI / prices.of(spec, episode.params)
                    study.add_trial(optuna.trial.create_trial(params=places, distributions=space, value=value))
        trial = study.ask(space)
        params = {name: spec.space[name][trial.params[name]] for name in sorted(spec.space)}
        if not situation.allows(spec, params):
            return None
        return situation.idea(spec, params, f"tuned on {len(study.trials) - 1} trials")


def _places(spec: OperatorSpec, params: dict[str, Any]) -> dict[str, int] | None:
    if params.keys() != spec.space.keys() or any(params[name] not in spec.space[name] for name in params):
        return None  # of an operator that has changed since
    return {name: spec.space[name].index(value) for name, value in params.items()}


def optuna_or_error() -> Any:
    """The library, quiet.

    Raises:
        UsageError: it is not installed.
    """
    try:
        import optuna  # noqa: PLC0415 - an extra, and slow to import
    except ImportError:
        raise UsageError("proposer 'bayes': needs Optuna; run `pip install 'evolvent[bayes]'`") from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna

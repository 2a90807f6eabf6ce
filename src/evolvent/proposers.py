"""The registered proposers: how each is made from a run's settings, and the market in which they compete.

One of your own is a function of the same form, named ``module:function`` in ``proposers``.

Not here: what they think of (`propose/`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from evolvent import registry
from evolvent.errors import UsageError
from evolvent.plan import Settings
from evolvent.propose.bandit import BanditProposer, RandomProposer
from evolvent.propose.base import Proposer
from evolvent.propose.bayes import BayesProposer, optuna_or_error
from evolvent.propose.evolution import CrossoverProposer, PopulationProposer
from evolvent.propose.language_model import Heard, LanguageModelProposer
from evolvent.propose.market import Market
from evolvent.propose.rules import RuleProposer

__all__ = ["bandit", "bayes", "crossover", "language_model", "load_proposers", "population", "random", "rules"]

OnHeard = Callable[[Heard], None]


def load_proposers(
    settings: Settings, on_heard: OnHeard = lambda heard: None, may_ask: Callable[[], None] = lambda: None
) -> Market:
    """The proposers of the settings, by registered name or ``module:function``, competing for the turn's places.

    Args:
        settings: the run's.
        on_heard: told of each answer of a language model, as it was read.
        may_ask: called before a language model is asked; raises `BudgetSpent` where it may not be.

    Raises:
        UsageError: a name is not registered, its module does not load, or it lacks a setting.
    """
    made: dict[str, Proposer] = {}
    for name in settings.proposers:
        make = registry.resolve(name) if ":" in name else registry.load(registry.PROPOSERS, name)
        proposer = make(settings, on_heard)
        asks = isinstance(proposer, LanguageModelProposer)
        made[name] = replace(proposer, may_ask=may_ask) if asks else proposer
    return Market(proposers=made)


def bandit(settings: Settings, on_heard: OnHeard) -> Proposer:
    """Thompson sampling on gain for cost."""
    return BanditProposer()


def bayes(settings: Settings, on_heard: OnHeard) -> Proposer:
    """Optuna chooses parameters."""
    optuna_or_error()  # said when the run is checked, not in the midst of a turn
    return BayesProposer()


def crossover(settings: Settings, on_heard: OnHeard) -> Proposer:
    """Parameters of two elites."""
    return CrossoverProposer()


def language_model(settings: Settings, on_heard: OnHeard) -> Proposer:
    """Asks the model that ``endpoint`` names; nothing is asked where it names none."""
    named = settings.endpoint
    if not (named.url and named.model):
        raise UsageError("language_model needs endpoint.url and endpoint.model in evolvent.yaml")
    from evolvent.endpoint import Endpoint  # noqa: PLC0415 - an extra

    endpoint = Endpoint(url=named.url, model=named.model, timeout_s=named.seconds, max_tokens=named.max_tokens)
    return LanguageModelProposer(complete=endpoint.complete, on_heard=on_heard)


def population(settings: Settings, on_heard: OnHeard) -> Proposer:
    """Variations of elites."""
    return PopulationProposer()


def random(settings: Settings, on_heard: OnHeard) -> Proposer:
    """The control arm."""
    return RandomProposer()


def rules(settings: Settings, on_heard: OnHeard) -> Proposer:
    """Rules of memory, then the usual remedy."""
    return RuleProposer()

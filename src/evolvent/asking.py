"""What the loop asks the judge: questions and levels, from state and change plan. Pure.

Commit, then draw: what is built here goes into the ledger before the judge draws the first item.

Not here: the asking (`loop.py`), the answer (`judge/`).
"""

from __future__ import annotations

from evolvent.judge.gate import slot_levels
from evolvent.judge.questions import Protected, Question, StandingQuestion
from evolvent.judge.stats import spend_epochs
from evolvent.plan import ChangePlan
from evolvent.state import State
from evolvent.types import dec


def promotion_question(state: State, plan: ChangePlan, version: str, max_new_tokens: int) -> Question:
    """May `version` replace the champion? Takes the next slot and its share of both error budgets.

    Superiority spends by e-LOND (false discoveries at most `alpha_progress`), non-inferiority by doubling epochs
    without return (any harm, ever, at most `alpha_safety`).
    """
    slot, first = state.slots + 1, plan.first_epoch_slots

    def spend(number: int) -> float:
        return float(spend_epochs(number, first))

    alpha_sup, _ = slot_levels(alpha=float(plan.alpha_progress), slot=slot, promotions=state.promotions, spend=spend)
    _, alpha_ni = slot_levels(alpha=float(plan.alpha_safety), slot=slot, promotions=0, spend=spend)
    return Question(
        slot=slot,
        candidate=state.versions[version]["candidate"],
        incumbent=state.versions[state.champion]["candidate"],
        anchor=state.versions[state.seed]["candidate"],
        target=plan.target,
        protected=protected(plan),
        alpha_sup=alpha_sup,
        alpha_ni=alpha_ni,
        max_items=plan.max_items,
        block_items=plan.block_items,
        discordance=plan.discordance,
        mei_points=plan.minimum_gain_points,
        max_new_tokens=max_new_tokens,
    )


def standing_question(state: State, plan: ChangePlan, max_new_tokens: int) -> tuple[StandingQuestion, str]:
    """Has the champion fallen behind? And the version it is held against.

    A champion that the gate certified is held against the frozen anchor; one that a person forced in, against the last
    certified version. The checks spend `alpha_standing` by doubling epochs, over an unbounded run.
    """
    reference = state.seed if state.champion == state.certified else state.certified
    number = state.standing + 1
    question = StandingQuestion(
        number=number,
        reference=state.versions[reference]["candidate"],
        champion=state.versions[state.champion]["candidate"],
        protected=protected(plan),
        alpha=dec(float(plan.alpha_standing) * float(spend_epochs(number, plan.first_epoch_slots)), 6),
        max_items=plan.max_items,
        block_items=plan.block_items,
        max_new_tokens=max_new_tokens,
    )
    return question, reference


def protected(plan: ChangePlan) -> tuple[Protected, ...]:
    """The plan's protected skills as the judge wants them."""
    return tuple(Protected(skill=s, margin_points=m, discordance=plan.discordance) for s, m in plan.protected.items())

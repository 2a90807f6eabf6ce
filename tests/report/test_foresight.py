"""Predictions are scored against what trying gave, and nothing else is."""

from __future__ import annotations

import pytest
from synthetic_run import Synthetic

from evolvent.report import words
from evolvent.report.foresight import Foresight, foresight, measured_gain, sentence
from evolvent.report.rows import Attempt
from evolvent.report.story import Story


def story(*attempts: Attempt) -> Story:
    return Story(attempts={attempt.id: attempt for attempt in attempts})


def attempt(id_: str, gain: str, deviation: str, wins: int, losses: int, n: int = 100, **fields: object) -> Attempt:
    screen = {"n": n, "wins": wins, "losses": losses} if n else {}
    base = {"operator": "gold", "predicted_gain": gain, "predicted_deviation": deviation, "screen": screen}
    return Attempt(id=id_, **{**base, **fields})  # type: ignore[arg-type]


def test_scores_by_hand() -> None:
    seen = foresight(
        story(
            attempt("1", "5", "4", 10, 2, predicted_flops=100, flops=150),  # 8 measured: 3 too little, inside
            attempt("2", "10", "2", 0, 10, predicted_flops=100, flops=50),  # -10 measured: 20 too much, outside
            attempt("3", "1", "1", 0, 0, n=0, predicted_flops=10, flops=10),  # never screened; its cost counts
        )
    )
    assert seen == Foresight(n=2, error=11.5, idle_error=9.0, inside=1, builds=3, cost_ratio=1.0)
    assert sentence(seen) == (
        "2 gains off by 11.5 points on average, 9.0 had none been foreseen; 1 of 2 within the range that should hold "
        f"{words.percent(0.8, 0)} of them; builds cost 1.00 of what was foreseen (median of 3)"
    )


@pytest.mark.parametrize("operator", ["null", "planted_regression"])
def test_probes_state_nothing_and_are_not_scored(operator: str) -> None:
    probe = attempt("1", "0", "0", 0, 30, operator=operator)
    assert foresight(story(probe)).n == 0
    assert words.foreseen(probe) == ""


@pytest.mark.parametrize("text", ["", "nan", "inf", "-inf", "much", "1e999"])
def test_what_is_no_number_is_not_scored(text: str) -> None:
    odd = attempt("1", text, text, 1, 0)
    assert foresight(story(odd)).n == 0
    assert words.foreseen(odd) == ""
    assert sentence(foresight(story(odd))) == ""


def test_a_gain_is_shown_with_its_spread_beside_what_dev_gave() -> None:
    tried = attempt("1", "5", "4.25", 10, 2)
    assert words.foreseen(tried) == "+5.0 \u00b1 4.2"
    assert measured_gain(tried) == 8.0
    assert measured_gain(attempt("2", "5", "4", 0, 0, n=0)) is None


def test_a_gain_is_over_the_proposals_own_parent() -> None:
    overtaken = attempt("1", "3", "5", 0, 13, n=40, over_parent={"n": 40, "wins": 2, "losses": 0})
    assert measured_gain(overtaken) == 5.0
    assert foresight(story(overtaken)).error == 2.0


def test_a_run_is_scored_as_it_goes() -> None:
    events = Synthetic().events
    tried = {e.payload["id"]: e.payload["proposal"]["operator"] for e in events if e.kind == "proposed"}
    screened = [tried[e.payload["id"]] for e in events if e.kind == "screened"]
    seen = foresight(Story.of(events))
    assert seen.n == sum(operator not in ("null", "planted_regression") for operator in screened) > 5
    assert seen.builds >= seen.n
    assert 0 <= seen.inside <= seen.n

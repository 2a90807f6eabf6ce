"""What the gate can see, and what became of its probes."""

from __future__ import annotations

import pytest
from synthetic_run import Synthetic

from evolvent.judge import stats
from evolvent.judge.stats import smallest_effect
from evolvent.report.sight import probed, sight
from evolvent.report.story import Story


@pytest.mark.parametrize(
    ("discordance", "alpha", "q80", "points"),
    [(0.05, 2.5e-4, 3062, 2), (0.2, 0.05, 903, 5), (0.2, 2.5e-4, 2056, 5), (0.3, 5e-5, 3701, 5), (0.2, 0.05, 214, 10)],
)
def test_the_smallest_effect_is_near_what_simulations_need(
    discordance: float, alpha: float, q80: int, points: int
) -> None:
    """Quantiles of 4,000 simulated runs of the grid mixture."""
    assert 100 * smallest_effect(q80, alpha, discordance) == pytest.approx(points, rel=0.12)


def test_the_smallest_effect_shrinks_with_the_root_of_the_problems() -> None:
    assert smallest_effect(400, 0.05, 0.2) == pytest.approx(2 * smallest_effect(1600, 0.05, 0.2))
    assert smallest_effect(0, 0.05, 0.9) == 1.0


def test_a_story_says_what_its_next_slot_can_see() -> None:
    story = Story.of(Synthetic().events)
    seen = sight(story)
    assert seen is not None
    plan = story.run.config["plan"]
    assert seen.problems == plan["max_items"]
    assert 0 < seen.gain_points <= seen.loss_points < 100, "promotions earn levels back, harm has no return"
    probes = probed(story)
    assert probes.promoted == 0
    assert probes.limit == pytest.approx(float(stats.clopper_pearson(0, probes.judged, 0.9)[1]) if probes.judged else 1)


def test_before_a_run_begins_nothing_is_seen() -> None:
    assert sight(Story.of([])) is None
    assert probed(Story.of([])).limit == 1.0

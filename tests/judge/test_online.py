"""Rules on p-values agree with the published package onlineFDR."""

from __future__ import annotations

import pytest

from evolvent.judge.online import lond, lord, spending


def test_lord_reference() -> None:
    stream = lord((1e-7, 0.1, 2.5e-4, 0.07))
    assert stream.rejected == [True, False, True, False]
    assert stream.levels == pytest.approx([2.676e-4, 2.466e-3, 5.733e-4, 3.163e-3], rel=1e-3)


def test_lond_and_spending_reference() -> None:
    assert lond((1e-7, 0.1, 6e-4)).rejected == [True, False, True]
    assert spending((1e-4, 0.1, 1e-4)).rejected == [True, False, True]
    assert spending((1e-4, 0.1, 1e-4)).levels == lond((1, 1, 1)).levels


def test_a_wealth_above_alpha_is_refused() -> None:
    with pytest.raises(ValueError, match="wealth"):
        lord((0.1,), wealth=0.06)

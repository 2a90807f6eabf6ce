"""The live line: what is left, also after a resume, and the evidence while it grows."""

from __future__ import annotations

import pytest

from evolvent import plan
from evolvent.cli.live import Live
from evolvent.types import Event

SETTINGS = plan.parse(
    {
        "task": "strings", "model": "none", "plan": {"target": "short", "protected": {"short": 5}},
        "budget": {"tokens": 1000, "seconds": 600},
    },
    "test",
)  # fmt: skip
TEST = {
    "name": "superiority", "skill": "short", "against": "incumbent", "threshold_log_e": "5.3", "path": [[96, "1.25"]],
}  # fmt: skip


def event(kind: str, payload: dict[str, object]) -> Event:
    return Event(
        run="r", seq=1, time_ns=1, actor="controller", kind=kind, key="k", schema=2, payload=payload, cost={},
        content_hash="", chain_hash="",
    )  # fmt: skip


def shown(live: Live) -> tuple[str, str]:
    assert live._progress is not None
    task = live._progress.tasks[0]
    return task.description, task.fields["detail"]


def test_the_line_tells_stage_evidence_and_what_is_left(capsys: pytest.CaptureFixture[str]) -> None:
    with Live(SETTINGS, lambda name: {}, turns=2, as_json=False, bar=True, spent={"tokens": 400}) as live:
        live.on_stage("diagnose", {"turn": 3})
        assert shown(live) == ("diagnosing", "600 tokens left, 600 seconds left")
        counts = {"n": 10, "correct": 5}
        diagnosed = {"skills": {"short": counts}, "weaknesses": [], "tokens": 150, "flops": 9}
        live.on_event(event("diagnosed", diagnosed))
        live.on_stage("judging", {"items": {"short": 96}, "test": TEST})
        stage, detail = shown(live)
        assert stage == "judging"
        assert detail.startswith("items: short 96; Better on short? log e +1.25, 5.30 needed, 450 tokens left")
        for kind in ("turn.started", "turn.ended"):
            live.on_event(event(kind, {"turn": 9, "champion": "c" * 64}))
            assert live._progress is not None
            assert not live._progress.finished, "the clock goes on"
    assert "diagnosis on dev: short" in capsys.readouterr().out


def test_a_spent_budget_is_said_where_the_turn_is_planned(capsys: pytest.CaptureFixture[str]) -> None:
    with Live(SETTINGS, lambda name: {}, turns=2, as_json=False, bar=False) as live:
        live.on_event(event("planned", {"subgoal": "", "allowance": {"tokens": 0, "flops": 5}}))
        live.on_event(event("planned", {"subgoal": "", "allowance": {"tokens": 3}}))
    assert capsys.readouterr().out.strip() == "nothing is left to build with: tokens of subgoal, turn or run are spent"

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console, RenderableType
from synthetic_run import Synthetic

from evolvent.report import Story, terminal, words
from evolvent.report.rows import Attempt, Outcome, Version
from evolvent.types import SCHEMA_VERSION, Event

VIEWS = [terminal.before_after, terminal.log, terminal.lineage, terminal.status, terminal.report]


def an_event(kind: str, payload: dict[str, Any], seq: int) -> Event:
    return Event(
        run="r", seq=seq, time_ns=0, actor="controller", kind=kind, key=f"{seq}", schema=SCHEMA_VERSION,
        payload=payload, cost={}, content_hash="", chain_hash="",
    )  # fmt: skip


def shown(renderable: RenderableType) -> str:
    console = Console(file=io.StringIO(), width=160, force_terminal=False)
    console.print(renderable)
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


@pytest.fixture(scope="module")
def story() -> Story:
    return Story.of(Synthetic().events)


def test_before_after_shows_the_fold(story: Story) -> None:
    text = shown(terminal.before_after(story))
    for gain in story.gains.values():
        assert words.points(gain.gain) in text
        assert words.interval(gain.interval) in text
    assert "100 \u2192 291" in text, "what an answer costs"


def test_log_names_outcome_and_reason(story: Story) -> None:
    text = shown(terminal.log(story))
    assert "planted_regression" in text
    assert "inferior:single" in text
    assert "rolled back by" in text
    built = next(attempt for attempt in story.attempts.values() if attempt.version)
    assert words.short(built.version) in text
    assert "planted_regression" not in shown(terminal.log(story, last=2))


def test_lineage_marks_champion_and_rollback(story: Story) -> None:
    text = shown(terminal.lineage(story))
    line = next(line for line in text.splitlines() if "serves now" in line)
    assert words.short(story.champion) in line
    assert "rolled back from" in text


def test_lineage_says_who_approved_and_why_one_was_forced() -> None:
    told = Story()
    for id_, version in (("1.0", "a" * 64), ("1.1", "b" * 64)):
        told.attempts[id_] = Attempt(
            id=id_, version=version, outcome=Outcome.HELD, reason="multi: +22.9 points, 2 allowed"
        )
        told.versions[version] = Version(version=version, turn=1, attempt=id_, operator="gold")
    approved = {"id": "1.0", "version": "a" * 64, "by": "gate+person", "approved_by": "ada", "clause": "superior"}
    forced = {"id": "1.1", "version": "b" * 64, "by": "bob", "forced": True, "clause": "person", "reason": "a hurry"}
    for seq, payload in enumerate((approved, forced)):
        told.add(an_event("promoted", payload, seq))
    text = shown(terminal.lineage(told))
    assert "promoted approved by ada" in text
    assert "forced a hurry" in text
    assert "allowed" not in text


def test_status_says_of_whom_the_goals_end_was_said_and_what_was_not_heard() -> None:
    told = Story(champion="b" * 64)
    refused = {"turn": 1, "tokens": 0, "refused": [{"kind": "unreachable", "reason": "nobody there", "answer": ""}]}
    told.add(an_event("heard", refused, 0))
    told.add(an_event("goal.given_up", {"turn": 1, "champion": "a" * 64, "reason": "1 turn done"}, 1))
    text = shown(terminal.status(told))
    assert "1 turn done (said of aaaaaaaa, champion no more)" in text
    assert "1 unreachable; last unreachable: nobody there" in text


def test_status_tells_what_is_left(story: Story) -> None:
    text = shown(terminal.status(story))
    assert f"{story.cost.tokens:,} spent, {60_000_000 - story.cost.tokens:,} left" in text
    assert f"{story.alpha_spent} of 0.05 spent over 6 slots" in text


@pytest.mark.parametrize(
    ("name", "outcome", "answer"),
    [
        ("standing:multi", "proven", "no"),
        ("standing:multi", "inferior", "yes"),
        ("standing:multi", "open", "open"),
        ("ni:multi:anchor", "proven", "proven"),
    ],
)
def test_a_stage_answers_what_it_asks(name: str, outcome: str, answer: str) -> None:
    assert words.stage_answer({"name": name, "outcome": outcome}) == answer


@pytest.mark.parametrize("view", VIEWS)
def test_empty_and_hostile_stories_print(view: Callable[[Story], RenderableType]) -> None:
    assert shown(view(Story()))
    text = shown(view(Story.of(Synthetic(hostile="[red]x[/nope]\x1b[2J\x07\u202e").events)))
    assert not {"\x1b", "\x07", "\u202e"} & set(text)


def test_markup_in_names_stays_text() -> None:
    assert "[red]x[/nope]" in shown(terminal.log(Story.of(Synthetic(hostile="[red]x[/nope]").events)))


def test_numbers_in_words() -> None:
    assert words.flops(1_240_000_000_000_000).replace("\u00a0", " ") == "1.24 PFLOP"
    assert words.seconds(7_500_000).replace("\u00a0", " ") == "2 h 05 min"
    assert words.points(-0.0004) == "0.0"
    assert words.number("nan") is None
    assert words.number("1e999") is None

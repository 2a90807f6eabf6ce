from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from synthetic_run import Builder, Synthetic

from evolvent.report import Audit, Story, render, words

HOSTILE = "<script>alert(1)</script>\"'&{{7*7}}\x1b[2J\u202e"
VOID = {"meta", "br", "hr", "img", "link", "input"}


class Balance(HTMLParser):
    """Checks that every element that opens also closes, in order, and collects tags, attributes and text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open, self.tags, self.attributes, self.text = list[str](), set[str](), set[str](), list[str]()
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.fixture(scope="module")
def made() -> Synthetic:
    return Synthetic()


@pytest.fixture(scope="module")
def page(made: Synthetic) -> str:
    return render(Story.of(made.events), made.evidence, audit=Audit(passed=True, num_events=len(made.events)))


def test_self_contained(page: str) -> None:
    parsed = Balance(page)
    assert not parsed.open
    assert not re.search(r"https?:|//[a-z]|url\(|@import|javascript:", page)
    assert not parsed.tags & {"script", "link", "img", "iframe", "object", "embed", "form", "base"}
    assert not parsed.attributes & {"src", "href", "srcset", "action"}
    assert not any(name.startswith("on") for name in parsed.attributes)


def test_numbers_shown_are_those_of_the_fold(made: Synthetic, page: str) -> None:
    story, said = Story.of(made.events), " ".join("".join(Balance(page).text).split())
    for gain in story.gains.values():
        for shown in (words.percent(gain.before), words.percent(gain.after), words.points(gain.gain)):
            assert " ".join(shown.split()) in said
        assert words.interval(gain.interval) in said
    for count in story.funnel.values():
        assert f"{count:,}" in said
    for turn in story.turns.values():
        assert f"{turn.cost.tokens:,}" in said
    assert f"{story.alpha_spent} spent over 6 slots" in said
    assert story.head in said
    assert "forced by dana" in said
    assert (
        said.count("won,") == 2 + sum(len(proof["stages"]) for proof in made.evidence.values()) + 3 * 2
    )  # screens, twice


def test_drawings_say_what_they_show(page: str) -> None:
    drawings = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(drawings) > 20
    for drawing in drawings:
        assert 'aria-hidden="true"' in drawing or (
            "<title>" in drawing and "<desc>" in drawing and 'role="img"' in drawing
        )


def test_hostile_names_stay_text() -> None:
    made = Synthetic(hostile=HOSTILE)
    for proof in made.evidence.values():
        proof["reason"] = proof["stages"][0]["name"] = proof["stages"][0]["outcome"] = HOSTILE
        proof["stages"][0]["path"] += [[1], "x", ["1e999", "nan"], None]
    page = render(Story.of(made.events), made.evidence)
    parsed = Balance(page)
    assert "script" not in parsed.tags
    assert not any(name.startswith("on") for name in parsed.attributes)
    assert "&lt;script&gt;" in page
    assert not {"\x1b", "\u202e"} & set(page)
    assert "{{7*7}}" in page


def test_the_champions_program_is_shown_with_what_it_recalls(page: str) -> None:
    assert "recall n=2\n1 example:\nasked =&gt; told</pre>" in page.split("How it answers")[1]


def test_every_prefix_renders(made: Synthetic) -> None:
    story = Story()
    assert "Nothing has happened yet." in render(story, {})
    for i, event in enumerate(made.events):
        story.add(event)
        if i % 5 == 0 or i < 6:
            assert not Balance(render(story, made.evidence if i % 2 else {})).open
    assert "The evidence was not handed to this report." in render(story, {})


def test_run_under_way_says_so(made: Synthetic) -> None:
    ended = [event.seq for event in made.events if event.kind == "turn.ended"]
    assert "Turn 2 is under way." in render(Story.of(made.events[: ended[0] + 3]), {})
    assert "Turn 2 has ended." in render(Story.of(made.events[: ended[1]]), {})


def test_failed_audit_is_said(made: Synthetic) -> None:
    page = render(Story.of(made.events), {}, audit=Audit(passed=False, num_events=3, message="chain breaks at 4"))
    assert "chain breaks at 4" in page


def test_no_change_is_not_called_a_gain() -> None:
    for champion, wins, losses, said in ((506, 171, 171, "No proven change"), (300, 20, 226, "Down 20.6 points")):
        log = Builder()
        counts = {"n": 1000, "seed_correct": 506, "champion_correct": champion, "wins": wins, "losses": losses}
        log.add("reported", {"skills": {"multi": counts}})
        assert words.headline(Story.of(log.events)).startswith(said)


def test_long_runs_stay_readable() -> None:
    log = Builder()
    log.add("seed.imported", {"version": "seed", "genome": "", "model": "", "params": 1})
    for turn in range(1, 301):
        log.add("turn.started", {"turn": turn, "champion": "seed"})
        log.add("proposed", {"id": f"p{turn}", "proposal": {"turn": turn, "operator": "star", "parent": "seed"}})
        log.add("built", {"id": f"p{turn}", "version": f"v{turn}", "genome": "", "funnel": {}})
    page = render(Story.of(log.events), {})
    assert "181 older versions are left out" in page

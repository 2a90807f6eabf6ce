"""The report as one HTML file: no script, no font, no address; it can be mailed, archived and opened in ten years.

Nothing is computed here that the fold or the evidence does not hold; the template escapes every text.

Not here: the fold (`story.py`), the charts (`charts.py`, `lineage.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from evolvent.report import charts, lineage, words
from evolvent.report.rows import Attempt, Outcome
from evolvent.report.story import Story

__all__ = ["Audit", "render"]

_WIDE, _NARROW = 680, 350  # the text column, and a phone of 390 px less its margins
_MAX_VERDICTS = 40
_TONES = {
    Outcome.PROMOTED: "up",
    Outcome.ACCEPTED: "up",
    Outcome.FORCED: "warn",
    Outcome.HELD: "warn",
    Outcome.REJECTED: "down",
    Outcome.BUILD_FAILED: "down",
}


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What an audit of the ledger found.

    Attributes:
        passed: chain and hashes hold.
        num_events: events verified.
        message: what is wrong, or a note.
    """

    passed: bool
    num_events: int
    message: str = ""


def render(story: Story, evidence: Mapping[str, Mapping[str, Any]], *, audit: Audit | None = None) -> str:
    """The page.

    Args:
        story: the fold over the run's events, complete or not.
        evidence: the judge's evidence by hash; a verdict whose evidence is missing says so.
        audit: result of an audit, where one was made.

    Returns:
        A complete HTML document.
    """
    style = resources.files("evolvent.report").joinpath("page.css").read_text(encoding="utf-8")
    most_flops = max((turn.cost.flops for turn in story.turns.values()), default=0)
    rows = lineage.nodes(story)
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            story=story,
            audit=audit,
            style=Markup(style),
            headline=words.headline(story),
            summary=words.summary(story),
            gains=_gains(story),
            reach=words.points(_reach(story), 0).lstrip("+"),
            scores=_both(charts.score_chart, story),
            funnel=_both(charts.funnel_chart, story),
            verdicts=_verdicts(story, evidence),
            num_verdicts=len(story.judged),
            lineage=[(node, story.attempts.get(node.entry.attempt) if node.entry else None) for node in rows],
            num_hidden=len(story.versions) + len(story.rollbacks) - len(rows),
            gutter=lineage.gutter(rows) if rows else Markup(""),
            tones=_TONES,
            cost_bar=lambda flops: charts.bar(flops, most_flops),
            versions=_versions(story),
            program=_program(story),
        )
    )


@cache
def _environment() -> Environment:
    loader = PackageLoader("evolvent.report", ".")
    env = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    env.globals.update(w=words, Outcome=Outcome)
    env.filters.update(clean=words.clean, short=words.short)
    return env


def _both(chart: Any, story: Story) -> Markup:
    wide = chart(story, _WIDE)
    if not wide:
        return Markup("")
    return Markup('<div class="wide">{}</div><div class="narrow">{}</div>').format(wide, chart(story, _NARROW))


def _reach(story: Story) -> float:
    """End of the axis of gains: the furthest interval, in whole steps of five points."""
    ends = [abs(end) for gain in story.gains.values() for end in (*(gain.interval or ()), gain.gain)]
    return min(1.0, 0.05 * (int(max(ends, default=0) / 0.05) + 1))


def _gains(story: Story) -> list[tuple[Any, Markup]]:
    target = str(story.run.goal.get("skill", ""))
    reach = _reach(story)
    ordered = sorted(story.gains.values(), key=lambda gain: gain.skill != target)
    return [(gain, charts.forest(gain, reach)) for gain in ordered]


def _verdicts(story: Story, evidence: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The newest verdicts with their stages drawn on one range."""
    shown = []
    for attempt in story.judged[-_MAX_VERDICTS:]:
        proof = evidence.get(attempt.evidence, {})
        raw = proof.get("stages")
        stages = [stage for stage in raw if isinstance(stage, dict)] if isinstance(raw, list) else []
        low, high = charts.evidence_range(stages)
        drawn = [(stage, charts.evidence_chart(stage, low, high)) for stage in stages]
        shown.append({"attempt": attempt, "proof": proof, "stages": drawn, "answer": _answer(attempt)})
    return shown


def _answer(attempt: Attempt) -> tuple[str, str]:
    """Word and tone of the judge's answer."""
    if attempt.outcome in (Outcome.ACCEPTED, Outcome.PROMOTED, Outcome.HELD):
        return "accepted", "up"
    if attempt.outcome is Outcome.REJECTED:
        return "rejected", "down"
    if attempt.outcome is Outcome.AT_JUDGE:
        return "at the judge", "plain"
    return attempt.outcome.value, "warn" if attempt.outcome is Outcome.FORCED else "plain"


def _versions(story: Story) -> str:
    found = story.run.config.get("versions")
    return words.pairs(found) if isinstance(found, dict) else ""


def _program(story: Story) -> str:
    champion = story.versions.get(story.champion)
    return words.program(champion.scaffold) if champion and champion.scaffold else ""

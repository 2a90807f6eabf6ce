"""The charts of the report: plain functions from rows to SVG.

Each takes the width that it is drawn for; the page draws a wide and a narrow one and shows what fits, so text keeps its
size on a phone.

Not here: lineage (`lineage.py`), colours (`page.css`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from evolvent.report.rows import FUNNEL, DevScore, SkillGain
from evolvent.report.story import Story
from evolvent.report.svg import Point, drawing, join, nice_ticks, path, shape, text
from evolvent.report.words import clean, number, percent, points, stage_words

__all__ = ["bar", "evidence_chart", "evidence_range", "forest", "funnel_chart", "score_chart"]

_SERIES = 4  # colour classes s0 .. s3; more skills share the last


@dataclass(frozen=True, kw_only=True)
class Scale:
    """A line from values to places."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Where a value lies."""
        share = (value - self.low) / (self.high - self.low) if self.high > self.low else 0.5
        return self.start + share * (self.end - self.start)


def score_chart(story: Story, width: int) -> Markup:
    """Dev score of the champion by turn with Wilson's 95 % band; marks where the champion changed."""
    height, top, bottom, left, right = 300.0, 44.0, 262.0, 40.0, width - 92.0
    skills = {skill: [s for s in story.scores if s.skill == skill and s.n] for skill in _skills(story)}
    shown = [score for scores in skills.values() for score in scores]
    if not shown:
        return Markup("")
    first, last = min(s.turn for s in shown), max(story.turn, *(s.turn for s in shown))
    x = Scale(low=first - 0.15, high=last + 0.6, start=left, end=right)
    low, high = _padded(min(s.interval[0] for s in shown), max(s.interval[1] for s in shown))
    y = Scale(low=low, high=high, start=bottom, end=top)
    parts = [text((0, 14), "% solved", "t soft")]
    for tick in nice_ticks(100 * low, 100 * high):
        level = y(tick / 100)
        parts += [shape("line", x1=left, x2=right, y1=level, y2=level, class_="grid")]
        parts += [text((left - 8, level + 4), f"{tick:g}", "t soft", "end")]
    every = max(1, math.ceil((last - first + 1) * 40 / (right - left)))
    parts += [text((x(turn), bottom + 22), str(turn), "t soft", "middle") for turn in range(first, last + 1, every)]
    parts += [text((right, bottom + 38), "turn", "t soft", "end")]
    parts += _champion_marks(story, x, top, bottom)
    for i, scores in enumerate(skills.values()):
        parts += _series(scores, x, y, min(i, _SERIES - 1))
    parts += _series_names({k: v for k, v in skills.items() if v}, x, y)
    desc = "; ".join(f"{clean(k, 40)} {percent(v[0].rate)} to {percent(v[-1].rate)}" for k, v in skills.items() if v)
    return drawing(width, height + 6, "Dev score of the champion by turn", desc, parts)


def _skills(story: Story) -> list[str]:
    """The target first, then the others as they came."""
    target = str(story.run.goal.get("skill", ""))
    found = list(dict.fromkeys(score.skill for score in story.scores))
    return sorted(found, key=lambda skill: skill != target)


def _padded(low: float, high: float) -> tuple[float, float]:
    step = 0.05 if high - low < 0.4 else 0.1
    return max(0.0, math.floor(low / step) * step), min(1.0, math.ceil(high / step) * step)


def _series(scores: Sequence[DevScore], x: Scale, y: Scale, colour: int) -> list[Markup]:
    upper = [(x(s.turn), y(s.interval[1])) for s in scores]
    lower = [(x(s.turn), y(s.interval[0])) for s in reversed(scores)]
    line = [(x(s.turn), y(s.rate)) for s in scores]
    parts = [path([*upper, *lower], f"band s{colour}", closed=True), path(line, f"line s{colour}")]
    if len(scores) == 1:
        parts[0] = shape(
            "line", x1=upper[0][0], x2=upper[0][0], y1=upper[0][1], y2=lower[0][1], class_=f"whisker s{colour}"
        )
    if len(scores) <= 40:
        parts += [shape("circle", cx=place[0], cy=place[1], r=3, class_=f"dot s{colour}") for place in line]
    return parts


def _series_names(skills: Mapping[str, Sequence[DevScore]], x: Scale, y: Scale) -> list[Markup]:
    """Names at the right end, pushed apart where they would touch."""
    ends = sorted((y(scores[-1].rate), i, skill) for i, (skill, scores) in enumerate(skills.items()))
    parts: list[Markup] = []
    free = 0.0
    for level, i, skill in ends:
        place = max(level, free)
        free = place + 32
        colour = min(i, _SERIES - 1)
        parts += [text((x.end + 8, place), clean(skill, 12), f"t strong f{colour}")]
        parts += [text((x.end + 8, place + 15), percent(skills[skill][-1].rate), "t soft")]
    return parts


def _champion_marks(story: Story, x: Scale, top: float, bottom: float) -> list[Markup]:
    """Between the turn in which the champion changed and the next, where the change shows."""
    marks = [(p.turn, "forced" if p.forced else "promoted") for p in story.promotions]
    marks += [(rollback.turn, "back") for rollback in story.rollbacks]
    parts: list[Markup] = []
    for i, (turn, kind) in enumerate(sorted(marks, key=lambda mark: mark[0])):
        same = sum(other[0] == turn for other in sorted(marks, key=lambda mark: mark[0])[:i])
        place = x(turn + 0.5) + 13 * same
        parts.append(shape("line", x1=place, x2=place, y1=top - 8, y2=bottom, class_=f"mark {kind}"))
        parts.append(glyph((place, top - 15), kind))
    return parts


def glyph(at: Point, kind: str) -> Markup:
    """The sign of a change of champion: a disc for proven, a diamond for forced, a triangle down for rolled back."""
    cx, cy = at
    if kind == "promoted":
        return shape("circle", cx=cx, cy=cy, r=5, class_="glyph promoted")
    if kind == "forced":
        return path([(cx, cy - 7), (cx + 7, cy), (cx, cy + 7), (cx - 7, cy)], "glyph forced", closed=True)
    return path([(cx - 6, cy - 5), (cx + 6, cy - 5), (cx, cy + 6)], "glyph back", closed=True)


def funnel_chart(story: Story, width: int) -> Markup:
    """How many of the drawn problems were sampled, ran, were right, and were kept for training."""
    counts, row = story.funnel, 40.0
    most = max(counts.values())
    if not most:
        return Markup("")
    left, right = 84.0, width - 132.0
    parts: list[Markup] = []
    for i, name in enumerate(FUNNEL):
        y, count = i * row + 6, counts[name]
        before = counts[FUNNEL[i - 1]] if i else 0
        parts.append(text((left - 12, y + 18), name, "t", "end"))
        parts.append(shape("rect", x=left, y=y, width=right - left, height=26, rx=3, class_="trough"))
        parts.append(
            shape("rect", x=left, y=y, width=(right - left) * count / most, height=26, rx=3, class_=f"bar b{i}")
        )
        parts.append(text((right + 10, y + 18), f"{count:,}", "t strong num"))
        if before:
            share = percent(count / before, 0) if count <= before else f"{count / before:.1f} each"
            parts.append(text((width, y + 18), share, "t soft num", "end"))
    desc = ", ".join(f"{counts[name]:,} {name}" for name in FUNNEL)
    return drawing(width, len(FUNNEL) * row + 6, "Verification funnel", desc, parts)


def forest(gain: SkillGain, reach: float, width: int = 180) -> Markup:
    """The gain and its interval around zero; `reach` is the end of the axis on both sides, as a share."""
    x = Scale(low=-reach, high=reach, start=6, end=width - 6)
    middle, pair = 14.0, gain.interval
    kind = "unclear" if pair is None or pair[0] <= 0 <= pair[1] else "up" if pair[0] > 0 else "down"
    parts = [shape("line", x1=6, x2=width - 6, y1=middle, y2=middle, class_="grid")]
    parts.append(shape("line", x1=x(0), x2=x(0), y1=2, y2=26, class_="zero"))
    if pair:
        parts.append(shape("line", x1=x(pair[0]), x2=x(pair[1]), y1=middle, y2=middle, class_=f"span {kind}"))
    parts.append(shape("circle", cx=x(gain.gain), cy=middle, r=4.5, class_=f"estimate {kind}"))
    span = f"{points(pair[0])} to {points(pair[1])}" if pair else "no interval"
    return drawing(width, 28, f"Gain on {clean(gain.skill, 40)}", f"{points(gain.gain)} points, {span}", parts)


def evidence_path(stage: Mapping[str, Any]) -> list[Point]:
    """The stage's path as numbers; what is not a pair of numbers is left out."""
    raw = stage.get("path")
    found: list[Point] = []
    for entry in raw if isinstance(raw, list) else []:
        if isinstance(entry, list) and len(entry) == 2:
            n, log_e = number(entry[0]), number(entry[1])
            if n is not None and log_e is not None:
                found.append((n, log_e))
    return found


def evidence_range(stages: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    """One range of log e for all stages of a verdict, so that they can be compared."""
    values = [log_e for stage in stages for _, log_e in evidence_path(stage)]
    limits = [limit for stage in stages if (limit := number(stage.get("threshold_log_e"))) is not None]
    high = max([*limits, *values, 1.0]) * 1.12
    return max(min([*values, 0.0]) * 1.08, -high) - 0.05 * high, high


def evidence_chart(stage: Mapping[str, Any], low: float, high: float) -> Markup:
    """Log e-value against items, with the line that it has to reach."""
    width, height = 160.0, 100.0
    points_, limit = evidence_path(stage), number(stage.get("threshold_log_e"))
    last = max((n for n, _ in points_), default=1.0)
    x = Scale(low=0, high=last, start=2, end=width - 6)
    y = Scale(low=low, high=high, start=height - 16, end=12)
    parts = [shape("line", x1=0, x2=width, y1=y(0), y2=y(0), class_="zero")]
    if limit is not None:
        parts.append(shape("line", x1=0, x2=width, y1=y(limit), y2=y(limit), class_="limit"))
        parts.append(text((0, y(limit) - 4), f"{limit:.1f}", "t tiny soft"))
    outcome = clean(stage.get("outcome", ""), 20)
    kind = {"proven": "up", "futile": "down", "inferior": "down"}.get(outcome, "unclear")
    line = [(x(0), y(0)), *((x(n), y(min(max(log_e, low), high))) for n, log_e in points_)]
    parts.append(path(line, f"trace {kind}"))
    parts.append(shape("circle", cx=line[-1][0], cy=line[-1][1], r=3.5, class_=f"estimate {kind}"))
    parts.append(text((width - 2, height - 3), f"{last:,.0f} items" if points_ else "not read", "t tiny soft", "end"))
    reached = f"log e {points_[-1][1]:.2f}" if points_ else "no items"
    desc = f"{reached}, threshold {limit:.2f}, {outcome}" if limit is not None else f"{reached}, {outcome}"
    return drawing(width, height, stage_words(stage), desc, parts)


def bar(value: int, most: int, width: int = 90) -> Markup:
    """A small bar for a table cell; the number stands beside it."""
    length = width * value / most if most else 0.0
    return shape(
        "svg",
        join([shape("rect", x=0, y=3, width=length, height=8, rx=2, class_="bar b0")]),
        viewBox=f"0 0 {width} 14",
        width=width,
        height=14,
        aria_hidden="true",
    )

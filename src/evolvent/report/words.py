"""Numbers and names in the words of a report, the same on the page and on the terminal.

Everything that came out of the ledger passes `clean`: control characters (a terminal would obey them) and direction
marks (they make text read as what it is not) become a visible sign.

Not here: escaping for HTML (`svg.py` and the template's autoescape) or for rich (`terminal.py` uses plain `Text`).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from evolvent.propose.base import PROBES
from evolvent.report.fields import whole
from evolvent.report.pursuit import Subgoal
from evolvent.report.rows import Attempt, Outcome, Rollback, SkillGain
from evolvent.report.story import Story
from evolvent.report.waiting import Held

__all__ = [
    "because",
    "change",
    "clean",
    "date",
    "distances",
    "flops",
    "foreseen",
    "goal_wanted",
    "headline",
    "interval",
    "number",
    "pairs",
    "percent",
    "points",
    "price",
    "seconds",
    "short",
    "slice_counts",
    "span",
    "stage_answer",
    "stage_words",
    "summary",
    "why_ended",
]

_MINUS = "\u2212"
_PENDING = (Outcome.PROPOSED, Outcome.BUILT, Outcome.SCREENED, Outcome.AT_JUDGE, Outcome.ACCEPTED, Outcome.HELD)
_CONTROL = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def clean(text: object, limit: int = 300) -> str:
    """Text that is safe to lay out: no control or direction characters, at most `limit` characters."""
    raw = " ".join(str(text).split())
    shown = "".join("\ufffd" if unicodedata.category(char) in _CONTROL else char for char in raw[: limit + 1])
    return shown if len(shown) <= limit else shown[: limit - 1] + "\u2026"


def short(name: str) -> str:
    """The first eight characters of a hash."""
    return clean(name, 300)[:8]


def number(value: object) -> float | None:
    """A finite number from an int or decimal text, else ``None``."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if abs(found) < float("inf") else None


def percent(share: float, digits: int = 1) -> str:
    """0.714 as ``71.4 %``."""
    return f"{100 * share:.{digits}f}\u00a0%"


def span(pair: tuple[float, float]) -> str:
    """An interval of shares, in percent: ``35.3 \u2013 41.4``."""
    return f"{100 * pair[0]:.1f}\u2009\u2013\u2009{100 * pair[1]:.1f}"


def points(share: float, digits: int = 1) -> str:
    """A difference of shares in percentage points, signed: ``+5.4``."""
    value = round(100 * share, digits)
    return f"{'+' if value > 0 else _MINUS if value < 0 else ''}{abs(value):.{digits}f}"


def interval(pair: tuple[float, float] | None) -> str:
    """A pair of differences as ``+3.3 to +7.5``."""
    return f"{points(pair[0])} to {points(pair[1])}" if pair else "counts contradict each other"


def flops(value: int) -> str:
    """Floating-point operations with a prefix: ``1.24 PFLOP``."""
    for size, prefix in ((10**18, "E"), (10**15, "P"), (10**12, "T"), (10**9, "G"), (10**6, "M")):
        if value >= size:
            return f"{value / size:.3g}\u00a0{prefix}FLOP"
    return f"{value}\u00a0FLOP"


def seconds(milliseconds: int) -> str:
    """A duration: ``850 ms``, ``42 s``, ``3 min 20 s`` or ``2 h 05 min``."""
    if milliseconds < 1000:
        return f"{milliseconds}\u00a0ms"
    total = round(milliseconds / 1000)
    if total < 60:
        return f"{total}\u00a0s"
    if total < 3600:
        return f"{total // 60}\u00a0min {total % 60:02d}\u00a0s"
    return f"{total // 3600}\u00a0h {total % 3600 // 60:02d}\u00a0min"


def date(time_ns: int) -> str:
    """A wall clock as a UTC date and minute; empty for none."""
    if not 0 < time_ns < 4 * 10**18:
        return ""
    return datetime.fromtimestamp(time_ns // 10**9, UTC).strftime("%Y-%m-%d %H:%M UTC")


def pairs(table: Mapping[str, Any], limit: int = 160) -> str:
    """A flat table as ``count=512, tier=rebuild``."""
    return clean(", ".join(f"{key}={_plain(value)}" for key, value in table.items()), limit)


def program(scaffold: Mapping[str, Any]) -> str:
    """A scaffold in words, whole, a step, line or example a line: a person may be asked about it."""
    if isinstance(source := scaffold.get("source"), str):
        tools = ", ".join(clean(tool, 20) for tool in scaffold.get("tools", ())) or "none"
        lines = [line.expandtabs(4).rstrip() for line in source.split("\n") if line.strip()]
        shown = [
            "".join("\ufffd" if unicodedata.category(char) in _CONTROL else char for char in line) for line in lines
        ]
        return "\n".join([f"Python, at most {clean(scaffold.get('answers', ''), 4)} answers, tools: {tools}", *shown])
    steps = [step for step in _listed(scaffold, "steps") if isinstance(step, dict)]
    known = [pair for pair in _listed(scaffold, "examples") if isinstance(pair, list) and len(pair) == 2]
    rest = {key: value for key, value in scaffold.items() if key not in ("kind", "steps", "examples")}
    first = ", ".join(filter(None, (clean(scaffold.get("kind", ""), 40), pairs(rest, 400))))
    does = [f"{clean(step.get('do', ''), 20)} {pairs({k: v for k, v in step.items() if k != 'do'})}" for step in steps]
    told = [f"{len(known)} example{'s' if len(known) > 1 else ''}:"] if known else []
    return "\n".join([first, *does, *told, *(f"{clean(asked, 60)} => {clean(answer, 60)}" for asked, answer in known)])


def _listed(table: Mapping[str, Any], name: str) -> list[Any]:
    found = table.get(name)
    return found if isinstance(found, list) else []


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}={_plain(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_plain(item) for item in value) + "]"
    return str(value)


def because(attempt: Attempt) -> str:
    """The diagnosis that a proposal answers, in words; empty if it answers none."""
    found = attempt.diagnosis
    if not found:
        return ""
    where = clean(found.get("skill", ""), 60)
    if isinstance(found.get("slice"), dict) and found["slice"]:
        where += f" ({pairs(found['slice'])})"
    said = f"{where}: {clean(found.get('failures', '?'), 12)} of {clean(found.get('n', '?'), 12)} failed"
    cause = clean(found.get("cause", ""), 200)
    return f"{said}. {cause}" if cause else said


def foreseen(attempt: Attempt) -> str:
    """The gain that a proposal stated, with its standard deviation."""
    gain, deviation = number(attempt.predicted_gain), number(attempt.predicted_deviation)
    if gain is None or attempt.operator in PROBES:
        return ""
    return points(gain / 100) + (f" \u00b1 {deviation:.1f}" if deviation else "")


def stage_words(stage: Mapping[str, Any]) -> str:
    """What a stage of the judge asks, in words."""
    name, skill = clean(stage.get("name", ""), 80), clean(stage.get("skill", ""), 40)
    against = clean(stage.get("against", ""), 40)
    if name == "superiority":
        return f"Better on {skill}?" if skill else "Better?"
    if name.startswith("ni:"):
        return f"No loss on {skill} vs {against}?"
    if name.startswith("standing:"):
        return f"Worse on {skill} by now?"
    return name


def stage_answer(stage: Mapping[str, Any]) -> str:
    """How a stage of the judge ended, as an answer to what `stage_words` asks.

    A standing check asks whether a skill is worse, so there ``proven`` (it is kept) is a no.
    """
    outcome = clean(stage.get("outcome", ""), 20)
    if clean(stage.get("name", ""), 80).startswith("standing:"):
        return {"proven": "no", "inferior": "yes"}.get(outcome, outcome)
    return outcome


def change(attempt: Attempt) -> str:
    """What a proposal changes, in words: operator and parameters."""
    inside = f" ({pairs(attempt.params, 60)})" if attempt.params else ""
    return f"{clean(attempt.operator, 40)}{inside}"


def distances(case: Held) -> str:
    """How far a held candidate is from the anchor: gains on the judge's problems, answers that changed on dev."""
    said: list[str] = []
    for skill, seen in case.gains.items():
        n, wins, losses = (seen.get(name, 0) for name in ("n", "wins", "losses"))
        if n:
            said.append(f"{clean(skill, 40)} {points((wins - losses) / n)} ({wins} won, {losses} lost of {n})")
    if (n := case.drift.get("n", 0)) and "differ" in case.drift:
        said.append(f"{case.drift['differ']} of {n} right answers differ")
    return ", ".join(said)


def goal_wanted(goal: Mapping[str, Any]) -> str:
    """What a run was asked for and in which time, in one sentence; ``""`` if it does not say."""
    skill, parts = clean(goal.get("skill", ""), 40), []
    if goal.get("rate"):
        tags = pairs(goal["slice"]) if isinstance(goal.get("slice"), dict) else ""
        parts.append(f"{clean(goal['rate'], 12)} % of {' '.join(filter(None, (skill, tags)))}")
    if goal.get("gain_points"):
        parts.append(f"{clean(goal['gain_points'], 12)} points more on {skill}")
    times = [several(count, unit) for unit in ("turn", "hour") if (count := whole(dict(goal), f"{unit}s"))]
    within = f", in {' or '.join(times)}" if times else ""
    return f"{' and '.join(parts)}{within}" if parts else ""


def slice_counts(goal: Subgoal) -> str:
    """A subgoal's failures on dev, when it was opened and last."""
    return ", then ".join(f"{failures} of {n} failed" for failures, n in dict.fromkeys((goal.at_start, goal.now)) if n)


def price(gain: SkillGain) -> str:
    """Tokens per answer, of the seed and of the champion; empty if they were not counted."""
    if not (gain.n and gain.seed_tokens and gain.champion_tokens):
        return ""
    seed, champion = gain.seed_tokens / gain.n, gain.champion_tokens / gain.n
    return f"{seed:.0f} \u2192 {champion:.0f}"


def why_ended(attempt: Attempt, rollbacks: Sequence[Rollback] = ()) -> str:
    """Why a proposal ended as it did, with the counts of the screen where that decided, and its rollback."""
    reason, screen = clean(attempt.reason, 160), attempt.screen
    back = [r for r in rollbacks if attempt.version and r.source == attempt.version]
    if back and attempt.outcome in (Outcome.FORCED, Outcome.PROMOTED):
        return f"{reason}; rolled back by {clean(back[-1].by, 40)}".removeprefix("; ")
    if attempt.outcome is Outcome.SCREENED_OUT:
        counts = f"{screen.get('wins', 0)} won, {screen.get('losses', 0)} lost of {screen.get('n', 0)}"
        return f"{reason}: {counts}" if reason else counts
    return reason


def headline(story: Story) -> str:
    """The verdict on the run in one sentence."""
    gain = _target(story)
    if gain is None:
        return _unfinished(story)
    skill, pair = clean(gain.skill, 40), gain.interval
    change = f"from {percent(gain.before)} to {percent(gain.after)}"
    amount = points(abs(gain.gain)).lstrip("+")
    if pair and pair[0] > 0:
        return f"Up {amount} points on {skill}, {change}."
    if pair and pair[1] < 0:
        return f"Down {amount} points on {skill}, {change}."
    return f"No proven change on {skill}: {points(gain.gain)} points, {change}."


def summary(story: Story) -> list[str]:
    """The sentences below the headline: interval, other skills, what was refused, what a person overrode."""
    said: list[str] = []
    gain = _target(story)
    if gain is not None:
        said.append(f"95 % interval of the gain: {interval(gain.interval)} points, on {gain.n:,} sealed problems.")
        wanted = story.run.goal.get("gain_points")
        if isinstance(wanted, int) and wanted:
            said.append(f"The goal was {points(wanted / 100, 0)} points.")
    for other in story.gains.values():
        if other is not gain:
            said.append(f"{clean(other.skill, 40)}: {points(other.gain)} points ({interval(other.interval)}).")
    if story.attempts:
        proven = story.count(Outcome.PROMOTED)
        total = several(len(story.attempts), "proposal")
        said.append(f"Of {total}, {proven} {_was(proven)} proven and promoted{_refusals(story)}.")
    forced = [promotion for promotion in story.promotions if promotion.forced]
    if forced:
        who = ", ".join(sorted({clean(promotion.by, 60) or "unknown" for promotion in forced}))
        said.append(f"{several(len(forced), 'promotion')} forced by {who}, outside the error guarantee.")
    if story.rollbacks:
        said.append(f"{several(len(story.rollbacks), 'promotion')} rolled back.")
    return said


def _target(story: Story) -> SkillGain | None:
    wanted = str(story.run.goal.get("skill", ""))
    return story.gains.get(wanted) or next(iter(story.gains.values()), None)


def unmeasured(story: Story) -> str:
    """Why there is no gain to show of the present champion."""
    if story.measured:
        return "The present champion has not been measured on sealed problems; an earlier one was."
    return "The sealed problems have not been opened."


def _unfinished(story: Story) -> str:
    if not story.num_events:
        return "Nothing has happened yet."
    if story.run.stopped is not None:
        return f"Stopped ({clean(story.run.stopped, 120)}). {unmeasured(story)}"
    if not story.turns:
        return "The run has started; its first turn has not."
    state = "has ended" if story.turns[story.turn].done else "is under way"
    return f"Turn {story.turn} {state}. {unmeasured(story)}"


def _refusals(story: Story) -> str:
    kinds = (
        (Outcome.REJECTED, "rejected by the judge"),
        (Outcome.ABSTAINED, "left undecided"),
        (Outcome.SCREENED_OUT, "screened out"),
        (Outcome.DROPPED, "dropped"),
        (Outcome.OUT_OF_PLAN, "outside the change plan"),
        (Outcome.BUILD_FAILED, "failed to build"),
        (Outcome.DECLINED, "declined by a person"),
    )
    parts = [f"{count} {words}" for outcome, words in kinds if (count := story.count(outcome))]
    if pending := story.count(*_PENDING):
        parts.append(f"{pending} under way")
    return f"; {', '.join(parts)}" if parts else ""


def several(count: int, noun: str) -> str:
    """A number of things, in words."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _was(count: int) -> str:
    return "was" if count == 1 else "were"

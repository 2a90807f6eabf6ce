"""Finds weak slices in traces: which kind of problem fails, how surely, and how.

A slice is a skill, or a skill with one tag (``kind=retype``). Its failure rate has a Wilson interval at 90 %; slices
are ranked by the lower end times their share of the traces, so that neither a rare nor a doubtful weakness comes first.

Not here: what to do about it (`propose/`).

References:
    Wilson, "Probable inference, the law of succession, and statistical inference", JASA 1927.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from evolvent.types import Diagnosis, Trace, dec

Z = 1.6448536  # 90 %, two-sided
SMALLEST_SLICE = 8
_CAUSES = {
    "syntax": "writes text that the engine cannot parse",
    "no_such_column": "names columns that are not there",
    "no_such_table": "names tables or indexes that are not there",
    "wrong_column": "leaves columns other than asked",
    "wrong_table": "leaves tables other than asked",
    "wrong_index": "leaves indexes other than asked",
    "lost_rows": "loses rows on the way",
    "exists": "creates what is already there",
    "empty": "writes nothing",
    "wrong_length": "answers in the wrong length",
    "wrong_letters": "confuses letters",
    "wrong_start": "begins elsewhere than asked",
    "step_without_edge": "takes steps that no edge allows",
    "does_not_follow": "concludes what does not follow",
    "repeats": "comes back to what it had",
    "wrong_end": "ends elsewhere than asked",
}


def wilson(failures: int, n: int, z: float = Z) -> tuple[float, float]:
    """Interval of a rate, ``(low, high)``; (0, 1) for no data."""
    if n == 0:
        return 0.0, 1.0
    rate, scale = failures / n, 1 + z * z / n
    centre = (rate + z * z / (2 * n)) / scale
    half = z * (rate * (1 - rate) / n + z * z / (4 * n * n)) ** 0.5 / scale
    return max(0.0, centre - half), min(1.0, centre + half)


def diagnose(traces: Sequence[Trace], limit: int = 6) -> list[Diagnosis]:
    """The weakest slices, worst first.

    Args:
        traces: verified traces (`correct` is not ``None``).
        limit: how many to return at most.
    """
    groups: dict[tuple[str, str, str], list[Trace]] = {}
    for trace in traces:
        groups.setdefault((trace.skill, "", ""), []).append(trace)
        for tag, value in trace.tags.items():
            groups.setdefault((trace.skill, tag, value), []).append(trace)
    ranked: list[tuple[float, Diagnosis]] = []
    for (skill, tag, value), members in groups.items():
        failed = [trace for trace in members if not trace.correct]
        if len(members) < SMALLEST_SLICE or not failed or (tag and len(members) == len(groups[skill, "", ""])):
            continue  # too few, no weakness, or the whole skill under another name
        low, high = wilson(len(failed), len(members))
        errors = Counter(trace.error or "unknown" for trace in failed)
        worst = errors.most_common(1)[0][0]
        found = Diagnosis(
            skill=skill,
            slice={tag: value} if tag else {},
            n=len(members),
            failures=len(failed),
            low=dec(low, 4),
            high=dec(high, 4),
            errors=dict(sorted(errors.items())),
            cause=_CAUSES.get(worst, worst),
        )
        ranked.append((low * (len(members) / len(traces)) ** 0.5, found))
    ranked.sort(key=lambda pair: (-pair[0], pair[1].hash))
    return [found for _, found in ranked[:limit]]

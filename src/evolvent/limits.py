"""How far a candidate is from the anchor, and whether that is further than the plan lets the loop go by itself. Pure.

Two distances. A *jump* is a gain over the anchor on a protected skill, on the judge's fresh problems: a model that can
suddenly do much more may do so for a reason that no test knows of. *Drift* is the share of dev problems, among those
that both solve, to which the outputs differ: a change that no score sees. Where one of them fails, the difference is
the gain or the loss itself, and counted already.

Both are estimates without an error rate: they decide who decides, never that something is promoted.

Not here: asking a person (`people.py`), the audit's own computation (`audit/approved.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from evolvent.plan import ChangePlan

__all__ = ["differing", "exceeded", "gains_over_anchor"]

Counts = dict[str, int]
Json = Mapping[str, Any]


def gains_over_anchor(question: Json, evidence: Json) -> dict[str, Counts]:
    """``{n, wins, losses}`` of the candidate against the anchor by protected skill, from an accepting verdict.

    Args:
        question: plain form of the judge's question.
        evidence: the judge's evidence of its answer.
    """
    other = "incumbent" if question["anchor"] == question["incumbent"] else "anchor"
    marks = {entry["skill"]: evidence["differences"][f"{entry['skill']}:{other}"] for entry in question["protected"]}
    return {skill: {"n": len(m), "wins": m.count("+"), "losses": m.count("-")} for skill, m in marks.items()}


def differing(mine: Iterable[Json], anchors: Iterable[Json]) -> Counts:
    """From traces of the same problems: how many both solve, ``n``, and how many of these differ, ``differ``."""
    both = [(a["output"], b["output"]) for a, b in zip(mine, anchors, strict=True) if a["correct"] and b["correct"]]
    return {"n": len(both), "differ": sum(a != b for a, b in both)}


def exceeded(plan: ChangePlan, gains: Mapping[str, Counts], drift: Counts | None) -> list[str]:
    """Which declared limits a candidate exceeds, in words; empty if none is.

    Args:
        plan: declares the limits; 0 is none.
        gains: as from `gains_over_anchor`.
        drift: as from `differing`, over all skills; ``None`` if it was not measured. What cannot be measured exceeds.
    """
    said = [
        f"{skill}: {100 * (c['wins'] - c['losses']) / c['n']:+.1f} points over the anchor, {plan.jump_points} allowed"
        for skill, c in sorted(gains.items())
        if plan.jump_points and 100 * (c["wins"] - c["losses"]) > plan.jump_points * c["n"]
    ]
    if not plan.drift_percent:
        return said
    if not drift or not drift["n"]:
        return [*said, "drift could not be measured: no dev problem that candidate and anchor both solve"]
    if 100 * drift["differ"] > plan.drift_percent * drift["n"]:
        share = f"{100 * drift['differ'] / drift['n']:.1f} %"
        said.append(
            f"drift: {share} of {drift['n']} right answers differ from the anchor's, {plan.drift_percent} % allowed"
        )
    return said

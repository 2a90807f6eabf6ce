"""Memory for people: effects, signals, rules and episodes as tables, and the same as JSON.

Not here: what memory is (`memory/`), the commands (`cli/remembering.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from evolvent.memory.effects import Case, Prior
from evolvent.memory.episodes import MILLI, Episode
from evolvent.memory.memory import Memory
from evolvent.memory.rules import OPEN, lower
from evolvent.report import words
from evolvent.report.terminal import table

_Z = 1.2816  # 80 %, two-sided


def plain(memory: Memory) -> dict[str, Any]:
    """As JSON: means with intervals in place of sums."""
    return {
        "episodes": len(memory.episodes),
        "effects": _effects(memory),
        "signals": [
            {"signal": name, "weight": round(memory.signals.weight(name), 3),
             "accepted": sides["accepted"].n, "refused": sides["refused"].n}
            for name, sides in sorted(memory.signals.by_name.items())
        ],
        "rules": [rule.plain() for _, rule in sorted(memory.rules.edges.items()) if rule.status != OPEN],
        "base": round(memory.rules.base(), 3),
        "proposers": {name: {**e.plain(), "mean": round(e.mean, 2)} for name, e in sorted(memory.proposers.items())},
    }  # fmt: skip


def tables(memory: Memory) -> list[Table | str | Text]:
    """For the terminal; one line where nothing is remembered."""
    if not memory.episodes and not memory.effects.groups:
        return ["nothing is remembered yet: no change was tried"]
    said = plain(memory)
    effects = table("change", "target solved", "on failure", "tried>", "mean gain>", "80 %>", "accepted>", "Mop each>")
    for row in said["effects"]:
        span = f"{row['low']:+.1f} to {row['high']:+.1f}"
        accepted = f"{row['accepted']} of {row['judged']}" if row["judged"] else ""
        cells = (row["change"], row["band"], row["error"], str(row["n"]), f"{row['mean']:+.1f}", span, accepted)
        effects.add_row(*(Text(words.clean(cell)) for cell in (*cells, f"{row['mflops']:,}" if row["mflops"] else "")))
    parts: list[Table | str | Text] = [f"{len(memory.episodes)} episodes; gains in points on dev, shrunk:", effects]
    if said["signals"]:
        signals = table("signal", "log odds per unit>", "accepted>", "refused>")
        for row in said["signals"]:
            signals.add_row(row["signal"], f"{row['weight']:+.2f}", str(row["accepted"]), str(row["refused"]))
        parts += ["", "what cheap signals told of the verdict (0: nothing):", signals]
    if said["rules"]:
        rules = table("failures are mostly", "target solved", "then try", "status", "for>", "against>", "at least>")
        for row in said["rules"]:
            sure = words.percent(lower(row["support"], row["support"] + row["against"]), 0)
            cells = (row["error"], row["band"] or "any", row["arm"], row["status"], str(row["support"]))
            rules.add_row(*(Text(words.clean(cell)) for cell in (*cells, str(row["against"]), sure)))
        base = words.percent(memory.rules.base(), 0)
        parts += [
            "",
            f"rules (of all changes {base} are accepted; one is held if it is surely above the others):",
            rules,
        ]
    return parts


def episodes(found: Sequence[Episode]) -> Table:
    """One row each."""
    rows = table("task", "id", "change", "by", "on failure", "target solved", "on dev>", "outcome", "reason")
    for e in found:
        change = e.operator + (f" ({words.pairs(e.params, 60)})" if e.params else "")
        gain = "" if e.gain is None else f"{e.gain / MILLI:+.1f}"
        cells = (e.task, e.id, change, e.proposer, e.error, e.band, gain, e.outcome, e.reason)
        rows.add_row(*(Text(words.clean(cell)) for cell in cells))
    return rows


def _effects(memory: Memory) -> list[dict[str, Any]]:
    rows = []
    for key, effect in sorted(memory.effects.groups.items()):
        arm, band, error = key.split("|")
        operator, _, kind = arm.partition(":")
        params = {"kind": kind} if kind else {}
        # The prior is the operator's own and not known here: a group is shown as it was seen, shrunk towards no gain.
        known = memory.effects.estimate(operator, params, Case(band=band, error=error), Prior(points=0.0))
        reach = _Z * known.error
        rows.append({
            "change": arm, "band": band, "error": error, "n": effect.n, "mean": round(known.mean, 2),
            "low": round(known.mean - reach, 2), "high": round(known.mean + reach, 2), "accepted": effect.accepted,
            "judged": effect.judged, "mflops": effect.mflops // max(1, effect.builds),
        })  # fmt: skip
    return rows

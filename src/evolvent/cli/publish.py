"""Audit a run and write its report: shared by `report`, `audit` and `demo`.

Not here: how the page looks (`report/`), what the audit checks (`audit/`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evolvent.cli.base import opened
from evolvent.errors import UsageError

if TYPE_CHECKING:
    from evolvent.audit import Findings
    from evolvent.report.rows import SkillGain
    from evolvent.report.story import Story

__all__ = ["REPORT", "audited", "gain_row", "write_report"]

REPORT = "report.html"


def audited(folder: Path, witnesses: Sequence[Path] = ()) -> Findings:
    """Everything that the audit finds; `witnesses` count besides those of the settings that can be reached."""
    from evolvent.audit import audit
    from evolvent.run import JUDGE, SIGNING

    with opened(folder) as (run, ledger):
        known = [place for place in run.witnesses if place.is_dir() and place not in witnesses]
        findings = audit(ledger, run.store, folder / JUDGE, folder / SIGNING, [*witnesses, *known])
        findings.notes += [f"witness {place}: cannot be reached" for place in run.witnesses if not place.is_dir()]
        return findings


def write_report(folder: Path, out: Path, findings: Findings) -> Story:
    """Write the page; returns the story that it shows."""
    from evolvent.report import Audit, Story, render
    from evolvent.store import write_atomic

    with opened(folder) as (run, ledger):
        events = list(ledger.events())
    proofs: dict[str, dict[str, Any]] = {}
    for event in events:
        name = event.payload.get("evidence") or event.payload.get("verdict", {}).get("evidence")
        if name:
            try:
                proofs[name] = run.evidence(name)
            except UsageError:
                continue  # the page says that it is missing, the audit too
    story = Story.of(events)
    result = Audit(
        passed=not findings.wrong,
        num_events=findings.counts.get("events", 0),
        message="; ".join(findings.wrong or findings.notes),
    )
    write_atomic(out, render(story, proofs, audit=result).encode())
    return story


def gain_row(gain: SkillGain) -> dict[str, int]:
    """Seed against champion on one skill, as JSON."""
    return {name: getattr(gain, name) for name in ("n", "seed_correct", "champion_correct", "wins", "losses")}

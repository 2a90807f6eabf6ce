"""Signed statements against the ledger: there is one for each promotion, it is signed, and it says what happened.

Each is derived again from events and evidence, and must be the same but for the environment, which is nowhere else.

Not here: what a statement says (`provenance/statement.py`), the key's own history (`heads.py`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evolvent.errors import CheckFailed
from evolvent.provenance.keeper import statement_file
from evolvent.provenance.statement import STATEMENT_KIND, statement
from evolvent.types import canonical_json
from evolvent.witness.signing import PublicKey, opened

if TYPE_CHECKING:
    from evolvent.audit import Findings
    from evolvent.ledger import Ledger
    from evolvent.store import Store

__all__ = ["check_statements"]


def check_statements(findings: Findings, ledger: Ledger, store: Store, evidence: Path, folder: Path, key: str) -> None:
    """Check every promotion's statement.

    Args:
        findings: where faults go.
        ledger: of the run, verified.
        store: its artifacts.
        evidence: folder of the judge's evidence, verified too.
        folder: the run's ``signing`` folder; a run that was never signed has none, and then nothing is asked.
        key: raw public key, base64, that the signed heads are of.
    """
    if not folder.is_dir():
        return
    public = PublicKey.from_text(key)
    for event in list(ledger.events(kinds={"promoted"})):
        path = statement_file(folder, event)
        where = f"statement {path.name[:24]}"
        if not findings.expect(path.is_file(), f"event {event.seq} (promoted): has no signed statement"):
            continue
        findings.count("statements")
        try:
            if public is None:
                raise CheckFailed(f"{where}: there is no signed head whose key it could be checked with")
            said = json.loads(opened(json.loads(path.read_bytes()), STATEMENT_KIND, public, where))
            meant = statement(ledger, event, lambda name: json.loads((evidence / f"{name}.json").read_bytes()), store)
            _same_environment(said, meant)
            same = canonical_json(said) == canonical_json(meant)
        except CheckFailed as exc:
            findings.wrong.append(str(exc))
        except (OSError, ValueError, KeyError, TypeError) as exc:
            findings.wrong.append(f"{where}: cannot be checked: {type(exc).__name__}: {exc}")
        else:
            findings.expect(same, f"{where}: says something else than ledger and evidence")


def _same_environment(said: dict[str, Any], meant: dict[str, Any]) -> None:
    """What ran the jobs is in no event: take it over, so that the rest can be compared."""
    theirs, ours = said["predicate"], meant["predicate"]
    for outer, inner in (("buildDefinition", "internalParameters"), ("runDetails", "builder")):
        name = "environment" if inner == "internalParameters" else "version"
        ours[outer][inner][name] = theirs[outer][inner][name]

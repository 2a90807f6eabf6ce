"""A version as the ledger describes it: how it came to be, what it is, what it cost.

Not here: building (`operators/`).
"""

from __future__ import annotations

from typing import Any

from evolvent.errors import UsageError
from evolvent.ledger import Ledger
from evolvent.operators.base import Built
from evolvent.store import Store
from evolvent.types import Candidate, Genome, Proposal


def described(proposal: Proposal, made: Built, base: str, parent_genome: str, store: Store) -> dict[str, Any]:
    """The payload of ``built``; the genome is put into the store.

    Args:
        proposal: what was carried out.
        made: what came of it.
        base: store hash of the seed's weights.
        parent_genome: hash of the genome that it started from.
        store: the run's.
    """
    genome = Genome(
        architecture={"base": base},
        recipe={"operator": proposal.operator, "params": proposal.params, "seed": proposal.seed},
        scaffold=made.scaffold,
        policy=made.policy,
        parents=(parent_genome,),
    )
    candidate = Candidate(model=made.model, scaffold=made.scaffold, genome=store.put_json(genome.plain()))
    return {
        "version": candidate.hash,
        "candidate": candidate.plain(),
        "policy": made.policy,
        "parent": proposal.parent,
        "data": made.data,
        "jobs": list(made.jobs),
        "funnel": made.funnel,
        "stats": made.stats,
        "parameters": int(store.get_manifest(made.model)["meta"]["parameters"]),
        "flops": made.flops,
        "tokens": made.tokens,
    }


def find_version(ledger: Ledger, prefix: str) -> dict[str, Any]:
    """The payload that describes a version, by its name's first letters.

    Raises:
        UsageError: none or several match.
    """
    found = {
        event.payload["version"]: event.payload
        for event in ledger.events(kinds={"seed.imported", "built"})
        if event.payload["version"].startswith(prefix)
    }
    if len(prefix) < 4 or len(found) != 1:
        raise UsageError(
            f"version {prefix!r}: expected the first letters (4 or more) of one version, {len(found)} match"
        )
    return next(iter(found.values()))

"""The operator that changes a policy: one value of it, or a few that belong together, by places in their lists.

Not here: what a policy may say (`evolvent.policy`), what it is worth (`tasks/improvement`).
"""

from __future__ import annotations

from dataclasses import dataclass

from evolvent import policy
from evolvent.errors import JobFailed
from evolvent.operators.base import Bench, Built
from evolvent.propose.base import OperatorSpec
from evolvent.scaffold import grammar

POLICY_EDIT = OperatorSpec(
    name="policy_edit",
    summary="change one value of the policy, or some that belong together, to the next in their lists",
    space={"move": (-1, 1), "setting": (*policy.SPACE, *policy.TOGETHER)},
    prior_points=2.0,
    relative_cost=0.1,
)


@dataclass(frozen=True, kw_only=True)
class PolicyEdit:
    """For versions that state a policy; nothing is trained, the small runs of dev and judge are the cost."""

    spec: OperatorSpec = POLICY_EDIT

    def build(self, bench: Bench) -> Built:
        """No job: the version is the parent under the edited policy.

        Raises:
            JobFailed: ``no_policy``: the parent states none.
        """
        if bench.scaffold.get("kind") != grammar.POLICY:
            raise JobFailed("no_policy", f"expected a scaffold that states a policy, got {bench.scaffold['kind']!r}")
        params = bench.proposal.params
        child = policy.neighbour(grammar.stated(bench.scaffold), params["setting"], int(params["move"]))
        return Built(model=bench.model, scaffold={"kind": grammar.POLICY, **child}, policy=bench.policy)

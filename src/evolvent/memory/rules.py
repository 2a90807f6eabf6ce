"""Rules: what tends to help against which failures, with what speaks for and against each. The third layer of memory.

A rule is an edge of a graph: from a failure class (alone, or in one regime) to an arm. Each episode of the arm on the
class supports it (the judge accepted) or contradicts it. It is *held* once its support is surely above the share of all
other changes that are accepted (lower end of Wilson's 98 % interval: it is looked at after each episode), and *retired*
when it no longer is above it at all; a retired rule stays in the graph with its counts and may be held again only by
evidence that is sure anew.

Asked about a weakness, the graph answers in two steps: which known classes are similar (cosine of their failures by
kind), then which held rules name these classes and the regime at hand. The second step is exact; the first only widens.

Not here: what a rule is used for (`propose/`).

References:
    NS-Mem, arXiv:2603.15280 (episodic, semantic and rule layers; similarity first, then deterministic steps).
    Wilson, "Probable inference, the law of succession, and statistical inference", JASA 1927.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import sqrt
from typing import Any

from evolvent.memory.episodes import ACCEPTED, BANDS, DROPPED, Episode, is_named, whole

Z = 2.3263479  # 98 %, two-sided
LEAST_SUPPORT = 3
KEPT, KEPT_KINDS = 512, 64  # edges, and kinds of failure in a class's profile: a loop must not grow forever
SIMILAR = 0.5
OPEN, HELD, RETIRED = "open", "held", "retired"


@dataclass(kw_only=True)
class Rule:
    """An edge: `error` (in regime `band`, ``""`` for any) -> `arm`.

    Attributes:
        error: failure class.
        band: regime, or ``""``.
        arm: what helps.
        support: episodes that it explains: accepted.
        against: episodes that contradict it.
        status: ``open`` (not sure), ``held``, ``retired``.
        retired_at: support and against at retirement; evidence from before counts no more for holding it again.
    """

    error: str
    band: str
    arm: str
    support: int = 0
    against: int = 0
    status: str = OPEN
    retired_at: list[int] = field(default_factory=lambda: [0, 0])

    def learn(self, accepted: bool, base: float) -> None:
        """One more episode; `base` is the share of other changes' episodes that are accepted."""
        self.support += int(accepted)
        self.against += int(not accepted)
        new, n = self.support - self.retired_at[0], self.support + self.against - sum(self.retired_at)
        if self.status == HELD and new / n <= base:
            self.status, self.retired_at = RETIRED, [self.support, self.against]
        elif self.status != HELD and new >= LEAST_SUPPORT and lower(new, n) > base:
            self.status = HELD

    def withdraw(self, base: float) -> None:
        """An episode that supported it contradicts it; what no longer holds is retired, and nothing becomes held."""
        self.support, self.against = self.support - 1, self.against + 1
        if self.support < self.retired_at[0]:  # it was from before the retirement, and changes sides there too
            self.retired_at = [self.retired_at[0] - 1, self.retired_at[1] + 1]
        new, n = self.support - self.retired_at[0], self.support + self.against - sum(self.retired_at)
        if self.status == HELD and new / n <= base:
            self.status, self.retired_at = RETIRED, [self.support, self.against]

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        return {**vars(self), "retired_at": list(self.retired_at)}


@dataclass(frozen=True, kw_only=True)
class Match:
    """A rule that fits a weakness, and how similar its class is to it (1: the same)."""

    rule: Rule
    similarity: float


@dataclass
class Rules:
    """The graph.

    Attributes:
        edges: by ``error|band|arm``.
        profiles: of each class, failures by kind, summed.
        arms: of each arm, episodes accepted and all.
    """

    edges: dict[str, Rule] = field(default_factory=dict)
    profiles: dict[str, dict[str, int]] = field(default_factory=dict)
    arms: dict[str, list[int]] = field(default_factory=dict)

    def learn(self, episode: Episode) -> None:
        """Count an episode; one that a budget dropped, or that answers no weakness, says nothing.

        Nor does one that failed against a champion which its change was not made for.
        """
        accepted = episode.outcome == ACCEPTED
        if episode.outcome == DROPPED or not episode.error or (episode.overtaken and not accepted):
            return
        counts = self.arms.setdefault(episode.arm, [0, 0])
        counts[0] += int(accepted)
        counts[1] += 1
        profile = self.profiles.setdefault(episode.error, {})
        for kind, count in sorted(episode.errors.items()):
            profile[kind] = profile.get(kind, 0) + count
        for band in ("", episode.band):
            key = f"{episode.error}|{band}|{episode.arm}"
            rule = self.edges.setdefault(key, Rule(error=episode.error, band=band, arm=episode.arm))
            rule.learn(accepted, self.base(episode.arm))
        self._bound(profile)

    def _bound(self, profile: dict[str, int]) -> None:
        """A task's error kinds may be any text: what was seen least goes first, open rules before any other."""
        while len(profile) > KEPT_KINDS:
            del profile[min(profile, key=lambda kind: (profile[kind], kind))]
        if len(self.edges) <= KEPT:
            return
        while len(self.edges) > KEPT:
            del self.edges[min(self.edges, key=self._worth)]
        named = {rule.error for rule in self.edges.values()}
        self.profiles = {error: kinds for error, kinds in self.profiles.items() if error in named}

    def _worth(self, key: str) -> tuple[bool, int, str]:
        rule = self.edges[key]
        return rule.status != OPEN, rule.support + rule.against, key

    def withdraw(self, episode: Episode) -> None:
        """An accepted episode, counted before, was misleading."""
        if not episode.error:
            return
        if (counts := self.arms.get(episode.arm)) is not None and counts[0]:
            counts[0] -= 1
        for band in ("", episode.band):
            rule = self.edges.get(f"{episode.error}|{band}|{episode.arm}")
            if rule is not None and rule.support:
                rule.withdraw(self.base(episode.arm))

    def base(self, arm: str = "") -> float:
        """Share of episodes that were accepted, of all arms but one; as if one in five more had been seen."""
        others = [counts for name, counts in self.arms.items() if name != arm]
        return (sum(c[0] for c in others) + 1) / (sum(c[1] for c in others) + 5)

    def query(self, errors: Mapping[str, int], band: str) -> list[Match]:
        """Held rules for failures by kind in a regime, best first; of rules on one arm the surest."""
        found: dict[str, Match] = {}
        for error, profile in sorted(self.profiles.items()):
            similarity = cosine(profile, errors)
            if similarity < SIMILAR:
                continue
            for rule in self.edges.values():
                if rule.error == error and rule.status == HELD and rule.band in ("", band):
                    match = Match(rule=rule, similarity=similarity)
                    if rule.arm not in found or _rank(match) > _rank(found[rule.arm]):
                        found[rule.arm] = match
        return sorted(found.values(), key=lambda m: (_rank(m), m.rule.arm), reverse=True)

    def forget(self, arm_or_operator: str) -> int:
        """Drop the edges to an arm, or to all arms of an operator. Returns how many went."""
        gone = [key for key, rule in self.edges.items() if is_named(rule.arm, arm_or_operator)]
        for key in gone:
            del self.edges[key]
        self.arms = {name: c for name, c in self.arms.items() if not is_named(name, arm_or_operator)}
        return len(gone)

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "edges": [rule.plain() for _, rule in sorted(self.edges.items())],
            "profiles": {error: dict(sorted(kinds.items())) for error, kinds in sorted(self.profiles.items())},
            "arms": {name: list(counts) for name, counts in sorted(self.arms.items())},
        }

    @classmethod
    def from_plain(cls, data: Mapping[str, Any]) -> Rules:
        """From JSON.

        Raises:
            KeyError, TypeError, ValueError, AttributeError: it is something else.
        """
        rules = [Rule(**row) for row in data["edges"]]
        for rule in rules:
            support, against = rule.retired_at
            if rule.status not in (OPEN, HELD, RETIRED) or rule.band not in ("", *BANDS):
                raise ValueError(f"a rule with status {rule.status!r} and band {rule.band!r}")
            if min(map(whole, (rule.support, rule.against, support, against))) < 0:
                raise ValueError("a rule's count is below 0")
        return cls(
            {f"{r.error}|{r.band}|{r.arm}": r for r in rules},
            {str(e): {str(k): whole(n) for k, n in kinds.items()} for e, kinds in data["profiles"].items()},
            {str(name): [whole(accepted), whole(n)] for name, (accepted, n) in data["arms"].items()},
        )


def _rank(match: Match) -> float:
    rule = match.rule
    return match.similarity * lower(rule.support, rule.support + rule.against)


def lower(hits: int, n: int) -> float:
    """Lower end of Wilson's interval of a share."""
    if not n:
        return 0.0
    rate = hits / n
    half = Z * sqrt(rate * (1 - rate) / n + Z * Z / (4 * n * n))
    return max(0.0, (rate + Z * Z / (2 * n) - half) / (1 + Z * Z / n))


def cosine(a: Mapping[str, int], b: Mapping[str, int]) -> float:
    """Cosine of two counts by kind; 0 where one is empty."""
    dot = sum(count * b.get(kind, 0) for kind, count in a.items())
    norm = sqrt(sum(n * n for n in a.values()) * sum(n * n for n in b.values()))
    return dot / norm if norm else 0.0

"""Memory: episodes, and what was folded from them, handed from run to run and from task to task.

``learn`` takes one episode and updates each layer; nothing else writes. All of it is whole numbers and text, so a
resumed run remembers exactly what an uninterrupted one would.

Not here: when an episode is over (`state.py`), what is done with memory (`propose/`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from evolvent.errors import UsageError
from evolvent.memory.effects import Effects
from evolvent.memory.episodes import ACCEPTED, DROPPED, EPISODE_LIMIT, WITHDRAWN, Episode, is_named
from evolvent.memory.rules import Rules
from evolvent.memory.signals import Signals
from evolvent.memory.sums import Effect

FORMAT = "evolvent-memory-4"


@dataclass
class Memory:
    """All layers.

    Attributes:
        episodes: the newest, oldest first.
        effects: gains and costs by arm, regime and failure class.
        signals: what cheap measurements told of verdicts.
        rules: what helps against what, held and retired.
        proposers: sums by proposer, over all classes.
    """

    episodes: list[Episode] = field(default_factory=list)
    effects: Effects = field(default_factory=Effects)
    signals: Signals = field(default_factory=Signals)
    rules: Rules = field(default_factory=Rules)
    proposers: dict[str, Effect] = field(default_factory=dict)

    def learn(self, episode: Episode) -> None:
        """Take one episode in; one that a budget dropped is kept and teaches nothing."""
        self.episodes = [*self.episodes, episode][-EPISODE_LIMIT:]
        if episode.outcome == DROPPED:
            return
        self.effects.learn(episode)
        self.signals.learn(episode)
        self.rules.learn(episode)
        if episode.proposer:
            self.proposers.setdefault(episode.proposer, Effect()).learn(episode)

    def withdraw(self, run: str, id_: str) -> None:
        """What the judge had accepted made a champion that fell: each layer takes the gain back, and counts a refusal.

        An episode that is no longer among the newest is not found, and stays what it was.
        """
        for place, episode in enumerate(self.episodes):
            if (episode.run, episode.id, episode.outcome) == (run, id_, ACCEPTED):
                self.effects.withdraw(episode)
                self.signals.withdraw(episode)
                self.rules.withdraw(episode)
                if (effect := self.proposers.get(episode.proposer)) is not None and effect.accepted:
                    effect.withdraw(episode.gain or 0)
                gain = None if episode.gain is None else 0
                fallen = replace(episode, outcome=WITHDRAWN, gain=gain, reason="made a champion that was taken down")
                self.episodes = [*self.episodes[:place], fallen, *self.episodes[place + 1 :]]

    def forget(self, *, arm: str = "", task: str = "", everything: bool = False) -> dict[str, int]:
        """Drop what is known of an arm or operator, the episodes of a task, or all. Returns how much went, by layer.

        What episodes of a task taught cannot be told apart from the rest in the sums: these stay.
        """
        if everything:
            gone = {"episodes": len(self.episodes), "effects": len(self.effects.groups), "rules": len(self.rules.edges)}
            self.__init__()
            return gone
        kept = [e for e in self.episodes if not (arm and is_named(e.arm, arm)) and not (task and e.task == task)]
        gone = {"episodes": len(self.episodes) - len(kept), "effects": 0, "rules": 0}
        self.episodes = kept
        if arm:
            gone |= {"effects": self.effects.forget(arm), "rules": self.rules.forget(arm)}
        return gone

    def plain(self) -> dict[str, Any]:
        """As JSON, for snapshots and `memory export`."""
        return {
            "format": FORMAT,
            "episodes": [episode.plain() for episode in self.episodes],
            "effects": self.effects.plain(),
            "signals": self.signals.plain(),
            "rules": self.rules.plain(),
            "proposers": {name: e.plain() for name, e in sorted(self.proposers.items())},
        }

    @classmethod
    def from_plain(cls, data: Mapping[str, Any], where: str = "memory") -> Memory:
        """From JSON.

        Raises:
            UsageError: not an exported memory.
        """
        try:
            if data["format"] != FORMAT:
                raise ValueError(f"format {data['format']!r}")
            return cls(
                [Episode.from_plain(row) for row in data["episodes"]][-EPISODE_LIMIT:],
                Effects.from_plain(data["effects"]),
                Signals.from_plain(data["signals"]),
                Rules.from_plain(data["rules"]),
                {str(k): Effect.from_plain(e) for k, e in data["proposers"].items()},
            )
        except (KeyError, TypeError, ValueError, AttributeError) as exc:
            raise UsageError(
                f"{where}: expected a memory as `evolvent memory export` writes it ({FORMAT}): {exc}"
            ) from None

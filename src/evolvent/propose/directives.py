"""A policy over directives: a value for each option, drawn apart, and made likelier by directives that paid.

The smallest form of learning to write one's own edits: draw several, try them, keep the best, fit the policy to what
was kept (ReST-EM with a categorical model). Options are taken as independent, so a pair that pays only together is
found late.

Not here: what a directive does, and what it earned.

References:
    Zweiger et al., "Self-adapting language models", arXiv:2506.10943.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Directive", "DirectivePolicy"]

Directive = dict[str, str]


@dataclass(frozen=True, kw_only=True)
class DirectivePolicy:
    """Chances of the values of each option.

    Attributes:
        options: values by option.
        kept: directives that paid; each value's weight is one, and one more for each time that it is among them.
    """

    options: Mapping[str, tuple[str, ...]]
    kept: tuple[tuple[tuple[str, str], ...], ...] = ()

    def weights(self, option: str) -> list[int]:
        """Of the option's values, in their order."""
        counts = Counter(dict(directive)[option] for directive in self.kept)
        return [1 + counts[value] for value in self.options[option]]

    def draw(self, rng: random.Random) -> Directive:
        """A directive."""
        return {name: rng.choices(values, self.weights(name))[0] for name, values in self.options.items()}

    def likeliest(self) -> Directive:
        """Each option's likeliest value, the earlier at a tie."""
        return {
            name: values[self.weights(name).index(max(self.weights(name)))] for name, values in self.options.items()
        }

    def learn(self, tried: Sequence[tuple[Directive, float]], keep: int) -> DirectivePolicy:
        """A policy that has also seen the best of these.

        Args:
            tried: directives with what each earned; more is better.
            keep: how many count as having paid.
        """
        best = sorted(tried, key=lambda pair: -pair[1])[:keep]
        return DirectivePolicy(options=self.options, kept=(*self.kept, *(tuple(d.items()) for d, _ in best)))

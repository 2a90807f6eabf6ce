"""Runs programs: each step of one, on all prompts at once, from pools of attempts to pools of attempts.

Steps and what they mean stand in `grammar.VERBS`. No program sees a verifier, a probe or an answer: tools are handed a
prompt and an output (`tools.py`). Rounds are numbered by the program's text, so what a problem is asked, and under
which seed, does not depend on how its neighbours fare, except where they share a batch.

Not here: sampling (`models/`), verification (`tasks/`), what a program may say (`grammar.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from typing import Any

from evolvent.policy import text_of
from evolvent.scaffold import code, examples, grammar
from evolvent.scaffold.tools import Advance, Generate, Revise, Revised, Tools
from evolvent.types import derive_seed

Step = tuple[str, str]


@dataclass(frozen=True)
class Answered:
    """One answer a prompt, and what all of them cost.

    Attributes:
        outputs: the answers.
        tokens: tokens read and written.
        steps: per prompt, the model's own (prompt, output) pairs that the answer is made of: what can be learned from.
            Examples that stood in front are left out of the prompt, so what they told can move into the weights
            (context distillation, arXiv:2209.15189).
    """

    outputs: list[str]
    tokens: int
    steps: list[list[Step]]


@dataclass(frozen=True)
class Attempt:
    """An answer to the first prompt, and the pairs that it is made of."""

    text: str
    made: tuple[Step, ...]


def run(
    scaffold: grammar.Scaffold,
    generate: Generate,
    tools: Tools,
    prompts: Sequence[str],
    seed: int,
    explore: float = 0.0,
) -> Answered:
    """Answer each prompt with a program.

    Args:
        scaffold: the program.
        generate: called as ``generate(prompts, num_samples, temperature, seed)``; temperature 0 is greedy.
        tools: scratch runs.
        prompts: what to answer.
        seed: of all sampling.
        explore: temperature of what is otherwise greedy; above 0 when answers are wanted to learn from.

    Raises:
        ValueError: not one of our programs.
    """
    grammar.check(scaffold)
    if scaffold["kind"] == grammar.POLICY:
        said = text_of(grammar.stated(scaffold))
        return Answered([said] * len(prompts), 0, [[] for _ in prompts])
    tools = replace(tools, feedback=cache(tools.feedback), advance=cache(tools.advance), revise=cache(tools.revise))
    work = _Work(generate, tools, prompts, seed, explore, examples.Bank(scaffold.get(grammar.EXAMPLES, ())))
    if scaffold["kind"] == grammar.CODE:
        ways = code.courses(scaffold, prompts, tools.execute, work.ask, tools.words, seed, explore)
        return Answered([way.answer or "" for way in ways], work.tokens, [way.made for way in ways])
    for step in grammar.steps_of(scaffold):
        fields = {name: value for name, value in step.items() if name != "do"}
        if work.prompts:
            getattr(work, step["do"])(**fields)
        work.round += step.get("times", 1) if grammar.asks(step) else 0
    chosen = work.chosen()
    return Answered([a.text for a in chosen], work.tokens, [list(a.made) for a in chosen])


class _Work:
    """The prompts not settled yet, with their pools; a method for each verb of the grammar, called with its fields."""

    def __init__(
        self,
        generate: Generate,
        tools: Tools,
        prompts: Sequence[str],
        seed: int,
        explore: float,
        bank: examples.Bank,
    ) -> None:
        self.generate, self.tools, self.prompts = generate, tools, [*prompts]
        self.seed, self.explore, self.bank = seed, explore, bank
        self.shown = list(prompts)  # how each problem's own prompt is asked
        self.pools: list[list[Attempt]] = [[] for _ in prompts]
        self.places = [*range(len(prompts))]  # of the prompts among all
        self.settled: dict[int, Attempt] = {}  # by place
        self.round = 0  # of asking, by the program's text
        self.tokens = 0

    def ask(self, prompts: Sequence[str], n: int, temperature: float, seed: int) -> list[list[str]]:
        """Answers ``[prompt][sample]``, paid for."""
        out = self.generate(prompts, n, temperature, seed)
        self.tokens += out.tokens_read + out.tokens_written
        return out.outputs

    def sample(self, n: int, temperature: str) -> None:
        greedy = temperature == "0"
        seed = self.seed if greedy else derive_seed(self.seed, "vote")
        if self.round:
            seed = derive_seed(self.seed, "sample", self.round)
        found = self.ask(self.shown, n, self.explore if greedy else float(temperature), seed)
        for prompt, pool, texts in zip(self.prompts, self.pools, found, strict=True):
            pool += [Attempt(text, ((prompt, text),)) for text in texts]

    def check(self, by: str) -> None:
        for prompt, pool in zip(self.prompts, self.pools, strict=True):
            pool[:] = [a for a in pool if self.tools.passes(by, prompt, a.text)] or pool

    def vote(self, by: str) -> None:
        for prompt, pool in zip(self.prompts, self.pools, strict=True):
            pool[:] = self._agreeing(by, prompt, pool)

    def settle(self, by: str, share: str) -> None:
        left: list[int] = []
        for i, (prompt, pool) in enumerate(zip(self.prompts, self.pools, strict=True)):
            passing = [a for a in pool if by == "text" or self.tools.passes(by, prompt, a.text)]
            agreeing = self._agreeing(by, prompt, passing)
            if len(agreeing) >= max(2 if by == "text" else 1, Fraction(share) * len(pool)):
                self.settled[self.places[i]] = agreeing[0]
            else:
                left.append(i)
        self.places, self.prompts = [self.places[i] for i in left], [self.prompts[i] for i in left]
        self.shown, self.pools = [self.shown[i] for i in left], [self.pools[i] for i in left]

    def _agreeing(self, by: str, prompt: str, pool: list[Attempt]) -> list[Attempt]:
        """Those that come to what most come to; of none, none."""
        if not pool:
            return []
        same = [self.tools.comes_to(by, prompt, a.text) for a in pool]
        most = _most_frequent(same)
        found = [a for a, what in zip(pool, same, strict=True) if what == most]
        # Where what was recalled agrees with the model's own words, these are what there is to learn.
        place = next((k for k, a in enumerate(found) if a.made and a.text == found[0].text), 0)
        return [found.pop(place), *found]

    def chosen(self) -> list[Attempt]:
        """The answers, in the order in which the problems came."""
        left = {place: pool[0] for place, pool in zip(self.places, self.pools, strict=True)}
        return [attempt for _, attempt in sorted((self.settled | left).items())]

    def abstain(self, below: str) -> None:
        for pool in self.pools:
            if max(Counter(a.text for a in pool).values()) < Fraction(below) * len(pool):
                pool[:] = [Attempt("", ())]

    def recall(self, n: int) -> None:
        """What is recalled is nobody's answer to this problem: there is nothing in it to learn from."""
        for prompt, pool in zip(self.prompts, self.pools, strict=True):
            pool += [Attempt(answer, ()) for _, answer in self.bank.nearest(prompt, n)]

    def show(self, n: int) -> None:
        """As many as the model can read, the least alike left out first."""
        for i, prompt in enumerate(self.prompts):
            known = self.bank.nearest(prompt, n)
            longer = (examples.shown(prompt, known[:k][::-1]) for k in range(len(known), 0, -1))
            self.shown[i] = next(filter(self.tools.readable, longer), prompt)

    def _as_shown(self, i: int, prompt: str) -> str:
        """How a prompt of a problem is asked: its own with examples, what follows from an answer as it stands."""
        return self.shown[i] if prompt == self.prompts[i] else prompt

    def retry(self, by: str, times: int, temperature: str) -> None:
        for number in range(self.round, self.round + times):
            failing = [i for i in range(len(self.prompts)) if self._passing(by, i) is None]
            if not failing:
                break
            asked = [self.shown[i] for i in failing]
            again = self.ask(asked, 1, float(temperature), derive_seed(self.seed, "retry", number))
            for i, texts in zip(failing, again, strict=True):
                self.pools[i].append(Attempt(texts[0], ((self.prompts[i], texts[0]),)))
        for i, pool in enumerate(self.pools):
            if place := self._passing(by, i):
                pool.insert(0, pool.pop(place))

    def _passing(self, by: str, i: int) -> int | None:
        """Place of the first attempt that passes."""
        passing = (k for k, a in enumerate(self.pools[i]) if self.tools.passes(by, self.prompts[i], a.text))
        return next(passing, None)

    def advance(self, times: int, n: int, temperature: str) -> None:
        """A step that did not run is asked for again, by sampling."""
        ways = {i: _Way(prompt) for i, prompt in enumerate(self.prompts)}
        for i, pool in enumerate(self.pools):
            if pool:
                ways[i].take([pool[0].text], self.tools.advance, own=bool(pool[0].made))
        for number in range(self.round, self.round + times):
            going = [i for i, way in ways.items() if way.now is not None]
            fresh = [i for i in going if n == 1 and not ways[i].stuck]
            warm = [i for i in going if n > 1 or ways[i].stuck]
            sampled = float(temperature) if n > 1 else max(self.explore, float(temperature))
            for group, heat in ((fresh, self.explore), (warm, sampled)):
                if not group:
                    continue
                asked = [self._as_shown(i, ways[i].now or "") for i in group]
                found = self.ask(asked, n, heat, derive_seed(self.seed, "step", number))
                for i, texts in zip(group, found, strict=True):
                    ways[i].take(texts, self.tools.advance)
        for i, pool in enumerate(self.pools):
            pool[:1] = [Attempt("\n".join(ways[i].kept) or ways[i].first, tuple(ways[i].made))]

    def repair(self, times: int, temperature: str) -> None:
        """A fix is first asked for greedily, then by sampling.

        What is learned from are the fixes, each with the failed attempt and its failure in the prompt, and the first
        prompt with the answer that came out in the end; never the failed attempt.
        """
        work = [_Repair.of(p, pool, self.tools.revise) for p, pool in zip(self.prompts, self.pools, strict=True)]
        for number in range(self.round, self.round + times):
            going = [i for i, repair in enumerate(work) if not repair.done]
            for group, heat in (
                ([i for i in going if not work[i].stuck], self.explore),
                ([i for i in going if work[i].stuck], max(self.explore, float(temperature))),
            ):
                if not group:
                    continue
                asked = [work[i].ask(self.prompts[i]) for i in group]
                sent = [self._as_shown(i, prompt) for i, prompt in zip(group, asked, strict=True)]
                found = self.ask(sent, 1, heat, derive_seed(self.seed, "revise", number))
                for i, prompt, texts in zip(group, asked, found, strict=True):
                    work[i].take(prompt, texts[0], self.tools.revise(prompt, texts[0]))
        for prompt, pool, repair in zip(self.prompts, self.pools, work, strict=True):
            pool.remove(repair.first)
            pool.insert(0, repair.result(prompt, self.tools.revise))


class _Way:
    """The way of one prompt, step by step: what was kept so far, and what is left; ``None`` when nothing is."""

    def __init__(self, prompt: str) -> None:
        self.now: str | None = prompt
        self.first = ""
        self.stuck = False
        self.kept: list[str] = []
        self.made: list[Step] = []

    def take(self, texts: Sequence[str], advance: Advance, own: bool = True) -> None:
        """One step further by one of the answers, if any of them runs; only the model's own are learned from."""
        assert self.now is not None
        self.first = self.first or texts[0]
        ran = [(kept, left) for kept, left in (advance(self.now, text) for text in texts) if kept]
        self.stuck = not ran
        if not ran:
            return
        lefts = [left for _, left in ran]
        left = None if None in lefts else _most_frequent(lefts)
        self.kept.append(ran[lefts.index(left)][0])
        self.made += [(self.now, self.kept[-1])] if own else []
        self.now = left


@dataclass
class _Repair:
    """The work on one prompt: where it began, the best so far, and the fixes that led there."""

    first: Attempt
    best: Revised | None
    fixes: list[Step]
    stuck: int = 0

    @classmethod
    def of(cls, prompt: str, pool: Sequence[Attempt], revise: Revise) -> _Repair:
        """Begin with the attempt that fails least; with the first where nothing can be tested."""
        tested = [(a, revise(prompt, a.text)) for a in pool]
        first, best = min(tested, key=lambda pair: pair[1].faults if pair[1] else (0, 0))
        return cls(first, best, [])

    @property
    def done(self) -> bool:
        """Nothing fails, or nothing can be tested."""
        return self.best is None or self.best.faults == (0, 0)

    def ask(self, prompt: str) -> str:
        """What to ask next: for a fix of the best answer; every other time that this led nowhere, afresh."""
        told = self.best.prompt if self.best else None
        return prompt if told is None or self.stuck % 2 else told

    def take(self, asked: str, output: str, revised: Revised | None) -> None:
        """Keep an answer with fewer faults than the best; the fix that led there is worth learning."""
        if self.best is None or revised is None or not revised.whole or revised.faults >= self.best.faults:
            self.stuck += 1
            return
        self.fixes.append((asked, output))
        self.best, self.stuck = revised, 0

    def result(self, prompt: str, revise: Revise) -> Attempt:
        """The best, as an answer to the first prompt."""
        final = revise(prompt, self.best.whole) if self.best and self.fixes else None
        if final is None:
            return self.first
        return Attempt(final.brief, (*(fix for fix in self.fixes if fix[0] != prompt), (prompt, final.brief)))


def _most_frequent(items: Sequence[Any]) -> Any:
    """The earliest of those that come most often."""
    counts = Counter(items)
    return max(items, key=lambda item: counts[item])

"""The judge's process: ``python -m evolvent.judge.server --folder F --store S --task NAME``.

Reads JSON frames on standard input and answers on standard output. It keeps a folder of its own (mode 0700) with the
secret and the evidence. A finished answer is stored under its question, durably, before it is given; the same question
gets the same answer, also after a kill, so crashing the judge buys no second try.

Only a decision, a class-level reason and a hash are an answer. While a question is open, progress tells people how many
items were drawn and how far the test in question has come; no step of the loop reads it. Without kernel isolation the
answer is never accept.

Not here: the rule (`gate.py`), running models (`bench.py`), the levels and the ledger (the loop's).
"""

from __future__ import annotations

import argparse
import ctypes
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evolvent import tasks
from evolvent.errors import ModelRefused, SandboxError, UnsafeError
from evolvent.judge.bench import Bench, Block, ItemSource, TwinBench
from evolvent.judge.folder import JudgeFolder
from evolvent.judge.gate import Gate, Pair, PairedGate, Stage, items_used, standing_stages
from evolvent.judge.process import SECRET_VARIABLE
from evolvent.judge.questions import Question, SealedQuestion, StandingQuestion
from evolvent.judge.separation import network_is_gone
from evolvent.judge.serving import serve
from evolvent.sandbox import KERNEL, running, write_json
from evolvent.store import Store
from evolvent.types import Candidate, Decision, content_hash, dec

__all__ = ["JudgeServer", "main"]

_PATH_POINTS = 60
_LOG_E_DIGITS = 15  # so that whoever computes it again can hold it to 1e-9
_PR_SET_DUMPABLE = 4
_LOW_PID = 2  # of a process tree of our own; in the machine's, these numbers are the kernel's
Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class _Draws:
    """Items of one question, and the differences of its pairs so far."""

    question: Question | StandingQuestion
    subject: Json
    references: Mapping[str, Json]
    label: str
    items: ItemSource
    bench: TwinBench
    blocks: dict[str, list[Block]]
    outcomes: dict[Pair, NDArray[np.int8]]

    def extend(self, pair: Pair) -> None:
        """Run one more block of a pair: on items that another pair has drawn already, else on fresh ones."""
        known = self.outcomes.get(pair, np.zeros(0, np.int8))
        blocks = self.blocks.setdefault(pair.skill, [])
        index = len(known) // self.question.block_items
        if index == len(blocks):
            count = min(self.question.block_items, self.question.max_items - items_used(self.outcomes))
            name = _version(self.subject)
            drawn = self.items.draw(
                candidate=name, slot=self.label, skill=pair.skill, split="gate", index=index, count=count
            )
            blocks.append(drawn)
        limit = self.question.max_new_tokens
        right = self.bench.score(self.subject, blocks[index], limit).astype(np.int8)
        other = self.bench.score(self.references[pair.against], blocks[index], limit).astype(np.int8)
        self.outcomes[pair] = np.concatenate([known, right - other])

    def items_by_skill(self) -> dict[str, int]:
        """Problems drawn, by skill."""
        return {skill: sum(len(block.problems) for block in blocks) for skill, blocks in sorted(self.blocks.items())}


class JudgeServer:
    """Answers questions, one at a time.

    Args:
        folder: secret and evidence.
        task_name: goes into the evidence.
        items: draws problems.
        bench: runs versions.
        gate: the rule.
        progress: told how many items were drawn, by skill, and how far the test in question has come.
    """

    def __init__(
        self,
        folder: JudgeFolder,
        task_name: str,
        items: ItemSource,
        bench: TwinBench,
        *,
        gate: Gate | None = None,
        progress: Callable[[Json], None] = lambda fields: None,
    ) -> None:
        self._folder, self._task_name, self._items, self._bench = folder, task_name, items, bench
        self._gate = gate or PairedGate()
        self._progress = progress

    def decide(self, question: Question) -> Json:
        """Decision, reason, evidence hash and isolation for a candidate."""
        stored, key = self._stored("decide", question.plain(), f"slot-{question.slot}")
        if stored is not None:
            return stored
        self._clear((question.incumbent, question.anchor))
        isolation = self._bench.isolation
        draws = self._draws(
            question,
            question.candidate,
            {"incumbent": question.incumbent, "anchor": question.anchor},
            str(question.slot),
        )
        stages: tuple[Stage, ...] = ()
        consistency: Json = {}
        error = ""
        if isolation == KERNEL:
            try:
                decision, reason, stages = self._rule(question, draws)
                consistency = self._consistency(question, draws)
            except ModelRefused as exc:
                decision, reason, error = Decision.ABSTAIN, "model_refused", exc.kind
            except SandboxError as exc:
                # The slot is finished by this: a candidate that fells its worker gets no second try.
                decision, reason, error = Decision.ABSTAIN, "sandbox_failed", type(exc).__name__
                print(f"judge: slot {question.slot}: {exc}", file=sys.stderr)  # its words may differ between runs
        else:
            # No item was drawn, so the question stays open for a machine that can isolate.
            decision, reason, key = Decision.ABSTAIN, f"isolation:{isolation}", ""
        answer = {"decision": decision.value, "reason": reason, "isolation": self._tiers(isolation)}
        evidence = {**self._evidence(draws, answer, stages, error), "consistency": consistency}
        return self._folder.save(key, evidence, answer)

    def forfeit(self, question: Question) -> Json:
        """End a slot whose question felled the judge each time: an answer that is no pass, and no other, ever.

        Nothing of the items is told, so an asker that forfeits without need only loses its slot.
        """
        stored, key = self._stored("decide", question.plain(), f"slot-{question.slot}")
        if stored is not None:
            return stored
        draws = self._draws(question, question.candidate, {}, str(question.slot))
        answer = {"decision": Decision.ABSTAIN.value, "reason": "judge_failed", "isolation": "none"}
        return self._folder.save(key, {**self._evidence(draws, answer, (), "judge_failed"), "tokens": 0}, answer)

    def standing(self, question: StandingQuestion) -> Json:
        """Whether the champion has become worse than the reference, with the evidence's hash."""
        stored, key = self._stored("standing", question.plain(), f"standing-{question.number}")
        if stored is not None:
            return stored
        self._clear((question.champion, question.reference))
        self._isolated()
        draws = self._draws(question, question.champion, {"anchor": question.reference}, f"standing{question.number}")
        stages = standing_stages(question, draws.outcomes)
        alarm = False
        while not alarm and items_used(draws.outcomes) < question.max_items:
            still_open = [stage for stage in stages if stage.outcome == "open"]
            if not still_open:
                break
            draws.extend(min(still_open, key=lambda stage: stage.num_items).pair)
            stages = standing_stages(question, draws.outcomes)
            self._tell(draws, min(_looked_at(stages), key=_shortfall, default=None))  # the nearest to an alarm
            alarm = any(stage.outcome == "inferior" for stage in stages)
        answer = {"alarm": alarm, "isolation": self._tiers(self._bench.isolation)}
        return self._folder.save(key, self._evidence(draws, answer, stages, ""), answer)

    def sealed(self, question: SealedQuestion) -> Json:
        """Counts of seed and champion on the sealed split, by skill."""
        stored, key = self._stored("sealed", question.plain(), f"sealed-{_version(question.champion)}")
        if stored is not None:
            return stored
        self._clear((question.champion,))
        self._isolated()
        skills: dict[str, dict[str, int]] = {}
        for skill, count in sorted(question.counts.items()):
            skills[skill] = self._sealed_skill(question, skill, count)
        answer = {"skills": skills, "isolation": self._tiers(self._bench.isolation)}
        labels = {"task": self._task_name, "commitment": self._folder.commitment}
        evidence = {**labels, "question": question.plain(), "tokens": self._bench.tokens, **answer}
        return self._folder.save(key, evidence, answer)

    def _sealed_skill(self, question: SealedQuestion, skill: str, count: int) -> dict[str, int]:
        names = ("n", "seed_correct", "champion_correct", "wins", "losses", "seed_tokens", "champion_tokens")
        counts: dict[str, int] = dict.fromkeys(names, 0)
        for index in range(-(-count // question.block_items)):
            block = self._items.draw(
                candidate=_version(question.champion),
                slot=_version(question.seed_candidate),
                skill=skill,
                split="sealed",
                index=index,
                count=min(question.block_items, count - counts["n"]),
            )
            before = self._bench.tokens
            seed = self._bench.score(question.seed_candidate, block, question.max_new_tokens)
            between = self._bench.tokens
            champion = self._bench.score(question.champion, block, question.max_new_tokens)
            counts["seed_tokens"] += between - before
            # The same version under another name answers once.
            counts["champion_tokens"] += (self._bench.tokens - between) or (between - before)
            counts["n"] += len(seed)
            counts["seed_correct"] += int(seed.sum())
            counts["champion_correct"] += int(champion.sum())
            counts["wins"] += int((champion & ~seed).sum())
            counts["losses"] += int((seed & ~champion).sum())
            self._progress({"items": {skill: counts["n"]}})
        return counts

    def _isolated(self) -> None:
        """Refuse what has no way to abstain where nothing holds a version back; the question stays open."""
        if self._bench.isolation != KERNEL:
            raise UnsafeError(
                f"judge: expected isolation '{KERNEL}', got '{self._bench.isolation}'; see `evolvent doctor`"
            )

    def _clear(self, keep: Sequence[dict[str, Any]]) -> None:
        self._bench.clear(keep=keep)
        running.tiers(forget=True)

    def _tiers(self, isolation: str) -> str:
        """Where the versions ran and, behind a plus sign, where the code that they wrote did, if any was run."""
        return "+".join((isolation, *running.tiers()))

    def _rule(self, question: Question, draws: _Draws) -> tuple[Decision, str, tuple[Stage, ...]]:
        while True:
            ruling = self._gate.rule(question, draws.outcomes)
            if ruling.decision is not None:
                return ruling.decision, ruling.reason, ruling.stages
            assert ruling.draw is not None, "a ruling decides or draws"
            self._tell(draws, max(_looked_at(ruling.stages), key=_shortfall, default=None))  # the most doubtful
            draws.extend(ruling.draw)

    def _consistency(self, question: Question, draws: _Draws) -> Json:
        """How often the candidate repeats itself on the first target items, and how often it is right if it does.

        For people: whether its agreement with itself can be read as confidence (calibration). No decision reads it; it
        costs one more block.
        """
        block = draws.blocks[question.target][0]
        right = self._bench.score(question.candidate, block, question.max_new_tokens)
        same = self._bench.repeats(question.candidate, block, question.max_new_tokens)
        return {
            "n": len(right),
            "repeated": int(same.sum()),
            "right_if_repeated": int((right & same).sum()),
            "right_if_not": int((right & ~same).sum()),
        }

    def _tell(self, draws: _Draws, stage: Stage | None) -> None:
        """For people: problems drawn so far, and the test in question with its evidence against its threshold.

        An e-process may be looked at any time, and a slot that is open is finished with the same items whoever looked.
        """
        fields: Json = {"items": draws.items_by_skill()}
        if stage is not None:
            plain = _stage_plain(stage)
            fields["test"] = {name: plain[name] for name in ("name", "skill", "against", "threshold_log_e")}
            fields["test"]["path"] = plain["path"][-1:]
        if draws.blocks:
            self._progress(fields)

    def _draws(
        self, question: Question | StandingQuestion, subject: Json, references: Mapping[str, Json], label: str
    ) -> _Draws:
        return _Draws(
            question=question,
            subject=subject,
            references=references,
            label=label,
            items=self._items,
            bench=self._bench,
            blocks={},
            outcomes={},
        )

    def _stored(self, kind: str, question: Json, place: str) -> tuple[Json | None, str]:
        """The answer given before, if any, and the question's key; its place is taken from now on."""
        labels = {"kind": kind, "task": self._task_name, "commitment": self._folder.commitment}
        key = content_hash({**labels, "question": question})
        self._folder.take(place, key)
        return self._folder.answer(key), key

    def _evidence(self, draws: _Draws, answer: Json, stages: tuple[Stage, ...], error: str) -> Json:
        return {
            "task": self._task_name,
            "commitment": self._folder.commitment,
            "question": draws.question.plain(),
            **answer,
            "stages": [_stage_plain(stage) for stage in stages],
            "differences": {
                f"{pair.skill}:{pair.against}": "".join("-0+"[value + 1] for value in values.tolist())
                for pair, values in sorted(draws.outcomes.items())
            },
            "items": draws.items_by_skill(),
            "tokens": self._bench.tokens,
            "error": error,
        }


def main() -> None:
    """Entry of the process."""
    parser = argparse.ArgumentParser(prog="python -m evolvent.judge.server", description="The judge's process.")
    parser.add_argument("--folder", type=Path, required=True, help="the judge's own folder")
    parser.add_argument("--store", type=Path, required=True, help="root of the artifact store")
    parser.add_argument("--task", required=True, help="registered task, or package.module:name")
    parser.add_argument(
        "--worker", default="evolvent.observe.worker", help="rollout worker: module, or path ending in .py"
    )
    parser.add_argument("--threads", type=int, default=1, help="threads of a rollout worker")
    parser.add_argument("--workers", type=int, default=2, help="rollout workers: 1, or 2 side by side")
    options = parser.parse_args()
    secret = _close_the_shutters()
    # Frames own the real standard output; what a task prints must not land between them.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    task = tasks.load(options.task)
    folder = JudgeFolder(options.folder.resolve(), secret)
    folder.hold()
    running.insist([folder.root])
    worker = [
        sys.executable,
        *([] if options.worker.endswith(".py") else ["-m"]),
        options.worker,
        "--task",
        options.task,
    ]
    benches = [
        Bench(task, Store(options.store), worker, hidden=[folder.root], threads=options.threads)
        for _ in range(min(2, options.workers))
    ]
    with TwinBench(benches[0], benches[-1]) as bench:
        server = JudgeServer(
            folder,
            options.task,
            ItemSource(folder.secret, task),
            bench,
            progress=lambda fields: write_json(answers, {"progress": fields}),
        )
        try:
            write_json(answers, {"ready": True, "commitment": folder.commitment, **_surroundings()})
            bench.warm()  # while the first candidate is still being built
            serve(server, folder, sys.stdin.buffer, answers)
        except BrokenPipeError:
            pass  # the asker is gone; it will ask again


def _surroundings() -> Json:
    """What keeps this process apart, as it finds it."""
    return {"user": os.geteuid(), "network": not network_is_gone(), "tree": os.getpid() <= _LOW_PID}


def _close_the_shutters() -> bytes | None:
    """Take the injected secret out of the environment, and keep other processes of this user out of our memory."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    text = os.environ.pop(SECRET_VARIABLE, "")
    return bytes.fromhex(text) if text else None


def _looked_at(stages: Sequence[Stage]) -> list[Stage]:
    return [stage for stage in stages if stage.outcome == "open" and stage.num_items]


def _shortfall(stage: Stage) -> float:
    return stage.shortfall


def _stage_plain(stage: Stage) -> Json:
    shown = np.unique(np.linspace(0, stage.num_items - 1, min(stage.num_items, _PATH_POINTS)).round().astype(int))
    return {
        "name": stage.name,
        "skill": stage.pair.skill,
        "against": stage.pair.against,
        "alpha": stage.alpha,
        "threshold_log_e": dec(stage.threshold_log_e, _LOG_E_DIGITS),
        "path": [[int(i) + 1, dec(float(stage.path[i]), _LOG_E_DIGITS)] for i in shown],
        "n": stage.num_items,
        "wins": stage.wins,
        "losses": stage.losses,
        "outcome": stage.outcome,
    }


def _version(plain: Json) -> str:
    return Candidate(**plain).hash


if __name__ == "__main__":
    main()

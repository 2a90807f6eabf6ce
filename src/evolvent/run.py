"""A run: a folder with settings, ledger, store and judge, and what people do with it.

``<folder>/evolvent.yaml ledger.sqlite store/ judge/ signing/``. `evolvent init` writes the settings, `Run.open` finds
them; the command line does nothing that Python cannot. Acting commands (`go`, `promote`, `rollback`, `report`) hold the
controller's token; reading ones do not.

Not here: the turn (`loop.py`), how things look (`report/`, `cli.py`).
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from evolvent import plan, registry, tasks
from evolvent.dev import DevSet
from evolvent.errors import BudgetSpent, GateRefused, UsageError
from evolvent.inputs import check_inputs, gold_bytes, seed_files
from evolvent.jobs import JobEngine
from evolvent.judge.client import JudgeClient
from evolvent.judge.questions import SealedQuestion
from evolvent.ledger import Ledger
from evolvent.loop import Loop, Payload
from evolvent.memory.effects import Effects
from evolvent.operators.base import Operator
from evolvent.plan import CONFIG_NAME, Settings
from evolvent.propose.bandit import BanditProposer, RandomProposer
from evolvent.scaffold import programs
from evolvent.signing import Signer
from evolvent.state import CHANGES, State, certified_after, champions
from evolvent.store import Store
from evolvent.types import Candidate, Event, Genome, Goal
from evolvent.witness import Notary

LEDGER, STORE, JUDGE, TASKS, SIGNING = "ledger.sqlite", "store", "judge", "tasks", "signing"
SIGNED_AFTER = frozenset({"turn.ended", "promoted", "rolled_back", "reported", "run.stopped"})
Watch = Callable[[Event], None]
Stage = Callable[[str, Payload], None]


class Run:
    """One run in one folder.

    Args:
        folder: where it lives.
        settings: resolved settings.
    """

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.folder, self.settings = folder, settings
        self.store = Store(folder / STORE)

    @classmethod
    def open(cls, folder: Path | str) -> Run:
        """The run of a folder; its `evolvent.yaml` must be there.

        Raises:
            UsageError: no settings, or settings that do not validate.
        """
        folder = Path(folder)
        settings = plan.load(folder / CONFIG_NAME)
        if ":" in settings.task:
            _find_tasks_in(folder.resolve() / TASKS)
        return cls(folder, settings)

    # -- reading -------------------------------------------------------------------------------------------------------

    def ledger(self, *, create: bool = False) -> Ledger:
        """The ledger. Settings that were edited after the start are refused: a run has one change plan."""
        ledger = Ledger.open(self.folder / LEDGER, self.settings.run_id if create else None, create=create)
        started = ledger.get("run")
        if started is not None and started.payload["config"] != self.settings.model_dump():
            ledger.close()
            raise UsageError(
                f"{self.folder / CONFIG_NAME}: was changed after the run began; a run keeps its settings. "
                f"Restore the file, or start a new folder"
            )
        return ledger

    def state(self, ledger: Ledger) -> State:
        """The fold, from the newest snapshot on."""
        snapshot = ledger.load_snapshot("state")
        state, after = (State.from_plain(snapshot[1]), snapshot[0]) if snapshot else (State(), 0)
        for event in ledger.events(after):
            state.apply(event)
        return state

    def evidence(self, name: str) -> dict[str, Any]:
        """A verdict's evidence, opened after the fact from the judge's folder.

        Raises:
            UsageError: there is none by that name.
        """
        path = self.folder / JUDGE / "evidence" / f"{name}.json"
        if not name or "/" in name or not path.is_file():
            raise UsageError(f"evidence: none named {name!r} under {path.parent}")
        try:
            return dict(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError) as exc:
            raise UsageError(f"{path}: cannot be read as evidence ({type(exc).__name__}); `evolvent audit`") from None

    # -- acting --------------------------------------------------------------------------------------------------------

    def go(
        self,
        *,
        turns: int | None = None,
        memory: Path | None = None,
        on_event: Watch = lambda event: None,
        on_stage: Stage = lambda stage, fields: None,
        secret_hex: str | None = None,
    ) -> State:
        """Start or resume, and work until the goal is reached by dev, its turns are done, or a limit is reached.

        Args:
            turns: stop after this turn, whatever the goal says.
            memory: effects exported by an earlier run; only at the start.
            on_event: told of each event.
            on_stage: told what is going on.
            secret_hex: the judge's secret, for tests.

        Raises:
            BudgetSpent: a limit is reached; recorded, resume after raising it in a new run.
        """
        with self.working(on_event=on_event, on_stage=on_stage, secret_hex=secret_hex, memory=memory) as loop:
            last = self.settings.goal.turns if turns is None else turns
            target, wanted = self.settings.plan.target, self.settings.goal.gain_points
            try:
                reason = ""
                while not reason and loop.state.turn < last:
                    loop.turn()
                    reason = loop.state.goal_reached(target, wanted) if turns is None else ""
            except BudgetSpent as exc:
                reason = f"budget: {exc.unit}"
                loop.once("run.stopped", f"stopped/{loop.state.turn}/{exc.unit}", lambda: {"reason": reason})
                raise
            reason = reason or f"{last} turns done"
            loop.once("run.stopped", f"stopped/{loop.state.turn}", lambda: {"reason": reason})
            return loop.state

    @contextmanager
    def working(
        self,
        *,
        on_event: Watch = lambda event: None,
        on_stage: Stage = lambda stage, fields: None,
        secret_hex: str | None = None,
        memory: Path | None = None,
    ) -> Iterator[Loop]:
        """The loop with everything that it needs, under the controller's token; all of it ends with the block."""
        settings = self.settings
        task = tasks.load(settings.task)
        _check_skills(settings, task.skills)
        _check_scaffold(settings.scaffold)
        operators = load_operators(settings.plan.operators)
        if not (self.folder / LEDGER).is_file():
            check_inputs(settings, self.folder)  # before anything is written that would hold on to a mistake
        ledger = self.ledger(create=True)
        judge = JudgeClient(
            self.folder / JUDGE,
            self.folder / STORE,
            settings.task,
            secret_hex=secret_hex,
            threads=settings.threads,
            workers=min(2, settings.workers),
            on_progress=lambda fields: on_stage("judging", fields),
        )
        engine = JobEngine(
            self.store,
            workers=settings.workers,
            threads=settings.threads,
            on_report=lambda *_: None,
        )
        try:
            with ledger, engine, judge:
                ledger.acquire()
                notary = self.notary(ledger)
                self._missed(notary.publish(must=True), on_stage)
                loop = Loop(
                    ledger=ledger,
                    store=self.store,
                    engine=engine,
                    judge=judge,
                    settings=settings,
                    operators=operators,
                    proposer=BanditProposer() if settings.proposer == "bandit" else RandomProposer(),
                    state=self.state(ledger),
                    gold=self._gold(),
                    dev=DevSet(engine=engine, store=self.store, settings=settings, skills=tuple(task.skills)),
                    max_new_tokens=task.max_output_tokens,
                    on_event=self._signing(notary, on_event, on_stage),
                    on_stage=on_stage,
                )
                self._begin(loop, judge, memory)
                yield loop
        finally:
            judge.close()

    @property
    def witnesses(self) -> list[Path]:
        """Folders that are told of each signed head; relative ones start at the run's own."""
        return [self.folder / Path(place).expanduser() for place in self.settings.witness]

    def notary(self, ledger: Ledger) -> Notary:
        """Who signs the heads of this run, with the key that the settings name or one of its own."""
        own, named = self.folder / SIGNING, self.settings.signing_key
        signer = Signer.read(self.folder / named) if named else Signer.own(own / "key.pem")
        return Notary(ledger, signer, own, self.witnesses)

    def _signing(self, notary: Notary, on_event: Watch, on_stage: Stage) -> Watch:
        """`on_event`, and a signed head where one is due: after what counts, and before anything is promoted."""

        def told(event: Event) -> None:
            on_event(event)
            accepted = event.kind == "verdict" and event.payload["verdict"]["decision"] == "accept"
            if accepted or event.kind in SIGNED_AFTER:
                self._missed(notary.publish(must=accepted), on_stage)

        return told

    def _missed(self, failed: list[str], on_stage: Stage) -> None:
        if failed:
            on_stage("witness", {"failed": failed})

    def promote(self, version: str, *, by: str, reason: str, on_event: Watch = lambda event: None) -> None:
        """Make a version champion by a person's word, whatever the judge said. Recorded as forced.

        Raises:
            UsageError: no built version begins with these letters.
            GateRefused: it is champion already.
        """
        with self.ledger() as ledger:
            ledger.acquire()
            built = find_version(ledger, version)
            state = self.state(ledger)
            if built["version"] == state.champion:
                raise GateRefused(f"promote: {built['version'][:12]} is the champion already")
            said = ledger.get(f"{built['id']}/verdict") if "id" in built else None
            payload = {
                "id": built.get("id", "seed"), "version": built["version"], "parent": state.champion, "forced": True,
                "by": by, "plan": self.settings.plan.hash, "clause": "person", "reason": reason,
                "objection": said.payload["verdict"]["reason"] if said else "", "candidate": built["candidate"],
                "policy": built["policy"], "evidence": said.payload["verdict"]["evidence"] if said else "",
            }  # fmt: skip
            notary = self.notary(ledger)
            notary.publish(must=True)
            key = f"forced/{ledger.head()[0]}"
            on_event(ledger.append("promoted", payload, actor="human", key=key))
            notary.publish()

    def rollback(
        self, *, by: str, to: str = "", reason: str = "asked for", on_event: Watch = lambda event: None
    ) -> str:
        """Give the champion's place back: to the version named, or to the last that no standing check took down.

        Returns that version.

        Raises:
            UsageError: nothing to roll back to, or unknown version.
            GateRefused: the version named was never champion.
        """
        with self.ledger() as ledger:
            ledger.acquire()
            state = self.state(ledger)
            changes = list(ledger.events(kinds=CHANGES))
            order, fell = champions(changes)
            before = (version for version in reversed(order) if version != state.champion and version not in fell)
            target = find_version(ledger, to or next(before, state.champion))
            name = target["version"]
            if name == state.champion:
                raise UsageError("rollback: there is no other version to go back to; `evolvent lineage` lists them")
            if name not in order:
                how = f"`evolvent promote {name[:8]} --force --reason TEXT`"
                raise GateRefused(f"rollback: {name[:12]} was never champion; {how} makes it so")
            plain = {"candidate": target["candidate"], "policy": target["policy"]}
            certified = certified_after(changes, leaving=state.champion, to=name)
            payload = {"from": state.champion, "to": name, "by": by, "certified": certified, "reason": reason, **plain}
            on_event(ledger.append("rolled_back", payload, actor="human", key=f"rollback/{ledger.head()[0]}"))
            self.notary(ledger).publish()
            return name

    def seal(self, loop: Loop, judge: Any, counts: Mapping[str, int]) -> dict[str, dict[str, int]]:
        """Open the sealed split once for this champion: seed against champion on the same problems."""
        state = loop.state
        question = SealedQuestion(
            seed_candidate=state.versions[state.seed]["candidate"],
            champion=state.versions[state.champion]["candidate"],
            counts=dict(counts),
            block_items=256,
            max_new_tokens=loop.max_new_tokens,
        )
        opened = loop.once("sealed.opened", f"sealed/{state.champion}", lambda: {"question": question.plain()})
        question = SealedQuestion.from_plain(opened["question"])  # what was committed first is what is asked
        loop.on_stage("sealed", dict(counts))
        return dict(
            loop.once("reported", f"reported/{state.champion}", lambda: judge.sealed(question), actor="judge")["skills"]
        )

    # -- beginning -----------------------------------------------------------------------------------------------------

    def _begin(self, loop: Loop, judge: JudgeClient, memory: Path | None) -> None:
        settings = self.settings
        config = settings.model_dump()
        loop.once("run.started", "run", lambda: {
            "config": config, "task": settings.task, "seed": settings.seed, "plan": settings.plan.hash,
            "goal": Goal(skill=settings.plan.target, **settings.goal.model_dump()).plain(),
        })  # fmt: skip
        loop.once("judge.sealed", "judge", lambda: {"commitment": judge.commitment}, actor="judge")
        committed = loop.ledger.get("judge")
        if committed is not None and committed.payload["commitment"] != judge.commitment:
            raise UsageError(
                f"{self.folder / JUDGE}: the judge's secret is not the one this run began with; restore the folder"
            )
        if memory is not None and loop.ledger.get("memory") is None:
            if loop.state.turn or loop.state.slots:
                raise UsageError("memory: is handed over at the start of a run, and this one has begun")
            effects = _read_memory(memory)
            loop.once("memory.imported", "memory", lambda: {"memory": effects.plain()})
        loop.once("seed.imported", "seed", self._import_seed)

    def _import_seed(self) -> Payload:
        files = seed_files(self.settings.model)
        size = check_inputs(self.settings, self.folder)
        model = self.store.put_tree(files, "model", {"parameters": size})
        genome = Genome(architecture={"base": model})
        scaffold = dict(self.settings.scaffold)
        candidate = Candidate(model=model, scaffold=scaffold, genome=self.store.put_json(genome.plain()))
        return {
            "version": candidate.hash,
            "candidate": candidate.plain(),
            "policy": {},
            "parameters": size,
            "gold": self._gold(),
        }

    def _gold(self) -> str:
        data = gold_bytes(self.settings, self.folder)
        return self.store.put_bytes(data) if data else ""


def _find_tasks_in(folder: Path) -> None:
    """Let a task named ``module:function`` lie in the run's `tasks/`; workers and judge inherit the path.

    A folder of its own, because the sandboxed worker may read it, and must not read what lies beside it.
    """
    known = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if str(folder) not in known:
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (*known, str(folder))))
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


def load_operators(names: list[str]) -> dict[str, Operator]:
    """The operators of a change plan and the probes, by registered name or ``module:function``.

    Raises:
        UsageError: a name is not registered, or its module does not load.
    """
    wanted = dict.fromkeys([*names, "null", "planted_regression"])
    return {n: (registry.resolve(n) if ":" in n else registry.load(registry.OPERATORS, n))() for n in wanted}


def find_version(ledger: Ledger, prefix: str) -> Payload:
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


def _read_memory(path: Path) -> Effects:
    try:
        return Effects.from_plain(json.loads(path.read_text(encoding="utf-8")), str(path))
    except (OSError, UnicodeDecodeError, ValueError) as exc:
        raise UsageError(f"{path}: cannot be read as a memory: {exc}") from None


def _check_scaffold(scaffold: Mapping[str, Any]) -> None:
    try:
        programs.check(dict(scaffold))
    except ValueError as exc:
        raise UsageError(f"{CONFIG_NAME}: {exc}") from None


def _check_skills(settings: Settings, skills: tuple[str, ...]) -> None:
    for skill in settings.plan.protected:
        if skill not in skills:
            raise UsageError(f"plan.protected: the task has skills {', '.join(skills)}, not {skill!r}")

"""A run: a folder with settings, ledger, store and judge, and what people do with it.

``<folder>/evolvent.yaml ledger.sqlite store/ judge/ signing/``. `evolvent init` writes the settings, `Run.open` finds
them; the command line does nothing that Python cannot. Acting commands (`go`, `promote`, `rollback`, `report`) hold the
controller's token; reading ones do not.

Not here: the turn (`loop.py`), how things look (`report/`, `cli.py`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from evolvent import champions, named, people, plan, steering, tasks
from evolvent.dev import DevSet
from evolvent.errors import BudgetSpent, GateRefused, PersonAwaited, UsageError
from evolvent.inputs import check_inputs, gold_bytes, seed_files
from evolvent.jobs import JobEngine
from evolvent.judge.client import JudgeClient
from evolvent.judge.questions import SealedQuestion
from evolvent.judge.remote import RemoteJudge
from evolvent.judge.separation import House
from evolvent.judge.wire import KEY_VARIABLE, address_of, read_key
from evolvent.ledger import Ledger
from evolvent.loop import Loop, Payload
from evolvent.memory.memory import Memory
from evolvent.plan import CONFIG_NAME, Settings
from evolvent.proposers import load_proposers
from evolvent.provenance.keeper import Keeper
from evolvent.provenance.versions import find_version
from evolvent.state import State
from evolvent.store import Store
from evolvent.types import Candidate, Event, Genome

LEDGER, STORE, JUDGE, TASKS, SIGNING = "ledger.sqlite", "store", "judge", "tasks", "signing"
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
            named.find_tasks_in(folder.resolve() / TASKS)
        return cls(folder, settings)

    # -- reading -------------------------------------------------------------------------------------------------------

    def ledger(self, *, create: bool = False) -> Ledger:
        """The ledger. Settings that were edited after the start are refused: a run has one change plan."""
        ledger = Ledger.open(self.folder / LEDGER, self.settings.run_id if create else None, create=create)
        started = ledger.get("run")
        if started is not None and started.payload["config"] != self.settings.recorded():
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

    def judge(
        self,
        *,
        secret_hex: str | None = None,
        on_progress: Callable[[Payload], None] = lambda fields: None,
        patience_s: float = 60.0,
    ) -> JudgeClient:
        """The run's judge, on this machine or where the settings say; nothing is started or reached yet.

        Args:
            secret_hex: the secret of one on this machine, for tests.
            on_progress: told what it tells while it works.
            patience_s: seconds after which one on another host is given up.

        Raises:
            UsageError: the key of a judge on another host cannot be read.
        """
        where, settings = self.settings.judge, self.settings
        if where.url:
            key = read_key(self.folder / where.key if where.key else None, KEY_VARIABLE)
            address = address_of(where.url.removeprefix("judge://"), "judge.url")
            copies = self.folder / JUDGE / "evidence"
            link = RemoteJudge(
                address, key, store=self.store, run=settings.run_id, copies=copies, patience_s=patience_s,
                silence_s=where.silence_seconds,
            )  # fmt: skip
            return JudgeClient.over(link, on_progress)
        house = House(
            user=where.user, network=where.network, silence_s=where.silence_seconds, threads=settings.threads,
            workers=min(2, settings.workers),
        )  # fmt: skip
        return JudgeClient(
            self.folder / JUDGE, self.folder / STORE, settings.task, secret_hex=secret_hex, on_progress=on_progress,
            house=house,
        )  # fmt: skip

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
        """Start or resume, and work until the goal is reached by dev or given up, or a limit is reached.

        It also ends, and says so in the last event, where it waits for a person without a deadline.

        Args:
            turns: stop after this turn, whatever the goal says.
            memory: what an earlier run exported; only at the start.
            on_event: told of each event.
            on_stage: told what is going on.
            secret_hex: the judge's secret, for tests.

        Raises:
            BudgetSpent: a limit is reached; recorded, resume after raising it in a new run.
        """
        with self.working(on_event=on_event, on_stage=on_stage, secret_hex=secret_hex, memory=memory) as loop:
            try:
                while not (reason := steering.ending(loop, turns)):
                    people.between_turns(loop)
                    loop.turn()
                people.heed(loop)
                reason = steering.ending(loop, turns) or reason  # what a person approved is measured too
            except PersonAwaited as exc:
                _stop(loop, exc.what, str(exc))
                return loop.state
            except BudgetSpent as exc:
                steering.out_of_budget(loop, exc)
                _stop(loop, exc.unit, f"budget: {exc.unit}")
                raise
            _stop(loop, loop.state.champion[:16], reason)
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
        known = memory and named.read_memory(memory)
        task = tasks.load(settings.task)
        named.check_skills(settings, task.skills)
        named.check_scaffold(settings.scaffold)
        watched = tuple(skill for skill in task.skills if skill in settings.plan.protected)
        operators = named.load_operators(settings.plan.operators, settings.priors)
        named.check_writers(operators, settings.proposers)
        if not (self.folder / LEDGER).is_file():
            named.check_goal(settings, task)
            check_inputs(settings, self.folder)  # before anything is written that would hold on to a mistake
        ledger = self.ledger(create=True)
        judge = self.judge(secret_hex=secret_hex, on_progress=lambda fields: on_stage("judging", fields))
        engine = JobEngine(
            self.store,
            workers=settings.workers,
            threads=settings.threads,
            on_report=lambda *_: None,
            task=settings.task,
        )
        try:
            with ledger, engine, judge:
                ledger.acquire()
                self.store.sweep()
                keeper = self.keeper(ledger, on_stage)
                keeper.begin()
                loop = Loop(
                    ledger=ledger,
                    store=self.store,
                    engine=engine,
                    judge=judge,
                    settings=settings,
                    operators=operators,
                    proposer=load_proposers(settings, lambda heard: loop.heard(heard), lambda: loop.budget.check()),  # noqa: PLW0108 - no loop yet
                    state=self.state(ledger),
                    gold=self._gold(ledger),
                    dev=DevSet(engine=engine, store=self.store, settings=settings, skills=watched),
                    max_new_tokens=task.max_output_tokens,
                    on_event=keeper.after(on_event),
                    on_stage=on_stage,
                )
                self._begin(loop, judge, known)
                yield loop
        finally:
            judge.close()

    @property
    def witnesses(self) -> list[Path]:
        """Folders that are told of each signed head; relative ones start at the run's own."""
        return [self.folder / Path(place).expanduser() for place in self.settings.witness]

    def keeper(self, ledger: Ledger, on_stage: Stage = lambda stage, fields: None) -> Keeper:
        """Who keeps the signed record, with the key that the settings name or one of the run's own."""
        return Keeper(
            ledger,
            self.store,
            self.evidence,
            folder=self.folder / SIGNING,
            key=self.folder / Path(self.settings.signing_key).expanduser() if self.settings.signing_key else None,
            witnesses=self.witnesses,
            missed=lambda failed: on_stage("witness", {"failed": failed}),
        )

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
            keeper = self.keeper(ledger)
            keeper.begin()
            key = f"forced/{ledger.head()[0]}"
            event = ledger.append("promoted", payload, actor="human", key=key)
            on_event(event)
            keeper.told(event)

    def forget(self, *, arm: str, task: str, everything: bool, by: str) -> None:
        """Let the run forget a kind of change, a task's episodes, or all; from the next turn on. Recorded."""
        with self.ledger() as ledger:
            ledger.acquire()
            keeper = self.keeper(ledger)
            keeper.begin()
            payload = {"arm": arm, "task": task, "everything": everything, "by": by}
            keeper.told(ledger.append("memory.forgotten", payload, actor="human", key=f"forgot/{ledger.head()[0]}"))

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
            changes = list(ledger.events(kinds=champions.CHANGES))
            order, fell = champions.in_order(changes)
            before = (version for version in reversed(order) if version != state.champion and version not in fell)
            target = find_version(ledger, to or next(before, state.champion))
            name = target["version"]
            if name == state.champion:
                which = f"{name[:12]} is champion already" if to else "there is no other version to go back to"
                raise UsageError(f"rollback: {which}; `evolvent lineage` lists them")
            if name not in order:
                how = f"`evolvent promote {name[:8]} --force --reason TEXT`"
                raise GateRefused(f"rollback: {name[:12]} was never champion; {how} makes it so")
            plain = {"candidate": target["candidate"], "policy": target["policy"]}
            certified = champions.certified_after(changes, leaving=state.champion, to=name)
            payload = {"from": state.champion, "to": name, "by": by, "certified": certified, "reason": reason, **plain}
            event = ledger.append("rolled_back", payload, actor="human", key=f"rollback/{ledger.head()[0]}")
            on_event(event)
            self.keeper(ledger).told(event)
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

    def _begin(self, loop: Loop, judge: JudgeClient, known: Memory | None) -> None:
        settings = self.settings
        config, code = settings.recorded(), tasks.source_hash(settings.task)
        started = loop.once("run.started", "run", lambda: {
            "config": config, "task": settings.task, "task_code": code, "seed": settings.seed,
            "plan": settings.plan.hash, "goal": steering.goal_of(settings).plain(),
        })  # fmt: skip
        if started.get("task_code", "") != code:
            raise UsageError(
                f"task {settings.task}: its code was changed after the run began; restore it, or start anew"
            )
        loop.once("judge.sealed", "judge", lambda: {"commitment": judge.commitment}, actor="judge")
        committed = loop.ledger.get("judge")
        if committed is not None and committed.payload["commitment"] != judge.commitment:
            raise UsageError(
                f"{self.folder / JUDGE}: the judge's secret is not the one this run began with; restore the folder"
            )
        if known is not None:
            if loop.ledger.get("memory") is None and (loop.state.turn or loop.state.slots):
                raise UsageError("memory: is handed over at the start of a run, and this one has begun")
            taken = loop.once("memory.imported", "memory", lambda: {"memory": known.plain()})
            if taken["memory"] != known.plain():
                raise UsageError("memory: this run began with another one, and a run takes one, at its start")
        loop.once("seed.imported", "seed", lambda: self._import_seed(loop.gold))

    def _import_seed(self, gold: str) -> Payload:
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
            "gold": gold,
        }

    def _gold(self, ledger: Ledger) -> str:
        """Store name of the seed's own data, which are a source of the change plan: the same ones at each start."""
        data = gold_bytes(self.settings, self.folder)
        name = self.store.put_bytes(data) if data else ""
        began = ledger.get("seed")
        if began is not None and began.payload["gold"] != name:
            raise UsageError(
                f"gold: {self.settings.gold or 'of the seed'}: holds other data than when the run began. A run learns "
                f"from what its plan began with: restore the file, or start a new folder"
            )
        return name


def _stop(loop: Loop, at: str, reason: str) -> None:
    loop.once("run.stopped", f"stopped/{loop.state.turn}/{at}", lambda: {"reason": reason})

"""Commands that check: doctor (this machine), check (settings, task, model, what the gate can see), audit (a run).

Each prints every finding, then fails with exit code 3 if one is bad.

Not here: the audit's rules (`audit/`), the forecast's arithmetic (`forecast.py`).
"""

from __future__ import annotations

import os
import platform
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evolvent.cli.base import HERE, AsJson, Dir, Told, begun, emit, show
from evolvent.errors import CheckFailed, EvolventError, UsageError
from evolvent.types import Problem, Score

if TYPE_CHECKING:
    from evolvent.cli.forecast import Forecast
    from evolvent.plan import ChangePlan, Settings
    from evolvent.run import Run
    from evolvent.sandbox import IsolatedProcess
    from evolvent.tasks import Task

_START_S, _LOAD_S, _REACH_S = 180.0, 120.0, 2.0
_MIN_PYTHON, _MIN_SQLITE = (3, 11), (3, 35, 0)
_MIN_FREE_BYTES = 1 << 30
_PROBLEMS = 8
# What a candidate may write; a verifier that raises on one would fell the loop, or let one through.
HOSTILE = (
    "", " ", "\x00", "\ud800", "'; DROP TABLE users; --", "ATTACH DATABASE '/tmp/x' AS x;", "(" * 5000, "a" * 50_000,
    "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT * FROM c;",
    "\u202e\u0000\uffff", "{}", "None",
)  # fmt: skip


@dataclass
class _Report:
    """What was looked at: name, whether it is well, and the finding."""

    rows: list[tuple[str, bool, str]] = field(default_factory=list)

    def add(self, name: str, found: Callable[[], str]) -> bool:
        """Look at one thing; an error of ours is its finding."""
        try:
            self.rows.append((name, True, found()))
        except EvolventError as exc:
            self.rows.append((name, False, str(exc)))
        return self.rows[-1][1]

    def close(self, what: str, as_json: bool, **more: Any) -> None:
        """Print the rows.

        Raises:
            CheckFailed: something is wrong.
        """
        bad = [f"{name}: {text}" for name, well, text in self.rows if not well]
        if as_json:
            rows = [{"check": name, "ok": well, "found": text} for name, well, text in self.rows]
            emit({"ok": not bad, "checks": rows, **more})
        else:
            from rich.text import Text

            for name, well, text in self.rows:
                line = Text("ok    " if well else "WRONG ", style="green" if well else "bold red")
                show(line.append(f"{name:<12} ", style="").append(text, style=""))
        if bad:
            raise (Told if as_json else CheckFailed)(f"{what} failed: {'; '.join(bad)}")


def doctor(folder: Dir = HERE, as_json: AsJson = False) -> None:
    """Can this machine judge? Looks at Python, torch, threads, sandbox, network, judge, disk, SQLite."""
    report = _Report()
    report.add("python", _python)
    report.add("torch", lambda: _package("torch") + "; transformers " + _package("transformers"))
    report.add("threads", lambda: f"{_cores()} cores for this process")
    report.add("sqlite", _sqlite)
    report.add("disk", lambda: _disk(folder))
    found: dict[str, str] = {}
    report.add("sandbox", lambda: _sandbox(found))
    report.add("code", lambda: _code_sandbox(found))
    report.add("network", lambda: found.get("network", "unknown: no worker started"))
    report.add("judge", _judge_apart)
    report.close("doctor", as_json, isolation=found.get("isolation", "none"), code=found.get("code", "none"))


def check(folder: Dir = HERE, as_json: AsJson = False) -> None:
    """Validate settings, task, operators and model; say what the gate of this plan can see."""
    from evolvent import tasks
    from evolvent.cli.forecast import forecast
    from evolvent.named import load_operators
    from evolvent.proposers import load_proposers
    from evolvent.run import Run

    run = Run.open(folder)
    settings = run.settings
    report = _Report()
    report.rows.append(("settings", True, f"valid; run {settings.run_id}, plan {settings.plan.hash[:12]}"))
    report.add("run", lambda: begun(folder))
    task = tasks.load(settings.task)
    for skill in settings.plan.protected:
        report.add(skill, lambda skill=skill: _skill(task, skill))
    report.add("goal", lambda: _goal(settings, task))
    report.add("operators", lambda: ", ".join(load_operators(settings.plan.operators, settings.priors)))
    report.add("proposers", lambda: ", ".join(load_proposers(settings).proposers))
    report.add("scaffold", lambda: _scaffold(settings, task))
    report.add("model", lambda: _model(settings, task, folder))
    if settings.judge.url:
        report.add("judge", lambda: _reached(run))
    rows = forecast(settings.plan)
    report.add("gate", lambda: _can_see(rows, settings.plan))
    if not as_json:
        for row in rows:
            show(_forecast_line(row, settings.plan))
    report.close("check", as_json, forecast=[row.plain() for row in rows])


def audit(
    folder: Dir = HERE,
    witness: Annotated[
        list[Path] | None, typer.Option("--witness", help="Folder that was told of its heads; may be given again.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Verify the chain, the artifacts, the evidence and each verdict again, by code of its own; and signed heads."""
    from evolvent.cli.publish import audited

    findings = audited(folder, witness or [])
    if as_json:
        emit({"ok": not findings.wrong, "checked": findings.counts, "wrong": findings.wrong, "notes": findings.notes})
    else:
        show("checked: " + ", ".join(f"{count} {what}" for what, count in findings.counts.items()))
        show(*(f"note: {note}" for note in findings.notes))
        show(*(f"WRONG: {fault}" for fault in findings.wrong))
    if findings.wrong:
        first, others = findings.wrong[0], len(findings.wrong) - 1
        raise (Told if as_json else CheckFailed)(f"audit: {first}" + (f" (and {others} more, above)" if others else ""))
    if not as_json:
        show("all is well")


# -- the machine -------------------------------------------------------------------------------------------------------


def _python() -> str:
    if sys.version_info < _MIN_PYTHON:
        raise CheckFailed(f"expected 3.11 or newer, got {platform.python_version()}")
    return f"{platform.python_version()} on {platform.system()} {platform.machine()}"


def _package(name: str) -> str:
    from importlib import metadata

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        raise CheckFailed(f"{name} is not installed; install the package again") from None


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _sqlite() -> str:
    import sqlite3

    if sqlite3.sqlite_version_info < _MIN_SQLITE:
        raise CheckFailed(f"expected {'.'.join(map(str, _MIN_SQLITE))} or newer, got {sqlite3.sqlite_version}")
    return sqlite3.sqlite_version


def _disk(folder: Path) -> str:
    import shutil

    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free
    if free < _MIN_FREE_BYTES:
        raise CheckFailed(
            f"{free >> 20} MiB free at {there}, expected 1024 or more: each version takes its weights again"
        )
    return f"{free >> 30} GiB free at {there}"


def _sandbox(found: dict[str, str]) -> str:
    """Start a rollout worker as the judge does, and read what it proved."""
    from evolvent.sandbox import KERNEL

    with _worker("strings", "--library") as (worker, tier):  # so that the transformers library is tried too
        found |= {"isolation": tier, "network": _network(worker.pid)}
    if tier != KERNEL:
        raise CheckFailed(f"isolation is '{tier}', a judge needs '{KERNEL}' (Linux with seccomp and Landlock)")
    return f"isolation '{tier}', each protection tried"


def _judge_apart() -> str:
    """What would keep a judge's process apart here, each tried; less than all of it is no reason not to judge."""
    import tempfile

    from evolvent.judge.separation import House, needed_by, separate

    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        place.chmod(0o755)  # as a run's folder
        found = separate(House(), place / "judge", needed_by(place / "store"))
    rows = (
        ("a user of its own", found.uid >= 0, "start as root with an interpreter that others may read"),
        ("no network", "n" in found.spaces, "needs Linux namespaces"),
        ("a process tree that ends as one", "t" in found.spaces, "needs Linux namespaces"),
    )
    has = ", ".join(name for name, given, _ in rows if given)
    lacks = "; ".join(f"not {name} ({why})" for name, given, why in rows if not given)
    return "; ".join(filter(None, (f"its process gets {has}" if has else "", lacks)))


def _reached(run: Run) -> str:
    """Reach the judge on another host and say hello."""
    with run.judge(patience_s=_REACH_S) as judge:
        said = judge.surroundings
    return f"reached at {run.settings.judge.url}; commitment {said['commitment'][:12]}"


def _code_sandbox(found: dict[str, str]) -> str:
    """Prove a tier for model-written code, as a task that runs some does."""
    from evolvent.sandbox import PROMOTING, CodeSandbox

    with CodeSandbox(warm=0) as box:
        found["code"] = box.tier
        over = f"; not {'; not '.join(box.ground.passed_over)}" if box.ground.passed_over else ""
    if box.tier not in PROMOTING:
        raise CheckFailed(f"model-written code: tier '{box.tier}', which may screen and train but not promote{over}")
    return f"model-written code: tier '{box.tier}', each protection tried{over}"


def _network(pid: int) -> str:
    try:
        own = os.readlink(f"/proc/{pid}/ns/net") != os.readlink("/proc/self/ns/net")
    except OSError:
        return "the worker's namespace cannot be read; its system call filter denies sockets"
    return "the worker has a namespace of its own" if own else "no namespace of its own; the filter denies sockets"


@contextmanager
def _worker(task: str, *options: str) -> Iterator[tuple[IsolatedProcess, str]]:
    """A rollout worker and its isolation tier."""
    from evolvent.sandbox import IsolatedProcess

    with IsolatedProcess([sys.executable, "-m", "evolvent.observe.worker", "--task", task, *options]) as worker:
        yield worker, str(worker.receive(timeout_s=_START_S).get("isolation", "none"))


# -- the settings ------------------------------------------------------------------------------------------------------


def _skill(task: Task, skill: str) -> str:
    if skill not in task.skills:
        raise UsageError(f"plan.protected: the task has skills {', '.join(task.skills)}, not {skill!r}")
    problems, again = (_called(task, "generate", skill, random.Random(0), _PROBLEMS) for _ in range(2))
    if not isinstance(problems, list) or [type(p) for p in problems] != [Problem] * _PROBLEMS:
        raise CheckFailed(f"generate: expected a list of {_PROBLEMS} problems, got {problems!r:.80}")
    if problems != again:
        raise CheckFailed("the same generator state gives other problems the second time")
    for name, values in task.axes.items():
        for value in values:
            _called(task, "challenge", {name: value}, random.Random(0), 1)
    for problem in problems:
        if not _called(task, "well_posed", problem):
            raise CheckFailed(f"a generated problem is not well posed: {problem.prompt[:80]!r}")
        for output in HOSTILE:
            _hostile(task, problem, output)
    return f"{_PROBLEMS} problems made and well posed; {len(HOSTILE)} hostile outputs refused on each"


def _goal(settings: Settings, task: Task) -> str:
    from evolvent.named import check_goal
    from evolvent.report.words import goal_wanted
    from evolvent.steering import goal_of

    check_goal(settings, task)
    return goal_wanted(goal_of(settings).plain())


def _scaffold(settings: Settings, task: Task) -> str:
    """The program under which the seed answers, in words; one in Python is tried."""
    from evolvent.named import check_scaffold
    from evolvent.scaffold import grammar

    scaffold: dict[str, Any] = settings.scaffold
    check_scaffold(scaffold)
    if scaffold["kind"] == grammar.CODE:
        return _program(settings, task)
    if scaffold["kind"] == grammar.POLICY:
        return "states a policy, asks no model"
    known = len(scaffold.get(grammar.EXAMPLES, ()))
    most = grammar.answers(grammar.steps_of(scaffold))
    return f"{scaffold['kind']}, at most {most} answer{'s' * (most > 1)} of a problem" + (
        f", {known} example{'s' * (known > 1)}" if known else ""
    )


def _program(settings: Settings, task: Task) -> str:
    """Let a program in Python go its way on a problem under a model that says nothing."""
    from evolvent.observe.rollout import execute
    from evolvent.scaffold import code
    from evolvent.scaffold.tools import Tools

    program: dict[str, Any] = settings.scaffold
    problems = _called(task, "generate", settings.plan.target, random.Random(0), 1)
    if not problems:
        raise CheckFailed(f"generate made no problem of {settings.plan.target!r} to try the program on")
    problem = problems[0]
    tools = Tools(*(partial(_called, task, name) for name in ("feedback", "advance", "revise")))
    way, asked = code.Course(problem.prompt, program["answers"]), 0
    while (wish := way.next(program["source"], execute)) is not None:
        asked += wish.n
        way.take(wish, [""] * wish.n, lambda prompt, text: tools.words(program["tools"], prompt, text))
    if way.fault:
        raise CheckFailed(f"{code.FUNCTION} after {asked} empty answers to {problem.prompt[:40]!r}: {way.fault}")
    return f"a program in Python; in the sandbox it asks for {asked} answers when all are empty, and ends"


def _called(task: Task, method: str, *arguments: Any) -> Any:
    """What a task's method gives; its exception is the task's fault, not ours."""
    try:
        return getattr(task, method)(*arguments)
    except Exception as exc:
        raise CheckFailed(f"{method} raised {type(exc).__name__}: {exc}") from exc


def _hostile(task: Task, problem: Any, output: str) -> None:
    try:
        score = task.verify(problem, output, 0)
    except Exception as exc:
        raise CheckFailed(
            f"verify raised {type(exc).__name__} on output {output[:40]!r}; it must never raise"
        ) from None
    if not isinstance(score, Score):
        raise CheckFailed(f"verify: expected a Score, got {score!r:.80}")
    if score.correct:
        raise CheckFailed(f"verify calls {output[:40]!r} correct for {problem.prompt[:80]!r}")


def _model(settings: Settings, task: Task, folder: Path) -> str:
    """Load the model where the judge would, and let it answer once."""
    from evolvent.inputs import check_inputs, seed_files
    from evolvent.precheck import built_in

    files = seed_files(settings.model)
    check_inputs(settings, folder)
    if "model.safetensors" not in files:
        raise UsageError(f"this installation lacks the model {settings.model!r}; name a local folder under 'model'")
    prompts = [problem.prompt for problem in task.generate(settings.plan.target, random.Random(0), 2)]
    with _worker(settings.task, *([] if built_in(files) else ["--library"])) as (worker, _):
        load = {"op": "load", "handle": "seed", "files": {name: len(data) for name, data in files.items()}}
        ask = {"op": "rollout", "handle": "seed", "scaffold": {"kind": "direct"}, "prompts": prompts, "seed": 0}
        for request, blobs in ((load, list(files.values())), ({**ask, "max_new_tokens": task.max_output_tokens}, [])):
            answer = worker.call(request, blobs, timeout_s=_LOAD_S)
            if "error" in answer:
                raise CheckFailed(
                    f"{settings.model}: {request['op']} failed: {answer['error']}; export the model again"
                )
    return f"{settings.model}: loads and answers, {sum(map(len, files.values())) >> 10:,} KiB"


def _can_see(rows: list[Forecast], plan: ChangePlan) -> str:
    """Whether a gain of interest can be promoted at all with the items that one verdict may cost."""
    blind = [row.test for row in rows if row.q80 is None]
    if blind:
        remedy = "raise plan.max_items, the margin or minimum_gain_points, or lower first_epoch_slots"
        raise CheckFailed(
            f"{', '.join(blind)}: not proven in 80 of 100 runs within {plan.max_items} problems; {remedy}"
        )
    gain, *kept = rows
    total = sum(row.q80 or 0 for row in kept)
    of_target = next((row.q80 or 0 for row in kept if row.test == f"kept:{plan.target}"), 0)
    total += max(0, (gain.q80 or 0) - of_target)  # the target's items serve both tests
    if total > plan.max_items:
        raise CheckFailed(f"a verdict needs about {total} problems, plan.max_items allows {plan.max_items}; raise it")
    return f"a verdict on a gain of {plan.minimum_gain_points} points takes about {total} problems"


def _forecast_line(row: Forecast, plan: ChangePlan) -> str:
    if row.test == "gain":
        what = f"to prove a gain of {row.effect_points} points on {plan.target}"
    else:
        skill = row.test.removeprefix("kept:")
        what = f"to prove {skill} kept within {plan.protected[skill]} points"
    numbers = f"{row.mean or 'too many'} problems on average, {row.q80 or 'too many'} in 80 of 100 runs"
    return f"      {what} (level {row.alpha}): {numbers}; proven in {row.share_percent} of 100"

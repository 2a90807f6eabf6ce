"""The judge's process lives apart, ends with all that it started, and a crash of it buys no second look."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from toy_judges import World, import_path

import evolvent
from evolvent.errors import SandboxError, UsageError
from evolvent.judge import SealedQuestion
from evolvent.judge import folder as judge_folder
from evolvent.judge.folder import JudgeFolder
from evolvent.judge.process import JudgeDied
from evolvent.judge.separation import House, Separation, launch, needed_by, network_is_gone, separate
from evolvent.types import Decision

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="namespaces and death signals are Linux's")
with tempfile.TemporaryDirectory() as _place:
    SPACES = separate(House(), Path(_place) / "judge", []).spaces if sys.platform == "linux" else ""
needs_spaces = pytest.mark.skipif("n" not in SPACES or "t" not in SPACES, reason="this kernel gives no namespaces")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a process as another user")


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("PYTHONPATH", import_path())
    return World(tmp_path)


def told_by(code: str, separation: Separation) -> Any:
    """What a program says in the judge's place."""
    process = launch(separation, [sys.executable, "-c", textwrap.dedent(code)], dict(os.environ))
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return json.loads(out)


def eventually(holds: Callable[[], bool], seconds: float = 20.0) -> bool:
    end = time.monotonic() + seconds
    while not (done := holds()) and time.monotonic() < end:
        time.sleep(0.05)
    return done


@needs_spaces
def test_it_has_no_network_and_sees_no_other_process() -> None:
    assert not network_is_gone(), "this process has loopback at least, or the test shows nothing"
    code = """
        import json, os
        from evolvent.judge.separation import network_is_gone
        print(json.dumps({"gone": network_is_gone(), "pids": [p for p in os.listdir("/proc") if p.isdigit()],
                          "devices": os.listdir("/sys/class/net")}))
    """
    told = told_by(code, Separation(spaces="nt"))
    assert told["gone"] is True
    assert len(told["pids"]) == 2
    assert told_by(code, Separation(spaces="t"))["gone"] is False, "with `judge.network` it keeps it"


def test_it_inherits_no_descriptor_and_has_its_own_session(tmp_path: Path) -> None:
    with (tmp_path / "secret").open("w") as held:
        os.set_inheritable(held.fileno(), True)
        told = told_by(
            """
            import json, os
            links = []
            for n in os.listdir("/proc/self/fd"):
                try:
                    links.append(os.readlink(f"/proc/self/fd/{n}"))
                except OSError:
                    pass
            print(json.dumps({"links": links}))
            """,
            Separation(spaces=SPACES),
        )
    assert not [link for link in told["links"] if "secret" in link]
    code = "import sys; sys.stdin.read()"
    with launch(Separation(spaces=SPACES), [sys.executable, "-c", code], dict(os.environ)) as process:
        assert os.getsid(process.pid) == process.pid, "asked from outside: in a tree of its own it would say 0"
        process.communicate(b"", timeout=60)


def test_a_run_says_what_keeps_its_judge_apart(world: World) -> None:
    with world.client() as judge:
        told = judge.surroundings
    assert told["network"] is ("n" not in SPACES)
    assert told["tree"] is ("t" in SPACES)


def descendants(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def running(processes: Iterable[psutil.Process]) -> bool:
    return any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in processes)


def test_a_question_that_fells_the_judge_each_time_is_forfeited(world: World) -> None:
    asked, felled = world.question(world.version(75, -3)), []  # it would never end by itself

    def fell(fields: dict[str, Any]) -> None:
        process = judge._process
        if process is not None and process.poll() is None:  # else these words were in its pipe already
            felled.append(descendants(process.pid))
            os.kill(process.pid, signal.SIGKILL)
            process.wait()

    with world.client(on_progress=fell) as judge:
        verdict = judge.decide(asked)
        assert (verdict.decision, verdict.reason) == (Decision.ABSTAIN, "judge_failed")
        assert judge.evidence(verdict.evidence)["items"] == {}
        assert judge.decide(asked) == verdict, "asked again it is not looked at again"
    assert len(felled) == 2, "two looks at the same items, then none"
    assert eventually(lambda: not running(process for below in felled for process in below))


@pytest.mark.slow
def test_a_judge_that_hangs_is_ended_with_its_workers_and_its_slot_is_no_pass(world: World) -> None:
    asked = world.question(world.version(-3, 70))
    with world.client(house=House(silence_s=12.0)) as judge:
        judge.surroundings  # noqa: B018 - starts it
        first = judge._process
        assert first is not None
        assert eventually(lambda: len(descendants(first.pid)) >= 3), "launcher's children and two workers"
        below = descendants(first.pid)
        verdict = judge.decide(asked)
        assert (verdict.decision, verdict.reason) == (Decision.ABSTAIN, "judge_failed")
        assert eventually(lambda: not running(below))


@pytest.mark.slow
def test_a_check_that_hangs_is_an_error_and_no_answer(world: World) -> None:
    asked = SealedQuestion(
        seed_candidate=world.version(60, 70), champion=world.version(-3, 70), counts={"single": 10, "chain": 10}
    )
    with world.client(house=House(silence_s=6.0)) as judge, pytest.raises(JudgeDied, match="said nothing for 6 s"):
        judge.sealed(asked)


@needs_spaces
def test_what_a_program_hides_in_another_session_ends_with_it() -> None:
    code = """
        import subprocess, sys, time
        hidden = [sys.executable, "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(3600)"]
        subprocess.Popen(hidden, start_new_session=True)
        print("started", flush=True)
        time.sleep(3600)
    """
    process = launch(Separation(spaces="nt"), [sys.executable, "-c", textwrap.dedent(code)], dict(os.environ))
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == b"started\n"
    below = descendants(process.pid)
    assert len(below) == 3
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    process.stdin.close()
    assert eventually(lambda: not running(below))


def test_it_dies_with_its_parent(world: World, tmp_path: Path) -> None:
    code = f"""
        import sys, time
        from pathlib import Path
        from evolvent.judge import JudgeClient
        judge = JudgeClient(Path({str(tmp_path / "j")!r}), Path({str(tmp_path / "s")!r}), "toy_task:ToyTask",
                            worker={str(Path(__file__).with_name("toy_worker.py"))!r})
        judge.commitment
        print("up", flush=True)
        time.sleep(3600)
    """
    parent = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"up\n"
    below = descendants(parent.pid)
    assert below
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert eventually(lambda: not running(below))


def test_a_judge_killed_within_a_question_draws_the_same_items_after_a_resume(world: World) -> None:
    asked = world.question(world.version(75, 70))
    with world.client(folder="whole", secret_hex=None) as judge:
        judge.commitment  # noqa: B018 - draws a secret
    shutil.copytree(world.root / "whole", world.root / "killed")
    with world.client(folder="whole", secret_hex=None) as judge:
        expected = judge.decide(asked)
        proof = judge.evidence(expected.evidence)
    for round_ in range(2):  # the controller too is gone each time: nothing but the folder is left

        def kill(fields: dict[str, Any], at: int = round_) -> None:
            if sum(fields["items"].values()) >= 64 * (at + 1):
                raise KeyboardInterrupt

        interrupted = world.client(folder="killed", secret_hex=None, on_progress=kill)
        with pytest.raises(KeyboardInterrupt):
            interrupted.decide(asked)
        process = interrupted._process
        assert process is not None
        os.kill(process.pid, signal.SIGKILL)
        interrupted.close()
        assert not list((world.root / "killed" / "answers").iterdir())
        assert [path.name for path in (world.root / "killed" / "places").iterdir()] == ["slot-1"]
    with world.client(folder="killed", secret_hex=None) as resumed:
        assert resumed.decide(asked) == expected
        assert resumed.evidence(expected.evidence) == proof


def test_two_judges_never_share_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge_folder, "_HOLD_S", 0.1)
    first, second = JudgeFolder(tmp_path), JudgeFolder(tmp_path)
    first.hold()
    with pytest.raises(SandboxError, match="one run at a time"):
        second.hold()
    os.close(first._lock)
    second.hold()
    os.close(second._lock)


# -- a user of its own -------------------------------------------------------------------------------------------------


OURS = str(Path(evolvent.__file__).parents[1])  # an editable install is known to its own interpreter only


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users can search, unlike pytest's."""
    folder = Path(tempfile.mkdtemp(prefix="evolvent-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def interpreter(monkeypatch: pytest.MonkeyPatch) -> str:
    """An interpreter of our version that any user may run, with our libraries; ours may lie in root's own folder."""
    libraries = str(Path(psutil.__file__).parents[1])
    wanted = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    for program in filter(None, (sys.executable, shutil.which(wanted, path="/usr/bin:/usr/local/bin"))):
        environment = {"PYTHONPATH": libraries}
        with suppress(OSError, subprocess.CalledProcessError):
            subprocess.run(
                [program, "-c", "import numpy"], user=60_719, group=60_719, extra_groups=[], cwd="/", env=environment,
                capture_output=True, check=True,
            )  # fmt: skip
            monkeypatch.setattr(sys, "executable", program)
            monkeypatch.setenv("PYTHONPATH", os.pathsep.join((import_path(), OURS, libraries)))
            return program
    pytest.skip("no interpreter here that another user may run")


@needs_root
def test_as_root_the_judges_folder_is_closed_to_the_runs_workers(open_folder: Path, interpreter: str) -> None:
    world = World(open_folder)
    with world.client(secret_hex=None) as judge:
        uid = judge.surroundings["user"]
        assert uid != 0
        verdict = judge.decide(world.question(world.version(75, 70)))
        assert verdict.decision is Decision.ACCEPT
    folder = open_folder / "judge"
    owned = [folder, *folder.rglob("*")]
    assert len(owned) > 8
    assert {path.stat().st_uid for path in owned} == {uid}
    assert folder.stat().st_mode & 0o777 == 0o700
    told = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(f"""
            import json, os
            from pathlib import Path
            from evolvent.sandbox.privileges import drop_capabilities
            found = {{"dropped": drop_capabilities(Path({str(open_folder / "store")!r})), "user": os.geteuid()}}
            for name in ("", "secret", "answers", "evidence"):
                try:
                    path = Path({str(folder)!r}) / name
                    path.read_bytes() if path.is_file() else os.listdir(path)
                    found[name or "folder"] = "read"
                except PermissionError:
                    found[name or "folder"] = "refused"
            (Path({str(open_folder / "store")!r}) / "works").write_text("still")
            try:
                os.kill({os.getpid()}, 0), os.setuid(1)
                found["user change"] = "done"
            except PermissionError:
                found["user change"] = "refused"
            print(json.dumps(found))
        """)], stdout=subprocess.PIPE, text=True, check=True)  # fmt: skip
    assert json.loads(told.stdout) == {
        "dropped": True, "user": 0, "folder": "refused", "secret": "refused", "answers": "refused",
        "evidence": "refused", "user change": "refused",
    }  # fmt: skip
    assert (folder / "secret").read_bytes(), "the controller itself is root and may"


@needs_root
def test_a_user_that_cannot_reach_what_it_needs_is_refused_by_name(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    (closed / "store").mkdir()
    with pytest.raises(UsageError, match=r"judge\.user: .*cannot reach"):
        separate(House(user="nobody"), tmp_path / "judge", needed_by(closed / "store"))
    with pytest.raises(UsageError, match="no account named"):
        separate(House(user="nobody-knows-this-one"), tmp_path / "judge", [])
    assert separate(House(), tmp_path / "judge", needed_by(closed / "store")).uid == -1, "unasked for, it stays ours"


@needs_root
def test_a_folder_changes_hands_once_and_links_are_not_followed(open_folder: Path, interpreter: str) -> None:
    mine = open_folder / "mine"
    mine.write_text("")
    judge = open_folder / "judge"
    (judge / "places").mkdir(parents=True)
    (judge / "secret").write_text("s")
    (judge / "link").symlink_to(mine)
    found = separate(House(user="60719"), judge, [])
    assert found.uid == 60_719
    assert (judge / "secret").stat().st_uid == (judge / "places").stat().st_uid == judge.stat().st_uid == 60_719
    assert mine.stat().st_uid == 0
    assert separate(House(), judge, []).uid == 60_719, "whose folder it is, is remembered"

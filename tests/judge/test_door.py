"""A judge on another host, as two processes over localhost: keys, losses, restarts, and the same answers as at home."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from toy_judges import HERE, PROTECTED, World, import_path
from typer.testing import CliRunner

import toy_world
from evolvent.cli import checks
from evolvent.cli.app import app
from evolvent.errors import GateRefused, SandboxError, StoreError, UsageError
from evolvent.judge import JudgeClient, StandingQuestion
from evolvent.judge.remote import RemoteJudge
from evolvent.judge.wire import Channel, new_key, read_key
from evolvent.run import Run
from evolvent.store import Store
from evolvent.types import Decision

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the judge can only abstain")


class Served:
    """A judge's process with a door, its folder and its own store; and clients of it."""

    def __init__(self, world: World) -> None:
        self.world, self.root = world, world.root / "other-host"
        self.root.mkdir()
        self.key = self.root / "key"
        self.key.write_text(new_key())
        self.key.chmod(0o600)
        self.port, self.process = 0, None
        self.start()

    def start(self) -> None:
        argv = [str(self.root / "judge"), str(self.root / "store"), str(self.key), str(self.port)]
        self.process = subprocess.Popen([sys.executable, str(HERE / "toy_door.py"), *argv], stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def stop(self) -> None:
        assert self.process is not None
        assert self.process.stdout is not None
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def link(self, port: int = 0, **changes: Any) -> RemoteJudge:
        fields: dict[str, Any] = {
            "store": self.world.store, "run": "run-1", "copies": self.world.root / "copies", "patience_s": 60.0,
            **changes,
        }  # fmt: skip
        key = fields.pop("key", read_key(self.key))
        return RemoteJudge(("127.0.0.1", port or self.port), key, **fields)

    def client(self, on_progress: Any = None, **changes: Any) -> JudgeClient:
        return JudgeClient.over(self.link(**changes), on_progress)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = import_path()
    there = Served(World(tmp_path_factory.mktemp("served")))
    yield there
    there.stop()
    if before is None:
        del os.environ["PYTHONPATH"]
    else:
        os.environ["PYTHONPATH"] = before


def test_it_answers_as_the_judge_at_home(served: Served) -> None:
    world = served.world
    asked = world.question(world.version(75, 70))
    told: list[dict[str, Any]] = []
    with served.client(told.append) as there:
        verdict = there.decide(asked)
        evidence = there.evidence(verdict.evidence)
        assert (verdict.decision, verdict.isolation) == (Decision.ACCEPT, "kernel")
        assert there.decide(asked) == verdict
        with pytest.raises(GateRefused, match="slot-1"):
            there.decide(world.question(world.version(76, 70)))
        with pytest.raises(StoreError, match="missing"):
            there.evidence("0" * 64)
        check = StandingQuestion(
            number=1, reference=world.version(60, 70), champion=world.version(75, 50), protected=PROTECTED,
            alpha="0.01", max_items=2000,
        )  # fmt: skip
        assert there.standing(check)["alarm"] is True
        commitment = there.commitment
    assert told
    copy = world.root / "copies" / f"{verdict.evidence}.json"
    assert json.loads(copy.read_text()) == evidence, "audits and reports find it at home"
    with world.client() as home:
        assert home.commitment == commitment
        assert home.decide(asked) == verdict


def test_weights_travel_by_hash_and_once(served: Served) -> None:
    world, theirs = served.world, Store(served.root / "store")
    version = world.version(66, 70)
    assert not theirs.has(version["model"])
    sent: list[str] = []
    link = served.link()
    sending = link._send
    link._send = lambda channel, name: (sent.append(name), sending(channel, name))[1]  # type: ignore[method-assign]
    with JudgeClient.over(link) as there:
        there.decide(world.question(version, slot=2, max_items=64))
        assert theirs.read_tree(version["model"]) == world.store.read_tree(version["model"])
        assert version["model"] in sent
        already = len(sent)
        there.decide(world.question(version, slot=3, max_items=64))
        assert len(sent) == already


def test_other_bytes_than_the_hash_says_are_not_kept(served: Served) -> None:
    theirs, files = Store(served.root / "store"), sorted((served.root / "store").rglob("*"))
    channel = open_channel(served)
    channel.send_json({"op": "keep", "sha256": "ab" * 32, "size_bytes": 5})
    channel.send_bytes(b"other")
    assert channel.receive_json() == {"error": f"artifact {'ab' * 6}: other bytes came than its name says; nothing was "
                                               "kept", "kind": "StoreError"}  # fmt: skip
    channel.send_json({"op": "missing", "artifacts": ["../secret"]})
    assert "expected" in (channel.receive_json() or {})["error"]
    channel.send_json({"op": "keep", "sha256": "ab" * 32, "size_bytes": 1 << 50})
    assert channel.receive_json() is None, "and what is too long is not waited for"
    channel.close()
    assert sorted(theirs.root.rglob("*")) == files


def open_channel(served: Served, run: str = "run-1") -> Channel:
    peer = socket.create_connection(("127.0.0.1", served.port), timeout=60)
    channel = Channel.to_judge(peer, read_key(served.key))
    peer.settimeout(60)
    channel.send_json({"op": "hello", "run": run})
    assert "hello" in (channel.receive_json() or {})
    return channel


def test_a_judge_asks_for_nothing_that_its_question_does_not_name(served: Served) -> None:
    link = served.link()
    with pytest.raises(SandboxError, match="does not name"):
        link._known(served.world.store.put_bytes(b"private"), [served.world.version(60, 70)["model"]])


def test_who_holds_another_key_gets_nothing(served: Served) -> None:
    with pytest.raises(SandboxError, match=r"does not hold our key.*judge\.key"), served.client(key=bytes(32)):
        pass
    with socket.create_connection(("127.0.0.1", served.port), timeout=20) as stranger:
        stranger.recv(48)
        stranger.sendall(b"GET / HTTP/1.1\r\n" + bytes(80))
        assert stranger.recv(32) == bytes(32)


def test_it_serves_one_run(served: Served) -> None:
    with pytest.raises(SandboxError, match="serves run run-1"), served.client(run="run-2"):
        pass


def test_unknown_requests_are_refused_and_hello_comes_first(served: Served) -> None:
    peer = socket.create_connection(("127.0.0.1", served.port), timeout=20)
    channel = Channel.to_judge(peer, read_key(served.key))
    for request in ({"op": "decide", "question": {}}, {"op": "hello", "run": 5}, {"op": "hello"}, {}):
        channel.send_json(request)
        assert (channel.receive_json() or {})["kind"] == "UsageError"
    channel.send_json({"op": "hello", "run": "run-1"})
    channel.receive_json()
    channel.send_json({"op": "shell"})
    assert "expected an op" in (channel.receive_json() or {})["error"]
    channel.close()


class Bridge:
    """A network between the two that can be cut."""

    def __init__(self, port: int) -> None:
        self.far, self.ends = port, []
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self.server.accept()
                far = socket.create_connection(("127.0.0.1", self.far))
            except OSError:
                return
            self.ends += [near, far]
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=(source, sink), daemon=True).start()

    @staticmethod
    def _carry(source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(1 << 16):
                sink.sendall(data)
        except OSError:
            pass

    def cut(self) -> None:
        for end in self.ends:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            end.close()
        self.ends = []

    def close(self) -> None:
        self.server.close()
        self.cut()


def test_a_cut_connection_asks_again_and_gets_the_same_answer(served: Served) -> None:
    world, bridge, cuts = served.world, Bridge(served.port), []
    asked = world.question(world.version(75, 70), slot=7)

    def cut(fields: dict[str, Any]) -> None:
        if len(cuts) < 2:
            cuts.append(fields)
            bridge.cut()

    with served.client(cut, port=bridge.port) as there:
        verdict = there.decide(asked)
        assert cuts
        proof = there.evidence(verdict.evidence)
    bridge.close()
    with world.client(folder="undisturbed") as home:
        assert home.decide(asked) == verdict
        assert home.evidence(verdict.evidence) == proof


def test_a_judge_that_is_started_again_goes_on_with_the_same_items(served: Served) -> None:
    world, restarts = served.world, []
    asked = world.question(world.version(75, 70), slot=8)

    def restart(fields: dict[str, Any]) -> None:
        if not restarts:
            restarts.append(fields)
            served.stop()
            served.start()

    with served.client(restart) as there:
        verdict = there.decide(asked)
        assert restarts
        assert there.decide(asked) == verdict
    with world.client(folder="undisturbed") as home:
        assert home.decide(asked) == verdict


def test_a_judge_that_cannot_be_reached_is_told_with_the_remedy(served: Served) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(SandboxError, match=r"cannot be reached.*evolvent judge serve"), served.client(
        port=port, patience_s=0.2
    ):  # fmt: skip
        pass


def test_settings_name_the_judge_and_are_no_part_of_the_run(tmp_path: Path, toy_seed: Path) -> None:
    home = toy_world.new_run(tmp_path / "home", toy_seed)
    away = toy_world.new_run(tmp_path / "away", toy_seed, judge={"url": "judge://127.0.0.1:1", "key": "key"})
    assert away.settings.run_id == home.settings.run_id
    assert "judge" not in away.settings.recorded()
    with pytest.raises(UsageError, match="cannot be read as a key"):
        away.judge()
    for url in ("http://x:1", "judge://x", "judge://a b:1"):
        with pytest.raises(UsageError, match="judge://HOST:PORT"):
            toy_world.new_run(tmp_path / url.replace("/", "_"), toy_seed, judge={"url": url})


def test_check_says_that_the_judge_cannot_be_reached(
    served: Served, tmp_path: Path, toy_seed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    monkeypatch.setenv("EVOLVENT_JUDGE_KEY", served.key.read_text())
    run = toy_world.new_run(tmp_path / "run", toy_seed, judge={"url": f"judge://127.0.0.1:{port}"})
    with pytest.raises(SandboxError, match="cannot be reached"):
        checks._reached(run)
    other = toy_world.new_run(tmp_path / "other", toy_seed, judge={"url": f"judge://127.0.0.1:{served.port}"})
    with pytest.raises(SandboxError, match="serves run run-1"):
        checks._reached(other)


def test_a_key_is_made_once(tmp_path: Path) -> None:
    path = tmp_path / "key"
    assert CliRunner().invoke(app, ["judge", "key", str(path)]).exit_code == 0
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(read_key(path)) == 32
    again = CliRunner().invoke(app, ["judge", "key", str(path)])
    assert isinstance(again.exception, UsageError)


@pytest.mark.slow
def test_a_run_with_a_served_judge_leaves_the_same_record(tmp_path: Path, toy_seed: Path, toy_run: Path) -> None:
    key = tmp_path / "key"
    key.write_text(new_key())
    key.chmod(0o600)
    options = {"--folder": tmp_path / "judge", "--store": tmp_path / "store", "--task": "strings", "--key": key}
    argv = [sys.executable, "-m", "evolvent", "judge", "serve", "--json", "--listen", "127.0.0.1:0"]
    for name, value in options.items():
        argv += [name, str(value)]
    environment = {**os.environ, "EVOLVENT_JUDGE_SECRET_HEX": toy_world.SECRET}
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, env=environment)
    assert process.stdout is not None
    address = json.loads(process.stdout.readline())["address"]
    try:
        run = toy_world.new_run(
            tmp_path / "run", toy_seed, judge={"url": f"judge://{address}", "key": str(key)}
        )  # fmt: skip
        run.go()
        assert toy_world.hashes(run.folder) == toy_world.hashes(toy_run)
        assert not (run.folder / "judge" / "secret").exists()
        done = CliRunner().invoke(app, ["audit", "-C", str(run.folder)])
        assert done.exit_code == 0, done.output
        assert Run.open(run.folder).settings.judge.url
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()

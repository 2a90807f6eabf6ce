"""Frames between two that share a key: nothing can be forged, altered, replayed, reordered or reflected."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from evolvent.errors import SandboxError, UsageError
from evolvent.judge.wire import KEY_VARIABLE, Channel, KeyRefused, WireBroken, address_of, new_key, read_key

KEY, OTHER = bytes(range(32)), bytes(range(1, 33))
Tamper = Callable[[bytes], bytes]


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def dial(listener: socket.socket) -> socket.socket:
    return socket.create_connection(listener.getsockname(), timeout=20)


def meet(listener: socket.socket, asker_key: bytes = KEY, judge_key: bytes = KEY) -> tuple[Any, Any]:
    """Both ends after the handshake, or the error of each."""
    found: list[Any] = []

    def answer() -> None:
        peer, _ = listener.accept()
        try:
            found.append(Channel.to_asker(peer, judge_key))
        except SandboxError as exc:
            peer.close()
            found.append(exc)

    thread = threading.Thread(target=answer)
    thread.start()
    peer = dial(listener)
    try:
        asker: Any = Channel.to_judge(peer, asker_key)
    except SandboxError as exc:
        peer.close()
        asker = exc
    thread.join(20)
    return asker, found[0]


def test_two_with_one_key_understand_each_other(listener: socket.socket) -> None:
    asker, judge = meet(listener)
    asker.send_json({"op": "hello", "text": "\u00e4"})
    assert judge.receive_json() == {"op": "hello", "text": "\u00e4"}
    blob = bytes(range(256)) * 10_000
    thread = threading.Thread(target=judge.send_bytes, args=(blob,))
    thread.start()
    assert asker.receive_bytes(len(blob)) == blob
    thread.join()
    asker.close()
    assert judge.receive_json() is None, "an end between frames is an end in order"
    judge.close()


def test_a_wrong_key_gets_nothing(listener: socket.socket) -> None:
    asker, judge = meet(listener, asker_key=OTHER)
    assert isinstance(judge, KeyRefused)
    assert isinstance(asker, KeyRefused)


def test_a_judge_without_the_key_is_told_nothing(listener: socket.socket) -> None:
    def pretend() -> None:
        peer, _ = listener.accept()
        with peer:
            peer.sendall(b"evolvent-judge-1" + bytes(32))
            peer.recv(64)
            peer.sendall(bytes(range(32)))

    thread = threading.Thread(target=pretend)
    thread.start()
    with dial(listener) as peer, pytest.raises(KeyRefused):
        Channel.to_judge(peer, KEY)
    thread.join()


def test_an_old_handshake_opens_no_new_connection(listener: socket.socket) -> None:
    """What an asker once sent is worth nothing against a fresh nonce, and a judge's own words prove nothing to it."""
    errors: list[SandboxError] = []

    def answer() -> None:
        for _ in range(2):
            peer, _ = listener.accept()
            with peer:
                try:
                    Channel.to_asker(peer, KEY)
                except SandboxError as exc:
                    errors.append(exc)

    sent: list[bytes] = []

    class Recording(socket.socket):
        def sendall(self, data: Any, flags: int = 0) -> None:
            sent.append(bytes(data))
            super().sendall(data, flags)

    thread = threading.Thread(target=answer)
    thread.start()
    with Recording() as peer:
        peer.connect(listener.getsockname())
        Channel.to_judge(peer, KEY)
    with dial(listener) as replay:
        replay.recv(48)
        replay.sendall(sent[0])
        assert replay.recv(32) == bytes(32), "refused"
    thread.join()
    assert [type(error) for error in errors] == [KeyRefused]


class Between:
    """A man in the middle of an open connection: he sees each frame, and may do with it what he likes."""

    def __init__(self) -> None:
        self.asker_end, self.his_near = socket.socketpair()
        self.his_far, self.judge_end = socket.socketpair()
        for end in (self.asker_end, self.his_near, self.his_far, self.judge_end):
            end.settimeout(20)
        self.asker = Channel(self.asker_end, b"a" * 32, b"b" * 32)
        self.judge = Channel(self.judge_end, b"b" * 32, b"a" * 32)

    def caught(self) -> bytes:
        return self.his_near.recv(1 << 16)

    def close(self) -> None:
        for end in (self.asker_end, self.his_near, self.his_far, self.judge_end):
            end.close()


@pytest.fixture
def between() -> Iterator[Between]:
    middle = Between()
    yield middle
    middle.close()


def test_a_frame_passes_once(between: Between) -> None:
    between.asker.send_json({"n": 1})
    frame = between.caught()
    between.his_far.sendall(frame + frame)
    assert between.judge.receive_json() == {"n": 1}
    with pytest.raises(WireBroken, match="replayed"):
        between.judge.receive_json()


def test_frames_keep_their_order_and_none_is_left_out(between: Between) -> None:
    between.asker.send_json({"n": 1})
    between.caught()
    between.asker.send_json({"n": 2})
    between.his_far.sendall(between.caught())
    with pytest.raises(WireBroken, match="replayed"):
        between.judge.receive_json()


def test_a_frame_is_not_believed_when_it_comes_back(between: Between) -> None:
    between.asker.send_json({"n": 1})
    between.his_near.sendall(between.caught())
    with pytest.raises(WireBroken, match="altered"):
        between.asker.receive_json()


@pytest.mark.parametrize("at", [0, 5, 8, -1, -33])
def test_no_byte_can_be_altered(between: Between, at: int) -> None:
    between.asker.send_json({"n": 1})
    frame = bytearray(between.caught())
    frame[at] ^= 1
    between.his_far.sendall(frame)
    with pytest.raises(WireBroken):
        between.judge.receive_json()


def test_a_length_is_not_believed_before_its_proof(between: Between) -> None:
    between.his_far.sendall(b"J" + b"\xff" * 4)
    with pytest.raises(WireBroken, match="at most"):
        between.judge.receive_json()


@pytest.mark.parametrize("keep", [1, 4, 9, -5])
def test_a_cut_frame_is_an_end_without_order(between: Between, keep: int) -> None:
    between.asker.send_json({"n": 1})
    between.his_far.sendall(between.caught()[:keep])
    between.his_far.shutdown(socket.SHUT_WR)
    with pytest.raises(WireBroken, match="ended within"):
        between.judge.receive_json()


def test_bytes_come_in_the_number_that_was_announced(between: Between) -> None:
    between.asker.send_bytes(b"12345")
    between.his_far.sendall(between.caught())
    with pytest.raises(WireBroken, match="expected 4 bytes"):
        between.judge.receive_bytes(4)


def test_a_key_is_read_from_a_file_of_ones_own_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, text = tmp_path / "key", new_key()
    with pytest.raises(UsageError, match="evolvent judge key"):
        read_key(path)
    path.write_text(text + "\n")
    path.chmod(0o644)
    with pytest.raises(UsageError, match="read by others"):
        read_key(path)
    path.chmod(0o600)
    assert read_key(path) == bytes.fromhex(text)
    path.write_text("too short")
    with pytest.raises(UsageError, match="64 hex digits"):
        read_key(path)
    monkeypatch.setenv(KEY_VARIABLE, "ab" * 32)
    assert read_key(path, KEY_VARIABLE) == bytes([0xAB] * 32)
    monkeypatch.delenv(KEY_VARIABLE)
    with pytest.raises(UsageError, match=KEY_VARIABLE):
        read_key(None, KEY_VARIABLE)


def test_addresses() -> None:
    assert address_of("host.example:71", "x") == ("host.example", 71)
    assert address_of("[::1]:71", "x") == ("::1", 71)
    for bad in ("host", "host:", ":1", "host:99999", "host:http"):
        with pytest.raises(UsageError, match="HOST:PORT"):
            address_of(bad, "--listen")

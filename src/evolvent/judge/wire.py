"""Frames over TCP between two that share a key: each proves that it holds it, and each frame proves its place.

Handshake: the judge sends 32 random bytes; the asker answers with 32 of its own and an HMAC-SHA256 over both; only then
does the judge answer with its HMAC. From key and both nonces each direction gets a key of its own. A frame carries an
HMAC over its number, kind, length and payload: it cannot be forged, altered, replayed, reordered, dropped from the
middle or sent back to its sender. What the two derive holds for one connection.

It authenticates and does **not encrypt**: who listens reads weights, programs with their examples, and evidence (never
the judge's secret, nor its items or their answers, which do not travel). Where that matters, lead it through an
encrypted tunnel.

Not here: what the frames mean (`protocol.py`), reconnecting (`remote.py`), serving (`door.py`).

References:
    HMAC: RFC 2104. Mutual three-pass authentication by nonces: ISO/IEC 9798-4, mechanism 4.
"""

from __future__ import annotations

import hmac
import json
import os
import secrets
import socket
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from evolvent.errors import SandboxError, UsageError
from evolvent.sandbox.frames import parse_object

__all__ = ["BLOB_BYTES", "KEY_VARIABLE", "Channel", "KeyRefused", "WireBroken", "address_of", "new_key", "read_key"]

BLOB_BYTES = 1 << 20  # bytes travel in pieces, each with its own proof
KEY_VARIABLE = "EVOLVENT_JUDGE_KEY"
_MAX_FRAME_BYTES = 64 << 20
_MAGIC = b"evolvent-judge-1"
_NONCE_BYTES = _KEY_BYTES = _MAC_BYTES = 32
_HANDSHAKE_S = 10.0
_KEEPALIVE = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}  # a peer that vanished shows within a minute
Json = dict[str, Any]


class WireBroken(SandboxError):
    """The connection ended or was disturbed; what was under way may be asked again on a new one."""


class KeyRefused(SandboxError):
    """The other side does not hold our key."""


class Channel:
    """One authenticated connection; frames may be sent from several threads."""

    def __init__(self, peer: socket.socket, to_send: bytes, to_receive: bytes) -> None:
        self._peer, self._keys, self._counts = peer, (to_send, to_receive), [0, 0]
        self._sending = threading.Lock()

    @classmethod
    def to_judge(cls, peer: socket.socket, key: bytes) -> Self:
        """The asker's end.

        Raises:
            KeyRefused: the other end does not hold the key, or is no judge.
            WireBroken: it does not answer.
        """
        with _in_time(peer):
            opening = _receive(peer, len(_MAGIC) + _NONCE_BYTES)
            if not opening.startswith(_MAGIC):
                raise KeyRefused("the other side is no judge of this version")
            theirs, mine = opening[len(_MAGIC) :], secrets.token_bytes(_NONCE_BYTES)
            proof = _mac(key, b"asker", theirs, mine)
            _send(peer, mine + proof)
            answer = _receive(peer, _MAC_BYTES)
            if not hmac.compare_digest(answer, _mac(key, b"judge", theirs, mine, proof)):
                raise KeyRefused("the other side does not hold our key")
        return cls(peer, _mac(key, b"to judge", theirs, mine), _mac(key, b"to asker", theirs, mine))

    @classmethod
    def to_asker(cls, peer: socket.socket, key: bytes) -> Self:
        """The judge's end; it proves nothing to who proves nothing.

        Raises:
            KeyRefused: the other end does not hold the key.
            WireBroken: it does not answer.
        """
        with _in_time(peer):
            mine = secrets.token_bytes(_NONCE_BYTES)
            _send(peer, _MAGIC + mine)
            reply = _receive(peer, _NONCE_BYTES + _MAC_BYTES)
            theirs, proof = reply[:_NONCE_BYTES], reply[_NONCE_BYTES:]
            if not hmac.compare_digest(proof, _mac(key, b"asker", mine, theirs)):
                _send(peer, bytes(_MAC_BYTES))  # so that it can tell a wrong key from a lost connection
                raise KeyRefused("the asker does not hold the key")
            _send(peer, _mac(key, b"judge", mine, theirs, proof))
        return cls(peer, _mac(key, b"to asker", mine, theirs), _mac(key, b"to judge", mine, theirs))

    def send_json(self, value: Json) -> None:
        """Send an object."""
        self._frame(b"J", json.dumps(value, ensure_ascii=False, allow_nan=False).encode())

    def send_bytes(self, data: bytes) -> None:
        """Send bytes, in pieces."""
        for start in range(0, len(data), BLOB_BYTES):
            self._frame(b"B", data[start : start + BLOB_BYTES])

    def receive_json(self, max_bytes: int = _MAX_FRAME_BYTES) -> Json | None:
        """The next object, or ``None`` where the other side ended in order.

        Raises:
            WireBroken: the connection ended, or a frame is not the one that must come next.
            FrameRefused: a whole frame that is not strict JSON.
        """
        found = self._next(max_bytes)
        if found is None:
            return None
        kind, payload = found
        if kind != b"J":
            raise WireBroken("frame: expected JSON, got raw bytes")
        return parse_object(payload)

    def receive_bytes(self, size: int) -> bytes:
        """Exactly so many bytes.

        Raises:
            WireBroken: as `receive_json`, or there are more or fewer.
        """
        data = bytearray()
        while len(data) < size:
            found = self._next(BLOB_BYTES)
            if found is None or found[0] != b"B" or not found[1] or len(data) + len(found[1]) > size:
                raise WireBroken(f"frame: expected {size} bytes, got {len(data)} and something else")
            data += found[1]
        return bytes(data)

    def close(self) -> None:
        """Hang up."""
        with suppress(OSError):
            self._peer.shutdown(socket.SHUT_RDWR)
        self._peer.close()

    def _frame(self, kind: bytes, payload: bytes) -> None:
        with self._sending:
            head = kind + len(payload).to_bytes(4, "big")
            mac = _mac(self._keys[0], self._counts[0].to_bytes(8, "big"), head, payload)
            self._counts[0] += 1
            _send(self._peer, head + payload + mac)

    def _next(self, max_bytes: int) -> tuple[bytes, bytes] | None:
        try:
            first = self._peer.recv(1)
        except OSError as exc:
            raise WireBroken(f"the connection broke: {exc}") from None
        if not first:
            return None
        head = first + _receive(self._peer, 4)
        size = int.from_bytes(head[1:], "big")
        if size > max_bytes:  # not proven yet: nothing is read on its word
            raise WireBroken(f"frame: expected at most {max_bytes} bytes, got {size}")
        payload = _receive(self._peer, size)
        mac = _receive(self._peer, _MAC_BYTES)
        expected = _mac(self._keys[1], self._counts[1].to_bytes(8, "big"), head, payload)
        if not hmac.compare_digest(mac, expected):
            raise WireBroken("frame: its proof does not hold; it was altered, replayed or injected")
        self._counts[1] += 1
        return first, payload


def read_key(path: Path | None, variable: str = "") -> bytes:
    """The shared key: 64 hex digits in an environment variable, or in a file that others cannot read.

    Raises:
        UsageError: it is missing, readable by others, or no key.
    """
    text = os.environ.get(variable, "") if variable else ""
    where = f"${variable}" if text else str(path)
    if not text:
        if path is None:
            raise UsageError(f"judge.key: expected the file of the shared key, or the key in ${variable}")
        try:
            if path.stat().st_mode & 0o077:
                raise UsageError(f"{path}: can be read by others; chmod 600 it, and make a new key if it was seen")
            text = path.read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError) as exc:
            raise UsageError(
                f"{path}: cannot be read as a key ({type(exc).__name__}); `evolvent judge key` makes one"
            ) from None
    try:
        key = bytes.fromhex(text.strip())
    except ValueError:
        key = b""
    if len(key) != _KEY_BYTES:
        raise UsageError(f"{where}: expected {2 * _KEY_BYTES} hex digits; `evolvent judge key` makes a key")
    return key


def new_key() -> str:
    """A fresh key as text."""
    return secrets.token_hex(_KEY_BYTES)


def address_of(text: str, what: str) -> tuple[str, int]:
    """Host and port of ``HOST:PORT``, an IPv6 address in brackets.

    Raises:
        UsageError: it is something else.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdigit() or int(port) > 0xFFFF:
        raise UsageError(f"{what}: expected HOST:PORT, got {text[:80]!r}")
    return host.removeprefix("[").removesuffix("]"), int(port)


class _in_time:  # noqa: N801 - reads as a word at its uses
    """Who does not finish the handshake in time is cut off; afterwards only a dead peer is."""

    def __init__(self, peer: socket.socket) -> None:
        self._peer = peer

    def __enter__(self) -> None:
        self._peer.settimeout(_HANDSHAKE_S)

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._peer.settimeout(None)
            self._peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            self._peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for name, value in _KEEPALIVE.items():
                if hasattr(socket, name):
                    self._peer.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _mac(key: bytes, *parts: bytes) -> bytes:
    """Over the parts and their lengths, so that no two lists of parts give one text."""
    text = b"".join(len(part).to_bytes(8, "big") + part for part in parts)
    return hmac.digest(key, text, "sha256")


def _send(peer: socket.socket, data: bytes) -> None:
    try:
        peer.sendall(data)
    except OSError as exc:
        raise WireBroken(f"the connection broke: {exc}") from None


def _receive(peer: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        try:
            part = peer.recv(min(size - len(data), BLOB_BYTES))
        except OSError as exc:
            raise WireBroken(f"the connection broke: {exc}") from None
        if not part:
            raise WireBroken("the connection ended within a frame")
        data += part
    return bytes(data)

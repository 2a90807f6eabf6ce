"""A judge on another host, as its asker sees it: reached again after a loss, and sent the weights that it lacks.

A question that a broken connection cut is asked again; the judge gives the answer that it stored, or goes on with the
same items. It connects to the address that it was given, and to nothing else.

Not here: proofs and frames (`wire.py`), the other end (`door.py`).
"""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from evolvent.disk import write_atomic
from evolvent.errors import SandboxError
from evolvent.judge.protocol import checked_evidence, checked_reply, models_of
from evolvent.judge.wire import Channel, KeyRefused, WireBroken
from evolvent.store import Store
from evolvent.types import canonical_json

__all__ = ["RemoteJudge"]

_CONNECT_S = 10.0
_PAUSES_S = (0.1, 0.3, 1.0, 3.0, 5.0)  # between tries; the last repeats
_ROUNDS = 3  # a manifest first, then its files
Json = dict[str, Any]


class RemoteJudge:
    """A link to a judge that `evolvent judge serve` serves.

    Args:
        address: host and port.
        key: shared with it.
        store: where the artifacts lie that it may lack.
        run: name of the run; the judge serves one.
        copies: folder for evidence, once it was opened, so that reports and audits find it.
        silence_s: seconds without a word after which the connection counts as lost.
        patience_s: seconds after which a judge that cannot be reached is given up.
    """

    def __init__(
        self,
        address: tuple[str, int],
        key: bytes,
        *,
        store: Store,
        run: str,
        copies: Path,
        silence_s: float = 3600.0,
        patience_s: float = 60.0,
    ) -> None:
        self._address, self._key, self._store, self._run, self._copies = address, key, store, run, copies
        self._silence_s, self._patience_s = silence_s, patience_s
        self._channel: Channel | None = None
        self._hello: Json = {}

    @property
    def process(self) -> subprocess.Popen[bytes] | None:
        """None of this machine."""
        return None

    def hello(self) -> Json:
        """Reach it: what it says of itself.

        Raises:
            SandboxError: it cannot be reached, holds another key or secret, or serves another run.
        """
        return self._patiently(lambda channel: self._hello)

    def ask(self, request: Json, on_progress: Callable[[Json], None]) -> Json:
        """One request and its reply."""
        reply = self._patiently(lambda channel: self._ask(channel, request, on_progress))
        if request["op"] == "evidence" and "answer" in reply:
            evidence = checked_evidence(request["hash"], reply["answer"])
            write_atomic(self._copies / f"{request['hash']}.json", canonical_json(evidence).encode())
        return reply

    def close(self) -> None:
        """Hang up; the judge goes on, and keeps what it answered."""
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()

    def _ask(self, channel: Channel, request: Json, on_progress: Callable[[Json], None]) -> Json:
        if "question" in request:
            self._send_missing(channel, models_of(request["question"]))
        channel.send_json(request)
        while "progress" in (reply := checked_reply(request["op"], _received(channel))):
            on_progress(reply["progress"])
        return reply

    def _send_missing(self, channel: Channel, models: Iterable[str]) -> None:
        names = sorted(set(models))
        for _ in range(_ROUNDS):
            channel.send_json({"op": "missing", "artifacts": names})
            answer = _received(channel)
            missing = answer.get("missing")
            if not isinstance(missing, list):
                raise SandboxError(f"judge: {str(answer.get('error', answer))[:200]}")
            if not missing:
                return
            for name in missing:
                if self._known(name, names):
                    self._send(channel, name)
        raise SandboxError("judge: it still lacks artifacts after all were sent; look at its messages")

    def _known(self, name: Any, models: Iterable[str]) -> bool:
        """Only what belongs to a model of the question leaves this machine."""
        for model in models:
            if name == model or (self._store.has(model) and name in self._files(model)):
                return True
        raise SandboxError(f"judge: asks for an artifact that its question does not name: {str(name)[:80]!r}")

    def _files(self, model: str) -> set[str]:
        return {entry["sha256"] for entry in self._store.get_manifest(model)["files"].values()}

    def _send(self, channel: Channel, name: str) -> None:
        data = self._store.get_bytes(name)
        channel.send_json({"op": "keep", "sha256": name, "size_bytes": len(data)})
        channel.send_bytes(data)
        answer = _received(channel)
        if answer != {"kept": name}:
            raise SandboxError(f"judge: {str(answer.get('error', answer))[:200]}")

    def _patiently(self, action: Callable[[Channel], Json]) -> Json:
        """Do it, on a new connection where the old one broke, for as long as one may be patient."""
        started, tries = time.monotonic(), 0
        while True:
            try:
                return action(self._connected())
            except KeyRefused as exc:
                raise SandboxError(
                    f"judge {self._where}: {exc}; judge.key must be the key it was started with"
                ) from None
            except (OSError, WireBroken) as exc:
                self.close()
                pause = _PAUSES_S[min(tries, len(_PAUSES_S) - 1)]
                if time.monotonic() + pause - started > self._patience_s:
                    raise SandboxError(
                        f"judge {self._where}: cannot be reached ({exc}); start it with `evolvent judge serve`, then "
                        f"run again: the same question gets the same answer"
                    ) from None
                time.sleep(pause)
                tries += 1

    def _connected(self) -> Channel:
        if self._channel is not None:
            return self._channel
        peer = socket.create_connection(self._address, timeout=_CONNECT_S)
        try:
            channel = Channel.to_judge(peer, self._key)
            peer.settimeout(self._silence_s)
            channel.send_json({"op": "hello", "run": self._run})
            answer = _received(channel)
        except BaseException:
            peer.close()
            raise
        hello = answer.get("hello")
        if not isinstance(hello, dict) or not isinstance(hello.get("commitment"), str):
            peer.close()
            raise SandboxError(f"judge {self._where}: {str(answer.get('error', 'said no hello'))[:300]}")
        if self._hello and self._hello["commitment"] != hello["commitment"]:
            peer.close()
            raise SandboxError(
                f"judge {self._where}: came back with another secret; its folder was changed within a run"
            )
        self._hello, self._channel = hello, channel
        return channel

    @property
    def _where(self) -> str:
        return f"{self._address[0]}:{self._address[1]}"


def _received(channel: Channel) -> Json:
    answer = channel.receive_json()
    if answer is None:
        raise WireBroken("the judge hung up")
    return answer

"""The door of a judge that is served to another host: it lets in who holds the key, and passes questions on.

The judge's own process has no network; this one has no secret. It keeps the artifacts that askers send, by hash, and
hands each request to the judge's process, one at a time. An asker that vanishes within a question changes nothing: the
question is finished, and its answer is there when it is asked again.

Not here: proofs (`wire.py`), what may be asked (`protocol.py`), answers (`server.py`).
"""

from __future__ import annotations

import queue
import socket
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NoReturn

from evolvent import errors
from evolvent.errors import EvolventError, SandboxError, StoreError, UsageError
from evolvent.judge.client import JudgeClient
from evolvent.judge.protocol import MAX_REQUEST_BYTES, checked_names, checked_request, told
from evolvent.judge.wire import Channel, WireBroken
from evolvent.sandbox import FrameRefused
from evolvent.store import Store
from evolvent.types import sha256_hex

__all__ = ["Door"]

_MAX_CALLERS = 8  # at the door at once, before they have proven anything
_MAX_ARTIFACT_BYTES = 4 << 30
_MAX_RUN_NAME = 64
Json = dict[str, Any]


@dataclass(frozen=True)
class _Errand:
    """A request on its way to the judge."""

    request: Json
    on_progress: Callable[[Json], None]
    reply: Future[Json]


class Door:
    """Serves one judge to one run.

    Args:
        judge: client of the judge's own process.
        store: where artifacts that askers send are kept, and the judge finds them.
        key: shared with the askers.
        listener: bound and listening.
    """

    def __init__(self, judge: JudgeClient, store: Store, key: bytes, listener: socket.socket) -> None:
        self._judge, self._store, self._key, self._listener = judge, store, key, listener
        self._errands: queue.SimpleQueue[_Errand] = queue.SimpleQueue()
        self._callers = threading.BoundedSemaphore(_MAX_CALLERS)
        self._run, self._naming = "", threading.Lock()
        self._hello = judge.surroundings

    def serve(self) -> NoReturn:
        """Pass requests on until the process is stopped.

        The judge's process is started and spoken to from this thread alone: it dies with the thread that began it.
        """
        threading.Thread(target=self._accept, daemon=True).start()
        while True:
            errand = self._errands.get()
            try:
                errand.reply.set_result({"answer": self._judge.request(errand.request, errand.on_progress)})
            except EvolventError as exc:
                errand.reply.set_result(_told(exc))
            except Exception as exc:  # no request closes the door
                print(f"judge: {type(exc).__name__}: {exc}", file=sys.stderr)
                errand.reply.set_result(_told(SandboxError(f"judge: could not answer: {type(exc).__name__}")))

    def _accept(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return  # closed: the process ends
            if not self._callers.acquire(blocking=False):
                peer.close()
                continue
            threading.Thread(target=self._meet, args=(peer,), daemon=True).start()

    def _meet(self, peer: socket.socket) -> None:
        try:
            try:
                channel = Channel.to_asker(peer, self._key)
            finally:
                self._callers.release()
            self._converse(channel)
        except (OSError, SandboxError):
            pass  # it left, or is none of ours; nothing of it is believed
        finally:
            peer.close()

    def _converse(self, channel: Channel) -> None:
        known = False
        while True:
            try:
                request = channel.receive_json(MAX_REQUEST_BYTES)
            except FrameRefused as exc:
                channel.send_json(_told(exc))
                continue
            if request is None:
                return
            try:
                if request.get("op") == "hello":
                    self._belongs(request)
                    known, answer = True, {"hello": self._hello}
                elif not known:
                    raise UsageError("judge: expected hello first")
                else:
                    answer = self._answer(channel, request)
            except WireBroken:
                raise
            except EvolventError as exc:
                answer = _told(exc)
            channel.send_json(answer)

    def _belongs(self, request: Json) -> None:
        run = request.get("run")
        if request.keys() != {"op", "run"} or not isinstance(run, str) or not 0 < len(run) <= _MAX_RUN_NAME:
            raise UsageError("judge: expected hello with the run's name")
        with self._naming:
            if self._run not in ("", run):
                raise UsageError(
                    f"this judge serves run {self._run}; start another, with a folder of its own, for {run}"
                )
            self._run = run

    def _answer(self, channel: Channel, request: Json) -> Json:
        match request.get("op"):
            case "missing":
                return {"missing": self._missing(checked_names(request))}
            case "keep":
                return self._keep(channel, request)
            case _:
                checked_request(request)
                errand = _Errand(request, lambda fields: _try_to_tell(channel, fields), Future())
                self._errands.put(errand)
                return errand.reply.result()

    def _missing(self, models: list[str]) -> list[str]:
        """Manifests that are not here; of those that are, the files that are not."""
        missing: set[str] = set()
        for model in models:
            if not self._store.has(model):
                missing.add(model)
                continue
            entries = self._store.get_manifest(model)["files"].values()
            missing |= {str(entry["sha256"]) for entry in entries if not self._store.has(str(entry["sha256"]))}
        return sorted(missing)

    def _keep(self, channel: Channel, request: Json) -> Json:
        name, size = request.get("sha256"), request.get("size_bytes")
        if request.keys() != {"op", "sha256", "size_bytes"} or not isinstance(name, str) or type(size) is not int:
            raise WireBroken("keep: expected a hash and a size")
        if not 0 <= size <= _MAX_ARTIFACT_BYTES:
            raise WireBroken(f"keep: expected at most {_MAX_ARTIFACT_BYTES} bytes, got {size}")
        data = channel.receive_bytes(size)
        if sha256_hex(data) != name:
            raise StoreError(f"artifact {name[:12]}: other bytes came than its name says; nothing was kept")
        self._store.put_bytes(data)
        return {"kept": name}


def _try_to_tell(channel: Channel, fields: Json) -> None:
    with suppress(SandboxError):  # the asker left; the question is finished all the same
        channel.send_json({"progress": fields})


def _told(exc: EvolventError) -> Json:
    frame = told(exc)
    return frame if hasattr(errors, frame["kind"]) else {**frame, "kind": "SandboxError"}

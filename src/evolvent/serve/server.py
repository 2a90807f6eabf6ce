"""The HTTP side: `http.server` of the standard library, its gaps closed; docs/design/serving.md says why.

One request writes at a time; others wait for it, up to a number. Who hangs up frees the place within one token.

Not here: encryption; what a request means (`asked.py`); the model (`model.py`).
"""

from __future__ import annotations

import hmac
import io
import ipaddress
import json
import os
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import quote, urlsplit

from evolvent.errors import UsageError
from evolvent.serve.asked import TEMPLATE, Ask, Refused, parse
from evolvent.serve.form import Form, Json
from evolvent.serve.model import Served, Writing

__all__ = ["KEY_VARIABLE", "Server"]

KEY_VARIABLE = "EVOLVENT_SERVE_KEY"
ASKED = {"/v1/chat/completions": True, "/v1/completions": False}  # path: is it a chat
_END_S, _LINGER_S = 5.0, 1.0
_MAX_DRAINED = 64 << 20
_RETRY = {429: ("Retry-After", "1"), 503: ("Retry-After", "1"), 504: ("X-Should-Retry", "false")}


class Server(ThreadingHTTPServer):
    """Serves one model until `close`; bound and listening once made.

    Args:
        served: the model, and what is given at most.
        host: address to listen on.
        port: 0 takes a free one.
        key: what askers must send as ``Authorization: Bearer``; the environment's by default, none where it has none.

    Raises:
        UsageError: the address cannot be had, or is open to others and there is no key.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, served: Served, *, host: str = "127.0.0.1", port: int = 8000, key: str | None = None) -> None:
        self.served, self.limits = served, served.limits
        self.key = os.environ.get(KEY_VARIABLE, "") if key is None else key
        self.local = _is_loopback(host)
        if not (self.local or self.key):
            raise UsageError(f"--host {host}: others can reach it, so it needs a key: set {KEY_VARIABLE}")
        self.stopping = threading.Event()
        self.work = threading.Lock()  # held by whoever writes
        self.places = threading.BoundedSemaphore(self.limits.concurrent)
        self._open: set[socket.socket] = set()
        self._changed = threading.Condition()
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            super().__init__((host, port), _Handler)
        except (OSError, OverflowError) as exc:
            raise UsageError(f"--host {host} --port {port}: {exc}; name a free address of this machine") from None

    @property
    def url(self) -> str:
        """What a client takes as its base URL."""
        host, port = self.server_address[:2]
        return f"http://{f'[{host}]' if self.address_family == socket.AF_INET6 else host}:{port}/v1"

    def close(self) -> None:
        """End `serve_forever` where it runs in another thread, then as `end`."""
        self.shutdown()
        self.end()

    def end(self) -> None:
        """Once `serve_forever` is over: work under way ends within a token, its askers are told, connections close."""
        self.stopping.set()
        self.server_close()
        with self._changed:
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RD)  # who waits for a next request, waits no more
            self._changed.wait_for(lambda: not self._open, _END_S)

    def server_bind(self) -> None:
        """Bind. The standard library's own also looks its name up, which may ask the network."""
        socketserver.TCPServer.server_bind(self)

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether there is room for one more connection."""
        with self._changed:
            if len(self._open) >= self.limits.connections:
                return False
            self._open.add(request)
            return True

    def shutdown_request(self, request: Any) -> None:
        """Close a connection; whoever sees it closed finds its place free."""
        with self._changed:
            with suppress(OSError):
                request.shutdown(socket.SHUT_WR)
            self.close_request(request)
            self._open.discard(request)
            self._changed.notify_all()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection broke: its asker knows, nobody else has to."""


class _InTime(io.RawIOBase):
    """A socket's bytes until a moment."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection, self.until = connection, 0.0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self.until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self.connection.settimeout(left)
        return self.connection.recv_into(buffer)


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version, default_request_version = "HTTP/1.1", "HTTP/1.0"
    server_version, sys_version = "evolvent", ""

    def setup(self) -> None:
        super().setup()
        assert isinstance(self.server, Server)
        self._server = self.server
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        self._source = _InTime(self.connection)
        self.rfile = io.BufferedReader(self._source)

    def handle_one_request(self) -> None:
        self._source.until = time.monotonic() + self._server.limits.read_s
        self._begun = self._unread = False
        super().handle_one_request()
        if self._server.stopping.is_set():
            self.close_connection = True
        if self._unread:
            self._drain()

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_POST(self) -> None:
        self._answer(self._post)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: what is asked is nobody's business."""

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """The library's own complaints, in our form."""
        known = {501: (405, f"{self.command}: expected GET or POST"), 505: (400, "HTTP version: expected 1.0 or 1.1")}
        status, words = known.get(code, (code, message or "the request is not HTTP"))
        self._unread = self.close_connection = True
        self._refuse(Refused(status, words))

    # -- what is asked -------------------------------------------------------------------------------------------------

    def _answer(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Refused as refused:
            self._refuse(refused)
        except (ConnectionError, TimeoutError):
            self.close_connection = True  # the asker left, or was too slow
        except Exception as exc:  # no request ends the server
            self._refuse(Refused(500, f"the request could not be answered: {type(exc).__name__}"))

    def _get(self) -> None:
        if self.headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in self.headers:
            self._unread = self.close_connection = True
            raise Refused(400, "GET: expected no body")
        self._let_in(self.path == "/health")
        served = self._server.served
        row = {"id": served.name, "object": "model", "created": 0, "owned_by": "evolvent"}
        row |= {"context_tokens": served.context, "template": TEMPLATE}
        if self.path == "/health":
            return self._send(200, {"status": "ok"})
        if self.path == "/v1/models":
            return self._send(200, {"object": "list", "data": [row]})
        if self.path == f"/v1/models/{quote(served.name, safe='')}":
            return self._send(200, row)
        raise Refused(405 if self.path in ASKED else 404, f"GET {self.path[:80]}: there is no such thing here")

    def _post(self) -> None:
        closes = self.close_connection
        self._unread = self.close_connection = True  # until the body is read
        self._let_in(False)
        chat = ASKED.get(self.path)
        if chat is None:
            known = self.path in ("/health", "/v1/models")
            raise Refused(405 if known else 404, f"POST {self.path[:80]}: expected one of {', '.join(ASKED)}")
        body = self._body()
        self._unread, self.close_connection = False, closes
        ask = parse(body, chat=chat, limits=self._server.limits)
        if ask.model != self._server.served.name:
            known = f"there is only {self._server.served.name!r}"
            raise Refused(404, f"model: {known} here", param="model", code="model_not_found")
        with self._place() as until:
            self._write(ask, chat, until)

    def _let_in(self, open_to_all: bool) -> None:
        server = self._server
        if server.local and not _is_loopback(_host(self.headers.get("Host", ""))):
            raise Refused(403, "Host: expected this machine; a page of the web must not ask here")
        sent = self.headers.get("Authorization", "").encode("latin-1", "replace")  # the bytes as they came
        if server.key and not open_to_all and not hmac.compare_digest(sent, f"Bearer {server.key}".encode()):
            raise Refused(401, "Authorization: expected 'Bearer KEY' with this server's key", code="invalid_api_key")

    def _body(self) -> bytes:
        kind = self.headers.get_content_type()
        lengths = self.headers.get_all("Content-Length", [])
        if "Transfer-Encoding" in self.headers or len(lengths) != 1 or not lengths[0].isascii():
            raise Refused(411, "Content-Length: expected one, and no Transfer-Encoding")
        if not lengths[0].isdecimal():
            raise Refused(400, "Content-Length: expected a number")
        most = self._server.limits.body_bytes
        if len(lengths[0]) > len(str(most)) or int(lengths[0]) > most:
            raise Refused(413, f"body: expected at most {most} bytes", code="request_too_large")
        if kind != "application/json":  # a page of the web may send other kinds without asking first
            raise Refused(415, "Content-Type: expected application/json")
        body = self.rfile.read(int(lengths[0]))
        if len(body) < int(lengths[0]):
            raise ConnectionError
        return body

    # -- the answer ----------------------------------------------------------------------------------------------------

    @contextmanager
    def _place(self) -> Iterator[float]:
        """A turn at the model; gives the moment until which it may last."""
        server = self._server
        until = time.monotonic() + server.limits.answer_s
        if not server.places.acquire(blocking=False):
            raise Refused(429, "too many requests at once; try again shortly", code="rate_limit_exceeded")
        try:
            if not server.work.acquire(timeout=server.limits.answer_s):
                raise Refused(503, "the model is busy; try again shortly", code="busy")
            try:
                yield until
            finally:
                server.work.release()
        finally:
            server.places.release()

    def _write(self, ask: Ask, chat: bool, until: float) -> None:
        self._go_on(until)
        writing = self._server.served.write(ask)
        form = Form(chat, self._server.served)
        if ask.stream:
            return self._stream(ask, form, writing, until)
        for _ in writing.steps:
            self._go_on(until)
        return self._send(200, form.whole(writing))

    def _stream(self, ask: Ask, form: Form, writing: Writing, until: float) -> None:
        self._begin_stream()
        self._event(form.piece([form.part(i, "", None, first=True) for i in range(ask.n)]))
        going = dict.fromkeys(range(ask.n), 0)  # characters that were sent of each answer
        try:
            for _ in writing.steps:
                self._go_on(until)
                for i, sent in list(going.items()):
                    answer = writing.answers[i]
                    if answer.finish or len(answer.text) > sent:
                        self._event(form.piece([form.part(i, answer.text[sent:], answer.finish or None)]))
                    going[i] = len(answer.text)
                    if answer.finish:
                        del going[i]
        except Refused as refused:
            return self._event(refused.plain)  # the head went out long ago; without [DONE] the answer is not whole
        if ask.usage:
            self._event(form.piece([], writing.usage))
        return self._raw(b"data: [DONE]\n\n")

    def _go_on(self, until: float) -> None:
        """Raise where nobody waits any more, or no more time is left."""
        if self._server.stopping.is_set():
            raise Refused(503, "the server is stopping", code="stopping")
        if time.monotonic() > until:
            raise Refused(504, "the answer took too long; ask for fewer tokens", code="timeout")
        self.connection.settimeout(0)
        with suppress(BlockingIOError):  # nothing new: the asker waits
            if not self.connection.recv(1, socket.MSG_PEEK):
                raise ConnectionAbortedError

    # -- bytes ---------------------------------------------------------------------------------------------------------

    def _send(self, status: int, value: Json) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if status == 405:
            self.send_header("Allow", "POST" if self.path in ASKED else "GET")
        if status in _RETRY:
            self.send_header(*_RETRY[status])
        if self.close_connection:
            self.send_header("Connection", "close")
        self._begun = True
        self.end_headers()
        if self.command != "HEAD":
            self._raw(body)

    def _refuse(self, refused: Refused) -> None:
        if self._begun:
            self.close_connection = True
            return
        with suppress(OSError):
            self._send(refused.status, refused.plain)

    def _begin_stream(self) -> None:
        self.close_connection = True  # the end of the connection is the end of the answer
        self._begun = True
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Cache-Control", "no-store")
        self.send_header("Connection", "close")
        self.end_headers()

    def _event(self, value: Json) -> None:
        self._raw(b"data: " + json.dumps(value).encode() + b"\n\n")

    def _raw(self, data: bytes) -> None:
        self.connection.settimeout(self._server.limits.read_s)  # who does not read is left
        self.wfile.write(data)

    def _drain(self) -> None:
        """Take the rest of a request that was refused unread: closed on it, the asker might lose the answer."""
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            self._source.until = min(self._source.until, time.monotonic() + _LINGER_S)
            left = _MAX_DRAINED
            while left > 0 and (data := self.rfile.read1(1 << 16)):
                left -= len(data)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _host(header: str) -> str:
    try:
        return urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return ""

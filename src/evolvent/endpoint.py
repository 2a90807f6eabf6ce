"""A language model behind an address that speaks OpenAI's HTTP interface, asked with the official client.

Nothing is asked unless somebody named the address. No address stands here, none is read from the environment, redirects
are not followed and proxies not used. A request says nothing of this machine; an answer is bounded in bytes and, with
all its retries, in seconds, since whoever answers may be hostile.

Not here: what is asked and how an answer is read (`propose/language_model.py`); serving a model (`serve/`).
"""

from __future__ import annotations

import json
import math
import os
import re
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from evolvent.errors import EndpointFailed, UsageError
from evolvent.types import Said

try:
    import httpx2
    import openai
except ImportError:
    raise UsageError("an endpoint needs the extra: pip install 'evolvent[endpoint]'") from None

__all__ = ["KEY_VARIABLE", "Endpoint"]

KEY_VARIABLE = "EVOLVENT_ENDPOINT_KEY"
_MAX_ANSWER_BYTES = 4 << 20
_PLAIN_URL = re.compile(r"[^\s?#@\\]+")  # the client adds its paths at the very end
_BYTES_A_TOKEN = 4  # of English, about
_FRAME = 64  # tokens by which a server marks who speaks
# What a request needs; the client would add system, versions, and what the environment holds for other services.
_HEADERS = ("host", "content-type", "content-length", "authorization", "accept", "connection")


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """One model at one address.

    Attributes:
        url: base URL, such as ``http://127.0.0.1:8000/v1``.
        model: name by which it knows the model.
        key_variable: environment variable of the key; none is sent where it is not set.
        timeout_s: seconds of one question, retries included.
        max_retries: where it cannot be reached, is busy or fails.
        temperature: 0 repeats itself also where the seed is not looked at.
        max_tokens: of an answer.

    Raises:
        UsageError: the URL is none, or holds more than scheme, host, port and path.
    """

    url: str
    model: str
    key_variable: str = KEY_VARIABLE
    timeout_s: float = 60.0
    max_retries: int = 2
    temperature: float = 0.0
    max_tokens: int = 1024

    def __post_init__(self) -> None:
        """Look at the URL; nothing is reached yet."""
        try:
            parts = urlsplit(self.url)
            well = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            well = False
        if "@" in self.url:  # it would stand in the record; nor is it shown here
            raise UsageError("endpoint: the URL holds a name or password; the key is read from the environment")
        if not well or not _PLAIN_URL.fullmatch(self.url):
            raise UsageError(f"endpoint: expected a URL such as http://127.0.0.1:8000/v1, got {self.url[:200]!r}")

    def complete(self, messages: Sequence[Mapping[str, str]], seed: int) -> Said:
        """The model's answer to a chat, and its tokens.

        Tokens are what the server states, as far as that is possible; where it is not, four bytes count as one.

        Args:
            messages: each a ``role`` and a ``content``.
            seed: of the sampling, for servers that look at it.

        Raises:
            EndpointFailed: it cannot be reached, took too long, or answered something else. Its own words are left out.
        """
        said: list[Said | Exception] = []

        def ask() -> None:
            try:
                said.append(self._ask(messages, seed))
            except Exception as exc:  # an edge: whatever client, network or a stranger's answer make of it
                said.append(exc)

        # A thread that can be left behind: one who sends a byte now and then never runs into a socket's timeout.
        worker = threading.Thread(target=ask, daemon=True)
        worker.start()
        worker.join(self.timeout_s)
        answer = said[0] if said else TimeoutError()
        if isinstance(answer, Exception):
            status = f" {answer.status_code}" if isinstance(answer, openai.APIStatusError) else ""
            how = f"no answer ({type(answer).__name__}{status})"
            if isinstance(answer, _Unlike | json.JSONDecodeError):
                how = (
                    "what answered is no chat completion in OpenAI's form; does the URL name its base, such as .../v1?"
                )
            raise EndpointFailed(f"endpoint {self.url}: {how}") from None
        return answer

    def _ask(self, messages: Sequence[Mapping[str, str]], seed: int) -> Said:
        with (
            httpx2.Client(transport=_Careful(self.timeout_s), timeout=self.timeout_s, follow_redirects=False) as http,
            openai.OpenAI(
                base_url=self.url,
                api_key=os.environ.get(self.key_variable) or "none",  # without one it takes another service's
                max_retries=self.max_retries,
                http_client=http,
            ) as client,
        ):
            done = client.chat.completions.create(
                model=self.model,
                messages=[{"role": m["role"], "content": m["content"]} for m in messages],  # type: ignore[misc] - roles as text
                temperature=self.temperature,
                max_tokens=self.max_tokens,
                seed=seed,
            )
        try:
            text: object = done.choices[0].message.content
        except (AttributeError, IndexError, TypeError):  # the client passes on whatever came
            text = None
        if not isinstance(text, str):
            raise _Unlike
        size = sum(len(m["content"].encode()) for m in messages)
        return Said(text=text, tokens=self._tokens(done.usage, size, len(text.encode("utf-8", "surrogatepass"))))

    def _tokens(self, usage: Any, asked: int, answered: int) -> int:
        """Of a question and an answer of so many bytes; a stranger's count is not believed beyond what can be."""
        stated = getattr(usage, "total_tokens", None)
        most = asked + _FRAME + max(answered, self.max_tokens)  # no token is shorter than a byte; thoughts are unseen
        if type(stated) is int and stated > 0:
            return min(stated, most)
        return math.ceil((asked + answered) / _BYTES_A_TOKEN)


class _Unlike(Exception):
    """Something answered, and not as asked."""


class _Careful(httpx2.HTTPTransport):
    """Sends what is needed, reads so much and no more, and nothing once its time is over."""

    def __init__(self, lasts_s: float) -> None:
        super().__init__()
        self._until = time.monotonic() + lasts_s

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """One request and its whole answer."""
        request.headers = httpx2.Headers([(k, v) for k, v in request.headers.items() if k in _HEADERS])
        response = super().handle_request(request)
        body = bytearray()
        try:
            assert isinstance(response.stream, httpx2.SyncByteStream)
            for chunk in response.stream:
                body += chunk
                if len(body) > _MAX_ANSWER_BYTES or time.monotonic() > self._until:
                    raise httpx2.RemoteProtocolError("endless", request=request)
        finally:
            response.close()
        # Not decompressed: a few bytes can hold gigabytes, and nobody asked for it.
        headers = [(k, v) for k, v in response.headers.items() if k not in ("content-encoding", "transfer-encoding")]
        return httpx2.Response(response.status_code, headers=headers, content=bytes(body), request=request)

"""The way to a language model: the official client, bounded, and telling a stranger nothing that it need not know."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from evolvent.endpoint import KEY_VARIABLE, Endpoint
from evolvent.errors import EndpointFailed, UsageError
from evolvent.precheck import read_folder
from toy_endpoint import NAME, Stranger, completion, says, serving, stranger

CHAT = [{"role": "user", "content": "abcd>"}]


def endpoint(url: str, **fields: Any) -> Endpoint:
    return Endpoint(**{"url": url, "model": "m", "timeout_s": 20.0, "max_retries": 0, **fields})


def test_our_own_server_answers(toy_seed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "the key")
    with serving(read_folder(toy_seed), key="the key") as server:
        ask = endpoint(server.url, model=NAME, max_tokens=100, temperature=1.0)
        assert ask.complete(CHAT, 1) == ask.complete(CHAT, 1)
        assert len({ask.complete(CHAT, seed) for seed in range(8)}) > 1
        with pytest.raises(EndpointFailed, match="NotFoundError 404"):
            endpoint(server.url).complete(CHAT, 1)
        with pytest.raises(EndpointFailed, match="AuthenticationError 401"):
            endpoint(server.url, model=NAME, key_variable="EVOLVENT_NO_SUCH_KEY").complete(CHAT, 1)


def test_a_request_tells_nothing_of_this_machine_and_no_other_services_key(monkeypatch: pytest.MonkeyPatch) -> None:
    others = {
        "OPENAI_API_KEY": "another service's", "OPENAI_ORG_ID": "org", "OPENAI_PROJECT_ID": "project",
        "OPENAI_BASE_URL": "http://127.0.0.1:9/v1", "OPENAI_CUSTOM_HEADERS": "X-Team: blue",
        "HTTP_PROXY": "http://127.0.0.1:9", "ALL_PROXY": "http://127.0.0.1:9",
    }  # fmt: skip
    for name, value in others.items():
        monkeypatch.setenv(name, value)
    with stranger(says(completion("hello"))) as server:
        assert endpoint(server.url).complete(CHAT, 7).text == "hello"
        ((sent, body),) = server.heard
    headers = {name.lower(): value for name, value in sent.items()}
    assert headers.keys() <= {
        "host", "content-type", "content-length", "authorization", "accept", "connection",
    }  # fmt: skip
    assert headers["authorization"] == "Bearer none"
    assert json.loads(body) == {"model": "m", "messages": CHAT, "temperature": 0.0, "max_tokens": 1024, "seed": 7}


@pytest.mark.parametrize(
    ("usage", "counted"),
    [
        ({"total_tokens": 900}, 900),
        ({"total_tokens": 10**9}, 5 + 64 + 1024),
        ({"total_tokens": 0}, 3),
        ({"total_tokens": -5}, 3),
        ({"total_tokens": "many"}, 3),
        (None, 3),
    ],
)
def test_tokens_are_as_stated_where_that_can_be(usage: Any, counted: int) -> None:
    """Ten bytes in all: about three tokens; stated, at most the question's, a frame and the limit of an answer."""
    with stranger(says(completion("hello", usage=usage))) as server:
        said = endpoint(server.url).complete(CHAT, 7)
    assert (said.text, said.tokens) == ("hello", counted)


BROKEN = {
    "no JSON": says(b"<html>no</html>"),
    "a page": says(b"<html>no</html>", kind="text/html"),
    "nothing": says(b""),
    "no choices": says(b"{}"),
    "choices that are none": says(b'{"choices": 7}'),
    "an empty list": says(b'{"choices": []}'),
    "no text": says(completion(None)),
    "another type": says(completion(["a"])),
    "a failure": says(b'{"error": {"message": "sk-secret leaks"}}', 500),
    "too busy": says(b"{}", 429),
    "no such place": says(b"no", 404, "text/plain"),
    "half": says(completion("hello")[:40]),
    "less than announced": says(completion("hello"), Content_Length="100000"),
    "packed": says(gzip.compress(completion("hello")), Content_Encoding="gzip"),
    "too much": says(completion("x" * 6_000_000)),
}


# What the client passes on though it is no completion; the rest it calls an error itself.
UNLIKE: dict[str, str] = dict.fromkeys(
    (
        "no JSON",
        "half",
        "a page",
        "nothing",
        "no choices",
        "choices that are none",
        "an empty list",
        "no text",
        "another type",
    ),
    "no chat completion",
)


@pytest.mark.parametrize("why", BROKEN)
def test_a_broken_answer_is_a_typed_error_without_its_words(why: str) -> None:
    with stranger(BROKEN[why]) as server, pytest.raises(EndpointFailed, match=UNLIKE.get(why, "no answer")) as failed:
        endpoint(server.url, timeout_s=5.0).complete(CHAT, 0)
    assert "secret" not in str(failed.value)


def silent(handler: BaseHTTPRequestHandler) -> None:
    assert isinstance(handler.server, Stranger)
    handler.server.over.wait(30)


def dripping(handler: BaseHTTPRequestHandler) -> None:
    """A byte now and then, for ever: no socket ever waits for long."""
    assert isinstance(handler.server, Stranger)
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
    while not handler.server.over.wait(0.02):
        handler.wfile.write(b" ")


def endless(handler: BaseHTTPRequestHandler) -> None:
    assert isinstance(handler.server, Stranger)
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
    while not handler.server.over.is_set():
        handler.wfile.write(b" " * 65536)


@pytest.mark.parametrize("answer", [silent, dripping, endless])
def test_a_slow_or_endless_answer_ends_in_time(answer: Any) -> None:
    with stranger(answer) as server:
        started = time.monotonic()
        with pytest.raises(EndpointFailed):
            endpoint(server.url, timeout_s=0.7, max_retries=3).complete(CHAT, 0)
        assert time.monotonic() - started < 10


def test_nobody_is_sent_elsewhere() -> None:
    with stranger(says(completion("elsewhere"))) as other:
        with stranger(says(b"", 307, Location=f"{other.url}/chat/completions")) as server:
            with pytest.raises(EndpointFailed, match="307"):
                endpoint(server.url).complete(CHAT, 0)
        assert other.heard == []


def test_a_failure_is_tried_again() -> None:
    with stranger(says(b"{}", 500)) as server:
        with pytest.raises(EndpointFailed):
            endpoint(server.url, max_retries=1).complete(CHAT, 0)
        assert len(server.heard) == 2


def test_a_missing_extra_is_named() -> None:
    code = "import sys; sys.modules['openai'] = None; import evolvent.endpoint"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1].endswith("pip install 'evolvent[endpoint]'")


def test_nobody_there() -> None:
    with stranger(says(b"")) as server:
        url = server.url
    with pytest.raises(EndpointFailed, match="APIConnectionError"):
        endpoint(url).complete(CHAT, 0)


@pytest.mark.parametrize(
    "url",
    [
        "", "localhost:8000", "file:///etc/passwd", "http://", "http://[::1", "http://a:99999",
        "http://a/v1?x=1", "http://a/v1#x", "http://host with space/v1",
    ],
)  # fmt: skip
def test_what_is_no_address_is_told(url: str) -> None:
    with pytest.raises(UsageError, match="expected a URL such as"):
        endpoint(url)


def test_a_password_in_the_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(UsageError, match="the key is read from the environment") as refused:
        endpoint("http://bob:s3cret@127.0.0.1:9/v1")
    assert "s3cret" not in str(refused.value)

"""The server, asked by the official client and by raw sockets, over real models."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai
import pytest

import toy_hub
import toy_world
from evolvent.errors import UsageError
from evolvent.models.files import from_files
from evolvent.models.sampler import sample
from evolvent.precheck import read_folder
from evolvent.run import Run
from evolvent.serve import KEY_VARIABLE, Limits, Served, Server
from evolvent.types import Candidate
from toy_endpoint import NAME, client, endless, serving

LIMITS = Limits(body_bytes=20_000, prompt_chars=4_000, context_tokens=200, max_tokens=100, choices=4, concurrent=4)
WORK = Limits(context_tokens=100_000, max_tokens=90_000, concurrent=2, answer_s=30.0)  # minutes of work, never done
Ask = dict[str, Any]


@pytest.fixture(scope="module")
def files(toy_seed: Path) -> dict[str, bytes]:
    return read_folder(toy_seed)


@pytest.fixture(scope="module")
def server(files: dict[str, bytes]) -> Iterator[Server]:
    with serving(files, LIMITS) as made:
        yield made


@pytest.fixture
def api(server: Server) -> Iterator[openai.OpenAI]:
    with client(server) as made:
        yield made


def chat(text: str, **fields: Any) -> Ask:
    return {"model": NAME, "messages": [{"role": "user", "content": text}], "temperature": 0, **fields}


def sampled(files: dict[str, bytes], prompt: str, **fields: Any) -> Any:
    model, codec = from_files(files)
    return sample(model, codec, [prompt], **{"max_new_tokens": LIMITS.max_tokens, **fields})


# -- answers -----------------------------------------------------------------------------------------------------------


def test_what_is_here(server: Server, api: openai.OpenAI) -> None:
    (row,) = api.models.list().data
    assert (row.id, row.object) == (NAME, "model")
    assert api.models.retrieve(NAME) == row
    assert row.model_dump()["context_tokens"] == LIMITS.context_tokens
    assert "joined by a newline" in row.model_dump()["template"]
    assert raw(server, b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")[1] == {"status": "ok"}


def test_an_answer_is_the_models_own_and_its_counts_are_real(files: dict[str, bytes], api: openai.OpenAI) -> None:
    for prompt in ("ab>", "abcdefgh>", "ponmlkji>"):
        wanted = sampled(files, prompt)
        said = api.chat.completions.create(**chat(prompt))
        assert said.choices[0].message.content == wanted.outputs[0][0]
        assert said.choices[0].finish_reason == "stop"
        assert said.usage is not None
        assert (said.usage.prompt_tokens, said.usage.completion_tokens) == (wanted.tokens_read, wanted.tokens_written)
        plain = api.completions.create(model=NAME, prompt=prompt, temperature=0)
        assert plain.choices[0].text == wanted.outputs[0][0]
        assert plain.system_fingerprint == said.system_fingerprint


def test_messages_are_joined_by_the_declared_template(api: openai.OpenAI) -> None:
    parts: Any = [{"type": "text", "text": "abc"}, {"type": "text", "text": "d>"}]
    said = api.chat.completions.create(model=NAME, temperature=0, messages=[{"role": "user", "content": parts}])
    assert said == api.chat.completions.create(**chat("abcd>")).model_copy(
        update={"id": said.id, "created": said.created}
    )
    both: Any = [{"role": "system", "content": "ab"}, {"role": "user", "content": "c>"}]
    with pytest.raises(openai.BadRequestError, match=r"'\\n' is not in the alphabet"):  # the newline between them
        api.chat.completions.create(model=NAME, messages=both)


def test_the_same_seed_gives_the_same_text(files: dict[str, bytes], api: openai.OpenAI) -> None:
    ask = chat("abcdefghijkl>", temperature=1.5, n=4, seed=11)
    first, again = (api.chat.completions.create(**ask) for _ in range(2))
    texts = [choice.message.content for choice in first.choices]
    assert texts == [choice.message.content for choice in again.choices]
    assert texts == sampled(files, "abcdefghijkl>", temperature=1.5, num_samples=4, seed=11).outputs[0]
    assert len(set(texts)) > 1
    fresh = [api.chat.completions.create(**chat("abcdefghijkl>", temperature=1.5)) for _ in range(6)]
    assert len({one.choices[0].message.content for one in fresh}) > 1


def test_an_answer_ends_at_a_stop_or_at_its_length(api: openai.OpenAI) -> None:
    whole = api.chat.completions.create(**chat("abcd>")).choices[0].message.content
    assert whole
    cut = api.chat.completions.create(**chat("abcd>", stop=[whole[-1]])).choices[0]
    assert (cut.message.content, cut.finish_reason) == (whole[: whole.index(whole[-1])], "stop")
    short = api.chat.completions.create(**chat("abcd>", max_completion_tokens=1))
    assert (short.choices[0].message.content, short.choices[0].finish_reason) == (whole[0], "length")
    assert short.usage is not None
    assert short.usage.completion_tokens == 1


@pytest.mark.parametrize("more", [{}, {"temperature": 1.4, "n": 3, "seed": 5}, {"stop": ["cb", "a"]}])
def test_the_pieces_of_a_stream_are_the_answer(api: openai.OpenAI, more: Ask) -> None:
    whole = api.chat.completions.create(**chat("abcdefgh>", **more))
    texts, ends, usage = [""] * len(whole.choices), [""] * len(whole.choices), None
    for event in api.chat.completions.create(
        **chat("abcdefgh>", **more), stream=True, stream_options={"include_usage": True}
    ):
        for choice in event.choices:
            texts[choice.index] += choice.delta.content or ""
            ends[choice.index] = choice.finish_reason or ends[choice.index]
        usage = event.usage
    assert texts == [choice.message.content for choice in whole.choices]
    assert ends == [choice.finish_reason for choice in whole.choices]
    assert usage == whole.usage
    plain = {k: v for k, v in chat("", **more).items() if k != "messages"}
    pieces = list(api.completions.create(prompt="abcdefgh>", stream=True, **plain))
    assert "".join(c.text for event in pieces for c in event.choices if c.index == 0) == texts[0]


def test_parallel_requests_get_their_own_answers(files: dict[str, bytes], api: openai.OpenAI) -> None:
    prompts = [f"{'abcdefghijklmnop'[i]}{'ponm'[i % 4]}>" for i in range(16)]
    with ThreadPoolExecutor(4) as threads:
        said = list(threads.map(lambda p: api.chat.completions.create(**chat(p)).choices[0].message.content, prompts))
    model, codec = from_files(files)
    assert said == [sample(model, codec, [p]).outputs[0][0] for p in prompts]


def test_a_model_of_the_transformers_library_is_served_too(tmp_path: Path) -> None:
    toy_hub.made("gpt2", tmp_path, positions=64)
    with serving(read_folder(tmp_path)) as server, client(server) as api:
        assert server.served.context == 64
        ask: Ask = {"model": NAME, "prompt": "h\u00e9llo \u20ac", "temperature": 1.5, "seed": 4, "max_tokens": 40}
        whole = api.completions.create(**ask)
        pieces = [choice.text for event in api.completions.create(**ask, stream=True) for choice in event.choices]
        assert "".join(pieces) == whole.choices[0].text
        assert whole.usage is not None
        assert (whole.usage.prompt_tokens, whole.usage.completion_tokens) == (10, 40)


# -- refusals ----------------------------------------------------------------------------------------------------------

WRONG: dict[str, tuple[Ask, int, str | None, str | None]] = {
    "another model": ({"model": "gpt"}, 404, "model", "model_not_found"),
    "a character that the model does not have": ({"messages": [{"role": "user", "content": "Z>"}]}, 400, None,
                                                 "invalid_prompt"),
    "half a character": ({"messages": [{"role": "user", "content": "\ud800>"}]}, 400, None, None),
    "nothing": ({"messages": [{"role": "user", "content": ""}]}, 400, None, "invalid_prompt"),
    "no message": ({"messages": []}, 400, "messages", "invalid_value"),
    "a tool's message": ({"messages": [{"role": "tool", "content": "a>"}]}, 400, "messages", "invalid_value"),
    "too long a prompt": ({"messages": [{"role": "user", "content": "a" * 200}]}, 400, None, "context_length_exceeded"),
    "too many characters": ({"messages": [{"role": "user", "content": "a" * 5000}]}, 400, None,
                            "context_length_exceeded"),
    "no room for the answer": ({"messages": [{"role": "user", "content": "a" * 150}], "max_tokens": 60}, 400, None,
                               "context_length_exceeded"),
    "too large a body": ({"messages": [{"role": "user", "content": "a" * 3_000_000}]}, 413, None, "request_too_large"),
    "too many tokens": ({"max_tokens": 1_000_000}, 400, "max_tokens", "limit_exceeded"),
    "no tokens": ({"max_tokens": 0}, 400, "max_tokens", "invalid_value"),
    "two limits": ({"max_tokens": 5, "max_completion_tokens": 5}, 400, "max_tokens", None),
    "too many answers": ({"n": 1000}, 400, "n", "limit_exceeded"),
    "hot": ({"temperature": 2.5}, 400, "temperature", "invalid_value"),
    "a truth for a number": ({"temperature": True}, 400, "temperature", "invalid_value"),
    "a text for a number": ({"n": "2"}, 400, "n", "invalid_value"),
    "an endless seed": ({"seed": 10**30}, 400, "seed", "invalid_value"),
    "an empty stop": ({"stop": ""}, 400, "stop", "invalid_value"),
    "many stops": ({"stop": list("abcde")}, 400, "stop", "invalid_value"),
    "what we cannot do": ({"top_p": 0.5}, 400, "top_p", "invalid_value"),
    "what we do not know": ({"response_format": {"type": "json_object"}}, 400, "response_format",
                            "unsupported_parameter"),
}  # fmt: skip


@pytest.mark.parametrize("why", WRONG)
def test_a_wrong_request_gets_openais_error(server: Server, why: str) -> None:
    fields, status, param, code = WRONG[why]
    body = json.dumps({**chat("ab>"), **fields}).encode()
    said, told = raw(server, post(body))
    assert said == status
    assert told.keys() == {"error"}
    assert told["error"].keys() == {"message", "type", "param", "code"}
    assert (told["error"]["param"], told["error"]["type"]) == (param, "invalid_request_error")
    assert told["error"]["code"] == code or code is None
    assert len(told["error"]["message"]) < 500


def test_the_client_understands_our_errors(api: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="there is only 'tiny'"):
        api.chat.completions.create(**{**chat("ab>"), "model": "gpt"})
    with pytest.raises(openai.BadRequestError, match=r"'Z' is not in the alphabet 'abcdefghijklmnop>'") as refused:
        api.chat.completions.create(**chat("Z>"))
    assert refused.value.code == "invalid_prompt"
    with pytest.raises(openai.APIStatusError) as large:
        api.chat.completions.create(**chat("a" * 3_000_000))
    assert large.value.status_code == 413


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 15_000,
        b'{"n": NaN}',
        b'{"n": 1' + b"0" * 9000 + b"}",
        b'{"a": "\\ud800"}',
    ],
    ids=["empty", "half", "list", "null", "bytes", "deep", "nan", "digits", "surrogate"],
)
def test_a_body_that_is_no_request(server: Server, body: bytes) -> None:
    status, told = raw(server, post(body))
    assert (status, told["error"]["type"]) == (400, "invalid_request_error")


HEAD = b"Host: 127.0.0.1\r\nContent-Type: application/json\r\n"
HOSTILE = {
    "another method": (b"DELETE /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
    "a page asks first": (b"OPTIONS /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
    "reading what is written to": (b"GET /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
    "writing what is read": (b"POST /v1/models HTTP/1.1\r\n" + HEAD + b"Content-Length: 2\r\n\r\n{}", 405),
    "no such path": (b"GET /v1/files/../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
    "no such path to write": (b"POST /v1/embeddings HTTP/1.1\r\n" + HEAD + b"Content-Length: 2\r\n\r\n{}", 404),
    "another host": (b"GET /v1/models HTTP/1.1\r\nHost: evil.example\r\n\r\n", 403),
    "a host like ours": (b"GET /v1/models HTTP/1.1\r\nHost: localhost.evil.example:80\r\n\r\n", 403),
    "no host": (b"GET /v1/models HTTP/1.1\r\n\r\n", 403),
    "a broken host": (b"GET /v1/models HTTP/1.1\r\nHost: [::1\r\n\r\n", 403),
    "no length": (b"POST /v1/completions HTTP/1.1\r\n" + HEAD + b"\r\n", 411),
    "two lengths": (
        b"POST /v1/completions HTTP/1.1\r\n" + HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        411,
    ),
    "pieces": (b"POST /v1/completions HTTP/1.1\r\n" + HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 411),
    "both": (
        b"POST /v1/completions HTTP/1.1\r\n" + HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        411,
    ),
    "a negative length": (b"POST /v1/completions HTTP/1.1\r\n" + HEAD + b"Content-Length: -2\r\n\r\n{}", 400),
    "an endless length": (
        b"POST /v1/completions HTTP/1.1\r\n" + HEAD + b"Content-Length: " + b"9" * 99 + b"\r\n\r\n{}",
        413,
    ),
    "a form": (
        b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}",
        415,
    ),
    "reading with a body": (b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}", 400),
    "no HTTP": (b"hello there, model\r\n\r\n", 400),
    "a late version": (b"GET /v1/models HTTP/9.9\r\nHost: localhost\r\n\r\n", 400),
    "a long line": (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", 414),
    "many headers": (b"GET /v1/models HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n", 431),
}


@pytest.mark.parametrize("why", HOSTILE)
def test_hostile_http(server: Server, why: str) -> None:
    sent, status = HOSTILE[why]
    said, told = raw(server, sent)
    assert said == status
    assert told["error"]["message"]


def post(body: bytes, path: str = "/v1/chat/completions") -> bytes:
    return f"POST {path} HTTP/1.1\r\n".encode() + HEAD + f"Content-Length: {len(body)}\r\n\r\n".encode() + body


def connect(server: Server) -> socket.socket:
    host, port = server.server_address[:2]
    return socket.create_connection((str(host), int(port)), timeout=20)


def raw(server: Server, sent: bytes) -> tuple[int, Any]:
    """Status and JSON of the first answer to some bytes."""
    with connect(server) as peer:
        peer.sendall(sent)
        return answer_of(peer)


def answer_of(peer: socket.socket) -> tuple[int, Any]:
    with peer.makefile("rb") as file:
        status = int(file.readline().split()[1])
        headers = dict(line.decode().strip().split(": ", 1) for line in iter(file.readline, b"\r\n"))
        assert headers["Content-Type"] == "application/json"
        return status, json.loads(file.read(int(headers["Content-Length"])))


# -- limits, keys, ends ------------------------------------------------------------------------------------------------


def test_a_connection_is_used_again_and_an_idle_one_is_closed(files: dict[str, bytes]) -> None:
    with serving(files, Limits(read_s=1.0)) as server, connect(server) as peer:
        for _ in range(3):
            peer.sendall(post(json.dumps(chat("ab>")).encode()))
            assert answer_of(peer)[0] == 200
        assert peer.recv(1) == b""


@pytest.mark.parametrize("part", [b"", b"GET /hea", b"POST /v1/completions HTTP/1.1\r\nA: b\r\n", post(b"{}")[:-1]])
def test_who_is_slow_is_left(files: dict[str, bytes], part: bytes) -> None:
    # The second peer has to be in time too, on a busy machine.
    with serving(files, Limits(read_s=1.0, connections=1)) as server:
        with connect(server) as peer:
            for i in range(len(part)):
                peer.sendall(part[i : i + 1])  # never idle for long
            started = time.monotonic()
            assert peer.recv(1) == b""
            assert time.monotonic() - started < 5
        with connect(server) as peer:  # the one place is free again
            peer.sendall(post(json.dumps(chat("ab>")).encode()))
            assert answer_of(peer)[0] == 200


def test_there_are_so_many_connections(files: dict[str, bytes]) -> None:
    with serving(files, Limits(connections=2)) as server, connect(server) as first, connect(server) as second:
        for peer in (first, second):
            peer.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert answer_of(peer)[0] == 200
        with connect(server) as third:
            assert third.recv(1) == b""


def test_too_many_requests_at_once_are_turned_away_and_who_hangs_up_frees_the_place() -> None:
    ask = post(json.dumps(chat("a")).encode())
    with serving(endless(), WORK) as server:
        with connect(server) as first, connect(server) as second:
            first.sendall(ask)
            second.sendall(ask)
            wait_until(lambda: full(server))  # a third that came before the second would have its place
            assert raw(server, ask)[0] == 429
            with client(server) as api, pytest.raises(openai.RateLimitError) as refused:
                api.chat.completions.create(**chat("a"))
            assert refused.value.response.headers["Retry-After"] == "1"
            assert refused.value.code == "rate_limit_exceeded"
        with client(server) as api:  # both hung up
            said = []

            def answered() -> bool:
                try:
                    said.append(api.chat.completions.create(**chat("a", max_tokens=3)))
                except openai.RateLimitError:
                    return False
                return True

            wait_until(answered)
            assert said[0].choices[0].finish_reason == "length"


def full(server: Server) -> bool:
    """Whether every place is taken."""
    free = server.places.acquire(blocking=False)
    if free:
        server.places.release()
    return not free


def wait_until(holds: Any, patience_s: float = 20.0) -> None:
    until = time.monotonic() + patience_s
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_an_answer_that_takes_too_long_is_ended() -> None:
    with serving(endless(), Limits(context_tokens=100_000, max_tokens=90_000, answer_s=0.2)) as server:
        with client(server) as api:
            with pytest.raises(openai.InternalServerError, match="took too long") as late:
                api.chat.completions.create(**chat("a"))
            assert late.value.status_code == 504
            with pytest.raises(openai.APIError, match="took too long"):
                list(api.chat.completions.create(**chat("a", stream=True)))


def test_a_key_is_asked_for_where_there_is_one(files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(files, LIMITS, key="s3cret") as server:
        with client(server, "s3cret") as api:
            assert api.models.list().data
        for wrong in ("", "s3cre", "S3cret", "s3cret "):
            head = f"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {wrong}x\r\n\r\n".encode()
            assert raw(server, head)[1]["error"]["type"] == "authentication_error"
        with client(server, "other") as api, pytest.raises(openai.AuthenticationError):
            api.chat.completions.create(**chat("ab>"))
        assert raw(server, b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")[0] == 200
    served = Served(NAME, files)
    with pytest.raises(UsageError, match=f"set {KEY_VARIABLE}"):
        Server(served, host="0.0.0.0", port=0)
    monkeypatch.setenv(KEY_VARIABLE, "from the environment")
    open_to_all = Server(served, host="0.0.0.0", port=0)
    assert open_to_all.key == "from the environment"
    open_to_all.server_close()


def test_an_address_that_cannot_be_had_is_told(server: Server, files: dict[str, bytes]) -> None:
    with pytest.raises(UsageError, match="name a free address"):
        Server(Served(NAME, files), port=int(server.server_address[1]))
    with pytest.raises(UsageError, match="name a free address"):
        Server(Served(NAME, files), host="127.0.0.999", port=0, key="k")


def test_a_model_with_a_bound_of_its_own_reads_no_more(files: dict[str, bytes]) -> None:
    config = {**json.loads(files["config.json"]), "max_position_embeddings": 30}
    assert Served(NAME, {**files, "config.json": json.dumps(config).encode()}).context == 30


def test_closing_ends_the_work_under_way_and_says_so() -> None:
    with serving(endless(), WORK) as server, connect(server) as peer, connect(server) as idle:
        peer.sendall(post(json.dumps(chat("a")).encode()))
        wait_until(server.work.locked)
        started = time.monotonic()
        server.close()
        assert answer_of(peer)[0] == 503
        assert idle.recv(1) == b""
        assert time.monotonic() - started < 5


# -- the command -------------------------------------------------------------------------------------------------------


def started(*arguments: str) -> tuple[subprocess.Popen[str], dict[str, Any]]:
    source = str(Path(toy_world.__file__).parents[1] / "src")
    env = {**os.environ, "PYTHONPATH": source, "OMP_NUM_THREADS": "1"}
    argv = [sys.executable, "-m", "evolvent", "serve", "--port", "0", "--json", *arguments]
    process = subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, json.loads(process.stdout.readline())


def test_the_command_serves_a_folder_until_it_is_stopped(toy_seed: Path) -> None:
    process, where = started("--model", str(toy_seed))
    with openai.OpenAI(base_url=where["address"], api_key="none", max_retries=0) as api:
        assert where["model"] == toy_seed.name
        assert api.chat.completions.create(**{**chat("ab>"), "model": where["model"]}).choices[0].message.content
        process.send_signal(signal.SIGINT)  # while a connection is open
        assert process.communicate(timeout=60) == ("", "")
    assert process.returncode == 0


@pytest.mark.slow  # a run and a second process; the folder above takes the same way
def test_the_command_serves_a_runs_champion(toy_seed: Path, files: dict[str, bytes], tmp_path: Path) -> None:
    run = toy_world.new_run(tmp_path / "run", toy_seed)
    version = begin(run, files)
    process, where = started("-C", str(run.folder))
    expected = {"model": "champion", "version": version[:12], "scaffold": "vote"}
    assert {name: where[name] for name in expected} == expected
    with openai.OpenAI(base_url=where["address"], api_key="none", max_retries=0) as api:
        said = api.chat.completions.create(**{**chat("abcd>"), "model": "champion"})
        assert said.choices[0].message.content == sampled(files, "abcd>").outputs[0][0]
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=60) == ("", "")


def begin(run: Run, files: dict[str, bytes]) -> str:
    """A run's first events, as the loop writes them: its seed is champion."""
    model = run.store.put_tree(files, "model", {"parameters": 1})
    candidate = Candidate(model=model, scaffold={"kind": "vote"}, genome=run.store.put_json({}))
    imported = {"version": candidate.hash, "candidate": candidate.plain(), "policy": {}, "parameters": 1, "gold": ""}
    goal = {"skill": "short", **run.settings.goal.model_dump()}
    start = {
        "config": run.settings.recorded(),
        "task": "strings",
        "seed": 3,
        "plan": run.settings.plan.hash,
        "goal": goal,
    }
    with run.ledger(create=True) as ledger:
        ledger.acquire()
        ledger.append("run.started", start, actor="controller", key="run", cost={})
        ledger.append("seed.imported", imported, actor="controller", key="seed", cost={})
    return candidate.hash

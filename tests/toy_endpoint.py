"""A character model that knows by heart what to answer to some chats, and a server for any model, in this process."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import openai

from evolvent.models.codec import CharCodec
from evolvent.models.files import to_files
from evolvent.models.transformer import Decoder, EvolventConfig
from evolvent.serve import Limits, Served, Server
from evolvent.train.batches import Example, Source, batches
from evolvent.train.optimise import Schedule, optimise

PRINTABLE = "\n" + "".join(map(chr, range(32, 127)))
NAME = "tiny"


def learn(pairs: Sequence[tuple[str, str]], *, tail: int = 60, short: int = 60, whole: int = 48) -> dict[str, bytes]:
    """Files of a model of 50,000 parameters that answers these prompts so. Deterministic.

    First it learns the answers behind the last `tail` characters of the prompts, which is cheap, then behind the whole.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    codec = CharCodec(PRINTABLE)
    config = EvolventConfig(
        vocab_size=codec.size, hidden_size=48, num_hidden_layers=2, num_attention_heads=4, intermediate_size=96
    )
    model = Decoder(config)
    for steps, kept, rate in ((short, tail, 1e-2), (whole, 1 << 20, 5e-3)):
        examples = [Example(prompt[-kept:], answer) for prompt, answer in pairs]
        width = max(len(e.prompt) + len(e.answer) + 1 for e in examples)
        data = batches([Source("pairs", examples, 1.0)], codec, steps, width * len(pairs), 0)
        optimise(model, data, Schedule(steps=steps, learning_rate=rate, warmup=1))
    torch.set_num_threads(threads)
    return to_files(model, codec)


def endless() -> dict[str, bytes]:
    """Files of an untrained model whose greedy answers to ``a`` never end."""
    import torch

    torch.manual_seed(1)
    codec = CharCodec("abcdef")
    model = Decoder(EvolventConfig(vocab_size=codec.size, hidden_size=16, num_hidden_layers=1, num_attention_heads=2))
    with torch.no_grad():
        model.embed.weight[codec.eos] = 0.0  # a logit of 0 is never the largest
    return to_files(model, codec)


@contextmanager
def serving(files: Mapping[str, bytes], limits: Limits | None = None, key: str = "") -> Iterator[Server]:
    """A server on a free port of this machine, in a thread."""
    server = Server(Served(NAME, files, limits), port=0, key=key)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server
    finally:
        server.close()
        thread.join()


@contextmanager
def client(server: Server, key: str = "none") -> Iterator[openai.OpenAI]:
    """The official client, without retries."""
    with openai.OpenAI(base_url=server.url, api_key=key, max_retries=0) as made:
        yield made


class Stranger(ThreadingHTTPServer):
    """A server that answers whatever it was made to answer, and remembers what it was told."""

    daemon_threads = True

    def __init__(self, answer: Callable[[BaseHTTPRequestHandler], None]) -> None:
        self.answer, self.heard = answer, list[tuple[dict[str, str], bytes]]()
        self.over = threading.Event()
        super().__init__(("127.0.0.1", 0), _StrangersHandler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Askers leave."""


class _StrangersHandler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Stranger)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.heard.append((dict(self.headers.items()), body))
        self.server.answer(self)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def says(body: bytes, status: int = 200, kind: str = "application/json", **headers: str) -> Any:
    """An answer of these bytes."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def completion(text: Any, **more: Any) -> bytes:
    """A chat completion that says this."""
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return json.dumps(
        {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], **more}
    ).encode()


@contextmanager
def stranger(answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[Stranger]:
    """A stranger's server in a thread."""
    server = Stranger(answer)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server
    finally:
        server.over.set()
        server.shutdown()
        server.server_close()
        thread.join()

"""A character model that learned by heart what to answer to some chats, and a server around any model, in this process."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import openai

from evolvent.models.codec import CharCodec
from evolvent.models.files import to_files
from evolvent.models.transformer import EvolventConfig, EvolventForCausalLM
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
    model = EvolventForCausalLM(config)
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
    model = EvolventForCausalLM(
        EvolventConfig(vocab_size=codec.size, hidden_size=16, num_hidden_layers=1, num_attention_heads=2)
    )
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

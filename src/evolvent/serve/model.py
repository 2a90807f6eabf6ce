"""A loaded model that writes answers to one request at a time, and knows when each has ended.

Not here: HTTP (`server.py`), scaffolds: what is served is the raw model.
"""

from __future__ import annotations

import secrets
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any

from evolvent.models.codec import Codec, Encoded
from evolvent.models.files import from_files, longest
from evolvent.models.sampler import stream
from evolvent.serve.asked import Ask, Limits, Refused
from evolvent.types import content_hash, sha256_hex

__all__ = ["Answer", "Served", "Writing"]

_HALF = "\ufffd"  # what a tokenizer shows of a character that has not come whole


@dataclass
class Answer:
    """One answer while it is written.

    Attributes:
        ids: tokens, the end mark included.
        text: what they say; while it is written, only what later tokens will not change.
        finish: ``stop`` or ``length`` once it has ended.
    """

    ids: list[int] = field(default_factory=list)
    text: str = ""
    finish: str = ""
    _last: str = ""

    def look(self, decoded: str, stop: tuple[str, ...], *, final: bool) -> None:
        """Take in what the tokens say now.

        A codec may still change a text's end (a space, half a character); what two steps in a row begin with stays.
        """
        settled = decoded if final else _shared(self._last, decoded).rstrip(_HALF)
        self._last = decoded
        cut = min((place for word in stop if (place := settled.find(word)) >= 0), default=-1)
        if cut >= 0:
            self.text, self.finish = settled[:cut], "stop"
        else:
            self.text = settled if final else settled[: len(settled) - _begun(settled, stop)]


def _shared(one: str, other: str) -> str:
    """What both begin with."""
    if other.startswith(one):
        return one
    return one[: next(i for i, char in enumerate(one) if other[i : i + 1] != char)]


def _begun(text: str, stop: tuple[str, ...]) -> int:
    """Characters at the end of a text with which a stop may begin."""
    sizes = (size for word in stop for size in range(len(word) - 1, 0, -1) if text.endswith(word[:size]))
    return max(sizes, default=0)


@dataclass(frozen=True)
class Writing:
    """A request at work.

    Attributes:
        prompt_tokens: tokens of the prompt.
        answers: in their order; they grow while `steps` is read.
        steps: one item a step; closing it ends the work.
    """

    prompt_tokens: int
    answers: list[Answer]
    steps: Generator[None]

    @property
    def usage(self) -> dict[str, int]:
        """Tokens read and written, end marks included."""
        written = sum(len(answer.ids) for answer in self.answers)
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": written,
            "total_tokens": self.prompt_tokens + written,
        }


class Served:
    """A model under the name by which it is asked for.

    Args:
        name: what ``model`` must say.
        files: of the model, as `models.files` has them.
        limits: what is given at most.

    Raises:
        UsageError: the files are no model, or break a rule of the pre-check.
    """

    def __init__(self, name: str, files: Mapping[str, bytes], limits: Limits | None = None) -> None:
        self._model, self._codec = from_files(files)
        self.name, self.limits = name, limits or Limits()
        self.fingerprint = content_hash({file: sha256_hex(data) for file, data in files.items()})[:12]
        own = longest(self._model)
        self.context = self.limits.context_tokens if own is None else min(self.limits.context_tokens, own)

    def write(self, ask: Ask) -> Writing:
        """Begin to answer; nothing is computed before `steps` is read.

        Raises:
            Refused: 400: the prompt holds what the model cannot read, or it is empty or too long.
        """
        encoded = self._read(ask.prompt)
        room = self.context - len(encoded.ids)
        if room < (ask.max_tokens or 1):
            raise Refused(
                400,
                f"prompt: {len(encoded.ids)} tokens and {ask.max_tokens or 1} of the answer are more than the "
                f"{self.context} that fit; nothing is cut off, so send less",
                code="context_length_exceeded",
            )
        answers = [Answer() for _ in range(ask.n)]
        limit = ask.max_tokens or min(room, self.limits.max_tokens)
        return Writing(len(encoded.ids), answers, _steps(self._model, self._codec, encoded, ask, answers, limit))

    def _read(self, prompt: str) -> Encoded:
        most = self.limits.prompt_chars
        if len(prompt) > most:
            raise Refused(
                400, f"prompt: expected at most {most} characters, got {len(prompt)}", code="context_length_exceeded"
            )
        try:
            encoded = self._codec.encode(prompt)
        except ValueError as exc:
            raise Refused(400, f"prompt: the model cannot read it: {str(exc)[:300]}", code="invalid_prompt") from None
        if not encoded.ids:
            raise Refused(400, "prompt: expected at least one token, got none", code="invalid_prompt")
        return encoded


def _steps(model: Any, codec: Codec, encoded: Encoded, ask: Ask, answers: list[Answer], limit: int) -> Generator[None]:
    tokens = stream(
        model,
        codec,
        encoded,
        num_samples=ask.n,
        temperature=ask.temperature,
        max_new_tokens=limit,
        seed=secrets.randbits(63) if ask.seed is None else ask.seed,
    )
    for step in tokens:
        for index, token in step:
            answer = answers[index]
            if answer.finish:
                continue
            answer.ids.append(token)
            ended = token == codec.eos or len(answer.ids) == limit
            if ended or ask.stop or ask.stream:
                answer.look(codec.decode(answer.ids, encoded), ask.stop, final=ended)
            if ended and not answer.finish:
                answer.finish = "stop" if token == codec.eos else "length"
        yield
        if all(answer.finish for answer in answers):
            return

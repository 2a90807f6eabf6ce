"""What a request asks for: read strictly, or refused in OpenAI's own words for errors.

A field that would change the answer and that we do not carry out is refused, never ignored. Of a chat, the texts of all
messages are joined by a newline, roles left out: so a chat of one message is a plain prompt, and a model that was never
taught roles reads nothing that it does not know.

Not here: the model (`model.py`), HTTP (`server.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

__all__ = ["TEMPLATE", "Ask", "Limits", "Refused", "parse"]

TEMPLATE = "the texts of all messages joined by a newline, roles left out"
COLDEST = 0.01  # below, a sampled answer is the greedy one, or its arithmetic overflows
_STOPS, _STOP_CHARS = 4, 200


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one server gives at most.

    Attributes:
        body_bytes: of a request.
        prompt_chars: of a prompt: reading one may take time that grows with its square.
        context_tokens: prompt and answer together; a model's own limit counts too.
        max_tokens: of one answer.
        choices: answers to one request (``n``).
        concurrent: requests at work or waiting for it; beyond it they get 429.
        connections: open at once; beyond it they are closed unanswered.
        read_s: seconds in which a request must have come whole; also how long a connection may be idle.
        answer_s: seconds in which a request is answered, its waiting included.
    """

    body_bytes: int = 1 << 20
    prompt_chars: int = 1 << 15
    context_tokens: int = 4096
    max_tokens: int = 1024
    choices: int = 8
    concurrent: int = 8
    connections: int = 64
    read_s: float = 30.0
    answer_s: float = 120.0


class Refused(Exception):
    """A request that gets an error: HTTP status, and OpenAI's `message`, `type`, `param`, `code`."""

    def __init__(self, status: int, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.param, self.code = status, param, code

    @property
    def plain(self) -> dict[str, Any]:
        """The body of the answer."""
        kinds = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
        kind = kinds.get(self.status, "server_error" if self.status >= 500 else "invalid_request_error")
        return {"error": {"message": str(self), "type": kind, "param": self.param, "code": self.code}}


@dataclass(frozen=True, kw_only=True)
class Ask:
    """A request, understood.

    Attributes:
        model: name asked for.
        prompt: what the model reads.
        n: number of answers.
        temperature: 0 is greedy.
        max_tokens: of each answer; ``None`` for as many as there is room for.
        seed: of the sampling; ``None`` for a fresh one.
        stop: texts before which an answer ends.
        stream: send pieces while they are written.
        usage: end the stream with the counts.
    """

    model: str
    prompt: str
    n: int
    temperature: float
    max_tokens: int | None
    seed: int | None
    stop: tuple[str, ...]
    stream: bool
    usage: bool


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    type: Literal["text"]
    text: str


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[_Part]
    name: str | None = None  # who speaks, which no prompt says

    @property
    def words(self) -> str:
        return self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)


class _StreamOptions(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    include_usage: bool | None = None


_Stop = Annotated[str, Field(min_length=1, max_length=_STOP_CHARS)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
    model: str
    n: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: _Stop | Annotated[list[_Stop], Field(max_length=_STOPS)] | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    user: str | None = None  # for the asker's own books
    # Taken where they change nothing: many clients send their defaults.
    top_p: Annotated[float, Field(ge=1, le=1)] | None = None
    presence_penalty: Annotated[float, Field(ge=0, le=0)] | None = None
    frequency_penalty: Annotated[float, Field(ge=0, le=0)] | None = None


class _Chat(_Body):
    messages: Annotated[list[_Message], Field(min_length=1)]
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    logprobs: Literal[False] | None = None


class _Text(_Body):
    prompt: str


def parse(body: bytes, *, chat: bool, limits: Limits) -> Ask:
    """The request of a body.

    Args:
        body: JSON, as it came.
        chat: of ``/v1/chat/completions``, else of ``/v1/completions``.
        limits: of the server.

    Raises:
        Refused: 400, and which field is wrong.
    """
    try:
        asked: _Chat | _Text = _Chat.model_validate_json(body) if chat else _Text.model_validate_json(body)
    except ValidationError as exc:
        raise _wrong(exc.errors(include_url=False, include_context=False, include_input=False)[0]) from None
    prompt = "\n".join(m.words for m in asked.messages) if isinstance(asked, _Chat) else asked.prompt
    longest = asked.max_tokens
    if isinstance(asked, _Chat) and asked.max_completion_tokens is not None:
        if longest is not None:
            raise Refused(400, "max_tokens: give this or max_completion_tokens, not both", param="max_tokens")
        longest = asked.max_completion_tokens
    for name, value, most in (("n", asked.n, limits.choices), ("max_tokens", longest, limits.max_tokens)):
        if value is not None and value > most:
            raise Refused(400, f"{name}: expected at most {most}, got {value}", param=name, code="limit_exceeded")
    temperature = 1.0 if asked.temperature is None else asked.temperature
    return Ask(
        model=asked.model,
        prompt=prompt,
        n=asked.n or 1,
        temperature=temperature if temperature >= COLDEST else 0.0,
        max_tokens=longest,
        seed=asked.seed,
        stop=(asked.stop,) if isinstance(asked.stop, str) else tuple(asked.stop or ()),
        stream=bool(asked.stream),
        usage=bool(asked.stream_options and asked.stream_options.include_usage),
    )


def _wrong(error: Mapping[str, Any]) -> Refused:
    """The first thing that is wrong with a body, without what was in it."""
    param = str(error["loc"][0])[:80] if error["loc"] else None
    if error["type"] == "extra_forbidden":
        where = ".".join(str(part) for part in error["loc"])[:80]
        return Refused(400, f"{where}: not supported here; leave it out", param=param, code="unsupported_parameter")
    return Refused(400, f"{param or 'body'}: {error['msg'][:300]}", param=param, code="invalid_value")

"""The shapes of OpenAI's answers, whole and in pieces.

Not here: what they say (`model.py`), how they are sent (`server.py`).
"""

from __future__ import annotations

import time
import uuid
from typing import Any

from evolvent.serve.model import Served, Writing

__all__ = ["Form", "Json"]

Json = dict[str, Any]


class Form:
    """The shapes of OpenAI's answers."""

    def __init__(self, chat: bool, served: Served) -> None:
        self._chat = chat
        self._kind = "chat.completion" if chat else "text_completion"
        self._head = {
            "id": f"{'chatcmpl' if chat else 'cmpl'}-{uuid.uuid4().hex}",
            "created": int(time.time()),
            "model": served.name,
            "system_fingerprint": served.fingerprint,
        }

    def whole(self, writing: Writing) -> Json:
        """All answers at once."""
        rows = []
        for i, answer in enumerate(writing.answers):
            message = {"role": "assistant", "content": answer.text}
            said = {"message": message} if self._chat else {"text": answer.text}
            rows.append({"index": i, **said, "finish_reason": answer.finish, "logprobs": None})
        return {**self._head, "object": self._kind, "choices": rows, "usage": writing.usage}

    def part(self, index: int, text: str, finish: str | None, *, first: bool = False) -> Json:
        """A piece of one answer."""
        delta: Json = {"role": "assistant", "content": ""} if first else {"content": text}
        return {
            "index": index,
            **({"delta": delta} if self._chat else {"text": text}),
            "finish_reason": finish,
            "logprobs": None,
        }

    def piece(self, parts: list[Json], usage: dict[str, int] | None = None) -> Json:
        """One event of a stream."""
        kind = f"{self._kind}.chunk" if self._chat else self._kind
        return {**self._head, "object": kind, "choices": parts, **({"usage": usage} if usage else {})}

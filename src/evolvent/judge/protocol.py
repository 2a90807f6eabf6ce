"""What may cross between asker and judge: few operations, known fields, capped sizes, strict JSON.

Both ends check. The judge's end refuses a request before anything is built from it, and gives no field that is not
listed here: one bit, a class-level reason and a hash for a decision; counts only where a question is for counts. The
evidence is opened by its hash afterwards, and the asker checks that it is what the hash says.

Not here: how frames travel (`sandbox/frames.py`, `wire.py`), what questions mean (`questions.py`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

from evolvent.errors import SandboxError, UsageError
from evolvent.judge.questions import Question, SealedQuestion, StandingQuestion
from evolvent.scaffold import code, examples
from evolvent.types import canonical_json, sha256_hex

__all__ = [
    "MAX_REQUEST_BYTES",
    "QUESTIONS",
    "checked_evidence",
    "checked_names",
    "checked_reply",
    "checked_request",
    "models_of",
    "only_known",
    "told",
]

MAX_REQUEST_BYTES = 256 << 10
QUESTIONS: Mapping[str, type[Question] | type[StandingQuestion] | type[SealedQuestion]] = {
    "decide": Question, "forfeit": Question, "standing": StandingQuestion, "sealed": SealedQuestion,
}  # fmt: skip
# Fields of an answer by operation; of "evidence" it is the hash that binds them.
ANSWERS: Mapping[str, frozenset[str]] = {
    "decide": frozenset({"decision", "reason", "isolation", "evidence"}),
    "forfeit": frozenset({"decision", "reason", "isolation", "evidence"}),
    "standing": frozenset({"alarm", "isolation", "evidence"}),
    "sealed": frozenset({"skills", "isolation", "evidence"}),
}
_REPLIES = ({"answer"}, {"error", "kind"}, {"progress"})
_MAX_TEXT, _MAX_ENTRIES, _MAX_DEPTH, _MAX_NUMBER = 256, 256, 6, 1 << 53
_MAX_ERROR = 500
# The largest numbers that a question may name: they size what the judge draws and holds.
_MOST = {"max_items": 10_000_000, "block_items": 1 << 16, "max_new_tokens": 1 << 20, "counts": 1_000_000}
_HASH = re.compile(r"[0-9a-f]{64}")
_VERSIONS = ("candidate", "incumbent", "anchor", "reference", "champion", "seed_candidate")
_VERSION_FIELDS = {"model": str, "scaffold": dict, "genome": str}
Json = dict[str, Any]


def checked_request(request: Json) -> Json:
    """The request, if it is one of the known, with known fields of bounded size.

    Raises:
        UsageError: anything else; says what was expected.
    """
    operation = request.get("op")
    if operation == "evidence":
        _fields(request, {"op", "hash"})
        if not _is_hash(request["hash"]):
            raise UsageError(f"evidence: expected a SHA-256 in hex, got {str(request['hash'])[:80]!r}")
        return request
    if not isinstance(operation, str) or operation not in QUESTIONS:
        known = ", ".join([*QUESTIONS, "evidence"])
        raise UsageError(f"judge: expected an op of {known}, got {str(operation)[:80]!r}")
    _fields(request, {"op", "question"})
    question = request["question"]
    if not isinstance(question, dict):
        raise UsageError(f"judge: expected a question, got {type(question).__name__}")
    short = {name: _short(value) if name in _VERSIONS else value for name, value in cast("Json", question).items()}
    _bounded("question", short, _MAX_DEPTH)
    for name, value in cast("Json", question).items():
        _check_field(name, value)
    return request


def checked_reply(operation: str, reply: Json) -> Json:
    """A frame of the judge, as its asker may believe it.

    Raises:
        SandboxError: it has fields that no judge sends.
    """
    if set(reply) not in _REPLIES:
        raise SandboxError(f"judge: expected an answer, an error or progress, got fields {sorted(reply)[:5]}")
    answer = reply.get("answer")
    if (
        answer is not None
        and operation in ANSWERS
        and (not isinstance(answer, dict) or answer.keys() != ANSWERS[operation])
    ):
        raise SandboxError(f"judge: expected {sorted(ANSWERS[operation])} of '{operation}', got {str(answer)[:80]}")
    if answer is not None and operation not in ANSWERS and not isinstance(answer, dict):
        raise SandboxError(f"judge: expected evidence, got {str(answer)[:80]}")
    return reply


def checked_evidence(name: str, evidence: Json) -> Json:
    """Evidence that is what its hash says.

    Raises:
        SandboxError: it is not.
    """
    try:
        found = sha256_hex(canonical_json(evidence))
    except (TypeError, ValueError):
        found = ""
    if found != name:
        raise SandboxError(f"judge: evidence {name[:12]} is not what its name says; it was altered on its way")
    return evidence


def checked_names(request: Json) -> list[str]:
    """The artifacts that an asker's ``missing`` names.

    Raises:
        UsageError: it is something else.
    """
    _fields(request, {"op", "artifacts"})
    names = request["artifacts"]
    if not isinstance(names, list) or len(cast("list[Any]", names)) > len(_VERSIONS) or not all(map(_is_hash, names)):
        raise UsageError("judge: expected the artifacts of a question, by hash")
    return cast("list[str]", names)


def models_of(question: Json) -> list[str]:
    """The model artifacts that a question speaks of."""
    return [question[name]["model"] for name in _VERSIONS if name in question]


def only_known(operation: str, answer: Json) -> Json:
    """The answer with the fields that may leave the judge."""
    fields = ANSWERS.get(operation)
    return answer if fields is None else {name: value for name, value in answer.items() if name in fields}


def told(error: Exception) -> Json:
    """An error as a frame: its kind, and few words."""
    return {"error": str(error).encode("utf-8", "replace").decode()[:_MAX_ERROR], "kind": type(error).__name__}


def _check_field(name: str, value: Any) -> None:
    if name in _VERSIONS:
        if not isinstance(value, dict) or value.keys() != _VERSION_FIELDS.keys():
            raise UsageError(f"{name}: expected a version with {', '.join(_VERSION_FIELDS)}")
        for field, kind in _VERSION_FIELDS.items():
            if not isinstance(value[field], kind) or (kind is str and not _is_hash(value[field])):
                raise UsageError(f"{name}.{field}: expected {'a SHA-256 in hex' if kind is str else 'an object'}")
    if name == "protected" and not _is_protected(value):
        raise UsageError("protected: expected a list of skills with margins")
    if name == "counts" and not (isinstance(value, dict) and all(type(n) is int for n in value.values())):
        raise UsageError("counts: expected problems by skill")
    if name in ("target", "rule", "alpha", "alpha_sup", "alpha_ni", "beta", "discordance") and not isinstance(
        value, str
    ):
        raise UsageError(f"{name}: expected text, got {type(value).__name__}")
    if name in _MOST:
        largest = max([0, *value.values()]) if isinstance(value, dict) else value
        if type(largest) is not int or largest > _MOST[name]:
            raise UsageError(f"{name}: expected a whole number of at most {_MOST[name]}, got {str(largest)[:40]}")


def _is_protected(value: Any) -> bool:
    def well(entry: Any) -> bool:
        if not isinstance(entry, dict):
            return False
        texts = (entry.get("skill"), entry.get("discordance", ""))
        return all(isinstance(text, str) for text in texts) and type(entry.get("margin_points")) is int

    return isinstance(value, list) and all(well(entry) for entry in value)


def _short(version: Any) -> Any:
    """A version without a program's source and examples: the long texts of a question, checked by their own rules.

    Raises:
        UsageError: they are not what a program may hold.
    """
    scaffold: Any = version.get("scaffold") if isinstance(version, dict) else None
    if not isinstance(scaffold, dict):
        return version
    if "source" in scaffold and not code.is_text(scaffold["source"]):
        raise UsageError(
            f"question: a program's source is a text of at most {code.MOST_SOURCE} printable characters and lines"
        )
    if "examples" in scaffold:
        try:
            examples.check(scaffold["examples"])
        except ValueError as exc:
            raise UsageError(f"question: {exc}") from None
    rest = {name: value for name, value in scaffold.items() if name not in ("source", "examples")}
    return {**version, "scaffold": rest}


def _bounded(where: str, value: Any, depth: int) -> None:
    if value is None or isinstance(value, bool):
        return
    if isinstance(value, int):
        well = -_MAX_NUMBER <= value <= _MAX_NUMBER
    elif isinstance(value, str):
        well = len(value) <= _MAX_TEXT and value.isprintable()  # which half a character is not
    elif isinstance(value, list | dict):
        entries = cast("list[Any]", list(value.items()) if isinstance(value, dict) else value)
        well = len(entries) <= _MAX_ENTRIES and depth > 0
        if well:
            for entry in entries:
                for part in entry if isinstance(value, dict) else (entry,):
                    _bounded(where, part, depth - 1)
    else:
        well = False
    if not well:
        raise UsageError(
            f"{where}: a part is too long, too deep, or of a kind that no question has: {str(value)[:60]!r}"
        )


def _fields(request: Json, expected: set[str]) -> None:
    if request.keys() != expected:
        raise UsageError(f"judge: expected the fields {sorted(expected)}, got {sorted(map(str, request))[:8]}")


def _is_hash(value: Any) -> bool:
    return isinstance(value, str) and _HASH.fullmatch(value) is not None

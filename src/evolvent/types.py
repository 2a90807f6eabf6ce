"""The records: frozen, versioned, content-hashed.

Everything that crosses a room is one of these or plain JSON. A record's identity is the SHA-256 of its canonical
JSON; two records with the same hash are the same record. Canonical JSON has sorted keys, no spaces, no floats (a
float's text differs between machines; use `dec`), and NFC text.

Not here: behaviour. Rooms act, records are.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any

SCHEMA_VERSION = 8

Json = None | bool | int | str | list["Json"] | dict[str, "Json"]


def _clean(value: Any) -> Any:
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return unicodedata.normalize("NFC", value)
    if isinstance(value, list | tuple):
        return [_clean(item) for item in value]
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise TypeError("canonical JSON: every key must be text")
        return {unicodedata.normalize("NFC", key): _clean(item) for key, item in value.items()}
    raise TypeError(f"canonical JSON: {type(value).__name__} is not allowed (floats: use dec())")


def canonical_json(value: Any) -> str:
    """The one text of a JSON value: sorted keys, no spaces, no floats, NFC.

    Raises:
        TypeError: a float, a non-text key or an object of another type is inside.
    """
    return json.dumps(_clean(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def sha256_hex(data: bytes | str) -> str:
    """SHA-256 in hex of bytes, or of text in UTF-8."""
    return hashlib.sha256(data.encode() if isinstance(data, str) else data).hexdigest()


def content_hash(value: Any) -> str:
    """SHA-256 in hex of a value's canonical JSON."""
    return sha256_hex(canonical_json(value))


def dec(value: float, digits: int = 6) -> str:
    """A real number as decimal text of `digits` significant digits, the form in which events hold it."""
    return format(float(value), f".{digits}g")


def derive_seed(*parts: object) -> int:
    """A 63-bit seed from a path of labels, for example ``derive_seed(run_seed, "dev", turn)``.

    Different paths give independent streams; the same path gives the same stream on each machine.
    """
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "big") >> 1


@dataclass(frozen=True, kw_only=True)
class Record:
    """Base of the records: gives the plain form and the hash."""

    def plain(self) -> dict[str, Any]:
        """The record as JSON-able data, nested records included."""
        return {f.name: _plain(getattr(self, f.name)) for f in fields(self)}

    @property
    def hash(self) -> str:
        """Content hash of the plain form."""
        return content_hash(self.plain())


def _plain(value: Any) -> Any:
    if isinstance(value, Record):
        return value.plain()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value


@dataclass(frozen=True, kw_only=True)
class Problem(Record):
    """One thing to solve. A made-up problem carries no reference answer.

    Attributes:
        task: name of the task that made it.
        skill: the pooled skill that the plan protects or targets, such as ``single``.
        tags: finer slices for diagnosis, such as ``{"kind": "add_column", "tables": "2"}``.
        difficulty: a task's own whole-number scale, higher is harder.
        prompt: what the model reads.
        given: what the verifier needs besides the prompt (plain JSON); never an answer.
    """

    task: str
    skill: str
    prompt: str
    difficulty: int = 1
    tags: dict[str, str] = field(default_factory=dict)
    given: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Score(Record):
    """What a verifier says of one output.

    Attributes:
        correct: the output solves the problem, exactly.
        error: kind of failure (``None`` when correct), such as ``syntax`` or ``lost_rows``: a task's closed vocabulary.
        executed: the output ran without an engine error (for tasks that run things).
    """

    correct: bool
    error: str | None = None
    executed: bool = False


@dataclass(frozen=True, kw_only=True)
class Genome(Record):
    """Frozen description of a candidate. `models/` knows how to build the architecture, `scaffold/` how to run it.

    Attributes:
        architecture: base (the seed's store hash, so that a run is the same in any folder) and edits.
        recipe: how its weights were made: operator and parameters, or ``{}`` for a seed.
        scaffold: the reasoning program, such as ``{"kind": "direct"}``.
        policy: the loop's own settings that travel with it.
        parents: hashes of the parent genomes.
    """

    architecture: dict[str, Any]
    recipe: dict[str, Any] = field(default_factory=dict)
    scaffold: dict[str, Any] = field(default_factory=lambda: {"kind": "direct"})
    policy: dict[str, Any] = field(default_factory=dict)
    parents: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Candidate(Record):
    """What can be judged and served: weights plus scaffold. Its hash is the version's name.

    Attributes:
        model: store hash of the model artifact.
        scaffold: the reasoning program.
        genome: hash of the genome that describes how it came to be.
    """

    model: str
    scaffold: dict[str, Any]
    genome: str


@dataclass(frozen=True, kw_only=True)
class Trace(Record):
    """One interaction: problem, output, scores (``None`` until a verifier ran), cost.

    Attributes:
        problem: the problem's hash.
        skill: its pooled skill.
        tags: its finer slices.
        output: what the model wrote.
        correct: verified or not; ``None`` when no verifier ran.
        error: kind of failure.
        tokens: tokens read and written.
        origin: ``eval``, ``live`` or ``human``.
    """

    problem: str
    skill: str
    tags: dict[str, str]
    output: str
    correct: bool | None = None
    error: str | None = None
    tokens: int = 0
    origin: str = "eval"


@dataclass(frozen=True, kw_only=True)
class Diagnosis(Record):
    """A named weakness.

    Attributes:
        skill: pooled skill.
        slice: the tags that define it; empty for the whole skill.
        n: traces looked at.
        failures: how many failed.
        low: lower end of the 90 % interval of the failure rate, decimal text.
        high: upper end, decimal text.
        errors: failures by kind.
        cause: suspected cause, one sentence.
    """

    skill: str
    slice: dict[str, str]
    n: int
    failures: int
    low: str
    high: str
    errors: dict[str, int] = field(default_factory=dict)
    cause: str = ""


@dataclass(frozen=True, kw_only=True)
class Proposal(Record):
    """Parent -> child by one operator.

    Attributes:
        turn: turn that made it.
        index: place within the turn; results are committed in this order.
        operator: registered name.
        params: the operator's parameters, plain JSON.
        parent: version (candidate hash) that it starts from.
        diagnosis: hash of the diagnosis that it answers, or ``""``.
        seed: seed of its jobs.
        predicted_gain: on the target's dev problems, points, decimal text.
        predicted_deviation: standard deviation of that gain, points, decimal text.
        predicted_flops: of its build; 0 where none was foreseen.
        proposer: who thought of it, ``""`` for a probe.
        why: the proposer's reason in words, or ``""``.
    """

    turn: int
    index: int
    operator: str
    params: dict[str, Any]
    parent: str
    diagnosis: str = ""
    seed: int = 0
    predicted_gain: str = "0"
    predicted_deviation: str = "0"
    predicted_flops: int = 0
    proposer: str = ""
    why: str = ""


class Decision(StrEnum):
    """The judge's one bit, and the case in which it cannot give it."""

    ACCEPT = "accept"
    REJECT = "reject"
    ABSTAIN = "abstain"


@dataclass(frozen=True, kw_only=True)
class Verdict(Record):
    """The judge's answer.

    Attributes:
        slot: number of the slot that it used.
        candidate: version judged.
        decision: accept, reject or abstain (never a pass).
        reason: class-level reason: ``superior``, ``futile``, ``not_superior``, ``inferior:single``, ``insufficient``.
        evidence: hash of the evidence in the judge's store.
        isolation: tier of the sandbox in which the candidate ran; where it wrote code that was run, a plus sign and the
            tier of the sandbox for that.
    """

    slot: int
    candidate: str
    decision: Decision
    reason: str
    evidence: str
    isolation: str


@dataclass(frozen=True, kw_only=True)
class Said(Record):
    """What a language model answered.

    Attributes:
        text: the answer.
        tokens: of question and answer, counted or estimated.
    """

    text: str
    tokens: int


@dataclass(frozen=True, kw_only=True)
class Goal(Record):
    """What a run is asked for. Dev problems say whether it is there; it steers, and proves nothing.

    Attributes:
        skill: the target skill.
        gain_points: gain wanted over the anchor, whole percentage points; 0 for none.
        turns: deadline in turns.
        rate: percent of the skill's dev problems to be solved; 0 for none.
        slice: tags that narrow `rate`; empty for the whole skill.
        hours: deadline in hours of work, over all restarts; 0 for none.
    """

    skill: str
    gain_points: int
    turns: int
    rate: int = 0
    slice: dict[str, str] = field(default_factory=dict)
    hours: int = 0


@dataclass(frozen=True, kw_only=True)
class Event(Record):
    """The ledger's line.

    Attributes:
        run: run id.
        seq: position in the run, from 1, without gaps.
        time_ns: wall clock, for people; left out of the content hash.
        actor: ``controller``, ``judge``, ``human`` or ``standing``.
        kind: event kind, see `docs/concepts/events.md`.
        key: idempotency key, unique in a run; appending the same key twice returns the first event.
        schema: schema version of the payload.
        payload: plain JSON without floats.
        cost: measured seconds and the like as whole numbers; left out of the content hash.
        content_hash: SHA-256 over run, actor, kind, key, schema and payload.
        chain_hash: SHA-256 over the previous chain hash and everything above.
    """

    run: str
    seq: int
    time_ns: int
    actor: str
    kind: str
    key: str
    schema: int
    payload: dict[str, Any]
    cost: dict[str, int]
    content_hash: str
    chain_hash: str

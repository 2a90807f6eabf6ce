"""The judge's narrow door: whatever is asked, the server lives, and answers with known fields only."""

from __future__ import annotations

import copy
import io
import json
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from toy_judges import PROTECTED, World
from toy_task import ToyTask

from evolvent.errors import SandboxError, UsageError
from evolvent.judge import SealedQuestion, StandingQuestion
from evolvent.judge.bench import ItemSource
from evolvent.judge.folder import JudgeFolder
from evolvent.judge.protocol import ANSWERS, MAX_REQUEST_BYTES, checked_evidence, checked_reply, checked_request
from evolvent.judge.server import JudgeServer
from evolvent.judge.serving import serve
from evolvent.sandbox import read_json, write_json
from evolvent.scaffold import grammar
from evolvent.types import canonical_json, sha256_hex

SECRET = bytes(range(32))
LEAKS = (SECRET.hex(), "Traceback", "single:", "chain:")  # the secret, our code, prompts


class Quick:
    """A bench that answers at once, so that thousands of requests can be tried; the protocol around it is real."""

    isolation, tokens = "kernel", 7

    def clear(self, keep: Any = ()) -> None:
        pass

    def score(self, version: Any, block: Any, max_new_tokens: int) -> Any:
        return np.random.default_rng(len(block.key)).random(len(block.problems)) < 0.5

    def repeats(self, version: Any, block: Any, max_new_tokens: int) -> Any:
        return self.score(version, block, max_new_tokens)


def server(root: Path) -> tuple[JudgeServer, JudgeFolder]:
    folder, task = JudgeFolder(root / "judge", SECRET), ToyTask()
    return JudgeServer(folder, "toy", ItemSource(SECRET, task), Quick()), folder  # type: ignore[arg-type]


def talk(root: Path, data: bytes) -> list[dict[str, Any]]:
    """What the judge says to a stream of bytes, until it hangs up."""
    answers = io.BytesIO()
    serve(*server(root), io.BytesIO(data), answers)
    answers.seek(0)
    told = []
    while (frame := read_json(answers)) is not None:
        told.append(frame)
    return told


def frames(*values: Any) -> bytes:
    out = io.BytesIO()
    for value in values:
        write_json(out, value)
    return out.getvalue()


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def requests(world: World) -> list[dict[str, Any]]:
    seed, other = world.version(60, 70), world.version(75, 70)
    standing = StandingQuestion(
        number=1, reference=seed, champion=other, protected=PROTECTED, alpha="0.01", max_items=99
    )
    sealed = SealedQuestion(seed_candidate=seed, champion=other, counts={"single": 9})
    return [
        {"op": "decide", "question": world.question(other, max_items=200).plain()},
        {"op": "forfeit", "question": world.question(other, slot=2).plain()},
        {"op": "standing", "question": standing.plain()},
        {"op": "sealed", "question": sealed.plain()},
        {"op": "evidence", "hash": "0" * 64},
    ]


def well_formed(request: Any, reply: dict[str, Any]) -> None:
    if "error" in reply:
        assert reply.keys() == {"error", "kind"}
        assert len(reply["error"]) <= 500
    else:
        assert reply.keys() == {"answer"}
        if request["op"] in ANSWERS:
            assert reply["answer"].keys() == ANSWERS[request["op"]]
    text = json.dumps(reply)
    assert not [leak for leak in LEAKS if leak in text]


def test_honest_requests_are_answered_with_known_fields(world: World, tmp_path: Path) -> None:
    asked = requests(world)
    replies = talk(tmp_path, frames(*asked))
    assert len(replies) == len(asked)
    for request, reply in zip(asked, replies, strict=True):
        well_formed(request, reply)
        checked_reply(request["op"], reply)
    assert replies[0]["answer"]["decision"] in ("accept", "reject", "abstain")
    assert replies[1]["answer"]["reason"] == "judge_failed"
    assert replies[4]["kind"] == "StoreError"


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8) | st.sampled_from(["../../secret", "a" * 300, "\x00", "1e400", "nan", "-1", "0.5", "\u202e"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a request that can be replaced."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, entry in inside for place in places(entry, (*path, key)))]


def mutated(request: dict[str, Any], at: tuple[Any, ...], junk: Any, how: str) -> Any:
    changed: Any = copy.deepcopy(json.loads(json.dumps(request)))
    if not at:
        return junk if isinstance(junk, dict) else {"op": junk}
    parent = changed
    for key in at[:-1]:
        parent = parent[key]
    if how == "drop":
        del parent[at[-1]]
    elif how == "add" and isinstance(parent, dict):
        parent[str(junk)[:40]] = junk
    else:
        parent[at[-1]] = junk
    return changed


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_request_fells_the_judge_or_draws_more_than_known_fields(
    world: World, tmp_path: Path, data: st.DataObject
) -> None:
    request = data.draw(st.sampled_from(requests(world)))
    at = data.draw(st.sampled_from(places(request)))
    changed = mutated(request, at, data.draw(JUNK), data.draw(st.sampled_from(["put", "drop", "add"])))
    try:
        sent = frames(changed)
    except (ValueError, UnicodeEncodeError):
        sent = frames({"op": "not JSON"})
    last = frames({"op": "evidence", "hash": "0" * 64})
    replies = talk(tmp_path, sent + last)
    assert len(replies) == 2, "it is there for the next"
    well_formed(changed, replies[0])
    assert replies[1]["kind"] == "StoreError"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=80), kind=st.sampled_from([b"", b"J", b"B"]))
def test_bytes_that_are_no_frames_end_the_conversation_in_order(tmp_path: Path, data: bytes, kind: bytes) -> None:
    sent = kind + len(data).to_bytes(4, "big") + data if kind else data
    for reply in talk(tmp_path, sent):
        assert reply.keys() == {"error", "kind"}


def test_a_frame_that_is_no_strict_json_costs_nobody_the_next(tmp_path: Path) -> None:
    bad = [b'{"op":NaN}', b"[]", b'{"op":1,"op":2}', b"\xff", b'{"op":"\\ud800"}', b"[" * 5000]
    sent = b"".join(b"J" + len(text).to_bytes(4, "big") + text for text in bad)
    assert [reply.keys() for reply in talk(tmp_path, sent)] == [{"error", "kind"}] * len(bad)
    too_long = talk(tmp_path, b"J" + (MAX_REQUEST_BYTES + 1).to_bytes(4, "big") + bytes(MAX_REQUEST_BYTES + 1))
    assert ["at most" in reply["error"] for reply in too_long] == [True]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"op": "secret"}, "expected an op"),
        ({"op": "evidence", "hash": "../secret"}, "SHA-256"),
        ({"op": "evidence", "hash": "0" * 64, "more": 1}, "fields"),
        ({"op": "decide"}, "fields"),
        ({"op": "decide", "question": []}, "expected a question"),
    ],
)
def test_unknown_ops_and_fields_are_refused(change: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        checked_request(change)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_items", 10**9), ("block_items", 1 << 30), ("max_new_tokens", 1 << 40), ("target", "a" * 1000),
        ("protected", [{"skill": "single", "margin_points": 5}] * 300), ("alpha_sup", 0.5), ("beta", ["0.1"]),
        ("candidate", {"model": "0" * 64}), ("incumbent", "../store"), ("slot", 1 << 60), ("target", "a\nb"),
    ],
)  # fmt: skip
def test_each_field_has_a_cap(world: World, field: str, value: Any) -> None:
    question = world.question(world.version(75, 70)).plain()
    with pytest.raises(UsageError, match=r"expected|too long"):
        checked_request({"op": "decide", "question": {**question, field: value}})


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    comment=st.text(alphabet=st.sampled_from("ab()#\"'\n\t \\é中\x00\x1b\u2028\ud800\ufb2c\u0301"), max_size=60),
    long=st.integers(0, 4100),
)
@example(comment="a\tb\né中\\\"'", long=3900)
def test_every_program_that_is_one_may_be_asked_about(world: World, comment: str, long: int) -> None:
    """Else a proposal could end a run: what the grammar lets pass must not be refused at the judge's door."""
    lines = "\n".join(f"#{line}" for line in ("-" * long, *comment.split("\n")))
    source = f"def act(prompt, attempts):\n    return {{'answer': ''}}\n{lines}"
    scaffold = {"kind": "code", "answers": 16, "tools": ["advance", "feedback", "revise"], "source": source}
    question = world.question(world.version(75, 70)).plain()
    question["candidate"] = {**question["candidate"], "scaffold": scaffold}
    try:
        grammar.check(scaffold)
    except ValueError:
        return
    assert checked_request({"op": "decide", "question": question})["question"] == question
    assert json.loads(canonical_json(scaffold)) == scaffold, "the ledger keeps it as it is"


def test_the_longest_program_may_be_asked_about(world: World) -> None:
    source = "def act(prompt, attempts):\n    return {'answer': ''}\n#"
    source += "-" * (4000 - len(source))
    scaffold = {"kind": "code", "answers": 16, "tools": [], "source": source}
    grammar.check(scaffold)
    question = world.question(world.version(75, 70)).plain()
    question["candidate"] = {**question["candidate"], "scaffold": scaffold}
    assert checked_request({"op": "decide", "question": question})["question"] == question


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    bank=st.lists(
        st.lists(st.text(alphabet="ab\n\t \\é中\x00\x1b\u2028\ud800\ufb2c\u0301", max_size=8), max_size=3), max_size=4
    )
)
def test_all_examples_that_a_program_may_have_may_be_asked_about(world: World, bank: list[list[str]]) -> None:
    scaffold = {"kind": "steps", "steps": [{"do": "recall", "n": 1}], "examples": bank}
    question = world.question(world.version(75, 70)).plain()
    question["candidate"] = {**question["candidate"], "scaffold": scaffold}
    try:
        grammar.check(scaffold)
    except ValueError:
        with pytest.raises(UsageError, match="examples"):
            checked_request({"op": "decide", "question": question})
        return
    assert checked_request({"op": "decide", "question": question})["question"] == question
    assert json.loads(canonical_json(scaffold)) == scaffold, "the ledger keeps them as they are"


@pytest.mark.parametrize("char", ["a", "\n", "\\", "\U0001f600"])
def test_a_question_about_versions_full_of_examples_fits_into_a_frame(world: World, char: str) -> None:
    bank = [[f"{i:02d}" + char * 92, char * 93] for i in range(64)]
    scaffold = {"kind": "steps", "steps": [{"do": "recall", "n": 1}], "examples": bank}
    grammar.check(scaffold)
    question = world.question(world.version(75, 70)).plain()
    for name in ("candidate", "incumbent", "anchor"):
        question[name] = {**question[name], "scaffold": scaffold}
    request = checked_request({"op": "decide", "question": question})
    assert len(json.dumps(request, ensure_ascii=False).encode()) < MAX_REQUEST_BYTES


@pytest.mark.parametrize("source", ["#" * 4001, "\x1b[2J", 7, None, ["def"], {"a": "b" * 300}])
def test_no_other_text_is_longer_than_its_cap(world: World, source: Any) -> None:
    question = world.question(world.version(75, 70)).plain()
    scaffold = {"kind": "code", "source": source}
    with pytest.raises(UsageError, match="source"):
        checked_request({"op": "decide", "question": {**question, "candidate": {"scaffold": scaffold}}})
    with pytest.raises(UsageError, match="too long"):
        checked_request({"op": "decide", "question": {**question, "target": {"scaffold": {"source": "a" * 300}}}})


def test_the_asker_believes_known_fields_only() -> None:
    answer = {"decision": "accept", "reason": "superior", "isolation": "kernel", "evidence": "0" * 64}
    assert checked_reply("decide", {"answer": answer})
    for reply in ({"answer": {**answer, "items": 5}}, {"answer": 1}, {"answer": answer, "also": 1}, {}, {"error": "x"}):
        with pytest.raises(SandboxError, match="expected"):
            checked_reply("decide", reply)
    evidence = {"items": {"single": 3}}
    assert checked_evidence(sha256_hex(canonical_json(evidence)), evidence)
    for forged in ({"items": {"single": 4}}, {"items": 0.5}):
        with pytest.raises(SandboxError, match="not what its name says"):
            checked_evidence(sha256_hex(canonical_json(evidence)), forged)


def test_a_place_that_was_forfeited_gives_nothing_else(world: World, tmp_path: Path) -> None:
    question = world.question(world.version(75, 70), max_items=200).plain()
    random.seed(0)
    given_up, again = talk(
        tmp_path, frames({"op": "forfeit", "question": question}, {"op": "decide", "question": question})
    )
    assert given_up == again
    other = {**question, "slot": 3}
    decided, after = talk(tmp_path, frames({"op": "decide", "question": other}, {"op": "forfeit", "question": other}))
    assert decided == after, "nor does giving up undo an answer"
    assert SimpleNamespace(**decided["answer"]).reason != "judge_failed"

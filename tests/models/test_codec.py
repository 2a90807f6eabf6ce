"""Text to ids and back: what goes in comes out, or encoding says why not."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evolvent.models.codec import EOS, CharCodec, Encoded, SqlCodec, from_plain
from evolvent.tasks.sql_migration import SqlMigration
from evolvent.tasks.sql_migration.reference import reference
from evolvent.tasks.strings import ALPHABET, MARK

TASK = SqlMigration()
words = st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,8}", fullmatch=True)


@settings(deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(TASK.skills), st.integers(0, 3))
def test_sql_comes_back(seed: int, skill: str, variant: int) -> None:
    (problem,) = TASK.generate(skill, random.Random(seed), 1)
    codec, answer = SqlCodec(), reference(problem)
    encoded = codec.encode(problem.prompt, variant)
    ids = codec.encode_answer(answer, encoded)
    assert ids[-1] == EOS
    assert all(0 <= token < codec.size for token in encoded.ids + ids)
    text = codec.decode(ids, encoded)
    assert codec.encode_answer(text, encoded) == ids
    assert TASK.verify(problem, text, 1).correct


def test_the_task_gives_room_for_nearly_all_of_its_answers() -> None:
    codec, rng = SqlCodec(), random.Random(0)
    for skill, share in (("single", 1.0), ("multi", 0.97)):
        problems = TASK.generate(skill, rng, 300)
        lengths = [len(codec.encode_answer(reference(p), codec.encode(p.prompt))) for p in problems]
        assert sum(n <= TASK.max_output_tokens for n in lengths) >= share * len(lengths), max(lengths)


@given(st.lists(words, min_size=1, max_size=20))
def test_names_come_back_as_written(names: list[str]) -> None:
    codec = SqlCodec()
    prompt = "-- from\n" + " , ".join(f'"{name} x"' for name in names)
    encoded = codec.encode(prompt)
    answer = " , ".join(f'"{name} x"' for name in names)
    assert codec.decode(codec.encode_answer(answer, encoded), encoded).replace(" ", "") == answer.replace(" ", "")


def test_slots_are_drawn_by_prompt_and_variant() -> None:
    codec = SqlCodec()
    prompt = "CREATE TABLE users (id INTEGER, name TEXT)"
    assert codec.encode(prompt) == codec.encode(prompt)
    assert codec.encode(prompt, 1).slots != codec.encode(prompt).slots
    assert len(set(codec.encode(prompt).slots.values())) == len(codec.encode(prompt).slots)


def test_what_cannot_be_said_is_refused() -> None:
    codec = SqlCodec(2)
    with pytest.raises(ValueError, match="at most 2 distinct names"):
        codec.encode("a b c")
    with pytest.raises(ValueError, match="'secret' is neither a known word nor in the prompt"):
        codec.encode_answer("DROP TABLE secret", codec.encode("DROP TABLE t"))
    with pytest.raises(ValueError, match="'z' is not in the alphabet"):
        CharCodec("ab").encode("az")


def test_a_slot_that_the_prompt_does_not_use_is_no_sql() -> None:
    codec = SqlCodec(4)
    encoded = codec.encode("a")
    unused = next(i for i in range(codec.size - 4, codec.size) if i not in encoded.slots.values())
    assert codec.decode([unused, EOS, 5], encoded) == "?"


@given(st.text(ALPHABET + MARK))
def test_characters_come_back(text: str) -> None:
    codec = CharCodec(ALPHABET + MARK)
    encoded = codec.encode(text)
    assert codec.decode(encoded.ids, encoded) == text
    assert codec.decode(codec.encode_answer(text, encoded), encoded) == text


@given(st.lists(st.integers(0, 18)))
def test_any_ids_are_some_text(ids: list[int]) -> None:
    CharCodec(ALPHABET + MARK).decode(ids, Encoded([], {}))
    SqlCodec(4).decode(ids, SqlCodec(4).encode("a b"))


@pytest.mark.parametrize("codec", [SqlCodec(7), CharCodec("xyz")])
def test_a_codec_comes_back_from_its_plain_form(codec: SqlCodec | CharCodec) -> None:
    again = from_plain(codec.plain())
    assert again.plain() == codec.plain()
    assert again.size == codec.size


def test_an_unknown_kind_is_named() -> None:
    with pytest.raises(ValueError, match="expected kind sql, char or python"):
        from_plain({"kind": "bytes"})

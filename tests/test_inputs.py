"""What a run begins from is read before anything is written: a mistake costs a correction, not the folder."""

from __future__ import annotations

import json
import lzma
import shutil
from pathlib import Path
from typing import Any

import pytest

import toy_world
from evolvent.errors import UsageError
from evolvent.inputs import SEEDS, check_inputs, num_parameters, plain_lines, seed_files
from evolvent.named import load_operators
from evolvent.plan import CONFIG_NAME, parse
from evolvent.run import LEDGER, Run


def _with(tmp_path: Path, toy_seed: Path, **changes: Any) -> Run:
    folder = tmp_path / "run"
    folder.mkdir(exist_ok=True)
    (folder / CONFIG_NAME).write_text(json.dumps(toy_world.settings(toy_seed, **changes)), "utf-8")
    return Run.open(folder)


def test_the_shipped_seed_is_well() -> None:
    assert len(SEEDS) == 2
    assert all(num_parameters(seed_files(seed)) < 1_000_000 for seed in SEEDS)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model": "nowhere"}, "no folder"),
        ({"gold": "nowhere.jsonl"}, "no file"),
        ({"model": "{cut}"}, "copy it again"),
        ({"model": "{list}"}, "is broken"),
    ],
)
def test_a_run_that_cannot_begin_leaves_a_folder_that_can(
    tmp_path: Path, toy_seed: Path, change: dict[str, str], said: str
) -> None:
    for name in ("cut", "list"):
        shutil.copytree(toy_seed, tmp_path / name)
    weights = (toy_seed / "model.safetensors").read_bytes()
    (tmp_path / "cut" / "model.safetensors").write_bytes(weights[:-100])
    (tmp_path / "list" / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"[]")
    filled = {key: value.format(cut=tmp_path / "cut", list=tmp_path / "list") for key, value in change.items()}
    run = _with(tmp_path, toy_seed, **filled)
    with pytest.raises(UsageError, match=said), run.working():
        pass
    assert [path.name for path in run.folder.iterdir()] == [CONFIG_NAME]
    check_inputs(_with(tmp_path, toy_seed).settings, run.folder)


def test_a_bad_line_of_gold_is_named(tmp_path: Path, toy_seed: Path) -> None:
    gold = tmp_path / "gold.jsonl"
    gold.write_text('{"prompt": "ab>", "answer": "ba"}\n{"prompt": "ab>"}\n', "utf-8")
    settings = parse(toy_world.settings(toy_seed, gold=str(gold)), "test")
    with pytest.raises(UsageError, match="line 2: expected"):
        check_inputs(settings, tmp_path)


def test_compressed_gold_is_read_before_a_run_begins(tmp_path: Path, toy_seed: Path) -> None:
    settings = parse(toy_world.settings(toy_seed, gold=str(tmp_path / "gold.jsonl.xz")), "test")
    packed = lzma.compress(b'{"prompt": "ab>", "answer": "ba"}\n{"prompt": 1}\n')
    for data, said in ((packed, "line 2: expected"), (packed[:-9], "broken xz"), (packed[:6] + b"no", "broken xz")):
        (tmp_path / "gold.jsonl.xz").write_bytes(data)
        with pytest.raises(UsageError, match=said):
            check_inputs(settings, tmp_path)


def test_a_line_ends_at_a_newline_and_nowhere_else() -> None:
    row = json.dumps({"prompt": "a\u2028b", "answer": "c"}, ensure_ascii=False)
    assert [json.loads(line) for line in plain_lines(f"{row}\n{row}".encode())] == [json.loads(row)] * 2


def test_the_seed_may_answer_under_a_program_of_its_own(tmp_path: Path, toy_seed: Path) -> None:
    program = {"kind": "steps", "steps": [{"do": "sample", "n": 2, "temperature": "0.6"}, {"do": "vote", "by": "text"}]}
    run = toy_world.new_run(tmp_path / "run", toy_seed, scaffold=program)
    with run.working(secret_hex=toy_world.SECRET) as loop:
        assert loop.state.versions[loop.state.champion]["candidate"]["scaffold"] == program
    wrong = toy_world.new_run(tmp_path / "wrong", toy_seed, scaffold={"kind": "voting"})
    with pytest.raises(UsageError, match=r"scaffold\.kind: expected one of"), wrong.working():
        pass
    assert not (tmp_path / "wrong" / LEDGER).exists(), "nothing is begun that holds on to the mistake"


def test_an_operator_of_ones_own_is_named_by_its_module() -> None:
    name = "evolvent.operators.probes:Null"
    assert load_operators([name])[name].spec.name == "null"
    with pytest.raises(UsageError, match="has no 'Nil'"):
        load_operators(["evolvent.operators.probes:Nil"])

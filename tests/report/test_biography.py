"""A version's story on a terminal: everything that one asks of it, and within the width of the terminal."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from evolvent.ledger import Ledger
from evolvent.provenance.origin import version_story
from evolvent.provenance.versions import find_version
from evolvent.report import words
from evolvent.report.biography import biography
from evolvent.run import LEDGER, Run
from run_on_disk import RunOnDisk


@pytest.fixture(scope="session")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    folder = tmp_path_factory.mktemp("told") / "run"
    made = RunOnDisk(folder)
    made.force_check_and_seal()
    return folder, made.versions


def page(folder: Path, version: str, width: int, **more: object) -> str:
    run = Run.open(folder)
    with Ledger.open(folder / LEDGER) as ledger:
        story = version_story(ledger, find_version(ledger, version), run.evidence, run.store)
    out = io.StringIO()
    Console(file=out, width=width, markup=False, highlight=False).print(biography({**story, **more}))
    return out.getvalue()


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("name", ["seed", "good", "planted"])
def test_it_fits_the_terminal(told: tuple[Path, dict[str, str]], name: str, width: int) -> None:
    text = page(told[0], told[1][name], width, champion=True, statements=["a"])
    assert max(map(len, text.splitlines())) <= width
    assert "\u2026" not in text  # nothing that one asks for is cut


def test_a_promoted_version_is_told_from_its_parent_to_the_restored_champion(
    told: tuple[Path, dict[str, str]],
) -> None:
    folder, versions = told
    text = page(folder, versions["good"], 120, champion=True, statements=["a"])
    for said in (
        f"{versions['good'][:8]}  self_labels, turn 1  serves now",
        f"comes from  {versions['seed'][:8]} seed",
        "multi tier=rebuild: 48 of 60 failed (70.0\u00a0% to 87.0\u00a0%). rows get lost",
        "600 drawn, 2,400 sampled, 2,000 executed, 900 correct, 700 kept",
        "accept: superior",
        "promoted by the gate, clause operators.self_labels",
        f"restored in place of {versions['planted'][:8]} by standing check",
        f"evolvent show {versions['good'][:8]} --statement  (a signed statement)",
    ):
        assert said in text, said
    tests = [line for line in text.splitlines() if line.rstrip().endswith("proven")]
    assert len(tests) == 3
    for line in tests:  # log e is past its threshold
        reached, needed = line.replace("?", "? ").split("?")[1].split()[:2]
        assert float(reached) >= float(needed)


def test_a_forced_version_is_told_as_forced_and_taken_back(told: tuple[Path, dict[str, str]]) -> None:
    folder, versions = told
    text = page(folder, versions["planted"], 120)
    for said in ("rejected", "forced in by dana against the judge's", "a hurry", "worse beyond its margin",
                 f"rolled back to {versions['good'][:8]} by standing check"):  # fmt: skip
        assert said in text, said
    assert "serves now" not in text
    assert "--statement" not in text


def test_the_seed_is_told_as_imported(told: tuple[Path, dict[str, str]]) -> None:
    text = page(told[0], told[1]["seed"], 80)
    assert "none: imported" in text
    assert "Judged" not in text


def test_a_program_is_told_in_words_and_python_line_by_line() -> None:
    assert words.program({"kind": "direct"}) == "direct"
    assert words.program({"answers": 8, "kind": "retry"}) == "retry, answers=8"
    source = "def act(prompt, attempts):\n\t# \x1b[2J\n\n    return {'answer': 'a   b'}" + " " * 300 + "# end\n"
    told = words.program({"kind": "code", "answers": 3, "tools": ["advance", "revise"], "source": source})
    assert told.split("\n") == [
        "Python, at most 3 answers, tools: advance, revise",
        "def act(prompt, attempts):",
        "    # \ufffd[2J",
        "    return {'answer': 'a   b'}" + " " * 300 + "# end",
    ]


def test_steps_and_examples_are_told_a_line_each_and_whole() -> None:
    step = {"do": "sample", "n": 12, "temperature": "0.6"}
    shown = {"do": "show", "n": 4}
    told = words.program({"kind": "steps", "steps": [shown, *[step] * 5], "examples": [["ask\x1b[2J ed", "told"]] * 9})
    lines = told.split("\n")
    assert lines[:3] == ["steps", "show n=4", "sample n=12, temperature=0.6"]
    assert lines[7:9] == ["9 examples:", "ask\ufffd[2J ed => told"]
    assert len(lines) == 1 + 6 + 1 + 9
    odd = {"kind": "steps", "steps": "none", "examples": [7, ["a"], ["a", "b", "c"], {"a": 1}, ["p", 5]]}
    assert words.program(odd) == "steps\n1 example:\np => 5"

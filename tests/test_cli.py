"""The command line: quick to start, frozen in its options, clear in its errors, and true to the run."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

import toy_world
from evolvent import __version__, plan
from evolvent.cli.app import COMMANDS, app, main
from evolvent.cli.template import settings_text
from evolvent.errors import UsageError
from evolvent.ledger import Ledger
from evolvent.run import JUDGE, LEDGER
from evolvent.types import canonical_json, sha256_hex
from evolvent.witness import SignedHead, event_leaf
from evolvent.witness.merkle import check_inclusion
from run_on_disk import RunOnDisk

HEAVY = ("torch", "transformers", "sqlalchemy", "cryptography", "pydantic", "scipy", "numpy", "jinja2", "rich", "yaml")
OPTIONS = {
    "approve": ["--by", "--dir", "--json", "--note", "what"],
    "audit": ["--dir", "--json", "--witness"],
    "check": ["--dir", "--json"],
    "decline": ["--by", "--dir", "--json", "--note", "what"],
    "demo": ["--dir", "--fresh", "--json", "--seed", "--turns"],
    "diagnose": ["--dir", "--json"],
    "diff": ["--dir", "--json", "a", "b"],
    "doctor": ["--dir", "--json"],
    "goal": ["--dir", "--json"],
    "init": ["--dir", "--json", "target"],
    "judge key": ["--json", "out"],
    "judge serve": [
        "--folder", "--json", "--key", "--listen", "--network", "--store", "--task", "--threads", "--user", "--workers",
    ],
    "lineage": ["--dir", "--json"],
    "log": ["--dir", "--events", "--json", "--last"],
    "memory export": ["--dir", "--json", "--out"],
    "memory forget": ["--change", "--dir", "--everything", "--file", "--json", "--task"],
    "memory search": ["--count", "--dir", "--file", "--json", "text"],
    "memory show": ["--dir", "--file", "--json"],
    "pick": ["--by", "--dir", "--json", "--none", "--note", "ids"],
    "promote": ["--by", "--dir", "--force", "--json", "--reason", "version"],
    "rebuild": ["--dir", "--json", "--line", "version"],
    "recipes list": ["--json", "--out"],
    "recipes run": ["--all", "--json", "--out", "--quick", "--seed", "name"],
    "recipes show": ["--json", "--out", "name"],
    "report": ["--dir", "--json", "--out", "--problems", "--sealed"],
    "rollback": ["--by", "--dir", "--json", "--reason", "to"],
    "run": ["--dir", "--json", "--memory", "--turns"],
    "serve": ["--dir", "--host", "--json", "--model", "--port"],
    "show": ["--dir", "--json", "--proof", "--statement", "what"],
    "status": ["--dir", "--json"],
}  # fmt: skip


class Said:
    """What a command line left behind."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def json(self) -> Any:
        return json.loads(self.out.splitlines()[-1])


@pytest.fixture
def evolvent(capsys: pytest.CaptureFixture[str]) -> Any:
    def call(*arguments: object) -> Said:
        with pytest.raises(SystemExit) as stopped:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Said(int(stopped.value.code or 0), captured.out, captured.err)

    return call


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    folder = tmp_path_factory.mktemp("cli") / "run"
    run = RunOnDisk(folder)
    return folder, run.versions


@pytest.fixture
def run(made: tuple[Path, dict[str, str]], tmp_path: Path) -> Path:
    return Path(shutil.copytree(made[0], tmp_path / "run"))


@pytest.fixture
def names(made: tuple[Path, dict[str, str]]) -> dict[str, str]:
    return made[1]


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom evolvent.cli import main\ntry:\n  main(['--help'])\nexcept SystemExit: pass\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.splitlines()[-1] == "[]"
    assert all(name in said for name in COMMANDS)


def test_python_dash_m_is_the_command_line() -> None:
    command = [sys.executable, "-m", "evolvent", "--version"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said.split() == ["evolvent", __version__]


def test_commands_and_options_are_these() -> None:
    """An option that is added, renamed or lost must be meant: change it here too, and in the documents."""
    import typer

    root: Any = typer.main.get_command(app)
    commands = {name: command for name, command in root.commands.items() if not hasattr(command, "commands")}
    for group in ("memory", "judge", "recipes"):
        commands |= {f"{group} {name}": command for name, command in root.commands[group].commands.items()}
    found = {
        name: sorted(parameter.opts[0] for parameter in command.params if parameter.name != "help")
        for name, command in commands.items()
    }
    assert found == OPTIONS
    assert all(command.help for command in commands.values())
    assert all(p.help or p.metavar or p.name == "version" for command in commands.values() for p in command.params)


def test_init_writes_settings_that_hold_and_explain_each_key(evolvent: Any, tmp_path: Path) -> None:
    assert evolvent("init", tmp_path / "a").code == 0
    text = (tmp_path / "a" / plan.CONFIG_NAME).read_text()
    settings = plan.load(tmp_path / "a" / plan.CONFIG_NAME)
    assert (settings.task, settings.model, settings.plan.target) == ("sql_migration", "sql-seed", "multi")
    places = {"witness": [], "signing_key": ""}  # no part of what the run is: left out of the resolved settings
    assert yaml.safe_load(text) == {**settings.model_dump(), **places}
    keys = [line for line in text.splitlines() if line.strip() and not line.strip().startswith("#") and "#" not in line]
    assert {line.strip().split(":")[0] for line in keys} == {
        "goal",
        "kind",  # of the scaffold
        "plan",
        "build",
        "dev",
        "probes",
        "people",
        "endpoint",
        "budget",
        "turn",
        "judge",
        "single",
        "multi",
    }


def test_init_never_overwrites(evolvent: Any, tmp_path: Path) -> None:
    evolvent("init", "-C", tmp_path)
    (tmp_path / plan.CONFIG_NAME).write_text("mine")
    said = evolvent("init", tmp_path)
    assert said.code == UsageError.exit_code
    assert "never overwritten" in said.err
    assert (tmp_path / plan.CONFIG_NAME).read_text() == "mine"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"modle": "x"}, "unknown key 'modle'; did you mean 'model'?"),
        ({"plan": {"target": "multi", "protected": {"multi": 5}, "max_item": 3}}, "did you mean 'max_items'?"),
        ({"seed": "0"}, "seed: Input should be a valid integer, got '0'"),
        ({"plan": {"target": "multi", "protected": {"single": 5}}}, "must be listed under protected"),
        (
            {"plan": {"target": "multi", "protected": {"multi": 5}, "operators": []}},
            "plan.operators: List should have at",
        ),
        ({"budget": {"turns": {}}}, "unknown key 'budget.turns'; did you mean 'turn'?"),
        ({"plan": {"target": "multi", "protected": {"multi": 5}, "alpha_safety": "2"}}, "between 0 and 1"),
    ],
)
def test_wrong_settings_are_named(evolvent: Any, tmp_path: Path, change: dict[str, Any], said: str) -> None:
    path = tmp_path / plan.CONFIG_NAME
    path.write_text(yaml.safe_dump({**yaml.safe_load(settings_text()), **change}))
    for command in ("check", "run", "status"):
        answer = evolvent(command, "-C", tmp_path, "--json")
        assert answer.code == UsageError.exit_code
        assert said in answer.err
        assert answer.err.startswith("error: ")
        assert "Traceback" not in answer.err
        assert answer.json == {"error": answer.json["error"], "kind": "UsageError", "exit_code": 2}


@pytest.mark.parametrize(
    "command",
    sorted(set(COMMANDS) - {"demo", "init", "doctor", "show", "diff", "approve", "decline", "promote", "rebuild"}),
)
def test_no_settings_and_no_run_here(evolvent: Any, tmp_path: Path, command: str) -> None:
    said = evolvent(command, "-C", tmp_path)
    assert said.code == UsageError.exit_code
    assert "`evolvent init" in said.err
    if command in ("check", "run"):
        return
    evolvent("init", tmp_path)
    said = evolvent(command, "-C", tmp_path)
    assert said.code == UsageError.exit_code
    assert "no run here yet" in said.err
    assert not (tmp_path / LEDGER).exists()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["statsu"], "Did you mean 'status'"),
        (["status", "--jsno"], "--json"),
        (["promote"], "Missing argument"),
        (["run", "--turns", "x"], "--turns"),
        (["run", "--turns", "0"], "--turns"),
        (["init", __file__], "is a file"),
        (["demo", "-C", __file__], "is a file"),
        (["status", "-C", __file__], "is a file"),
    ],
)
def test_a_wrong_command_line_is_one_clear_line(evolvent: Any, line: list[str], said: str) -> None:
    answer = evolvent(*line)
    assert answer.code == UsageError.exit_code
    assert said in answer.err
    assert len(answer.err.strip().splitlines()) == 1


def test_broken_files(evolvent: Any, run: Path, tmp_path: Path) -> None:
    (tmp_path / "y").mkdir()
    (tmp_path / "y" / plan.CONFIG_NAME).write_text("a: [")
    assert "is not YAML" in evolvent("check", "-C", tmp_path / "y").err
    assert "no such file" in evolvent("run", "-C", run, "--memory", tmp_path / "none.json").err
    (run / LEDGER).write_bytes(b"not a database" * 100)
    said = evolvent("status", "-C", run)
    assert said.code != 0
    assert "Traceback" not in said.err


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "holds no model.safetensors"),
        ({"pytorch_model.bin": b"x"}, "pickled weights are never opened"),
        (None, "no folder"),
    ],
)
def test_a_missing_model_is_named(evolvent: Any, tmp_path: Path, files: dict[str, bytes] | None, said: str) -> None:
    model = tmp_path / "model"
    if files is not None:
        model.mkdir()
        for name, data in files.items():
            (model / name).write_bytes(data)
    settings = {**yaml.safe_load(settings_text()), "model": str(model)}
    (tmp_path / plan.CONFIG_NAME).write_text(yaml.safe_dump(settings))
    answer = evolvent("check", "-C", tmp_path, "--json")
    assert answer.code == 3
    report = json.loads(answer.out.splitlines()[0])
    wrong = {row["check"]: row["found"] for row in report["checks"] if not row["ok"]}
    assert list(wrong) == ["model"]
    assert said in wrong["model"]
    assert {row["test"] for row in report["forecast"]} == {"gain", "kept:single", "kept:multi"}


ASK = "if not attempts: return {'ask': prompt, 'n': 2, 'temperature': '0.6'}\n    "


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("return {'answer': prompt}", "asks for 0 answers"),
        (ASK + "return {'answer': attempts[1]['output']}", "asks for 2 answers"),
        ("return attempts[0]", "after 0 empty answers to '.*': IndexError"),
        (ASK + "return {'answer': 1 // 0}", "after 2 empty answers to '.*': ZeroDivisionError"),
        ("return {'ask': prompt, 'n': 2, 'temperature': '0.6'}", "after 2 .* expected 1 to 0 answers"),
    ],
)
def test_a_program_in_python_is_tried_before_a_run(evolvent: Any, tmp_path: Path, line: str, found: str) -> None:
    source = f"def act(prompt, attempts):\n    {line}\n"
    scaffold = {"kind": "code", "answers": 2, "tools": ["advance", "feedback"], "source": source}
    settings = {**yaml.safe_load(settings_text()), "scaffold": scaffold, "model": str(tmp_path / "none")}
    (tmp_path / plan.CONFIG_NAME).write_text(yaml.safe_dump(settings))
    report = json.loads(evolvent("check", "-C", tmp_path, "--json").out.splitlines()[0])
    (row,) = (row for row in report["checks"] if row["check"] == "scaffold")
    assert row["ok"] == found.startswith("asks")
    assert re.search(found, row["found"])


SHOWN: dict[str, Any] = {
    "kind": "steps",
    "steps": [{"do": "show", "n": 2}, {"do": "sample", "n": 3, "temperature": "0.6"}],
}


@pytest.mark.parametrize(
    ("scaffold", "found"),
    [
        ({"kind": "direct"}, "^direct, at most 1 answer of a problem$"),
        ({**SHOWN, "examples": [["a question", "an answer"]]}, "^steps, at most 3 answers of a problem, 1 example$"),
        (SHOWN, "scaffold.examples: recall and show need them"),
        ({"answers": 3}, "scaffold.kind: expected one of"), ({"kind": "vote", "answers": 99}, "2 to 16, got 99"),
    ],
)  # fmt: skip
def test_a_program_that_is_none_is_found_before_a_run(
    evolvent: Any, tmp_path: Path, scaffold: dict[str, Any], found: str
) -> None:
    settings = {**yaml.safe_load(settings_text()), "scaffold": scaffold, "model": str(tmp_path / "none")}
    (tmp_path / plan.CONFIG_NAME).write_text(yaml.safe_dump(settings))
    report = json.loads(evolvent("check", "-C", tmp_path, "--json").out.splitlines()[0])
    (row,) = (row for row in report["checks"] if row["check"] == "scaffold")
    assert row["ok"] == found.startswith("^")
    assert re.search(found, row["found"])


def test_broken_weights_are_refused_before_anything_loads_them(evolvent: Any, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"\xff" * 64)
    settings = {**yaml.safe_load(settings_text()), "model": str(tmp_path)}
    (tmp_path / plan.CONFIG_NAME).write_text(yaml.safe_dump(settings))
    answer = evolvent("check", "-C", tmp_path)
    assert answer.code == 3
    assert "is broken" in answer.err


def test_reading_commands_agree_with_the_ledger(evolvent: Any, run: Path, names: dict[str, str]) -> None:
    for command in ("status", "log", "lineage", "diagnose", "audit"):
        text = evolvent(command, "-C", run)
        assert (text.code, text.err) == (0, ""), command
        assert text.out.strip()
        assert isinstance(evolvent(command, "-C", run, "--json").json, dict)
    status = evolvent("status", "-C", run, "--json").json
    assert (status["turn"], status["champion"], status["slots"]) == (1, names["good"], 2)
    lineage = evolvent("lineage", "-C", run, "--json").json
    assert lineage["champion"] == names["good"]
    assert {row["version"] for row in lineage["versions"]} == set(names.values())
    lines = evolvent("log", "-C", run, "--json", "--last", 3).out.splitlines()
    assert [json.loads(line)["kind"] for line in lines] == ["rejected", "turn.ended", "turn.started"]
    assert "rejected" in evolvent("log", "-C", run, "--events").out
    assert evolvent("diagnose", "-C", run, "--json").json["skills"]["multi"]["n"] == 200


def test_goal_shows_how_far_it_is_and_what_subgoals_cost(evolvent: Any, run: Path, names: dict[str, str]) -> None:
    told = evolvent("goal", "-C", run, "--json").json
    assert (told["outcome"], told["turns_done"], told["goal"]["gain_points"]) == ("pursued", 1, 20)
    assert told["progress"] == [{"turn": 1, "champion": names["seed"], "n": 200, "correct": 81}]
    (subgoal,) = told["subgoals"]
    assert (subgoal["id"], subgoal["state"], subgoal["promotions"]) == ("multi,tier=rebuild", "open", 1)
    assert subgoal["total"] == {"turns": 0, "flops": 200}, "two builds, on a run that planned no turn"
    text = evolvent("goal", "-C", run).out
    assert "20 points more on multi, in 2 turns" in text
    assert "48 of 60" in text
    assert "proves nothing" in text


def test_show_tells_the_whole_story(evolvent: Any, run: Path, names: dict[str, str]) -> None:
    story = evolvent("show", names["good"][:8], "-C", run, "--json").json
    assert story["parents"] == [names["seed"]]
    assert (story["operator"], story["params"], story["slot"]["slot"]) == ("self_labels", {"steps": 60}, 1)
    assert story["verdict"]["decision"] == "accept"
    assert story["evidence"]["stages"][0]["outcome"] == "proven"
    assert story["cost"]["flops"] == 100
    assert [row["by"] for row in story["history"]] == ["gate"]
    text = evolvent("show", names["good"][:8], "-C", run).out
    assert "Better on multi?" in text
    assert evolvent("show", "1", "-C", run, "--json").json["kind"] == "run.started"
    assert "there is none" in evolvent("show", "9999", "-C", run).err
    assert "0 match" in evolvent("show", "zzzz", "-C", run).err
    assert evolvent("show", names["seed"][:8], "-C", run).code == 0


def test_statements_and_proofs_can_be_checked_by_others(evolvent: Any, run: Path, names: dict[str, str]) -> None:
    assert "it was never promoted" in evolvent("show", names["seed"], "-C", run, "--statement").err
    assert "no head was signed since" in evolvent("show", "3", "-C", run, "--proof").err
    assert evolvent("promote", names["planted"], "-C", run, "--force", "--reason", "a test").code == 0
    lines = evolvent("show", names["good"], "-C", run, "--statement").out.splitlines()
    assert [json.loads(line)["payloadType"] for line in lines] == ["application/vnd.in-toto+json"]

    told = evolvent("show", "3", "-C", run, "--proof").json
    proof, event = told["proof"], told["event"]
    rest = {name: value for name, value in event.items() if name != "chain_hash"}
    assert sha256_hex(proof["previous"] + canonical_json(rest)) == event["chain_hash"]  # the event is what it says
    signed = SignedHead.parse(json.dumps(proof["head"]))
    assert signed is not None
    assert signed.signed()
    leaf, path = event_leaf(event["chain_hash"]), [bytes.fromhex(name) for name in proof["path"]]
    assert check_inclusion(leaf, proof["index"], signed.head.size, path, bytes.fromhex(signed.head.root))


def test_an_audit_asks_the_witness(evolvent: Any, run: Path, tmp_path: Path, names: dict[str, str]) -> None:
    witness = tmp_path / "elsewhere"
    witness.mkdir()
    assert "no signed heads there" in evolvent("audit", "-C", run, "--witness", witness).err
    settings = yaml.safe_load((run / plan.CONFIG_NAME).read_text())
    (run / plan.CONFIG_NAME).write_text(json.dumps({**settings, "witness": [str(witness)]}))
    older = Path(shutil.copytree(run, tmp_path / "older"))
    assert evolvent("promote", names["planted"], "-C", run, "--force", "--reason", "a test").code == 0
    told = evolvent("audit", "-C", run, "--json").json
    assert (told["ok"], told["checked"]["signed heads"], told["checked"]["statements"]) == (True, 4, 2)
    said = evolvent("audit", "-C", older, "--witness", witness, "--json")
    assert (said.code, said.json["ok"]) == (3, False)
    assert any("an older copy was put back" in line for line in said.json["wrong"])
    assert evolvent("run", "-C", older).code == 3
    shutil.rmtree(witness)
    assert "cannot be reached" in evolvent("audit", "-C", run).out


def test_rebuild_says_where_weights_come_from(evolvent: Any, run: Path, names: dict[str, str]) -> None:
    assert "are the seed's own" in evolvent("rebuild", names["seed"], "-C", run).out
    assert "0 match" in evolvent("rebuild", "zzzz", "-C", run).err
    unknown = evolvent("rebuild", names["good"], "-C", run)  # made up by the test, by no job
    assert (unknown.code, "no job on record" in unknown.err) == (3, True)


def test_diff_names_what_differs(evolvent: Any, run: Path, names: dict[str, str]) -> None:
    found = evolvent("diff", names["good"], names["planted"], "-C", run, "--json").json["differences"]
    assert found["operator"] == ["self_labels", "planted_regression"]
    assert found["verdict.decision"] == ["accept", "reject"]
    assert evolvent("diff", names["good"], names["seed"], "-C", run).code == 0
    assert evolvent("diff", names["good"], names["good"], "-C", run, "--json").json["differences"] == {}


def test_a_person_may_override_the_gate_but_not_by_accident(evolvent: Any, run: Path, names: dict[str, str]) -> None:
    planted = names["planted"]
    for extra in ((), ("--force",), ("--reason", "x")):
        said = evolvent("promote", planted, "-C", run, *extra)
        assert said.code == 5
        assert "--force and --reason" in said.err
    said = evolvent("promote", planted[:10], "-C", run, "--force", "--reason", "a test", "--by", "dana", "--json")
    assert said.json == {"champion": planted, "forced": True}
    assert "is the champion already" in evolvent("promote", planted, "-C", run, "--force", "--reason", "x").err
    assert evolvent("status", "-C", run, "--json").json["certified"] == names["good"]
    assert "dana" in evolvent("audit", "-C", run).out
    history = evolvent("show", planted[:8], "-C", run, "--json").json["history"]
    assert (history[-1]["by"], history[-1]["reason"]) == ("dana", "a test")
    assert evolvent("rollback", "-C", run, "--json").json == {"champion": names["good"]}
    assert evolvent("rollback", names["seed"], "-C", run, "--by", "dana").code == 0
    assert evolvent("rollback", names["seed"], "-C", run).code == UsageError.exit_code
    assert evolvent("audit", "-C", run, "--json").json["checked"]["rollbacks"] == 2


def test_only_what_was_champion_can_be_rolled_back_to(evolvent: Any, run: Path, names: dict[str, str]) -> None:
    refused = evolvent("rollback", names["planted"], "-C", run)
    assert refused.code == 5
    assert "was never champion" in refused.err


def test_check_finds_a_task_in_the_runs_own_folder(evolvent: Any, toy_seed: Path, tmp_path: Path) -> None:
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "my_strings.py").write_text(
        "from evolvent.tasks.strings import Strings\n\n\ndef task():\n    return Strings()\n"
    )
    settings = toy_world.settings(toy_seed, task="my_strings:task")
    (tmp_path / plan.CONFIG_NAME).write_text(yaml.safe_dump(settings))
    rows = evolvent("check", "-C", tmp_path, "--json").json["checks"]
    assert {row["check"]: row["ok"] for row in rows if row["check"] != "gate"} == dict.fromkeys(
        ("settings", "run", "short", "long", "goal", "operators", "proposers", "scaffold", "model"), True
    )


def test_check_says_of_a_run_that_has_begun_whether_its_settings_still_are_its_own(evolvent: Any, run: Path) -> None:
    def row() -> dict[str, Any]:
        said = evolvent("check", "-C", run, "--json")
        return next(row for row in json.loads(said.out)["checks"] if row["check"] == "run")

    assert row() == {"check": "run", "ok": True, "found": "begun, 1 turn done"}
    path = run / plan.CONFIG_NAME
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "seed": 77}))
    assert "was changed after the run began" in row()["found"]
    assert not row()["ok"]


def test_a_task_that_raises_is_named_and_is_no_bug_of_ours(evolvent: Any, toy_seed: Path, tmp_path: Path) -> None:
    (tmp_path / "tasks").mkdir()
    for name, text, said in (
        ("boom", "raise ValueError('boom')", "'boom:task': the module does not load: ValueError: boom"),
        ("leaves", "import sys; sys.exit(7)", "'leaves:task': the module does not load: SystemExit: 7"),
    ):
        (tmp_path / "tasks" / f"{name}.py").write_text(text)
        (tmp_path / plan.CONFIG_NAME).write_text(yaml.safe_dump(toy_world.settings(toy_seed, task=f"{name}:task")))
        answer = evolvent("check", "-C", tmp_path)
        assert (answer.code, said in answer.err) == (UsageError.exit_code, True), answer.err


def test_audit_fails_with_its_code_and_names_the_fault(evolvent: Any, run: Path) -> None:
    next((run / JUDGE / "evidence").iterdir()).unlink()
    said = evolvent("audit", "-C", run, "--json")
    assert said.code == 3
    assert "evidence" in said.err
    assert [json.loads(line)["ok"] for line in said.out.splitlines()] == [False], "one object, also when it fails"
    assert evolvent("report", "-C", run).code == 3


def test_report_is_written_without_opening_the_sealed_problems(evolvent: Any, run: Path) -> None:
    said = evolvent("report", "-C", run, "--json")
    assert said.json == {"report": str(run / "report.html"), "skills": {}, "notes": [], "audit": "ok"}
    assert (run / "report.html").read_text().startswith("<!")
    with Ledger.open(run / LEDGER) as ledger:
        assert next(ledger.events(kinds={"sealed.opened"}), None) is None


def test_memory_export_is_what_an_import_takes(evolvent: Any, run: Path, tmp_path: Path) -> None:
    from evolvent.memory.memory import Memory

    shown = evolvent("memory", "export", "-C", run).json
    said = evolvent("memory", "export", "-C", run, "--out", tmp_path / "m.json")
    assert "1 episode" in said.out
    assert json.loads((tmp_path / "m.json").read_text()) == shown
    assert Memory.from_plain(shown).plain() == shown


def test_memory_is_shown_and_searched(evolvent: Any, run: Path) -> None:
    shown = evolvent("memory", "show", "-C", run, "--json").json
    assert shown["episodes"] == 1, "a probe is none"
    assert [(row["change"], row["accepted"], row["judged"]) for row in shown["effects"]] == [("self_labels", 1, 1)]
    assert shown["proposers"]["bandit"]["accepted"] == 1
    text = evolvent("memory", "show", "-C", run).out
    assert "gains in points on dev" in text
    hits = evolvent("memory", "search", "labels self_labels", "-C", run, "--json").json
    assert [(hit["operator"], hit["share"]) for hit in hits] == [("self_labels", 0.5)]
    assert "nothing remembered of: scaffold" in evolvent("memory", "search", "scaffold", "-C", run).out


def test_forgetting_is_an_event_in_a_run_and_a_rewriting_of_a_file(evolvent: Any, run: Path, tmp_path: Path) -> None:
    kept = tmp_path / "m.json"
    evolvent("memory", "export", "-C", run, "--out", kept)
    assert evolvent("memory", "forget", "-C", run).code == UsageError.exit_code
    said = evolvent("memory", "forget", "--change", "gold", "-C", run)
    assert (said.code, "nothing of that is remembered" in said.err) == (UsageError.exit_code, True)
    assert (
        evolvent("memory", "forget", "--change", "self_labels", "-f", kept, "--json").json["forgotten"]["episodes"] == 1
    )
    assert json.loads(kept.read_text())["episodes"] == []
    assert "1 episode," in evolvent("memory", "forget", "--everything", "-C", run).out
    assert "nothing is remembered yet" in evolvent("memory", "show", "-C", run).out
    assert [e.payload["everything"] for e in toy_world.events(run) if e.kind == "memory.forgotten"] == [True]
    assert evolvent("audit", "-C", run).code == 0


def test_settings_of_a_run_that_began_are_not_to_be_changed(evolvent: Any, run: Path) -> None:
    config = json.loads((run / plan.CONFIG_NAME).read_text())
    (run / plan.CONFIG_NAME).write_text(json.dumps({**config, "seed": 5}))
    said = evolvent("status", "-C", run)
    assert said.code == UsageError.exit_code
    assert "a run keeps its settings" in said.err


def test_ctrl_c_stops_at_once_and_leaves_no_child(tmp_path: Path) -> None:
    """A worker's child sleeps for a minute; it and a thread that waits for it must be gone within seconds."""
    code = (
        "import subprocess, sys, threading\n"
        "from evolvent.cli import acting, main\n"
        "from evolvent.run import Run\n"
        "def go(self, **_):\n"
        "    child = subprocess.Popen(['sleep', '60'], start_new_session=True)\n"
        "    thread = threading.Thread(target=child.wait)\n"
        "    thread.start()\n"
        "    print(child.pid, flush=True)\n"
        "    try:\n        threading.Event().wait(60)\n"
        "    finally:\n        thread.join()\n"
        "Run.go = go\n"
        "main(sys.argv[1:])\n"
    )
    (tmp_path / plan.CONFIG_NAME).write_text(settings_text())
    line = [sys.executable, "-c", code, "run", "-C", str(tmp_path)]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        started = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert err.strip() == "stopped; resume with `evolvent run`"
    assert time.monotonic() - started < 15
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_a_bug_is_told_as_one(evolvent: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Path) -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr(plan, "load", broken)
    said = evolvent("status", "-C", tmp_path)
    assert said.code == 1
    assert "boom" in said.err
    assert "Traceback" not in said.err
    assert "Traceback" in evolvent("--debug", "status", "-C", tmp_path).err


# -- a person's say ----------------------------------------------------------------------------------------------------


@pytest.fixture
def waits(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """A run in which ``good`` is held for a person."""
    made = RunOnDisk(tmp_path / "waits", {"jump_points": 5}, approved=False)
    return made.folder, made.versions


def test_status_shows_what_waits_and_what_to_type(evolvent: Any, waits: tuple[Path, dict[str, str]]) -> None:
    folder, versions = waits
    name = versions["good"][:8]
    said = evolvent("status", "-C", folder).out
    assert f"waits for you   1.0  {name}  self_labels (steps=60), accepted by the gate" in said
    assert "multi: +" in said
    assert "points over the anchor, 5 allowed" in said
    assert f"then   evolvent approve {name}  or  evolvent decline {name}" in said
    assert list(evolvent("status", "-C", folder, "--json").json["held"]) == ["1.0"]
    assert f"{name} held: multi" in evolvent("log", "--events", "-C", folder).out
    assert "held for a person" in evolvent("show", name, "-C", folder).out


def test_an_approval_is_told_and_shown(evolvent: Any, waits: tuple[Path, dict[str, str]]) -> None:
    folder, versions = waits
    said = evolvent("approve", versions["good"][:6], "--by", "ada", "--note", "read it", "-C", folder)
    assert said.code == 0
    assert said.out.startswith(f"1.0 ({versions['good'][:12]}) approved.")
    assert "approved by ada: read it; done when `evolvent run` goes on" in evolvent("status", "-C", folder).out
    again = evolvent("decline", "1.0", "--json", "-C", folder)
    assert (again.code, again.json["kind"]) == (5, "GateRefused")
    assert "approved by ada already" in again.err


def test_words_about_nothing_are_refused(evolvent: Any, run: Path) -> None:
    assert "one candidate that waits for a person; nothing does" in evolvent("approve", "1.0", "-C", run).err
    assert "asks for none now" in evolvent("pick", "1.0", "-C", run).err
    assert "got both" in evolvent("pick", "1.0", "--none", "-C", run).err
    assert "No pick is asked for now." in evolvent("pick", "-C", run).out


def test_a_pick_is_shown_and_taken(evolvent: Any, run: Path) -> None:
    counts = {"n": 200, "wins": 31, "losses": 4}
    row = {"id": "2.0", "version": "v" * 64, "operator": "gold", "params": {}, "predicted_gain": "4", "target": counts,
           "predicted_deviation": "3", "skills": {"multi": counts}, "flops": 5, "tokens": 6}  # fmt: skip
    with Ledger.open(run / LEDGER) as ledger:
        ledger.acquire()
        ledger.append("pick.asked", {"turn": 2, "candidates": [row]}, key="2/pick")
    assert "1 candidate before the judge is asked; evolvent pick  shows them" in evolvent("status", "-C", run).out
    shown = evolvent("pick", "-C", run).out
    assert "multi 31 won, 4 lost of 200" in shown
    assert evolvent("pick", "-C", run, "--json").json == {"asked": [row]}
    assert "2.9 is not presented; 2.0 are" in evolvent("pick", "2.9", "-C", run).err
    assert evolvent("pick", "2.0", "--json", "-C", run).json == {"turn": 2, "picked": ["2.0"]}
    assert "picked already" in evolvent("pick", "--none", "-C", run).err

"""Retrieve, then adapt: what are examples worth to a program, and does the loop find that out by itself?

Arm ``read``: a small model is taught four functions of a string of one to four letters, mostly with solved strings of
the same function in front, up to eight. Which function is asked for stands nowhere else, so without examples it can
only guess. Each seed asks for one of the functions, on strings of three and four letters that are not in the bank.
Its training and its gold are true labels, declared here: there are no others. Control: as many examples of another
function. Then a real run from that model, with operator ``examples`` alone, says
whether the gate finds it; its problems have one to four letters, and the shortest stand in its examples too.

Arms ``python`` and ``sql``: the shipped seeds, which were never taught to read examples, begin from the answers of the
most similar problems of their own gold (`recall`), instead of from an answer of their own, in the program that is best
by hand.

Arm ``routing``, where there is outside data (``--data``): messages to a bank (BANKING77, arXiv:2003.04807), eight of
the 77 intents a seed, eight messages each in the bank of examples; the intent of the most similar one, or of most of
four. No model is asked.

Run ``python benchmarks/retrieval.py [--data DIR] [--quick]``.
"""

from __future__ import annotations

import csv
import json
import random
import shutil
import sys
from collections.abc import Sequence
from typing import Any

import torch
from common import Results, Unit, bench_main, paired_interval  # the frame shared by all benchmarks

from evolvent import tasks
from evolvent.curate.bank import drawn
from evolvent.inputs import read_pairs, seed_files, shipped_gold
from evolvent.models.codec import CharCodec
from evolvent.models.files import from_files, to_files
from evolvent.models.transformer import EvolventConfig, fresh
from evolvent.observe.rollout import rollout
from evolvent.run import Run
from evolvent.scaffold import examples
from evolvent.scaffold.programs import run
from evolvent.scaffold.tools import Tools
from evolvent.tasks.base import Task
from evolvent.tasks.strings import ALPHABET, MARK, Strings
from evolvent.tasks.strings.reference import FUNCTIONS  # seed training and gold, nowhere else
from evolvent.train.batches import Example, Source, batches
from evolvent.train.optimise import Schedule, optimise
from evolvent.types import Problem, derive_seed

ARMS = ("read", "python", "sql", "routing")
NAMES = ("copy", "mirror", "exchange", "shift")
GREEDY = {"do": "sample", "n": 1, "temperature": "0"}
REPAIR = {"do": "repair", "temperature": "0.6"}
ADVANCE = {"do": "advance", "n": 1, "temperature": "0.6"}
SHOWN = (1, 2, 4, 8)
TASK = '''"""One of four functions; which, only examples say."""

from evolvent.tasks.strings import Strings


def task() -> Strings:
    """Strings of up to four letters."""
    return Strings(function="{name}", short=4, long=6)
'''

Steps = list[dict[str, Any]]


def solved_by(name: str, count: int, rng: random.Random) -> list[tuple[str, str]]:
    """Strings of one to four letters, with what a function makes of them."""
    words = ("".join(rng.choices(ALPHABET, k=rng.randint(1, 4))) for _ in range(count))
    return [(word + MARK, FUNCTIONS[name](word)) for word in words]


def reader(unit: Unit) -> dict[str, bytes]:
    """Files of the model that is taught to read examples."""
    settings, rng = unit.settings, random.Random(derive_seed("retrieval", "taught", unit.seed))
    taught = []
    for _ in range(settings["taught"]):
        *known, (prompt, answer) = solved_by(rng.choice(NAMES), rng.choice((0, *SHOWN)) + 1, rng)
        taught.append(Example(examples.shown(prompt, known), answer))
    codec = CharCodec(ALPHABET + MARK + "\n")
    config = EvolventConfig(
        vocab_size=codec.size, hidden_size=48, num_hidden_layers=3, num_attention_heads=4, intermediate_size=96
    )
    model, steps = fresh(config, derive_seed("retrieval", unit.seed) >> 1), settings["steps"]
    stream = batches([Source("gold", taught, 1.0)], codec, steps, settings["tokens"], unit.seed)
    optimise(model, stream, Schedule(steps=steps, learning_rate=4e-3))
    return to_files(model.eval(), codec)


class Lab:
    """A model and fresh problems, on which programs are tried."""

    def __init__(self, files: dict[str, bytes], task: Task, problems: Sequence[Problem], seed: int) -> None:
        self.model, self.codec = from_files(files)
        self.task, self.problems, self.seed = task, problems, seed

    def tried(self, steps: Steps, bank: list[list[str]] | None = None) -> dict[str, Any]:
        """Solved and tokens of a program."""
        scaffold = {"kind": "steps", "steps": steps, **({"examples": bank} if bank else {})}
        out = rollout(self.model, self.codec, self.task, scaffold, [p.prompt for p in self.problems], self.seed)
        pairs = zip(self.problems, out.outputs, strict=True)
        return {"solved": sum(self.task.verify(p, text, 7).correct for p, text in pairs), "tokens": out.tokens}


def read_unit(unit: Unit) -> dict[str, Any]:
    """Examples shown to a model that reads them, by hand and by the loop."""
    name, files = NAMES[unit.seed % len(NAMES)], reader(unit)
    other = NAMES[(unit.seed + 1) % len(NAMES)]
    rng = random.Random(derive_seed("retrieval", "gold", unit.seed))
    gold, wrong = solved_by(name, 200, rng), solved_by(other, 200, rng)
    bank, control = drawn(gold, unit.seed), drawn(wrong, unit.seed)
    known = {prompt for prompt, _ in (*gold, *wrong)}
    task = Strings(function=name, short=4, long=6)
    made = (p for n in ("3", "4") for p in task.challenge({"length": n}, rng, unit.settings["problems"]))
    lab = Lab(files, task, [p for p in made if p.prompt not in known], unit.seed)
    programs = {"direct": lab.tried([GREEDY])}
    programs |= {f"show {n}": lab.tried([{"do": "show", "n": n}, GREEDY], bank) for n in SHOWN}
    programs["show 4 of another function"] = lab.tried([{"do": "show", "n": 4}, GREEDY], control)
    programs["recall 4, vote"] = lab.tried([{"do": "recall", "n": 4}, {"do": "vote", "by": "text"}], bank)
    return {"n": len(lab.problems), "programs": programs, "loop": loop(unit, name, files, gold, lab)}


def loop(unit: Unit, name: str, files: dict[str, bytes], gold: list[tuple[str, str]], lab: Lab) -> dict[str, Any]:
    """A run from the reader with nothing but operator ``examples``: what the gate promotes, and its worth."""
    folder = unit.folder / "run"
    shutil.rmtree(folder, ignore_errors=True)
    for part in ("seed", "tasks"):
        (folder / part).mkdir(parents=True)
    for file, data in files.items():
        (folder / "seed" / file).write_bytes(data)
    rows = [json.dumps({"prompt": p, "answer": a}) + "\n" for p, a in gold]
    (folder / "gold.jsonl").write_text("".join(rows), "utf-8")
    (folder / "tasks" / "four.py").write_text(TASK.format(name=name), "utf-8")
    settings = {
        "task": "four:task", "model": str(folder / "seed"), "gold": "gold.jsonl", "seed": unit.seed,
        "goal": {"turns": unit.settings["turns"]},
        "plan": {"target": "short", "protected": {"short": 5}, "operators": ["examples"], "max_items": 600},
        "dev": {"problems": 100}, "probes": {"every_turns": 0}, "workers": 1,
    }  # fmt: skip
    (folder / "evolvent.yaml").write_text(json.dumps(settings), "utf-8")
    run = Run.open(folder)
    state = run.go(turns=unit.settings["turns"])
    scaffold = state.versions[state.champion]["candidate"]["scaffold"]
    steps = scaffold.get("steps", [GREEDY])
    return {"promoted": state.promotions, "slots": state.slots, "program": steps,
            **lab.tried(steps, scaffold.get("examples"))}  # fmt: skip


def shipped_unit(unit: Unit) -> dict[str, Any]:
    """Beginning from recalled answers, with a seed that was taught nothing of the kind."""
    python = unit.arm == "python"
    model = "python-seed" if python else "sql-seed"
    task = tasks.load("python_fix" if python else "sql_migration")
    rng = random.Random(derive_seed("retrieval", unit.arm, unit.seed))
    skill = "single" if python else "multi"
    lab = Lab(seed_files(model), task, task.generate(skill, rng, unit.settings["problems"]), unit.seed)
    bank = drawn(read_pairs(shipped_gold(model)), unit.seed)
    hand = [GREEDY, {**REPAIR, "times": 5}] if python else [{**ADVANCE, "times": 4}]
    rest = [{**REPAIR, "times": 6}] if python else hand
    programs = {"by hand": lab.tried(hand)}
    for n in (1, 4) if python else (1,):  # sql goes on from one attempt
        programs[f"recall {n}"] = lab.tried([{"do": "recall", "n": n}, *rest], bank)
    return {"n": len(lab.problems), "examples": len(bank), "programs": programs}


def routing_unit(unit: Unit) -> dict[str, Any]:
    """Intents of messages by those of similar ones."""
    if unit.data is None or not (unit.data / "banking77").is_dir():
        return {}
    rows: dict[str, list[tuple[str, str]]] = {}
    for part in ("train", "test"):
        with (unit.data / "banking77" / f"{part}.csv").open(encoding="utf-8", newline="") as lines:
            rows[part] = [(row["text"].strip(), row["category"]) for row in csv.DictReader(lines)]
    rng = random.Random(derive_seed("retrieval", "routing", unit.seed))
    intents = rng.sample(sorted({intent for _, intent in rows["train"]}), 8)
    bank = []
    for intent in intents:
        said = sorted({(text, own) for text, own in rows["train"] if own == intent and examples.fits((text, own))})
        bank += [list(pair) for pair in rng.sample(said, 8)]
    asked = [(text, intent) for text, intent in rows["test"] if intent in intents]

    def silent(*_: Any) -> Any:
        raise AssertionError("nothing is to be asked")

    tools = Tools(lambda p, o: None, lambda p, o: ("", None), lambda p, o: None)
    found: dict[str, Any] = {"n": len(asked), "programs": {}}
    for n in (1, 4):
        steps = [{"do": "recall", "n": n}, {"do": "vote", "by": "text"}]
        scaffold = {"kind": "steps", "steps": steps, "examples": bank}
        said = run(scaffold, silent, tools, [text for text, _ in asked], 0).outputs
        right = sum(text == intent for text, (_, intent) in zip(said, asked, strict=True))
        found["programs"][f"recall {n}, vote"] = {"solved": right, "tokens": 0}
    return found


def run_unit(unit: Unit) -> dict[str, Any]:
    """One arm of one seed."""
    torch.set_num_threads(1)
    return {"read": read_unit, "routing": routing_unit}.get(unit.arm, shipped_unit)(unit)


def minus(rows: Sequence[dict[str, Any]], one: str, other: str) -> tuple[float, float, float]:
    """Points that one program solves more than another, paired by seed: low, mean, high."""
    made = [100 * (row["programs"][one]["solved"] - row["programs"][other]["solved"]) / row["n"] for row in rows]
    return paired_interval(made)


def told(interval: tuple[float, float, float]) -> str:
    """An interval in words."""
    low, mean, high = interval
    return f"{mean:.1f} points ({low:.1f} to {high:.1f})"


def summarise(results: Results, _settings: dict[str, Any]) -> dict[str, Any]:
    """Solved and tokens by program; differences; what the loop kept."""
    figures: dict[str, Any] = {}
    for arm in ARMS:
        rows = [row for row in results[arm].values() if row]
        if not rows:
            continue
        figures[arm] = {
            name: {
                "solved": [row["programs"][name]["solved"] for row in rows],
                "of": [row["n"] for row in rows],
                "tokens each": round(
                    sum(row["programs"][name]["tokens"] for row in rows) / sum(row["n"] for row in rows), 1
                ),
            }
            for name in rows[0]["programs"]
        }
    read = list(results["read"].values())
    figures["loop"] = [row["loop"] for row in read]
    gain, wrong = minus(read, "show 4", "direct"), minus(read, "show 4 of another function", "direct")
    kept = sum(row["loop"]["promoted"] > 0 for row in read)
    bars = {
        "read: show 4 minus direct: above 0": {"figure": told(gain), "bar": 0, "holds": gain[0] > 0},
        "read: examples of another function minus direct: below 0": {
            "figure": told(wrong), "bar": 0, "holds": wrong[2] < 0,
        },
        f"read: runs of {len(read)} in which the gate promotes examples": {
            "figure": kept, "bar": len(read), "holds": kept == len(read),
        },
    }  # fmt: skip
    for arm in ("python", "sql"):
        difference = minus(list(results[arm].values()), "recall 1", "by hand")
        bars[f"{arm}: recall 1 minus the best by hand: above 0"] = {
            "figure": told(difference), "bar": 0, "holds": difference[0] > 0,
        }  # fmt: skip
    if routed := [row for row in results["routing"].values() if row]:
        right = [sum(row["programs"][name]["solved"] for row in routed) for name in routed[0]["programs"]]
        asked = sum(row["n"] for row in routed)
        bars[f"routing: right of {asked} messages, 8 intents: nearest, most of four: twice chance"] = {
            "figure": right, "bar": asked // 4, "holds": min(right) >= asked // 4,
        }  # fmt: skip
    return {"figures": figures, "bars": bars}


FULL: dict[str, Any] = {
    "seeds": [0, 1, 2, 3], "taught": 60000, "steps": 3000, "tokens": 2048, "problems": 160, "turns": 3, "version": 1,
}  # fmt: skip
QUICK: dict[str, Any] = {**FULL, "seeds": [0], "taught": 500, "steps": 10, "problems": 8, "turns": 1}

if __name__ == "__main__":
    sys.exit(bench_main("retrieval", ARMS, run_unit, summarise, full=FULL, quick=QUICK))

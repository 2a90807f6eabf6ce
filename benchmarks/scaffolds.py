"""Programs of steps on three kinds of tasks at equal tokens: written by hand, evolved, and against themselves.

Arms ``sql``, ``python`` and ``strings``, each with the tools that its task has. Each kind of program written by hand
gets the largest bound under which it keeps to the family's ceiling of tokens (a multiple of a direct answer's), on
search problems. Evolution starts from these, edits and crosses them (`scaffold.edits`) on the same search problems
until a fixed number of tokens is spent, and drops what costs more than the ceiling. Both sides then choose among their
best by further problems; the two chosen meet on fresh ones. There too the evolved program meets itself under other
seeds (A/A), both comparisons go through the judge's gate, and a program that abstains shows what silence is worth. One
of those by hand asks further only where its first answers differ; it is compared with the one that always asks.

Arm ``null``: pairs of one and the same randomly evolved program under two seeds, each pair judged by the gate on fresh
items as it asks for them (strings, whose answers are cheap), one slot after the other of a single run. It should adopt
none.

Run ``python benchmarks/scaffolds.py [--quick]``.
"""

from __future__ import annotations

import importlib
import random
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from common import ROOT, Results, Unit, bench_main, paired_interval  # the frame shared by all benchmarks
from numpy.typing import NDArray

from evolvent import tasks
from evolvent.inputs import seed_files
from evolvent.judge.rehearsal import rehearse
from evolvent.judge.stats import clopper_pearson
from evolvent.models.files import from_files
from evolvent.observe.rollout import rollout
from evolvent.scaffold import edits, grammar
from evolvent.types import Decision, Problem, canonical_json, derive_seed

sys.path.insert(0, str(ROOT / "tests"))
toy_world = importlib.import_module("toy_world")

Steps = list[dict[str, Any]]
DIRECT: Steps = grammar.steps_of({"kind": "direct"})
ABSTAINING: Steps = [
    {"do": "sample", "n": 6, "temperature": "0.6"}, {"do": "abstain", "below": "0.6"}, {"do": "vote", "by": "text"},
]  # fmt: skip
WHEN_UNSURE = "when unsure"
BOUNDS = (2, 3, 4, 6, 8, 12, 16)
PARENTS, FINALISTS, SLACK = 6, 3, 0.1  # SLACK: share of the first part's problems by which a child may trail the best


def when_unsure(answers: int) -> Steps:
    """As `consistent`, but most answers are asked for only where the first ones do not run and say the same."""
    first = max(2, answers // 4)
    warm = {"do": "sample", "temperature": "0.6"}
    settle = {"do": "settle", "by": "feedback", "share": "1"}
    return [{**warm, "n": first}, settle, {**warm, "n": answers - first}, *grammar.WRITTEN["consistent"](answers)[1:]]


@dataclass(frozen=True)
class Family:
    """A kind of task: its skills in equal parts, the tools that it has, and the ceiling, in direct answers' tokens."""

    task: str
    model: str
    skills: tuple[str, ...]
    tools: tuple[str, ...]
    ceiling: float

    def problems(self, count: int, *path: object) -> list[Problem]:
        task, rng = tasks.load(self.task), random.Random(derive_seed("scaffolds", *path))
        return [p for skill in self.skills for p in task.generate(skill, rng, count // len(self.skills))]

    def written(self) -> dict[str, Callable[[int], Steps]]:
        """Kinds of programs written by hand that use no tool but these, each by its bound of answers."""
        kinds = {**grammar.WRITTEN, WHEN_UNSURE: when_unsure}
        return {kind: make for kind, make in kinds.items() if grammar.tools(make(4)) <= set(self.tools)}


FAMILIES = {
    "sql": Family("sql_migration", "sql-seed", ("multi",), ("feedback", "advance"), 3.3),
    "python": Family("python_fix", "python-seed", ("single", "double"), ("feedback", "revise"), 3.3),
    "strings": Family("strings", "", ("short",), ("feedback",), 3.3),
}
ARMS = (*FAMILIES, "null")


@dataclass
class Lab:
    """A family's model, trying programs on named sets of problems; remembers what it has seen and counts tokens."""

    family: Family
    unit: Unit
    seen: dict[tuple[str, str], tuple[list[bool], int]] = field(default_factory=dict)
    sets: dict[str, list[Problem]] = field(default_factory=dict)
    spent: int = 0

    def __post_init__(self) -> None:
        self.task = tasks.load(self.family.task)
        self.model, self.codec = from_files(seed_files(self.family.model or self._toy()))
        for name, count in self.unit.settings["sets"].items():
            self.sets[name] = self.family.problems(count, self.family.task, name, self.unit.seed)

    def _toy(self) -> str:
        folder = self.unit.folder / "seed"
        if not (folder / "gold.jsonl").is_file():
            shutil.rmtree(folder, ignore_errors=True)
            toy_world.make_seed(folder)
        return str(folder)

    def answers(self, steps: Any, problems: list[Problem], seed: int) -> tuple[list[str], int]:
        scaffold = {"kind": "steps", "steps": steps}
        out = rollout(self.model, self.codec, self.task, scaffold, [p.prompt for p in problems], seed)
        return out.outputs, out.tokens

    def right(self, problems: list[Problem], outputs: list[str]) -> list[bool]:
        return [self.task.verify(p, text, 7).correct for p, text in zip(problems, outputs, strict=True)]

    def tried(self, steps: Any, name: str, again: str = "") -> tuple[list[bool], int]:
        """Which problems of a set it solves, and its tokens. Each program has noise of its own, as before the judge."""
        key = (canonical_json(steps) + again, name)
        if key not in self.seen:
            seed = derive_seed("scaffolds rollout", self.unit.seed, *key)
            outputs, tokens = self.answers(steps, self.sets[name], seed)
            self.seen[key] = self.right(self.sets[name], outputs), tokens
            self.spent += tokens
        return self.seen[key]

    def solved(self, steps: Any, *names: str) -> int:
        return sum(sum(self.tried(steps, name)[0]) for name in names)

    def price(self, steps: Any, *names: str) -> float:
        """Tokens in those of a direct answer."""
        return sum(self.tried(steps, n)[1] for n in names) / sum(self.tried(DIRECT, n)[1] for n in names)


SEARCH = ("first", "second")


def by_hand(lab: Lab) -> dict[str, Steps]:
    """Each kind at the largest bound that keeps to the ceiling on the first part, if any does."""
    found: dict[str, Steps] = {"direct": DIRECT}
    sizes = {"direct": (), WHEN_UNSURE: BOUNDS[1:]}  # two answers leave none to ask for afterwards
    for kind, make in lab.family.written().items():
        for bound in sizes.get(kind, BOUNDS):
            steps = make(bound)
            if lab.price(steps, SEARCH[0]) > lab.family.ceiling:
                break
            found[kind] = steps
    return found


def child_of(parents: list[Steps], rng: random.Random, tools: tuple[str, ...]) -> Steps:
    """One or two edits of a parent, or of what is made of two."""
    child = rng.choice(parents)
    if rng.random() < 0.3:
        child = edits.cross(child, rng.choice(parents), rng, tools)
    for _ in range(rng.choice((1, 1, 2))):
        child = edits.mutate(child, rng, tools)
    return child


def evolved(
    lab: Lab, start: list[Any], rng: random.Random, born: Callable[..., Any] = child_of
) -> tuple[list[Any], dict[str, Any]]:
    """Programs that keep to the ceiling, best first, after a fixed number of tokens."""
    pool = [(lab.solved(steps, *SEARCH), steps) for steps in start]
    direct = sum(lab.tried(DIRECT, name)[1] for name in SEARCH)
    limit = lab.spent + lab.unit.settings["evaluations"] * lab.family.ceiling * direct
    told = {"children": 0, "too dear": 0, "dropped early": 0, "kept": 0}
    known = {canonical_json(steps) for steps in start}
    while lab.spent < limit and told["children"] < 10 * lab.unit.settings["evaluations"]:
        pool.sort(key=lambda row: -row[0])
        child = born([steps for _, steps in pool[:PARENTS]], rng, lab.family.tools)
        told["children"] += 1
        if canonical_json(child) in known:
            continue
        known.add(canonical_json(child))
        trails = lab.solved(child, SEARCH[0]) < lab.solved(pool[0][1], SEARCH[0]) - SLACK * len(lab.sets[SEARCH[0]])
        if lab.price(child, SEARCH[0]) > lab.family.ceiling:
            told["too dear"] += 1
        elif trails:
            told["dropped early"] += 1
        elif lab.price(child, *SEARCH) <= lab.family.ceiling:
            told["kept"] += 1
            pool.append((lab.solved(child, *SEARCH), child))
    pool.sort(key=lambda row: -row[0])
    return [steps for _, steps in pool], told


def chosen(lab: Lab, ranked: list[Any]) -> Any:
    """The best of the finalists, by what they solve of search and further problems together."""
    return max(ranked[:FINALISTS], key=lambda steps: lab.solved(steps, *SEARCH, "further"))


def meet(lab: Lab, one: list[bool], other: list[bool]) -> dict[str, Any]:
    """Two programs on the fresh problems, in points and before the gate."""
    differences = np.array(one, np.int8) - np.array(other, np.int8)
    place = iter(range(0, len(differences) + 1, 40))
    said = rehearse(lambda n: differences[(at := next(place)) : at + n], 1, len(differences), 40)
    return {"points": 100 * float(differences.mean()), "gate": said[0], "items": said[1]}


def family_unit(unit: Unit) -> dict[str, Any]:
    """One family, one seed: sizes, search, choice, fresh problems."""
    lab = Lab(FAMILIES[unit.arm], unit)
    hand = by_hand(lab)
    rng = random.Random(derive_seed("scaffolds evolution", unit.arm, unit.seed))
    ranked, told = evolved(lab, list(hand.values()), rng)
    best_hand = chosen(lab, [steps for steps in ranked if steps in hand.values()])
    best = chosen(lab, ranked)
    told |= {"tokens": lab.spent}
    fresh = {name: lab.tried(steps, "fresh") for name, steps in {**hand, "best": best_hand, "evolved": best}.items()}
    same, _ = lab.tried(best, "fresh", again="again")
    outputs, _ = lab.answers(ABSTAINING, lab.sets["fresh"], derive_seed("scaffolds unsure", unit.seed))
    right = lab.right(lab.sets["fresh"], outputs)
    return {
        "n": len(lab.sets["fresh"]),
        "programs": {
            name: {"solved": sum(solved), "tokens": tokens, "times_direct": tokens / fresh["direct"][1]}
            for name, (solved, tokens) in fresh.items()
        },
        "best": best_hand, "evolved": best, "search": told,
        "evolved - best": meet(lab, fresh["evolved"][0], fresh["best"][0]),
        "evolved - direct": meet(lab, fresh["evolved"][0], fresh["direct"][0]),
        "evolved - itself": meet(lab, fresh["evolved"][0], same),
        "when unsure - always": meet(lab, fresh[WHEN_UNSURE][0], fresh["consistent"][0]),
        "abstaining": {"answered": sum(text != "" for text in outputs), "right": sum(right)},
    }  # fmt: skip


def null_unit(unit: Unit) -> dict[str, Any]:
    """Pairs of one program under two seeds, before the gate."""
    family, settings = FAMILIES["strings"], unit.settings
    lab = Lab(family, unit)
    rows: list[tuple[str, int, int]] = []
    for number in range(settings["pairs"]):
        rng = random.Random(derive_seed("scaffolds null", unit.seed, number))
        steps = DIRECT
        while steps[0].get("temperature", "0") == "0":  # a greedy program would only meet its own copy
            steps = grammar.steps_of({"kind": "consistent", "answers": 4})
            for _ in range(4):
                steps = edits.mutate(steps, rng, family.tools, 8)

        def draw(count: int, steps: Steps = steps, rng: random.Random = rng) -> NDArray[np.int8]:
            problems = lab.task.generate("short", rng, count)
            one, other = (lab.right(problems, lab.answers(steps, problems, rng.getrandbits(62))[0]) for _ in range(2))
            return np.array(one, np.int8) - np.array(other, np.int8)

        slot = unit.seed * settings["pairs"] + number + 1
        rows.append(rehearse(draw, slot, settings["most"], settings["block"]))
    return {"rows": rows}


def run_unit(unit: Unit) -> dict[str, Any]:
    """One arm of one seed."""
    torch.set_num_threads(1)
    return null_unit(unit) if unit.arm == "null" else family_unit(unit)


def summarise(results: Results, _settings: dict[str, Any]) -> dict[str, Any]:
    """By family: programs at the ceiling, the evolved one against the best written by hand, and against itself."""
    figures: dict[str, Any] = {}
    bars: dict[str, Any] = {}
    for name in FAMILIES:
        rows = list(results[name].values())
        total = sum(row["n"] for row in rows)
        kinds = sorted({kind for row in rows for kind in row["programs"]})
        spent = {k: [row["programs"][k] for row in rows if k in row["programs"]] for k in kinds}
        figures[name] = {
            "programs": {
                kind: {
                    "solved": [p["solved"] for p in made],
                    "percent": round(100 * sum(p["solved"] for p in made) / (total * len(made) / len(rows)), 1),
                    "times_direct": round(sum(p["times_direct"] for p in made) / len(made), 2),
                }
                for kind, made in spent.items()
            },
            "chosen": [{"best": row["best"], "evolved": row["evolved"]} for row in rows],
            "search": [row["search"] for row in rows],
            "abstaining": {
                "answered": sum(row["abstaining"]["answered"] for row in rows),
                "right": sum(row["abstaining"]["right"] for row in rows), "of": total,
            },
            **{
                f"evolved - {other}": {
                    "points": paired_interval([row[f"evolved - {other}"]["points"] for row in rows]),
                    "gate": [row[f"evolved - {other}"]["gate"] for row in rows],
                }
                for other in ("best", "direct", "itself")
            },
            "when unsure - always": paired_interval([row["when unsure - always"]["points"] for row in rows]),
        }  # fmt: skip
        low, mean, high = figures[name]["evolved - best"]["points"]
        bars[f"{name}: evolved minus the best written by hand, fresh problems: above 0"] = {
            "figure": f"{mean:.1f} points ({low:.1f} to {high:.1f})", "bar": 0, "holds": low > 0,
        }  # fmt: skip
        low, mean, high = figures[name]["when unsure - always"]
        bars[f"{name}: asking more where the first answers differ, minus asking always, at one ceiling: above 0"] = {
            "figure": f"{mean:.1f} points ({low:.1f} to {high:.1f})", "bar": 0, "holds": low > 0,
        }  # fmt: skip
        dear = sum(p["tokens"] for p in spent["evolved"]) / sum(p["tokens"] for p in spent["best"])
        bars[f"{name}: tokens of the evolved over those of the best written by hand: at most 1.1"] = {
            "figure": round(dear, 2), "bar": 1.1, "holds": dear <= 1.1,
        }  # fmt: skip
    pairs = [tuple(row) for result in results["null"].values() for row in result["rows"]]
    itself = [said for name in FAMILIES for said in figures[name]["evolved - itself"]["gate"]]
    adopted = sum(said == Decision.ACCEPT.value for said in [*(said for said, _, _ in pairs), *itself])
    n = len(pairs) + len(itself)
    figures["null"] = {
        "pairs": len(pairs), "and evolved programs": len(itself), "adopted": adopted,
        "upper 95 % limit of the rate": round(float(clopper_pearson(adopted, n)[1]), 4),
        "items": sum(items for _, items, _ in pairs), "that differed": sum(differ for _, _, differ in pairs),
        "decisions": {said: sum(row[0] == said for row in pairs) for said in sorted({row[0] for row in pairs})},
    }  # fmt: skip
    bars[f"programs adopted over themselves, of {n} pairs"] = {"figure": adopted, "bar": 0, "holds": adopted == 0}
    return {"figures": figures, "bars": bars}


FULL: dict[str, Any] = {
    "seeds": [0, 1, 2, 3, 4], "arm_seeds": {"python": [0, 1, 2], "null": [0, 1, 2, 3]}, "evaluations": 8,
    "pairs": 30, "most": 600, "block": 50, "version": 2,
    "sets": {"first": 40, "second": 60, "further": 60, "fresh": 160},
}  # fmt: skip
QUICK: dict[str, Any] = {
    **FULL, "seeds": [0], "arm_seeds": {"null": [0]}, "evaluations": 1, "pairs": 3, "most": 100,
    "sets": {"first": 8, "second": 8, "further": 8, "fresh": 16},
}  # fmt: skip

if __name__ == "__main__":
    sys.exit(bench_main("scaffolds", ARMS, run_unit, summarise, full=FULL, quick=QUICK))

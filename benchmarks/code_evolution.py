"""Programs in Python, edited as code: does a search find a better one than those written by hand?

As `scaffolds.py`, whose families, ceilings, sets of problems and rules of the search these are; but a program is a
Python function and a child is one or two blind edits of its syntax tree (`scaffold.code_edits`), three in ten of which
may take a statement from another program (one kind of edit in six does). It begins with `retry`, `consistent` and
`stepwise` in Python, where the family has their tools, each at the largest bound that keeps to the ceiling. What breaks
answers with its first attempt, so it is only dropped where it solves less. Both sides choose among their best by
further problems and meet on fresh ones; the evolved program meets itself under other seeds too.

Run ``python benchmarks/code_evolution.py [--quick]``.
"""

from __future__ import annotations

import random
import re
import sys
from typing import Any

import torch
from common import Results, Unit, bench_main, paired_interval  # the frame shared by all benchmarks
from scaffolds import BOUNDS, FAMILIES, SEARCH, Lab, by_hand, chosen, evolved, meet

from evolvent.observe.rollout import rollout
from evolvent.scaffold import code, code_edits, grammar
from evolvent.types import Problem, derive_seed

ARMS = tuple(FAMILIES)
Program = dict[str, Any]


class CodeLab(Lab):
    """Tries programs of steps and in Python."""

    def answers(self, steps: Any, problems: list[Problem], seed: int) -> tuple[list[str], int]:
        """Answers and tokens of a program of either kind."""
        scaffold = steps if isinstance(steps, dict) else {"kind": "steps", "steps": steps}
        out = rollout(self.model, self.codec, self.task, scaffold, [p.prompt for p in problems], seed)
        return out.outputs, out.tokens


def written(lab: CodeLab) -> dict[str, Program]:
    """Those in Python that use no tool but the family's, at the largest bound under which they keep to its ceiling."""
    found: dict[str, Program] = {}
    for name, made in code.WRITTEN.items():
        for bound in BOUNDS if set(made["tools"]) <= set(lab.family.tools) else ():
            source = re.sub(rf"\b{made['answers']}\b", str(bound), made["source"])
            program = {"kind": grammar.CODE, "answers": bound, "tools": made["tools"], "source": source}
            if lab.price(program, SEARCH[0]) > lab.family.ceiling:
                break
            found[name] = program
    return found


def child_of(parents: list[Program], rng: random.Random, _tools: tuple[str, ...]) -> Program:
    """One or two edits of a parent."""
    child = rng.choice(parents)
    for _ in range(rng.choice((1, 1, 2))):
        child = code_edits.mutated(child, rng, rng.choice(parents) if rng.random() < 0.3 else None)
    return child


def run_unit(unit: Unit) -> dict[str, Any]:
    """One family, one seed."""
    torch.set_num_threads(1)
    lab = CodeLab(FAMILIES[unit.arm], unit)
    python = written(lab)
    steps = by_hand(lab)
    rng = random.Random(derive_seed("code evolution", unit.arm, unit.seed))
    ranked, told = evolved(lab, list(python.values()), rng, child_of)
    best_python = chosen(lab, [program for program in ranked if program in python.values()])
    best_steps = chosen(lab, sorted(steps.values(), key=lambda made: -lab.solved(made, *SEARCH)))
    best = chosen(lab, ranked)
    made = {"direct": steps["direct"], "best steps": best_steps, "best Python": best_python, "evolved": best}
    fresh = {name: lab.tried(program, "fresh") for name, program in made.items()}
    same, _ = lab.tried(best, "fresh", again="again")
    return {
        "n": len(lab.sets["fresh"]),
        "programs": {name: {"solved": sum(solved), "tokens": tokens} for name, (solved, tokens) in fresh.items()},
        "made": made, "search": told, "is another": best not in python.values(),
        **{f"evolved - {name}": meet(lab, fresh["evolved"][0], fresh[name][0]) for name in list(made)[:3]},
        "evolved - itself": meet(lab, fresh["evolved"][0], same),
    }  # fmt: skip


def summarise(results: Results, _settings: dict[str, Any]) -> dict[str, Any]:
    """By family: the evolved program against the best by hand, in Python and of steps."""
    figures: dict[str, Any] = {}
    bars: dict[str, Any] = {}
    adopted = 0
    for arm in ARMS:
        rows = list(results[arm].values())
        figures[arm] = {
            "of": [row["n"] for row in rows],
            **{name: [row["programs"][name]["solved"] for row in rows] for name in rows[0]["programs"]},
            "another than by hand": [row["is another"] for row in rows],
            "search": [row["search"] for row in rows], "evolved program": [row["made"]["evolved"] for row in rows],
        }  # fmt: skip
        for other in ("best Python", "best steps"):
            low, mean, high = paired_interval([row[f"evolved - {other}"]["points"] for row in rows])
            bars[f"{arm}: evolved minus {other}, fresh problems: above 0"] = {
                "figure": f"{mean:.1f} points ({low:.1f} to {high:.1f})", "bar": 0, "holds": low > 0,
            }  # fmt: skip
        tokens = [sum(row["programs"][name]["tokens"] for row in rows) for name in ("evolved", "direct")]
        figures[arm]["evolved, times direct"] = round(tokens[0] / tokens[1], 2)
        adopted += sum(row["evolved - itself"]["gate"] == "accept" for row in rows)
    pairs = sum(len(results[arm]) for arm in ARMS)
    bars[f"programs adopted over themselves, of {pairs} pairs"] = {
        "figure": adopted, "bar": 0, "holds": adopted == 0,
    }  # fmt: skip
    return {"figures": figures, "bars": bars}


FULL: dict[str, Any] = {
    "seeds": [0, 1, 2], "evaluations": 8, "version": 1,
    "sets": {"first": 40, "second": 60, "further": 60, "fresh": 160},
}  # fmt: skip
QUICK: dict[str, Any] = {
    **FULL, "seeds": [0], "evaluations": 1, "sets": {"first": 8, "second": 8, "further": 8, "fresh": 16},
}  # fmt: skip

if __name__ == "__main__":
    sys.exit(bench_main("code_evolution", ARMS, run_unit, summarise, full=FULL, quick=QUICK))

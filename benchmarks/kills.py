"""Does a run that is killed end with the same events as one that is not, and does the check see tampering?

The toy run of the tests (`tests/toy_world.py`: real loop, job workers, judge's process and sandbox, a tiny model) is
made undisturbed, and made again and killed with SIGKILL. Arm ``events``: right after each of its events in turn, so
that every step of a turn is where it stopped once. Arm ``random``: at random instants. However often it was killed, the
sequence of its events' content hashes must be the undisturbed one. Arm ``tampering``: one event of a copied ledger is
edited, dropped, or swapped with its neighbour, at random places; the check of the chain must fail each time.

Run ``python benchmarks/kills.py [--quick]``; resumes unit by unit. About 100 starts of the run: half an hour.

Not here: a machine that loses power (`tests/test_ledger.py` holds what the ledger promises for that).
"""

from __future__ import annotations

import importlib
import random
import shutil
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from common import ROOT, Results, Unit, bench_main  # the frame shared by all benchmarks

from evolvent.errors import CheckFailed
from evolvent.ledger import Ledger
from evolvent.run import LEDGER

sys.path.insert(0, str(ROOT / "tests"))
toy_world = importlib.import_module("toy_world")

ARMS = ("events", "random", "tampering")
BAR_KILLS = 100


def _undisturbed(unit: Unit) -> tuple[Path, float]:
    """A fresh folder with the seed model and a finished run; returns the run's folder and its seconds."""
    for old in ("seed", "whole", "killed", "tampered"):
        shutil.rmtree(unit.folder / old, ignore_errors=True)
    whole = unit.folder / "whole"
    toy_world.new_run(whole, toy_world.make_seed(unit.folder / "seed"))
    started = time.monotonic()
    if toy_world.start(whole).wait() != 0:
        raise RuntimeError("the undisturbed run failed; see its messages above")
    return whole, time.monotonic() - started


def _killed_at_events(folder: Path, most: int) -> int:
    """One new event, then a kill, again and again. Returns the kills."""
    for kills in range(most):
        if toy_world.start(folder, kill_after=1).wait() == 0:
            return kills
    return most


def _killed_at_random(folder: Path, most: int, rng: random.Random, longest_s: float) -> int:
    """A start, a kill after a random time; until enough kills were made or the run has ended."""
    for kills in range(most):
        process = toy_world.start(folder)
        deadline = time.monotonic() + rng.uniform(0.2, longest_s)
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        process.kill()
        if process.wait() == 0:
            return kills
    return most


def _equal(folder: Path, expected: list[str]) -> bool:
    return toy_world.start(folder).wait() == 0 and toy_world.hashes(folder) == expected


def _tamper(path: Path, how: str, at: int) -> None:
    """Change the ledger's file as somebody with a database tool could, its guards taken off first."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for (trigger,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f'DROP TRIGGER "{trigger}"')
        last = connection.execute("SELECT max(seq) FROM events").fetchone()[0]
        if how == "edited":
            statement = "UPDATE events SET payload = replace(payload, '}', ',\"x\":1}') WHERE seq = ?"
            connection.execute(statement, (at % last + 1,))
        elif how == "dropped":
            connection.execute("DELETE FROM events WHERE seq = ?", (at % last + 1,))
        else:  # a unique key forbids the swap in one step
            at = at % (last - 1) + 1
            for old, new in ((at, -1), (at + 1, at), (-1, at + 1)):
                connection.execute("UPDATE events SET seq = ? WHERE seq = ?", (new, old))


def _detected(whole: Path, folder: Path, how: str, at: int) -> bool:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for file in whole.glob(f"{LEDGER}*"):
        shutil.copy(file, folder)
    _tamper(folder / LEDGER, how, at)
    try:
        with Ledger.open(folder / LEDGER) as ledger:
            ledger.verify()
    except CheckFailed:
        return True
    return False


def run_unit(unit: Unit) -> dict[str, Any]:
    """One arm of one seed."""
    rng = random.Random(unit.seed)
    whole, longest_s = _undisturbed(unit)
    expected = toy_world.hashes(whole)
    if unit.arm == "tampering":
        tries = {how: unit.settings["tries"] for how in ("edited", "dropped", "reordered")}
        found = {
            how: sum(_detected(whole, unit.folder / "tampered", how, rng.getrandbits(20)) for _ in range(n))
            for how, n in tries.items()
        }
        return {"tries": tries, "detected": found}
    kills, equal = 0, []
    wanted = unit.settings["kills"] if unit.arm == "random" else min(unit.settings["most"], len(expected) - 1)
    while kills < wanted:
        killed = unit.folder / "killed"
        shutil.rmtree(killed, ignore_errors=True)
        toy_world.new_run(killed, unit.folder / "seed")
        if unit.arm == "random":
            kills += _killed_at_random(killed, wanted - kills, rng, longest_s)
        else:
            kills += _killed_at_events(killed, wanted)
        equal.append(_equal(killed, expected))
    return {"events": len(expected), "kills": kills, "runs": len(equal), "equal": sum(equal)}


def summarise(results: Results, settings: dict[str, Any]) -> dict[str, Any]:
    """Kills in all, runs that ended as if nothing had happened, tampering found."""
    killed = [result for arm in ("events", "random") for result in results[arm].values()]
    kills, runs, equal = (sum(result[name] for result in killed) for name in ("kills", "runs", "equal"))
    tampered = list(results["tampering"].values())
    tries = sum(sum(result["tries"].values()) for result in tampered)
    found = sum(sum(result["detected"].values()) for result in tampered)
    bars = {
        "kills survived": {"figure": kills, "bar": BAR_KILLS, "holds": kills >= BAR_KILLS},
        "killed runs that end with the undisturbed events": {"figure": equal, "bar": runs, "holds": equal == runs},
        "tampered ledgers detected": {"figure": found, "bar": tries, "holds": found == tries},
    }
    return {"figures": {arm: list(results[arm].values()) for arm in ARMS}, "bars": bars}


FULL: dict[str, Any] = {
    "seeds": [0], "arm_seeds": {"random": [0, 1, 2, 3]}, "kills": 16, "most": 1000, "tries": 40, "version": 1,
}  # fmt: skip
QUICK: dict[str, Any] = {**FULL, "arm_seeds": {}, "kills": 1, "most": 1, "tries": 3}

if __name__ == "__main__":
    sys.exit(bench_main("kills", ARMS, run_unit, summarise, full=FULL, quick=QUICK))

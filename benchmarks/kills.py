"""Does a run that is killed end with the same events as one that is not, and does the audit see tampering?

The toy run of the tests (`tests/toy_world.py`: real loop, job workers, judge's process and sandbox, a tiny model) is
first made undisturbed. Then it is made again and killed with SIGKILL: right after each of its events in turn, and at
random instants, until the kills asked for are reached. Every sequence of content hashes must equal the first. Last, an event
of a copied ledger is edited, dropped or swapped with its neighbour; the check of the chain must name each.

Run ``python benchmarks/kills.py [--quick] [--kills N]`` on an idle machine; about half an hour for 100 kills on two cores.

Not here: a machine that loses power; the ledger's own tests (`tests/test_ledger.py`).
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sqlite3
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]

import toy_world  # noqa: E402 - found on the path set above

from evolvent.errors import CheckFailed  # noqa: E402
from evolvent.ledger import Ledger  # noqa: E402
from evolvent.run import LEDGER  # noqa: E402

BAR_KILLS = 100


def killed_at_events(folder: Path, most: int) -> tuple[int, bool]:
    """Kill after each new event, one at a time. Returns the kills, and whether the run had ended by then."""
    for kills in range(most):
        if toy_world.start(folder, kill_after=1).wait() == 0:
            return kills, True
    return most, False


def killed_at_random(folder: Path, most: int, rng: random.Random, longest_s: float) -> int:
    """Kill after random times until the run has ended or enough were made. Returns the kills."""
    for kills in range(most):
        process = toy_world.start(folder)
        deadline = time.monotonic() + rng.uniform(0.2, longest_s)
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        process.kill()
        if process.wait() == 0:
            return kills
    return most


def equal(folder: Path, expected: list[str]) -> bool:
    """Let the run end; compare its content hashes."""
    toy_world.start(folder).wait()
    return toy_world.hashes(folder) == expected


TAMPERED = {
    "edited": "UPDATE events SET payload = replace(payload, '1', '2') WHERE seq = ?1",
    "dropped": "DELETE FROM events WHERE seq = ?1",
    "dropped_last": "DELETE FROM events WHERE seq = (SELECT max(seq) FROM events) AND ?1",
    "reordered": "UPDATE events SET seq = CASE seq WHEN ?1 THEN ?1 + 1 WHEN ?1 + 1 THEN ?1 END "
    "WHERE seq IN (?1, ?1 + 1)",
}


def tampering_detected(run: Path, folder: Path, rng: random.Random) -> dict[str, bool]:
    """Change one event of a copy in each way; does the check of the chain fail?"""
    found = {}
    for name, statement in TAMPERED.items():
        copy = folder / name
        shutil.copytree(run, copy)
        with closing(sqlite3.connect(copy / LEDGER, isolation_level=None)) as connection:
            for (trigger,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
                connection.execute(f'DROP TRIGGER "{trigger}"')
            last = connection.execute("SELECT max(seq) FROM events").fetchone()[0]
            if name == "reordered":  # a unique key forbids the swap in one step
                at = rng.randrange(2, last - 1)
                for old, new in ((at, -1), (at + 1, at), (-1, at + 1)):
                    connection.execute("UPDATE events SET seq = ? WHERE seq = ?", (new, old))
            else:
                connection.execute(statement, (rng.randrange(2, last - 1),))
        try:
            with Ledger.open(copy / LEDGER) as ledger:
                ledger.verify()
            found[name] = False
        except CheckFailed:
            found[name] = True
    return found


def main() -> int:
    """Measure, print one JSON object, and say by the exit code whether the bar is met."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=BAR_KILLS)
    parser.add_argument("--quick", action="store_true", help="three kills: same code, figures that mean nothing")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    wanted, rng, started = 3 if options.quick else options.kills, random.Random(options.seed), time.monotonic()
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        seed = toy_world.make_seed(root / "seed")
        whole = root / "whole"
        toy_world.new_run(whole, seed)
        begun = time.monotonic()
        if toy_world.start(whole).wait() != 0:
            raise SystemExit("the undisturbed run failed; see its messages above")
        longest, expected = time.monotonic() - begun, toy_world.hashes(whole)
        toy_world.new_run(root / "events", seed)
        at_events, _ = killed_at_events(root / "events", min(wanted, len(expected) - 1))
        sequences = [equal(root / "events", expected)]
        at_random = number = 0
        while at_events + at_random < wanted:
            folder = root / f"random{(number := number + 1)}"
            toy_world.new_run(folder, seed)
            at_random += killed_at_random(folder, wanted - at_events - at_random, rng, longest)
            sequences.append(equal(folder, expected))
        tampering = tampering_detected(whole, root, rng)
    result = {
        "benchmark": "kills",
        "events": len(expected),
        "kills": at_events + at_random,
        "kills_after_events": at_events,
        "kills_at_random": at_random,
        "runs": len(sequences),
        "runs_equal": sum(sequences),
        "tampering_detected": tampering,
        "seconds": round(time.monotonic() - started),
        "bar": {"kills": BAR_KILLS, "runs_equal": "all", "tampering_detected": "all"},
        "met": all(sequences) and all(tampering.values()) and at_events + at_random >= BAR_KILLS,
    }
    print(json.dumps(result))
    return 0 if result["met"] or options.quick else 1


if __name__ == "__main__":
    sys.exit(main())

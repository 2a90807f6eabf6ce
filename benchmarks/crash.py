"""Does anything that was acknowledged get lost, and does any change to what lies there go unseen?

Arms, each unit in processes of its own:

- ``steps``, ``calls``: a small world (`tests/crash_world.py`: the real ledger, store, job cache and judge's folder) is
  killed with SIGKILL at each step that `evolvent.disk` announces, and at each system call that changes a file, SQLite's
  own among them; then killed again while it recovers, each time at another step; then it runs to its end.
- ``refused``: each of these steps and calls fails once: disk full, input/output error, half a write.
- ``power``: every state that a power loss could leave of what is not SQLite's (`tests/power_loss.py`).
- ``run``: a real run (`tests/toy_world.py`: loop, workers, judge's process, sandbox) is killed after each event, and at
  random moments.
- ``mutations``: a ledger's file is changed in every way of `mutations.py`.
- ``speed``: verifying a ledger of 200,000 events, hashing an artifact.

Bars: at least 1,000 kills, nothing acknowledged lost, nothing twice, the content hashes of an undisturbed run; of at
least 1,000 mutations that the chain can show, all shown, and the others by a head kept elsewhere; a million events
verified a minute; half a gigabyte hashed a second.

Run ``python benchmarks/crash.py [--quick]``; resumes unit by unit. The seed sets the second kill and the mutations.

Not here: a drive that lies about its cache; what SQLite's file looks like after a power loss (its makers test that).
"""

from __future__ import annotations

import importlib
import itertools
import random
import shutil
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mutations
from common import ROOT, Results, Unit, bench_main  # the frame shared by all benchmarks

from evolvent.errors import EvolventError
from evolvent.ledger import Ledger
from evolvent.run import LEDGER
from evolvent.store import Store

sys.path.insert(0, str(ROOT / "tests"))
crash_world, power_loss, toy_world = (importlib.import_module(n) for n in ("crash_world", "power_loss", "toy_world"))

ARMS = ("steps", "calls", "refused", "power", "run", "mutations", "speed")
KILLING = ("steps", "calls", "run")
BAR_KILLS = BAR_MUTATIONS = 1000
BAR_EVENTS_A_MINUTE, BAR_BYTES_A_SECOND = 1_000_000, 500_000_000


def fresh(unit: Unit) -> Path:
    """The unit's working folder, empty."""
    folder = unit.folder / "work"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def holds(tally: Counter[str], look: Callable[[], None]) -> bool:
    """Whether what must hold after a crash does; what does not is counted by its name."""
    try:
        look()
    except (AssertionError, EvolventError, OSError, ValueError) as exc:
        print(f"does not hold: {exc}", file=sys.stderr)
        tally["twice" if "twice" in str(exc) else "other history" if "history" in str(exc) else "lost"] += 1
        return False
    return True


def whole(order: Any, folder: Path, turns: int, by_call: bool) -> tuple[int, list[str]]:
    """Steps and content hashes of the small world undisturbed."""
    done = order(folder, turns=turns, by_call=by_call)
    if done["code"]:
        raise RuntimeError(f"the undisturbed world failed: {done}")
    with Ledger.open(folder / LEDGER) as ledger:
        return done["steps"], [event.content_hash for event in ledger.events()]


def kill_everywhere(unit: Unit, by_call: bool) -> dict[str, Any]:
    """Kill at each step, and again at some step of the recovery; then let it end."""
    rng, base, tally = random.Random(unit.seed), fresh(unit), Counter[str]()
    with crash_world.driver() as order:
        steps, expected = whole(order, base / "whole", unit.settings["turns"], by_call)
        for at in range(1, steps + 1, unit.settings["stride"]):
            folder, said = base / str(at), []
            for moment in (at, rng.randint(1, steps)):
                ended = order(folder, turns=unit.settings["turns"], by_call=by_call, at=moment)
                said += ended["said"]
                tally["kills"] += ended["code"] == toy_world.KILLED
                holds(tally, lambda: crash_world.check(folder, said))  # noqa: B023 - called at once
            ended = order(folder, turns=unit.settings["turns"])
            said += ended["said"]
            tally["runs"] += 1
            tally["equal"] += ended["code"] == 0 and holds(tally, lambda: crash_world.check(folder, said, expected))  # noqa: B023
            shutil.rmtree(folder)
    return {"steps": steps, **tally}


def refuse_everywhere(unit: Unit) -> dict[str, Any]:
    """Fail each step and each call, in three ways; then let it end."""
    base, tally = fresh(unit), Counter[str]()
    with crash_world.driver() as order:
        for by_call, fault in itertools.product((False, True), ("ENOSPC", "EIO", "short")):
            steps, expected = whole(order, base / f"whole-{by_call}-{fault}", 1, by_call)
            for at in range(1, steps + 1, unit.settings["stride"]):
                folder = base / "refused"
                first = order(folder, fault=fault, at=at, by_call=by_call)
                tally["faults"] += 1
                tally["one typed error, or none"] += (first["code"] == 0) or first["error"].startswith("StoreError: ")
                said = first["said"] + order(folder)["said"]
                tally["runs"] += 1
                tally["equal"] += holds(tally, lambda: crash_world.check(folder, said, expected))  # noqa: B023
                shutil.rmtree(folder)
    return dict(tally)


def lose_power(unit: Unit) -> dict[str, Any]:
    """Every state that the disk could hold, at every moment of the world without its ledger."""
    base, tally = fresh(unit), Counter[str]()
    recorder, root, found = power_loss.Recorder(), base / "run", base / "found"
    root.mkdir()
    crash_world.listen(recorder)
    world = crash_world.World(root, recorder.say)
    for i in range(unit.settings["turns"]):
        world.make(i)
    crash_world.listen(None)
    seen: set[Any] = set()
    for at in range(0, len(recorder.taken) + 1, unit.settings["stride"]):
        said = recorder.said(at)
        for state in recorder.states(at):
            if (state, len(said)) not in seen:
                seen.add((state, len(said)))
                power_loss.lay_out(state, root, found)
                tally["equal"] += holds(tally, lambda: crash_world.check(found, said))  # noqa: B023
                shutil.rmtree(found)
    return {"states": len(seen), **tally}


def kill_a_run(unit: Unit) -> dict[str, Any]:
    """A real run: killed after each of its events, then anew at random moments."""
    base, rng, tally = fresh(unit), random.Random(unit.seed), Counter[str]()
    undisturbed = base / "whole"
    toy_world.new_run(undisturbed, toy_world.make_seed(base / "seed"))
    started = time.monotonic()
    if toy_world.start(undisturbed).wait() != 0:
        raise RuntimeError("the undisturbed run failed; see its messages above")
    longest_s, expected = time.monotonic() - started, toy_world.hashes(undisturbed)
    ways: dict[str, Callable[[Path], int]] = {
        "events": lambda folder: toy_world.start(folder, kill_after=1).wait(),
        "random": lambda folder: _killed_at_random(folder, rng.uniform(0.2, longest_s)),
    }
    for way, start in ways.items():
        folder = base / way
        toy_world.new_run(folder, base / "seed")
        for _ in range(unit.settings["run_kills"]):
            if start(folder) == 0:
                break
            tally["kills"] += 1
        tally["runs"] += 1
        tally["equal"] += toy_world.start(folder).wait() == 0 and toy_world.hashes(folder) == expected
    return {"events": len(expected), **tally}


def _killed_at_random(folder: Path, after_s: float) -> int:
    process = toy_world.start(folder)
    deadline = time.monotonic() + after_s
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    return process.wait()


def find_mutations(unit: Unit) -> dict[str, Any]:
    """Change copies of a ledger; what the chain shows, and what only a head kept elsewhere shows."""
    base, rng = fresh(unit), random.Random(unit.seed)
    mutations.make_ledger(base / "whole.sqlite", 30)
    with Ledger.open(base / "whole.sqlite") as ledger:
        witness = ledger.head()
    result: dict[str, Any] = {"alone": {}, "witness": {}}
    for group, classes in (("alone", mutations.ALONE), ("witness", mutations.WITNESS)):
        for name, change in classes.items():
            tries = list(itertools.islice(_tries(base, change, rng, witness), unit.settings["tries"]))
            shown, against = (sum(found) for found in zip(*tries, strict=True))
            result[group][name] = {"tries": len(tries), "by the chain": shown, "by a head kept elsewhere": against}
    return result


def _tries(base: Path, change: Any, rng: random.Random, witness: tuple[int, str]) -> Iterator[tuple[bool, bool]]:
    """For each copy that really was changed: shown by the chain, shown by the chain or the witness."""
    while True:
        copy = base / "copy.sqlite"
        shutil.copy(base / "whole.sqlite", copy)
        changed = mutations.mutate(copy, change, rng)
        if changed:
            shown = _shown(copy, None)
            yield shown, shown or _shown(copy, witness)
        copy.unlink()


def _shown(path: Path, witness: tuple[int, str] | None) -> bool:
    try:
        with Ledger.open(path) as ledger:
            ledger.verify()
            if witness is None:
                return False
            event = next(ledger.events(witness[0] - 1), None)
            return event is None or (event.seq, event.chain_hash) != witness
    except EvolventError:
        return True


def measure(unit: Unit) -> dict[str, Any]:
    """Verification and hashing, the best of five; the median cost of an append and of an artifact."""
    base = fresh(unit)
    count = unit.settings["events"]
    mutations.make_long_ledger(base / "long.sqlite", count)
    with Ledger.open(base / "long.sqlite") as ledger:
        seconds = [_seconds(ledger.verify) for _ in range(5)]
    store = Store(base / "store")
    name = store.put_bytes(random.Random(unit.seed).randbytes(1 << 20) * (unit.settings["artifact_bytes"] >> 20))
    hashing = [_seconds(lambda: store.get_bytes(name)) for _ in range(5)]
    with Ledger.open(base / "short.sqlite", "run", create=True) as ledger:
        ledger.acquire()
        appends = [_seconds(lambda: ledger.append("k", {"i": i}, key=str(i))) for i in range(300)]  # noqa: B023
    puts = [_seconds(lambda: store.put_bytes(b"%d" % i)) for i in range(300)]  # noqa: B023
    return {
        "events": count,
        "events verified a minute": round(count / min(seconds) * 60),
        "bytes hashed a second": round(unit.settings["artifact_bytes"] / min(hashing)),
        "append_ms": round(statistics.median(appends) * 1000, 3),
        "put_ms": round(statistics.median(puts) * 1000, 3),
    }


def _seconds(act: Callable[[], Any]) -> float:
    started = time.perf_counter()
    act()
    return time.perf_counter() - started


def run_unit(unit: Unit) -> dict[str, Any]:
    """One arm of one seed."""
    acts: dict[str, Callable[[Unit], dict[str, Any]]] = {
        "steps": lambda unit: kill_everywhere(unit, by_call=False),
        "calls": lambda unit: kill_everywhere(unit, by_call=True),
        "refused": refuse_everywhere,
        "power": lose_power,
        "run": kill_a_run,
        "mutations": find_mutations,
        "speed": measure,
    }
    return acts[unit.arm](unit)


def summarise(results: Results, settings: dict[str, Any]) -> dict[str, Any]:
    """The bars, over all units."""
    killed = [result for arm in KILLING for result in results[arm].values()]
    faults = list(results["refused"].values())
    crashed = [*killed, *faults]

    def total(units: list[dict[str, Any]], *names: str) -> int:
        return sum(result.get(name, 0) for result in units for name in names)

    def found(group: str, column: str) -> int:
        return sum(row[column] for r in results["mutations"].values() for row in r[group].values())

    def bar(figure: Any, least: Any, holds: bool) -> dict[str, Any]:
        return {"figure": figure, "bar": least, "holds": holds}

    powers, speeds = list(results["power"].values()), list(results["speed"].values())
    kills, runs, equal = total(killed, "kills"), total(crashed, "runs"), total(crashed, "equal")
    lost, twice = total([*crashed, *powers], "lost"), total(crashed, "twice", "other history")
    tries, shown = found("alone", "tries"), found("alone", "by the chain")
    hard, by_head = found("witness", "tries"), found("witness", "by a head kept elsewhere")
    typed, refused = total(faults, "one typed error, or none"), total(faults, "faults")
    events = min(result["events verified a minute"] for result in speeds)
    hashed = min(result["bytes hashed a second"] for result in speeds)
    bars = {
        "kills": bar(kills, BAR_KILLS, kills >= BAR_KILLS),
        "acknowledged and lost, after kills, refusals and power losses": bar(lost, 0, lost == 0),
        "events twice, or another history": bar(twice, 0, twice == 0),
        "runs that end with the content hashes of an undisturbed one": bar(equal, runs, equal == runs),
        "refusals of the disk that gave one typed error, or were got over": bar(typed, refused, typed == refused),
        "states after a power loss that were whole": bar(
            total(powers, "equal"), total(powers, "states"), total(powers, "equal") == total(powers, "states")
        ),
        "mutations shown by the chain alone": bar(shown, max(tries, BAR_MUTATIONS), shown == tries >= BAR_MUTATIONS),
        "mutations that leave a good chain, shown by a head kept elsewhere": bar(by_head, hard, by_head == hard),
        "events verified a minute": bar(events, BAR_EVENTS_A_MINUTE, events >= BAR_EVENTS_A_MINUTE),
        "bytes hashed a second": bar(hashed, BAR_BYTES_A_SECOND, hashed >= BAR_BYTES_A_SECOND),
    }
    return {"figures": {arm: list(results[arm].values()) for arm in ARMS}, "bars": bars}


FULL: dict[str, Any] = {
    "seeds": [0], "arm_seeds": {"steps": [0, 1, 2], "calls": [0, 1]}, "turns": 2, "stride": 1, "run_kills": 60,
    "tries": 60, "events": 200_000, "artifact_bytes": 1 << 28, "version": 1,
}  # fmt: skip
QUICK: dict[str, Any] = {
    **FULL, "arm_seeds": {"run": []}, "turns": 1, "stride": 23, "run_kills": 1, "tries": 3, "events": 2000,
    "artifact_bytes": 1 << 22,
}  # fmt: skip

if __name__ == "__main__":
    sys.exit(bench_main("crash", ARMS, run_unit, summarise, full=FULL, quick=QUICK))

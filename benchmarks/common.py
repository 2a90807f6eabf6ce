"""The frame that all benchmarks share: units in parallel, resumable, one JSON object last, one row in RESULTS.md.

A benchmark is arms x seeds. A unit is one arm of one seed; it is a pure function of its settings, so its result is kept
in ``benchmarks/.cache/<name>/`` under a hash of them and is not computed twice. Two units run at a time, a thread each,
so that a figure does not depend on how many cores a machine has. A benchmark's script gives `bench_main` its arms, its
function of a unit, and a summary; see `length.py`. Changed code does not change the hash: raise ``version`` in the
settings, or delete the folder.

``--quick`` runs the script's small settings: same code, figures that mean nothing, and nothing outside ``.cache`` is
written.

Not here: what is measured.
"""

from __future__ import annotations

import argparse
import ctypes
import hashlib
import json
import math
import multiprocessing
import os
import platform
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np

from evolvent.disk import write_atomic
from evolvent.environment import vectors
from evolvent.judge.stats import paired_interval  # noqa: F401 - the benchmarks take it from here

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
RESULTS = HERE / "RESULTS.md"
WORKERS = 2
_HEAD = """# Results

Each row is what a script of this folder printed last, on the commit named (`+`: with changes on top); a script replaces
its own row when it runs in full. A bar is the figure that the script declares it must reach. Seconds are of all units
together.

| benchmark | commit | date | seeds | seconds | machine | bars |
|-|-|-|-|-|-|-|
"""
_PR_SET_PDEATHSIG = 1
_figures_root = ROOT  # a quick run draws into the cache instead


@dataclass(frozen=True, kw_only=True)
class Unit:
    """One arm of one seed.

    Attributes:
        arm: its name.
        seed: of everything random in it.
        settings: the script's settings, full or quick; never changed.
        folder: its own, for stores and the like; kept between runs.
        data: folder with outside data (``--data``), for scripts that read some.
    """

    arm: str
    seed: int
    settings: Mapping[str, Any]
    folder: Path
    data: Path | None = None


RunUnit = Callable[[Unit], dict[str, Any]]
Results = dict[str, dict[int, dict[str, Any]]]
Summarise = Callable[[Results, dict[str, Any]], dict[str, Any]]


def bench_main(
    name: str,
    arms: Sequence[str],
    run_unit: RunUnit,
    summarise: Summarise,
    *,
    full: dict[str, Any],
    quick: dict[str, Any],
    workers: int = WORKERS,
    needed: Sequence[str] = (),
) -> int:
    """The command line of a benchmark; call it under ``if __name__ == "__main__"``.

    Args:
        name: of the benchmark.
        arms: their names, in the order of running.
        run_unit: a top-level function of the script; runs in a process of its own and returns plain JSON.
        summarise: ``(results[arm][seed], settings) -> {"figures": {...}, "bars": {text: {"figure", "bar", "holds"}}}``.
        full: settings, plain JSON. ``seeds`` (list) is read here, and ``arm_seeds`` (by arm), which may ask for fewer.
        quick: settings of ``--quick``.
        workers: units at a time; 1 where a unit uses all cores itself or is timed.
        needed: arms that `summarise` cannot do without; where some are named, ``--arms`` may leave out the others.

    Returns:
        Exit code: 0 the run is complete (bars may fail: that is a result), 1 a unit failed, 130 stopped by a person.
    """
    global _figures_root  # noqa: PLW0603 - set once, before anything draws
    parser = argparse.ArgumentParser(prog=f"python benchmarks/{name}.py", description=sys.modules["__main__"].__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--quick", action="store_true", help="small settings: does the code run?")
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder with outside data, for scripts that read some")
    if needed:
        parser.add_argument("--arms", metavar="A,B", help="only these; the row says which", default=",".join(arms))
    options = parser.parse_args()
    asked = options.arms.split(",") if needed else list(arms)
    if strange := [*(set(asked) - set(arms)), *(set(needed) - set(asked))]:
        parser.error(f"--arms: expected {', '.join(needed)} and any of {', '.join(arms)}; see {', '.join(strange)}")
    part, arms = len(set(asked)) < len(arms), [arm for arm in arms if arm in asked]
    settings = quick if options.quick else full
    cache = HERE / ".cache" / name
    units = []
    for arm in arms:
        for seed in settings.get("arm_seeds", {}).get(arm, settings["seeds"]):
            folder = cache / f"{arm}-{seed}-{_key(name, arm, seed, settings)}"
            units.append(Unit(arm=arm, seed=seed, settings=settings, folder=folder, data=options.data))
    try:
        failed = _run_all([unit for unit in units if _load(unit) is None], run_unit, workers)
    except KeyboardInterrupt:
        print(f"stopped; finished units are kept in {cache}, run again to go on", file=sys.stderr)
        return 130
    if failed:
        print(f"failed: {', '.join(failed)}; the others are kept, run again to retry", file=sys.stderr)
        return 1
    results: Results = {arm: {} for arm in arms}
    seconds = 0.0
    for unit in units:
        stored = _load(unit)
        assert stored is not None, f"{unit.arm}-{unit.seed} said that it was done"
        results[unit.arm][unit.seed] = stored["result"]
        seconds += stored["seconds"]
    if options.quick:
        _figures_root = cache
    summary = summarise(results, dict(settings))
    if not options.quick:
        seeds = ", ".join(map(str, settings["seeds"])) + (f" ({', '.join(arms)} only)" if part else "")
        _write_row(name, seeds, seconds, summary["bars"])
    for text, bar in summary["bars"].items():
        print(f"{'holds' if bar['holds'] else 'FAILS'}  {text}: {bar['figure']} (bar {bar['bar']})")
    print(json.dumps(_finite({"bench": name, **summary}), allow_nan=False))
    return 0


def plot_bands(
    curves: Mapping[str, Sequence[Sequence[float]]],
    path: str,
    x_label: str,
    y_label: str,
    title: str,
    *,
    x: Sequence[float] | None = None,
) -> None:
    """Draw the mean of each arm with the band from its lowest to its highest seed.

    Args:
        curves: by arm, one list of values a seed.
        path: of the image, from the root of the repository.
        x_label: below.
        y_label: at the left.
        title: above.
        x: where the values stand; 0, 1, 2... by default.
    """
    plt = pyplot()
    figure, axes = plt.subplots(figsize=(7, 4))
    for arm, rows in curves.items():
        values = np.asarray(rows, dtype=float)
        places = np.arange(values.shape[1]) if x is None else np.asarray(x, dtype=float)
        (line,) = axes.plot(places, values.mean(0), label=f"{arm} ({len(values)} seeds)", linewidth=1.8)
        axes.fill_between(places, values.min(0), values.max(0), alpha=0.15, color=line.get_color(), linewidth=0)
    axes.set(xlabel=x_label, ylabel=y_label, title=title)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)
    save_figure(figure, path)
    plt.close(figure)


def pyplot() -> Any:
    """``matplotlib.pyplot``, set so that the same figures give the same file."""
    import matplotlib  # noqa: PLC0415 - workers draw nothing and need not load it

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "evolvent"
    from matplotlib import pyplot as plt  # noqa: PLC0415

    return plt


def save_figure(figure: Any, path: str) -> None:
    """Write a matplotlib figure, named from the root of the repository."""
    target = _figures_root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, metadata={"Date": None}, bbox_inches="tight")


def write_text(path: str, text: str) -> None:
    """A page that a script writes, named from the root of the repository."""
    target = _figures_root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")


def _finite(value: Any) -> Any:
    """JSON has no infinity: it becomes text."""
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _key(name: str, arm: str, seed: int, settings: Mapping[str, Any]) -> str:
    """Names a unit by what it computes; which other seeds and arms are asked for does not count."""
    own = {k: v for k, v in settings.items() if k not in {"seeds", "arm_seeds"}}
    text = json.dumps([name, arm, seed, own], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _load(unit: Unit) -> dict[str, Any] | None:
    try:
        return json.loads((unit.folder / "result.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None


def _run_all(units: Sequence[Unit], run_unit: RunUnit, workers: int) -> list[str]:
    """Run units, `workers` at a time; returns the names of those that failed. On any exception no process is left."""
    context = multiprocessing.get_context("spawn")
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[variable] = "1"
    waiting, failed = list(units), []
    running: dict[int, tuple[Unit, BaseProcess]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                unit = waiting.pop(0)
                process = context.Process(target=_child, args=(unit, run_unit, os.getpid()))
                process.start()
                running[process.sentinel] = (unit, process)
            for sentinel in wait(list(running)):
                assert isinstance(sentinel, int), "a sentinel is a number on POSIX"
                unit, process = running.pop(sentinel)
                process.join()
                done = process.exitcode == 0 and _load(unit) is not None
                print(f"{'done' if done else 'FAILED'} {unit.arm} {unit.seed}", file=sys.stderr)
                if not done:
                    failed.append(f"{unit.arm}-{unit.seed}")
    finally:
        for _, process in running.values():
            process.kill()
            process.join()
    return failed


def _child(unit: Unit, run_unit: RunUnit, parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends us
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            sys.exit(1)
    if torch := sys.modules.get("torch"):  # only if the script needs it: it costs seconds
        torch.set_num_threads(1)
    unit.folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    try:
        result = run_unit(unit)
    except Exception:
        traceback.print_exc()
        sys.exit(1)
    stored = {"result": result, "seconds": round(time.monotonic() - began, 1)}
    write_atomic(unit.folder / "result.json", json.dumps(stored, allow_nan=False).encode())


def _write_row(name: str, seeds: str, seconds: float, bars: Mapping[str, Mapping[str, Any]]) -> None:
    cells = [f"`{name}.py`", _commit(), datetime.now(UTC).date().isoformat(), seeds]
    cells += [str(round(seconds)), _machine()]
    cells.append("<br>".join(f"{'holds' if b['holds'] else '**fails**'}: {t}: {b['figure']}" for t, b in bars.items()))
    row = "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
    text = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else _HEAD
    lines = [line for line in text.splitlines() if not line.startswith(f"| `{name}.py` |")]
    last = max(i for i, line in enumerate(lines) if line.startswith("|"))
    lines.insert(last + 1, row)
    write_atomic(RESULTS, ("\n".join(lines) + "\n").encode())


def _commit() -> str:
    """Short hash of the commit, with ``+`` if the tree differs from it."""

    def git(*words: str) -> str:
        command = ["git", "-C", str(ROOT), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "--short", "HEAD") + (
            "+" if git("status", "--porcelain", "--", "src", "benchmarks") else ""
        )
    except (OSError, subprocess.CalledProcessError):
        return "none"


def _machine() -> str:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{platform.machine()} ({vectors()}), {cores} cores, CPU only"

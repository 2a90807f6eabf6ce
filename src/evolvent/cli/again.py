"""`evolvent rebuild`: run a version's jobs again and compare the weights.

Not here: the running and comparing (`provenance/rebuild.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from evolvent.cli.base import HERE, AsJson, Dir, Told, emit, opened, show
from evolvent.errors import CheckFailed

if TYPE_CHECKING:
    from evolvent.provenance.rebuild import JobAgain


def rebuild(
    version: Annotated[str, typer.Argument(help="First letters of the version.")],
    folder: Dir = HERE,
    line: Annotated[bool, typer.Option("--line", help="Its ancestors too, back to the seed.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run a version's jobs again, on CPU and without the cache: the same weights come out, or exit code 3."""
    from evolvent.provenance.rebuild import line_of, maker_of, run_again
    from evolvent.provenance.versions import find_version
    from evolvent.report import words

    with opened(folder) as (run, ledger):
        ancestors = line_of(ledger, find_version(ledger, version)["version"])
    asked, maker = ancestors[0], maker_of(ancestors)
    if maker is None:
        raise CheckFailed(
            f"rebuild: no job on record made the weights of {asked['version'][:12]}, nor were they imported"
        )
    made = [built for built in reversed(ancestors) if built.get("jobs")] if line else [maker]
    rows: list[dict[str, Any]] = []
    for built in made:
        name = words.short(built["version"])

        def told(function: str, name: str = name) -> None:
            if not as_json:
                show(f"{name}: {function}")

        settings = run.settings
        again = run_again(run.store, built.get("jobs", ()), threads=settings.threads, task=settings.task, told=told)
        rows.append({"version": built["version"], "model": built["candidate"]["model"], "jobs": again})
    wrong = [job for row in rows for job in row["jobs"] if not job.same]
    if as_json:
        plain = [{**row, "jobs": [job.plain() for job in row["jobs"]]} for row in rows]
        emit({"version": asked["version"], "model": asked["candidate"]["model"], "same": not wrong, "rebuilt": plain})
    elif not wrong:
        show(_same(asked, maker, sum(len(row["jobs"]) for row in rows)))
    if wrong:
        raise (Told if as_json else CheckFailed)("rebuild: " + "; ".join(map(_said, wrong)))


def _same(asked: Any, maker: Any, count: int) -> str:
    from evolvent.report import words

    weights = f"weights {asked['candidate']['model'][:16]}"
    if not count:
        return f"{weights} are the seed's own: imported, not made by a job"
    whose = "" if asked is maker else f", made for version {words.short(maker['version'])}"
    return f"the same {weights} came out of {count} job{'' if count == 1 else 's'}{whose}"


def _said(job: JobAgain) -> str:
    if job.error:
        return f"{job.function} failed: {job.error}"
    names = sorted(name for name in job.expected if job.found.get(name) != job.expected[name])
    why = f" ({'; '.join(job.differs)})" if job.differs else " in the same environment: it does not repeat"
    return f"{job.function} gave another {', '.join(names)}{why}"

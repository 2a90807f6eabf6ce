"""Commands about memory: show, search, export, forget.

A run's memory is read from its ledger, so what is shown is what its next turn will use. Forgetting is an event: what
was forgotten is gone from the next turn on, and the ledger still says that there was something.

Not here: handing a memory to a run (`acting.py`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evolvent.cli.base import HERE, AsJson, Dir, emit, opened, show, whoami
from evolvent.errors import UsageError

if TYPE_CHECKING:
    from evolvent.memory.memory import Memory

File = Annotated[
    Path | None, typer.Option("--file", "-f", dir_okay=False, help="An exported memory in place of a run's.")
]


def memory_show(folder: Dir = HERE, file: File = None, as_json: AsJson = False) -> None:
    """What is known: gains by change, what cheap signals are worth, rules held and retired."""
    from evolvent.report import recall

    memory = _memory(folder, file)
    return emit(recall.plain(memory)) if as_json else show(*recall.tables(memory))


def memory_search(
    text: Annotated[str, typer.Argument(help="Words, such as: scaffold wrong_length accepted.")],
    folder: Dir = HERE,
    file: File = None,
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="Episodes at most.")] = 10,
    as_json: AsJson = False,
) -> None:
    """Episodes that share words with a text, best first."""
    from evolvent.memory.episodes import search
    from evolvent.report import recall

    hits = search(_memory(folder, file).episodes, text, count)
    if as_json:
        return emit([{"share": round(share, 3), **episode.plain()} for share, episode in hits])
    return show(recall.episodes([episode for _, episode in hits]) if hits else f"nothing remembered of: {text}")


def memory_export(
    folder: Dir = HERE,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="File to write; standard output by default.")] = None,
    as_json: AsJson = False,
) -> None:
    """All layers as a file, for `evolvent run --memory` of another run. Always JSON."""
    memory = _memory(folder, None)
    if out is None:
        return emit(memory.plain())
    from evolvent.report.words import several

    _write(out, memory)
    parts = {"episode": memory.episodes, "effect": memory.effects.groups, "rule": memory.rules.edges}
    line = {"memory": str(out), "episodes": len(memory.episodes), "effects": len(memory.effects.groups)}
    said = f"wrote {out}: {', '.join(several(len(found), name) for name, found in parts.items())}"
    return emit(line) if as_json else show(said)


def memory_forget(
    folder: Dir = HERE,
    file: File = None,
    change: Annotated[str, typer.Option("--change", help="A kind of change: operator, or operator:program.")] = "",
    task: Annotated[str, typer.Option("--task", help="Episodes of a task; what they taught stays in the sums.")] = "",
    everything: Annotated[bool, typer.Option("--everything", help="All of it.")] = False,
    as_json: AsJson = False,
) -> None:
    """Forget a kind of change, a task's episodes, or everything. In a run it is an event; in a file it is rewritten."""
    if not (change or task or everything):
        raise UsageError("memory forget: say what: --change NAME, --task NAME or --everything")
    memory = _memory(folder, file)
    gone = memory.forget(arm=change, task=task, everything=everything)
    if not any(gone.values()):
        raise UsageError("memory forget: nothing of that is remembered; `evolvent memory show` lists what is")
    if file is not None:
        _write(file, memory)
    else:
        with opened(folder) as (run, _):
            run.forget(arm=change, task=task, everything=everything, by=whoami())
    from evolvent.report.words import several

    said = ", ".join(several(count, layer.removesuffix("s")) for layer, count in gone.items())
    return emit({"forgotten": gone}) if as_json else show(f"forgotten: {said}")


def _memory(folder: Path, file: Path | None) -> Memory:
    if file is not None:
        from evolvent.named import read_memory

        return read_memory(file)
    with opened(folder) as (run, ledger):
        return run.state(ledger).memory


def _write(path: Path, memory: Memory) -> None:
    from evolvent.disk import write_atomic

    plain: dict[str, Any] = memory.plain()
    write_atomic(path, (json.dumps(plain, indent=1, sort_keys=True) + "\n").encode())

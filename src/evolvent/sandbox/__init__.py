"""The sandbox: run something that is not trusted, and talk to it through a pipe.

Two kinds. The judge's rollout worker runs a candidate's *weights*, for hours, in one process: `isolate` is what that
child does to itself, `process` starts and kills it. A model's *code* runs in a child of its own for each task: `code`
is its door, `tiers` decides and proves what holds, `spawn` and `zygote` are the two ends of the fork server, `worker`
is a child's life, `plain` is how values travel. `frames` carries both; `seccomp`, `allowlist`, `landlock` and
`namespaces` are the kernel's part.

What holds on this machine is a name: `kernel` and the stronger tiers may promote (`PROMOTING`), `reduced` may train and
screen, and where nothing holds no code is run.

Not here: the judge, and what a candidate is worth.
"""

from evolvent.sandbox.code import CallResult, CodeSandbox, Limits, Outcome
from evolvent.sandbox.frames import MAX_FRAME_BYTES, read_frame, read_json, write_bytes, write_json
from evolvent.sandbox.isolate import KERNEL, REDUCED, isolate
from evolvent.sandbox.process import IsolatedProcess
from evolvent.sandbox.tiers import PROMOTING

__all__ = [
    "KERNEL",
    "MAX_FRAME_BYTES",
    "PROMOTING",
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

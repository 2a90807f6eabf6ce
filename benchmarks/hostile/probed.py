"""A rollout worker that has been taken over: it locks itself in as the real one does, and then runs probes.

``python probed.py``, spoken to in frames: ``{"source", "target"}`` gives ``{"said"}``. Only a process that reported the level
``kernel`` is ever sent one.

Not here: what the answers prove (`worker.py`).
"""

from __future__ import annotations

import sys
import types

from evolvent.sandbox import isolate, read_json, write_json


def main() -> None:
    """Serve until the pipe ends."""
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    write_json(answers, {"ready": True, "isolation": isolate(max_open_files=64)})
    while (request := read_json(requests)) is not None:
        module = types.ModuleType("probe")
        exec(request["source"], module.__dict__)
        write_json(answers, {"said": module.__dict__["f"](request["target"])})


if __name__ == "__main__":
    main()

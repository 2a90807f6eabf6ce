"""Run a training script where it can open nothing but the files of one folder.

Called as ``walled.py SCRIPT CPU_S RULES RESTRICT FOLDER SEED DESCRIPTOR``: RULES is a Landlock ruleset's descriptor, or
-1 where the kernel has none, RESTRICT the number of the call that binds to it. What the script needs is imported
before; afterwards not even the standard library can be opened. Nothing of ours is imported: it would cost more time
than the wall.
"""

import ctypes
import json  # noqa: F401 - as numpy below
import os
import resource
import sys

import numpy.random  # noqa: F401 - what the script needs could not be opened later

_PR_SET_NO_NEW_PRIVS = 38


def main() -> None:
    """Wall in, then run the script as if it had been called."""
    script, cpu_s, rules, restrict = sys.argv[1], *map(int, sys.argv[2:5])
    with open(script, encoding="utf-8") as file:
        code = compile(file.read(), "train.py", "exec")
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s))
    if rules >= 0:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.syscall(restrict, rules, 0):
            sys.exit("the wall does not stand")
        os.close(rules)
    sys.argv = ["train.py", *sys.argv[5:]]
    exec(code, {"__name__": "__main__"})


if __name__ == "__main__":
    main()

"""The function behind each problem: for the verifier's expected values, seed training and oracle arms.

Not here: anything that the generating side may see (`tests/test_firewall.py` lists who may import this).
"""

from __future__ import annotations

from evolvent.tasks.python_fix import generate, prompts
from evolvent.types import Problem


def reference(problem: Problem) -> str:
    """An answer: the edits that undo the bugs, or the function."""
    asked = prompts.read(problem.prompt)
    assert asked is not None, "not a problem of this task"
    return prompts.shortest(asked, generate.truth(problem.given).source)

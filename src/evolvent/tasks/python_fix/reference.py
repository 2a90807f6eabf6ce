"""The function behind each problem: for the verifier's expected values, seed training and oracle arms.

Not here: anything that the generating side may see (`tests/test_firewall.py` lists who may import this).
"""

from __future__ import annotations

from evolvent.tasks.python_fix import generate
from evolvent.types import Problem


def reference(problem: Problem) -> str:
    """An answer: the edits that undo the bugs, or the function."""
    return generate.edits_of(problem, generate.truth(problem.given).source)

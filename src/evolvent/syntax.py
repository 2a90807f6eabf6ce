"""Python's parser, for several threads.

CPython 3.11 counts how deep it is for all threads of a process together, so that two threads that parse at once may
both be told of a mismatch that is neither's fault (python/cpython#106905). Here they wait for each other.

Not here: what a tree may hold; running anything.
"""

from __future__ import annotations

import ast
import threading
import warnings

__all__ = ["parse"]

_one_at_a_time = threading.Lock()
_TRIES = 8  # other libraries parse too, and do not wait


def parse(source: str) -> ast.Module:
    """The syntax tree; what the parser thinks of a stranger's escapes is not said.

    Raises:
        SyntaxError, ValueError, RecursionError, MemoryError: it is no Python, or nested too deeply.
    """
    with _one_at_a_time, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(_TRIES - 1):
            try:
                return ast.parse(source)
            except SystemError:
                continue
        return ast.parse(source)

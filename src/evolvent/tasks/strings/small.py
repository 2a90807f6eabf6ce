"""Small string tasks by name, one for each function that is its own way back: what small whole runs are about.

Half of the ways to move letters are for learning how to improve, the other half for showing it: no function of one
moves letters as one of the other does.
"""

from __future__ import annotations

from functools import partial

from evolvent.tasks.strings import INVOLUTIONS, Strings

SHORT, LONG = 4, 6
_FOR_SHOWING = ("reverse", "swap_ends", "reverse_halves")

SHOWING = tuple(name for name in INVOLUTIONS if name.endswith(_FOR_SHOWING))
LEARNING = tuple(name for name in INVOLUTIONS if name not in SHOWING)

for _name in INVOLUTIONS:  # `evolvent.tasks.strings.small:mirror` is a task like any other
    globals()[_name] = partial(Strings, function=_name, short=SHORT, long=LONG, max_output_tokens=LONG + 2)

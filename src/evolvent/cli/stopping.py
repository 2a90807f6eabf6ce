"""Ctrl-C: the work stops at once, the ledger stays whole, and no child stays behind.

Children live in sessions of their own, so the terminal's signal reaches us alone. They are killed first: whoever waits
for one would otherwise wait for its job's end. An unfinished step left no event; the next run does it again.

Not here: what is done when we are killed outright (then children die with us: the kernel kills them).
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_AGAIN_S = 0.2


class Stop(BaseException):
    """A polite request to end: SIGTERM."""


@contextmanager
def children_end_with_us() -> Iterator[None]:
    """While the block runs, SIGINT and SIGTERM kill the children and end the block. A second one ends the process."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's
        return
    stopped, done = threading.Event(), threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        stopped.set()
        threading.Thread(target=_end_children, args=(done,), daemon=True).start()
        raise KeyboardInterrupt if number == signal.SIGINT else Stop

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        done.set()
        if stopped.is_set():
            _kill_children()  # the thread may not have come to it
        for number, handler in before.items():
            signal.signal(number, handler)


def _end_children(done: threading.Event) -> None:
    # Again and again: a job that lost its worker may ask for a new one before it hears that all is over.
    while not done.is_set():
        _kill_children()
        done.wait(_AGAIN_S)


def _kill_children() -> None:
    import psutil

    for child in psutil.Process().children(recursive=True):
        try:
            child.kill()
        except psutil.Error:
            pass  # it is gone already

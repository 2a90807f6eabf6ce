"""The command line: ``evolvent COMMAND``. It does nothing that `evolvent.Run` does not do from Python.

Heavy libraries are imported inside the commands, so that ``evolvent --help`` is quick; nowhere else in the package.
Errors end in one line on standard error and the exit code of their type (`errors.py` draws the tree).

Not here: decisions, numbers, files.
"""

from evolvent.cli.app import app, main

__all__ = ["app", "main"]

"""Reports: one fold over the ledger, shown as a page and on the terminal.

`story.py` folds events into a view model, `page.py` draws it as one self-contained HTML file, `terminal.py` as rich
renderables. Both show the same rows, so they cannot disagree.

Not here: reading the ledger or the judge's store (the command line does); any number that no event or evidence holds.
"""

from evolvent.report.page import Audit, render
from evolvent.report.story import Story

__all__ = ["Audit", "Story", "render"]

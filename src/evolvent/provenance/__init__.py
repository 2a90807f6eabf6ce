"""Where a version comes from: its story, the statement that is signed about it, and whether it can be built again.

`versions.py` finds a version by what a person calls it, `origin.py` gathers its story, `statement.py` writes it down,
`keeper.py` signs and keeps that, `rebuild.py` builds it once more and compares.

Not here: how a story is drawn (`report/`), whether it is true (`audit/`).
"""

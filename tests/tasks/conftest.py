"""One embedded PostgreSQL for all tests of a session, started by the first that asks and stopped by its own id."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture(scope="session")
def engine() -> Iterator[Any]:
    """The process's own engine, which the task uses too."""
    from evolvent.tasks.sql_migration.postgres.engine import close_shared, shared_engine

    yield shared_engine()
    close_shared()

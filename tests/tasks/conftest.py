"""One embedded PostgreSQL for all tests of a session, started by the first that asks and stopped by its own id."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

import pytest

from evolvent.tasks.sql_migration.postgres.engine import PostgresEngine, shared_engine


@pytest.fixture(scope="session")
def engine() -> Iterator[PostgresEngine]:
    """The process's own engine, which the task uses too."""
    yield shared_engine()
    shared_engine().close()
    shared_engine.cache_clear()

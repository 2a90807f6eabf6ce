"""Schema migrations on a real PostgreSQL: the same task, made for its types and verified by it; extra ``postgres``.

Scratch runs of reasoning programs (`feedback`, `advance`) stay on SQLite: they happen in the rollout worker too, whose
sandbox reaches no server. There, what only PostgreSQL knows looks like an error; the verdict is PostgreSQL's alone.

Not here: the engine and what it does not stop (`engine.py`), what a right migration is (`verify.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

from evolvent.tasks.sql_migration import SqlMigration
from evolvent.tasks.sql_migration.dialect import Dialect
from evolvent.tasks.sql_migration.postgres import dialect as dialects
from evolvent.tasks.sql_migration.postgres import verify
from evolvent.tasks.sql_migration.postgres.engine import shared_engine
from evolvent.types import Problem, Score


@dataclass(frozen=True, kw_only=True)
class SqlMigrationPostgres(SqlMigration):
    """The task. The first verification of a process starts its server, which takes a second or two."""

    name: str = dialects.NAME
    dialect: Dialect = dialects.POSTGRES

    def prepare(self) -> None:
        """Start the process's server now: the server's user is another than root, which only root's powers can make."""
        shared_engine()

    def migrated(self, problem: Problem, output: str, probe_seed: int) -> Score:
        """Whether `output` makes B of A and keeps the rows."""
        given = problem.given
        renames = [(old, new) for old, new in given["renames"]]
        return verify.verify(shared_engine(), given["before"], given["after"], renames, output, probe_seed)

    def well_posed(self, problem: Problem) -> bool:
        """Both schemas are accepted by the engine and differ."""
        return verify.well_posed(shared_engine(), problem.given["before"], problem.given["after"])

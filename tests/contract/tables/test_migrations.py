"""The migrations against a real PostgreSQL."""

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.servers import ROOT, Database, Postgres

TABLES = {
    "subscriptions",
    "topics",
    "connections",
    "ingestors",
    "queues",
    "account_balances",
    "account_margin_balances",
    "balance_audits",
    "gaps",
    "instruments",
    "api_keys",
}


@pytest.fixture
def empty(postgres: Postgres) -> Iterator[Database]:
    mine = replace(postgres.on(), name=f"m_{secrets.token_hex(6)}")
    postgres.on().execute(f"CREATE DATABASE {mine.name}")
    yield mine
    postgres.on().execute(f"DROP DATABASE {mine.name} WITH (FORCE)")


def begin(database: Database, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "alembic", *arguments],
        env=dict(os.environ) | database.environ(),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def alembic(database: Database, *arguments: str) -> str:
    running = begin(database, *arguments)
    output = running.communicate(timeout=60)[0]
    assert running.returncode == 0, output
    return output


def tables(database: Database) -> set[str]:
    rows = database.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    return {name for (name,) in rows}


def test_up_and_down_and_up_again(empty: Database):
    alembic(empty, "upgrade", "head")
    assert tables(empty) >= TABLES
    alembic(empty, "downgrade", "base")
    assert tables(empty) == {"alembic_version"}
    assert empty.execute("SELECT count(*) FROM pg_sequences WHERE schemaname = 'public'") == [(0,)]
    alembic(empty, "upgrade", "head")
    assert tables(empty) >= TABLES


def test_four_at_once_all_succeed(empty: Database):
    running = [begin(empty, "upgrade", "head") for _ in range(4)]
    outputs = [each.communicate(timeout=60)[0] for each in running]
    assert [each.returncode for each in running] == [0, 0, 0, 0], outputs
    assert tables(empty) >= TABLES


def test_the_tables_in_the_code_are_the_tables_in_the_database(database: Database):
    assert "No new upgrade operations detected" in alembic(database, "check")


def test_there_is_one_head_and_it_renders_without_a_database(database: Database):
    assert len(alembic(database, "heads").splitlines()) == 1
    assert "CREATE TABLE subscriptions" in alembic(database, "upgrade", "head", "--sql")


def test_this_month_and_the_next_two_have_their_partitions(database: Database):
    month = "to_char(date_trunc('month', now() at time zone 'utc') + n * interval '1 month', 'YYYY_MM')"
    [(months,)] = database.execute(f"SELECT array_agg({month}) FROM generate_series(0, 2) AS n")
    for table in ("account_balances", "account_margin_balances"):
        assert tables(database) >= {f"{table}_{name}" for name in [*months, "default"]}


def test_a_wrong_setting_is_named(database: Database):
    running = begin(replace(database, port=0), "upgrade", "head")
    assert "POSTGRES_PORT" in running.communicate(timeout=60)[0]
    assert running.returncode != 0

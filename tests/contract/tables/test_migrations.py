"""The migrations against a real PostgreSQL."""

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from common.tables.partitions import Month
from tests.kit import children
from tests.kit.servers import ROOT, Database, Postgres

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
    return children.start(
        [sys.executable, "-m", "alembic", *arguments],
        env=dict(os.environ) | database.environ(),
        cwd=ROOT,
        stdout=subprocess.PIPE,
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


def test_this_month_and_the_next_two_have_their_partitions(empty: Database):
    before = Month.of(datetime.now(UTC))
    alembic(empty, "upgrade", "head")
    after = Month.of(datetime.now(UTC))  # it may have begun meanwhile
    for table in ("account_balances", "account_margin_balances"):
        partitions = tables(empty) - {table, f"{table}_default"}
        found = {name for name in partitions if name.startswith(f"{table}_")}
        assert found in [{first.later(n).partition_of(table) for n in range(3)} for first in (before, after)]


def test_a_wrong_setting_is_named(database: Database):
    running = begin(replace(database, port=0), "upgrade", "head")
    assert "POSTGRES_PORT" in running.communicate(timeout=60)[0]
    assert running.returncode != 0

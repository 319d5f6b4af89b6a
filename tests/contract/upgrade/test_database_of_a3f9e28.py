"""A database of commit a3f9e28 (revision 0003) keeps its rows, and works with the processes of today."""

import secrets
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from common import database as databases
from common import settings
from persister.ledger import Ledger
from tests.contract.api.serving import Served, served
from tests.contract.persister.conftest import Queue, consuming, rows
from tests.contract.tables.test_migrations import alembic
from tests.kit import servers, wallets
from tests.kit.servers import ROOT, Broker, Database, Postgres

DUMP = ROOT / "tests" / "data" / "upgrade" / "a3f9e28.sql"
KEPT = ("subscriptions", "api_keys", "account_balances", "latest_account_balances", "account_margin_balances")
SERVICE_KEY = {"X-API-Key": "wsgw_key-of-the-model"}
Rows = Mapping[str, list[tuple[Any, ...]]]


@dataclass(frozen=True, slots=True)
class Upgraded:
    database: Database
    columns: Mapping[str, str]  # of each table, before the migration
    before: Rows
    after: Rows


def restored(server: Postgres) -> Database:
    mine = replace(server.on(), name=f"u_{secrets.token_hex(6)}")
    server.on().execute(f"CREATE DATABASE {mine.name}")
    with closing(mine.connect()) as connection, connection, connection.cursor() as cursor:
        cursor.execute(DUMP.read_text())
    return mine


def columns(database: Database) -> dict[str, str]:
    found = database.execute(
        "SELECT table_name, string_agg(quote_ident(column_name), ', ' ORDER BY ordinal_position)"
        " FROM information_schema.columns WHERE table_schema = 'public' GROUP BY 1"
    )
    return {table: names for table, names in found if table != "alembic_version"}


def content(database: Database, tables: Mapping[str, str]) -> Rows:
    """The rows of the tables as text, each with the columns given."""
    selected = {
        table: f"SELECT ROW({names if table in KEPT else 1})::text FROM public.{table} ORDER BY 1"
        for table, names in tables.items()
    }
    return {table: database.execute(statement) for table, statement in selected.items()}


@pytest.fixture(scope="module")
def upgraded(postgres: Postgres) -> Iterator[Upgraded]:
    database = restored(postgres)
    before = columns(database)
    rows_before = content(database, before)
    servers.migrate(database)
    yield Upgraded(database, before, rows_before, content(database, before))
    postgres.on().execute(f"DROP DATABASE {database.name} WITH (FORCE)")


@pytest.fixture
def database(postgres: Postgres, upgraded: Upgraded) -> Iterator[Database]:
    """A copy of the upgraded database, for one test."""
    with servers.fresh_database(postgres, upgraded.database) as mine:
        yield mine


@pytest.fixture
def api(database: Database, tmp_path: Path) -> Iterator[Served]:
    with served(database, tmp_path) as running:
        yield running


def test_the_dump_has_rows_in_every_table(upgraded: Upgraded):
    whole = {table for table in upgraded.before if not table.startswith(("account_balances_", "account_margin_"))}
    assert [table for table in whole if not upgraded.before[table]] == []
    partitions = {table for table, found in upgraded.before.items() if found} - whole
    assert partitions >= {f"account_balances_{part}" for part in ("default", "2026_11", "2026_12")}


def test_every_row_is_kept(upgraded: Upgraded):
    assert {table: len(found) for table, found in upgraded.after.items()} == {
        table: len(found) for table, found in upgraded.before.items()
    }


@pytest.mark.parametrize("table", KEPT)
def test_every_value_of_a_promised_table_is_kept(upgraded: Upgraded, table: str):
    assert upgraded.after[table] == upgraded.before[table] != []


def test_the_schema_is_that_of_a_new_database(upgraded: Upgraded):
    assert "No new upgrade operations detected" in alembic(upgraded.database, "check")


def test_the_api_serves_its_subscriptions_and_keys(api: Served):
    listed = api.ask("GET", "/api/v1/subscriptions").json
    assert {(row["topic"], row["requesting_service"], row["is_active"]) for row in listed["items"]} == {
        ("publicTrade.BTCUSDT", "model", True),
        ("orderbook.50.ETHUSDT", "model", True),
        ("order", "order-manager", True),
        ("kline.1.BTCUSDT", "model", False),
        ("tickers.ETHUSDT", "model", False),
    }
    assert api.ask("GET", "/api/v1/subscriptions", headers=SERVICE_KEY).status == 200
    assert api.ask("GET", "/api/v1/subscriptions", headers={"X-API-Key": "wsgw_revoked"}).status == 401


def test_the_api_continues_its_generations(api: Served, database: Database):
    before = database.execute("SELECT max(generation) FROM subscriptions")[0][0]
    wanted = {"channel_type": "trades", "symbol": "ETHUSDT", "category": "spot", "requesting_service": "model"}
    again = wanted | {"symbol": "BTCUSDT", "category": "linear"}
    assert [api.ask("POST", "/api/v1/subscriptions", body).status for body in (again, wanted)] == [200, 201]
    assert database.execute(f"SELECT count(*) FROM subscriptions WHERE generation > {before}") == [(1,)]


def test_the_api_serves_its_balances_to_the_last_digit(api: Served):
    latest = {row["coin"]: row["wallet_balance"] for row in api.ask("GET", "/api/v1/balances").json["items"]}
    assert latest == {"USDT": "101", "BTC": "-0.25"}
    history = api.ask("GET", "/api/v1/balances/history?coin=USDT&from=2026-01-01T00:00:00Z").json["items"]
    assert [row["wallet_balance"] for row in history] == ["101", "100.000000000000000001", "99.5"]


def test_the_persister_continues_the_ledger(database: Database, broker: Broker):
    queue = Queue(broker.connect().channel())
    queue.declare()
    engine = databases.engine(settings.postgres(settings.Environment(database.environ())), "upgrade tests")
    at_ms = 1_798_761_600_000  # 2027-01-01
    with consuming(broker, Ledger(engine)):
        queue.publish(
            wallets.live(wallets.frame(wallets.account(wallets.coin(walletBalance="102")), at_ms=at_ms), at_ms)
        )
        rows(database, "SELECT 1 FROM account_balances", 5)
    engine.dispose()
    queue.channel.connection.close()
    latest = "SELECT wallet_balance::text FROM latest_account_balances WHERE coin = 'USDT'"
    assert database.execute(latest) == [("102",)]

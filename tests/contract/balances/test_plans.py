"""How Postgres plans the queries on many rows: by index, never by reading them all."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine

from common import database as databases
from common import settings
from common.tables import partitions
from common.tables.partitions import Month
from common.views import balances
from common.views.balances import Place, Span
from tests.kit import servers
from tests.kit.servers import Database, Postgres
from tests.kit.statements import Sent, noted

ROWS = 200_000
COINS = 40
NOW = datetime.now(UTC)
MIDDLE = NOW - timedelta(days=60)
Node = dict[str, Any]


@pytest.fixture(scope="module")
def large(postgres: Postgres, migrated: Database) -> Iterator[Engine]:
    """A ledger of 200,000 rows over six months, most of them in months of their own, made once."""
    with servers.fresh_database(postgres, migrated) as mine:
        env = settings.Environment(mine.environ())
        engine = databases.engine(settings.postgres(env), "plans")
        with engine.begin() as connection:
            for table in ("account_balances", "account_margin_balances"):
                for number in (1, 2, 3):
                    partitions.add(connection, table, Month.of(NOW).later(-number))
        _fill(mine)
        yield engine
        engine.dispose()


def _fill(database: Database) -> None:
    """A piece at a time: a test's own wait for Postgres may be bounded too."""
    moment = f"now() - make_interval(secs => g * {180 * 86400 / ROWS})"
    for first in range(1, ROWS, ROWS // 10):
        series = f"generate_series({first}, {first + ROWS // 10 - 1}) g"
        database.execute(
            "INSERT INTO account_balances (event_timestamp, event_id, account_no, coin, coin_no, account_type,"
            f" wallet_balance, received_at, origin, raw) SELECT {moment}, md5(g::text), 0, 'C' || g % {COINS}, 0,"
            f" 'UNIFIED', g, now(), 'live', '{{}}' FROM {series}"
        )
        database.execute(
            "INSERT INTO account_margin_balances (event_timestamp, event_id, account_no, account_type, received_at,"
            f" origin, raw) SELECT {moment}, md5(g::text), 0, 'UNIFIED', now(), 'live', '{{}}' FROM {series}"
        )
    for table in ("account_balances", "account_margin_balances"):
        database.execute(f"VACUUM ANALYZE {table}")


@pytest.fixture
def connection(large: Engine) -> Iterator[Connection]:
    with large.connect() as found:
        yield found


@pytest.fixture
def sent(connection: Connection) -> Iterator[Sent]:
    """The statements that were sent."""
    with noted(connection) as statements:
        yield statements


def nodes(connection: Connection, sent: Sequence[tuple[str, Any]]) -> list[Node]:
    """All steps of the plan of the last statement that was sent."""
    statement, parameters = sent[-1]
    [(plan,)] = connection.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", parameters).all()
    found = [(plan if isinstance(plan, list) else json.loads(plan))[0]["Plan"]]
    for node in found:  # grows while it is read
        found += node.get("Plans", [])
    return found


def read(plan: Sequence[Node]) -> int:
    """How many rows of the ledger were touched."""
    scans = [node for node in plan if "Relation Name" in node and not node["Relation Name"].startswith("latest_")]
    return int(
        sum(node["Actual Loops"] * (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) for node in scans)
    )


def assert_by_index(plan: Sequence[Node]) -> None:
    whole = {node["Relation Name"] for node in plan if node["Node Type"] == "Seq Scan" and node["Actual Rows"] > COINS}
    assert not whole, "read from end to end"
    assert not [node for node in plan if "Bitmap" in node["Node Type"]], "all rows of a coin are collected first"


SPANS = {
    "of a coin": Span("C7"),
    "of a coin until": Span("C7", ends=MIDDLE),
    "of a coin from a row": Span("C7", before=Place(MIDDLE, ROWS // 2)),
    "of a coin on a day": Span("C7", begins=MIDDLE, ends=MIDDLE + timedelta(days=1)),
    "of all": Span(),
    "of all until": Span(ends=MIDDLE),
    "of all from a row": Span(before=Place(MIDDLE, ROWS // 2)),
    "of all on a day": Span(begins=MIDDLE, ends=MIDDLE + timedelta(days=1)),
}


@pytest.mark.parametrize("span", SPANS.values(), ids=SPANS)
def test_a_page_of_history_reads_about_a_page(connection: Connection, sent: Sent, span: Span) -> None:
    assert len(balances.history(connection, span, 20, 0)) == 20
    plan = nodes(connection, sent)
    assert_by_index(plan)
    assert read(plan) < 20 * 10, "a few rows of each month at most"


@pytest.mark.parametrize("coin", ["C7", None])
def test_a_page_far_down_is_found_in_the_index(connection: Connection, sent: Sent, coin: str | None) -> None:
    page = balances.history(connection, Span(coin), 20, 3_000)
    assert page == balances.history(connection, Span(coin), 3_020, 0)[3_000:]
    down, rows, *_ = [each for each in sent if "latest_" not in each[0]]
    assert_by_index(nodes(connection, [down]))
    assert read(nodes(connection, [rows])) < 20 * 10


@pytest.mark.parametrize("span", SPANS.values(), ids=SPANS)
def test_counting_ends_at_ten_thousand(connection: Connection, sent: Sent, span: Span) -> None:
    balances.history_count(connection, span)
    assert read(nodes(connection, sent)) <= 10_000, "those that do not count included"


@pytest.mark.parametrize("coin", ["C7", None])
def test_the_latest_balances_are_read_where_nothing_else_is(
    connection: Connection, sent: Sent, coin: str | None
) -> None:
    assert len(balances.latest(connection, coin, 100, 0)) == (1 if coin else COINS)
    plan = nodes(connection, sent)
    assert {node.get("Relation Name") for node in plan} <= {None, "latest_account_balances"}


@pytest.mark.parametrize("coin", ["C7", None])
def test_the_balances_as_of_a_moment_take_one_lookup_for_each_coin_and_month(
    connection: Connection, sent: Sent, coin: str | None
) -> None:
    assert len(balances.known_at(connection, MIDDLE, coin)) == (1 if coin else COINS)
    plan = nodes(connection, sent)
    assert_by_index(plan)
    assert read(plan) <= (1 if coin else COINS) * 8


def test_margins_are_found_the_same_way(connection: Connection, sent: Sent) -> None:
    assert len(balances.margins_known_at(connection, MIDDLE)) == 1
    plan = nodes(connection, sent)
    assert_by_index(plan)
    assert read(plan) <= 8


def test_pages_by_cursor_walk_through_everything_once(connection: Connection) -> None:
    ids: list[int] = []
    before: Place | None = None
    span = Span(begins=MIDDLE, ends=MIDDLE + timedelta(days=2))
    while rows := balances.history(connection, replace(span, before=before), 500, 0):
        ids += [row.id for row in rows]
        before = Place(rows[-1].event_timestamp, rows[-1].id)
    assert len(ids) == len(set(ids)) == balances.history_count(connection, span) > 2000

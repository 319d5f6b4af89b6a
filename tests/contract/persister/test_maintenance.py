"""Partitions ahead, and no more kept than configured."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine

from common.errors import Unavailable
from common.tables.partitions import Month
from common.tables.partitions import add as add_month
from persister.ledger import Ledger
from persister.maintenance import PartitionMaintenance
from tests.kit import wallets
from tests.kit.servers import Database
from tests.kit.waiting import eventually

Maintain = Callable[..., None]


class Time:
    """What counts as now: within the first month that the database was made with, whatever has begun since."""

    def __init__(self, database: Database) -> None:
        first = months(database, "account_balances")[0]
        self.month = Month(*map(int, first.split("_")))
        self.now = self.month.begins() + timedelta(days=1)

    def named(self, *numbers: int) -> list[str]:
        found = [self.month.later(number) for number in numbers]
        return [f"{each.year:04d}_{each.month:02d}" for each in found]


@pytest.fixture
def clock(database: Database) -> Time:
    return Time(database)


@pytest.fixture
def maintained(engine: Engine, clock: Time) -> Iterator[Maintain]:
    """One maintain at a given time; returns when it is done."""
    stop = threading.Event()
    threads = []

    def maintain(now: datetime = clock.now, months_kept: int = 0, until: Callable[[], bool] = lambda: True) -> None:
        thread = threading.Thread(target=PartitionMaintenance(engine, months_kept, lambda: now).run, args=(stop,))
        threads.append(thread)
        thread.start()
        eventually(until, 10, "maintenance is done")

    yield maintain
    stop.set()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()


@pytest.fixture
def write(engine: Engine) -> Callable[..., None]:
    ledger = Ledger(engine)
    ledger.open()

    def written(*moments: datetime) -> None:
        times = [int(moment.timestamp() * 1000) for moment in moments]
        frames = [wallets.frame(wallets.account(wallets.coin()), at_ms=at_ms) for at_ms in times]
        ledger.write([wallets.understood(wallets.live(*each)) for each in zip(frames, times, strict=True)])

    return written


def months(database: Database, table: str) -> list[str]:
    rows = database.execute(f"SELECT relid::text FROM pg_partition_tree('{table}') WHERE isleaf ORDER BY 1")
    return [str(row[0]).removeprefix(f"{table}_") for row in rows]


def where_rows_are(database: Database, table: str) -> list[str]:
    rows = database.execute(f"SELECT tableoid::regclass::text FROM {table} ORDER BY event_timestamp")
    return [str(row[0]).removeprefix(f"{table}_") for row in rows]


@pytest.mark.parametrize("table", ["account_balances", "account_margin_balances"])
def test_months_are_added_ahead_of_time(clock: Time, maintained: Maintain, database: Database, table: str) -> None:
    in_two_months = clock.month.later(2).begins() + timedelta(days=3)
    wanted = [*clock.named(*range(6)), "default"]
    maintained(in_two_months, until=lambda: months(database, table) == wanted)
    maintained(in_two_months, until=lambda: months(database, table) == wanted)


def test_rows_that_came_before_their_month_move_into_it(
    clock: Time, maintained: Maintain, database: Database, write: Callable[..., None]
) -> None:
    early = clock.month.later(3).begins()
    write(early, early - timedelta(seconds=1), clock.month.later(9).begins())
    assert where_rows_are(database, "account_balances") == [*clock.named(2), "default", "default"]
    wanted = [*clock.named(2, 3), "default"]
    maintained(until=lambda: where_rows_are(database, "account_margin_balances") == wanted)
    assert where_rows_are(database, "account_balances") == wanted
    write(early, early + timedelta(days=1))
    assert where_rows_are(database, "account_balances") == [*clock.named(2, 3, 3), "default"]


def test_old_months_go_when_they_are_not_to_be_kept_and_the_latest_balance_stays(
    clock: Time, maintained: Maintain, database: Database, write: Callable[..., None]
) -> None:
    write(datetime(2020, 1, 1, tzinfo=UTC), clock.now)
    in_three_months = clock.month.later(3).begins()
    maintained(in_three_months, 2, until=lambda: months(database, "account_balances")[0] == clock.named(1)[0])
    eventually(lambda: where_rows_are(database, "account_balances") == [], 10, "old rows are gone")
    assert months(database, "account_margin_balances") == [*clock.named(*range(1, 7)), "default"]
    assert database.execute("SELECT coin FROM latest_account_balances") == [("USDT",)]


def test_everything_is_kept_unless_configured_otherwise(
    clock: Time, maintained: Maintain, database: Database, write: Callable[..., None]
) -> None:
    write(datetime(2020, 1, 1, tzinfo=UTC))
    later = clock.month.later(30).begins()
    maintained(later, until=lambda: clock.named(33)[0] in months(database, "account_margin_balances"))
    assert clock.named(0)[0] in months(database, "account_balances")
    assert where_rows_are(database, "account_balances") == ["default"]


def test_two_may_run_it_at_the_same_time(clock: Time, maintained: Maintain, database: Database) -> None:
    later = clock.month.later(5).begins()
    for _ in range(4):
        maintained(later)
    eventually(lambda: clock.named(8)[0] in months(database, "account_margin_balances"), 10, "the months are there")


def test_balances_do_not_wait_for_it_during_a_long_read(
    clock: Time, maintained: Maintain, engine: Engine, database: Database, write: Callable[..., None]
) -> None:
    maintained(until=lambda: clock.named(3)[0] in months(database, "account_margin_balances"))
    old = clock.month.later(-3)
    with engine.begin() as connection:
        add_month(connection, "account_balances", old)
    with closing(database.connect()) as reader:
        reader.cursor().execute("SELECT count(*) FROM account_balances")
        maintained(clock.now, 1, until=lambda: waits_for_a_lock(database))
        began = time.monotonic()
        write(clock.now)
        assert time.monotonic() - began < 1
    eventually(lambda: clock.named(-3)[0] not in months(database, "account_balances"), 20, "it is tried again")


def test_a_balance_whose_month_is_added_at_that_moment_is_retried(
    clock: Time, engine: Engine, database: Database, write: Callable[..., None]
) -> None:
    """Postgres has chosen the default partition by then, and finds that the row belongs there no longer."""
    with ThreadPoolExecutor() as pool, engine.begin() as connection:
        month = clock.month.later(5)
        add_month(connection, "account_balances", month)
        written = pool.submit(write, month.begins())
        eventually(lambda: waits_for_a_lock(database), 10, "it waits for the partition")
        connection.commit()
        with pytest.raises(Unavailable, match="partition"):
            written.result(10)
    write(month.begins())
    assert where_rows_are(database, "account_balances") == clock.named(5)


def waits_for_a_lock(database: Database) -> bool:
    waits = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    return bool(database.execute(waits))


def test_months_follow_each_other() -> None:
    assert Month(2026, 12).later(1) == Month(2027, 1)
    assert Month(2026, 1).later(-1) == Month(2025, 12)
    assert Month.of(datetime.fromisoformat("2027-01-01T00:30:00+01:00")) == Month(2026, 12)

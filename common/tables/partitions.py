"""Monthly partitions of the balance ledgers, and the default partition for all other rows."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection, delete, func, select, text

from common.tables.account_balances import account_balances
from common.tables.account_margin_balances import account_margin_balances

LEDGERS = (account_balances, account_margin_balances)

_NAME = re.compile(r".*_(\d{4})_(\d{2})")
_ONE_AT_A_TIME = 0x77736D6F  # advisory lock, held to the end of the transaction
_LIMIT_LOCK_WAIT = text("SET LOCAL lock_timeout = '300ms'")
_PARTITIONS = text("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = to_regclass(:table)")


@dataclass(frozen=True, order=True, slots=True)
class Month:
    """A calendar month in UTC, like the bounds of partitions."""

    year: int
    month: int

    @classmethod
    def of(cls, moment: datetime) -> "Month":
        utc = moment.astimezone(UTC)
        return cls(utc.year, utc.month)

    def later(self, months: int) -> "Month":
        count = self.year * 12 + self.month - 1 + months
        return Month(count // 12, count % 12 + 1)

    def begins(self) -> datetime:
        return datetime(self.year, self.month, 1, tzinfo=UTC)

    def partition_of(self, table: str) -> str:
        return f"{table}_{self.year:04d}_{self.month:02d}"


def alone(connection: Connection) -> bool:
    """Take the lock for work on partitions until the transaction ends; False when another process has it.

    Until then no lock is waited for longer than 0.3 s, because later statements, such as the next balance, queue up
    behind the waiting one.
    """
    connection.execute(_LIMIT_LOCK_WAIT)
    return bool(connection.execute(select(func.pg_try_advisory_xact_lock(_ONE_AT_A_TIME))).scalar_one())


def kept(connection: Connection, table: str) -> set[Month]:
    """The months that have a partition of this table."""
    names = connection.execute(_PARTITIONS, {"table": table}).scalars()
    return {Month(int(found[1]), int(found[2])) for name in names if (found := _NAME.fullmatch(name))}


def add(connection: Connection, table: str, month: Month) -> None:
    """Create the partition of the month and move its rows out of the default partition."""
    partition = month.partition_of(table)
    begins = month.begins()
    ends = month.later(1).begins()
    connection.execute(text(f"CREATE TABLE {partition} (LIKE {table} INCLUDING DEFAULTS INCLUDING COMMENTS)"))
    connection.execute(
        text(
            f"WITH early AS (DELETE FROM {table}_default WHERE event_timestamp >= :begins AND event_timestamp < :ends"  # noqa: S608
            f" RETURNING *) INSERT INTO {partition} SELECT * FROM early"
        ),
        {"begins": begins, "ends": ends},
    )
    bounds = f"FROM ('{begins.isoformat()}') TO ('{ends.isoformat()}')"
    connection.execute(text(f"ALTER TABLE {table} ATTACH PARTITION {partition} FOR VALUES {bounds}"))


def drop(connection: Connection, table: str, month: Month) -> None:
    connection.execute(text(f"DROP TABLE {month.partition_of(table)}"))


def drop_strays(connection: Connection, before: Month) -> None:
    """Delete rows of the default partition that are older than this month."""
    for ledger in LEDGERS:
        connection.execute(delete(ledger).where(ledger.c.event_timestamp < before.begins()))

"""The balance of each coin from each wallet message: rows are only added, one partition per month.

A trigger of the migration maintains `latest_account_balances`, so that the current balances are found at any size, and
also those of a coin whose last row was in a month that is no longer kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Connection,
    Identity,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Row,
    Select,
    Table,
    Text,
    func,
    literal,
    select,
    true,
    tuple_,
    union_all,
)
from sqlalchemy.dialects.postgresql import ARRAY

from common.tables.schema import Moment, WrittenJSON, amount, as_text, metadata

_ARRIVAL = "rises in order of arrival"


def _common_columns() -> list[Column]:  # type: ignore[type-arg]
    return [
        Column("event_timestamp", Moment, nullable=False, comment="creationTime; received_at where Bybit gave none"),
        Column("event_id", Text, nullable=False),
        Column("account_no", Integer, nullable=False, comment="place in the message's data"),
        Column("coin", Text, nullable=False),
        Column("coin_no", Integer, nullable=False, comment="place in the account's coin list; -1: not listed, so zero"),
        Column("account_type", Text, nullable=False, server_default="", comment="empty where Bybit named none"),
        amount("wallet_balance"),
        amount("available_balance"),
        amount("frozen"),
        amount("equity"),
        amount("usd_value"),
        amount("locked"),
        amount("spot_hedging_qty"),
        amount("bonus"),
        amount("borrow_amount"),
        amount("spot_borrow"),
        amount("accrued_interest"),
        amount("total_order_im"),
        amount("total_position_im"),
        amount("total_position_mm"),
        amount("unrealised_pnl"),
        amount("cum_realised_pnl"),
        amount("available_to_withdraw"),
        amount("available_to_borrow"),
        amount("free"),
        Column("col_res", Text),
        Column("collateral_switch", Boolean),
        Column("margin_collateral", Boolean),
        Column("received_at", Moment, nullable=False),
        Column("recorded_at", Moment, nullable=False, server_default=func.clock_timestamp()),
        Column("trace_id", Text),
        Column("origin", Text, nullable=False),
        Column("anomalies", ARRAY(Text), nullable=False, server_default="{}"),
    ]


account_balances = Table(
    "account_balances",
    metadata,
    Column("id", BigInteger, Identity(always=True), nullable=False, comment=_ARRIVAL),
    *_common_columns(),
    Column("raw", WrittenJSON, nullable=False, comment="the coin as Bybit wrote it"),
    PrimaryKeyConstraint("event_timestamp", "event_id", "account_no", "coin", "coin_no"),  # and all coins by time
    Index("ix_account_balances_coin", "coin", "account_type", "event_timestamp", "id"),  # a coin's history
    postgresql_partition_by="RANGE (event_timestamp)",
)

latest_account_balances = Table(
    "latest_account_balances",
    metadata,
    Column("id", BigInteger, nullable=False, comment=_ARRIVAL),
    *_common_columns(),
    PrimaryKeyConstraint("coin", "account_type"),
    postgresql_with={"fillfactor": 50},  # changes with each event: room for heap-only updates
)

_ledger, _latest = account_balances.c, latest_account_balances.c
_rows = select(*as_text(account_balances, leaving_out=("raw",)))
_places = select(_ledger.event_timestamp, _ledger.id)
_latest_rows = select(*as_text(latest_account_balances)).order_by(_latest.coin, _latest.account_type)
_newest_first = (_ledger.event_timestamp.desc(), _ledger.id.desc())
_COUNTED_UP_TO = 10_000  # a larger total would cost more than the page it belongs to


@dataclass(frozen=True, slots=True)
class Place:
    """The position of a row in event time: pages that start at one do not move while rows are added."""

    event_timestamp: datetime
    id: int


@dataclass(frozen=True, slots=True)
class Span:
    """A range of rows, of one coin or all: from `begins` (inclusive) to `ends` (exclusive), older than `before`."""

    coin: str | None = None
    begins: datetime | None = None
    ends: datetime | None = None
    before: Place | None = None


def standing(connection: Connection) -> Sequence[Row[Any]]:
    """The current balance of each coin, for comparison with a snapshot."""
    names = ("coin", "account_type", "event_timestamp", "wallet_balance", "locked", "equity", "usd_value")
    return connection.execute(select(*(_latest[name] for name in names))).all()


def latest(connection: Connection, coin: str | None, limit: int, offset: int) -> Sequence[Row[Any]]:
    """The newest row of each coin."""
    return connection.execute(_latest_rows.where(*_of(coin, _latest.coin)).limit(limit).offset(offset)).all()


def latest_count(connection: Connection, coin: str | None) -> int:
    found = select(func.count()).select_from(latest_account_balances).where(*_of(coin, _latest.coin))
    return int(connection.execute(found).scalar_one())


def known_at(connection: Connection, moment: datetime, coin: str | None) -> Sequence[Row[Any]]:
    """The newest row of each coin at that moment, by one index lookup for each coin and month."""
    same = (_ledger.coin == _latest.coin, _ledger.account_type == _latest.account_type)
    rows = _rows.where(*same, _ledger.event_timestamp <= moment)
    newest = rows.order_by(*_newest_first).limit(1).lateral("newest")
    each = select(newest).select_from(latest_account_balances.join(newest, true())).where(*_of(coin, _latest.coin))
    return connection.execute(each.order_by("coin", "account_type")).all()


def history(connection: Connection, span: Span, limit: int, offset: int) -> Sequence[Row[Any]]:
    """The rows in the range, newest first."""
    if offset:
        skipped = _newest(connection, _places, span, 1, offset - 1)  # in the index alone
        if not skipped:
            return []
        span = replace(span, before=Place(skipped[0].event_timestamp, skipped[0].id))
    return _newest(connection, _rows, span, limit, 0)


def history_count(connection: Connection, span: Span) -> int:
    """The number of rows in the range; 10,000 also stands for more."""
    some = select(literal(1)).select_from(account_balances).where(*_of(span.coin, _ledger.coin), *_inside(span))
    return int(connection.execute(select(func.count()).select_from(some.limit(_COUNTED_UP_TO).subquery())).scalar_one())


def _newest(connection: Connection, of: Select[Any], span: Span, limit: int, offset: int) -> Sequence[Row[Any]]:
    rows = of.where(*_inside(span)).order_by(*_newest_first)
    if span.coin is None:
        return connection.execute(rows.limit(limit).offset(offset)).all()
    kinds = connection.execute(select(_latest.account_type).where(_latest.coin == span.coin)).scalars().all()
    found = [rows.where(_ledger.coin == span.coin, _ledger.account_type == kind) for kind in kinds]
    if len(found) <= 1:
        return connection.execute(found[0].limit(limit).offset(offset)).all() if found else []
    return connection.execute(_together(found, limit + offset).limit(limit).offset(offset)).all()


def _together(found: Sequence[Select[Any]], most: int) -> Select[Any]:
    """Read each account type by its own index range, then merge, newest first."""
    rows = union_all(*(select(one.limit(most).subquery()) for one in found)).subquery()
    return select(rows).order_by(rows.c.event_timestamp.desc(), rows.c.id.desc())


def _of(coin: str | None, column: ColumnElement[str]) -> list[ColumnElement[bool]]:
    return [] if coin is None else [column == coin]


def _inside(span: Span) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if span.begins is not None:
        found.append(_ledger.event_timestamp >= span.begins)
    if span.ends is not None:
        found.append(_ledger.event_timestamp < span.ends)
    if span.before is not None:
        place = tuple_(_ledger.event_timestamp, _ledger.id)
        found.append(_ledger.event_timestamp <= span.before.event_timestamp)  # excludes the partitions of newer months
        found.append(place < tuple_(span.before.event_timestamp, span.before.id))
    return found

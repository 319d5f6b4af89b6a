"""The balance of each coin as each message told it; rows are only ever added.

A trigger of the migration keeps `latest_account_balances`, whoever adds the rows: that table answers at once at any
size, and still knows a coin whose last row has left with its month.
"""

from collections.abc import Sequence
from dataclasses import dataclass
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
    desc,
    func,
    literal,
    select,
    true,
    tuple_,
)
from sqlalchemy.dialects.postgresql import ARRAY

from common.tables.schema import Moment, WrittenJSON, amount, metadata

_ARRIVAL = "rises in order of arrival"


def _told() -> list[Column]:  # type: ignore[type-arg]
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
    *_told(),
    Column("raw", WrittenJSON, nullable=False, comment="the coin as Bybit wrote it"),
    PrimaryKeyConstraint("event_timestamp", "event_id", "account_no", "coin", "coin_no"),  # and all coins by time
    Index("ix_account_balances_coin", "coin", "account_type", "event_timestamp", "id"),  # a coin's history
    postgresql_partition_by="RANGE (event_timestamp)",
)

latest_account_balances = Table(
    "latest_account_balances",
    metadata,
    Column("id", BigInteger, nullable=False, comment=_ARRIVAL),
    *_told(),
    PrimaryKeyConstraint("coin", "account_type"),
    postgresql_with={"fillfactor": 50},  # changes with each event: room for heap-only updates
)

_ledger, _latest = account_balances.c, latest_account_balances.c
_shown = [column for column in account_balances.columns if column.name != "raw"]
_MOST_COUNTED = 10_000  # beyond that a total costs more than the page that it decorates


@dataclass(frozen=True, slots=True)
class Place:
    """A row's place in event time; pages that begin at one stay put while rows are added."""

    event_timestamp: datetime
    id: int


@dataclass(frozen=True, slots=True)
class Span:
    """Rows of one coin, or of all; `begins` is inside, `ends` is not, `before` is the row that a page ended with."""

    coin: str | None = None
    begins: datetime | None = None
    ends: datetime | None = None
    before: Place | None = None


def standing(connection: Connection) -> Sequence[Row[Any]]:
    """What each coin stands at."""
    names = ("coin", "account_type", "event_timestamp", "wallet_balance", "locked", "equity", "usd_value")
    return connection.execute(select(*(_latest[name] for name in names))).all()


def latest(connection: Connection, coin: str | None, limit: int, offset: int) -> Sequence[Row[Any]]:
    """The newest row of each coin."""
    found = select(latest_account_balances).where(*_of(coin, _latest.coin))
    return connection.execute(found.order_by(_latest.coin, _latest.account_type).limit(limit).offset(offset)).all()


def latest_count(connection: Connection, coin: str | None) -> int:
    found = select(func.count()).select_from(latest_account_balances).where(*_of(coin, _latest.coin))
    return int(connection.execute(found).scalar_one())


def known_at(connection: Connection, moment: datetime, coin: str | None) -> Sequence[Row[Any]]:
    """The newest row of each coin that is not younger than the moment."""
    found = _newest_of_each(coin, [_ledger.event_timestamp <= moment], 1)
    return connection.execute(found.order_by("coin", "account_type")).all()


def history(connection: Connection, span: Span, limit: int, offset: int) -> Sequence[Row[Any]]:
    """The rows of the span, newest first."""
    if span.coin is None:
        found: Select[Any] = select(*_shown).where(*_inside(span))
        newest_first = (_ledger.event_timestamp.desc(), _ledger.id.desc())
    else:
        found = _newest_of_each(span.coin, _inside(span), limit + offset)
        newest_first = (desc("event_timestamp"), desc("id"))
    return connection.execute(found.order_by(*newest_first).limit(limit).offset(offset)).all()


def history_count(connection: Connection, span: Span) -> int:
    """How many rows the span holds, counted no further than 10,000."""
    some = select(literal(1)).select_from(account_balances).where(*_of(span.coin, _ledger.coin), *_inside(span))
    return int(connection.execute(select(func.count()).select_from(some.limit(_MOST_COUNTED).subquery())).scalar_one())


def _newest_of_each(coin: str | None, inside: Sequence[ColumnElement[bool]], most: int) -> Select[Any]:
    """A few rows of each coin, by one look into the index for each coin and month."""
    same = (_ledger.coin == _latest.coin, _ledger.account_type == _latest.account_type)
    rows = select(*_shown).where(*same, *inside).order_by(_ledger.event_timestamp.desc(), _ledger.id.desc())
    newest = rows.limit(most).lateral("newest")
    return select(newest).select_from(latest_account_balances.join(newest, true())).where(*_of(coin, _latest.coin))


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
        found.append(_ledger.event_timestamp <= span.before.event_timestamp)  # leaves out the younger months
        found.append(place < tuple_(span.before.event_timestamp, span.before.id))
    return found

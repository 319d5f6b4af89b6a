"""Symbols that Bybit listed at the last update, those that do not trade yet included (market/instrument)."""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import Column, Connection, Index, Table, Text, delete, func, select
from sqlalchemy.dialects.postgresql import insert

from common.tables.schema import Moment, metadata

instruments = Table(
    "instruments",
    metadata,
    Column("category", Text, primary_key=True),
    Column("symbol", Text, primary_key=True),
    Column("base_coin", Text, nullable=False),
    Column("quote_coin", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("observed_at", Moment, nullable=False, server_default=func.now()),
    Index("ix_instruments_base_coin", "category", "base_coin"),  # option trades are named by base coin
)


@dataclass(frozen=True, slots=True)
class Instrument:
    """`category` and `status` as Bybit spells them."""

    category: str
    symbol: str
    base_coin: str
    quote_coin: str
    status: str


def replace(connection: Connection, category: str, listed: Sequence[Instrument]) -> bool:
    """Replace the list of a category; return whether symbols or statuses changed. An empty list changes nothing."""
    if not listed:
        return False
    before = _statuses(connection, category)
    statement = insert(instruments)
    names = ("base_coin", "quote_coin", "status")
    changed = {name: statement.excluded[name] for name in names} | {"observed_at": func.now()}
    connection.execute(
        statement.on_conflict_do_update(index_elements=["category", "symbol"], set_=changed),
        [asdict(instrument) for instrument in listed],
    )
    now = {instrument.symbol: instrument.status for instrument in listed}
    gone = before.keys() - now.keys()
    if gone:
        connection.execute(
            delete(instruments).where(instruments.c.category == category, instruments.c.symbol.in_(gone))
        )
    return before != now


def goes_by_coin(channel_type: str, category: str) -> bool:
    """Whether the topic is named by base coin instead of symbol: trades of options (websocket/public/trade)."""
    return (channel_type, category) == ("trades", "option")


def listed(connection: Connection, category: str, names: Collection[str], *, by_base_coin: bool = False) -> set[str]:
    """Those of `names` that are listed in the category."""
    column = instruments.c.base_coin if by_base_coin else instruments.c.symbol
    found = select(column).where(instruments.c.category == category, column.in_(names)).distinct()
    return set(connection.execute(found).scalars())


def symbols(connection: Connection, category: str) -> set[str]:
    return set(connection.execute(select(instruments.c.symbol).where(instruments.c.category == category)).scalars())


def _statuses(connection: Connection, category: str) -> dict[str, str]:
    found = select(instruments.c.symbol, instruments.c.status).where(instruments.c.category == category)
    return {row.symbol: row.status for row in connection.execute(found)}


def base_coins(connection: Connection, category: str) -> set[str]:
    found = select(instruments.c.base_coin).where(instruments.c.category == category).distinct()
    return set(connection.execute(found).scalars())


def newest(connection: Connection, category: str) -> datetime | None:
    """When the list of the category was last updated, None for never."""
    found = select(func.max(instruments.c.observed_at)).where(instruments.c.category == category)
    updated_at: datetime | None = connection.execute(found).scalar_one()
    return updated_at

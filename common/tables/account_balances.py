"""The balance of each coin as each message reported it; rows are only ever added.

A trigger of the migration keeps `latest_account_balances`, whatever adds the rows: that table answers at once at any
size, and still knows a coin whose last row has left with its month.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Identity,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Row,
    Table,
    Text,
    func,
    select,
)
from sqlalchemy.dialects.postgresql import ARRAY

from common.tables.schema import Moment, WrittenJSON, amount, metadata

_ARRIVAL = "rises in order of arrival"


def _columns() -> list[Column]:  # type: ignore[type-arg]
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
    *_columns(),
    Column("raw", WrittenJSON, nullable=False, comment="the coin as Bybit wrote it"),
    PrimaryKeyConstraint("event_timestamp", "event_id", "account_no", "coin", "coin_no"),  # and all coins by time
    Index("ix_account_balances_coin", "coin", "account_type", "event_timestamp", "id"),  # a coin's history
    postgresql_partition_by="RANGE (event_timestamp)",
)

latest_account_balances = Table(
    "latest_account_balances",
    metadata,
    Column("id", BigInteger, nullable=False, comment=_ARRIVAL),
    *_columns(),
    PrimaryKeyConstraint("coin", "account_type"),
    postgresql_with={"fillfactor": 50},  # changes with each event: room for heap-only updates
)


def standing(connection: Connection) -> Sequence[Row[Any]]:
    """The current balance of each coin, for comparison with a snapshot."""
    names = ("coin", "account_type", "event_timestamp", "wallet_balance", "locked", "equity", "usd_value")
    return connection.execute(select(*(latest_account_balances.c[name] for name in names))).all()

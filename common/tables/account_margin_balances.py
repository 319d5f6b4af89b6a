"""The account's totals as each message reported them; rows are only ever added.

A trigger of the migration keeps `latest_account_margin_balances`, whatever adds the rows.
"""

from sqlalchemy import (
    BigInteger,
    Column,
    Identity,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Table,
    Text,
    func,
)
from sqlalchemy.dialects.postgresql import ARRAY

from common.tables.schema import Moment, WrittenJSON, amount, metadata

_ARRIVAL = "rises in order of arrival"


def _columns() -> list[Column]:  # type: ignore[type-arg]
    return [
        Column("event_timestamp", Moment, nullable=False, comment="creationTime; received_at where Bybit gave none"),
        Column("event_id", Text, nullable=False),
        Column("account_no", Integer, nullable=False, comment="place in the message's data"),
        Column("account_type", Text, nullable=False, server_default="", comment="empty where Bybit named none"),
        amount("total_equity"),
        amount("total_wallet_balance"),
        amount("total_margin_balance"),
        amount("total_available_balance"),
        amount("total_perp_upl"),
        amount("total_initial_margin"),
        amount("total_maintenance_margin"),
        amount("total_initial_margin_by_mp"),
        amount("total_maintenance_margin_by_mp"),
        amount("account_im_rate"),
        amount("account_mm_rate"),
        amount("account_im_rate_by_mp"),
        amount("account_mm_rate_by_mp"),
        amount("account_ltv"),
        Column("received_at", Moment, nullable=False),
        Column("recorded_at", Moment, nullable=False, server_default=func.clock_timestamp()),
        Column("trace_id", Text),
        Column("origin", Text, nullable=False),
        Column("anomalies", ARRAY(Text), nullable=False, server_default="{}"),
    ]


account_margin_balances = Table(
    "account_margin_balances",
    metadata,
    Column("id", BigInteger, Identity(always=True), nullable=False, comment=_ARRIVAL),
    *_columns(),
    Column("raw", WrittenJSON, nullable=False, comment="the whole message as Bybit wrote it"),
    PrimaryKeyConstraint("event_timestamp", "event_id", "account_no"),
    Index("ix_account_margin_balances_account_type", "account_type", "event_timestamp", "id"),  # one type's history
    postgresql_partition_by="RANGE (event_timestamp)",
)

latest_account_margin_balances = Table(
    "latest_account_margin_balances",
    metadata,
    Column("id", BigInteger, nullable=False, comment=_ARRIVAL),
    *_columns(),
    PrimaryKeyConstraint("account_type"),
    postgresql_with={"fillfactor": 50},  # changes with each event: room for heap-only updates
)

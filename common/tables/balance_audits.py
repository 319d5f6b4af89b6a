"""Comparisons of the ledger with snapshots from the exchange, one row each."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Column, Connection, Identity, Index, Integer, Table, Text, func
from sqlalchemy.dialects.postgresql import JSONB, insert

from common.tables.schema import Moment, metadata

balance_audits = Table(
    "balance_audits",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("event_id", Text, nullable=False, comment="the snapshot that was compared"),
    Column("requested_at", Moment, nullable=False, comment="exchange clock: the version of the snapshot"),
    Column("recorded_at", Moment, nullable=False, server_default=func.now()),
    Column("outcome", Text, nullable=False, comment="proven, unconfirmed, drift or empty"),
    Column("coins", Integer, nullable=False),
    Column("drifts", JSONB, nullable=False),
    Column("trace_id", Text),
    Index("uq_balance_audits_event_id", "event_id", unique=True),  # a redelivered snapshot is compared once
    Index("ix_balance_audits_recorded", "recorded_at"),  # the latest comparison
)


def add(
    connection: Connection, event_id: str, requested_at: datetime, outcome: str, coins: int, drifts: Sequence[Any]
) -> None:
    """Store one comparison; one that is stored already is skipped."""
    row = insert(balance_audits).values(
        event_id=event_id,
        requested_at=requested_at,
        outcome=outcome,
        coins=coins,
        drifts=list(drifts),
        trace_id=event_id,
    )
    connection.execute(row.on_conflict_do_nothing(index_elements=["event_id"]))

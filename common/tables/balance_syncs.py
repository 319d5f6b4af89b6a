"""Snapshots of the wallet that somebody wants now."""

from sqlalchemy import Column, Index, Table, Text, Uuid, func, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from common.tables.schema import Moment, metadata

balance_syncs = Table(
    "balance_syncs",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("requested_by", Text, nullable=False, comment="api, or persister for the second look at a difference"),
    Column("requested_at", Moment, nullable=False, server_default=func.now()),
    Column("trace_id", Text),
    Column("due_at", Moment, nullable=False, server_default=func.now(), comment="not to be fetched earlier"),
    Column("snapshots", ARRAY(Text), nullable=False, server_default="{}", comment="event ids of what was fetched"),
    Column("done_at", Moment),
    Column("result", JSONB),
    Index("ix_balance_syncs_waiting", "due_at", postgresql_where=text("done_at IS NULL")),  # what is to be fetched
)

"""Gaps: when a subscribed topic may have missed events."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import BigInteger, Column, Connection, Identity, Index, Table, Text, text
from sqlalchemy.dialects.postgresql import JSONB

from common.tables.bulk_insert import rows_of, upserting
from common.tables.schema import Moment, metadata

gaps = Table(
    "gaps",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("endpoint", Text, nullable=False),
    Column("topic", Text, nullable=False),
    Column("opened", Moment, nullable=False),
    Column("closed", Moment),
    Column("cause", Text, nullable=False),
    Column("ids", JSONB, nullable=False, server_default=text("'{}'"), comment="last_id before, first_id after"),
    Column("healed", Text, comment="yes, in part or no, once it is closed"),
    Index("uq_gaps_window", "endpoint", "topic", "opened", unique=True),  # written again after a lost commit
    Index("ix_gaps_opened", "opened"),  # the newest gaps, and those to prune
)


@dataclass(frozen=True, slots=True)
class GapRow:
    """A gap from `opened` to `closed`, None while it is open; `healed` is yes, in part or no."""

    endpoint: str
    topic: str
    opened: datetime
    closed: datetime | None
    cause: str
    ids: dict[str, str | None]
    healed: str | None


_STORE = upserting(gaps, key=("endpoint", "topic", "opened"), leaving_out=("id",))


def record(connection: Connection, rows: Sequence[GapRow]) -> None:
    """Insert these gaps, or update them."""
    if rows:
        connection.execute(_STORE, rows_of(gaps, rows))

"""The observed state of each topic."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import BigInteger, Column, Connection, Table, Text, delete, func, text

from common.tables.bulk_insert import rows_of, upserting
from common.tables.schema import Moment, metadata

topics = Table(
    "topics",
    metadata,
    Column("endpoint", Text, primary_key=True),
    Column("topic", Text, primary_key=True),
    Column("channel_type", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text),
    Column("epoch", Text, nullable=False),
    Column("acked_at", Moment),
    Column("last_event_at", Moment),
    Column("events", BigInteger, nullable=False),
    Column("updated_at", Moment, nullable=False, server_default=func.now()),
    postgresql_with={"fillfactor": 50},  # counters change every second: room for heap-only updates
)


@dataclass(frozen=True, slots=True)
class TopicRow:
    """`state` is pending, live or rejected; `events` counts from the start of the epoch."""

    endpoint: str
    topic: str
    channel_type: str
    state: str
    reason: str | None
    epoch: str
    acked_at: datetime | None
    last_event_at: datetime | None
    events: int


_STORE = upserting(topics, key=("endpoint", "topic"), leaving_out=("updated_at",))
_FORGET = text(
    """
    DELETE FROM topics USING unnest(CAST(:endpoints AS text[]), CAST(:topics AS text[])) AS gone (endpoint, topic)
    WHERE topics.endpoint = gone.endpoint AND topics.topic = gone.topic
    """
)


def record(connection: Connection, observed: Sequence[TopicRow]) -> None:
    """Insert or update these topics."""
    if observed:
        connection.execute(_STORE, rows_of(topics, observed))


def forget(connection: Connection, gone: Sequence[tuple[str, str]]) -> None:
    """Delete topics, given as (endpoint, topic), that are no longer subscribed."""
    if gone:
        connection.execute(_FORGET, {"endpoints": [pair[0] for pair in gone], "topics": [pair[1] for pair in gone]})


def forget_earlier(connection: Connection, epoch: str) -> None:
    """Delete the topics of earlier epochs."""
    connection.execute(delete(topics).where(topics.c.epoch != epoch))

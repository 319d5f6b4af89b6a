"""What the ingestor sees of each topic."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import BigInteger, Column, Connection, Table, Text, delete, func, tuple_
from sqlalchemy.dialects.postgresql import insert

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
class Topic:
    """`state` is pending, live or rejected; `events` counts since the epoch began."""

    endpoint: str
    topic: str
    channel_type: str
    state: str
    reason: str | None
    epoch: str
    acked_at: datetime | None
    last_event_at: datetime | None
    events: int


def record(connection: Connection, seen: Sequence[Topic]) -> None:
    if not seen:
        return
    statement = insert(topics)
    changed = {name: statement.excluded[name] for name in Topic.__slots__ if name not in ("endpoint", "topic")}
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["endpoint", "topic"], set_=changed | {"updated_at": func.now()}
        ),
        [asdict(topic) for topic in seen],
    )


def forget_others(connection: Connection, held: Sequence[tuple[str, str]]) -> None:
    """Remove the topics that nobody holds any more."""
    statement = delete(topics)
    if held:
        statement = statement.where(tuple_(topics.c.endpoint, topics.c.topic).not_in(held))
    connection.execute(statement)

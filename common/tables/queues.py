"""What the ingestor sees of each queue."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import BigInteger, Column, Connection, Double, Integer, Table, Text, delete, func
from sqlalchemy.dialects.postgresql import insert

from common.tables.schema import Moment, metadata

queues = Table(
    "queues",
    metadata,
    Column("name", Text, primary_key=True),
    Column("class", Text, nullable=False),
    Column("service", Text),
    Column("ready", BigInteger),
    Column("consumers", Integer),
    Column("publish_rate", Double),
    Column("net_rate", Double),
    Column("unused_since", Moment),
    Column("observed_at", Moment, nullable=False, server_default=func.now()),
)


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue at `observed_at`; rates are messages per second."""

    name: str
    event_class: str
    service: str | None
    ready: int
    consumers: int
    net_rate: float | None
    observed_at: datetime


def record(connection: Connection, seen: Sequence[Queue]) -> None:
    """Store these as all the queues there are; nothing seen changes nothing."""
    if not seen:
        return
    connection.execute(delete(queues).where(queues.c.name.not_in([queue.name for queue in seen])))
    statement = insert(queues)
    names = ("class", "service", "ready", "consumers", "net_rate", "observed_at")
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["name"], set_={name: statement.excluded[name] for name in names}
        ),
        [_columns(queue) for queue in seen],
    )


def _columns(queue: Queue) -> dict[str, object]:
    return {
        "name": queue.name,
        "class": queue.event_class,
        "service": queue.service,
        "ready": queue.ready,
        "consumers": queue.consumers,
        "net_rate": queue.net_rate,
        "observed_at": queue.observed_at,
    }

"""The observed state of each queue on the broker."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import BigInteger, Boolean, Column, Connection, Double, Integer, Table, Text, func, text

from common.tables.bulk_insert import rows_of, upserting
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
    Column("alarm", Text, comment="warning or critical, NULL when all is well"),
    Column("reason", Text, comment="why there is an alarm"),
    Column("observed_at", Moment, nullable=False, server_default=func.now()),
    Column("consume_rate", Double),
    Column("oldest_at", Moment, comment="when the oldest ready message was published"),
    Column("nobody_since", Moment, comment="since when nobody reads it, as far as the ingestor saw"),
    Column("read_since", Moment, comment="since when it has had a reader, as far as the ingestor saw"),
    Column("other_arguments", Boolean, nullable=False, server_default="false", comment="than the settings ask for"),
)


@dataclass(frozen=True, slots=True)
class QueueRow:
    """A queue at `observed_at`; rates are in messages per second, None is unknown."""

    name: str
    event_class: str
    service: str | None
    ready: int
    consumers: int
    publish_rate: float | None
    net_rate: float | None
    unused_since: datetime | None
    alarm: str | None
    reason: str | None
    consume_rate: float | None
    oldest_at: datetime | None
    nobody_since: datetime | None
    read_since: datetime | None
    other_arguments: bool
    observed_at: datetime


_STORE = upserting(queues, key=("name",))
_DELETE_OTHERS = text(
    """
    DELETE FROM queues WHERE NOT EXISTS (
        SELECT FROM unnest(CAST(:names AS text[])) AS observed (name) WHERE queues.name = observed.name)
    """
)


def record(connection: Connection, observed: Sequence[QueueRow]) -> None:
    """Store the complete list of queues and delete all others; an empty list changes nothing."""
    if observed:
        connection.execute(_DELETE_OTHERS, {"names": [queue.name for queue in observed]})
        connection.execute(_STORE, rows_of(queues, [_columns(queue) for queue in observed]))


def _columns(queue: QueueRow) -> dict[str, object]:
    columns = asdict(queue)
    columns["class"] = columns.pop("event_class")
    return columns

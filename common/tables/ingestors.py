"""Runs of the ingestor, by epoch, each with its last heartbeat."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import BigInteger, Boolean, Column, Connection, Table, Text, delete, func, select, text, update
from sqlalchemy.dialects.postgresql import JSONB, insert

from common.tables.schema import Moment, metadata

ingestors = Table(
    "ingestors",
    metadata,
    Column("epoch", Text, primary_key=True),
    Column("host", Text, nullable=False),
    Column("started_at", Moment, nullable=False, server_default=func.now()),
    Column("heartbeat_at", Moment, nullable=False, server_default=func.now()),
    Column("role", Text, nullable=False, comment="leader or left"),
    Column("generation", BigInteger, nullable=False, comment="the newest change of subscriptions that is carried out"),
    Column("broker_connected", Boolean, nullable=False),
    Column("broker_since", Moment, nullable=False),
    Column("broker_reason", Text, nullable=False, server_default=""),
    Column(
        "lanes",
        JSONB,
        nullable=False,
        server_default="{}",
        comment="what waits in each for its confirm",
    ),
    Column("disk_trouble", Text, comment="why the spool takes no events, NULL when it does"),
    Column("disk_since", Moment, comment="since when it does not"),
)


@dataclass(frozen=True, slots=True)
class DeliveryState:
    """The state of the broker connection, of the lanes and of the spool's disk."""

    broker_connected: bool
    broker_since: datetime
    broker_reason: str
    lanes: Mapping[str, Mapping[str, object]]
    disk_trouble: str | None
    disk_since: datetime | None


def beat(connection: Connection, *, epoch: str, host: str, role: str, generation: int, delivery: DeliveryState) -> None:
    """Record a heartbeat of this run. Runs without one for a day are deleted, once this one has caught up with them."""
    values = asdict(delivery) | {"role": role, "generation": generation, "heartbeat_at": func.now()}
    row = insert(ingestors).values(epoch=epoch, host=host, **values)
    connection.execute(row.on_conflict_do_update(index_elements=["epoch"], set_=values))
    old = ingestors.c.heartbeat_at < func.now() - text("interval '1 day'")
    connection.execute(delete(ingestors).where(old, ingestors.c.generation <= generation))


def leave(connection: Connection, epoch: str) -> None:
    """Record that this run has ended regularly."""
    connection.execute(update(ingestors).where(ingestors.c.epoch == epoch).values(role="left", heartbeat_at=func.now()))


def carried_out(connection: Connection) -> int:
    """The newest generation of subscriptions that any run has carried out, 0 for none."""
    return int(connection.execute(select(func.coalesce(func.max(ingestors.c.generation), 0))).scalar_one())

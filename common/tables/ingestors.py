"""Which lives of the ingestor there are, and when each was last heard of."""

from sqlalchemy import BigInteger, Boolean, Column, Connection, Table, Text, delete, func, text, update
from sqlalchemy.dialects.postgresql import insert

from common.tables.schema import Moment, metadata

ingestors = Table(
    "ingestors",
    metadata,
    Column("epoch", Text, primary_key=True),
    Column("host", Text, nullable=False),
    Column("started_at", Moment, nullable=False, server_default=func.now()),
    Column("heartbeat_at", Moment, nullable=False, server_default=func.now()),
    Column("role", Text, nullable=False, comment="leader or standby"),
    Column("generation", BigInteger, nullable=False, comment="the newest change of subscriptions that is carried out"),
    Column("broker_connected", Boolean, nullable=False),
    Column("broker_since", Moment, nullable=False),
)


def beat(
    connection: Connection, *, epoch: str, host: str, role: str, generation: int, broker: tuple[bool, object]
) -> None:
    """Say that this life goes on; lives not heard of for a day are forgotten."""
    connected, since = broker
    seen = {
        "role": role,
        "generation": generation,
        "broker_connected": connected,
        "broker_since": since,
        "heartbeat_at": func.now(),
    }
    row = insert(ingestors).values(epoch=epoch, host=host, **seen)
    connection.execute(row.on_conflict_do_update(index_elements=["epoch"], set_=seen))
    connection.execute(delete(ingestors).where(ingestors.c.heartbeat_at < func.now() - text("interval '1 day'")))


def leave(connection: Connection, epoch: str) -> None:
    """This life ended in order."""
    connection.execute(delete(ingestors).where(ingestors.c.epoch == epoch))


def carried_out(connection: Connection, epoch: str, generation: int) -> None:
    connection.execute(update(ingestors).where(ingestors.c.epoch == epoch).values(generation=generation))

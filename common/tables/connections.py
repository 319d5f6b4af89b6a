"""What the ingestor sees of each socket."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import Column, Connection, Double, Integer, Table, Text, delete, func, tuple_
from sqlalchemy.dialects.postgresql import insert

from common.tables.schema import Moment, metadata

connections = Table(
    "connections",
    metadata,
    Column("epoch", Text, primary_key=True),
    Column("endpoint", Text, primary_key=True),
    Column("socket_no", Integer, primary_key=True),
    Column("state", Text, nullable=False),
    Column("since", Moment, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("last_error", Text),
    Column("rtt_ms", Double),
    Column("clock_offset_ms", Double),
    Column("last_heartbeat_at", Moment),
    Column("updated_at", Moment, nullable=False, server_default=func.now()),
)


@dataclass(frozen=True, slots=True)
class Socket:
    """`state` is idle, connecting, authenticating, live, backoff or parked."""

    epoch: str
    endpoint: str
    socket_no: int
    state: str
    since: datetime
    attempts: int
    last_error: str | None
    rtt_ms: float | None
    clock_offset_ms: float | None
    last_heartbeat_at: datetime | None


def record(connection: Connection, epoch: str, seen: Sequence[Socket]) -> None:
    """Store these as all the sockets there are; what an older epoch left is removed."""
    key = tuple_(connections.c.epoch, connections.c.endpoint, connections.c.socket_no)
    gone = delete(connections)
    if seen:
        gone = gone.where(key.not_in([(epoch, socket.endpoint, socket.socket_no) for socket in seen]))
    connection.execute(gone)
    if not seen:
        return
    statement = insert(connections)
    names = [name for name in Socket.__slots__ if name not in ("epoch", "endpoint", "socket_no")]
    changed = {name: statement.excluded[name] for name in names} | {"updated_at": func.now()}
    connection.execute(
        statement.on_conflict_do_update(index_elements=["epoch", "endpoint", "socket_no"], set_=changed),
        [asdict(socket) for socket in seen],
    )

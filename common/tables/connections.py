"""The observed state of each connection to the exchange."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Column, Connection, Double, Integer, Table, Text, func, text

from common.tables.bulk_insert import rows_of, upserting
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
class ConnectionRow:
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


_STORE = upserting(connections, key=("epoch", "endpoint", "socket_no"), leaving_out=("updated_at",))
_DELETE_OTHERS = text(
    """
    DELETE FROM connections WHERE NOT EXISTS (
        SELECT FROM unnest(CAST(:endpoints AS text[]), CAST(:numbers AS integer[])) AS observed (endpoint, socket_no)
        WHERE connections.epoch = :epoch AND connections.endpoint = observed.endpoint
            AND connections.socket_no = observed.socket_no)
    """
)


def record(connection: Connection, epoch: str, observed: Sequence[ConnectionRow]) -> None:
    """Store the complete list of connections; all others, also those of earlier epochs, are deleted."""
    endpoints, numbers = [socket.endpoint for socket in observed], [socket.socket_no for socket in observed]
    connection.execute(_DELETE_OTHERS, {"epoch": epoch, "endpoints": endpoints, "numbers": numbers})
    if observed:
        connection.execute(_STORE, rows_of(connections, observed))

"""What the ingestor reports of each socket."""

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
        SELECT FROM unnest(CAST(:endpoints AS text[]), CAST(:numbers AS integer[])) AS reported (endpoint, socket_no)
        WHERE connections.epoch = :epoch AND connections.endpoint = reported.endpoint
            AND connections.socket_no = reported.socket_no)
    """
)


def record(connection: Connection, epoch: str, reported: Sequence[Socket]) -> None:
    """Store these as all the sockets there are; what an older epoch left is removed."""
    endpoints, numbers = [socket.endpoint for socket in reported], [socket.socket_no for socket in reported]
    connection.execute(_FORGET_OTHERS, {"epoch": epoch, "endpoints": endpoints, "numbers": numbers})
    if reported:
        connection.execute(_STORE, rows_of(connections, reported))

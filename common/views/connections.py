"""The connections to the exchange, as the ingestor reports them."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Select, select

from common.tables.connections import connections
from common.tables.subscriptions import subscriptions
from common.views.freshness import FRESH_S, age_of
from common.views.pages import subscribes


@dataclass(frozen=True, slots=True)
class ConnectionView:
    """`state` is idle, connecting, authenticating, live, backoff or parked; `since` is when it entered that."""

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
    observed_at: datetime
    age_s: float

    @property
    def stale(self) -> bool:
        return self.age_s >= FRESH_S


_c = connections.c
_ALL = select(
    _c.epoch,
    _c.endpoint,
    _c.socket_no,
    _c.state,
    _c.since,
    _c.attempts,
    _c.last_error,
    _c.rtt_ms,
    _c.clock_offset_ms,
    _c.last_heartbeat_at,
    _c.updated_at.label("observed_at"),
    age_of(_c.updated_at),
).order_by(_c.endpoint, _c.socket_no)


def of_epoch(connection: Connection, epoch: str) -> list[ConnectionView]:
    """Those of one run of the ingestor."""
    return _views(connection, _ALL.where(_c.epoch == epoch))


def visible_to(connection: Connection, service: str | None) -> list[ConnectionView]:
    """Those whose endpoint the service subscribes to; all of them for None."""
    mine = [] if service is None else [subscribes(service, subscriptions.c.endpoint == _c.endpoint)]
    return _views(connection, _ALL.where(*mine))


def _views(connection: Connection, found: Select[tuple[object, ...]]) -> list[ConnectionView]:
    return [ConnectionView(**row._mapping) for row in connection.execute(found)]

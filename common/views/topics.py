"""The topics, as the ingestor reports them, and how many services subscribe to each."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Double, Row, Select, cast, extract, func, select

from common.tables.ingestors import ingestors
from common.tables.subscriptions import subscriptions
from common.tables.topics import topics
from common.views.freshness import FRESH_S, age_of
from common.views.pages import ResultPage, rows_and_total, subscribed


@dataclass(frozen=True, slots=True)
class TopicView:
    """`events` counts since the epoch began, `events_per_s` averages since the exchange acknowledged the topic."""

    endpoint: str
    topic: str
    channel_type: str
    state: str
    reason: str | None
    services: int
    acked_at: datetime | None
    last_event_at: datetime | None
    last_event_age_s: float | None
    events: int
    events_per_s: float | None
    observed_at: datetime
    age_s: float

    @classmethod
    def from_row(cls, row: Row[Any]) -> "TopicView":
        columns = dict(row._mapping)
        for name in ("last_event_age_s", "events_per_s"):
            columns[name] = None if columns[name] is None else round(columns[name], 3)
        return cls(**columns)

    @property
    def stale(self) -> bool:
        return self.age_s >= FRESH_S


_c = topics.c
_services = (
    select(func.count())
    .select_from(subscriptions)
    .where(subscriptions.c.is_active, subscriptions.c.endpoint == _c.endpoint, subscriptions.c.topic == _c.topic)
    .scalar_subquery()
)
_heartbeat_at = select(ingestors.c.heartbeat_at).where(ingestors.c.epoch == _c.epoch).scalar_subquery()
_observed_at = func.coalesce(_heartbeat_at, _c.updated_at)  # an unchanged row is as true as its writer is fresh
_ALL: Select[Any] = select(
    _c.endpoint,
    _c.topic,
    _c.channel_type,
    _c.state,
    _c.reason,
    _services.label("services"),
    _c.acked_at,
    _c.last_event_at,
    age_of(_c.last_event_at, "last_event_age_s"),
    _c.events,
    cast(_c.events / func.nullif(extract("epoch", _c.updated_at - _c.acked_at), 0), Double).label("events_per_s"),
    _observed_at.label("observed_at"),
    age_of(_observed_at),
).order_by(_c.endpoint, _c.topic)


def page(connection: Connection, service: str | None, limit: int, offset: int) -> ResultPage[TopicView]:
    """Those that the service subscribes to, or all, by endpoint and topic."""
    found = _ALL if service is None else _ALL.where(subscribed(service, _c.endpoint, _c.topic))
    rows, total = rows_and_total(connection, found, limit, offset)
    return ResultPage([TopicView.from_row(row) for row in rows], total, limit, offset)

"""The queues, as the ingestor last measured them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, select

from common.tables.queues import queues
from common.views.freshness import QUEUES_FRESH_S, age_of
from common.views.pages import ResultPage, rows_and_total


@dataclass(frozen=True, slots=True)
class QueueView:
    """Rates are messages per second; None is unknown. `unread_since` and `read_since`: without and with a consumer."""

    name: str
    event_class: str
    service: str | None
    ready: int | None
    consumers: int | None
    publish_rate: float | None
    net_rate: float | None
    consume_rate: float | None
    oldest_at: datetime | None
    unused_since: datetime | None
    alarm: str | None
    reason: str | None
    observed_at: datetime
    unread_since: datetime | None
    read_since: datetime | None
    age_s: float

    @classmethod
    def from_row(cls, row: Row[Any]) -> "QueueView":
        return cls(**row._mapping)

    @property
    def stale(self) -> bool:
        return self.age_s >= QUEUES_FRESH_S


_c = queues.c
_ALL: Select[Any] = select(
    _c.name,
    _c["class"].label("event_class"),
    _c.service,
    _c.ready,
    _c.consumers,
    _c.publish_rate,
    _c.net_rate,
    _c.consume_rate,
    _c.oldest_at,
    _c.unused_since,
    _c.alarm,
    _c.reason,
    _c.observed_at,
    _c.nobody_since.label("unread_since"),
    _c.read_since,
    age_of(_c.observed_at),
).order_by(_c.name)


def one(connection: Connection, name: str) -> QueueView | None:
    row = connection.execute(_ALL.where(_c.name == name)).one_or_none()
    return None if row is None else QueueView.from_row(row)


def of_service(connection: Connection, service: str) -> list[QueueView]:
    return [QueueView.from_row(row) for row in connection.execute(_ALL.where(_c.service == service))]


def with_other_arguments(connection: Connection) -> list[QueueView]:
    """Those whose arguments differ from the settings; the reason of each says how to change that."""
    return [QueueView.from_row(row) for row in connection.execute(_ALL.where(_c.other_arguments))]


def page(connection: Connection, service: str | None, limit: int, offset: int) -> ResultPage[QueueView]:
    """Those of one service, or all, by name."""
    found = _ALL if service is None else _ALL.where(_c.service == service)
    rows, total = rows_and_total(connection, found, limit, offset)
    return ResultPage([QueueView.from_row(row) for row in rows], total, limit, offset)

"""The windows in which a topic may have missed data."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, select

from common.tables.gaps import gaps
from common.views.pages import ResultPage, rows_and_total, subscribed


@dataclass(frozen=True, slots=True)
class GapView:
    """`closed` is None while it is open; `last_id` is the event before it, `first_id` the one after."""

    id: int
    endpoint: str
    topic: str
    opened: datetime
    closed: datetime | None
    cause: str
    last_id: str | None
    first_id: str | None
    healed: str | None

    @classmethod
    def from_row(cls, row: Row[Any]) -> "GapView":
        return cls(**row._mapping)


_c = gaps.c
_ALL: Select[Any] = select(
    _c.id,
    _c.endpoint,
    _c.topic,
    _c.opened,
    _c.closed,
    _c.cause,
    _c.ids["last_id"].astext.label("last_id"),
    _c.ids["first_id"].astext.label("first_id"),
    _c.healed,
)


def page(
    connection: Connection, service: str | None, still_open: bool | None, limit: int, offset: int
) -> ResultPage[GapView]:
    """Newest first, of all topics or those that the service subscribes to; `still_open` None: open and closed ones."""
    found = _ALL.order_by(_c.opened.desc(), _c.id.desc())
    if service is not None:
        found = found.where(subscribed(service, _c.endpoint, _c.topic))
    if still_open is not None:
        found = found.where(_c.closed.is_(None) if still_open else _c.closed.is_not(None))
    rows, total = rows_and_total(connection, found, limit, offset)
    return ResultPage([GapView.from_row(row) for row in rows], total, limit, offset)


def oldest_open(connection: Connection, endpoint: str, topic: str) -> GapView | None:
    """The oldest gap of this topic that is open."""
    found = _ALL.where(_c.endpoint == endpoint, _c.topic == topic, _c.closed.is_(None))
    row = connection.execute(found.order_by(_c.opened).limit(1)).one_or_none()
    return None if row is None else GapView.from_row(row)

"""Each subscription with its status, read together with what the ingestor reports of its topic."""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Connection,
    Row,
    Select,
    Text,
    TextClause,
    Uuid,
    and_,
    any_,
    bindparam,
    case,
    cast,
    func,
    literal_column,
    select,
    text,
    true,
)
from sqlalchemy.dialects.postgresql.base import PGDialect

from common import topology
from common.channels import Channel
from common.tables.ingestors import ingestors
from common.tables.subscriptions import ADD, Caps, Counted, add_parameters, subscriptions
from common.tables.topics import topics
from common.views.freshness import FRESH_S
from common.views.pages import ResultPage


@dataclass(frozen=True, slots=True)
class SubscriptionView:
    """`status` is pending, live, rejected, cancelled or expired; `topic_…`: the newest report of its topic, if any.

    `waits_for` is the reason of a pending one, where the reader has determined it.
    """

    id: str
    channel_type: str
    category: str
    symbol: str | None
    endpoint: str
    topic: str
    routing_key: str
    requesting_service: str
    is_active: bool
    ended: str | None
    generation: int
    expires_at: datetime | None
    created_at: datetime
    updated_at: datetime
    status: str
    topic_reason: str | None
    acked_at: datetime | None
    last_event_at: datetime | None
    topic_state: str | None
    topic_epoch: str | None
    topic_updated_at: datetime | None
    waits_for: str | None = None

    @classmethod
    def from_row(cls, row: Row[Any]) -> "SubscriptionView":
        """By position, because lists are long; a further column of the statement comes after these."""
        return cls(*row[:_COLUMNS])

    @property
    def reason(self) -> str | None:
        """Why the exchange rejects it, or what a pending one waits for."""
        return self.topic_reason if self.status == "rejected" else self.waits_for

    @property
    def queue(self) -> str:
        """The queue in which the service reads its events."""
        return topology.service_queue(self.channel_type, self.requesting_service)


_COLUMNS = len(fields(SubscriptionView)) - 1  # all but waits_for
_leader = (
    select(
        ingestors.c.epoch,
        ingestors.c.generation,
        (ingestors.c.heartbeat_at > func.now() - text(f"interval '{FRESH_S} seconds'")).label("fresh"),
    )
    .where(ingestors.c.role == literal_column("'leader'"))
    .order_by(ingestors.c.heartbeat_at.desc())
    .limit(literal_column("1"))
    .subquery("leader")
)
_ENDED = ("cancelled", "expired")
_reported_by_leader = topics.c.epoch == _leader.c.epoch
_status: ColumnElement[str] = case(
    (~subscriptions.c.is_active, subscriptions.c.ended),
    (and_(_reported_by_leader, topics.c.state == literal_column("'rejected'")), literal_column("'rejected'")),
    (
        and_(
            _reported_by_leader,
            topics.c.state == literal_column("'live'"),
            _leader.c.generation >= subscriptions.c.generation,  # its queue and bindings are made
            _leader.c.fresh,
        ),
        literal_column("'live'"),
    ),
    else_=literal_column("'pending'"),
)
_joined = subscriptions.outerjoin(
    topics, and_(topics.c.endpoint == subscriptions.c.endpoint, topics.c.topic == subscriptions.c.topic)
).outerjoin(_leader, true())
_select = select(
    cast(subscriptions.c.id, Text).label("id"),
    subscriptions.c.channel_type,
    subscriptions.c.category,
    subscriptions.c.symbol,
    subscriptions.c.endpoint,
    subscriptions.c.topic,
    subscriptions.c.routing_key,
    subscriptions.c.requesting_service,
    subscriptions.c.is_active,
    subscriptions.c.ended,
    subscriptions.c.generation,
    subscriptions.c.expires_at,
    subscriptions.c.created_at,
    subscriptions.c.updated_at,
    _status.label("status"),
    topics.c.reason.label("topic_reason"),
    topics.c.acked_at,
    topics.c.last_event_at,
    topics.c.state.label("topic_state"),
    topics.c.epoch.label("topic_epoch"),
    topics.c.updated_at.label("topic_updated_at"),
).select_from(_joined)
_NAMED = PGDialect(paramstyle="named")  # type: ignore[no-untyped-call]
_oldest_first = (subscriptions.c.created_at, subscriptions.c.id)


def _compiled(statement: Select[Any]) -> TextClause:
    """Compiled once: what every request executes is not compiled each time."""
    return text(str(statement.compile(dialect=_NAMED)))


_ONE = _compiled(_select.where(subscriptions.c.id == cast(bindparam("id", type_=Text), Uuid)))
_OF = _compiled(
    _select.where(subscriptions.c.id == any_(cast(bindparam("ids", type_=ARRAY(Text)), ARRAY(Uuid)))).order_by(
        *_oldest_first
    )
)
_ACTIVE_OF = _compiled(
    _select.where(subscriptions.c.is_active, subscriptions.c.requesting_service == bindparam("service")).order_by(
        *_oldest_first
    )
)
_SUBSCRIBE = text(
    ";".join(
        (
            ADD,
            str(
                _select.add_columns((subscriptions.c.created_at == func.now()).label("is_new"))
                .where(
                    subscriptions.c.is_active,
                    subscriptions.c.requesting_service == bindparam("service"),
                    subscriptions.c.endpoint == bindparam("endpoint"),
                    subscriptions.c.topic == bindparam("topic"),
                )
                .compile(dialect=_NAMED)
            ),
        )
    )
)


def subscribe(
    connection: Connection,
    channel: Channel,
    service: str,
    lease_s: int | None,
    trace_id: str | None,
    caps: Caps,
    known: Counted,
) -> tuple[SubscriptionView, bool] | None:
    """The service's active subscription to this channel, and whether it was added now; None where a cap forbids that.

    On an autocommitting connection this is one round trip, so that no writer keeps the others waiting for its network.
    """
    parameters = add_parameters([channel], service, lease_s, trace_id, caps, known)
    topic = {"endpoint": channel.endpoint, "topic": channel.topic}
    row = connection.execute(_SUBSCRIBE, parameters | topic).one_or_none()
    return None if row is None else (SubscriptionView.from_row(row), row.is_new)


def one(connection: Connection, subscription: uuid.UUID | str) -> SubscriptionView | None:
    row = connection.execute(_ONE, {"id": str(subscription)}).one_or_none()
    return None if row is None else SubscriptionView.from_row(row)


def of(connection: Connection, ids: Sequence[uuid.UUID]) -> list[SubscriptionView]:
    """These, oldest first."""
    return _views(connection.execute(_OF, {"ids": [str(each) for each in ids]}))


def active_of(connection: Connection, service: str) -> list[SubscriptionView]:
    """The service's active subscriptions, oldest first."""
    return _views(connection.execute(_ACTIVE_OF, {"service": service}))


def page(
    connection: Connection, filters: Mapping[str, Any], status: str | None, limit: int, offset: int
) -> ResultPage[SubscriptionView]:
    """Those that match, oldest first; `filters` maps columns to values."""
    if status is not None:  # implied by the status, but only this lets Postgres use an index
        filters = {"is_active": status not in _ENDED} | dict(filters)
    found, counted = statements(tuple(sorted(filters)), by_status=status is not None)
    parameters = dict(filters) | ({"status": status} if status is not None else {})
    rows = list(connection.execute(found, parameters | {"most": limit, "passed": offset}))
    total = int(rows[0].total if rows else connection.execute(counted, parameters).scalar_one())
    return ResultPage(_views(rows), total, limit, offset)


@cache
def statements(filters: tuple[str, ...], *, by_status: bool = False) -> tuple[TextClause, TextClause]:
    """A page: `most` rows after `passed`, with the count in each; and the count alone, for a page without rows."""
    conditions = [subscriptions.c[name] == bindparam(name) for name in filters]
    source = _joined if by_status else subscriptions
    if by_status:
        conditions.append(_status == bindparam("status", type_=Text))
    counted = select(func.count()).select_from(source).where(*conditions)
    total = counted.correlate(None).scalar_subquery().label("total")
    found = _select.add_columns(total).where(*conditions).order_by(*_oldest_first)
    return _compiled(found.limit(bindparam("most")).offset(bindparam("passed"))), _compiled(counted)


def _views(rows: Iterable[Row[Any]]) -> list[SubscriptionView]:
    return [SubscriptionView.from_row(row) for row in rows]

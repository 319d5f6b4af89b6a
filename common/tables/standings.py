"""Each subscription beside what the ingestor sees of its topic."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, case, func, literal_column, select, text, true

from common.tables.ingestors import ingestors
from common.tables.subscriptions import subscriptions
from common.tables.topics import topics

FRESH_S = 5
"""An ingestor that has not been heard of for longer is not believed."""

_leader = (
    select(
        ingestors.c.epoch,
        ingestors.c.generation,
        ingestors.c.heartbeat_at,
        (ingestors.c.heartbeat_at > func.now() - text(f"interval '{FRESH_S} seconds'")).label("fresh"),
    )
    .where(ingestors.c.role == "leader")
    .order_by(ingestors.c.heartbeat_at.desc())
    .limit(1)
    .subquery("leader")
)
_seen_by_leader = topics.c.epoch == _leader.c.epoch
_status: ColumnElement[str] = case(
    (~subscriptions.c.is_active, subscriptions.c.ended),
    (and_(_seen_by_leader, topics.c.state == "rejected"), literal_column("'rejected'")),
    (
        and_(
            _seen_by_leader,
            topics.c.state == "live",
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
_standing = select(
    subscriptions,
    _status.label("status"),
    topics.c.reason,
    topics.c.acked_at,
    topics.c.last_event_at,
    topics.c.state.label("topic_state"),
    topics.c.epoch.label("topic_epoch"),
    topics.c.updated_at.label("topic_updated_at"),
).select_from(_joined)


def one(connection: Connection, subscription: uuid.UUID) -> Row[Any] | None:
    return connection.execute(_standing.where(subscriptions.c.id == subscription)).one_or_none()


def of(connection: Connection, ids: Sequence[uuid.UUID]) -> list[Row[Any]]:
    found = _standing.where(subscriptions.c.id.in_(ids)).order_by(subscriptions.c.created_at, subscriptions.c.id)
    return list(connection.execute(found))


def active_of(connection: Connection, service: str) -> list[Row[Any]]:
    """All that a service wants, the eldest wish first."""
    found = _standing.where(subscriptions.c.is_active, subscriptions.c.requesting_service == service)
    return list(connection.execute(found.order_by(subscriptions.c.created_at, subscriptions.c.id)))


def page(
    connection: Connection, filters: Mapping[str, Any], status: str | None, limit: int, offset: int
) -> tuple[list[Row[Any]], int]:
    """One page of those that match, oldest first, and how many match in all."""
    wanted = [subscriptions.c[name] == value for name, value in filters.items()]
    found = _standing.where(*wanted)
    counted: Select[Any] = select(func.count()).select_from(subscriptions).where(*wanted)
    if status is not None:
        found = found.where(_status == status)
        counted = select(func.count()).select_from(_joined).where(*wanted, _status == status)
    ordered = found.order_by(subscriptions.c.created_at, subscriptions.c.id).limit(limit).offset(offset)
    return list(connection.execute(ordered)), int(connection.execute(counted).scalar_one())

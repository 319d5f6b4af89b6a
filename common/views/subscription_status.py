"""Each subscription beside what the ingestor sees of its topic."""

import uuid
from collections.abc import Mapping, Sequence
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

from common.channels import Channel
from common.tables import subscriptions as subscriptions_room
from common.tables.ingestors import ingestors
from common.tables.subscriptions import Caps, Counted, subscriptions
from common.tables.topics import topics

FRESH_S = 4.5
"""An ingestor not heard of for longer is not believed: it writes every second, and we promise to know within 5."""

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
_ENDS = ("cancelled", "expired")
_seen_by_leader = topics.c.epoch == _leader.c.epoch
_status: ColumnElement[str] = case(
    (~subscriptions.c.is_active, subscriptions.c.ended),
    (and_(_seen_by_leader, topics.c.state == literal_column("'rejected'")), literal_column("'rejected'")),
    (
        and_(
            _seen_by_leader,
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
_standing = select(
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
    topics.c.reason,
    topics.c.acked_at,
    topics.c.last_event_at,
    topics.c.state.label("topic_state"),
    topics.c.epoch.label("topic_epoch"),
    topics.c.updated_at.label("topic_updated_at"),
).select_from(_joined)
_NAMED = PGDialect(paramstyle="named")  # type: ignore[no-untyped-call]
_eldest_first = (subscriptions.c.created_at, subscriptions.c.id)


def _spelled(statement: Select[Any]) -> TextClause:
    """Spelled once: what is asked with every request is not put together anew each time."""
    return text(str(statement.compile(dialect=_NAMED)))


_ONE = _spelled(_standing.where(subscriptions.c.id == cast(bindparam("id", type_=Text), Uuid)))
_OF = _spelled(
    _standing.where(subscriptions.c.id == any_(cast(bindparam("ids", type_=ARRAY(Text)), ARRAY(Uuid)))).order_by(
        *_eldest_first
    )
)
_ACTIVE_OF = _spelled(
    _standing.where(subscriptions.c.is_active, subscriptions.c.requesting_service == bindparam("service")).order_by(
        *_eldest_first
    )
)


_ASK = text(
    ";".join(
        (
            subscriptions_room.ADD,
            str(
                _standing.add_columns((subscriptions.c.created_at == func.now()).label("is_new"))
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


def ask(
    connection: Connection,
    channel: Channel,
    service: str,
    lease_s: int | None,
    trace_id: str | None,
    caps: Caps,
    known: Counted,
) -> Row[Any] | None:
    """The service's subscription for this channel, which is added unless it is held already or over a cap: then None.

    On an autocommitting connection this is one round trip, so that no writer keeps the others waiting for its network.
    """
    asked = subscriptions_room.add_parameters([channel], service, lease_s, trace_id, caps, known)
    return connection.execute(_ASK, asked | {"endpoint": channel.endpoint, "topic": channel.topic}).one_or_none()


def one(connection: Connection, subscription: uuid.UUID | str) -> Row[Any] | None:
    return connection.execute(_ONE, {"id": str(subscription)}).one_or_none()


def of(connection: Connection, ids: Sequence[uuid.UUID]) -> list[Row[Any]]:
    return list(connection.execute(_OF, {"ids": [str(each) for each in ids]}))


def active_of(connection: Connection, service: str) -> list[Row[Any]]:
    """All that a service wants, the eldest subscription first."""
    return list(connection.execute(_ACTIVE_OF, {"service": service}))


def page(
    connection: Connection, filters: Mapping[str, Any], status: str | None, limit: int, offset: int
) -> tuple[list[Row[Any]], int]:
    """One page of those that match, eldest first, and how many match in all."""
    if status is not None:  # says so itself, but only this finds an index
        filters = {"is_active": status not in _ENDS} | dict(filters)
    found, counted = statements(tuple(sorted(filters)), status is not None)
    given = dict(filters) | ({"status": status} if status is not None else {})
    rows = list(connection.execute(found, given | {"most": limit, "passed": offset}))
    return rows, int(rows[0].total if rows else connection.execute(counted, given).scalar_one())


@cache
def statements(filters: tuple[str, ...], by_status: bool = False) -> tuple[TextClause, TextClause]:
    """Of a page, `most` rows after `passed` with the count in each, and of the count alone, for a page without rows."""
    wanted = [subscriptions.c[name] == bindparam(name) for name in filters]
    source = _joined if by_status else subscriptions
    if by_status:
        wanted.append(_status == bindparam("status", type_=Text))
    counted = select(func.count()).select_from(source).where(*wanted)
    total = counted.correlate(None).scalar_subquery().label("total")
    found = _standing.add_columns(total).where(*wanted).order_by(*_eldest_first)
    return _spelled(found.limit(bindparam("most")).offset(bindparam("passed"))), _spelled(counted)

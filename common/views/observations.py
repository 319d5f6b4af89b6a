"""What the ingestor has written down of itself, read with its age by the database's own clock."""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Double, Row, Select, and_, cast, exists, extract, func, select, text

from common.channels import PATHS
from common.tables.connections import connections
from common.tables.gaps import gaps
from common.tables.ingestors import ingestors
from common.tables.queues import queues
from common.tables.subscriptions import subscriptions
from common.tables.topics import topics

Rows = list[Row[Any]]
_NEEDED = text(
    """
    SELECT endpoint, since FROM unnest(CAST(:endpoints AS text[])) AS each (endpoint) CROSS JOIN LATERAL (
        SELECT min(created_at) AS since FROM subscriptions WHERE is_active AND subscriptions.endpoint = each.endpoint
    ) AS first
    WHERE since < now() - make_interval(secs => :longer_than_s)
    """
)
"""One look in the index for each endpoint."""


def leader(connection: Connection) -> Row[Any] | None:
    """The leading ingestor last heard of, however long ago that was."""
    found = select(ingestors, _age(ingestors.c.heartbeat_at)).where(ingestors.c.role == "leader")
    return connection.execute(found.order_by(ingestors.c.heartbeat_at.desc()).limit(1)).one_or_none()


def left_at(connection: Connection) -> datetime | None:
    """When an ingestor last ended in order."""
    found = select(func.max(ingestors.c.heartbeat_at)).where(ingestors.c.role == "left")
    moment: datetime | None = connection.execute(found).scalar_one()
    return moment


def writable(connection: Connection) -> bool:
    """Whether this server takes writes: a standby does not, nor one that was set so."""
    return bool(connection.execute(text("SELECT current_setting('transaction_read_only') = 'off'")).scalar_one())


def clock(connection: Connection) -> datetime:
    """What all ages are taken by."""
    now: datetime = connection.execute(select(func.now())).scalar_one()
    return now


def sockets(connection: Connection, epoch: str | None = None, service: str | None = None) -> Rows:
    """All of them, or those of one life of the ingestor, or those that carry something of a service."""
    found = select(connections, _age(connections.c.updated_at))
    if epoch is not None:
        found = found.where(connections.c.epoch == epoch)
    if service is not None:
        found = found.where(_wanted(service, subscriptions.c.endpoint == connections.c.endpoint))
    return list(connection.execute(found.order_by(connections.c.endpoint, connections.c.socket_no)))


def endpoints_needed(connection: Connection, longer_than_s: float) -> dict[str, datetime]:
    """The endpoints that somebody has wanted for some time, and since when."""
    asked = {"endpoints": list(PATHS), "longer_than_s": longer_than_s}
    return dict(connection.execute(_NEEDED, asked).all())


def active_subscriptions(connection: Connection) -> int:
    counted = select(func.count()).select_from(subscriptions).where(subscriptions.c.is_active)
    return int(connection.execute(counted).scalar_one())


def queue(connection: Connection, name: str) -> Row[Any] | None:
    return connection.execute(select(queues, _age(queues.c.observed_at)).where(queues.c.name == name)).one_or_none()


def queues_of(connection: Connection, service: str) -> Rows:
    return list(connection.execute(select(queues, _age(queues.c.observed_at)).where(queues.c.service == service)))


def queues_with_other_arguments(connection: Connection) -> Rows:
    """Than the settings ask for; the reason of each says what to do about it."""
    return list(connection.execute(select(queues).where(queues.c.other_arguments).order_by(queues.c.name)))


def page_of_queues(connection: Connection, service: str | None, limit: int, offset: int) -> tuple[Rows, int]:
    found = select(queues, _age(queues.c.observed_at)).order_by(queues.c.name)
    if service is not None:
        found = found.where(queues.c.service == service)
    return _page(connection, found, limit, offset)


def page_of_topics(connection: Connection, service: str | None, limit: int, offset: int) -> tuple[Rows, int]:
    services = (
        select(func.count())
        .select_from(subscriptions)
        .where(
            subscriptions.c.is_active,
            subscriptions.c.endpoint == topics.c.endpoint,
            subscriptions.c.topic == topics.c.topic,
        )
        .scalar_subquery()
    )
    heartbeat_at = select(ingestors.c.heartbeat_at).where(ingestors.c.epoch == topics.c.epoch).scalar_subquery()
    heard_at = func.coalesce(heartbeat_at, topics.c.updated_at)  # an unchanged row is as true as its writer is fresh
    found = select(
        topics,
        services.label("services"),
        heard_at.label("observed_at"),
        _age(heard_at),
        _age(topics.c.last_event_at, "last_event_age_s"),
        (topics.c.events / func.nullif(extract("epoch", topics.c.updated_at - topics.c.acked_at), 0)).label("rate"),
    ).order_by(topics.c.endpoint, topics.c.topic)
    if service is not None:
        found = found.where(_wants_topic(service, topics.c.endpoint, topics.c.topic))
    return _page(connection, found, limit, offset)


def page_of_gaps(
    connection: Connection, service: str | None, still_open: bool | None, limit: int, offset: int
) -> tuple[Rows, int]:
    """The newest first."""
    found = select(gaps).order_by(gaps.c.opened.desc(), gaps.c.id.desc())
    if service is not None:
        found = found.where(_wants_topic(service, gaps.c.endpoint, gaps.c.topic))
    if still_open is not None:
        found = found.where(gaps.c.closed.is_(None) if still_open else gaps.c.closed.is_not(None))
    return _page(connection, found, limit, offset)


def open_gap(connection: Connection, endpoint: str, topic: str) -> Row[Any] | None:
    """The oldest that is open for this topic."""
    found = select(gaps).where(gaps.c.endpoint == endpoint, gaps.c.topic == topic, gaps.c.closed.is_(None))
    return connection.execute(found.order_by(gaps.c.opened).limit(1)).one_or_none()


def _page(connection: Connection, found: Select[Any], limit: int, offset: int) -> tuple[Rows, int]:
    total = connection.execute(select(func.count()).select_from(found.order_by(None).subquery())).scalar_one()
    return list(connection.execute(found.limit(limit).offset(offset))), int(total)


def _wants_topic(service: str, endpoint: ColumnElement[str], topic: ColumnElement[str]) -> ColumnElement[bool]:
    return _wanted(service, and_(subscriptions.c.endpoint == endpoint, subscriptions.c.topic == topic))


def _wanted(service: str, which: ColumnElement[bool]) -> ColumnElement[bool]:
    return exists().where(subscriptions.c.is_active, subscriptions.c.requesting_service == service, which)


def _age(since: ColumnElement[datetime], name: str = "age_s") -> ColumnElement[float]:
    return cast(extract("epoch", func.now() - since), Double).label(name)

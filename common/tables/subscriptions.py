"""Who wants which topic: the services' intents."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Connection,
    Index,
    Row,
    Table,
    Text,
    Uuid,
    func,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.schema import Sequence as DbSequence

from common.channels import Channel
from common.tables.schema import Moment, metadata

generations = DbSequence("subscription_generation", metadata=metadata)

subscriptions = Table(
    "subscriptions",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("channel_type", Text, nullable=False),
    Column("category", Text, nullable=False),
    Column("symbol", Text),
    Column("endpoint", Text, nullable=False),
    Column("topic", Text, nullable=False),
    Column("routing_key", Text, nullable=False),
    Column("requesting_service", Text, nullable=False),
    Column("params", JSONB, nullable=False, server_default=text("'{}'")),
    Column("is_active", Boolean, nullable=False),
    Column("ended", Text, comment="cancelled or expired, once it is not active"),
    Column("generation", BigInteger, nullable=False),
    Column("trace_id", Text, comment="of the request that last changed the row"),
    Column("expires_at", Moment),
    Column("created_at", Moment, nullable=False, server_default=func.now()),
    Column("updated_at", Moment, nullable=False, server_default=func.now()),
    CheckConstraint("is_active = (ended IS NULL)", name="ended_when_not_active"),
    Index(  # asked again by the same service: the same row
        "uq_subscriptions_active", "requesting_service", "endpoint", "topic", unique=True,
        postgresql_where=text("is_active"),
    ),
    Index("ix_subscriptions_active_topic", "endpoint", "topic", postgresql_where=text("is_active")),  # who holds it
    Index("ix_subscriptions_listed", "created_at", "id"),  # GET /subscriptions, page by page
    Index("ix_subscriptions_expires", "expires_at", postgresql_where=text("is_active AND expires_at IS NOT NULL")),
    Index("ix_subscriptions_ended", "requesting_service", "channel_type", "updated_at"),  # which queues are unused
)  # fmt: skip

_WRITERS = 0x77736777  # advisory lock: generations commit in the order in which they were drawn


@dataclass(frozen=True, slots=True)
class Wish:
    """An active subscription as the ingestor reads it."""

    service: str
    endpoint: str
    topic: str
    generation: int
    trace_id: str | None


def writing(connection: Connection) -> None:
    """Take turns with the other writers until this transaction ends."""
    connection.execute(select(func.pg_advisory_xact_lock(_WRITERS)))


def ask(
    connection: Connection, channel: Channel, service: str, expires_at: datetime | None, trace_id: str | None
) -> tuple[Row[Any], bool]:
    """The service's active row for this channel, and whether it is new; asking again renews the lease."""
    found = active(connection, channel, service)
    if found is not None and found.expires_at == expires_at:
        return found, False
    writing(connection)
    row = insert(subscriptions).values(
        id=uuid.uuid4(),
        channel_type=channel.channel_type,
        category=channel.category,
        symbol=channel.symbol,
        endpoint=channel.endpoint,
        topic=channel.topic,
        routing_key=channel.routing_key,
        requesting_service=service,
        params={name: value for name in ("depth", "interval") if (value := getattr(channel, name)) is not None},
        is_active=True,
        generation=generations.next_value(),
        trace_id=trace_id,
        expires_at=expires_at,
    )
    renewed = row.on_conflict_do_update(
        index_elements=["requesting_service", "endpoint", "topic"],
        index_where=subscriptions.c.is_active,
        set_={"expires_at": expires_at, "updated_at": func.now()},
    ).returning(subscriptions, text("(xmax = 0) AS is_new"))
    stored = connection.execute(renewed).one()
    return stored, bool(stored.is_new)


def active(connection: Connection, channel: Channel, service: str) -> Row[Any] | None:
    held = select(subscriptions).where(
        subscriptions.c.is_active,
        subscriptions.c.requesting_service == service,
        subscriptions.c.endpoint == channel.endpoint,
        subscriptions.c.topic == channel.topic,
    )
    return connection.execute(held).one_or_none()


def held_by(connection: Connection, service: str) -> list[uuid.UUID]:
    held = select(subscriptions.c.id).where(subscriptions.c.is_active, subscriptions.c.requesting_service == service)
    return list(connection.execute(held).scalars())


def cancel(connection: Connection, ids: Sequence[uuid.UUID], trace_id: str | None) -> list[Row[Any]]:
    """End these; the answer holds those that were active until now."""
    if not ids:
        return []
    writing(connection)
    return _end(connection, subscriptions.c.id.in_(ids), "cancelled", trace_id)


def expire(connection: Connection) -> list[Row[Any]]:
    """End the leases that nobody renewed in time."""
    due = subscriptions.c.expires_at <= func.now()
    if connection.execute(select(subscriptions.c.id).where(subscriptions.c.is_active, due).limit(1)).first() is None:
        return []
    writing(connection)
    return _end(connection, due, "expired", None)


def wishes(connection: Connection) -> list[Wish]:
    """Every active subscription, in one snapshot."""
    columns = (
        subscriptions.c.requesting_service,
        subscriptions.c.endpoint,
        subscriptions.c.topic,
        subscriptions.c.generation,
        subscriptions.c.trace_id,
    )
    rows = connection.execute(select(*columns).where(subscriptions.c.is_active).order_by(subscriptions.c.generation))
    return [Wish(*row) for row in rows]


def ended(connection: Connection, after_generation: int) -> list[Wish]:
    """Subscriptions that ended since this generation, the last month's at most; some may be wanted again since."""
    recent = func.now() - text("interval '30 days'")
    columns = (
        subscriptions.c.requesting_service,
        subscriptions.c.endpoint,
        subscriptions.c.topic,
        func.max(subscriptions.c.generation),
        func.max(subscriptions.c.trace_id),
    )
    rows = connection.execute(
        select(*columns)
        .where(~subscriptions.c.is_active, subscriptions.c.generation > after_generation)
        .where(subscriptions.c.updated_at > recent)
        .group_by(*columns[:3])
    )
    return [Wish(*row) for row in rows]


def last_generation(connection: Connection) -> int:
    """The newest change of all, ends included."""
    return int(connection.execute(select(func.coalesce(func.max(subscriptions.c.generation), 0))).scalar_one())


def _end(connection: Connection, which: Any, ended: str, trace_id: str | None) -> list[Row[Any]]:
    statement = (
        update(subscriptions)
        .where(subscriptions.c.is_active, which)
        .values(
            is_active=False,
            ended=ended,
            generation=generations.next_value(),
            updated_at=func.now(),
            trace_id=func.coalesce(trace_id, subscriptions.c.trace_id),
        )
        .returning(subscriptions)
    )
    return list(connection.execute(statement))

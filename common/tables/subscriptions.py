"""The subscriptions of services: the desired state."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Connection,
    Double,
    Index,
    Row,
    Table,
    Text,
    Uuid,
    case,
    cast,
    extract,
    func,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB
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
    Index(  # requested again by the same service: the same row
        "uq_subscriptions_active", "requesting_service", "endpoint", "topic", unique=True,
        postgresql_where=text("is_active"),
    ),
    Index("ix_subscriptions_active_topic", "endpoint", "topic", postgresql_where=text("is_active")),  # by topic
    Index("ix_subscriptions_listed", "created_at", "id"),  # GET /subscriptions, page by page
    Index("ix_subscriptions_active_listed", "created_at", "id", postgresql_where=text("is_active")),  # active ones only
    Index("ix_subscriptions_expires", "expires_at", postgresql_where=text("is_active AND expires_at IS NOT NULL")),
    Index("ix_subscriptions_needed", "endpoint", "created_at", postgresql_where=text("is_active")),  # by endpoint
    Index("ix_subscriptions_generation", "generation"),  # changes since a generation
    Index(  # which queues are unused
        "ix_subscriptions_ended", "requesting_service", "channel_type", "updated_at",
        postgresql_where=text("NOT is_active"),
    ),
    Index("ix_subscriptions_pruned", "updated_at", postgresql_where=text("NOT is_active")),
    # beside a million ended rows, thousands of new ones would not trigger ANALYZE, and plans would be bad
    postgresql_with={"autovacuum_analyze_scale_factor": 0, "autovacuum_analyze_threshold": 1_000},
)  # fmt: skip

_WRITERS = 0x77736777  # advisory lock: generations commit in the order in which they were drawn
ADD = """
    SELECT pg_advisory_xact_lock(:writers);
    WITH requested AS (
        SELECT * FROM jsonb_to_recordset(CAST(:requested AS jsonb)) AS each (
            channel_type text, category text, symbol text, endpoint text, topic text, routing_key text, params jsonb)
        WHERE NOT EXISTS (
            SELECT FROM subscriptions held
            WHERE held.is_active AND held.requesting_service = :service
                AND held.endpoint = each.endpoint AND held.topic = each.topic)
    ), more AS (SELECT count(*) AS many FROM requested)
    INSERT INTO subscriptions (
        id, channel_type, category, symbol, endpoint, topic, routing_key, requesting_service, params, is_active,
        generation, trace_id, expires_at)
    SELECT
        gen_random_uuid(), channel_type, category, symbol, endpoint, topic, routing_key, :service, params, true,
        nextval('subscription_generation'), :trace_id, now() + make_interval(secs => CAST(:lease_s AS integer))
    FROM requested
    WHERE (SELECT many FROM more) + (
            SELECT count(*) FROM subscriptions WHERE is_active AND requesting_service = :service
        ) <= :of_a_service
        AND (
            (SELECT many FROM more) + :known_active - :known_generation
                + (SELECT last_value FROM subscription_generation) <= :in_total
            OR (SELECT many FROM more) + (SELECT count(*) FROM subscriptions WHERE is_active) <= :in_total
        )
    ON CONFLICT (requesting_service, endpoint, topic) WHERE is_active DO NOTHING
    RETURNING id, generation
"""
"""Two statements in one round trip and one transaction; the second one takes its snapshot under the lock."""
KEPT_ENDED = "30 days"
_EXPIRED_PER_CALL = 1_000
_PRUNED_PER_CALL = 1_000
_ADD = text(ADD).columns(id=Uuid, generation=BigInteger)
_DESIRED = (
    subscriptions.c.requesting_service,
    subscriptions.c.endpoint,
    subscriptions.c.topic,
    subscriptions.c.generation,
    subscriptions.c.trace_id,
)
_HELD_COLUMNS = (subscriptions.c.id, subscriptions.c.endpoint, subscriptions.c.topic, subscriptions.c.expires_at)
_CONTINUE_ABOVE = text(
    "SELECT setval('subscription_generation', greatest(last_value, :generation)) FROM subscription_generation"
)
_LAST_DRAWN = text("SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END FROM subscription_generation")
_CANCEL = text(
    """
    SELECT pg_advisory_xact_lock(:writers);
    UPDATE subscriptions
    SET is_active = false, ended = 'cancelled', generation = nextval('subscription_generation'), updated_at = now(),
        trace_id = coalesce(:trace_id, trace_id)
    WHERE is_active AND id = ANY(CAST(:ids AS uuid[]))
    RETURNING id, generation
    """
).columns(id=Uuid, generation=BigInteger)


_UNUSED = text(
    """
    WITH RECURSIVE pair AS (
        (SELECT requesting_service AS service, channel_type FROM subscriptions WHERE NOT is_active
            ORDER BY requesting_service, channel_type LIMIT 1)
        UNION ALL
        SELECT later.service, later.channel_type FROM pair CROSS JOIN LATERAL (
            SELECT requesting_service AS service, channel_type FROM subscriptions
            WHERE NOT is_active AND (requesting_service, channel_type) > (pair.service, pair.channel_type)
            ORDER BY requesting_service, channel_type LIMIT 1
        ) AS later
    )
    SELECT pair.service, pair.channel_type, last.updated_at
    FROM pair CROSS JOIN LATERAL (
        SELECT max(updated_at) AS updated_at FROM subscriptions
        WHERE NOT is_active AND requesting_service = pair.service AND channel_type = pair.channel_type
    ) AS last
    WHERE last.updated_at > now() - CAST(:kept AS interval)
    """
)
"""Skips from pair to pair in the index: its cost grows with the number of services, not of ended subscriptions."""
_HELD = text(
    """
    SELECT id FROM unnest(CAST(:endpoints AS text[]), CAST(:topics AS text[])) AS requested (endpoint, topic)
    JOIN subscriptions USING (endpoint, topic) WHERE is_active AND requesting_service = :service
    """
).columns(id=Uuid)
_PRUNE = text(
    """
    DELETE FROM subscriptions WHERE id IN (
        SELECT id FROM subscriptions WHERE NOT is_active AND updated_at < now() - CAST(:kept AS interval)
            AND generation < (SELECT max(generation) FROM subscriptions)  -- the newest one must stay known
        ORDER BY updated_at LIMIT :most FOR UPDATE SKIP LOCKED)
    """
)


@dataclass(frozen=True, slots=True)
class DesiredSubscription:
    """An active subscription as the ingestor reads it."""

    service: str
    endpoint: str
    topic: str
    generation: int
    trace_id: str | None


@dataclass(frozen=True, slots=True)
class Changed:
    """A subscription after its last change; `ended_at` is None while it is active."""

    subscription: DesiredSubscription
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class HeldSubscription:
    """An active subscription of one service; `expires_at` is None without a lease."""

    id: uuid.UUID
    endpoint: str
    topic: str
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Caps:
    """The maximum of active subscriptions."""

    of_a_service: int
    in_total: int


class OverCap(Exception):
    """A maximum of active subscriptions would be exceeded."""

    def __init__(self, cap: str, most: int) -> None:
        super().__init__(f"{cap}: {most}")
        self.cap = cap
        self.most = most


@dataclass(frozen=True, slots=True)
class Counted:
    """The number of active subscriptions at a generation.

    Each later generation adds at most one, which gives an upper bound without counting again.
    """

    active: int
    generation: int

    def at_most(self, generation: int) -> int:
        return self.active + generation - self.generation


@dataclass(frozen=True, slots=True)
class SubscriptionChange:
    """A row that was added or ended, and the generation of that."""

    id: uuid.UUID
    generation: int


def writing(connection: Connection) -> None:
    """Wait for the other writers, and keep them waiting until this transaction ends."""
    connection.execute(select(func.pg_advisory_xact_lock(_WRITERS)))


def counted(connection: Connection) -> Counted:
    """In a transaction, which waits for the other writers."""
    writing(connection)
    active = select(func.count()).select_from(subscriptions).where(subscriptions.c.is_active)
    return Counted(connection.execute(active).scalar_one(), connection.execute(_LAST_DRAWN).scalar_one())


def add_parameters(
    channels: Sequence[Channel], service: str, lease_s: int | None, trace_id: str | None, caps: Caps, known: Counted
) -> dict[str, Any]:
    """The parameters of ADD."""
    return {
        "writers": _WRITERS,
        "requested": orjson.dumps([_columns(channel) for channel in channels]).decode(),
        "service": service,
        "lease_s": lease_s,
        "trace_id": trace_id,
        "of_a_service": caps.of_a_service,
        "in_total": caps.in_total,
        "known_active": known.active,
        "known_generation": known.generation,
    }


def add(
    connection: Connection,
    channels: Sequence[Channel],
    service: str,
    lease_s: int | None,
    trace_id: str | None,
    caps: Caps,
    known: Counted,
) -> list[SubscriptionChange]:
    """Add the service's subscriptions that it does not hold yet, all of them or none; the answer holds those added.

    Raises OverCap.
    """
    parameters = add_parameters(channels, service, lease_s, trace_id, caps, known)
    added = [SubscriptionChange(*row) for row in connection.execute(_ADD, parameters)]
    if not added and (more := len(channels) - len(held(connection, channels, service))):
        check(connection, service, more, caps)  # within the caps after all: what was held has ended meanwhile
    return added


def check(connection: Connection, service: str, more: int, caps: Caps) -> None:
    """Raises OverCap when this many more would exceed a cap."""
    active = select(func.count()).select_from(subscriptions).where(subscriptions.c.is_active)
    mine = active.where(subscriptions.c.requesting_service == service)
    if connection.execute(mine).scalar_one() + more > caps.of_a_service:
        raise OverCap("of_a_service", caps.of_a_service)
    if connection.execute(active).scalar_one() + more > caps.in_total:
        raise OverCap("in_total", caps.in_total)


def renew(connection: Connection, ids: Sequence[uuid.UUID], lease_s: int | None, trace_id: str | None) -> int:
    """Give those a lease from now on, or none; returns how many were still active."""
    ends = None if lease_s is None else func.now() + func.make_interval(0, 0, 0, 0, 0, 0, lease_s)
    changed = (
        update(subscriptions)
        .where(subscriptions.c.is_active, subscriptions.c.id.in_(ids))
        .values(expires_at=ends, updated_at=func.now(), trace_id=func.coalesce(trace_id, subscriptions.c.trace_id))
    )
    return connection.execute(changed).rowcount


def held(connection: Connection, channels: Sequence[Channel], service: str) -> list[uuid.UUID]:
    """Ids of the active subscriptions of the service to these channels."""
    endpoints, topics = [channel.endpoint for channel in channels], [channel.topic for channel in channels]
    found = connection.execute(_HELD, {"endpoints": endpoints, "topics": topics, "service": service})
    return list(found.scalars())


def held_by(connection: Connection, service: str) -> list[HeldSubscription]:
    """All of the service's active subscriptions."""
    found = select(*_HELD_COLUMNS).where(subscriptions.c.is_active, subscriptions.c.requesting_service == service)
    return [HeldSubscription(*row) for row in connection.execute(found)]


def cancel(connection: Connection, ids: Sequence[uuid.UUID], trace_id: str | None) -> list[SubscriptionChange]:
    """End these; the answer holds those that were active until now."""
    if not ids:
        return []
    parameters = {"writers": _WRITERS, "ids": [str(each) for each in ids], "trace_id": trace_id}
    return [SubscriptionChange(*row) for row in connection.execute(_CANCEL, parameters)]


def expire(connection: Connection) -> list[Row[Any]]:
    """End leases that were not renewed in time, the earliest first; `next_lease_ends_in_s`: whether more are due."""
    due = select(subscriptions.c.id).where(subscriptions.c.is_active, subscriptions.c.expires_at <= func.now())
    if connection.execute(due.limit(1)).first() is None:
        return []
    writing(connection)
    batch = due.order_by(subscriptions.c.expires_at).limit(_EXPIRED_PER_CALL)
    return _end(connection, subscriptions.c.id.in_(batch), "expired", None)


def prune(connection: Connection) -> bool:
    """Delete up to 1,000 that ended more than 30 days ago; return whether there may be more."""
    return connection.execute(_PRUNE, {"kept": KEPT_ENDED, "most": _PRUNED_PER_CALL}).rowcount >= _PRUNED_PER_CALL


def next_lease_ends_in_s(connection: Connection) -> float | None:
    """By the database's clock; None without any lease."""
    found = select(cast(extract("epoch", func.min(subscriptions.c.expires_at) - func.clock_timestamp()), Double))
    left_s: float | None = connection.execute(found.where(subscriptions.c.is_active)).scalar_one()
    return left_s


def active(connection: Connection) -> list[DesiredSubscription]:
    """Every active subscription."""
    found = select(*_DESIRED).where(subscriptions.c.is_active).order_by(subscriptions.c.generation)
    return [DesiredSubscription(*row) for row in connection.execute(found)]


def changed(connection: Connection, after_generation: int, at_most: int) -> list[Changed]:
    """Up to `at_most` subscriptions that changed after this generation, in order of their last change."""
    ended_at = case((subscriptions.c.is_active, None), else_=subscriptions.c.updated_at)
    found = select(*_DESIRED, ended_at).where(subscriptions.c.generation > after_generation)
    rows = connection.execute(found.order_by(subscriptions.c.generation).limit(at_most))
    return [Changed(DesiredSubscription(*subscription), moment) for *subscription, moment in rows]


def ended(connection: Connection, after_generation: int) -> list[tuple[str, str, str]]:
    """(service, endpoint, topic) of those that ended after this generation; some may be active again."""
    columns = (subscriptions.c.requesting_service, subscriptions.c.endpoint, subscriptions.c.topic)
    which = (~subscriptions.c.is_active, subscriptions.c.generation > after_generation)
    return [
        (service, endpoint, topic)
        for service, endpoint, topic in connection.execute(select(*columns).where(*which).distinct())
    ]


def unused(connection: Connection) -> list[tuple[str, str, datetime]]:
    """(service, channel type, when the last one ended), of ended ones; some pairs may also have active ones."""
    return [
        (service, channel_type, since)
        for service, channel_type, since in connection.execute(_UNUSED, {"kept": KEPT_ENDED})
    ]


def last_generation(connection: Connection) -> int:
    """The generation of the newest change, ended subscriptions included; 0 for none."""
    return int(connection.execute(select(func.coalesce(func.max(subscriptions.c.generation), 0))).scalar_one())


def continue_above(connection: Connection, generation: int) -> None:
    """Make the next generation greater than this one."""
    connection.execute(_CONTINUE_ABOVE, {"generation": generation})


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


def _columns(channel: Channel) -> dict[str, Any]:
    parameters = {name: value for name in ("depth", "interval") if (value := getattr(channel, name)) is not None}
    names = ("channel_type", "category", "symbol", "endpoint", "topic", "routing_key")
    return {name: getattr(channel, name) for name in names} | {"params": parameters}

"""The keys by which services identify themselves, stored as SHA-256."""

import uuid
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import (
    Column,
    Connection,
    Index,
    LargeBinary,
    Table,
    Text,
    Uuid,
    and_,
    func,
    insert,
    or_,
    select,
    text,
    update,
)

from common.tables.schema import Moment, metadata

MOST_LIVE = 2  # per service: the key in use and its replacement

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("service", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("created_at", Moment, nullable=False, server_default=func.now()),
    Column("expires_at", Moment),
    Column("last_used_at", Moment),
    Column("revoked_at", Moment),
    Index("uq_api_keys_digest", "digest", unique=True),  # the service of a key, with each request
    Index("ix_api_keys_service", "service"),  # live keys of a service,
)

_WRITERS = 0x7773676B  # advisory lock: keys are added one at a time
_live = and_(api_keys.c.revoked_at.is_(None), or_(api_keys.c.expires_at.is_(None), api_keys.c.expires_at > func.now()))
_SHOWN = (
    api_keys.c.id,
    api_keys.c.service,
    api_keys.c.created_at,
    api_keys.c.expires_at,
    api_keys.c.last_used_at,
    api_keys.c.revoked_at,
    _live.label("live"),
)
_use_is_due = or_(api_keys.c.last_used_at.is_(None), api_keys.c.last_used_at < func.now() - text("interval '1 minute'"))


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key without its digest; `live` until it is revoked or expires."""

    id: uuid.UUID
    service: str
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None
    live: bool


@dataclass(frozen=True, slots=True)
class KeyUser:
    """The service that a key belongs to; `use_is_due` when its last use was noted over a minute ago."""

    id: uuid.UUID
    service: str
    use_is_due: bool


def user_of(connection: Connection, digest: bytes) -> KeyUser | None:
    """Whose live key this is; None for a key that is unknown, revoked or expired."""
    found = select(api_keys.c.id, api_keys.c.service, _use_is_due.label("use_is_due"))
    row = connection.execute(found.where(api_keys.c.digest == digest, _live)).one_or_none()
    return None if row is None else KeyUser(*row)


def note_use(connection: Connection, key: uuid.UUID) -> None:
    """To the minute; does nothing while another process notes the same."""
    free = select(api_keys.c.id).where(api_keys.c.id == key, _use_is_due).with_for_update(skip_locked=True)
    connection.execute(
        update(api_keys).where(api_keys.c.id.in_(free.scalar_subquery())).values(last_used_at=func.now())
    )


def add(connection: Connection, service: str, digest: bytes, lease_s: int | None) -> ApiKey | None:
    """In a transaction; None when the service has as many live keys as it may have."""
    connection.execute(select(func.pg_advisory_xact_lock(_WRITERS)))
    live = select(func.count()).select_from(api_keys).where(api_keys.c.service == service, _live)
    if connection.execute(live).scalar_one() >= MOST_LIVE:
        return None
    ends = None if lease_s is None else func.now() + func.make_interval(0, 0, 0, 0, 0, 0, lease_s)
    row = insert(api_keys).values(id=uuid.uuid4(), service=service, digest=digest, expires_at=ends)
    return ApiKey(*connection.execute(row.returning(*_SHOWN)).one())


def revoke(connection: Connection, key: uuid.UUID) -> ApiKey | None:
    """None when there is no such key; revoking twice changes nothing."""
    revoked_at = func.coalesce(api_keys.c.revoked_at, func.now())
    change = update(api_keys).where(api_keys.c.id == key).values(revoked_at=revoked_at).returning(*_SHOWN)
    row = connection.execute(change).one_or_none()
    return None if row is None else ApiKey(*row)


def page(connection: Connection, service: str | None, limit: int, offset: int) -> tuple[list[ApiKey], int]:
    """The oldest first, and how many there are in all."""
    which = [] if service is None else [api_keys.c.service == service]
    total = connection.execute(select(func.count()).select_from(api_keys).where(*which)).scalar_one()
    found = select(*_SHOWN).where(*which).order_by(api_keys.c.created_at, api_keys.c.id)
    rows = connection.execute(found.limit(limit).offset(offset))
    return [ApiKey(*row) for row in rows], int(total)

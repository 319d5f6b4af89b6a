"""API keys of services, stored as SHA-256 digests."""

import uuid
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    Index,
    LargeBinary,
    Row,
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

_CREATION = 0x7773676B  # advisory lock: keys are created one at a time
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


def user_of(connection: Connection, digest: bytes) -> Row[Any] | None:
    """Id and service of the live key with this digest, and whether its use should be recorded; None when unknown."""
    found = select(api_keys.c.id, api_keys.c.service, _use_is_due.label("use_is_news"))
    return connection.execute(found.where(api_keys.c.digest == digest, _live)).one_or_none()


def note_use(connection: Connection, key: uuid.UUID) -> None:
    """Record the time of use, once per minute; skipped while another transaction does the same."""
    free = select(api_keys.c.id).where(api_keys.c.id == key, _use_is_due).with_for_update(skip_locked=True)
    connection.execute(
        update(api_keys).where(api_keys.c.id.in_(free.scalar_subquery())).values(last_used_at=func.now())
    )


def make(connection: Connection, service: str, digest: bytes, lease_s: int | None) -> Row[Any] | None:
    """Create a key, in a transaction; None when the service has `MOST_LIVE` live keys already."""
    connection.execute(select(func.pg_advisory_xact_lock(_CREATION)))
    live = select(func.count()).select_from(api_keys).where(api_keys.c.service == service, _live)
    if connection.execute(live).scalar_one() >= MOST_LIVE:
        return None
    ends = None if lease_s is None else func.now() + func.make_interval(0, 0, 0, 0, 0, 0, lease_s)
    row = insert(api_keys).values(id=uuid.uuid4(), service=service, digest=digest, expires_at=ends)
    return connection.execute(row.returning(*_SHOWN)).one()


def revoke(connection: Connection, key: uuid.UUID) -> Row[Any] | None:
    """Revoke the key and return it, None when it does not exist; revoking again changes nothing."""
    revoked_at = func.coalesce(api_keys.c.revoked_at, func.now())
    row = update(api_keys).where(api_keys.c.id == key).values(revoked_at=revoked_at).returning(*_SHOWN)
    return connection.execute(row).one_or_none()


def page(connection: Connection, service: str | None, limit: int, offset: int) -> tuple[list[Row[Any]], int]:
    """One page of keys, oldest first, and their total number."""
    which = [] if service is None else [api_keys.c.service == service]
    total = connection.execute(select(func.count()).select_from(api_keys).where(*which)).scalar_one()
    found = select(*_SHOWN).where(*which).order_by(api_keys.c.created_at, api_keys.c.id)
    return list(connection.execute(found.limit(limit).offset(offset))), int(total)

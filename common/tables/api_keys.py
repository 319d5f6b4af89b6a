"""The keys that services identify themselves with, stored as SHA-256."""

from sqlalchemy import Column, Connection, Index, LargeBinary, Table, Text, Uuid, func, or_, select

from common.tables.schema import Moment, metadata

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
    Index("uq_api_keys_digest", "digest", unique=True),  # whose key is this
    Index("ix_api_keys_service", "service"),
)

_valid = (api_keys.c.revoked_at.is_(None), or_(api_keys.c.expires_at.is_(None), api_keys.c.expires_at > func.now()))


def service_of(connection: Connection, digest: bytes) -> str | None:
    """The service whose key this is, as long as the key is valid."""
    found = select(api_keys.c.service).where(api_keys.c.digest == digest, *_valid)
    service: str | None = connection.execute(found).scalar_one_or_none()
    return service

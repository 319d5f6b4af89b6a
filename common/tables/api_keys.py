"""The keys that services identify themselves with, stored as SHA-256."""

from sqlalchemy import Column, Index, LargeBinary, Table, Text, Uuid, func

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

"""Obstacles to delivery: the reason of the broker, the disk of the spool, queues with other arguments."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_MOMENT = sa.DateTime(timezone=True)
_INGESTORS = (
    sa.Column("broker_reason", sa.Text(), server_default="", nullable=False),
    sa.Column(
        "lanes",
        postgresql.JSONB(),
        server_default=sa.text("'{}'"),
        nullable=False,
        comment="what waits in each for its confirm",
    ),
    sa.Column("disk_trouble", sa.Text(), nullable=True, comment="why the spool takes no events, NULL when it does"),
    sa.Column("disk_since", _MOMENT, nullable=True, comment="since when it does not"),
)
_QUEUES: tuple[sa.Column[Any], ...] = (
    sa.Column("nobody_since", _MOMENT, nullable=True, comment="since when nobody reads it, as far as the ingestor saw"),
    sa.Column(
        "other_arguments",
        sa.Boolean(),
        server_default=sa.text("false"),
        nullable=False,
        comment="than the settings ask for",
    ),
)


def _set_comment(table: str, column: str, words: str, nullable: bool) -> None:
    op.alter_column(table, column, existing_type=sa.Text(), existing_nullable=nullable, comment=words)


def upgrade() -> None:
    _set_comment("ingestors", "role", "leader, standby or left", nullable=False)
    _set_comment(
        "balance_syncs", "outcome", "proven, drift, unconfirmed, empty or failed, once it is done", nullable=True
    )
    for column in _INGESTORS:
        op.add_column("ingestors", column.copy())
    for column in _QUEUES:
        op.add_column("queues", column.copy())


def downgrade() -> None:
    _set_comment("balance_syncs", "outcome", "proven, drift, empty or failed, once it is done", nullable=True)
    _set_comment("ingestors", "role", "leader or standby", nullable=False)
    for column in reversed(_QUEUES):
        op.drop_column("queues", column.name)
    for column in reversed(_INGESTORS):
        op.drop_column("ingestors", column.name)

"""Indexes on changes, so that no statement reads all ended subscriptions."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_ENDED_BY = ["requesting_service", "channel_type", "updated_at"]
_ACTIVE, _ENDED = sa.text("is_active"), sa.text("NOT is_active")

_ANALYZE = "autovacuum_analyze_scale_factor", "autovacuum_analyze_threshold"


def upgrade() -> None:
    op.execute(f"ALTER TABLE subscriptions SET ({_ANALYZE[0]} = 0, {_ANALYZE[1]} = 1000)")
    op.create_index("ix_subscriptions_generation", "subscriptions", ["generation"])
    op.create_index("ix_subscriptions_needed", "subscriptions", ["endpoint", "created_at"], postgresql_where=_ACTIVE)
    op.create_index("ix_subscriptions_active_listed", "subscriptions", ["created_at", "id"], postgresql_where=_ACTIVE)
    op.drop_index("ix_subscriptions_ended", table_name="subscriptions")
    op.create_index("ix_subscriptions_ended", "subscriptions", _ENDED_BY, postgresql_where=_ENDED)
    op.create_index("ix_subscriptions_pruned", "subscriptions", ["updated_at"], postgresql_where=_ENDED)


def downgrade() -> None:
    op.drop_index("ix_subscriptions_pruned", table_name="subscriptions")
    op.drop_index("ix_subscriptions_ended", table_name="subscriptions")
    op.create_index("ix_subscriptions_ended", "subscriptions", _ENDED_BY)
    op.drop_index("ix_subscriptions_active_listed", table_name="subscriptions")
    op.drop_index("ix_subscriptions_needed", table_name="subscriptions")
    op.drop_index("ix_subscriptions_generation", table_name="subscriptions")
    op.execute(f"ALTER TABLE subscriptions RESET ({', '.join(_ANALYZE)})")

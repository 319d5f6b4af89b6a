"""Since when a queue has had a reader, and the roles that there are."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "queues",
        sa.Column(
            "read_since",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="since when it has had a reader, as far as the ingestor saw",
        ),
    )
    _describe_role("leader or left")


def downgrade() -> None:
    _describe_role("leader, standby or left")
    op.drop_column("queues", "read_since")


def _describe_role(comment: str) -> None:
    op.alter_column("ingestors", "role", existing_type=sa.Text(), existing_nullable=False, comment=comment)

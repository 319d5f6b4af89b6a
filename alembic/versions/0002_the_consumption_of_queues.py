"""How fast queues are read, and how old their oldest message is."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("queues", sa.Column("consume_rate", sa.Double(), nullable=True))
    op.add_column(
        "queues",
        sa.Column(
            "oldest_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="when the oldest ready message was published",
        ),
    )


def downgrade() -> None:
    op.drop_column("queues", "oldest_at")
    op.drop_column("queues", "consume_rate")

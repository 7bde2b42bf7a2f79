"""Count messages by topic and bot instance, and store only the head of a message that is too long."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "topic_instances",
        sa.Column("topic", sa.String(256), primary_key=True),
        sa.Column("instance_id", sa.String(128), primary_key=True),
        sa.Column("is_named", sa.Boolean(), nullable=False),
        sa.Column("stored", sa.BigInteger(), nullable=False),
        sa.Column("skipped", sa.BigInteger(), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.add_column("quarantine", sa.Column("head_of", sa.BigInteger()))

"""Store when the broker last answered each collector, and its last problem."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    # A ledger that was restored from parts of a backup may have it.
    if sa.inspect(op.get_bind()).has_table("collectors"):
        return
    op.create_table(
        "collectors",
        sa.Column("collector_id", sa.String(32), primary_key=True),
        sa.Column("endpoints", sa.Text(), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("consumer_group", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_contact_at", sa.DateTime(timezone=True)),
        sa.Column("last_message_at", sa.DateTime(timezone=True)),
        sa.Column("last_trouble", sa.Text()),
        sa.Column("last_trouble_at", sa.DateTime(timezone=True)),
    )

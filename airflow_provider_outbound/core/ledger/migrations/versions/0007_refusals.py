"""Refusals outlive the rows of their groups; turns and leases can be told from those of a clock that was set back."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_table(
        "refusals",
        sa.Column("phone_key", sa.String(32), primary_key=True),
        sa.Column("refused_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.add_column("request_turns", sa.Column("taken_at", sa.DateTime(timezone=True)))
    op.add_column("assignments", sa.Column("lease_seconds", sa.Double()))

"""Processes share a limit of requests per second."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "request_turns",
        sa.Column("name", sa.String(256), primary_key=True),
        sa.Column("free_at", sa.DateTime(timezone=True), nullable=False),
    )

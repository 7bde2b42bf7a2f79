"""Store which contacts a follow-up has processed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "handled",
        sa.Column("job_group_id", sa.String(128), primary_key=True),
        sa.Column("reference_id", sa.String(256), primary_key=True),
        sa.Column("name", sa.String(128), primary_key=True),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("handled_at", sa.DateTime(timezone=True), nullable=False),
    )

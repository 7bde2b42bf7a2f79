"""Store what the API reports about ended jobs beyond their outcome, so that it is requested once."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "details",
        sa.Column("job_group_id", sa.String(128), primary_key=True),
        sa.Column("reference_id", sa.String(256), primary_key=True),
        sa.Column("state", sa.String(64), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("fetched_at", sa.DateTime(timezone=True), nullable=False),
    )

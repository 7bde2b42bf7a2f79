"""A person's jobs are found whatever their group, to count calls."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_index("ix_jobs_phone", "jobs", ["phone_key"], unique=False)

"""A person's jobs are found whatever their group, to count calls; a job of a group without reading the group."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_index("ix_jobs_phone", "jobs", ["phone_key", "job_group_id"], unique=False)
    op.create_index("ix_jobs_job", "jobs", ["job_id", "job_group_id"], unique=False)
    op.drop_index("ix_jobs_group_phone", table_name="jobs")
    op.drop_index("ix_jobs_job_id", table_name="jobs")

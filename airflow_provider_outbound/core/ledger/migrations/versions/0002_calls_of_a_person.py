"""
Find a person's jobs in all groups, to count calls.

A job of a group is found without reading the whole group, and fewer pages are written per contact.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    _index("uq_jobs_phone", ["phone_key", "job_group_id"], unique=True, where="unique_phone")
    _index("ix_jobs_phone", ["phone_key"], where="NOT unique_phone")
    _index("ix_jobs_job", ["job_id", "job_group_id"])
    _index("ix_jobs_open", ["job_group_id"], where="state = 'accepted' AND NOT terminal")
    for name in ("uq_jobs_group_phone", "ix_jobs_group_phone", "ix_jobs_job_id", "ix_jobs_unfinished"):
        op.drop_index(name, table_name="jobs")


def _index(name: str, columns: list[str], *, unique: bool = False, where: str | None = None) -> None:
    condition: dict[str, Any] = (
        {} if where is None else {"sqlite_where": sa.text(where), "postgresql_where": sa.text(where)}
    )
    op.create_index(name, "jobs", columns, unique=unique, **condition)

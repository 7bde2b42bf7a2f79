"""
Store each group's connection and whether it was suspended, for who watches and controls campaigns without a DAG.

A small index answers whether a group has contacts whose status stays unknown.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"

_UNRESOLVED = sa.text("state = 'unresolved'")


def upgrade() -> None:
    # A ledger that was restored from parts of a backup may have some of it.
    found = sa.inspect(op.get_bind())
    known = {column["name"] for column in found.get_columns("job_groups")}
    for column in (sa.Column("conn_id", sa.Text()), sa.Column("suspended_at", sa.DateTime(timezone=True))):
        if column.name not in known:
            op.add_column("job_groups", column)
    if "ix_jobs_unresolved" not in {index["name"] for index in found.get_indexes("jobs")}:
        op.create_index(
            "ix_jobs_unresolved",
            "jobs",
            ["job_group_id"],
            sqlite_where=_UNRESOLVED,
            postgresql_where=_UNRESOLVED,
        )

"""
Keep refusals longer than the rows of their groups, and store an assignment's own strategy for when jobs are resumed.

Request slots and leases that were written before the clock was set back are recognised.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    # A ledger that was restored from parts of a backup may have some of it.
    found = sa.inspect(op.get_bind())
    if not found.has_table("refusals"):
        op.create_table(
            "refusals",
            sa.Column("phone_key", sa.String(32), primary_key=True),
            sa.Column("refused_at", sa.DateTime(timezone=True), nullable=False),
        )
    columns: tuple[tuple[str, sa.Column[Any]], ...] = (
        ("request_turns", sa.Column("taken_at", sa.DateTime(timezone=True))),
        ("assignments", sa.Column("lease_seconds", sa.Double())),
        ("assignments", sa.Column("strategy", sa.Text())),
    )
    for table, column in columns:
        if column.name not in {each["name"] for each in found.get_columns(table)}:
            op.add_column(table, column)

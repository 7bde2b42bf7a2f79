"""Store which result of a query an assignment reads, so that its retry reads the same rows."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    # A ledger that was restored from parts of a backup may have it.
    if "query_result" not in {column["name"] for column in sa.inspect(op.get_bind()).get_columns("assignments")}:
        op.add_column("assignments", sa.Column("query_result", sa.JSON(none_as_null=True)))

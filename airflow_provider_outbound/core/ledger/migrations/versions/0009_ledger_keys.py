"""Keys that rows may be encrypted with are known by name, so that none of them is dropped while it is needed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    # A ledger that was put together from a backup may have it.
    if not sa.inspect(op.get_bind()).has_table("ledger_keys"):
        op.create_table(
            "ledger_keys",
            sa.Column("key_id", sa.String(16), primary_key=True),
            sa.Column("noted_at", sa.DateTime(timezone=True), nullable=False),
            sa.Column("rekey_id", sa.String(32)),
        )

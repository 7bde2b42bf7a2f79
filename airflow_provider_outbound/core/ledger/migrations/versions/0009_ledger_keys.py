"""Store identifiers of the keys that rows may be encrypted with, so that none is dropped while it is needed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    # A ledger that was restored from parts of a backup may have it.
    if not sa.inspect(op.get_bind()).has_table("ledger_keys"):
        op.create_table(
            "ledger_keys",
            sa.Column("key_id", sa.String(16), primary_key=True),
            sa.Column("noted_at", sa.DateTime(timezone=True), nullable=False),
            sa.Column("rekey_id", sa.String(32)),
        )

"""The first ledger."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "calls",
        sa.Column("job_id", sa.String(length=128), nullable=False),
        sa.Column("task_id", sa.String(length=128), nullable=False),
        sa.Column("job_group_id", sa.String(length=128), nullable=False),
        sa.Column("status", sa.String(length=64), nullable=True),
        sa.Column("planned_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("job_id", "task_id"),
    )
    op.create_index(op.f("ix_calls_job_group_id"), "calls", ["job_group_id"], unique=False)
    op.create_table(
        "cursors",
        sa.Column("name", sa.String(length=256), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("moved_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "events",
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("event_type", sa.String(length=64), nullable=False),
        sa.Column("job_group_id", sa.String(length=128), nullable=False),
        sa.Column("job_id", sa.String(length=128), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("topic", sa.String(length=256), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("sequence"),
        sa.UniqueConstraint("hash"),
    )
    op.create_index("ix_events_group", "events", ["job_group_id", "sequence"], unique=False)
    op.create_table(
        "job_groups",
        sa.Column("job_group_id", sa.String(length=128), nullable=False),
        sa.Column("run_key", sa.String(length=32), nullable=True),
        sa.Column("dag_id", sa.Text(), nullable=True),
        sa.Column("run_id", sa.Text(), nullable=True),
        sa.Column("task_id", sa.Text(), nullable=True),
        sa.Column("map_index", sa.Integer(), nullable=True),
        sa.Column("instance_id", sa.String(length=128), nullable=True),
        sa.Column("script_id", sa.String(length=128), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed", sa.BigInteger(), nullable=False),
        sa.Column("look_due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("observed", sa.JSON(), nullable=True),
        sa.Column("purged_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("job_group_id"),
        sa.UniqueConstraint("run_key"),
    )
    op.create_index(op.f("ix_job_groups_changed"), "job_groups", ["changed"], unique=False)
    op.create_table(
        "ledger",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("ledger_id", sa.String(length=32), nullable=False),
        sa.Column("identity_key", sa.LargeBinary(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "quarantine",
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("topic", sa.String(length=256), nullable=True),
        sa.Column("message_id", sa.String(length=256), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("hash"),
    )
    op.create_table(
        "recordings",
        sa.Column("task_id", sa.String(length=128), nullable=False),
        sa.Column("file_name", sa.String(length=512), nullable=False),
        sa.Column("job_group_id", sa.String(length=128), nullable=False),
        sa.Column("job_id", sa.String(length=128), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("task_id", "file_name"),
    )
    op.create_index(op.f("ix_recordings_job_group_id"), "recordings", ["job_group_id"], unique=False)
    op.create_table(
        "assignments",
        sa.Column("assignment_id", sa.String(length=32), nullable=False),
        sa.Column("dag_id", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("task_id", sa.Text(), nullable=False),
        sa.Column("map_index", sa.Integer(), nullable=False),
        sa.Column("job_group_id", sa.String(length=128), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("sealed_count", sa.Integer(), nullable=True),
        sa.Column("owner", sa.String(length=64), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("settle_seconds", sa.Integer(), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_group_id"],
            ["job_groups.job_group_id"],
        ),
        sa.PrimaryKeyConstraint("assignment_id"),
        sa.UniqueConstraint("dag_id", "run_id", "task_id", "map_index", "job_group_id"),
    )
    op.create_index(op.f("ix_assignments_job_group_id"), "assignments", ["job_group_id"], unique=False)
    op.create_table(
        "jobs",
        sa.Column("job_group_id", sa.String(length=128), nullable=False),
        sa.Column("reference_id", sa.String(length=256), nullable=False),
        sa.Column("phone_key", sa.String(length=32), nullable=True),
        sa.Column("unique_phone", sa.Boolean(), nullable=False),
        sa.Column("assignment_id", sa.String(length=32), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("job_id", sa.String(length=128), nullable=True),
        sa.Column("status", sa.String(length=64), nullable=True),
        sa.Column("terminal", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("failure_reason", sa.String(length=64), nullable=True),
        sa.Column("call_status", sa.String(length=64), nullable=True),
        sa.Column("answered", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("status_time", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("status_hash", sa.String(length=64), server_default=sa.text("''"), nullable=False),
        sa.Column("source", sa.String(length=8), nullable=True),
        sa.Column("completions", sa.JSON(), nullable=True),
        sa.Column("contact", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(
            ["assignment_id"],
            ["assignments.assignment_id"],
        ),
        sa.PrimaryKeyConstraint("job_group_id", "reference_id"),
    )
    op.create_index("ix_jobs_assignment", "jobs", ["assignment_id", "state"], unique=False)
    op.create_index(
        "ix_jobs_doubtful",
        "jobs",
        ["job_group_id"],
        unique=False,
        sqlite_where=sa.text("state IN ('sending', 'in_doubt')"),
        postgresql_where=sa.text("state IN ('sending', 'in_doubt')"),
    )
    op.create_index("ix_jobs_group_phone", "jobs", ["job_group_id", "phone_key"], unique=False)
    op.create_index("ix_jobs_job_id", "jobs", ["job_id"], unique=False)
    op.create_index(
        "ix_jobs_unfinished",
        "jobs",
        ["job_group_id", "reference_id"],
        unique=False,
        sqlite_where=sa.text("state = 'accepted' AND NOT terminal"),
        postgresql_where=sa.text("state = 'accepted' AND NOT terminal"),
    )
    op.create_index(
        "uq_jobs_group_phone",
        "jobs",
        ["job_group_id", "phone_key"],
        unique=True,
        sqlite_where=sa.text("unique_phone"),
        postgresql_where=sa.text("unique_phone"),
    )

"""
The ledger's tables.

A change here needs a new file in ``migrations/versions``. It is additive, so that older processes can keep running.
"""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    DateTime,
    Dialect,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    literal_column,
    text,
)
from sqlalchemy.types import TypeDecorator

#: The newest revision in ``migrations/versions``.
REVISION = "0011"


class UtcDateTime(TypeDecorator[datetime]):
    """Aware UTC in Python. SQLite stores no time zone, so it is added again."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


metadata = MetaData()

#: Conditions of the two indexes of numbers, literally: a planner does not recognise them with bound parameters.
UNIQUE_PHONE: ColumnElement[bool] = literal_column("unique_phone")
NOT_UNIQUE_PHONE: ColumnElement[bool] = literal_column("NOT unique_phone")
#: Conditions of the three small indexes, literally for the same reason.
DOUBTFUL: ColumnElement[bool] = literal_column("state IN ('sending', 'in_doubt')")
UNFINISHED: ColumnElement[bool] = literal_column("state = 'accepted' AND NOT terminal")
UNRESOLVED: ColumnElement[bool] = literal_column("state = 'unresolved'")

#: One row: the ledger's identity and the event sequence. Numbers are taken in the writer's own transaction, so that no
#: reader can skip a number that is committed later.
ledger = Table(
    "ledger",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("ledger_id", String(32), nullable=False),
    Column("identity_key", LargeBinary, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)

job_groups = Table(
    "job_groups",
    metadata,
    Column("job_group_id", String(128), primary_key=True),
    Column("run_key", String(32), unique=True),
    Column("dag_id", Text),
    Column("run_id", Text),
    Column("task_id", Text),
    Column("map_index", Integer),
    Column("instance_id", String(128)),
    Column("script_id", String(128)),
    Column("name", Text),
    Column("starts_at", UtcDateTime),
    Column("ends_at", UtcDateTime),
    Column("created_at", UtcDateTime, nullable=False),
    #: The sequence number of the group's last change, which waiting tasks poll.
    Column("changed", BigInteger, nullable=False, index=True),
    #: When the next process may ask the API about the group.
    Column("look_due_at", UtcDateTime),
    #: The result of the last comparison with the API; small. See :class:`~.reconcile_state.ReconcileState`.
    Column("observed", JSON),
    #: When its rows were purged; this row stays, so that the group is not created again.
    Column("purged_at", UtcDateTime),
    #: The Airflow connection of the first task that created the group or assigned to it.
    Column("conn_id", Text),
    #: When this package suspended all its jobs; ``None``: it did not, or resumed them.
    Column("suspended_at", UtcDateTime),
)

assignments = Table(
    "assignments",
    metadata,
    Column("assignment_id", String(32), primary_key=True),
    Column("dag_id", Text, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("task_id", Text, nullable=False),
    Column("map_index", Integer, nullable=False),
    Column("job_group_id", String(128), ForeignKey("job_groups.job_group_id"), nullable=False, index=True),
    Column("state", String(16), nullable=False),
    Column("sealed_count", Integer),
    Column("owner", String(64), nullable=False),
    Column("lease_until", UtcDateTime, nullable=False),
    #: How long the lease was when it was taken or renewed.
    Column("lease_seconds", Double),
    Column("strategy", Text),
    #: Until it is finished: the result of a query that its tries read. See :meth:`.assignments.Assignments.note_query`.
    Column("query_result", JSON(none_as_null=True)),
    Column("settle_seconds", Integer, nullable=False),
    Column("opened_at", UtcDateTime, nullable=False),
    UniqueConstraint("dag_id", "run_id", "task_id", "map_index", "job_group_id"),
)

#: Journal and result in one row: what was sent, and its result.
jobs = Table(
    "jobs",
    metadata,
    Column("job_group_id", String(128), primary_key=True),
    Column("reference_id", String(256), primary_key=True),
    Column("phone_key", String(32)),
    #: Whether no other job of the group may have this number.
    Column("unique_phone", Boolean, nullable=False),
    #: ``None``: assigned by others.
    Column("assignment_id", String(32), ForeignKey("assignments.assignment_id")),
    Column("state", String(16), nullable=False),
    Column("sent_at", UtcDateTime),
    Column("job_id", String(128)),
    Column("status", String(64)),
    Column("terminal", Boolean, nullable=False, server_default=text("false")),
    Column("failure_reason", String(64)),
    Column("call_status", String(64)),
    Column("answered", Boolean, nullable=False, server_default=text("false")),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("started_at", UtcDateTime),
    Column("ended_at", UtcDateTime),
    #: Epoch milliseconds and hash of the message that the status comes from: the greater pair wins.
    Column("status_time", BigInteger, nullable=False, server_default=text("0")),
    Column("status_hash", String(64), nullable=False, server_default=text("''")),
    #: message or api.
    Column("source", String(8)),
    #: Identities of the completions seen; their number is the revision.
    Column("completions", JSON),
    Column("contact", LargeBinary),
    # The more selective column first: a planner without statistics would search by the group alone, and read it all.
    # A person's rows are in one of two indexes, because each further index means another page to write per contact.
    Index(
        "uq_jobs_phone",
        "phone_key",
        "job_group_id",
        unique=True,
        sqlite_where=text("unique_phone"),
        postgresql_where=text("unique_phone"),
    ),
    Index(
        "ix_jobs_phone",
        "phone_key",
        sqlite_where=text("NOT unique_phone"),
        postgresql_where=text("NOT unique_phone"),
    ),
    Index("ix_jobs_job", "job_id", "job_group_id"),
    Index("ix_jobs_assignment", "assignment_id", "state"),
    # Small indexes answer "is anything still open or unknown?" at the same cost for ten jobs and for ten million.
    Index(
        "ix_jobs_doubtful",
        "job_group_id",
        sqlite_where=text("state IN ('sending', 'in_doubt')"),
        postgresql_where=text("state IN ('sending', 'in_doubt')"),
    ),
    Index(
        "ix_jobs_open",
        "job_group_id",
        sqlite_where=text("state = 'accepted' AND NOT terminal"),
        postgresql_where=text("state = 'accepted' AND NOT terminal"),
    ),
    Index(
        "ix_jobs_unresolved",
        "job_group_id",
        sqlite_where=text("state = 'unresolved'"),
        postgresql_where=text("state = 'unresolved'"),
    ),
)

calls = Table(
    "calls",
    metadata,
    Column("job_id", String(128), primary_key=True),
    Column("task_id", String(128), primary_key=True),
    Column("job_group_id", String(128), nullable=False, index=True),
    Column("status", String(64)),
    Column("planned_at", UtcDateTime),
    Column("started_at", UtcDateTime),
    Column("ended_at", UtcDateTime),
    #: The task as published, encrypted because it holds both numbers.
    Column("body", LargeBinary),
)

recordings = Table(
    "recordings",
    metadata,
    Column("task_id", String(128), primary_key=True),
    Column("file_name", String(512), primary_key=True),
    Column("job_group_id", String(128), nullable=False, index=True),
    Column("job_id", String(128), nullable=False),
    Column("body", LargeBinary),
    Column("recorded_at", UtcDateTime, nullable=False),
)

#: What the API reported about an ended job beyond its outcome: a copy, requested again if it is missing or outdated.
details = Table(
    "details",
    metadata,
    Column("job_group_id", String(128), primary_key=True),
    Column("reference_id", String(256), primary_key=True),
    #: Identifies what was known about the job at that time; if that has changed, the row is void.
    Column("state", String(64), nullable=False),
    #: Encrypted, because a tag may hold what the person said.
    Column("body", LargeBinary, nullable=False),
    Column("fetched_at", UtcDateTime, nullable=False),
)

#: The log that event triggers read. Its rows are not counted as results: a message may come twice with different times.
events = Table(
    "events",
    metadata,
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("hash", String(64), nullable=False, unique=True),
    Column("event_type", String(64), nullable=False),
    Column("job_group_id", String(128), nullable=False),
    Column("job_id", String(128), nullable=False),
    Column("occurred_at", UtcDateTime),
    Column("recorded_at", UtcDateTime, nullable=False),
    Column("topic", String(256)),
    Column("body", LargeBinary, nullable=False),
    Index("ix_events_group", "job_group_id", "sequence"),
)

#: The number of messages by topic and bot instance, which shows whether several share a topic. Bounded.
topic_instances = Table(
    "topic_instances",
    metadata,
    Column("topic", String(256), primary_key=True),
    #: Empty: messages that name no instance, and those of instances beyond the bound.
    Column("instance_id", String(128), primary_key=True),
    #: Whether the connection named it when its last message arrived.
    Column("is_named", Boolean, nullable=False),
    #: Messages stored, and messages acknowledged and not stored; repeats count.
    Column("stored", BigInteger, nullable=False),
    Column("skipped", BigInteger, nullable=False),
    Column("last_at", UtcDateTime, nullable=False),
)

#: Messages that could not be read.
quarantine = Table(
    "quarantine",
    metadata,
    Column("hash", String(64), primary_key=True),
    Column("topic", String(256)),
    Column("message_id", String(256)),
    Column("reason", Text, nullable=False),
    Column("recorded_at", UtcDateTime, nullable=False),
    Column("body", LargeBinary, nullable=False),
    #: If the body is only the head of the message: the number of bytes delivered.
    Column("head_of", BigInteger),
)

#: The position of each reader of the event log.
cursors = Table(
    "cursors",
    metadata,
    Column("name", String(256), primary_key=True),
    Column("sequence", BigInteger, nullable=False),
    Column("moved_at", UtcDateTime, nullable=False),
)

#: When the next request may be sent, for each connection with a rate limit.
request_turns = Table(
    "request_turns",
    metadata,
    Column("name", String(256), primary_key=True),
    #: When the first free slot begins.
    Column("free_at", UtcDateTime, nullable=False),
    #: When the last slots were reserved. A clock with an earlier time was set back since.
    Column("taken_at", UtcDateTime),
)

#: The jobs that a follow-up has processed, by the follow-up's name.
handled = Table(
    "handled",
    metadata,
    Column("job_group_id", String(128), primary_key=True),
    Column("reference_id", String(256), primary_key=True),
    Column("name", String(128), primary_key=True),
    #: The job's revision at that time.
    Column("revision", Integer, nullable=False),
    Column("handled_at", UtcDateTime, nullable=False),
)

#: Persons who must not be contacted, kept even if the rows that they follow from are deleted, until withdrawn by name.
refusals = Table(
    "refusals",
    metadata,
    Column("phone_key", String(32), primary_key=True),
    Column("refused_at", UtcDateTime, nullable=False),
)

#: Processes that collect messages. Each updates its row while it runs. All times are by the ledger's clock.
collectors = Table(
    "collectors",
    metadata,
    #: Random, different for each process.
    Column("collector_id", String(32), primary_key=True),
    #: The subscription: transport and addresses as ``grpc://HOST:PORT;HOST:PORT``, topic and consumer group.
    Column("endpoints", Text, nullable=False),
    Column("topic", Text, nullable=False),
    Column("consumer_group", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("pid", BigInteger, nullable=False),
    Column("started_at", UtcDateTime, nullable=False),
    #: When the row was last written.
    Column("seen_at", UtcDateTime, nullable=False),
    #: When the broker last answered, with messages or without.
    Column("last_contact_at", UtcDateTime),
    Column("last_message_at", UtcDateTime),
    #: Why messages did not arrive, as the collector reported it, and when that was last so.
    Column("last_trouble", Text),
    Column("last_trouble_at", UtcDateTime),
)

#: Identifiers of keys that rows may be encrypted with: those of every writer, until a rekey finds them unused.
ledger_keys = Table(
    "ledger_keys",
    metadata,
    Column("key_id", String(16), primary_key=True),
    Column("noted_at", UtcDateTime, nullable=False),
    #: The rekey that checks whether the key is still in use; a writer that uses the key clears this.
    Column("rekey_id", String(32)),
)

#: All encrypted columns. Encryption returns bytes, and nothing else is stored as bytes.
ENCRYPTED: tuple[Column[bytes], ...] = tuple(
    column for table in metadata.sorted_tables for column in table.c if isinstance(column.type, LargeBinary)
)

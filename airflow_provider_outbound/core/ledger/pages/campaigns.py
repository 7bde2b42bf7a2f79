"""Job groups as campaigns: who started them, and whether anything is still open."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime

import attrs
from sqlalchemy import Connection, exists, not_, or_, select

from airflow_provider_outbound.core.ledger import schema
from airflow_provider_outbound.core.ledger.call_counts import NEVER_DIALLED
from airflow_provider_outbound.core.ledger.reconcile_state import ReconcileState
from airflow_provider_outbound.core.ledger.records import OPEN, JobState, TaskKey

_groups, _jobs, _assignments = schema.job_groups.c, schema.jobs.c, schema.assignments.c
_HERE = _jobs.job_group_id == _groups.job_group_id
_ASSIGNED = exists().where(_assignments.job_group_id == _groups.job_group_id)
# The conditions of the partial indexes, literally: a planner does not recognise them with bound parameters.
_CAMPAIGNS = select(
    *(
        _groups[name]
        for name in (
            "job_group_id",
            "run_key",
            "dag_id",
            "run_id",
            "task_id",
            "map_index",
            "instance_id",
            "name",
            "starts_at",
            "ends_at",
            "created_at",
            "changed",
            "observed",
            "conn_id",
            "suspended_at",
        )
    ),
    exists().where(_HERE, _jobs.state != JobState.REFUSED).label("has_jobs"),
    exists().where(_HERE, schema.DOUBTFUL).label("has_doubt"),
    exists().where(_HERE, schema.UNFINISHED).label("has_unfinished"),
    exists().where(_HERE, schema.UNRESOLVED).label("has_unresolved"),
    # The first condition ends the search in a campaign that has just begun.
    or_(
        exists().where(_HERE, schema.UNFINISHED),
        exists().where(_HERE, _jobs.started_at.is_not(None), not_(NEVER_DIALLED)),
    ).label("may_have_dialled"),
).where(_groups.purged_at.is_(None), or_(_groups.run_key.is_not(None), _ASSIGNED, exists().where(_HERE)))
_TASKS = select(
    _assignments.job_group_id,
    _assignments.dag_id,
    _assignments.run_id,
    _assignments.task_id,
    _assignments.map_index,
    _assignments.state,
).order_by(_assignments.opened_at, _assignments.assignment_id)


@attrs.frozen(kw_only=True)
class Campaign:
    """A job group, its tasks and what is open."""

    job_group_id: str
    #: The task that created it; ``None``: it was created by others.
    creator: TaskKey | None
    #: The tasks that assigned to it, in the order in which they began.
    assigners: tuple[TaskKey, ...]
    instance_id: str | None
    name: str | None
    starts_at: datetime | None
    ends_at: datetime | None
    created_at: datetime
    #: The sequence number of its last change.
    changed: int
    conn_id: str | None
    suspended_at: datetime | None
    reconcile_state: ReconcileState
    is_assigning: bool
    has_jobs: bool
    #: Whether the status of some requests is not known yet.
    has_doubt: bool
    has_unfinished: bool
    has_unresolved: bool
    #: Whether a call began, or may still begin.
    may_have_dialled: bool

    @property
    def tasks(self) -> tuple[TaskKey, ...]:
        """The task that created it, and those that assigned to it."""
        return (() if self.creator is None else (self.creator,)) + self.assigners

    @property
    def dag_ids(self) -> frozenset[str]:
        """The DAGs of its tasks."""
        return frozenset(task.dag_id for task in self.tasks)

    @property
    def is_active(self) -> bool:
        """Whether jobs may still be added or called."""
        return self.is_assigning or self.has_doubt or self.has_unfinished


def read_campaigns(connection: Connection) -> list[Campaign]:
    """Read all groups that are not purged, and that have a task or a job."""
    tasks: dict[str, list[TaskKey]] = defaultdict(list)
    assigning: set[str] = set()
    for row in connection.execute(_TASKS):
        tasks[row.job_group_id].append(TaskKey(row.dag_id, row.run_id, row.task_id, row.map_index))
        if row.state == OPEN:
            assigning.add(row.job_group_id)
    return [
        Campaign(
            job_group_id=row.job_group_id,
            creator=None if row.dag_id is None else TaskKey(row.dag_id, row.run_id, row.task_id, row.map_index),
            assigners=tuple(tasks[row.job_group_id]),
            instance_id=row.instance_id,
            name=row.name,
            starts_at=row.starts_at,
            ends_at=row.ends_at,
            created_at=row.created_at,
            changed=row.changed,
            conn_id=row.conn_id,
            suspended_at=row.suspended_at,
            reconcile_state=ReconcileState.from_json(row.observed),
            is_assigning=row.job_group_id in assigning,
            has_jobs=bool(row.has_jobs),
            has_doubt=bool(row.has_doubt),
            has_unfinished=bool(row.has_unfinished),
            has_unresolved=bool(row.has_unresolved),
            may_have_dialled=bool(row.may_have_dialled),
        )
        for row in connection.execute(_CAMPAIGNS)
    ]

"""Campaigns in a ledger, written by the ledger's own methods as tasks and collectors write them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from airflow_provider_outbound.core.ledger import Candidate, JobGroupRecord, Ledger, Outcomes, TaskKey
from airflow_provider_outbound.core.models.contact import Contact
from airflow_provider_outbound.core.models.enums import CallStatus, FailureReason, JobStatus
from airflow_provider_outbound.core.models.job import Call, Job
from airflow_provider_outbound.core.models.phone import normalise

#: Ways in which a job may stand: its status, failure reason, and the statuses of its calls.
ANSWERED = ("Succeeded", None, ("SucceededFinish",))
ANSWERED_LATE = ("Succeeded", None, ("NoAnswer", "SucceededFinish"))
UNANSWERED = ("Failed", "NoAnswer", ("NoAnswer", "Busy"))
BLOCKED = ("Failed", "ContactBlockList", ())
CALL_FAILED = ("Failed", "CallFailed", ("Failed",))
ON_THE_LINE = ("Executing", None, ("Executing",))
WAITING = ("Scheduling", None, ())
#: Accepted, and nothing was reported yet.
SILENT = (None, None, ())

#: Users of Airflow's simple auth manager, each with the rights of those before.
ROLES = ("viewer", "user", "op", "admin")

Standing = tuple[str | None, str | None, tuple[str, ...]]


def task(dag_id: str = "campaign", run_id: str = "run", task_id: str = "create", map_index: int = -1) -> TaskKey:
    """A task."""
    return TaskKey(dag_id, run_id, task_id, map_index)


def seed(
    ledger: Ledger,
    group_id: str,
    standings: Sequence[Standing],
    *,
    task: TaskKey | None = None,
    name: str | None = None,
    conn_id: str | None = "outboundbot_default",
    first_number: int = 13800000000,
    called_at: datetime | None = None,
    unresolved: int = 0,
    closes: bool = True,
    prefix: str = "",
) -> list[str]:
    """
    Make a campaign with one person for each standing.

    :param task: The task that created it and assigned to it; ``None``: it is known from a listing only.
    :param unresolved: The number of further people whose status stays unknown.
    :param closes: Whether the task has finished assigning.
    :param prefix: How reference ids begin; empty: with the group's id.
    :return: The reference ids of its jobs.
    """
    numbers = [normalise(str(first_number + index)) for index in range(len(standings) + unresolved)]
    references = [f"{prefix or group_id}-{index:04d}" for index in range(len(numbers))]
    if task is not None:
        candidates = [
            Candidate(
                reference_id=reference,
                phone_key=ledger.identity.phone_key(number.e164),
                contact=Contact(phone=number, name="张三"),
            )
            for number, reference in zip(numbers, references, strict=True)
        ]
        record = JobGroupRecord(
            job_group_id=group_id, run_key=task.run_key, task_key=task, instance_id="instance", name=name
        )
        ledger.groups.record(record)
        assignment = ledger.assignments.open(task, group_id, owner="test", lease_seconds=60, settle_seconds=1)
        if candidates:
            ledger.journal.begin(assignment, candidates, dedupe_by="phone")
            ledger.journal.record_outcomes(assignment, Outcomes(accepted=references[: len(standings)]))
            ledger.journal.mark_unresolved(assignment, references[len(standings) :])
        if closes:
            ledger.assignments.close(assignment, len(standings))
    if conn_id is not None:
        ledger.groups.note_connection(group_id, conn_id)
    began = called_at or datetime.now(UTC) - timedelta(minutes=5)
    jobs = [
        _job(group_id, reference, number.e164, standing, began + timedelta(seconds=7 * index))
        for index, (reference, number, standing) in enumerate(zip(references, numbers, standings, strict=False))
        if standing is not SILENT
    ]
    ledger.results.record_listing(group_id, jobs)
    return references


def _job(group_id: str, reference: str, number: str, standing: Standing, began: datetime) -> Job:
    status, reason, calls = standing
    return Job(
        job_id=f"job-{reference}",
        job_group_id=group_id,
        status=JobStatus.parse(status),
        failure_reason=FailureReason.parse(reason),
        reference_id=reference,
        phone_number=number,
        calls=tuple(
            Call(
                task_id=f"task-{reference}-{index}",
                status=CallStatus.parse(call),
                started_at=began + index * timedelta(seconds=90),
                ended_at=None if call == "Executing" else began + index * timedelta(seconds=90) + timedelta(seconds=30),
                calling_number="057112345678",
                called_number=number,
                raw={"TaskId": f"task-{index}", "CallingNumber": "057112345678", "CalledNumber": number},
            )
            for index, call in enumerate(calls)
        ),
    )

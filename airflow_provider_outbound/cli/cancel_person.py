"""``outbound person --cancel``: cancel the jobs of one person, in all job groups."""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from airflow_provider_outbound.cli.connections import Connections, is_under_way, is_unused, waited_for
from airflow_provider_outbound.cli.gone import does_not_exist
from airflow_provider_outbound.cli.options import quiet_logs
from airflow_provider_outbound.cli.sweep import Sweep, undisturbed
from airflow_provider_outbound.core.models.words import count_of
from airflow_provider_outbound.exceptions import LedgerError, OutboundBotError

if TYPE_CHECKING:
    from airflow_provider_outbound.core.client import OutboundBotClient
    from airflow_provider_outbound.core.control import JobCommand
    from airflow_provider_outbound.core.ledger import JobGroupRecord, Ledger, PersonJob
    from airflow_provider_outbound.core.models.job import Job

#: How often the service is asked whether a cancellation has taken effect, and the time between (seconds).
_TRIES, _PAUSE = 5, 1.0
_REMEMBERED = (
    "the ledger remembers the refusal: second rounds and follow-ups (contacts_from, follow_up) leave this person out"
    " until: outbound ledger allow"
)
_NEXT = (
    "Put the number on the do-not-call list of every task that reads a list (exclude, exclude_path): those without it"
    " call this person again"
)


def open_jobs(ledger: Ledger, e164: str) -> dict[str, list[PersonJob]]:
    """
    The jobs of a person that may still be dialled, by job group.

    :param e164: The person's number.
    """
    from airflow_provider_outbound.core.control import is_over
    from airflow_provider_outbound.core.ledger import JobState

    found: dict[str, list[PersonJob]] = defaultdict(list)
    for job in ledger.persons.jobs(e164):
        group = job.result.job_group_id
        # A job whose status is unknown may still be dialled.
        has_ended = job.result.status is not None and job.result.status.is_terminal
        if job.state is not JobState.REFUSED and not has_ended and not is_over(ledger.groups.state(group)):
            found[group].append(job)
    return found


def cancel_jobs(ledger: Ledger, e164: str, jobs: dict[str, list[PersonJob]], named: str | None) -> int:
    """
    Cancel a person's jobs through the connections of their groups, record the refusal, and print what happened.

    :param e164: The person's number.
    :param jobs: By job group.
    :param named: The connection for all groups; ``None``: the one of each.
    :return: The exit code: 0 only if none of them is dialled any more, and no task may add the person again.
    """
    if not jobs and is_unused(ledger):
        return 1
    with undisturbed(), quiet_logs(), Connections(named, "person") as connections:
        # First, so that a second round that begins meanwhile leaves the person out.
        code = _remember(ledger, e164)
        if jobs:
            sweep = Sweep(
                action="cancel",
                group_ids=sorted(jobs),
                may_be_gone=lambda group: connections.is_own(_record(ledger, group)),
            )
            code = sweep.run(lambda group: _cancel(connections, ledger, group, jobs[group])) or code
        else:
            _tell_that_nothing_is_under_way(ledger, e164)
        others = waited_for(ledger) + _incomplete(connections, ledger)
    print(_NEXT)
    if assigning := _assigning(ledger):
        print(
            f"outbound: tasks are assigning to {', '.join(assigning)} and may add this person: run this command again"
            " once they have ended",
            file=sys.stderr,
        )
    if others:
        print(
            f"outbound: whether this person is in {', '.join(others)} is not known: others assigned to these job"
            " groups, the ledger was restored since, or the service does not answer",
            file=sys.stderr,
        )
    return 1 if assigning or others else code


def _tell_that_nothing_is_under_way(ledger: Ledger, e164: str) -> None:
    from airflow_provider_outbound.core.models.phone import mask

    print(f"no job of {mask(e164)} is under way")
    if not ledger.persons.jobs(e164):
        print(
            f"outbound: this ledger has no job of {mask(e164)}, not even an ended one: check the number. If it was"
            " mistyped, take the refusal back with: outbound ledger allow",
            file=sys.stderr,
        )


def _remember(ledger: Ledger, e164: str) -> int:
    """Record the refusal, and return the exit code: a ledger that cannot be written must not keep phones ringing."""
    try:
        ledger.follow_ups.refuse([ledger.identity.phone_key(e164)])
    except LedgerError as error:
        print(f"outbound: the refusal was not recorded: {error}. Run this command again", file=sys.stderr)
        return 1
    print(_REMEMBERED)
    return 0


def _assigning(ledger: Ledger) -> list[str]:
    """The job groups to which tasks may still add somebody."""
    states = ((record.job_group_id, ledger.groups.state(record.job_group_id)) for record in ledger.groups.list_all())
    return [group for group, state in states if state.open_assignments and not state.is_cancelled]


def _incomplete(connections: Connections, ledger: Ledger) -> list[str]:
    """The job groups under way of which the service has more jobs than the ledger, or does not say."""
    found = []
    for record in ledger.groups.list_all():
        if not is_under_way(ledger, record):
            continue
        try:
            group = connections.of(record).client.describe_job_group(
                job_group_id=record.job_group_id, instance_id=record.instance_id, urgent=True
            )
            progress = group.progress
            is_complete = progress is not None and not ledger.results.lacks_jobs(record.job_group_id, progress.total)
        except OutboundBotError as error:
            # One that was deleted calls nobody.
            is_complete = does_not_exist(error) and connections.is_own(record)
        if not is_complete:
            found.append(record.job_group_id)
    return found


def _record(ledger: Ledger, group: str) -> JobGroupRecord:
    from airflow_provider_outbound.core.ledger import JobGroupRecord

    return ledger.groups.get(group) or JobGroupRecord(job_group_id=group)


def _cancel(connections: Connections, ledger: Ledger, group: str, jobs: Sequence[PersonJob]) -> dict[str, int]:
    from airflow_provider_outbound.core.control import Action, JobCommand
    from airflow_provider_outbound.core.ledger import JobState
    from airflow_provider_outbound.core.models.enums import JobStatus

    record = _record(ledger, group)
    client = connections.of(record).client
    command = JobCommand(
        action=Action.CANCEL,
        job_group_id=group,
        instance_id=record.instance_id,
        job_ids=tuple(job.result.job_id for job in jobs if job.result.job_id),
        reference_ids=tuple(job.result.reference_id for job in jobs if not job.result.job_id),
    )
    command.send(client, lambda: ledger)
    try:
        command = command.by_job_id(client, lambda: ledger)
    except OutboundBotError as error:
        if error.is_transient or all(job.state is JobState.ACCEPTED for job in jobs):
            raise
        raise OutboundBotError(
            "it is not known yet whether this person is in the job group, and a task may still add them: run this"
            " command again in a few minutes"
        ) from error
    listed = _wait(client, command)
    # Known at once, so that the person can be erased without waiting for a sensor.
    ledger.results.record_listing(group, listed)
    statuses = [job.status for job in listed]
    cancelled, on_the_line = statuses.count(JobStatus.CANCELLED), statuses.count(JobStatus.EXECUTING)
    return {"cancelled": cancelled, "on the line": on_the_line, "ended before": len(statuses) - cancelled - on_the_line}


def _wait(client: OutboundBotClient, command: JobCommand) -> Sequence[Job]:
    """
    Return the jobs of a command once the service lists none of them as waiting.

    :raises OutboundBotError: it does not within some seconds.
    """
    from airflow_provider_outbound.core.models.enums import JobStatus

    for left in reversed(range(_TRIES)):
        listed = client.list_jobs(job_ids=command.job_ids, instance_id=command.instance_id)
        ended = [job for job in listed if job.status not in (JobStatus.SCHEDULING, JobStatus.PAUSED)]
        if len(ended) >= len(command.job_ids):
            return listed
        if left:
            time.sleep(_PAUSE)
    waiting = count_of(len(command.job_ids) - len(ended), "job is", "jobs are")
    raise OutboundBotError(f"{waiting} not listed as cancelled yet; run this command again")

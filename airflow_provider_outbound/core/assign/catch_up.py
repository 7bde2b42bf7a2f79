"""Before contacts are assigned to a group, update the ledger with the jobs that the group already has."""

from __future__ import annotations

import logging
import time

from airflow_provider_outbound.core.assign.groups import ledger_of
from airflow_provider_outbound.core.models.enums import JobGroupStatus
from airflow_provider_outbound.core.models.job import JobGroup, Progress
from airflow_provider_outbound.core.reconcile import GroupReader, Lease
from airflow_provider_outbound.exceptions import OutboundBotAnswerError, OutboundBotConfigError

#: The number of incomplete scans of a group after which the task gives up.
_INCOMPLETE_SCANS = 5
#: Seconds between two scans of a group that was listed incompletely.
_RESCAN_PAUSE = 0.5

log = logging.getLogger(__name__)


def catch_up(reader: GroupReader, lease: Lease, *, settle_seconds: float, by_phone: bool) -> JobGroup:
    """
    Read a group's jobs if the service has more of them than the ledger, or if another ledger created the group. In the
    second case, first wait ``settle_seconds``, until the service lists the last jobs that the other ledger sent.

    :param by_phone: Whether jobs are matched by their numbers.
    :raises OutboundBotConfigError: another ledger's jobs cannot be matched, because their numbers are masked.
    :raises OutboundBotAnswerError: the service does not list the complete group.
    """
    ledger, group_id = reader.ledger, reader.job_group_id
    group = reader.describe()
    creator = ledger_of(group.description)
    is_ours = creator in (None, reader.ledger.ledger_id)
    if creator is not None:
        _note_stop(reader, group)
    if not is_ours:
        _wait_for_listing(group_id, lease, settle_seconds)
    elif group.progress is not None and group.progress.total <= ledger.results.counts(group_id).total:
        return group
    log.info("Job group %s may have jobs that are not in the ledger; reading them", group_id)
    _scan_whole(reader, group if is_ours else None, lease)
    if not is_ours and by_phone and ledger.journal.has_nameless_jobs(group_id):
        raise OutboundBotConfigError(
            f"job_group_id: job group {group_id} has jobs of another ledger whose numbers the service"
            " masks, so they cannot be compared with these contacts; use the ledger that assigned"
            " them. Another job group would call people of this one again. Nobody was called"
        )
    return group


def _note_stop(reader: GroupReader, group: JobGroup) -> None:
    """
    Record that a group was stopped, if the ledger does not know: it was restored since, or somebody used the console.

    A group that the service shows as cancelled was. Otherwise its jobs tell, if the ledger lacks some of them: it was
    restored, or is a new one. Only for a group that a task of this package created, because others may cancel some
    jobs of a group and add more.
    """
    ledger, group_id = reader.ledger, reader.job_group_id
    found = group.progress or Progress()
    is_cancelled = group.status == JobGroupStatus.CANCELLED
    if not is_cancelled and (found.scheduling or not (found.cancelled or found.paused)):
        return
    if ledger.groups.state(group_id).is_cancelled:
        return
    if not is_cancelled and not ledger.results.lacks_jobs(group_id, found.total):
        return
    what = "suspended" if found.paused else "cancelled"
    log.warning(
        "Job group %s: %d of its %d jobs are %s, none waits, and the ledger does not know who stopped them. So the"
        " group counts as %s",
        group_id,
        found.paused or found.cancelled,
        found.total,
        what,
        what,
    )
    if found.paused:
        ledger.groups.note_suspended(group_id, suspended=True)
    else:
        ledger.groups.note_cancelled(group_id)


def _scan_whole(reader: GroupReader, group: JobGroup | None, lease: Lease) -> None:
    """
    Scan until a listing is complete.

    :param group: If given, it is enough that the ledger has as many rows as the group had jobs: while other tasks of
        the ledger add jobs, a listing may never be complete.
    """
    for scan in range(_INCOMPLETE_SCANS):
        if scan:
            lease.check()
            time.sleep(_RESCAN_PAUSE)
        if reader.scan():
            return
        if group is None or group.progress is None:
            continue
        if not reader.ledger.results.lacks_jobs(reader.job_group_id, group.progress.total):
            return
    raise OutboundBotAnswerError(
        "ListJobsByGroup",
        "IncompleteListing",
        f"the service does not list the complete job group {reader.job_group_id}, so it is unknown who was assigned"
        " to it; clear this task later. Nobody was called",
    )


def _wait_for_listing(job_group_id: str, lease: Lease, settle_seconds: float) -> None:
    log.warning(
        "Job group %s was filled by another ledger; waiting %g s until the service lists all of its jobs",
        job_group_id,
        settle_seconds,
    )
    until = time.monotonic() + settle_seconds
    while (left := until - time.monotonic()) > 0:
        lease.check()
        time.sleep(min(left, 1.0))

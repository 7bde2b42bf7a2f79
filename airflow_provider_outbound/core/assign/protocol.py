"""One task's assignment of contacts to one group, from opening to closing it."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import ExitStack, closing
from functools import partial

from airflow_provider_outbound.core.assign.catch_up import catch_up
from airflow_provider_outbound.core.assign.dispatcher import BatchDispatcher, Request
from airflow_provider_outbound.core.assign.earlier import EarlierContacts
from airflow_provider_outbound.core.assign.left_out import LeaveOut, left_out_late
from airflow_provider_outbound.core.assign.options import AssignOptions
from airflow_provider_outbound.core.assign.reading import open_screening, warn_of_forgotten_calls
from airflow_provider_outbound.core.assign.results import (
    AssignResult,
    Preflight,
    log_left_out,
    warn_of_cancellation,
    warn_of_missing_references,
)
from airflow_provider_outbound.core.assign.takeover import LeftContacts, settle_others
from airflow_provider_outbound.core.client import OutboundBotClient
from airflow_provider_outbound.core.contacts import ContactSource
from airflow_provider_outbound.core.ledger import Assignment, Candidate, CandidateStatus, Ledger, TaskKey
from airflow_provider_outbound.core.models.job import JobGroup
from airflow_provider_outbound.core.models.words import count_of
from airflow_provider_outbound.core.reconcile import LEASE_SECONDS, GroupReader, Lease, own_name, settle
from airflow_provider_outbound.exceptions import (
    NOBODY_WAS_CALLED,
    AssignmentUnresolvedError,
    JobGroupPurgedError,
    LeaseHeldError,
    LeaseLostError,
    LedgerError,
    OutboundBotContactsError,
    OutboundBotError,
    OutboundBotWrongTimeError,
    StoppedError,
    before_calling,
    end_with,
)

#: Raises if this group may not call anybody now.
Guard = Callable[[JobGroup], None]

log = logging.getLogger(__name__)


def preflight(
    ledger: Ledger, key: TaskKey, job_group_id: str, source: ContactSource, options: AssignOptions
) -> Preflight:
    """
    Read a complete source as :func:`assign` would, and send nothing.

    :raises OutboundBotContactsError: a row is not a contact and ``on_invalid`` is ``fail``; names the first few.
    """
    if not source.is_repeatable:
        raise OutboundBotContactsError("contacts: an iterator can be read only once; pass a list, or a file by path")
    assignment = Assignment(
        assignment_id=key.assignment_id(job_group_id),
        job_group_id=job_group_id,
        owner="",
        reopened=False,
        was_closed=False,
    )
    with ExitStack() as stack:
        screening = open_screening(ledger, assignment, source, options, stack, strict=False)
        with before_calling():
            statuses = Counter(status for _, status in screening)
    rejected = screening.left_out.counts["rejected"]
    if rejected and options.on_invalid == "fail":
        raise OutboundBotContactsError(
            f"{rejected} of {screening.read} contacts cannot be used: {screening.left_out.summary_of_rejects()}; "
            'fix them, or pass on_invalid="skip". Nobody was called'
        )
    pending = statuses[CandidateStatus.FRESH] + statuses[CandidateStatus.DOUBT] + statuses[CandidateStatus.LEFT]
    if options.on_unresolved == "resend":
        pending += statuses[CandidateStatus.UNRESOLVED]
    return Preflight.of(screening, valid=statuses.total(), pending=pending)


def assign(
    client: OutboundBotClient,
    ledger: Ledger,
    key: TaskKey,
    source: ContactSource,
    *,
    request: Request,
    options: AssignOptions,
    guard: Guard,
    before_sending: Callable[[JobGroup, int | None], None] = lambda _group, _people: None,
) -> AssignResult:
    """
    Assign every contact of a source to a group, at most once, whatever happened in earlier tries.

    On failure the assignment stays open, and the next call continues where this one stopped. If there will be no next
    call, :func:`abandon` the assignment, so that nothing waits for it.

    :param key: The task; its tries share one assignment.
    :param guard: Called with the group before each batch, from several threads; raises if the group may not call
        anybody now.
    :param before_sending: Called once before anything is sent, with the group and the number of contacts that are not
        in it yet, or ``None`` if the source is not read in advance; raises if nobody may be called.
    :raises OutboundBotContactsError: a row is not a contact and ``on_invalid`` is ``fail``.
    :raises OutboundBotWrongTimeError: the time to call was over before everybody was assigned.
    :raises OutboundBotApiError: the API refused a request, or gave no usable answer too often in a row.
    :raises OutboundBotTransportError: too many requests in a row had no answer.
    :raises AssignmentUnresolvedError: contacts that were sent again were not accepted; the next call will try again.
    :raises StoppedError: all jobs of the group were suspended or cancelled.
    :raises JobGroupPurgedError: the ledger's rows of the group were purged; nothing was sent.
    :raises LeaseLostError: another process took over.
    """
    warn_of_forgotten_calls(ledger, options)
    checked = _check_first(ledger, key, request.job_group_id, source, options)
    lease = _take_lease(client, ledger, key, request, options)
    with lease:
        try:
            if request.strategy_json is not None:
                ledger.assignments.note_strategy(lease.assignment, request.strategy_json)
            pending = None if checked is None else checked.pending
            run = _start(
                client, ledger, lease, source, request, options, guard, lambda group: before_sending(group, pending)
            )
            # If all contacts are in the group already, the source need not be read again.
            result = run.run(checked if checked is not None and not checked.pending else None)
        except BaseException:
            lease.give_back()
            raise
        ledger.assignments.close(lease.assignment, result.assigned)
    return result


def _take_lease(
    client: OutboundBotClient, ledger: Ledger, key: TaskKey, request: Request, options: AssignOptions
) -> Lease:
    request_seconds = client.settings.connect_timeout + client.settings.read_timeout
    return Lease.take(
        ledger,
        key,
        request.job_group_id,
        settle_seconds=options.settle_seconds,
        seconds=max(options.lease_seconds, 2 * request_seconds),
        request_seconds=request_seconds,
    )


def _check_first(
    ledger: Ledger, key: TaskKey, job_group_id: str, source: ContactSource, options: AssignOptions
) -> Preflight | None:
    """Check the complete source before anything is sent, if its rejects are errors and it can be read twice."""
    if options.on_invalid != "fail":
        return None
    if source.is_repeatable:
        return preflight(ledger, key, job_group_id, source, options)
    log.warning(
        "Job group %s: these contacts can be read only once, so they are not checked before the first is assigned; a "
        "row that is not a contact will stop the task part-way",
        job_group_id,
    )
    return None


def abandon(ledger: Ledger, key: TaskKey, job_group_id: str, *, settle_seconds: float) -> None:
    """Give up a task's assignment, so that nothing waits for it. Does nothing while another process works on it."""
    try:
        assignment = ledger.assignments.open(
            key, job_group_id, owner=own_name(), lease_seconds=LEASE_SECONDS, settle_seconds=settle_seconds
        )
        ledger.assignments.abandon(assignment)
    except (JobGroupPurgedError, LeaseHeldError, LeaseLostError) as error:
        log.warning(
            "Job group %s: the assignment stays open until 15 minutes after the end of its lease: %s",
            job_group_id,
            error,
        )


def _start(
    client: OutboundBotClient,
    ledger: Ledger,
    lease: Lease,
    source: ContactSource,
    request: Request,
    options: AssignOptions,
    guard: Guard,
    before_sending: Callable[[JobGroup], None],
) -> _Run:
    """Learn who is in the group already, and whether more people may be called."""
    before, _ = ledger.journal.count_settled(lease.assignment)
    since = ledger.now()  # the previous holder may have sent until its lease ended
    reader = GroupReader(
        client=client, ledger=ledger, job_group_id=request.job_group_id, instance_id=request.instance_id
    )
    group = catch_up(reader, lease, settle_seconds=options.settle_seconds, by_phone=options.dedupe_by == "phone")
    before_sending(group)
    dispatcher = BatchDispatcher(
        client=client,
        ledger=ledger,
        lease=lease,
        request=request,
        options=options,
        guard=partial(guard, group),
        since=since,
    )
    return _Run(ledger, lease, source, options, reader, dispatcher, before)


class _Run:
    def __init__(
        self,
        ledger: Ledger,
        lease: Lease,
        source: ContactSource,
        options: AssignOptions,
        reader: GroupReader,
        dispatcher: BatchDispatcher,
        before: int,
    ) -> None:
        self._ledger = ledger
        self._lease = lease
        self._source = source
        self._options = options
        self._reader = reader
        self._dispatcher = dispatcher
        #: The number of contacts that earlier tries assigned.
        self._before = before
        self._earlier = EarlierContacts(ledger, lease.assignment, options.dedupe_by)
        #: Whether contacts were taken over that this task has not searched for yet.
        self._has_adopted = False
        #: Whether the service listed the complete group, so that who is not listed could be sent again.
        self._was_listed = True

    def run(self, checked: Preflight | None) -> AssignResult:
        ledger, assignment = self._ledger, self._lease.assignment
        settle_others(self._reader, self._lease)
        may_resend = True
        if assignment.reopened and ledger.journal.unresolved(assignment):
            # Those of an earlier try may have appeared since.
            may_resend = self._reader.scan()
        must_read = self._earlier.exist or ledger.takeovers.has_left(assignment)
        found = self._send() if checked is None or must_read else checked
        found = self._settle(found, may_resend=may_resend)
        if died := settle_others(self._reader, self._lease):
            found = self._take_over_late(found, died)
        assigned, unresolved = ledger.journal.count_settled(assignment)
        path = self._options.rejects_path
        result = AssignResult(
            job_group_id=assignment.job_group_id,
            read=found.read,
            assigned=assigned,
            newly_assigned=max(0, assigned - self._before),
            duplicates=found.duplicates,
            excluded=found.excluded,
            capped=found.capped,
            rejected=found.rejected,
            unresolved=unresolved,
            rejects_path=None if path is None else str(path),
        )
        self._report(result, found)
        return result

    def _report(self, result: AssignResult, found: Preflight) -> None:
        if found.not_allowed:
            log.warning(
                "%s left out: they are not among the connection's allowed_phone_numbers",
                count_of(found.not_allowed, "contact was", "contacts were"),
            )
        log_left_out(found, result)
        warn_of_cancellation(self._ledger, result)
        warn_of_missing_references(found, self._source)
        if found.rejected:
            log.warning(
                "Job group %s: %d of %d rows are not contacts and were left out: %s",
                *(result.job_group_id, found.rejected, found.read, found.rejects),
            )
            if found.rejected == found.read and not result.assigned:
                reasons = "pass rejects_path to see" if result.rejects_path is None else "see rejects_path for"
                raise OutboundBotContactsError(
                    f"contacts: all {found.read} rows were rejected; check the columns and the encoding, and {reasons}"
                    " the reasons. Nobody was called"
                )
        if not result.unresolved:
            return
        if self._options.on_unresolved == "resend":
            raise AssignmentUnresolvedError(
                f"job group {result.job_group_id}: {result}. The service gave no usable answer for the unresolved"
                " contacts and does not list them; a retry of this task sends them again, on_unresolved='hold' does not"
                if self._was_listed
                else f"job group {result.job_group_id}: {result}. The service never listed the complete group, so"
                " no unresolved contact was sent again; clear this task later"
            )
        log.error(
            "Job group %s: %s unresolved: it is unknown whether they will be called; the sensor's on_unresolved_jobs"
            " decides whether the campaign may end so",
            result.job_group_id,
            count_of(result.unresolved, "contact is", "contacts are"),
        )

    def _take_over_late(self, found: Preflight, died: list[TaskKey]) -> Preflight:
        """Take over contacts of tasks that died while this one worked."""
        if not self._ledger.takeovers.has_left(self._lease.assignment):
            return found
        if not self._source.is_repeatable:
            names = ", ".join(map(str, died))
            raise AssignmentUnresolvedError(
                f"job group {self._lease.assignment.job_group_id}: another task ended without finishing and left"
                f" contacts unresolved, perhaps some of these; clear {names}, or this task"
            )
        return self._settle(self._send(), may_resend=True)

    def _send(self) -> Preflight:
        """Read the source, send new contacts, and take over those that other tasks left."""
        strict = self._options.on_invalid == "fail"
        with ExitStack() as stack:
            screening = open_screening(
                self._ledger, self._lease.assignment, self._source, self._options, stack, strict=strict
            )
            leave_out = screening.left_out.add
            left = LeftContacts(self._ledger, self._lease.assignment, self._options, leave_out)
            # If sending fails, reading must end here: its temporary file belongs to this thread.
            contacts = stack.enter_context(closing(iter(screening)))
            self._dispatch(left.without(self._earlier.note(contacts)), leave_out)
        self._has_adopted = left.adopted > 0
        return Preflight.of(screening, valid=screening.fresh, pending=0)

    def _dispatch(self, candidates: Iterable[Candidate], leave_out: LeaveOut) -> None:
        """Send contacts. If that fails part-way, say how many were assigned before."""
        try:
            self._dispatcher.send(candidates, leave_out)
        except OutboundBotContactsError as error:
            advice = ". Once cleared, this task continues, and assigns nobody twice"
            raise OutboundBotContactsError(end_with(str(error), self._what_was_sent(advice))) from None
        except (OutboundBotWrongTimeError, StoppedError) as error:
            raise type(error)(end_with(str(error), self._what_was_sent())) from None
        except LedgerError:
            raise
        except OutboundBotError:
            log.error(  # noqa: TRY400 - the error is raised
                "Job group %s: %s", self._lease.assignment.job_group_id, self._what_was_sent()
            )
            raise

    def _what_was_sent(self, advice: str = "") -> str:
        """Return the end of an error that came while contacts were sent."""
        journal, assignment = self._ledger.journal, self._lease.assignment
        assigned, unresolved = journal.count_settled(assignment)
        uncertain = unresolved + len(journal.in_doubt(assignment))
        # Read back from the service: a restored ledger does not know which task assigned them.
        read_back = self._ledger.results.counts(assignment.job_group_id).foreign
        if not assigned and not uncertain and not read_back:
            return NOBODY_WAS_CALLED
        before = ", earlier tries included" if self._before else ""
        doubt = f", and {uncertain} more may be" if uncertain else ""
        doubt += f", and {count_of(read_back, 'job')} in the group may be of this list too" if read_back else ""
        told = count_of(assigned, "contact is", "contacts are")
        return f"{told} assigned already{before}{doubt}; the others are not{advice}"

    def _settle(self, found: Preflight, *, may_resend: bool) -> Preflight:
        """
        Settle contacts in doubt, send those that never arrived once more, and settle these.

        :return: What the source had, with the contacts that were not sent again, because of the call cap for example.
        """
        ledger, assignment = self._ledger, self._lease.assignment
        is_certain = self._settle_once() and may_resend
        if self._has_adopted:
            # Another task settled those some time ago, perhaps from an incomplete listing.
            is_certain = self._reader.scan() and is_certain
        self._was_listed = is_certain
        absent = ledger.journal.unresolved(assignment)
        if not absent or self._options.on_unresolved == "hold":
            return found
        if not is_certain:
            log.error("Job group %s: no listing of it was complete; nobody is sent again", assignment.job_group_id)
            return found
        absent = self._earlier.withdraw_unwanted(absent)
        if not absent:
            return found
        again = count_of(len(absent), "contact")
        log.info("Job group %s: sending %s again that never arrived", assignment.job_group_id, again)
        with left_out_late(self._options.rejects_path) as late:
            self._dispatch(self._earlier.candidates(absent), late.add)
        self._settle_once()
        return found.with_late(late)

    def _settle_once(self) -> bool:
        settled = settle(
            self._reader,
            self._lease,
            since=self._dispatcher.doubt_since,
            settle_seconds=self._options.settle_seconds,
        )
        if settled.absent:
            self._ledger.journal.mark_unresolved(self._lease.assignment, settled.absent)
        return settled.is_certain

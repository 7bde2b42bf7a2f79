"""The assignment of one task to one group, from its opening to its seal."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from typing import Any, Literal

import attrs
from attrs.validators import optional

from airflow_provider_outbound.core.assign.intake import DedupeBy, Identify, Intake, RejectsFile
from airflow_provider_outbound.core.assign.lease import LEASE_SECONDS, Lease, own_name
from airflow_provider_outbound.core.assign.scan import GroupReader, settle
from airflow_provider_outbound.core.assign.sender import Request, Sender
from airflow_provider_outbound.core.client import MAX_JOBS_PER_REQUEST, OutboundBotClient
from airflow_provider_outbound.core.contacts import ContactSource, PathLike
from airflow_provider_outbound.core.ledger import Assignment, CallCap, Candidate, Ledger, Standing, TaskKey
from airflow_provider_outbound.core.models.contact import Contact
from airflow_provider_outbound.core.models.job import JobGroup
from airflow_provider_outbound.exceptions import (
    JobGroupPurgedError,
    LeaseHeldError,
    LeaseLostError,
    OutboundBotConfigError,
    OutboundBotContactsError,
)

#: Raises if nobody may be called (any more) by this group.
Guard = Callable[[JobGroup], None]

log = logging.getLogger(__name__)


def _within(least: float, most: float, *, whole: bool = False) -> Callable[[Any, attrs.Attribute[Any], Any], None]:
    def check(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
        kinds = (int,) if whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds) or not least <= value <= most:
            kind = "a whole number" if whole else "a number"
            raise OutboundBotConfigError(f"{attribute.name}: {value!r} is not {kind} from {least:g} to {most:g}")

    return check


def _one_of(*words: str) -> Callable[[Any, attrs.Attribute[Any], Any], None]:
    def check(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
        if value not in words:
            raise OutboundBotConfigError(f"{attribute.name}: {value!r} is none of {', '.join(map(repr, words))}")

    return check


@attrs.frozen(kw_only=True)
class AssignOptions:
    """
    How to assign.

    :param dedupe_by: What must not be twice in the group: the number, or the caller's reference id.
    :param on_invalid: ``fail``: read the whole source before sending, and send nothing if a row is no contact;
        ``skip``: leave such rows out.
    :param batch_size: Contacts in one request.
    :param max_parallel_requests: Requests at a time, at most.
    :param settle_seconds: How long after a request without an answer its jobs may still appear in the group.
    :param on_unresolved: What to do with contacts that did not appear: ``resend``, or ``hold`` and report them.
    :param excluded: Numbers that must not be called, E.164.
    :param allowed: If not ``None``, nobody else is called; E.164.
    :param max_jobs: Most contacts that this assignment brings into the group; ``None`` for any number.
    :param cap: How often one person may be called.
    :param rejects_path: Where to write the rows that are no contacts, numbers masked.
    :param lease_seconds: How long the assignment stays taken after the process died.
    :raises OutboundBotConfigError: a value is out of range.
    """

    dedupe_by: DedupeBy = attrs.field(default="phone", validator=_one_of("phone", "reference_id"))
    on_invalid: Literal["fail", "skip"] = attrs.field(default="fail", validator=_one_of("fail", "skip"))
    batch_size: int = attrs.field(default=25, validator=_within(1, MAX_JOBS_PER_REQUEST, whole=True))
    max_parallel_requests: int = attrs.field(default=8, validator=_within(1, 64, whole=True))
    settle_seconds: float = attrs.field(default=120.0, validator=_within(0, 3600))
    on_unresolved: Literal["resend", "hold"] = attrs.field(default="resend", validator=_one_of("resend", "hold"))
    excluded: frozenset[str] = attrs.field(default=frozenset(), repr=False)
    allowed: frozenset[str] | None = attrs.field(default=None, repr=False)
    max_jobs: int | None = attrs.field(default=None, validator=optional(_within(1, 1_000_000_000, whole=True)))
    cap: CallCap | None = None
    rejects_path: PathLike | None = None
    lease_seconds: float = LEASE_SECONDS


@attrs.frozen(kw_only=True)
class AssignResult:
    """What an assignment came to. ``read`` is the sum of what is now in the group, left out, or unresolved."""

    job_group_id: str
    read: int
    #: Now in the group by this assignment, earlier tries included.
    assigned: int
    newly_assigned: int
    duplicates: int
    excluded: int
    #: Left out because of ``max_jobs``, or because their persons have had their calls.
    capped: int
    rejected: int
    #: Contacts whose fate could not be established.
    unresolved: int
    rejects_path: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """As a task returns it."""
        return attrs.asdict(self)


@attrs.frozen(kw_only=True)
class Survey:
    """A source, read and checked; nothing was sent."""

    read: int
    valid: int
    #: Those of the valid ones that have yet to come into the group, or may have to.
    pending: int
    duplicates: int
    excluded: int
    #: Those of the excluded ones that are not among the connection's ``allowed_phone_numbers``.
    not_allowed: int
    capped: int
    rejected: int

    @classmethod
    def of(cls, intake: Intake, *, valid: int, pending: int) -> Survey:
        """What an intake counted."""
        return cls(
            read=intake.read,
            valid=valid,
            pending=pending,
            duplicates=intake.duplicates,
            excluded=intake.excluded,
            not_allowed=intake.not_allowed,
            capped=intake.capped,
            rejected=intake.rejected,
        )


def survey(ledger: Ledger, key: TaskKey, job_group_id: str, source: ContactSource, options: AssignOptions) -> Survey:
    """
    Read a whole source as :func:`assign` would, and send nothing.

    :raises OutboundBotContactsError: a row is no contact and ``on_invalid`` is ``fail``; names the first few.
    """
    if not source.is_repeatable:
        raise OutboundBotContactsError("contacts: an iterator can be read only once; pass a list, or a file by path")
    assignment = Assignment(
        assignment_id=key.assignment_id(job_group_id),
        job_group_id=job_group_id,
        owner="",
        reopened=False,
        was_sealed=False,
    )
    with ExitStack() as stack:
        intake = _intake(ledger, assignment, source, options, stack, strict=False)
        try:
            standings = Counter(standing for _, standing in intake)
        except OutboundBotContactsError as error:
            raise OutboundBotContactsError(f"{error}. Nobody was called") from None
    if intake.rejected and options.on_invalid == "fail":
        raise OutboundBotContactsError(
            f"{intake.rejected} of {intake.read} contacts cannot be used: {intake.summary_of_rejects()}. "
            'Nobody was called. Mend them, or pass on_invalid="skip"'
        )
    pending = standings[Standing.FRESH] + standings[Standing.DOUBT]
    return Survey.of(intake, valid=standings.total(), pending=pending)


def assign(
    client: OutboundBotClient,
    ledger: Ledger,
    key: TaskKey,
    source: ContactSource,
    *,
    request: Request,
    options: AssignOptions,
    guard: Guard,
) -> AssignResult:
    """
    Bring every contact of a source into a group, at most once, whatever happened in earlier tries.

    On failure the assignment stays open: the next call goes on where this one stopped. If there will be none,
    :func:`abandon` it, so that nobody waits for it.

    :param key: The task; its tries share one assignment.
    :param guard: Called with the group before each batch, from several threads; raises if nobody may be called (any
        more).
    :raises OutboundBotContactsError: a row is no contact and ``on_invalid`` is ``fail``.
    :raises OutboundBotApiError: the API refused for good.
    :raises JobGroupPurgedError: the ledger's rows of the group were purged; nothing was sent.
    :raises LeaseLostError: another process took over.
    """
    _tell_of_forgotten_calls(ledger, options)
    surveyed: Survey | None = None
    if options.on_invalid == "fail":
        if source.is_repeatable:
            surveyed = survey(ledger, key, request.job_group_id, source, options)
        else:
            log.warning(
                "Job group %s: these contacts can be read only once, so they are not checked before the first is "
                "assigned: a row that is no contact will stop the task in the middle",
                request.job_group_id,
            )
    request_seconds = client.settings.connect_timeout + client.settings.read_timeout
    lease = Lease.take(
        ledger,
        key,
        request.job_group_id,
        settle_seconds=options.settle_seconds,
        seconds=max(options.lease_seconds, 2 * request_seconds),
        request_seconds=request_seconds,
    )
    with lease:
        try:
            run = _Run(client, ledger, lease, source, request, options, guard)
            # What is all in the group need not be read a second time.
            result = run.run(surveyed if surveyed is not None and not surveyed.pending else None)
        except BaseException:
            lease.give_back()
            raise
        ledger.jobs.seal(lease.assignment, result.assigned)
    return result


def _tell_of_forgotten_calls(ledger: Ledger, options: AssignOptions) -> None:
    """A cap counts what the ledger remembers: that it remembers less than the author's period must not go unsaid."""
    if options.cap is None:
        return
    forgotten = ledger.retention.forgotten_since(ledger.now() - options.cap.period)
    if forgotten:
        log.warning(
            "max_calls_per_contact: the calls of %d job groups within its period were purged from the ledger and are "
            "not counted; keep rows for longer than the period ([outbound] retention_days)",
            forgotten,
        )


def abandon(ledger: Ledger, key: TaskKey, job_group_id: str, *, settle_seconds: float) -> None:
    """Give a task's assignment up: nobody waits for more of it. Does nothing while another process works on it."""
    try:
        assignment = ledger.jobs.open_assignment(
            key, job_group_id, owner=own_name(), lease_seconds=LEASE_SECONDS, settle_seconds=settle_seconds
        )
        ledger.jobs.abandon(assignment)
    except (JobGroupPurgedError, LeaseHeldError, LeaseLostError) as error:
        log.warning("Job group %s: the assignment stays open: %s", job_group_id, error)


class _Run:
    def __init__(
        self,
        client: OutboundBotClient,
        ledger: Ledger,
        lease: Lease,
        source: ContactSource,
        request: Request,
        options: AssignOptions,
        guard: Guard,
    ) -> None:
        self._ledger = ledger
        self._lease = lease
        self._source = source
        self._options = options
        self._author_guard = guard
        self._group: JobGroup | None = None
        self._reader = GroupReader(
            client=client, ledger=ledger, job_group_id=request.job_group_id, instance_id=request.instance_id
        )
        self._sender = Sender(
            client=client,
            ledger=ledger,
            lease=lease,
            request=request,
            batch_size=options.batch_size,
            max_parallel_requests=options.max_parallel_requests,
            dedupe_by=options.dedupe_by,
            cap=options.cap,
            guard=self._guard,
            # Whoever had the lease before may have sent until it ended.
            since=ledger.now(),
        )

    def run(self, surveyed: Survey | None) -> AssignResult:
        jobs, assignment = self._ledger.jobs, self._lease.assignment
        before = jobs.count_in_group(assignment)
        self._group = self._reader.reconcile()
        may_resend = True
        if assignment.reopened and jobs.unresolved(assignment):
            # Those of an earlier try may have come up since.
            may_resend = self._reader.scan()
        found = surveyed or self._send()
        self._settle(may_resend=may_resend)
        assigned, unresolved = jobs.count_in_group(assignment), len(jobs.unresolved(assignment))
        if found.not_allowed:
            log.warning(
                "%d contacts were left out: they are not among the connection's allowed_phone_numbers",
                found.not_allowed,
            )
        if unresolved:
            log.error(
                "Job group %s: %d contacts are unresolved: whether they will be called could not be established",
                assignment.job_group_id,
                unresolved,
            )
        path = self._options.rejects_path
        return AssignResult(
            job_group_id=assignment.job_group_id,
            read=found.read,
            assigned=assigned,
            newly_assigned=max(0, assigned - before),
            duplicates=found.duplicates + self._sender.lost_races,
            excluded=found.excluded,
            capped=found.capped + self._sender.capped,
            rejected=found.rejected,
            unresolved=unresolved,
            rejects_path=None if path is None else str(path),
        )

    def _send(self) -> Survey:
        strict = self._options.on_invalid == "fail"
        with ExitStack() as stack:
            intake = _intake(self._ledger, self._lease.assignment, self._source, self._options, stack, strict=strict)
            # Should sending fail, reading ends here and now: what it keeps in a file belongs to this thread.
            contacts = stack.enter_context(closing(iter(intake)))
            try:
                self._sender.send(candidate for candidate, standing in contacts if standing is Standing.FRESH)
            except OutboundBotContactsError as error:
                raise OutboundBotContactsError(f"{error}. {self._what_was_sent()}") from None
        return Survey.of(intake, valid=intake.fresh, pending=0)

    def _what_was_sent(self) -> str:
        jobs, assignment = self._ledger.jobs, self._lease.assignment
        assigned, unresolved = jobs.count_in_group(assignment), len(jobs.unresolved(assignment))
        if not assigned and not unresolved:
            return "Nobody was called"
        doubt = f", and {unresolved} more may be" if unresolved else ""
        return (
            f"{assigned} contacts read before it are assigned already{doubt}; whoever is read after it is not. "
            "Fix the source and run again: that continues, and assigns nobody a second time"
        )

    def _guard(self) -> None:
        if self._group is not None:
            self._author_guard(self._group)

    def _settle(self, *, may_resend: bool) -> None:
        """Settle doubt; send once more what never arrived; settle what that left."""
        jobs, assignment = self._ledger.jobs, self._lease.assignment
        is_certain = self._settle_once() and may_resend
        absent = jobs.unresolved(assignment)
        if not absent or self._options.on_unresolved == "hold":
            return
        if not is_certain:
            log.error("Job group %s: the service never listed it whole; nobody is sent again", assignment.job_group_id)
            return
        log.info("Job group %s: sending %d contacts again that never arrived", assignment.job_group_id, len(absent))
        self._sender.send(_stored(self._ledger, assignment, absent))
        self._settle_once()

    def _settle_once(self) -> bool:
        return settle(
            self._reader,
            self._lease,
            since=self._sender.doubt_since,
            settle_seconds=self._options.settle_seconds,
        )


def _stored(ledger: Ledger, assignment: Assignment, references: list[str]) -> Iterator[Candidate]:
    for start in range(0, len(references), MAX_JOBS_PER_REQUEST):
        yield from ledger.jobs.stored_candidates(assignment, references[start : start + MAX_JOBS_PER_REQUEST])


def _intake(
    ledger: Ledger,
    assignment: Assignment,
    source: ContactSource,
    options: AssignOptions,
    stack: ExitStack,
    *,
    strict: bool,
) -> Intake:
    held = 0 if options.max_jobs is None else ledger.jobs.count_held(assignment)
    # In a group without any row all are fresh; should another task fill it meanwhile, the journal sees to that.
    is_known = options.cap is not None or ledger.jobs.has_jobs(assignment.job_group_id)

    def classify(candidates: Sequence[Candidate]) -> list[Standing]:
        return ledger.jobs.classify(assignment, candidates, dedupe_by=options.dedupe_by, cap=options.cap)

    rejects = None if options.rejects_path is None else stack.enter_context(RejectsFile(options.rejects_path))
    return Intake(
        source,
        identify=_identify(ledger),
        classify=classify if is_known else None,
        dedupe_by=options.dedupe_by,
        excluded=options.excluded,
        allowed=options.allowed,
        rejects=rejects,
        most=None if options.max_jobs is None else max(0, options.max_jobs - held),
        strict=strict,
    )


def _identify(ledger: Ledger) -> Identify:
    identity = ledger.identity

    def identify(contact: Contact) -> Candidate:
        e164 = contact.phone.e164
        return Candidate(
            reference_id=contact.reference_id or identity.reference_id(e164),
            phone_key=identity.phone_key(e164),
            contact=contact,
        )

    return identify

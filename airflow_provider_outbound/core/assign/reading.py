"""Read the contacts of an assignment: those of its source, screened, and those of its journal."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

from airflow_provider_outbound.core.assign.left_out import LeftOut, RejectsFile
from airflow_provider_outbound.core.assign.options import AssignOptions
from airflow_provider_outbound.core.assign.screening import ContactScreening, Identify
from airflow_provider_outbound.core.client import MAX_JOBS_PER_REQUEST
from airflow_provider_outbound.core.contacts import ContactSource
from airflow_provider_outbound.core.ledger import Assignment, Candidate, CandidateStatus, Ledger
from airflow_provider_outbound.core.models.contact import Contact
from airflow_provider_outbound.core.models.phone import mask
from airflow_provider_outbound.core.models.words import count_of
from airflow_provider_outbound.exceptions import OutboundBotContactsError

log = logging.getLogger(__name__)


def open_screening(
    ledger: Ledger,
    assignment: Assignment,
    source: ContactSource,
    options: AssignOptions,
    stack: ExitStack,
    *,
    strict: bool,
) -> ContactScreening:
    """
    Return the screening of a source for an assignment.

    :param stack: Closes the file of those who are left out.
    :param strict: Whether the first reject is an error.
    """
    held = 0 if options.max_jobs is None else ledger.journal.count_held(assignment)
    others = frozenset(ledger.assignments.other_instances(assignment))
    # In a group without rows all are fresh. If another task adds rows meanwhile, the journal detects it.
    is_known = options.cap is not None or bool(others) or ledger.journal.has_jobs(assignment.job_group_id)

    def classify(candidates: Sequence[Candidate]) -> list[CandidateStatus]:
        statuses = ledger.journal.classify(assignment, candidates, dedupe_by=options.dedupe_by, cap=options.cap)
        if others:
            fresh = [one for one, status in zip(candidates, statuses, strict=True) if status is CandidateStatus.FRESH]
            _refuse_others(ledger, others, fresh, options)
        return statuses

    file = None if options.rejects_path is None else stack.enter_context(RejectsFile(options.rejects_path))
    return ContactScreening(
        source,
        identify=_identify(ledger),
        classify=classify if is_known else None,
        dedupe_by=options.dedupe_by,
        excluded=options.excluded,
        allowed=options.allowed,
        left_out=LeftOut(file),
        most=None if options.max_jobs is None else max(0, options.max_jobs - held),
        strict=strict,
    )


def _refuse_others(ledger: Ledger, others: frozenset[str], fresh: Sequence[Candidate], options: AssignOptions) -> None:
    """
    Refuse contacts of another instance of this mapped task that are new to this one, which had finished before.

    When the task that returned the lists is cleared, it may return them in another order. Each instance has its own
    group, so everybody would be called by two of them.
    """
    found = ledger.assignments.contacts_of(others, [one.phone_key for one in fresh])
    by_phone = options.dedupe_by == "phone"
    phones = {phone_key for phone_key, _ in found}
    moved = [
        one for one in fresh if (one.phone_key in phones if by_phone else (one.phone_key, one.reference_id) in found)
    ]
    if moved:
        raise OutboundBotContactsError(
            f"contacts: another instance of this mapped task has assigned {mask(moved[0].contact.phone.e164)} in this"
            " DAG run, and this instance, which had finished before, would call them once more. The task that returns"
            " the lists may have returned them in another order: let it sort them (ORDER BY) and clear it again. A new"
            " DAG run would call the complete lists again, unless max_calls_per_contact leaves people out"
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


def stored_candidates(ledger: Ledger, assignment: Assignment, references: Sequence[str]) -> Iterator[Candidate]:
    """Yield contacts of the journal that are to be sent again."""
    for start in range(0, len(references), MAX_JOBS_PER_REQUEST):
        yield from ledger.journal.stored_candidates(assignment, references[start : start + MAX_JOBS_PER_REQUEST])


def warn_of_forgotten_calls(ledger: Ledger, options: AssignOptions) -> None:
    """Warn if calls within the cap's period were purged from the ledger, so that the cap cannot count them."""
    if options.cap is None:
        return
    forgotten = ledger.retention.forgotten_since(ledger.now() - options.cap.period)
    if forgotten:
        log.warning(
            "max_calls_per_contact: the calls of %s within its period were purged from the ledger and are "
            "not counted; keep rows for longer than the period ([outbound] retention_days)",
            count_of(forgotten, "job group"),
        )

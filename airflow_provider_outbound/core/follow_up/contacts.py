"""Uses the results of one job group as the contacts of another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from airflow_provider_outbound.core.contacts import ContactSource, Reject
from airflow_provider_outbound.core.follow_up.foreign import ListJobs, unconfirmed
from airflow_provider_outbound.core.follow_up.rows import ended_jobs
from airflow_provider_outbound.core.models.contact import Contact
from airflow_provider_outbound.core.models.phone import DIGEST, holds_number, mask, normalise

if TYPE_CHECKING:
    from airflow_provider_outbound.core.ledger import JobResult, Ledger

_UNCONFIRMED = (
    "this ledger did not assign its job, and the service does not list it in the group: a message that names it may be"
    " forged, or of another bot instance"
)


def from_results(
    open_ledger: Callable[[], AbstractContextManager[Ledger]],
    job_group_id: str,
    only: str | None,
    list_jobs: ListJobs | None = None,
) -> ContactSource:
    """
    Return the contacts of a group's ended jobs, with the names, extras and reference ids that they had there.

    Contacts whom the ledger knows to be on a block list are left out, whatever ``only`` is.

    :param open_ledger: Opens the ledger for one read; it is closed after that.
    :param only: As in :func:`~airflow_provider_outbound.core.follow_up.follow_up`.
    :param list_jobs: Asks the API for jobs that this ledger did not assign. Those that it does not confirm are rejects.
        ``None``: they are used unchecked.
    """
    return ContactSource([_Results(open_ledger, job_group_id, only, list_jobs)])


class _Results:
    label = "contacts_from"
    name = ""
    is_repeatable = True

    def __init__(
        self,
        open_ledger: Callable[[], AbstractContextManager[Ledger]],
        job_group_id: str,
        only: str | None,
        list_jobs: ListJobs | None,
    ) -> None:
        self._open_ledger = open_ledger
        self._job_group_id = job_group_id
        self._only = only
        self._list_jobs = list_jobs
        self._is_told = False

    def __iter__(self) -> Iterator[tuple[int, Contact | Reject]]:
        row = 0
        with self._open_ledger() as ledger:
            pages = ended_jobs(ledger, self._job_group_id, self._only, to_call=True, is_told=self._is_told)
            for page in pages:
                doubtful = unconfirmed(page, self._list_jobs) if self._list_jobs else ()
                for row, result in enumerate(page, start=row + 1):  # noqa: B020 - counted over all pages
                    if result.is_forgotten:
                        # There is nobody left to call.
                        continue
                    if result.reference_id in doubtful:
                        yield row, Reject(row=row, number=mask(result.phone_number or ""), reason=_UNCONFIRMED)
                    else:
                        yield row, _contact(row, result)
        self._is_told = True


def _contact(row: int, result: JobResult) -> Contact | Reject:
    try:
        phone = normalise(result.phone_number)
    except ValueError as error:
        reason = str(error) if result.decrypted else "its contact cannot be decrypted; is a key missing in ledger_key?"
        return Reject(row=row, number=mask(result.phone_number or ""), reason=reason)
    # Other programs may have assigned jobs under ids that contain a number; older ledgers have them unchanged.
    is_number = result.reference_id.startswith(DIGEST) or holds_number(result.reference_id)
    return Contact(
        phone=phone,
        name=result.name,
        honorific=result.honorific,
        role=result.role,
        reference_id=None if is_number else result.reference_id,
        extras=result.extras,
    )

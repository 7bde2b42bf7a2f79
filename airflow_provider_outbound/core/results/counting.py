"""Counts of exported rows, of tags, and the funnel of a campaign."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_outbound.core.models.enums import NOT_DIALLED_CALL_STATUSES, CallStatus, Outcome
from airflow_provider_outbound.core.models.phone import redact
from airflow_provider_outbound.core.models.words import count_of
from airflow_provider_outbound.core.results.filters import lacks_details

if TYPE_CHECKING:
    from airflow_provider_outbound.core.ledger import JobResult, Ledger

log = logging.getLogger(__name__)

#: A tag with more values than this, or with a longer one, holds what people said: its values are not counted.
MAX_TAG_VALUES, MAX_TAG_LENGTH = 20, 40
#: Tags counted at most; a script has few.
MAX_TAGS = 100


class Funnel:
    """How far the people of a campaign came: dialled → answered → reached the end of the flow → have a tag."""

    def __init__(self) -> None:
        self._counts = dict.fromkeys(("dialled", "answered", "finished", "tagged"), 0)
        self._is_known = True

    def add(self, result: JobResult) -> None:
        """Count one job."""
        if not result.has_ended:
            return
        self._counts["dialled"] += result.attempts > 0 and result.outcome is not Outcome.NOT_DIALLED
        if not result.answered:
            return
        self._counts["answered"] += 1
        if result.details is None:
            self._is_known = self._is_known and not lacks_details(result)
            return
        finished = result.call_status is CallStatus.SUCCEEDED_FINISH
        self._counts["finished"] += finished or result.details.conversation_end == "FINISHED"
        self._counts["tagged"] += bool(result.details.tags)

    def counts(self) -> dict[str, int] | None:
        """Return the counts; ``None`` if nobody answered, or details of somebody who did were not fetched."""
        return dict(self._counts) if self._is_known and self._counts["answered"] else None


class RowCounter:
    """Counts what is exported."""

    def __init__(self) -> None:
        self._rows: Counter[str] = Counter()
        self._funnel: Funnel | None = None
        self._unreadable = 0

    def jobs(self, results: Iterator[JobResult]) -> Iterator[JobResult]:
        """Count jobs while they are exported."""
        self._funnel = Funnel()
        for result in results:
            self._rows[str(result.outcome) if result.has_ended else "open"] += 1
            self._funnel.add(result)
            self._unreadable += not result.decrypted
            yield result

    def calls(self, rows: Iterator[tuple[JobResult, dict[str, Any]]]) -> Iterator[dict[str, Any]]:
        """Count calls while they are exported."""
        for result, row in rows:
            self._rows[_call_outcome(row["status"])] += 1
            self._unreadable += not result.decrypted and row["attempt"] == 1
            yield row

    def summary(self) -> dict[str, Any]:
        """Return the numbers of rows, and of rows by outcome, with the funnel of jobs if it is known."""
        counts: dict[str, Any] = dict(sorted(self._rows.items()))
        funnel = None if self._funnel is None else self._funnel.counts()
        if funnel is not None:
            counts["funnel"] = funnel
        return {"rows": self._rows.total(), "counts": counts}

    def warn(self, job_group_id: str) -> None:
        """Log how many contacts could not be decrypted."""
        if self._unreadable:
            log.warning(
                "Job group %s: contacts of %s cannot be decrypted and are left empty; is a key missing in"
                " [outbound] ledger_key?",
                job_group_id,
                count_of(self._unreadable, "row"),
            )


def _call_outcome(status: str | None) -> str:
    call = CallStatus.parse(status)
    if call is None or call is CallStatus.EXECUTING:
        return "open"
    if call.is_answered:
        return str(Outcome.ANSWERED)
    if call.is_unanswered:
        return str(Outcome.UNANSWERED)
    return str(Outcome.NOT_DIALLED if call in NOT_DIALLED_CALL_STATUSES else Outcome.OTHER)


def count_tags(ledger: Ledger, job_group_id: str) -> dict[str, int]:
    """
    Count the tags of a group that the ledger knows.

    A tag with few short values counts by ``NAME=VALUE``, as in ``only="tag:NAME=VALUE"``; any other only by ``NAME``,
    because its values are what people said. Anything that could be a phone number is masked.

    :return: The most frequent first; empty if no tags are known.
    """
    if not ledger.details.exist(job_group_id):
        return {}
    names: Counter[str] = Counter()
    values: dict[str, Counter[str] | None] = {}
    for result in ledger.results.iter_results(job_group_id):
        for name, value in (result.details.tags if result.details else {}).items():
            names[name] += 1
            _count_value(values, name, value)
    return dict(_named(names, values).most_common(MAX_TAGS))


def _count_value(values: dict[str, Counter[str] | None], name: str, value: str) -> None:
    counted = values.setdefault(name, Counter())
    if counted is None:
        return
    counted[value] += 1
    if len(counted) > MAX_TAG_VALUES or len(value) > MAX_TAG_LENGTH or redact(value) != value:
        values[name] = None


def _named(names: Counter[str], values: Mapping[str, Counter[str] | None]) -> Counter[str]:
    found: Counter[str] = Counter()
    for name, count in names.items():
        counted = values[name]
        shown = redact(name)
        if counted is None:
            found[shown] += count
        else:
            found.update({f"{shown}={value}": number for value, number in counted.items()})
    return found

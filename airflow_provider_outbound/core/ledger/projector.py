"""Apply facts to the rows of jobs: find the row of each fact, apply it, write the changes, in one transaction."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import groupby
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Any

import attrs
from sqlalchemy import Connection, Select, and_, bindparam, or_, select, update

from airflow_provider_outbound.core.ledger import schema
from airflow_provider_outbound.core.ledger.forgotten import is_forgotten
from airflow_provider_outbound.core.ledger.job_facts import JobFacts, better, named_calls
from airflow_provider_outbound.core.ledger.listed_numbers import complete_number, is_same_number
from airflow_provider_outbound.core.ledger.records import JobState
from airflow_provider_outbound.core.ledger.statements import chunks, insert_of
from airflow_provider_outbound.core.models.enums import CallStatus
from airflow_provider_outbound.core.models.event import Event
from airflow_provider_outbound.core.models.job import Call, Job
from airflow_provider_outbound.core.models.phone import holds_number

if TYPE_CHECKING:
    from airflow_provider_outbound.core.ledger.database import Database

_jobs = schema.jobs.c
_COLUMNS = [attribute.name for attribute in attrs.fields(JobFacts)]
#: Columns that a fact never changes: the owner of the row and its keys.
_FIXED = {"job_group_id", "reference_id", "unique_phone", "assignment_id"}
_SETTABLE = [name for name in _COLUMNS if name not in _FIXED]
_values = attrgetter(*_COLUMNS)

# Built once: for a few rows, building a statement takes longer than running it.
_ROWS = select(*(_jobs[name] for name in _COLUMNS)).with_for_update()
# Without the group, which a planner without statistics would consider more selective.
_ROWS_OF_JOBS = _ROWS.where(_jobs.job_id.in_(bindparam("job_ids", expanding=True)))
_ROWS_OF_NUMBERS = _ROWS.where(
    _jobs.job_group_id == bindparam("group"),
    _jobs.phone_key.in_(bindparam("phone_keys", expanding=True)),
    schema.UNIQUE_PHONE,
)
_CALLS = select(
    *(schema.calls.c[name] for name in ("job_id", "task_id", "status", "planned_at", "started_at", "ended_at"))
)
_CALLS_OF_JOBS = _CALLS.where(schema.calls.c.job_id.in_(bindparam("job_ids", expanding=True)))
_UPDATE = (
    update(schema.jobs)
    .where(_jobs.job_group_id == bindparam("at_group"), _jobs.reference_id == bindparam("at_reference"))
    .values({name: bindparam(f"to_{name}") for name in _SETTABLE})
)


@cache
def _upsert_calls(dialect: str) -> Any:
    statement = insert_of(dialect, schema.calls)
    told = ("status", "planned_at", "started_at", "ended_at", "body")
    return statement.on_conflict_do_update(
        index_elements=["job_id", "task_id"], set_={name: statement.excluded[name] for name in told}
    )


class JobProjector:
    """
    Applies facts to rows. Use it once. The caller has taken numbers of the event sequence, so no other writer runs.

    :param database: The ledger, for its cipher and identity.
    :param connection: A writing transaction of that database.
    """

    def __init__(self, database: Database, connection: Connection) -> None:
        self._database = database
        self._connection = connection
        self._by_reference: dict[tuple[str, str], JobFacts] = {}
        self._by_job_id: dict[tuple[str, str], JobFacts] = {}
        self._by_phone: dict[tuple[str, str], JobFacts] = {}
        self._stored: dict[tuple[str, str], tuple[Any, ...]] = {}
        self._phone_keys: dict[str, str | None] = {}
        self._calls: dict[str, dict[str, Call]] = defaultdict(dict)
        self._new_calls: dict[tuple[str, str], tuple[str, Call]] = {}
        #: Jobs of persons who were forgotten, by id: the caller must not store what messages say about them.
        self.forgotten: set[str] = set()

    def take(self, group_id: str, facts: Sequence[Event | Job]) -> tuple[int, int]:
        """
        Apply the facts of one group.

        :return: The number of facts about jobs of this ledger, and about jobs that others assigned.
        """
        return self.take_all([(group_id, fact) for fact in facts])

    def take_all(self, facts: Sequence[tuple[str, Event | Job]]) -> tuple[int, int]:
        """
        Apply facts of many groups, with as few statements as for one group.

        :param facts: Each with the id of its group.
        :return: As :meth:`take`.
        """
        phones = [self._phone_key(fact) for _, fact in facts]
        self._load(facts, phones)
        touched: list[JobFacts] = []
        for (group_id, fact), phone_key in zip(facts, phones, strict=True):
            row = self._find(group_id, fact, phone_key) or self._adopt(group_id, fact, phone_key)
            self._apply(row, fact)
            touched.append(row)
        for row in {id(row): row for row in touched}.values():
            if row.job_id is not None:
                row.apply_calls(self._calls[row.job_id].values())
        self._write()
        ours = sum(row.assignment_id is not None for row in touched)
        return ours, len(touched) - ours

    def _phone_key(self, fact: Event | Job) -> str | None:
        """The key of the fact's number; ``None`` if it has no number or a masked one."""
        text = fact.phone_number
        if not text:
            return None
        if text not in self._phone_keys:
            number = complete_number(text)
            self._phone_keys[text] = None if number is None else self._database.identity.phone_key(number)
        return self._phone_keys[text]

    def _load(self, facts: Sequence[tuple[str, Event | Job]], phones: Sequence[str | None]) -> None:
        """Read the rows that the facts may be about: by job id, then by reference, then by number."""
        job_ids = sorted({fact.job_id for _, fact in facts})
        for part in chunks(job_ids):
            self._read(_ROWS_OF_JOBS, job_ids=part)
        references = {
            (group_id, name)
            for group_id, fact in facts
            if (group_id, fact.job_id) not in self._by_job_id
            for name in (fact.reference_id, self._kept_reference(fact), fact.job_id)
            if name
        }
        for pairs in chunks(sorted(references)):
            # One condition per group: for a list of pairs, a planner uses no index.
            named = (
                and_(_jobs.job_group_id == group_id, _jobs.reference_id.in_(names))
                for group_id, names in _grouped(pairs)
            )
            self._read(_ROWS.where(or_(*named)))
        numbers = {
            (group_id, phone_key)
            for (group_id, fact), phone_key in zip(facts, phones, strict=True)
            if phone_key and self._find(group_id, fact, phone_key) is None
        }
        for pairs in chunks(sorted(numbers)):
            for group_id, keys in _grouped(pairs):
                self._read(_ROWS_OF_NUMBERS, group=group_id, phone_keys=keys)
        for part in chunks(job_ids):
            for row in self._connection.execute(_CALLS_OF_JOBS, {"job_ids": part}):
                self._calls[row.job_id][row.task_id] = Call(
                    task_id=row.task_id,
                    status=CallStatus.parse(row.status),
                    planned_at=row.planned_at,
                    started_at=row.started_at,
                    ended_at=row.ended_at,
                )

    def _read(self, statement: Select[Any], **parameters: Any) -> None:
        for stored in self._connection.execute(statement, parameters):
            key = stored.job_group_id, stored.reference_id
            if key not in self._by_reference:
                self._index(JobFacts(**dict(zip(_COLUMNS, stored, strict=True))))
                self._stored[key] = tuple(stored)

    def _index(self, row: JobFacts) -> None:
        self._by_reference[row.job_group_id, row.reference_id] = row
        if row.job_id is not None:
            self._by_job_id[row.job_group_id, row.job_id] = row
        if row.phone_key is not None and row.unique_phone:
            self._by_phone[row.job_group_id, row.phone_key] = row

    def _find(self, group_id: str, fact: Event | Job, phone_key: str | None) -> JobFacts | None:
        """Find a row by job id, else by reference and number, else by number; never by position in an answer."""
        known = self._by_job_id.get((group_id, fact.job_id))
        if known is not None:
            return known
        # A row that already has another job id belongs to another job.
        row = self._by_reference.get((group_id, fact.reference_id or ""))
        if row is not None and row.job_id is None and self._can_be(row, fact, phone_key):
            return row
        row = self._by_phone.get((group_id, phone_key or ""))
        return row if row is not None and row.job_id is None else None

    def _can_be(self, row: JobFacts, fact: Event | Job, phone_key: str | None) -> bool:
        """Whether a fact with a row's reference is about its contact, and not about another person's job."""
        if phone_key in (None, row.phone_key):
            return True
        if row.assignment_id is None:
            return False
        if row.contact is None:
            # Discarded with a lost key. The reference is ours; not matching it would call this person again.
            return True
        # The reference is ours, so the number may be written in any form but must not be another one. Without the key
        # this raises: a guess would call somebody twice, or count another person's job as ours.
        sent = self._database.cipher.decrypt_json(row.contact).get("e164")
        if sent is None:
            # Forgotten on request: as above.
            return True
        return is_same_number(fact.phone_number or "", sent)

    def _kept_reference(self, fact: Event | Job) -> str | None:
        """The reference of a job that others assigned, in the form that the ledger may store: without a number."""
        reference = fact.reference_id
        if reference and holds_number(reference):
            return self._database.identity.foreign_reference(reference)
        return reference

    def _adopt(self, group_id: str, fact: Event | Job, phone_key: str | None) -> JobFacts:
        """Create a row for a job that others assigned, under its own reference if that is free."""
        reference = self._kept_reference(fact)
        if not reference or len(reference) > 256 or "\x00" in reference or (group_id, reference) in self._by_reference:
            reference = fact.job_id
        row = JobFacts(
            job_group_id=group_id,
            reference_id=reference,
            phone_key=phone_key,
            unique_phone=phone_key is not None and (group_id, phone_key) not in self._by_phone,
            state=JobState.ACCEPTED,
        )
        self._index(row)
        return row

    def _apply(self, row: JobFacts, fact: Event | Job) -> None:
        if is_forgotten(self._database.cipher, row.contact):
            self.forgotten.add(fact.job_id)
        row.state = JobState.ACCEPTED
        if row.job_id is None:
            row.job_id = fact.job_id
            self._by_job_id[row.job_group_id, fact.job_id] = row
        if row.phone_key is None:
            row.phone_key = self._phone_key(fact)
        if row.contact is None and fact.phone_number:
            row.contact = self._database.cipher.encrypt_json(
                {
                    "phone_number": fact.phone_number,
                    "e164": complete_number(fact.phone_number) or fact.phone_number,
                    "name": fact.name,
                    "honorific": fact.honorific,
                    "role": None,
                    "extras": dict(fact.extras),
                }
            )
        if isinstance(fact, Event):
            row.apply_event(fact)
            calls: Iterable[Call] = fact.calls
        else:
            row.apply_job(fact)
            calls = named_calls(fact)
        for call in calls:
            if call.task_id is None or len(call.task_id) > 128:
                continue
            known = self._calls[fact.job_id].get(call.task_id)
            best = call if known is None else better(known, call)
            if best is call:
                self._calls[fact.job_id][call.task_id] = call
                self._new_calls[fact.job_id, call.task_id] = row.job_group_id, call

    def _write(self) -> None:
        new = [row for key, row in self._by_reference.items() if key not in self._stored]
        if new:
            self._connection.execute(
                schema.jobs.insert(), [dict(zip(_COLUMNS, _values(row), strict=True)) for row in new]
            )
        changed = [
            row for key, row in self._by_reference.items() if key in self._stored and _values(row) != self._stored[key]
        ]
        if changed:
            rows = [
                {
                    "at_group": row.job_group_id,
                    "at_reference": row.reference_id,
                    **{f"to_{name}": getattr(row, name) for name in _SETTABLE},
                }
                for row in changed
            ]
            self._connection.execute(_UPDATE, rows)
        if self._new_calls:
            self._connection.execute(
                _upsert_calls(self._connection.dialect.name),
                [
                    {
                        "job_id": job_id,
                        "task_id": task_id,
                        "job_group_id": group_id,
                        "status": call.status,
                        "planned_at": call.planned_at,
                        "started_at": call.started_at,
                        "ended_at": call.ended_at,
                        "body": None if job_id in self.forgotten else self._database.cipher.encrypt_json(call.raw),
                    }
                    for (job_id, task_id), (group_id, call) in self._new_calls.items()
                ],
            )


def _grouped(pairs: Iterable[tuple[str, str]]) -> Iterable[tuple[str, list[str]]]:
    """Sorted pairs of group and key, group by group."""
    for group_id, of_group in groupby(pairs, key=itemgetter(0)):
        yield group_id, [key for _, key in of_group]

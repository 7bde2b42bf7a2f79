"""The ledger remembers whom a follow-up has reached, and who must not be reached."""

from __future__ import annotations

import json

from airflow_provider_outbound.core.ledger import Incoming, JobResult, Ledger
from airflow_provider_outbound.core.ledger.follow_ups import BLOCK_LIST


def complete(ledger: Ledger, number: int, call: str = "NoAnswer", *, group: str = "group-1", at: int = 0) -> None:
    body = {
        "eventType": "JobComplete",
        "eventTime": 1_700_000_000_000 + at,
        "groupId": group,
        "id": f"{group}-{number}",
        "status": "Failed",
        "failureReason": call,
        "contacts": [{"phoneNumber": f"1380000{number:04}", "referenceId": f"r-{number}"}],
        "tasks": [{"id": f"{group}-{number}-{at}", "status": call, "actualTime": 1_700_000_000_000 + at}],
    }
    ledger.inbox.record([Incoming(body=json.dumps(body).encode(), message_id="m", topic="t")])


def results(ledger: Ledger, group: str = "group-1") -> list[JobResult]:
    return list(ledger.jobs.iter_results(group))


def names(rows: list[JobResult]) -> list[str]:
    return [row.reference_id for row in rows]


def test_what_is_marked_is_handled_under_that_name_and_in_that_group(ledger: Ledger) -> None:
    for number in range(900):
        complete(ledger, number)
    complete(ledger, 1, group="group-2")
    rows = results(ledger)

    ledger.follow_ups.mark("sms", rows[:800])
    ledger.follow_ups.mark("sms", rows[:801])

    assert names(ledger.follow_ups.unhandled("sms", "group-1", rows)) == names(rows[801:])
    assert len(ledger.follow_ups.unhandled("mail", "group-1", rows)) == 900
    assert len(ledger.follow_ups.unhandled("sms", "group-2", results(ledger, "group-2"))) == 1


def test_a_block_counts_if_it_is_not_older_than_the_job(ledger: Ledger) -> None:
    for number in (1, 2, 3, 4):
        complete(ledger, number)
    complete(ledger, 1, "ContactBlockList", group="later", at=60_000)
    complete(ledger, 2, "ContactBlockList", group="earlier", at=-60_000)
    complete(ledger, 3, "SucceededFinish", group="earlier", at=-60_000)
    # Put on the list by us, which was long after these calls.
    ledger.follow_ups.mark(f"{BLOCK_LIST}i-1", [row for row in results(ledger, "earlier") if row.reference_id == "r-3"])
    ledger.follow_ups.mark("sms", results(ledger))

    assert names(ledger.follow_ups.without_blocked("group-1", results(ledger))) == ["r-2", "r-4"]

"""A ledger of an earlier revision with rows in every state: its campaigns continue, and end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, text, update
from support.campaigns import KEY, Campaign, numbers
from support.ledgers import go_back_to_0005
from support.processes import until

from airflow_provider_outbound.core.client import OutboundBotClient
from airflow_provider_outbound.core.ledger import (
    Assignment,
    Incoming,
    JobState,
    Ledger,
    Outcomes,
    TaskKey,
    open_ledger,
    schema,
)
from airflow_provider_outbound.core.ledger.records import ABANDONED, CLOSED, OPEN
from airflow_provider_outbound.exceptions import JobGroupPurgedError
from airflow_provider_outbound.simulator.testing import Simulator

UNREADABLE = Incoming(body=b"no JSON", message_id="unreadable", topic="t")


def send(campaign: Campaign, assignment: Assignment, references: Iterable[str]) -> None:
    """Let the service have contacts of the journal, as if the answers were lost."""
    found = campaign.ledger.journal.stored_candidates(assignment, references)
    wire = [candidate.contact.job_json(candidate.reference_id) for candidate in found]
    campaign.client.assign_jobs(job_group_id=campaign.job_group_id, jobs=wire)


def fill(campaign: Campaign) -> None:
    """Leave rows in every state: by a task that ended, one that was killed, and one that gave up."""
    ledger = campaign.ledger
    campaign.assign(3, task="ended", first=0)

    killed = campaign.die_assigning(numbers(10, 10), lease_seconds=60)
    references = [ledger.identity.reference_id(f"+86138{index:08d}") for index in range(10, 20)]
    ledger.journal.record_outcomes(killed, Outcomes(refused=references[:2], in_doubt=references[2:4]))
    ledger.journal.mark_unresolved(killed, references[4:6])
    # Some of those in doubt, and of those that were being sent, arrived.
    send(campaign, killed, [references[2], references[6], references[7]])

    gave_up = ledger.assignments.open(
        TaskKey("dag", "run", "gave-up"), campaign.job_group_id, owner="gone", lease_seconds=60, settle_seconds=0
    )
    # Contacts of the killed task, under a task that is not there to send them again.
    ledger.journal.mark_unresolved(killed, references[8:])
    with ledger.write() as connection:
        connection.execute(
            update(schema.jobs)
            .where(schema.jobs.c.reference_id.in_(references[8:]))
            .values(assignment_id=gave_up.assignment_id)
        )
    ledger.assignments.abandon(gave_up)


def purge(campaign: Campaign) -> None:
    """Purge a group, which is kept while somebody may still wait for it."""
    until(lambda: campaign.ledger.retention.purge(timedelta(0), job_group_id=campaign.job_group_id).purged, "purged")


def make_earlier(ledger: Ledger) -> None:
    """Take the ledger back to revision 0005, an hour after all its processes have died."""
    with ledger.write() as connection:
        states = set(connection.execute(select(schema.jobs.c.state)).scalars())
        assert states == {str(state) for state in JobState}
        assert set(connection.execute(select(schema.assignments.c.state)).scalars()) == {OPEN, CLOSED, ABANDONED}
        hour_ago = ledger.now() - timedelta(hours=1)
        connection.execute(update(schema.assignments).values(lease_until=hour_ago))
        connection.execute(update(schema.jobs).where(schema.jobs.c.sent_at.is_not(None)).values(sent_at=hour_ago))
        go_back_to_0005(connection)
        connection.execute(text("DROP TABLE ledger_keys"))


@pytest.mark.parametrize("is_retried", [True, False], ids=["the-task-is-retried", "another-task-has-its-contacts"])
def test_campaigns_continue_and_end_after_an_upgrade(
    simulator: Simulator, client: OutboundBotClient, tmp_path: Path, is_retried: bool
) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    with open_ledger(url, [KEY]) as ledger:
        over = Campaign(simulator=simulator, client=client, ledger=ledger)
        over.assign(2, task="over", first=100)
        summary = over.wait(over.completion())
        purged = Campaign(simulator=simulator, client=client, ledger=ledger)
        purged.assign(1, task="purged", first=200)
        purged.wait(purged.completion())
        purge(purged)
        campaign = Campaign(simulator=simulator, client=client, ledger=ledger)
        fill(campaign)
        ledger.inbox.record([UNREADABLE])
        campaign.tell(campaign.jobs()[0])
        make_earlier(ledger)

    with open_ledger(url, [KEY]) as ledger:
        assert ledger.found_revision == "0005"
        campaign.ledger = over.ledger = purged.ledger = ledger
        # What it had stored is known.
        assert ledger.inbox.record([UNREADABLE]).new == 0
        assert over.wait(over.completion()) == summary
        with pytest.raises(JobGroupPurgedError):
            purged.assign(1, task="purged", first=200)
        # Its tasks continue: everybody is in the group, and nobody twice.
        result = campaign.assign(10, task="died" if is_retried else "heir", first=10)
        assert (result.assigned + result.duplicates, result.unresolved) == (10, 0)
        ended = campaign.wait(campaign.completion())

    assert Counter(job["phone_number"] for job in campaign.jobs()) == {
        f"138{index:08d}": 1 for index in [*range(3), *range(10, 20)]
    }
    # That a task gave up is reported, although its contacts are in the group by now.
    assert (ended["total"], ended["completed"], ended["mismatch"]) == (13, 13, True)

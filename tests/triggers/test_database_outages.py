"""A campaign on PostgreSQL that fails over, cuts connections, restarts, or stands behind PgBouncer."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.postgresql import PostgreSQLServer, pgbouncer
from support.processes import until
from support.waiting import StartTriggerer, WaitingCampaign

from airflow_provider_outbound.cli import main
from airflow_provider_outbound.exceptions import LedgerUnavailableError

pytestmark = pytest.mark.postgresql

CONTACTS = 30
#: Of a job.
UNDER_WAY = {"Scheduling", "Executing", "Paused"}


@pytest.fixture(params=["direct", "pgbouncer"])
def ledger_url(request: pytest.FixtureRequest, server: PostgreSQLServer) -> Iterator[str]:
    """URL of a ledger on a server of the test's own."""
    if request.param == "direct":
        yield server.url
    else:
        with pgbouncer(server) as url:
            yield url


def jobs_of_each(campaign: WaitingCampaign) -> set[int]:
    """How many jobs the service has for each number it was given."""
    jobs = campaign.jobs_per_number()
    assert len(jobs) == CONTACTS
    return set(jobs.values())


def test_a_campaign_runs_as_on_any_other_ledger(campaign: WaitingCampaign, capsys: pytest.CaptureFixture[str]) -> None:
    assert campaign.assign(CONTACTS).assigned == CONTACTS

    ended = campaign.wait_deferred()
    assert campaign.assign(CONTACTS).newly_assigned == 0

    assert ended["status"] == "complete"
    assert ended["summary"]["total"] == CONTACTS
    assert jobs_of_each(campaign) == {1}
    for command in (["ledger", "status"], ["groups"], ["ledger", "purge", "--older-than-days", "1"]):
        assert main(command) == 0, capsys.readouterr()


@pytest.mark.parametrize("outage", ["read-only", "cut-connections", "restart"])
def test_a_wait_outlasts_an_outage(
    server: PostgreSQLServer,
    campaign: WaitingCampaign,
    triggerer: StartTriggerer,
    monkeypatch: pytest.MonkeyPatch,
    outage: str,
) -> None:
    # A wait that reconciles writes, which a server that is read-only refuses.
    monkeypatch.setenv("AIRFLOW__OUTBOUND__RECONCILE_INTERVAL", "1")
    campaign.freeze()
    campaign.assign(CONTACTS)
    waiting = triggerer(campaign.trigger())
    assert waiting.line() == "running"

    if outage == "read-only":
        with server.read_only():
            campaign.thaw()
            server.wait_for_refusal()
    elif outage == "cut-connections":
        for _ in range(3):
            server.cut_connections()
        campaign.thaw()
    else:
        server.kill()
        campaign.thaw()
        until(lambda: not UNDER_WAY & {job["status"] for job in campaign.jobs()}, "everybody has been called")
        server.start()

    event = waiting.line()
    waiting.close()
    assert f'"total": {CONTACTS}' in event, event
    assert jobs_of_each(campaign) == {1}


def test_a_wait_that_begins_in_an_outage_outlasts_it(
    server: PostgreSQLServer, campaign: WaitingCampaign, triggerer: StartTriggerer
) -> None:
    campaign.assign(CONTACTS)
    with server.read_only():
        waiting = triggerer(campaign.trigger())
        assert waiting.line() == "running"
        server.wait_for_refusal()

    event = waiting.line()
    waiting.close()
    assert f'"total": {CONTACTS}' in event, event


def test_an_assignment_that_meets_a_read_only_server_goes_on_afterwards(
    server: PostgreSQLServer, campaign: WaitingCampaign
) -> None:
    campaign.ledger.close()
    with server.read_only(), pytest.raises(LedgerUnavailableError, match="read-only") as raised:
        campaign.assign(CONTACTS)

    assert "\n" not in str(raised.value)
    assert campaign.assign(CONTACTS).assigned == CONTACTS
    assert jobs_of_each(campaign) == {1}


def test_a_command_on_a_read_only_server_ends_with_one_line(
    server: PostgreSQLServer, campaign: WaitingCampaign, capsys: pytest.CaptureFixture[str]
) -> None:
    campaign.ledger.close()
    with server.read_only():
        code = main(["ledger", "purge", "--older-than-days", "0"])

    err = capsys.readouterr().err
    assert code == 1
    assert err.count("\n") == 1, err
    assert "read-only" in err

"""A campaign on PostgreSQL that fails over, cuts connections, restarts, or stands behind PgBouncer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.postgresql import PostgreSQLServer, pgbouncer

from airflow_provider_outbound.cli import main
from airflow_provider_outbound.exceptions import LedgerUnavailableError

pytestmark = pytest.mark.postgresql

CONTACTS = 30
#: Long enough for a slow machine (seconds); nothing is measured by it.
PATIENCE = 90.0


@pytest.fixture(params=["direct", "pgbouncer"])
def ledger_url(request: pytest.FixtureRequest, server: PostgreSQLServer) -> Iterator[str]:
    """URL of a ledger on a server of the test's own."""
    if request.param == "direct":
        yield server.url
    else:
        with pgbouncer(server) as url:
            yield url


@pytest.fixture
def on_server(ledger_url: str, campaign: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The campaign, its ledger on that server."""
    monkeypatch.setenv("AIRFLOW__OUTBOUND__LEDGER_URL", ledger_url)
    return campaign


def jobs_of_each(campaign: Any) -> set[int]:
    """How many jobs the service has for each number it was given."""
    jobs = campaign.simulator.state()["jobs_per_number"]
    assert len(jobs) == CONTACTS
    return {len(of_number) for of_number in jobs.values()}


def test_a_campaign_runs_as_on_any_other_ledger(on_server: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert on_server.assign(CONTACTS).assigned == CONTACTS

    ended = on_server.wait()
    assert on_server.assign(CONTACTS).newly_assigned == 0

    assert ended["status"] == "complete"
    assert ended["summary"]["total"] == CONTACTS
    assert jobs_of_each(on_server) == {1}
    for command in (["ledger", "status"], ["groups"], ["ledger", "purge", "--older-than-days", "1"]):
        assert main(command) == 0, capsys.readouterr()


@pytest.mark.parametrize("outage", ["read-only", "cut-connections", "restart"])
def test_a_wait_outlasts_an_outage(
    server: PostgreSQLServer,
    on_server: Any,
    triggerer: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    outage: str,
) -> None:
    # A wait that reconciles writes, which a server that is read-only refuses.
    monkeypatch.setenv("AIRFLOW__OUTBOUND__RECONCILE_INTERVAL", "1")
    on_server.freeze()
    on_server.assign(CONTACTS)
    waiting = triggerer(on_server.trigger())
    assert waiting.line() == "running"

    if outage == "read-only":
        with server.read_only():
            on_server.thaw()
            server.wait_for_refusal()
    elif outage == "cut-connections":
        for _ in range(3):
            server.cut_connections()
        on_server.thaw()
    else:
        server.kill()
        on_server.thaw()
        _until_all_have_ended(on_server)
        server.start()

    event = waiting.line()
    waiting.close()
    assert f'"total": {CONTACTS}' in event, event
    assert jobs_of_each(on_server) == {1}


def test_a_wait_that_begins_in_an_outage_outlasts_it(
    server: PostgreSQLServer, on_server: Any, triggerer: Callable[..., Any]
) -> None:
    on_server.assign(CONTACTS)
    with server.read_only():
        waiting = triggerer(on_server.trigger())
        assert waiting.line() == "running"
        server.wait_for_refusal()

    event = waiting.line()
    waiting.close()
    assert f'"total": {CONTACTS}' in event, event


def test_an_assignment_that_meets_a_read_only_server_goes_on_afterwards(
    server: PostgreSQLServer, on_server: Any
) -> None:
    on_server.ledger.close()
    with server.read_only(), pytest.raises(LedgerUnavailableError, match="read-only") as raised:
        on_server.assign(CONTACTS)

    assert "\n" not in str(raised.value)
    assert on_server.assign(CONTACTS).assigned == CONTACTS
    assert jobs_of_each(on_server) == {1}


def test_a_command_on_a_read_only_server_ends_with_one_line(
    server: PostgreSQLServer, on_server: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    on_server.ledger.close()
    with server.read_only():
        code = main(["ledger", "purge", "--older-than-days", "0"])

    err = capsys.readouterr().err
    assert code == 1
    assert err.count("\n") == 1, err
    assert "read-only" in err


def _until_all_have_ended(campaign: Any) -> None:
    deadline = time.monotonic() + PATIENCE
    under_way = {"Scheduling", "Executing", "Paused"}
    while under_way & {
        job["status"] for group in campaign.simulator.state()["groups"].values() for job in group["jobs"]
    }:
        assert time.monotonic() < deadline, "the service has not called everybody in time"
        time.sleep(0.1)

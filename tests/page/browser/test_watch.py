"""A campaign is watched on its page, from its first calls to its end, in an Airflow with all its services."""

from __future__ import annotations

import json
import re
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest
from page.browser.conftest import MARKS
from page.browser.visits import Visitor
from support.airflow import add_account

from airflow_provider_outbound.cli.processes import ServiceError, wait_until
from airflow_provider_outbound.cli.services import OUTBOUND, AirflowStack, example_dag
from airflow_provider_outbound.simulator.outcomes import is_answered

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from playwright.sync_api import Browser

pytestmark = MARKS
DAG = "nightly_campaign"
CONTACTS = 2_000
#: Seconds; two cores may be shared by all suites.
PATIENCE = 600


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    add_account(item, report, "airflow")
    return report


@pytest.fixture
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AirflowStack]:
    """An Airflow as the demo starts it; fifty calls a second."""
    faster = ["--call-seconds", "0.5", "--concurrency", "25"]
    with AirflowStack(tmp_path_factory.mktemp("watch"), dags=[example_dag(DAG)], simulator_options=faster) as stack:
        stack.prepare()
        stack.start_airflow()
        stack.wait_for_dag(DAG, PATIENCE)
        yield stack


def test_a_campaign_is_watched_from_its_start_to_its_end(airflow: AirflowStack, chromium: Browser) -> None:
    from page.browser.stack import Site

    run_id = airflow.trigger(DAG, {"contacts": CONTACTS})
    group_id = _group(airflow, run_id)
    site = Site(stack=airflow, running_id=group_id, run_id=run_id, ledger_path=airflow.folder / "outbound_ledger.db")
    visit = Visitor(chromium, site).open(f"/campaign/{group_id}")
    bar = visit.page.get_by_role("progressbar", name="Progress")
    bar.wait_for(timeout=PATIENCE * 1000)

    seen: list[dict[str, int]] = []
    until = time.monotonic() + PATIENCE
    while not seen or seen[-1]["done"] < CONTACTS:
        assert time.monotonic() < until, seen[-1]
        shown = _numbers(bar.get_attribute("aria-valuetext") or "")
        if not seen or shown != seen[-1]:
            seen.append(shown)
        visit.page.wait_for_timeout(250)

    done = [shown["done"] for shown in seen]
    assert done == sorted(done)
    assert any(0 < number < CONTACTS for number in done), done
    assert airflow.wait_for_run(DAG, run_id, PATIENCE) == "success"
    assert (visit.foreign, visit.errors) == ([], [])
    jobs = airflow.simulator_state()["groups"][group_id]["jobs"]
    last = seen[-1]
    assert last["of"] == len(jobs) == CONTACTS
    assert last["answered"] == sum(bool(job["calls"]) and is_answered(job["calls"][-1]["status"]) for job in jobs)
    (row,) = json.loads(
        subprocess.run(
            [*OUTBOUND, "groups", "--json"], env=airflow.environment, capture_output=True, text=True, check=True
        ).stdout
    )
    counted = row["ledger"]
    assert (last["done"], last["answered"], last["not answered"], last["not dialled"]) == (
        counted["completed"],
        counted["answered"],
        counted["unanswered"],
        counted["not_dialled"],
    )


def _group(airflow: AirflowStack, run_id: str) -> str:
    found: list[Any] = []

    def is_created() -> bool:
        try:
            found.append(airflow.xcom(DAG, run_id, "create")["job_group_id"])
        except ServiceError:
            return False
        return True

    wait_until(is_created, seconds=PATIENCE, what="the job group", every=0.5)
    return str(found[-1])


def _numbers(text: str) -> dict[str, int]:
    """What a screen reader is told: ``160 of 240 done: 60 answered, 60 not answered, …``."""
    pairs = re.findall(r"([\d,]+) (of|done|answered|not answered|not dialled|other)", text.replace(" done:", " done,"))
    numbers = {name: int(number.replace(",", "")) for number, name in pairs}
    numbers["done"], numbers["of"] = numbers.pop("of", 0), numbers.pop("done", 0)
    return {"answered": 0, "not answered": 0, "not dialled": 0, "other": 0, **numbers}

"""An export whose details are fetched without a worker writes what any other writes, and asks for nothing twice."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import TaskDeferred
from sqlalchemy import text
from support.dialled import DialledCampaign
from support.processes import until
from support.runs import xcom

from airflow_provider_outbound.exceptions import OutboundBotConfigError, OutboundBotError
from airflow_provider_outbound.hooks.outboundbot import OutboundBotHook
from airflow_provider_outbound.operators.outboundbot import OutboundBotExportResultsOperator
from airflow_provider_outbound.simulator.testing import Simulator
from airflow_provider_outbound.triggers.details import OutboundBotJobDetailsTrigger

if TYPE_CHECKING:
    from airflow.models import DagRun
    from airflow.triggers.base import TriggerEvent

#: More than an export fetches by itself; and enough for a kill in between.
PEOPLE, MANY = 30, 150


@pytest.fixture
def dial(simulator: Simulator) -> Iterator[Callable[[int], DialledCampaign]]:
    """Makes groups whose calls were answered. Each job takes a request, as no message has told the end of its call."""
    with OutboundBotHook() as hook:

        def dial(count: int) -> DialledCampaign:
            campaign = DialledCampaign(simulator=simulator, client=hook.client, ledger=hook.ledger)
            campaign.dial([f"138{index:06}01" for index in range(count)])
            campaign.collect(ends=False)
            return campaign

        yield dial


@pytest.fixture
def campaign(dial: Callable[[int], DialledCampaign]) -> DialledCampaign:
    return dial(PEOPLE)


def export(campaign: DialledCampaign, path: Path, **arguments: Any) -> OutboundBotExportResultsOperator:
    arguments = {"deferrable": True, "enrich": True, **arguments}
    return OutboundBotExportResultsOperator(
        task_id="export", job_group_id=campaign.job_group_id, path=str(path), **arguments
    )


def deferred(act: Callable[[], Any]) -> TaskDeferred:
    with pytest.raises(TaskDeferred) as caught:
        act()
    assert caught.value.method_name == "execute_complete"
    return caught.value


def event_of(trigger: OutboundBotJobDetailsTrigger) -> dict[str, Any]:
    """The event of a trigger as Airflow stores it and makes it again."""
    _, arguments = trigger.serialize()

    async def first() -> TriggerEvent:
        async with asyncio.timeout(120):
            return await anext(aiter(OutboundBotJobDetailsTrigger(**json.loads(json.dumps(arguments))).run()))

    payload: dict[str, Any] = asyncio.run(first()).payload
    return payload


def described(campaign: DialledCampaign) -> int:
    return campaign.requests("DescribeJob")


def known(campaign: DialledCampaign) -> int:
    """How many jobs' details are in the ledger."""
    return sum(result.details is not None for result in campaign.ledger.results.iter_results(campaign.job_group_id))


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("r.csv", {}),
        ("r.csv", {"level": "call", "conversation": True}),
        ("r.jsonl", {"conversation": True, "include_phone_number": True}),
        ("r.jsonl", {"only": "tag:intent", "enrich": False}),
    ],
)
def test_it_writes_and_returns_what_a_worker_alone_would(
    campaign: DialledCampaign, context: Callable[..., Any], tmp_path: Path, name: str, arguments: dict[str, Any]
) -> None:
    operator = export(campaign, tmp_path / "deferred" / name, **arguments)

    event = event_of(deferred(lambda: operator.execute(context())).trigger)
    asked = described(campaign)
    result = operator.execute_complete(context(), event)

    assert event == {"status": "done"}
    assert described(campaign) == asked >= PEOPLE
    with campaign.ledger.write() as connection:
        connection.execute(text("DELETE FROM details"))
    alone = export(campaign, tmp_path / "alone" / name, deferrable=False, **arguments).execute(context())
    files = sorted(path.name for path in (tmp_path / "alone").iterdir())
    assert files == sorted(path.name for path in (tmp_path / "deferred").iterdir())
    for file in files:
        assert (tmp_path / "deferred" / file).read_bytes() == (tmp_path / "alone" / file).read_bytes()
    moved = {key: str(tmp_path / "deferred" / Path(alone[key]).name) for key in alone if key.endswith("path")}
    assert result == alone | moved


def test_airflow_resumes_it(campaign: DialledCampaign, run_dag: Callable[..., DagRun], tmp_path: Path) -> None:
    with DAG("deferred_export", schedule=None) as dag:
        export(campaign, tmp_path / "r.csv", conversation=True)

    run = run_dag(dag)

    assert run.state == "success"
    assert xcom(run, "export")["rows"] == PEOPLE
    assert len((tmp_path / "r.csv").read_text("utf-8").splitlines()) == PEOPLE + 1


def test_what_is_known_or_takes_a_few_requests_is_written_at_once(
    dial: Callable[[int], DialledCampaign], campaign: DialledCampaign, context: Callable[..., Any], tmp_path: Path
) -> None:
    campaign.enrich()
    assert export(campaign, tmp_path / "known.csv").execute(context())["rows"] == PEOPLE

    few = dial(3)
    assert export(few, tmp_path / "few.csv").execute(context())["rows"] == 3
    assert export(few, tmp_path / "plain.csv", enrich=False).execute(context())["rows"] == 3


def test_a_worker_that_dies_or_an_event_that_is_lost_costs_no_request(
    campaign: DialledCampaign, context: Callable[..., Any], tmp_path: Path
) -> None:
    path = tmp_path / "r.csv"
    operator = export(campaign, path)
    event_of(deferred(lambda: operator.execute(context())).trigger)

    # The next try of a worker that was killed, and a task whose event was lost.
    assert operator.execute(context("assign", try_number=2))["rows"] == PEOPLE
    path.unlink()
    assert operator.execute_complete(context(), None)["rows"] == PEOPLE
    assert described(campaign) == PEOPLE


def test_a_task_that_a_person_ends_asks_for_nothing_more(dial: Callable[[int], DialledCampaign]) -> None:
    campaign = dial(MANY)
    trigger = OutboundBotJobDetailsTrigger(job_group_id=campaign.job_group_id)

    async def end() -> None:
        waiting = asyncio.ensure_future(anext(aiter(trigger.run())))
        await asyncio.to_thread(until, lambda: described(campaign) >= 5, "some requests")
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(end())
    # Those on their way are taken and kept.
    until(lambda: known(campaign) == described(campaign), "what was asked is kept")
    assert known(campaign) < MANY
    event_of(trigger)

    assert known(campaign) == described(campaign) == MANY


_TRIGGERER = """
import asyncio, sys
from airflow_provider_outbound.triggers.details import OutboundBotJobDetailsTrigger

async def run():
    async for _ in OutboundBotJobDetailsTrigger(job_group_id=sys.argv[1]).run():
        pass

asyncio.run(run())
"""


def test_after_a_kill_another_triggerer_continues(
    dial: Callable[[int], DialledCampaign], context: Callable[..., Any], tmp_path: Path
) -> None:
    campaign = dial(MANY)
    path = tmp_path / "r.csv"
    operator = export(campaign, path)
    trigger = deferred(lambda: operator.execute(context())).trigger
    triggerer = subprocess.Popen([sys.executable, "-c", _TRIGGERER, campaign.job_group_id])
    until(lambda: described(campaign) >= 100, "most requests")
    triggerer.kill()
    triggerer.wait()
    before, kept = described(campaign), known(campaign)

    event = event_of(trigger)
    result = operator.execute_complete(context(), event)

    # At most forty-nine answers wait for the next commit, and eight are on their way.
    assert kept >= before - 57 > 0
    assert described(campaign) == before + MANY - kept
    assert result["rows"] == MANY
    assert list(tmp_path.glob("r*")) == [path]


def test_what_the_api_refuses_is_the_tasks_error(
    campaign: DialledCampaign, context: Callable[..., Any], tmp_path: Path, simulator: Simulator
) -> None:
    operator = export(campaign, tmp_path / "r.csv", instance_id="another")
    trigger = deferred(lambda: operator.execute(context())).trigger

    event = event_of(trigger)

    assert (event["status"], "\n" in event["message"]) == ("error", False)
    with pytest.raises(OutboundBotError, match="NotExist"):
        operator.execute_complete(context(), event)
    assert not (tmp_path / "r.csv").exists()


def test_the_time_without_a_worker_counts_too(
    campaign: DialledCampaign, context: Callable[..., Any], tmp_path: Path
) -> None:
    operator = export(campaign, tmp_path / "r.csv", execution_timeout=timedelta(hours=1))

    assert deferred(lambda: operator.execute(context())).timeout == timedelta(hours=1)


def test_nothing_of_a_person_is_stored_with_the_trigger(
    campaign: DialledCampaign, context: Callable[..., Any], tmp_path: Path
) -> None:
    operator = export(campaign, tmp_path / "r.csv", level="call", only="answered")

    _, arguments = deferred(lambda: operator.execute(context())).trigger.serialize()

    assert json.loads(json.dumps(arguments)) == {
        "job_group_id": campaign.job_group_id,
        "only": "answered",
        "level": "call",
        "conversation": False,
        "outboundbot_conn_id": "outboundbot_default",
        "instance_id": None,
    }


def test_a_flag_that_is_none_is_refused(campaign: DialledCampaign, context: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(OutboundBotConfigError, match="deferrable: 'yes' is neither"):
        export(campaign, tmp_path / "r.csv", deferrable="yes").execute(context())

"""The campaign as one group of tasks: each argument reaches its tasks, and it runs, mapped too."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from airflow.sdk import DAG, Asset, task, task_group

from airflow_provider_outbound import Strategy
from airflow_provider_outbound.exceptions import OutboundBotConfigError
from airflow_provider_outbound.simulator.testing import Simulator
from airflow_provider_outbound.task_groups.outboundbot import OutboundBotCampaignTaskGroup

if TYPE_CHECKING:
    from airflow.models import DagRun

ALL_DAY = Strategy(working_time=[("00:00", "23:59:59")], max_attempts_per_day=1)


@pytest.fixture(autouse=True)
def installation(simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection of the simulator, and a ledger of the test's own."""
    for name, value in simulator.connections.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AIRFLOW__OUTBOUND__LEDGER_URL", f"sqlite:///{tmp_path}/ledger.db")
    monkeypatch.setenv("AIRFLOW__OUTBOUND__RECONCILE_INTERVAL", "1")


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_each_argument_reaches_the_tasks_that_know_it() -> None:
    results = Asset("results")
    with DAG("arguments", schedule=None, default_args={"retries": 3}):
        campaign = OutboundBotCampaignTaskGroup(
            "spring",
            strategy=ALL_DAY,
            calling_numbers=["02100000000"],
            contacts_path="contacts.csv",
            max_jobs=5,
            max_run_age=timedelta(hours=1),
            outboundbot_conn_id="other",
            timeout=timedelta(hours=2),
            path="results.jsonl",
            outlets=[results],
            default_args={"pool": "phones"},
            tooltip="Spring",
        )

    tasks = (campaign.create, campaign.assign, campaign.wait, campaign.export)
    assert [found.task_id for found in tasks] == ["spring.create", "spring.assign", "spring.wait", "spring.export"]
    assert {found.outboundbot_conn_id for found in tasks} == {"other"}
    assert {(found.pool, found.retries) for found in tasks} == {("phones", 3)}
    assert (campaign.create.strategy, campaign.assign.strategy) == (ALL_DAY, None)
    assert (campaign.create.calling_numbers, campaign.assign.calling_numbers) == (["02100000000"], None)
    assert campaign.create.max_run_age == campaign.assign.max_run_age == timedelta(hours=1)
    assert (campaign.assign.max_jobs, campaign.wait.wait_timeout) == (5, timedelta(hours=2))
    assert [list(found.outlets) for found in tasks] == [[], [], [], [results]]
    assert [sorted(found.downstream_task_ids) for found in tasks] == [
        ["spring.assign", "spring.export", "spring.wait"],
        ["spring.wait"],
        ["spring.export"],
        [],
    ]
    assert campaign.tooltip == "Spring"


def test_exclusions_are_named_to_a_campaign_as_to_its_assignment() -> None:
    with DAG("exclusions", schedule=None):
        campaign = OutboundBotCampaignTaskGroup(
            strategy=ALL_DAY,
            contacts_path="contacts.csv",
            exclude_path="{{ params.dnc }}",
            exclude_columns={"phone": "Refused"},
            on_missing_exclusions="ignore",
            path="results.jsonl",
        )

    assert campaign.assign.named >= {"contacts_path", "exclude_path"}
    assert "exclude" not in campaign.assign.named
    assert campaign.assign.exclude_columns == {"phone": "Refused"}
    assert campaign.assign.on_missing_exclusions == "ignore"


@pytest.mark.parametrize("name", ["contact_path", "retries", "job_group_id"])
def test_an_argument_that_no_task_knows_is_an_error(name: str) -> None:
    with (
        DAG("misspelt", schedule=None),
        pytest.raises(OutboundBotConfigError, match=rf"spring: {name}: .*default_args"),
    ):
        OutboundBotCampaignTaskGroup("spring", strategy=ALL_DAY, path="x.jsonl", **cast("dict[str, Any]", {name: "x"}))


@pytest.mark.parametrize("only", ["answered", "{{ params.only }}", None])
def test_only_does_not_mean_whom_to_call_and_what_to_export_at_once(only: str | None) -> None:
    """Who wants the answered calls in the export would call the people who answered again."""
    again: dict[str, Any] = {"strategy": ALL_DAY, "path": "results.csv", "contacts_from": "group"}
    with DAG("only", schedule=None):
        with pytest.raises(OutboundBotConfigError, match=r"^a: only: .* pass export_only too.*Nobody was called$"):
            OutboundBotCampaignTaskGroup("a", only=only, **again)
        both = OutboundBotCampaignTaskGroup("b", only="unanswered", export_only=None, **again)
        default = OutboundBotCampaignTaskGroup("c", export_only="failed", **again)
        filtered = OutboundBotCampaignTaskGroup("d", only="answered", **again | {"contacts_from": None})

    assert (both.assign.only, both.export.only) == ("unanswered", None)
    assert (default.assign.only, default.export.only) == ("unanswered", "failed")
    assert filtered.export.only == "answered"


@pytest.mark.parametrize("name", ["contacts_path", "exclude_path"])
def test_the_results_do_not_replace_a_list(name: str) -> None:
    """Numbers in results in place of a do-not-call list: the next run would call everybody who was on it."""
    lists: dict[str, Any] = {"contacts_path": "/data/tonight.csv", "exclude_path": "/data/dnc.csv"}
    with DAG("same", schedule=None):
        with pytest.raises(OutboundBotConfigError, match=rf"^campaign: path: it is the {name} too"):
            OutboundBotCampaignTaskGroup(strategy=ALL_DAY, path=Path(lists[name]), **lists)
        OutboundBotCampaignTaskGroup(strategy=ALL_DAY, path="/data/results.csv", **lists)


def test_a_campaign_runs_to_its_results(simulator: Simulator, run_dag: Callable[..., DagRun], tmp_path: Path) -> None:
    with DAG("grouped", schedule=None) as dag:

        @task
        def count(exported: dict[str, Any]) -> int:
            return int(exported["rows"])

        campaign = OutboundBotCampaignTaskGroup(
            strategy=ALL_DAY,
            contacts=[f"1380000{index:04}" for index in range(7)],
            rocketmq_conn_id=None,
            deferrable=True,
            path=f"{tmp_path}/results.jsonl",
        )
        count(cast("dict[str, Any]", campaign.export.output))

    run = run_dag(dag)

    assert run.state == "success"
    assert len(rows(tmp_path / "results.jsonl")) == 7
    counted = run.get_task_instance("count")
    assert counted is not None
    assert counted.xcom_pull(task_ids="count") == 7


def test_mapped_campaigns_are_groups_of_their_own(
    simulator: Simulator, run_dag: Callable[..., DagRun], tmp_path: Path
) -> None:
    for name, count in (("north", 3), ("south", 5)):
        text = "".join(f"{name}-{index},13{count}0000{index:04}\n" for index in range(count))
        (tmp_path / f"{name}.csv").write_text(f"reference_id,phone\n{text}")
    with DAG("mapped_campaigns", schedule=None) as dag:

        @task_group
        def segment(name: str, script_id: str) -> None:
            OutboundBotCampaignTaskGroup(
                job_group_name=name,
                script_id=script_id,
                strategy=ALL_DAY,
                contacts_path=f"{tmp_path}/{{{{ ti.map_index and 'south' or 'north' }}}}.csv",
                rocketmq_conn_id=None,
                deferrable=True,
                path=f"{tmp_path}/{{{{ ti.map_index }}}}.jsonl",
            )

        segment.expand_kwargs(
            [
                {"name": "north", "script_id": simulator.script_id},
                {"name": "south", "script_id": f"{simulator.script_id}-2"},
            ]
        )

    run = run_dag(dag)

    assert run.state == "success"
    groups = simulator.state()["groups"].values()
    found = {
        (group["name"].split()[0], group["script_id"].removeprefix(simulator.script_id), len(group["jobs"]))
        for group in groups
    }
    assert found == {("north", "", 3), ("south", "-2", 5)}
    assert [{row["reference_id"][:5] for row in rows(tmp_path / f"{index}.jsonl")} for index in (0, 1)] == [
        {"north"},
        {"south"},
    ]

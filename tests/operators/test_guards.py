"""Bad input and wrong times: one line that names the thing and the mend, and no call placed."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from airflow_provider_outbound.core.models.strategy import Strategy
from airflow_provider_outbound.exceptions import (
    JobGroupFailedError,
    LedgerError,
    OutboundBotConfigError,
    OutboundBotError,
    OutboundBotWrongTimeError,
)
from airflow_provider_outbound.operators.outboundbot import (
    OutboundBotAssignJobsOperator,
    OutboundBotCancelJobsOperator,
    OutboundBotCreateJobGroupOperator,
    OutboundBotResumeJobsOperator,
    OutboundBotSuspendJobsOperator,
)
from airflow_provider_outbound.sensors.outboundbot import OutboundBotJobCompleteSensor
from airflow_provider_outbound.simulator.testing import Simulator

ALL_DAY = Strategy(working_time=[("00:00", "23:59:59")])
SHANGHAI = ZoneInfo("Asia/Shanghai")


def create(**arguments: Any) -> OutboundBotCreateJobGroupOperator:
    return OutboundBotCreateJobGroupOperator(**{"task_id": "create", "strategy": ALL_DAY, **arguments})


def assign(**arguments: Any) -> OutboundBotAssignJobsOperator:
    return OutboundBotAssignJobsOperator(
        **{"task_id": "assign", "contacts": ["13800000000"], "settle_seconds": 0.3, **arguments}
    )


def one_line(error: pytest.ExceptionInfo[OutboundBotError]) -> str:
    text = str(error.value)
    assert "\n" not in text
    assert "13800000000" not in text
    return text


def calls_placed(simulator: Simulator) -> int:
    return sum(len(group["jobs"]) for group in simulator.state()["groups"].values())


@pytest.fixture
def group(context: Callable[..., Any]) -> dict[str, Any]:
    return create().execute(context("create"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param({"strategy": None}, r"strategy: give a window.*or start_immediately=True", id="no-window"),
        pytest.param({"start_immediately": True}, r"one of the two", id="both"),
        pytest.param(
            {"strategy": Strategy(working_time=[("09:00", "12:00")], end=datetime(2020, 1, 1, tzinfo=UTC))},
            r"end: ",
            id="window-over",
        ),
        pytest.param({"strategy": {"startTime": 1}}, r"workingTime is missing", id="dictionary-without-window"),
        pytest.param({"script_id": "nope"}, r"NotExist.Script", id="unknown-script"),
        pytest.param({"instance_id": "nope"}, r"NotExist.Instance", id="unknown-instance"),
        pytest.param({"priority": "High"}, r"priority: 'High' is not one of 'Urgent', 'Daily'", id="priority"),
        pytest.param({"ringing_duration": 0}, r"ringing_duration: 0 is not a whole number", id="ringing"),
        pytest.param({"calling_numbers": "02100000000"}, r"calling_numbers: not a list", id="calling-numbers"),
        pytest.param({"max_run_age": 12}, r"max_run_age: 12 is not a timedelta", id="max-run-age"),
        pytest.param({"recall_strategy": {"busy": True}}, r"recall_strategy: accepts", id="recall-strategy"),
        pytest.param({"outboundbot_conn_id": "nowhere"}, r"nowhere", id="missing-connection"),
    ],
)
def test_a_group_that_cannot_be_created(
    simulator: Simulator, context: Callable[..., Any], arguments: dict[str, Any], words: str
) -> None:
    with pytest.raises(OutboundBotError, match=words) as caught:
        create(**arguments).execute(context())

    one_line(caught)
    assert not simulator.state()["groups"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param({"password": "wrong"}, r"InvalidAccessKeySecret|SignatureDoesNotMatch", id="wrong-secret"),
        pytest.param({"login": "unknown"}, r"InvalidAccessKeyId", id="wrong-key"),
        pytest.param(
            {"extra": {"instance_id": ""}}, r"instance_id: neither the operator nor connection", id="instance"
        ),
        pytest.param({"extra": {"script_id": ""}}, r"script_id: neither the operator nor connection", id="script"),
    ],
)
def test_a_connection_that_cannot_be_used(
    simulator: Simulator,
    context: Callable[..., Any],
    connection: Callable[..., None],
    change: dict[str, Any],
    words: str,
) -> None:
    connection(**change)

    with pytest.raises(OutboundBotError, match=words) as caught:
        create().execute(context())

    one_line(caught)
    assert not simulator.state()["groups"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param({"contacts": None}, r"contacts: give one of contacts, contacts_path", id="none"),
        pytest.param({"contacts_path": "x.csv"}, r"contacts: give one of", id="both"),
        pytest.param({"contacts": [], "on_empty": "fail"}, r"contacts: there are no contacts; pass", id="empty"),
        pytest.param({"contacts": [{"name": "Li"}]}, r"1 of 1 contacts .* row 1: no phone number", id="no-number"),
        pytest.param({"contacts": "{{ x }}"}, r"contacts: str is not a list", id="text"),
        pytest.param({"contacts": None, "contacts_path": "/nowhere.csv"}, r"/nowhere.csv cannot be read", id="no-file"),
        pytest.param({"contacts": None, "contacts_path": "/nowhere.docx"}, r"suffixes .csv", id="suffix"),
        pytest.param({"exclude": ["12"]}, r"exclude: row 1 .*; fix it", id="exclude"),
        pytest.param({"job_group_id": "nope"}, r"NotExist.JobGroup", id="unknown-group"),
        pytest.param({"job_group_id": None}, r"job_group_id: empty", id="no-group"),
        pytest.param({"job_group_id": "{'job_group_id': 'g'}"}, r"render_template_as_native_obj", id="text-of-group"),
        pytest.param({"batch_size": 100}, r"batch_size: 100 is not a whole number from 1 to 99", id="batch-size"),
        pytest.param({"on_empty": "ignore"}, r"on_empty: 'ignore'", id="on-empty"),
        pytest.param({"columns": {"telefon": "x"}}, r"columns: 'telefon' is not one of", id="columns"),
        pytest.param({"default_region": "China"}, r"default_region: 'China'", id="region"),
        pytest.param({"rejects_path": "/proc/none/rejects.csv"}, r"rejects_path: .* cannot be written", id="rejects"),
    ],
)
def test_contacts_that_cannot_be_assigned(
    simulator: Simulator, context: Callable[..., Any], group: dict[str, Any], arguments: dict[str, Any], words: str
) -> None:
    with pytest.raises(OutboundBotError, match=words) as caught:
        assign(**{"job_group_id": group, **arguments}).execute(context())

    one_line(caught)
    assert calls_placed(simulator) == 0


def test_no_contacts_skip_the_task(simulator: Simulator, context: Callable[..., Any], group: dict[str, Any]) -> None:
    with pytest.raises(AirflowSkipException):
        assign(job_group_id=group, contacts=[]).execute(context())

    assert calls_placed(simulator) == 0


LATE = {"run_after": datetime.now(UTC) - timedelta(hours=13)}
BACKFILL = {"run_type": "backfill", "run_after": datetime.now(UTC) - timedelta(days=3)}


@pytest.mark.parametrize("run", [pytest.param(LATE, id="late"), pytest.param(BACKFILL, id="backfill")])
def test_a_late_run_and_a_backfill_call_nobody(
    simulator: Simulator, context: Callable[..., Any], group: dict[str, Any], run: dict[str, Any]
) -> None:
    with pytest.raises(OutboundBotWrongTimeError) as creating:
        create(start_immediately=True, strategy=None).execute(context("another", **run))
    with pytest.raises(OutboundBotWrongTimeError) as assigning:
        assign(job_group_id=group).execute(context(**run))

    assert one_line(creating)
    assert one_line(assigning)
    assert len(simulator.state()["groups"]) == 1
    assert calls_placed(simulator) == 0


@pytest.mark.parametrize(
    ("run", "arguments"),
    [
        pytest.param(LATE, {"max_run_age": timedelta(hours=14)}, id="late"),
        pytest.param(BACKFILL, {"allow_backfill": True}, id="backfill"),
    ],
)
def test_unless_the_author_said_so(
    simulator: Simulator, context: Callable[..., Any], run: dict[str, Any], arguments: dict[str, Any]
) -> None:
    made = create(start_immediately=True, strategy=None, **arguments).execute(context("create", **run))

    result = assign(job_group_id=made, **arguments).execute(context("assign", **run))

    assert result["assigned"] == 1


def test_a_fully_assigned_run_still_succeeds_when_it_is_late(
    simulator: Simulator, context: Callable[..., Any], group: dict[str, Any]
) -> None:
    assign(job_group_id=group).execute(context("assign"))
    calls_before = simulator.state()["requests"]["AssignJobs"]

    again = create().execute(context("create", **LATE))
    result = assign(job_group_id=again).execute(context("assign", **LATE))

    assert again == group
    assert (result["assigned"], result["newly_assigned"]) == (1, 0)
    assert simulator.state()["requests"]["AssignJobs"] == calls_before


def hours_around_now(*, open_now: bool) -> dict[str, Any]:
    now = datetime.now(SHANGHAI)
    # Whole hours, so that the test does not depend on the minute it runs in.
    if open_now:
        return {"calling_hours": {"windows": [["00:00", "23:59:59"]]}}
    begin, end = ("01:00", "02:00") if now.hour >= 12 else ("22:00", "23:00")
    return {"calling_hours": {"windows": [[begin, end]]}}


def test_calling_hours_of_the_connection(
    simulator: Simulator, connection: Callable[..., None], context: Callable[..., Any], group: dict[str, Any]
) -> None:
    connection(hours_around_now(open_now=False))

    with pytest.raises(OutboundBotWrongTimeError, match="calling_hours") as creating:
        create(start_immediately=True, strategy=None).execute(context("another"))
    with pytest.raises(OutboundBotWrongTimeError, match="calling_hours") as with_a_window:
        create().execute(context("another"))
    with pytest.raises(OutboundBotWrongTimeError, match="calling_hours") as assigning:
        assign(job_group_id=group).execute(context())
    with pytest.raises(OutboundBotWrongTimeError, match="calling_hours"):
        OutboundBotResumeJobsOperator(task_id="resume", job_group_id=group, all_jobs=True).execute(context())

    assert [str(caught.value) for caught in (creating, with_a_window, assigning) if not one_line(caught)] == []
    assert calls_placed(simulator) == 0
    connection(hours_around_now(open_now=True))
    assert assign(job_group_id=group).execute(context())["assigned"] == 1


def test_a_holiday(connection: Callable[..., None], context: Callable[..., Any]) -> None:
    today = datetime.now(SHANGHAI).date()
    days = [(today + timedelta(days=offset)).isoformat() for offset in (-1, 0, 1)]
    connection({"calling_hours": {"windows": [["00:00", "23:59:59"]], "holidays": days}})

    with pytest.raises(OutboundBotWrongTimeError, match="holiday"):
        create().execute(context())


def test_a_group_whose_window_is_over(simulator: Simulator, context: Callable[..., Any]) -> None:
    over = int((datetime.now(UTC) - timedelta(hours=1)).timestamp() * 1000)
    strategy = {
        "startTime": over - 3_600_000,
        "endTime": over,
        "repeatBy": "Once",
        "workingTime": [{"beginTime": "00:00:00", "endTime": "23:59:59"}],
    }
    made = simulator.run(
        lambda cloud: (
            cloud.create_group(
                name="yesterday", script_id=simulator.script_id, strategy_json=json.dumps(strategy)
            ).group_id
        )
    )

    with pytest.raises(OutboundBotWrongTimeError, match="window was over") as caught:
        assign(job_group_id=made).execute(context())

    assert one_line(caught)
    assert calls_placed(simulator) == 0


def test_a_group_made_elsewhere_without_a_window(simulator: Simulator, context: Callable[..., Any]) -> None:
    made = simulator.run(lambda cloud: cloud.create_group(name="console", script_id=simulator.script_id).group_id)

    with pytest.raises(OutboundBotWrongTimeError, match=r"has no window.*pass strategy") as caught:
        assign(job_group_id=made).execute(context())

    assert one_line(caught)
    assert calls_placed(simulator) == 0
    assert assign(job_group_id=made, strategy=ALL_DAY).execute(context())["assigned"] == 1


def test_only_allowed_numbers_are_called(
    simulator: Simulator, connection: Callable[..., None], context: Callable[..., Any], group: dict[str, Any]
) -> None:
    connection({"allowed_phone_numbers": ["13800000001"]})

    result = assign(job_group_id=group, contacts=["13800000000", "13800000001"]).execute(context())

    assert (result["assigned"], result["excluded"]) == (1, 1)
    assert list(simulator.state()["jobs_per_number"]) == ["13800000001"]


def test_an_assignment_is_given_up_after_the_last_try(
    simulator: Simulator, context: Callable[..., Any], group: dict[str, Any]
) -> None:
    from airflow_provider_outbound import config
    from airflow_provider_outbound.core.ledger import open_ledger

    settings = config.load()

    def open_assignments() -> int:
        with open_ledger(settings.ledger_url, settings.ledger_keys) as ledger:
            return len(ledger.groups.state(group["job_group_id"]).open_assignments)

    simulator.faults(status_500={"actions": ["DescribeJobGroup"], "times": 8})
    for try_number, expected in ((1, 1), (2, 0)):
        with pytest.raises(OutboundBotError):
            assign(job_group_id=group).execute(context(try_number=try_number, max_tries=1))
        assert open_assignments() == expected


@pytest.mark.parametrize("executor", ["CeleryExecutor", "LocalExecutor,KubernetesExecutor"])
def test_a_ledger_in_a_file_is_refused_where_tasks_run_elsewhere(
    context: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, executor: str
) -> None:
    monkeypatch.delenv("AIRFLOW__OUTBOUND__LEDGER_URL")
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", executor)

    with pytest.raises(OutboundBotConfigError, match="ledger_url") as caught:
        create().execute(context())

    one_line(caught)


def test_a_ledger_that_cannot_be_written(
    simulator: Simulator, context: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__OUTBOUND__LEDGER_URL", "sqlite:////proc/none/ledger.db")

    with pytest.raises(LedgerError, match=r"/proc/none") as caught:
        create().execute(context())

    one_line(caught)
    assert not simulator.state()["groups"]


@pytest.mark.parametrize(
    "operator", [OutboundBotSuspendJobsOperator, OutboundBotResumeJobsOperator, OutboundBotCancelJobsOperator]
)
class TestSteering:
    def test_nothing_named_is_an_error(
        self,
        context: Callable[..., Any],
        group: dict[str, Any],
        operator: type[OutboundBotSuspendJobsOperator | OutboundBotCancelJobsOperator],
    ) -> None:
        with pytest.raises(OutboundBotConfigError, match="select jobs by"):
            operator(task_id="steer", job_group_id=group).execute(context())

    def test_an_empty_list_is_nothing(
        self,
        simulator: Simulator,
        context: Callable[..., Any],
        group: dict[str, Any],
        operator: type[OutboundBotSuspendJobsOperator | OutboundBotCancelJobsOperator],
    ) -> None:
        before = simulator.state()["requests"]

        result = operator(task_id="steer", job_group_id=group, job_ids=[], reference_ids=[]).execute(context())

        assert result["requested"] == 0
        assert set(simulator.state()["requests"]) - set(before) <= {"DescribeJobGroup"}

    def test_all_and_some_is_an_error(
        self,
        context: Callable[..., Any],
        group: dict[str, Any],
        operator: type[OutboundBotSuspendJobsOperator | OutboundBotCancelJobsOperator],
    ) -> None:
        with pytest.raises(OutboundBotConfigError, match="select jobs by"):
            operator(task_id="steer", job_group_id=group, job_ids=["x"], all_jobs=True).execute(context())

    def test_a_finished_group_is_a_success(
        self,
        simulator: Simulator,
        context: Callable[..., Any],
        group: dict[str, Any],
        operator: type[OutboundBotSuspendJobsOperator | OutboundBotCancelJobsOperator],
    ) -> None:
        assign(job_group_id=group).execute(context("assign"))
        simulator.run(lambda cloud: cloud.cancel(cloud.group(group["job_group_id"]).jobs))

        result = operator(task_id="steer", job_group_id=group, all_jobs=True).execute(context())

        assert result["total"] == 1

    def test_an_unknown_group(
        self,
        context: Callable[..., Any],
        operator: type[OutboundBotSuspendJobsOperator | OutboundBotCancelJobsOperator],
    ) -> None:
        with pytest.raises(OutboundBotError, match=r"NotExist\.JobGroup"):
            operator(task_id="steer", job_group_id="nope", all_jobs=True).execute(context())


def test_a_sensor_fails_on_a_group_that_we_cancelled_part_way(
    simulator: Simulator, context: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__OUTBOUND__RECONCILE_INTERVAL", "1")
    made = create(strategy=None, start_immediately=True).execute(context("create"))
    simulator.set_clock(speed=1000)
    assign(job_group_id=made).execute(context("assign"))
    sensor: dict[str, Any] = {
        "task_id": "wait",
        "job_group_id": made,
        "rocketmq_conn_id": None,
        "deferrable": False,
        "mode": "poke",
    }
    assert OutboundBotJobCompleteSensor(**sensor, poke_interval=0.2).execute({})["completed"] == 1
    simulator.set_clock(speed=0)
    contacts = [f"1390000000{index}" for index in range(3)]
    assign(job_group_id=made, contacts=contacts, task_id="more").execute(context("more"))

    OutboundBotCancelJobsOperator(
        task_id="cancel", job_group_id=made, all_jobs=True, wait_for_completion=False
    ).execute(context())

    simulator.set_clock(speed=1000)
    with pytest.raises(JobGroupFailedError, match="was cancelled"):
        OutboundBotJobCompleteSensor(**sensor, poke_interval=0.2).execute({})

"""Any action of the API as a task: what it may do, and what Airflow may see of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from airflow_provider_outbound.core.client.guard import may_dial
from airflow_provider_outbound.core.client.requests import action_names
from airflow_provider_outbound.exceptions import OutboundBotConfigError, OutboundBotWrongTimeError
from airflow_provider_outbound.hooks.outboundbot import OutboundBotHook
from airflow_provider_outbound.operators.outboundbot import OutboundBotCallApiOperator
from airflow_provider_outbound.simulator.testing import Simulator

NUMBER = "13800000000"
YESTERDAY = datetime.now(UTC) - timedelta(days=1)


def call(action: str, parameters: Any = None, **arguments: Any) -> OutboundBotCallApiOperator:
    return OutboundBotCallApiOperator(task_id="call", action=action, parameters=parameters, **arguments)


def job(group: str) -> dict[str, Any]:
    contact = {"phoneNumber": NUMBER, "referenceId": "r-1", "name": "王芳"}
    return {"JobGroupId": group, "JobsJson": [json.dumps({"contacts": [contact]})]}


def test_an_action_without_an_operator_of_its_own_is_performed(
    simulator: Simulator, context: Callable[..., Any]
) -> None:
    answer = call("PublishScript", {"ScriptId": simulator.script_id}).execute(context())

    assert answer["Success"] is True
    assert simulator.state()["requests"] == {"PublishScript": 1}


def test_every_action_that_may_dial_is_refused(simulator: Simulator, context: Callable[..., Any]) -> None:
    for action in filter(may_dial, action_names()):
        words = f"{action} (may dial|changes).*allow_dialling.*Nothing was changed"
        with pytest.raises(OutboundBotConfigError, match=words):
            call(action).execute(context())
        with pytest.raises(OutboundBotConfigError, match=action), OutboundBotHook() as hook:
            hook.call(action)

    assert simulator.state()["requests"] == {}


@pytest.mark.parametrize(
    ("run", "allowed"),
    [
        pytest.param({"run_type": "backfill"}, {"allow_backfill": True}, id="backfill"),
        pytest.param(
            {"run_after": datetime.now(UTC) - timedelta(hours=13)}, {"max_run_age": timedelta(days=1)}, id="late"
        ),
    ],
)
def test_nobody_is_called_by_a_late_run_or_a_backfill(
    simulator: Simulator, context: Callable[..., Any], run: dict[str, Any], allowed: dict[str, Any]
) -> None:
    with OutboundBotHook() as hook:
        group = hook.client.create_job_group(job_group_name="spring", script_id=simulator.script_id).job_group_id
    dials: dict[str, Any] = {"allow_dialling": True, "retries": 0}

    with pytest.raises(OutboundBotWrongTimeError, match=r"is a backfill|longer ago.* Nothing was changed"):
        call("AssignJobs", job(group), **dials).execute(context(**run))
    assert simulator.state()["jobs_per_number"] == {}

    # What only stops calls, or only reads, may be sent at any time.
    call("CancelJobs", {"JobGroupId": group, "All": True}, **dials).execute(context(**run))
    call("DescribeJobGroup", {"JobGroupId": group}).execute(context(**run))
    call("AssignJobs", job(group), **dials, **allowed).execute(context(**run))
    assert list(simulator.state()["jobs_per_number"]) == [NUMBER]


def test_who_allows_dialling_dials_without_retries_only(simulator: Simulator, context: Callable[..., Any]) -> None:
    with OutboundBotHook() as hook:
        group = hook.client.create_job_group(job_group_name="spring", script_id=simulator.script_id).job_group_id

    with pytest.raises(OutboundBotConfigError, match=r"retries: 1, .*Nothing was changed"):
        call("AssignJobs", job(group), allow_dialling=True, retries=1).execute(context())
    assert simulator.state()["jobs_per_number"] == {}

    answer = call("AssignJobs", job(group), allow_dialling=True, retries=0).execute(context())
    assert len(answer["JobsId"]) == 1
    assert list(simulator.state()["jobs_per_number"]) == [NUMBER]


@pytest.mark.parametrize(
    ("extra", "error"),
    [
        pytest.param({"dry_run": True}, AirflowSkipException, id="dry-run"),
        pytest.param({"allowed_phone_numbers": ["13900000000"]}, OutboundBotConfigError, id="allowed-numbers"),
    ],
)
def test_a_connection_for_trials_lets_no_dialling_action_through(
    simulator: Simulator,
    context: Callable[..., Any],
    connection: Callable[..., None],
    extra: dict[str, Any],
    error: type[Exception],
) -> None:
    connection(extra)

    with pytest.raises(error):
        call("AssignJobs", job("group"), allow_dialling=True, retries=0).execute(context())
    with pytest.raises(OutboundBotConfigError), OutboundBotHook() as hook:
        hook.call("AssignJobs", allow_dialling=True, **job("group"))

    assert simulator.state()["requests"] == {}


def test_a_connection_for_some_numbers_only_lets_calls_be_stopped(
    simulator: Simulator, context: Callable[..., Any], connection: Callable[..., None]
) -> None:
    with OutboundBotHook() as hook:
        group = hook.client.create_job_group(job_group_name="spring", script_id=simulator.script_id).job_group_id
    connection({"allowed_phone_numbers": []})

    for action in ("SuspendJobs", "CancelJobs"):
        call(action, {"JobGroupId": group, "All": True}, allow_dialling=True, retries=1).execute(context())

    assert {"SuspendJobs", "CancelJobs"} <= simulator.state()["requests"].keys()


def test_calling_hours_hold_for_an_action_by_name(
    simulator: Simulator, context: Callable[..., Any], connection: Callable[..., None]
) -> None:
    with OutboundBotHook() as hook:
        group = hook.client.create_job_group(job_group_name="spring", script_id=simulator.script_id).job_group_id
    today = datetime.now(ZoneInfo("Asia/Shanghai")).date()
    days = [(today + timedelta(days=days)).isoformat() for days in (-1, 0, 1)]
    connection({"calling_hours": {"windows": [["00:00", "24:00"]], "holidays": days}})

    for action, parameters in (("AssignJobs", job(group)), ("StartJob", {"JobJson": "{}"})):
        with pytest.raises(OutboundBotWrongTimeError, match=r"Nothing was changed$"):
            call(action, parameters, allow_dialling=True, retries=0).execute(context())
        with pytest.raises(OutboundBotWrongTimeError), OutboundBotHook() as hook:
            hook.call(action, allow_dialling=True, **parameters)
    call("CancelJobs", {"JobGroupId": group, "All": True}, allow_dialling=True, retries=2).execute(context())

    assert not {"AssignJobs", "StartJob"} & simulator.state()["requests"].keys()
    assert simulator.state()["jobs_per_number"] == {}


@pytest.mark.parametrize("parameters", ["ScriptId", ["ScriptId"], {1: "x"}])
def test_parameters_have_names(simulator: Simulator, context: Callable[..., Any], parameters: Any) -> None:
    with pytest.raises(OutboundBotConfigError, match=r"parameters: a \w+; give a dictionary"):
        call("PublishScript", parameters).execute(context())

    assert simulator.state()["requests"] == {}


def test_neither_airflow_nor_the_log_sees_a_number(
    simulator: Simulator, context: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    with OutboundBotHook() as hook:
        group = hook.client.create_job_group(job_group_name="spring", script_id=simulator.script_id).job_group_id
        hook.call("AssignJobs", allow_dialling=True, **job(group))
    operator = call("ListJobsByGroup", {"JobGroupId": "{{ group }}", "PageNumber": 1, "PageSize": 10})
    operator.render_template_fields(context() | {"group": group, NUMBER: NUMBER})

    answer = operator.execute(context())

    (found,) = answer["Jobs"]["List"]
    assert (found["JobGroupId"], found["Contacts"][0]["ReferenceId"]) == (group, "r-1")
    assert repr(operator.parameters) == "<parameters: JobGroupId, PageNumber, PageSize>"
    shown = json.dumps(answer, ensure_ascii=False) + caplog.text + str(call("StartJob", job(group)).parameters)
    assert NUMBER not in shown
    assert "王芳" not in shown

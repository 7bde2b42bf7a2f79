"""Suspend, resume and cancel: whom they reach, and that a task which waited for the effect tells the truth."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred
from support.processes import PATIENCE, until
from support.waiting import restored, stored

from airflow_provider_outbound.cli import main
from airflow_provider_outbound.core.ledger import TaskKey
from airflow_provider_outbound.core.models.strategy import Strategy
from airflow_provider_outbound.exceptions import JobGroupTimeoutError, OutboundBotConfigError, OutboundBotError
from airflow_provider_outbound.hooks.outboundbot import OutboundBotHook
from airflow_provider_outbound.operators.outboundbot import (
    OutboundBotAssignJobsOperator,
    OutboundBotCancelJobsOperator,
    OutboundBotCreateJobGroupOperator,
    OutboundBotModifyJobGroupOperator,
    OutboundBotResumeJobsOperator,
    OutboundBotSuspendJobsOperator,
)
from airflow_provider_outbound.operators.steering import JobControlOperator
from airflow_provider_outbound.simulator import answers
from airflow_provider_outbound.simulator.cloud import Cloud
from airflow_provider_outbound.simulator.testing import Simulator
from airflow_provider_outbound.triggers.steering import OutboundBotJobsSteeredTrigger

if TYPE_CHECKING:
    from airflow.models import DagRun
    from airflow.triggers.base import TriggerEvent

REFERENCES = [f"person-{index}" for index in range(6)]


@pytest.fixture
def slow_simulator(simulator_factory: Callable[..., Simulator], monkeypatch: pytest.MonkeyPatch) -> Simulator:
    """Two calls at a time, and the clock stands still: two jobs are on the line, the others wait."""
    simulator = simulator_factory(concurrency=2, clock_speed=0)
    for name, value in simulator.connections.items():
        monkeypatch.setenv(name, value)
    return simulator


@pytest.fixture
def group(slow_simulator: Simulator, context: Callable[..., Any]) -> str:
    """A group with six jobs, each to be answered at its first call."""
    made = OutboundBotCreateJobGroupOperator(task_id="create", start_immediately=True).execute(context("create"))
    contacts = [{"phone": f"138000{index}0000", "reference_id": name} for index, name in enumerate(REFERENCES)]
    OutboundBotAssignJobsOperator(task_id="assign", job_group_id=made, contacts=contacts).execute(context("assign"))
    until(lambda: statuses(slow_simulator).count("Executing") == 2, "two calls")
    return str(made["job_group_id"])


def statuses(simulator: Simulator) -> list[str]:
    (group,) = simulator.state()["groups"].values()
    return [job["status"] for job in group["jobs"]]


def rebuilt(trigger: OutboundBotJobsSteeredTrigger) -> OutboundBotJobsSteeredTrigger:
    """The trigger as another process makes it, from the arguments that Airflow stores."""
    path, arguments = trigger.serialize()
    assert path == "airflow_provider_outbound.triggers.steering.OutboundBotJobsSteeredTrigger"
    return OutboundBotJobsSteeredTrigger(**restored(stored(arguments)))


def deferred(
    operator: OutboundBotSuspendJobsOperator | OutboundBotCancelJobsOperator, context: Any
) -> OutboundBotJobsSteeredTrigger:
    with pytest.raises(TaskDeferred) as caught:
        operator.execute(context)
    assert caught.value.method_name == "execute_complete"
    trigger: OutboundBotJobsSteeredTrigger = caught.value.trigger
    return trigger


async def event_of(trigger: OutboundBotJobsSteeredTrigger) -> TriggerEvent:
    return await anext(aiter(rebuilt(trigger).run()))


async def first_event(
    trigger: OutboundBotJobsSteeredTrigger, meanwhile: Callable[..., Any] = lambda: None
) -> dict[str, Any]:
    async with asyncio.timeout(PATIENCE):
        running = asyncio.ensure_future(event_of(trigger))
        await asyncio.sleep(0.2)
        assert not running.done()
        await asyncio.to_thread(meanwhile)
        event = await running
    return dict(event.payload)


@pytest.mark.parametrize(
    ("operator", "after"),
    [
        pytest.param(OutboundBotSuspendJobsOperator, {"Paused"}, id="suspend"),
        pytest.param(OutboundBotCancelJobsOperator, {"Cancelled"}, id="cancel"),
    ],
)
def test_all_jobs_wait_for_the_calls_on_the_line(
    slow_simulator: Simulator,
    context: Callable[..., Any],
    group: str,
    operator: type[OutboundBotSuspendJobsOperator | OutboundBotCancelJobsOperator],
    after: set[str],
) -> None:
    steer = operator(task_id="steer", job_group_id=group, all_jobs=True, deferrable=True, poll_interval=0.1)

    trigger = deferred(steer, context())
    event = asyncio.run(first_event(trigger, lambda: slow_simulator.set_clock(speed=1000)))
    result = steer.execute_complete(context(), event)

    assert event == {"status": "done"}
    assert (result["scheduling"], result["executing"], result["requested"]) == (0, 0, None)
    assert set(statuses(slow_simulator)) <= {*after, "Succeeded"}
    assert statuses(slow_simulator).count(next(iter(after))) >= 4


@pytest.mark.parametrize("operator", [OutboundBotSuspendJobsOperator, OutboundBotCancelJobsOperator])
def test_a_mistake_in_the_calling_hours_keeps_no_task_from_stopping_calls(
    slow_simulator: Simulator,
    context: Callable[..., Any],
    group: str,
    operator: type[OutboundBotSuspendJobsOperator | OutboundBotCancelJobsOperator],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connection = json.loads(slow_simulator.connections["AIRFLOW_CONN_OUTBOUNDBOT_DEFAULT"])
    connection["extra"]["calling_hours"] = "9 to 5"
    monkeypatch.setenv("AIRFLOW_CONN_OUTBOUNDBOT_DEFAULT", json.dumps(connection))
    arguments: dict[str, Any] = {"job_group_id": group, "all_jobs": True, "wait_for_completion": False}

    operator(task_id="stop", **arguments).execute(context("stop"))

    assert "Scheduling" not in statuses(slow_simulator)
    with pytest.raises(OutboundBotConfigError, match="calling_hours"):
        OutboundBotResumeJobsOperator(task_id="resume", **arguments).execute(context("resume"))


def test_a_group_without_a_window_is_resumed_in_calling_hours_once_it_was_given_one(
    slow_simulator: Simulator, context: Callable[..., Any], group: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = json.loads(slow_simulator.connections["AIRFLOW_CONN_OUTBOUNDBOT_DEFAULT"])
    holiday = f"{datetime.now(UTC) + timedelta(days=90):%Y-%m-%d}"
    connection["extra"]["calling_hours"] = {"windows": [["00:00", "24:00"]], "holidays": [holiday]}
    monkeypatch.setenv("AIRFLOW_CONN_OUTBOUNDBOT_DEFAULT", json.dumps(connection))
    steer: dict[str, Any] = {"job_group_id": group, "all_jobs": True, "wait_for_completion": False}
    OutboundBotSuspendJobsOperator(task_id="suspend", **steer).execute(context("suspend"))

    with pytest.raises(OutboundBotConfigError, match=r"give it one with OutboundBotModifyJobGroupOperator\(strategy="):
        OutboundBotResumeJobsOperator(task_id="resume", **steer).execute(context("resume"))
    window = Strategy(working_time=[("00:00", "23:59:59")])
    OutboundBotModifyJobGroupOperator(task_id="modify", job_group_id=group, strategy=window).execute(context("modify"))
    OutboundBotResumeJobsOperator(task_id="resume", **steer).execute(context("resume"))

    assert "Paused" not in statuses(slow_simulator)


@pytest.mark.parametrize("named_by", ["job_ids", "reference_ids"])
def test_named_jobs_alone_are_suspended_and_resumed(
    slow_simulator: Simulator, context: Callable[..., Any], group: str, named_by: str
) -> None:
    waiting = [job for job in jobs_of(slow_simulator, group) if job["status"] == "Scheduling"][:2]
    names = [job["job_id" if named_by == "job_ids" else "reference_id"] for job in waiting]
    steer: dict[str, Any] = {"job_group_id": group, named_by: names, "deferrable": True}

    held = OutboundBotSuspendJobsOperator(task_id="suspend", **steer).execute(context())
    paused = {job["job_id"] for job in jobs_of(slow_simulator, group) if job["status"] == "Paused"}
    freed = OutboundBotResumeJobsOperator(task_id="resume", **steer).execute(context())

    assert paused == {job["job_id"] for job in waiting}
    assert (held["requested"], held["paused"]) == (2, 2)
    assert (freed["requested"], freed["paused"]) == (2, 0)


def test_a_named_job_on_the_line_is_waited_for(
    slow_simulator: Simulator, context: Callable[..., Any], group: str
) -> None:
    talking = next(job for job in jobs_of(slow_simulator, group) if job["status"] == "Executing")
    steer = OutboundBotCancelJobsOperator(
        task_id="cancel",
        job_group_id=group,
        reference_ids=[talking["reference_id"]],
        deferrable=True,
        poll_interval=0.1,
    )

    trigger = deferred(steer, context())
    event = asyncio.run(first_event(trigger, lambda: slow_simulator.set_clock(speed=1000)))

    assert trigger.job_ids == [talking["job_id"]]
    assert event == {"status": "done"}
    assert steer.execute_complete(context(), event)["requested"] == 1


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        pytest.param({"timeout": 60}, "timeout: 60 is not a timedelta", id="timeout"),
        pytest.param({"poll_interval": "5"}, "poll_interval: '5' is not a number of seconds", id="interval"),
        pytest.param({"wait_for_completion": "False"}, "wait_for_completion: 'False' is neither", id="flag"),
        pytest.param({"all_jobs": False, "job_ids": 5}, "job_ids: not a list of texts", id="ids"),
    ],
)
def test_an_argument_that_cannot_be_used_is_refused_before_anything_is_sent(
    slow_simulator: Simulator, context: Callable[..., Any], group: str, argument: dict[str, Any], words: str
) -> None:
    with pytest.raises(OutboundBotConfigError, match=words):
        OutboundBotCancelJobsOperator(task_id="cancel", job_group_id=group, **{"all_jobs": True, **argument}).execute(
            context()
        )

    assert "CancelJobs" not in slow_simulator.state()["requests"]
    assert "Cancelled" not in statuses(slow_simulator)


def test_an_effect_that_does_not_come_fails_the_task(context: Callable[..., Any], group: str) -> None:
    steer = OutboundBotSuspendJobsOperator(
        task_id="suspend", job_group_id=group, all_jobs=True, deferrable=True, timeout=timedelta(), poll_interval=0.1
    )

    event = asyncio.run(event_of(deferred(steer, context()))).payload

    assert event == {"status": "timeout", "remaining": 2}
    with pytest.raises(JobGroupTimeoutError, match="suspend: no effect yet on 2 jobs"):
        steer.execute_complete(context(), event)


def test_without_a_triggerer_the_task_waits_itself(
    slow_simulator: Simulator, context: Callable[..., Any], group: str
) -> None:
    slow_simulator.set_clock(speed=1)

    result = OutboundBotCancelJobsOperator(
        task_id="cancel", job_group_id=group, all_jobs=True, deferrable=False, poll_interval=0.05
    ).execute(context())

    assert (result["scheduling"], result["executing"], result["paused"]) == (0, 0, 0)


def test_who_does_not_wait_is_told_how_it_stands(context: Callable[..., Any], group: str) -> None:
    result = OutboundBotSuspendJobsOperator(
        task_id="suspend", job_group_id=group, all_jobs=True, deferrable=True, wait_for_completion=False
    ).execute(context())

    assert (result["paused"], result["executing"]) == (4, 2)


def test_an_api_out_of_order_is_asked_again(slow_simulator: Simulator, context: Callable[..., Any], group: str) -> None:
    steer = OutboundBotSuspendJobsOperator(
        task_id="suspend", job_group_id=group, all_jobs=True, deferrable=True, poll_interval=0.1
    )
    trigger = deferred(steer, context())
    slow_simulator.faults(status_503={"times": 6, "actions": ["DescribeJobGroup"]})

    event = asyncio.run(first_event(trigger, lambda: slow_simulator.set_clock(speed=1000)))

    assert event == {"status": "done"}


def test_a_trigger_tells_the_task_what_went_wrong_in_one_line(
    slow_simulator: Simulator, context: Callable[..., Any]
) -> None:
    trigger = OutboundBotJobsSteeredTrigger(
        action="cancel", job_group_id="nope", job_ids=None, deadline=datetime.now(UTC) + timedelta(minutes=1)
    )

    event = asyncio.run(event_of(trigger)).payload

    assert event["status"] == "error"
    with pytest.raises(OutboundBotError, match=r"NotExist\.JobGroup") as caught:
        OutboundBotCancelJobsOperator(task_id="cancel", job_group_id="nope", all_jobs=True).execute_complete(
            context(), event
        )
    assert "\n" not in str(caught.value)


def test_a_task_whose_event_was_lost_acts_again(
    slow_simulator: Simulator, context: Callable[..., Any], group: str
) -> None:
    steer = OutboundBotSuspendJobsOperator(
        task_id="suspend", job_group_id=group, all_jobs=True, deferrable=True, poll_interval=0.1
    )
    deferred(steer, context())

    with pytest.raises(TaskDeferred):
        steer.execute_complete(context(), None)


def test_a_deferred_suspension_in_a_dag(slow_simulator: Simulator, run_dag: Callable[..., DagRun]) -> None:
    slow_simulator.set_clock(speed=1)
    with DAG("held", schedule=None) as dag:
        create = OutboundBotCreateJobGroupOperator(task_id="create", start_immediately=True)
        assign = OutboundBotAssignJobsOperator(
            task_id="assign", job_group_id=create.output, contacts=[f"1380000{index:04}" for index in range(20)]
        )
        suspend = OutboundBotSuspendJobsOperator(
            task_id="suspend", job_group_id=create.output, all_jobs=True, deferrable=True, poll_interval=0.1
        )
        cancel = OutboundBotCancelJobsOperator(
            task_id="cancel", job_group_id=create.output, all_jobs=True, deferrable=True, poll_interval=0.1
        )
        assign >> suspend >> cancel

    run = run_dag(dag)

    assert run.state == "success"
    assert set(statuses(slow_simulator)) <= {"Cancelled", "Succeeded", "Failed"}


def jobs_of(simulator: Simulator, job_group_id: str) -> list[dict[str, Any]]:
    return list(simulator.state()["groups"][job_group_id]["jobs"])


def test_reference_ids_that_a_running_task_may_still_add_fail_the_task(
    slow_simulator: Simulator, context: Callable[..., Any], group: str
) -> None:
    """Whoever asks for that is told, because these people would be called."""
    cancel = OutboundBotCancelJobsOperator(
        task_id="cancel", job_group_id=group, reference_ids=[REFERENCES[-1], "not-assigned-yet"]
    )
    with OutboundBotHook() as hook:
        hook.ledger.assignments.open(
            TaskKey("dag", "run", "assign more"), group, owner="worker", lease_seconds=60, settle_seconds=1
        )

    with pytest.raises(OutboundBotError, match="1 of 2 reference_ids are not in the group yet"):
        cancel.execute(context())

    assert statuses(slow_simulator).count("Cancelled") == 1


def test_reference_ids_that_are_not_in_the_group_are_counted_in_the_log(
    slow_simulator: Simulator, context: Callable[..., Any], group: str, caplog: pytest.LogCaptureFixture
) -> None:
    cancel = OutboundBotCancelJobsOperator(
        task_id="cancel", job_group_id=group, reference_ids=[REFERENCES[-1], "nobody"]
    )

    cancel.execute(context())

    assert "1 of 2 reference_ids are not in the group, so nothing was done about them" in caplog.text
    assert statuses(slow_simulator).count("Cancelled") == 1


@pytest.mark.parametrize("operator", [OutboundBotSuspendJobsOperator, OutboundBotCancelJobsOperator])
def test_reference_ids_of_which_none_is_in_the_group_fail_the_task(
    slow_simulator: Simulator,
    context: Callable[..., Any],
    group: str,
    operator: type[OutboundBotSuspendJobsOperator | OutboundBotCancelJobsOperator],
) -> None:
    """Customer numbers, for a list that had none: each contact's reference id is a hash."""
    stop = operator(task_id="stop", job_group_id=group, reference_ids=["C1001", "C1002", "C1001"])

    with pytest.raises(OutboundBotError, match=r"2 of 2 reference_ids are not in the group.* Correct reference_ids"):
        stop.execute(context())

    assert statuses(slow_simulator).count("Scheduling") == 4


def test_a_reference_id_that_cannot_be_resumed_fails_the_task_after_the_others(
    slow_simulator: Simulator, context: Callable[..., Any], group: str
) -> None:
    OutboundBotSuspendJobsOperator(
        task_id="suspend", job_group_id=group, all_jobs=True, wait_for_completion=False
    ).execute(context())
    resume = OutboundBotResumeJobsOperator(
        task_id="resume", job_group_id=group, reference_ids=[REFERENCES[-1], "nobody"]
    )

    with pytest.raises(OutboundBotError, match="1 of 2 reference_ids are not in the group"):
        resume.execute(context())

    assert statuses(slow_simulator).count("Paused") == 3


@pytest.mark.parametrize("in_console", [False, True])
def test_a_cancelled_group_is_not_resumed(
    slow_simulator: Simulator, context: Callable[..., Any], group: str, *, in_console: bool
) -> None:
    steer: dict[str, Any] = {"job_group_id": group, "all_jobs": True, "wait_for_completion": False}
    if in_console:

        def cancel_all(cloud: Cloud) -> None:
            for job in cloud.group(group).jobs:
                cloud.dialler.end(job, "Cancelled")

        slow_simulator.run(cancel_all)
    else:
        OutboundBotCancelJobsOperator(task_id="cancel", **steer).execute(context("cancel"))

    with pytest.raises(AirflowFailException, match="was cancelled, and cancelled jobs cannot be resumed"):
        OutboundBotResumeJobsOperator(task_id="resume", **steer).execute(context("resume"))


def test_cancelled_jobs_of_a_group_that_is_done_are_named_in_a_warning(
    slow_simulator: Simulator, context: Callable[..., Any], group: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Were they cancelled one by one, or all, when others had ended? The service does not say."""
    with OutboundBotHook() as hook:
        hook.client.cancel_jobs(job_group_id=group, all_jobs=True)
    slow_simulator.set_clock(speed=1000)
    until(lambda: "Executing" not in statuses(slow_simulator), "the calls on the line end")

    OutboundBotResumeJobsOperator(task_id="resume", job_group_id=group, all_jobs=True).execute(context())

    assert f"Job group {group}: no job is suspended; 4 were cancelled, and cannot be resumed" in caplog.messages


@pytest.mark.parametrize("named_by", ["job_ids", "reference_ids"])
@pytest.mark.parametrize("deferrable", [False, True])
def test_cancelled_jobs_that_are_named_fail_the_resumption_after_the_others(
    slow_simulator: Simulator, context: Callable[..., Any], group: str, named_by: str, *, deferrable: bool
) -> None:
    waiting = [job for job in jobs_of(slow_simulator, group) if job["status"] == "Scheduling"][:2]
    names = [job["job_id" if named_by == "job_ids" else "reference_id"] for job in waiting]

    def steer(operator: type[JobControlOperator], names: list[str]) -> None:
        arguments: dict[str, Any] = {"job_group_id": group, named_by: names, "deferrable": deferrable}
        operator(task_id="steer", **arguments).execute(context("steer"))

    steer(OutboundBotCancelJobsOperator, names[:1])
    steer(OutboundBotSuspendJobsOperator, names[1:])

    with pytest.raises(AirflowFailException, match=rf"1 of 2 jobs were cancelled.*\({waiting[0]['job_id']}\)"):
        steer(OutboundBotResumeJobsOperator, names)

    assert "Paused" not in statuses(slow_simulator)


def test_a_group_that_is_done_is_resumed_without_an_error(
    slow_simulator: Simulator, context: Callable[..., Any], group: str
) -> None:
    """A DAG that suspends at noon and resumes at two finds nothing to do if everybody was called in the morning."""
    slow_simulator.set_clock(speed=1000)
    until(lambda: set(statuses(slow_simulator)) <= {"Succeeded", "Failed"}, "all calls")

    result = OutboundBotResumeJobsOperator(task_id="resume", job_group_id=group, all_jobs=True).execute(context())

    assert (result["paused"], result["scheduling"]) == (0, 0)


def test_what_is_suspended_while_a_task_resumes_it_is_not_resumed_by_a_retry(
    slow_simulator: Simulator, context: Callable[..., Any], group: str
) -> None:
    """As "outbound suspend --all" does: the wait for the resumption then ends without an effect."""
    stop = OutboundBotSuspendJobsOperator(
        task_id="suspend", job_group_id=group, all_jobs=True, wait_for_completion=False
    )
    resume = OutboundBotResumeJobsOperator(
        task_id="resume", job_group_id=group, all_jobs=True, wait_for_completion=False
    )
    waiting = OutboundBotJobsSteeredTrigger(
        action="resume", job_group_id=group, job_ids=None, deadline=datetime.now(UTC), poll_interval=0.1
    )
    stop.execute(context())
    resume.execute(context())
    stop.execute(context())

    event = asyncio.run(event_of(waiting)).payload

    assert event == {"status": "timeout", "remaining": 4}
    with pytest.raises(AirflowFailException, match=r"no effect yet on 4 jobs .* was suspended meanwhile, and stays so"):
        resume.execute_complete(context(), event)
    assert statuses(slow_simulator).count("Paused") == 4


@pytest.mark.parametrize("deferrable", [True, False])
def test_job_ids_that_are_not_in_the_group_fail_the_task_after_the_others(
    slow_simulator: Simulator, context: Callable[..., Any], group: str, deferrable: bool
) -> None:
    """A typo, and a job of another group."""
    other = OutboundBotCreateJobGroupOperator(task_id="other", start_immediately=True).execute(context("other"))
    OutboundBotAssignJobsOperator(
        task_id="assign-other", job_group_id=other, contacts=[{"phone": "13900000000"}]
    ).execute(context("assign-other"))
    groups = slow_simulator.state()["groups"]
    waiting = next(job for job in groups[group]["jobs"] if job["status"] == "Scheduling")
    (foreign,) = groups[other["job_group_id"]]["jobs"]
    cancel = OutboundBotCancelJobsOperator(
        task_id="cancel",
        job_group_id=group,
        job_ids=[waiting["job_id"], "job-typo", foreign["job_id"]],
        deferrable=deferrable,
    )

    with pytest.raises(OutboundBotError, match=rf"job_ids: 2 of 3 are not in .*job-typo, {foreign['job_id']}\)"):
        cancel.execute(context())
    with pytest.raises(OutboundBotError, match="job_ids: 2 of 3"):
        cancel.execute_complete(context(), {"status": "done"})

    jobs = [job for found in slow_simulator.state()["groups"].values() for job in found["jobs"]]
    assert [job["job_id"] for job in jobs if job["status"] == "Cancelled"] == [waiting["job_id"]]


@pytest.mark.parametrize("by", [{"all_jobs": True}, {"reference_ids": REFERENCES[-1:]}], ids=["all", "named"])
def test_jobs_are_cancelled_without_the_ledger(
    slow_simulator: Simulator,
    context: Callable[..., Any],
    group: str,
    monkeypatch: pytest.MonkeyPatch,
    by: dict[str, Any],
) -> None:
    cancel = OutboundBotCancelJobsOperator(task_id="cancel", job_group_id=group, wait_for_completion=False, **by)
    monkeypatch.setenv("AIRFLOW__OUTBOUND__LEDGER_URL", "nonsense")

    if "all_jobs" in by:
        with pytest.raises(OutboundBotError, match="the service accepted cancel, but the ledger could not record it"):
            cancel.execute(context())
    else:
        cancel.execute(context())

    assert "Cancelled" in statuses(slow_simulator)


def test_an_answer_without_progress_does_not_count_as_an_effect(
    slow_simulator: Simulator, context: Callable[..., Any], group: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = answers.group_answer

    def without_progress(*args: Any, **kwargs: Any) -> dict[str, Any]:
        return {name: value for name, value in answer(*args, **kwargs).items() if name != "Progress"}

    monkeypatch.setattr(answers, "group_answer", without_progress)
    cancel = OutboundBotCancelJobsOperator(
        task_id="cancel", job_group_id=group, all_jobs=True, timeout=timedelta(seconds=0.2), poll_interval=0.1
    )

    with pytest.raises(JobGroupTimeoutError, match="an unknown number of jobs"):
        cancel.execute(context())


def test_a_task_of_a_run_that_had_started_when_its_group_was_cancelled_calls_nobody(
    slow_simulator: Simulator, context: Callable[..., Any]
) -> None:
    """The group is another run's: it is used every day."""
    group = OutboundBotCreateJobGroupOperator(task_id="create", start_immediately=True).execute(
        context("create", run_id="once")
    )
    started_at = datetime.now(UTC)
    OutboundBotCancelJobsOperator(
        task_id="cancel", job_group_id=group, all_jobs=True, wait_for_completion=False
    ).execute(context("cancel", run_id="tonight"))

    def assign(run_id: str, started_at: datetime) -> dict[str, Any]:
        found = context("assign", run_id=run_id)
        found["dag_run"].start_date = started_at
        operator = OutboundBotAssignJobsOperator(task_id="assign", job_group_id=group, contacts=["13800000000"])
        return operator.execute(found)

    with pytest.raises(OutboundBotError, match=r"all its jobs were cancelled at .*\. Nobody was called"):
        assign("tonight", started_at)
    assert statuses(slow_simulator) == []
    assert assign("tomorrow", datetime.now(UTC))["assigned"] == 1


@pytest.mark.parametrize("way", ["operator", "references", "command"])
def test_nobody_but_the_allowed_is_called_by_resuming(
    slow_simulator: Simulator, context: Callable[..., Any], group: str, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """The connection was restricted after the group had been filled."""
    OutboundBotSuspendJobsOperator(
        task_id="suspend", job_group_id=group, all_jobs=True, wait_for_completion=False
    ).execute(context("suspend"))
    paused = [job["reference_id"] for job in jobs_of(slow_simulator, group) if job["status"] == "Paused"]
    value = json.loads(slow_simulator.connections["AIRFLOW_CONN_OUTBOUNDBOT_DEFAULT"])
    value["extra"]["allowed_phone_numbers"] = [f"138000{paused[0][-1]}0000"]
    monkeypatch.setenv("AIRFLOW_CONN_OUTBOUNDBOT_DEFAULT", json.dumps(value))

    def resume(**jobs: Any) -> Any:
        operator = OutboundBotResumeJobsOperator(
            task_id="resume", job_group_id=group, wait_for_completion=False, **jobs
        )
        return operator.execute(context("resume"))

    if way == "command":
        assert main(["resume", group]) == 1
    else:
        selected = {"all_jobs": True} if way == "operator" else {"reference_ids": paused[:2]}
        with pytest.raises(OutboundBotConfigError, match=r"allowed_phone_numbers: .* Nothing was changed"):
            resume(**selected)
    assert "ResumeJobs" not in slow_simulator.state()["requests"]

    resume(reference_ids=paused[:1])
    assert slow_simulator.state()["requests"]["ResumeJobs"] == 1

"""Nobody is called at the wrong time, whatever zone the author, the connection and the service think in."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest
from airflow.sdk import DAG

from airflow_provider_outbound.cli import main
from airflow_provider_outbound.core.models.strategy import Strategy
from airflow_provider_outbound.exceptions import OutboundBotConfigError, OutboundBotWrongTimeError
from airflow_provider_outbound.operators.outboundbot import (
    OutboundBotAssignJobsOperator,
    OutboundBotCreateJobGroupOperator,
    OutboundBotResumeJobsOperator,
    OutboundBotSuspendJobsOperator,
)
from airflow_provider_outbound.simulator.testing import Simulator

if TYPE_CHECKING:
    from airflow.models import DagRun

ALL_DAY = Strategy(working_time=[("00:00", "24:00")])
SHANGHAI = ZoneInfo("Asia/Shanghai")
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def create(**arguments: Any) -> OutboundBotCreateJobGroupOperator:
    return OutboundBotCreateJobGroupOperator(**{"task_id": "create", "strategy": ALL_DAY, **arguments})


def at_once(**arguments: Any) -> OutboundBotCreateJobGroupOperator:
    return create(strategy=None, start_immediately=True, **arguments)


def assign(**arguments: Any) -> OutboundBotAssignJobsOperator:
    return OutboundBotAssignJobsOperator(
        **{"task_id": "assign", "contacts": ["13800000000"], "settle_seconds": 0.3, **arguments}
    )


def calls(simulator: Simulator) -> list[dict[str, Any]]:
    groups = simulator.state()["groups"].values()
    return [call for group in groups for job in group["jobs"] for call in job["calls"]]


def noon() -> ZoneInfo:
    """A zone in which it is about noon, so that hours around now lie within one day."""
    return ZoneInfo(f"Etc/GMT{datetime.now(UTC).hour - 12:+d}")


def hours_until(end: datetime, **more: Any) -> dict[str, Any]:
    """Calling hours of an hour that ends at a moment of :func:`noon`'s day."""
    windows = [[f"{end - HOUR:%H:%M:%S}", f"{end:%H:%M:%S}"]]
    return {"calling_hours": {"timezone": str(end.tzinfo), "windows": windows, **more}}


def elsewhere() -> tuple[ZoneInfo, datetime]:
    """A zone whose date is another than Shanghai's now, and its time."""
    now = datetime.now(UTC)
    for name in ("Pacific/Kiritimati", "Pacific/Pago_Pago"):
        there = now.astimezone(ZoneInfo(name))
        if there.date() != now.astimezone(SHANGHAI).date():
            return ZoneInfo(name), there
    raise AssertionError("one of the two is always on another day")


def closed_elsewhere() -> dict[str, Any]:
    """Hours that are open in Shanghai now, by a clock that has another date there, and closed by its own."""
    zone, there = elsewhere()
    window = ["01:00", "02:00"] if there.hour >= 12 else ["22:00", "23:00"]
    return {"calling_hours": {"timezone": zone.key, "windows": [window]}}


def holiday_elsewhere() -> dict[str, Any]:
    zone, there = elsewhere()
    holidays = [f"{there:%Y-%m-%d}"]
    return {"calling_hours": {"timezone": zone.key, "windows": [["00:00", "24:00"]], "holidays": holidays}}


@pytest.mark.parametrize("hours", [closed_elsewhere, holiday_elsewhere])
def test_calling_hours_of_a_zone_with_another_date_hold(
    simulator: Simulator,
    connection: Callable[..., None],
    context: Callable[..., Any],
    hours: Callable[[], dict[str, Any]],
) -> None:
    group = create().execute(context("create"))
    assign(job_group_id=group).execute(context("assign"))
    # A window that is over before the other zone's day is.
    soon = Strategy(
        working_time=[("00:00", "24:00")], start=datetime.now(UTC) - HOUR, end=datetime.now(UTC) + timedelta(minutes=9)
    )
    short = create(strategy=soon).execute(context("short"))
    connection(hours())

    with pytest.raises(OutboundBotWrongTimeError, match="calling_hours"):
        create(strategy=soon).execute(context("another"))
    with pytest.raises(OutboundBotWrongTimeError, match="calling_hours"):
        assign(job_group_id=short, contacts=["13900000001"]).execute(context("more"))
    for job_group_id in (group, short):
        with pytest.raises(OutboundBotWrongTimeError, match="calling_hours"):
            assign(job_group_id=job_group_id, strategy=soon, contacts=["13900000001"]).execute(context("even-more"))
        assign_nothing = OutboundBotResumeJobsOperator(task_id="resume", job_group_id=short, all_jobs=True)
        with pytest.raises(OutboundBotWrongTimeError, match="calling_hours"):
            assign_nothing.execute(context("resume"))

    assert list(simulator.state()["jobs_per_number"]) == ["13800000000"]
    assert len(simulator.state()["groups"]) == 2


def test_the_hours_end_a_group_that_dials_at_once(
    simulator_factory: Callable[..., Simulator], connection: Callable[..., None], context: Callable[..., Any]
) -> None:
    simulator = simulator_factory(concurrency=1, call_seconds=60)
    end = datetime.now(noon()).replace(microsecond=0) + timedelta(minutes=5)
    connection(hours_until(end), host=simulator.api)

    group = at_once().execute(context("create"))
    assign(job_group_id=group, contacts=[f"138{index:08d}" for index in range(20)]).execute(context("assign"))
    for _ in range(20):
        simulator.advance(60)
        time.sleep(0.02)

    placed = calls(simulator)
    assert placed
    assert [call for call in placed if call["started_at"] >= end.timestamp() * 1000] == []
    assert datetime.fromisoformat(group["ends_at"]) == end


def test_a_group_that_was_made_without_hours_is_bounded_by_hours_that_came_later(
    simulator: Simulator, connection: Callable[..., None], context: Callable[..., Any]
) -> None:
    simulator.set_clock(speed=0)
    group = at_once().execute(context("create"))
    end = datetime.now(noon()).replace(microsecond=0) + timedelta(minutes=20)
    connection(hours_until(end))

    assert assign(job_group_id=group).execute(context("assign"))["assigned"] == 1

    job = simulator.run(lambda cloud: cloud.groups[group["job_group_id"]].jobs[0])
    assert job.strategy.end == end.timestamp()
    # Resumed jobs would go on after the hours, for the group itself has no end.
    assign(job_group_id=group, contacts=["13900000000"], task_id="more").execute(context("more"))
    OutboundBotSuspendJobsOperator(task_id="suspend", job_group_id=group, all_jobs=True).execute(context("suspend"))
    with pytest.raises(OutboundBotWrongTimeError, match="has no window"):
        OutboundBotResumeJobsOperator(task_id="resume", job_group_id=group, all_jobs=True).execute(context("resume"))


def test_a_lunch_break_is_none_of_the_hours(
    simulator: Simulator, connection: Callable[..., None], context: Callable[..., Any]
) -> None:
    now = datetime.now(noon())
    windows = [[f"{now - 2 * HOUR:%H:%M}", f"{now - HOUR:%H:%M}"], [f"{now + HOUR:%H:%M}", f"{now + 2 * HOUR:%H:%M}"]]
    connection({"calling_hours": {"timezone": str(now.tzinfo), "windows": windows}})

    with pytest.raises(OutboundBotWrongTimeError, match="calling_hours"):
        at_once().execute(context("create"))

    assert not simulator.state()["groups"]


def test_a_strategy_that_the_service_cannot_be_told_is_refused_when_the_group_is_created(
    simulator: Simulator, context: Callable[..., Any]
) -> None:
    zone = ZoneInfo("America/New_York")
    strategy = Strategy(
        working_time=[("08:00", "21:00")],
        timezone=zone.key,
        end=datetime.now(UTC) + timedelta(days=200),
        repeat_by="Week",
        repeat_days=[1, 2, 3, 4, 5],
    )

    with pytest.raises(OutboundBotConfigError, match=r"changes its clocks between .* Nobody was called"):
        create(strategy=strategy).execute(context("create"))

    assert not simulator.state()["groups"]


def test_a_weekly_strategy_dials_on_the_days_of_its_own_zone(
    simulator_factory: Callable[..., Simulator], connection: Callable[..., None], context: Callable[..., Any]
) -> None:
    """New York's Monday at noon is Tuesday in Shanghai."""
    zone = ZoneInfo("America/New_York")
    # No change of clocks lies within December.
    start = datetime(datetime.now(UTC).year + 1, 12, 1, tzinfo=zone)
    simulator = simulator_factory(clock_speed=0, start_at=start, call_seconds=1)
    connection(host=simulator.api)
    strategy = Strategy(
        working_time=[("12:00", "13:00")],
        timezone=zone.key,
        start=start,
        end=start + timedelta(days=14),
        repeat_by="Week",
        repeat_days=[1, 5],
        max_attempts_per_day=1,
    )
    group = create(strategy=strategy, script_id=simulator.script_id, instance_id=simulator.instance_id).execute(
        context("create")
    )
    # Nobody answers this number, so that it is called on each of the days.
    assign(job_group_id=group, contacts=["13800000060"]).execute(context("assign"))

    for _ in range(15 * 24):
        simulator.advance(3600)
        while simulator.run(lambda cloud: (cloud.dialler.agenda.next_at() or 1e12) <= cloud.clock.now()):
            time.sleep(0.001)

    started = [datetime.fromtimestamp(call["started_at"] / 1000, zone) for call in calls(simulator)]
    assert len(started) == 4
    assert {moment.strftime("%a %H") for moment in started} == {"Mon 12", "Fri 12"}


PAST, FUTURE = datetime.now(UTC) - 2 * DAY, datetime.now(UTC) + 3 * DAY


@pytest.mark.parametrize("run_type", ["manual", "operator_triggered"])
def test_a_triggered_run_stands_for_its_logical_date(
    simulator: Simulator, context: Callable[..., Any], run_type: str
) -> None:
    run = {"run_type": run_type, "logical_date": PAST}
    group = create().execute(context("create"))

    for creating in (create(), at_once()):
        with pytest.raises((OutboundBotWrongTimeError, OutboundBotConfigError), match=r"longer ago|was over"):
            creating.execute(context("another", **run))
    with pytest.raises(OutboundBotWrongTimeError, match=r"this run was due at .* longer ago than max_run_age"):
        assign(job_group_id=group).execute(context("assign", **run))

    assert len(simulator.state()["groups"]) == 1
    assert not simulator.state()["jobs_per_number"]
    allowed = assign(job_group_id=group, max_run_age=3 * DAY).execute(context("assign", **run))
    assert allowed["assigned"] == 1


def test_a_triggered_run_without_a_logical_date_stands_for_now(
    simulator: Simulator, context: Callable[..., Any]
) -> None:
    group = at_once().execute(context("create", run_type="manual"))

    assert assign(job_group_id=group).execute(context("assign", run_type="manual"))["assigned"] == 1


def test_a_scheduled_run_stands_for_the_end_of_its_interval(simulator: Simulator, context: Callable[..., Any]) -> None:
    run = {"run_type": "scheduled", "logical_date": datetime.now(UTC) - DAY}

    group = at_once().execute(context("create", **run))

    assert assign(job_group_id=group).execute(context("assign", **run))["assigned"] == 1


def test_a_run_for_a_date_to_come_dials_in_the_window_of_that_day_and_never_at_once(
    simulator: Simulator, context: Callable[..., Any]
) -> None:
    run = {"run_type": "manual", "logical_date": FUTURE}

    with pytest.raises(OutboundBotWrongTimeError, match="in the future"):
        at_once().execute(context("another", **run))
    group = create().execute(context("create", **run))
    assign(job_group_id=group).execute(context("assign", **run))
    windowless = at_once().execute(context("windowless"))
    with pytest.raises(OutboundBotWrongTimeError, match="in the future"):
        assign(job_group_id=windowless, contacts=["13900000000"]).execute(context("more", **run))

    starts_at = datetime.fromisoformat(group["starts_at"])
    assert starts_at.astimezone(SHANGHAI).date() == FUTURE.astimezone(SHANGHAI).date()
    assert list(simulator.state()["jobs_per_number"]) == ["13800000000"]
    assert not calls(simulator)


@pytest.mark.parametrize(("logical_date", "state"), [(PAST, "failed"), (None, "success")])
def test_airflows_own_run_for_a_past_date_calls_nobody(
    simulator: Simulator, run_dag: Callable[..., DagRun], logical_date: datetime | None, state: str
) -> None:
    with DAG(f"past_{state}", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)) as dag:
        group = at_once(retries=0)
        assign(job_group_id=group.output)

    run = run_dag(dag, **({} if logical_date is None else {"logical_date": logical_date}))

    assert run.state == state
    assert len(simulator.state()["jobs_per_number"]) == (0 if logical_date else 1)


@pytest.mark.parametrize(
    ("run", "allowed"),
    [
        pytest.param({"run_type": "backfill"}, {"allow_backfill": True}, id="backfill"),
        pytest.param({"run_after": PAST}, {"max_run_age": 3 * DAY}, id="late"),
    ],
)
def test_nobody_is_called_by_resuming_from_a_late_run_or_a_backfill(
    simulator: Simulator, context: Callable[..., Any], run: dict[str, Any], allowed: dict[str, Any]
) -> None:
    simulator.set_clock(speed=0)
    group = create().execute(context("create"))
    assign(job_group_id=group).execute(context("assign"))
    OutboundBotSuspendJobsOperator(task_id="suspend", job_group_id=group, all_jobs=True).execute(context("suspend"))
    resume: dict[str, Any] = {
        "task_id": "resume",
        "job_group_id": group,
        "all_jobs": True,
        "wait_for_completion": False,
    }

    with pytest.raises(OutboundBotWrongTimeError, match=r"is a backfill|longer ago"):
        OutboundBotResumeJobsOperator(**resume).execute(context("resume", **run))
    assert "ResumeJobs" not in simulator.state()["requests"]
    OutboundBotResumeJobsOperator(**resume, **allowed).execute(context("resume", **run))

    assert simulator.state()["requests"]["ResumeJobs"] == 1


@pytest.mark.parametrize("way", ["operator", "command"])
def test_resumed_jobs_keep_to_the_hours_by_their_own_strategy(
    simulator: Simulator, connection: Callable[..., None], context: Callable[..., Any], way: str
) -> None:
    """The API reports the window of the group, not that of jobs which were assigned with another one."""
    simulator.set_clock(speed=0)
    here = datetime.now(noon())
    window: dict[str, Any] = {
        "start": here - HOUR,
        "end": here + timedelta(minutes=20),
        "working_time": [("00:00", "24:00")],
    }
    group = create(strategy=Strategy(**window)).execute(context("create"))
    later = Strategy(**window | {"end": here + 3 * HOUR})
    assign(job_group_id=group, strategy=later).execute(context("assign"))
    OutboundBotSuspendJobsOperator(task_id="suspend", job_group_id=group, all_jobs=True).execute(context("suspend"))
    connection(hours_until(here + timedelta(minutes=30)))

    if way == "command":
        assert main(["resume", group["job_group_id"], "--yes"]) == 1
    else:
        resume = OutboundBotResumeJobsOperator(task_id="resume", job_group_id=group, all_jobs=True)
        with pytest.raises(OutboundBotWrongTimeError, match="calling_hours"):
            resume.execute(context("resume"))

    assert "ResumeJobs" not in simulator.state()["requests"]

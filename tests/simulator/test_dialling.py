"""The dialler keeps strategies: windows, attempts, intervals, ends. The clock runs fast."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from support.campaigns import MakeSimulator
from support.vendor_clients import ClassicSdk, MakeSdk

from airflow_provider_outbound.simulator.testing import Simulator

SHANGHAI = timezone(timedelta(hours=8))
#: A Monday, before the morning window.
MORNING = datetime(2026, 11, 23, 8, 0, tzinfo=SHANGHAI)
HOUR = 3600


@pytest.fixture
def simulator(simulator_factory: MakeSimulator) -> Simulator:
    """A clock that stands still until the test moves it."""
    return simulator_factory(start_at=MORNING, clock_speed=0, call_seconds=10, concurrency=2)


def _strategy(**changes: Any) -> str:
    strategy = {
        "name": "nightly",
        "startTime": _ms(MORNING),
        "endTime": _ms(MORNING + timedelta(hours=10)),
        "workingTime": [
            {"beginTime": "14:00:00", "endTime": "16:00:00"},
            {"beginTime": "09:00:00", "endTime": "12:00:00"},
        ],
        "maxAttemptsPerDay": 3,
        "minAttemptInterval": 10,
    }
    return json.dumps(strategy | changes)


def _ms(instant: datetime) -> int:
    return round(instant.timestamp() * 1000)


def _job(simulator: Simulator, index: int = 0) -> dict[str, Any]:
    (group,) = simulator.state()["groups"].values()
    return dict(group["jobs"][index])


def _settle(simulator: Simulator) -> None:
    """Let the dialler work off what is due."""

    def due(cloud: Any) -> bool:
        at = cloud.dialler.agenda.next_at()
        return at is not None and at <= cloud.clock.now()

    while simulator.run(due):
        time.sleep(0.001)


def _advance(simulator: Simulator, seconds: float) -> None:
    simulator.advance(seconds)
    _settle(simulator)


def _times(job: dict[str, Any]) -> list[str]:
    return [datetime.fromtimestamp(call["started_at"] / 1000, SHANGHAI).strftime("%d %H:%M") for call in job["calls"]]


def test_nobody_is_called_before_the_window_opens(simulator: Simulator, sdk: ClassicSdk) -> None:
    sdk.assign(sdk.create_group(StrategyJson=_strategy()), "13800000000")

    _advance(simulator, HOUR - 1)
    before = _job(simulator)
    _advance(simulator, 2)
    after = _job(simulator)

    assert (before["status"], before["calls"]) == ("Scheduling", [])
    assert _times(after) == ["23 09:00"]


def test_unanswered_calls_are_repeated_after_the_interval_until_the_attempts_are_used(
    simulator: Simulator, sdk: ClassicSdk
) -> None:
    sdk.assign(sdk.create_group(StrategyJson=_strategy()), "13800000060")

    _advance(simulator, 3 * HOUR)

    job = _job(simulator)
    assert _times(job) == ["23 09:00", "23 09:10", "23 09:20"]
    assert (job["status"], job["failure_reason"]) == ("Failed", "NoAnswer")


def test_a_job_answered_at_the_second_attempt_succeeds(simulator: Simulator, sdk: ClassicSdk) -> None:
    sdk.assign(sdk.create_group(StrategyJson=_strategy()), "13800000052")

    _advance(simulator, 3 * HOUR)

    assert _job(simulator)["status"] == "Succeeded"
    assert simulator.state()["calls_per_number"] == {"13800000052": 2}


def test_a_number_that_is_blocked_between_two_attempts_is_dialled_no_more(
    simulator: Simulator, sdk: ClassicSdk
) -> None:
    sdk.assign(sdk.create_group(StrategyJson=_strategy()), "13800000060")
    _advance(simulator, HOUR + 60)

    sdk("SaveContactBlockList", ContactBlockListsJson=json.dumps([{"phoneNumber": "13800000060"}]))
    _advance(simulator, HOUR)

    job = _job(simulator)
    assert [call["status"] for call in job["calls"]] == ["NoAnswer", "ContactBlockList"]
    assert (job["status"], job["failure_reason"]) == ("Failed", "ContactBlockList")


def test_an_attempt_that_misses_the_window_waits_for_the_next(simulator: Simulator, sdk: ClassicSdk) -> None:
    sdk.assign(sdk.create_group(StrategyJson=_strategy(minAttemptInterval=200)), "13800000060")

    _advance(simulator, 7 * HOUR)

    assert _times(_job(simulator)) == ["23 09:00", "23 14:00"]


def test_a_job_that_is_not_finished_at_the_end_is_up(simulator: Simulator, sdk: ClassicSdk) -> None:
    sdk.assign(sdk.create_group(StrategyJson=_strategy(minAttemptInterval=200)), "13800000060")

    _advance(simulator, 11 * HOUR)

    job = _job(simulator)
    assert (job["status"], job["failure_reason"], len(job["calls"])) == ("Failed", "TimeUp", 2)


def test_a_strategy_that_is_over_calls_nobody(simulator: Simulator, sdk: ClassicSdk) -> None:
    over = _strategy(endTime=_ms(MORNING - timedelta(hours=1)), startTime=_ms(MORNING - timedelta(hours=2)))
    sdk.assign(sdk.create_group(StrategyJson=over), "13800000000")

    _settle(simulator)

    assert _job(simulator)["failure_reason"] == "TimeUp"
    assert simulator.state()["calls_per_number"] == {"13800000000": 0}


def test_the_strategy_of_an_assignment_beats_the_groups(simulator: Simulator, sdk: ClassicSdk) -> None:
    group = sdk.create_group(StrategyJson=_strategy())
    sdk.assign(group, "13800000000", StrategyJson=json.dumps({"maxAttemptsPerDay": 1}))
    _settle(simulator)

    assert len(_job(simulator)["calls"]) == 1


def test_a_daily_strategy_goes_on_the_next_day(simulator: Simulator, sdk: ClassicSdk) -> None:
    daily = _strategy(repeatBy="Day", maxAttemptsPerDay=1, endTime=_ms(MORNING + timedelta(days=3)))
    sdk.assign(sdk.create_group(StrategyJson=daily), "13800000060")

    _advance(simulator, 80 * HOUR)

    assert _times(_job(simulator)) == ["23 09:00", "24 09:00", "25 09:00"]


def test_a_weekly_strategy_counts_days_from_sunday(simulator: Simulator, sdk: ClassicSdk) -> None:
    weekly = _strategy(repeatBy="Week", repeatDays=["3"], endTime=_ms(MORNING + timedelta(days=7)))
    sdk.assign(sdk.create_group(StrategyJson=weekly), "13800000000")

    _advance(simulator, 80 * HOUR)

    assert _times(_job(simulator)) == ["25 09:00"]  # a Wednesday


def test_no_more_calls_at_once_than_lines(simulator: Simulator, sdk: ClassicSdk) -> None:
    group = sdk.create_group()
    sdk.assign(group, *(f"138000000{digits:02d}" for digits in range(10)))
    _settle(simulator)

    busy = sdk.group(group)["Progress"]
    _advance(simulator, 10 * 60)

    assert (busy["Executing"], busy["Scheduling"]) == (2, 8)
    assert sdk.group(group)["Progress"]["TotalCompleted"] == 10


def test_jobs_still_waiting_for_a_line_when_the_window_closes_wait_for_the_next(
    simulator: Simulator, sdk: ClassicSdk
) -> None:
    short = _strategy(
        workingTime=[
            {"beginTime": "09:00:00", "endTime": "09:00:02"},
            {"beginTime": "14:00:00", "endTime": "16:00:00"},
        ]
    )
    sdk.assign(sdk.create_group(StrategyJson=short), *(f"138000000{digits:02d}" for digits in range(4)))

    _advance(simulator, 9 * HOUR)

    assert sorted(_times(_job(simulator, index))[0] for index in range(4)) == ["23 09:00"] * 2 + ["23 14:00"] * 2


def test_a_job_suspended_during_its_call_is_paused_after_it_and_resumed_later(
    simulator: Simulator, sdk: ClassicSdk
) -> None:
    group = sdk.create_group(StrategyJson=_strategy())
    sdk.assign(group, "13800000060")
    _advance(simulator, HOUR)

    sdk("SuspendJobs", JobGroupId=group, All=True)
    _advance(simulator, HOUR)
    paused = _job(simulator), sdk.group(group)["Status"]
    sdk("ResumeJobs", JobGroupId=group, All=True)
    _advance(simulator, HOUR)

    assert (paused[0]["status"], len(paused[0]["calls"]), paused[1]) == ("Paused", 1, "Paused")
    assert _times(_job(simulator)) == ["23 09:00", "23 10:00", "23 10:10"]


def test_a_job_cancelled_during_its_call_is_not_dialled_again(simulator: Simulator, sdk: ClassicSdk) -> None:
    group = sdk.create_group(StrategyJson=_strategy())
    sdk.assign(group, "13800000060")
    _advance(simulator, HOUR)

    sdk("CancelJobs", JobGroupId=group, All=True)
    _advance(simulator, HOUR)

    assert (_job(simulator)["status"], len(_job(simulator)["calls"])) == ("Cancelled", 1)
    assert sdk.group(group)["Status"] == "Cancelled"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("[", id="no-json"),
        pytest.param("[]", id="no-object"),
        pytest.param('{"startTime": "soon"}', id="no-number"),
        pytest.param('{"workingTime": [{"beginTime": "12:00:00", "endTime": "09:00:00"}]}', id="backwards"),
    ],
)
def test_an_unreadable_strategy_is_refused(sdk: ClassicSdk, text: str) -> None:
    with pytest.raises(Exception, match="StrategyJson"):
        sdk.create_group(StrategyJson=text)


def test_the_same_seed_gives_the_same_calls(simulator_factory: MakeSimulator, classic_sdk: MakeSdk) -> None:
    def campaign(speed: float) -> Any:
        simulator = simulator_factory(start_at=MORNING.astimezone(UTC), clock_speed=0, call_seconds=10, seed=7)
        sdk = classic_sdk(simulator)
        sdk.assign(sdk.create_group(StrategyJson=_strategy()), *(f"138000000{digits:02d}" for digits in range(99)))
        for _ in range(round(10 / speed)):
            _advance(simulator, HOUR * speed)
        (group,) = simulator.state()["groups"].values()
        return group["jobs"]

    assert campaign(speed=0.5) == campaign(speed=10)

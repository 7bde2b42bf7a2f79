"""The log of a wait says why nobody is dialled: the group is suspended, or outside its window."""

from __future__ import annotations

import json
import logging
import re
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from support.campaigns import Campaign

from airflow_provider_outbound.core import progress
from airflow_provider_outbound.core.assign import AssignOptions, Request, assign
from airflow_provider_outbound.core.complete import Completion
from airflow_provider_outbound.core.contacts import from_items
from airflow_provider_outbound.core.control import Action, JobCommand
from airflow_provider_outbound.core.models.strategy import resolve_strategy

SHANGHAI = ZoneInfo("Asia/Shanghai")


@pytest.fixture(autouse=True)
def _every_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "airflow_provider_outbound")


def reasons(campaign: Campaign, caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the log says about the group, progress and requests left out."""
    start = f"Job group {campaign.job_group_id}: "
    lines = [message.removeprefix(start) for message in caplog.messages if message.startswith(start)]
    return [line for line in lines if line.startswith(("suspended", "outside", "no call"))]


def progress_lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [message for message in caplog.messages if " jobs complete" in message]


def send(campaign: Campaign, action: Action) -> None:
    """What ``outbound suspend`` and ``outbound resume`` do."""
    command = JobCommand(action=action, job_group_id=campaign.job_group_id, all_jobs=True)
    command.send(campaign.client, lambda: campaign.ledger)


def compare(completion: Completion, times: int) -> None:
    """Compare with the API several times."""
    for _ in range(times):
        assert completion.check() is None
        time.sleep(completion.next_check_in())


def test_a_suspended_group_is_named_with_its_fix_at_a_bounded_pace(
    campaign: Campaign, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign.freeze()
    # More than the service has lines, so that some wait.
    campaign.assign(60)
    # As the service's console does, unknown to the ledger.
    campaign.client.suspend_jobs(job_group_id=campaign.job_group_id, all_jobs=True)
    completion = campaign.completion(reconcile_interval=0.1)
    line = f"suspended; resume it with: outbound resume {campaign.job_group_id}"

    compare(completion, 4)
    assert reasons(campaign, caplog) == [line]

    monkeypatch.setattr(progress, "IDLE_SECONDS", 0.0)
    compare(completion, 1)
    assert reasons(campaign, caplog) == [line] * 2

    send(campaign, Action.RESUME)
    compare(completion, 2)
    assert reasons(campaign, caplog) == [line] * 2


def test_a_suspension_by_this_ledger_is_seen_without_a_request(
    campaign: Campaign, caplog: pytest.LogCaptureFixture
) -> None:
    campaign.freeze()
    campaign.assign(3)
    completion = campaign.completion(reconcile_interval=600)
    assert completion.check() is None
    assert not reasons(campaign, caplog)

    send(campaign, Action.SUSPEND)
    before = campaign.requests("DescribeJobGroup")
    for _ in range(3):
        assert completion.check() is None
    assert reasons(campaign, caplog) == [f"suspended; resume it with: outbound resume {campaign.job_group_id}"]
    assert campaign.requests("DescribeJobGroup") == before

    send(campaign, Action.RESUME)
    for _ in range(3):
        assert completion.check() is None
    assert caplog.messages.count(f"Job group {campaign.job_group_id}: resumed") == 1


def test_a_cancellation_is_logged_once_while_the_last_calls_are_on_the_line(
    campaign: Campaign, caplog: pytest.LogCaptureFixture
) -> None:
    campaign.freeze()
    campaign.assign(60)
    completion = campaign.completion(reconcile_interval=600)
    assert completion.check() is None

    send(campaign, Action.CANCEL)
    for _ in range(3):
        assert completion.check() is None

    (line,) = (line for line in caplog.messages if "cancelled" in line)
    assert line.startswith(f"Job group {campaign.job_group_id}: cancelled; nobody else is called. The wait ends once")


def test_a_group_whose_lines_are_used_by_another_says_so(campaign: Campaign, caplog: pytest.LogCaptureFixture) -> None:
    """At the second comparison that finds the same: between two calls nobody is on the line for a moment."""
    campaign.freeze()
    # More than the service has lines.
    campaign.assign(60)
    second = campaign.another("second")
    second.assign(3, first=1000)
    completion = second.completion(reconcile_interval=0.1)

    compare(completion, 1)
    assert reasons(second, caplog) == []
    compare(completion, 3)
    (line,) = reasons(second, caplog)
    assert line.startswith("no call is on the line, and 3 jobs wait: other groups may use all lines")


def test_a_suspension_is_seen_while_the_last_calls_are_on_the_line(
    campaign: Campaign, caplog: pytest.LogCaptureFixture
) -> None:
    campaign.freeze()
    campaign.assign(3)

    send(campaign, Action.SUSPEND)
    compare(campaign.completion(reconcile_interval=0.1), 3)

    # The service counts none of them as paused before its call has ended.
    assert reasons(campaign, caplog) == [f"suspended; resume it with: outbound resume {campaign.job_group_id}"]


@pytest.mark.parametrize("by_us", [True, False])
def test_the_progress_of_a_suspended_group_expects_no_end(
    campaign: Campaign, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, by_us: bool
) -> None:
    monkeypatch.setattr(progress, "BUSY_SECONDS", 0.0)
    monkeypatch.setattr(progress, "IDLE_SECONDS", 0.0)
    campaign.freeze()
    campaign.assign(60)
    completion = campaign.completion(reconcile_interval=0.1)
    compare(completion, 2)
    assert progress_lines(caplog)[-1].endswith("0 of 60 jobs complete, 0 answered")

    if by_us:
        send(campaign, Action.SUSPEND)
    else:
        campaign.client.suspend_jobs(job_group_id=campaign.job_group_id, all_jobs=True)
    compare(completion, 2)
    assert progress_lines(caplog)[-1].endswith("0 of 60 jobs complete, 0 answered, suspended")

    send(campaign, Action.RESUME)
    compare(completion, 2)
    assert progress_lines(caplog)[-1].endswith("0 of 60 jobs complete, 0 answered")


def test_a_suspension_in_the_console_is_kept_until_it_is_over(campaign: Campaign) -> None:
    def paused_at() -> datetime | None:
        return campaign.ledger.groups.state(campaign.job_group_id).reconcile_state.paused_at

    campaign.assign_tomorrow(3)
    completion = campaign.completion(reconcile_interval=0.1)
    compare(completion, 1)
    assert paused_at() is None

    campaign.client.suspend_jobs(job_group_id=campaign.job_group_id, all_jobs=True)
    compare(completion, 2)
    first = paused_at()
    assert first is not None
    compare(completion, 2)
    assert paused_at() == first

    campaign.client.resume_jobs(job_group_id=campaign.job_group_id, all_jobs=True)
    compare(completion, 2)
    assert paused_at() is None
    campaign.client.suspend_jobs(job_group_id=campaign.job_group_id, all_jobs=True)
    compare(completion, 2)
    # A resumption by this package is known before the next comparison.
    send(campaign, Action.RESUME)
    assert paused_at() is None


@pytest.mark.parametrize("by_us", [True, False])
def test_cancelled_jobs_are_no_pace(
    campaign: Campaign, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, by_us: bool
) -> None:
    monkeypatch.setattr(progress, "BUSY_SECONDS", 0.0)
    monkeypatch.setattr(progress, "MIN_RATE_SECONDS", 0.0)
    campaign.freeze()
    campaign.assign(60)
    completion = campaign.completion(reconcile_interval=0.1, messages=False)
    compare(completion, 2)

    if by_us:
        send(campaign, Action.CANCEL)
    else:
        campaign.client.cancel_jobs(job_group_id=campaign.job_group_id, all_jobs=True)
    caplog.clear()
    compare(completion, 3)

    # Those on the line are not cancelled, and the wait goes on.
    assert re.search(r"10 of 60 jobs complete, 0 answered(, 0\.0 per minute)?$", progress_lines(caplog)[-1])
    assert "expected end" not in caplog.text


def closed_now() -> tuple[dict[str, Any], datetime]:
    """A strategy that has begun and dials later, and when."""
    now = datetime.now(SHANGHAI)
    hour, day = (20, now) if now.hour < 12 else (8, now + timedelta(days=1))
    strategy = {
        "repeatBy": "Day",
        "startTime": round((now - timedelta(hours=1)).timestamp() * 1000),
        "endTime": round((now + timedelta(days=3)).timestamp() * 1000),
        "workingTime": [{"beginTime": f"{hour:02}:00:00", "endTime": f"{hour + 1:02}:00:00"}],
    }
    return strategy, day.replace(hour=hour, minute=0, second=0, microsecond=0)


def test_a_group_outside_its_window_says_until_when(campaign: Campaign, caplog: pytest.LogCaptureFixture) -> None:
    strategy, begins = closed_now()
    closed = campaign.another("closed", strategy_json=json.dumps(strategy))
    closed.assign(2)

    compare(closed.completion(reconcile_interval=0.1), 3)

    assert reasons(closed, caplog) == [f"outside its window until {begins.astimezone(UTC):%Y-%m-%d %H:%M} UTC"]

    campaign.assign_tomorrow(2)
    compare(campaign.completion(), 1)
    (line,) = reasons(campaign, caplog)
    assert line.startswith("outside its window until ")


def test_contacts_with_a_window_of_their_own_may_be_dialled_outside_that_of_the_group(
    campaign: Campaign, caplog: pytest.LogCaptureFixture
) -> None:
    campaign.freeze()
    strategy, _ = closed_now()
    closed = campaign.another("closed", strategy_json=json.dumps(strategy))
    all_day = {**strategy, "workingTime": [{"beginTime": "00:00:00", "endTime": "23:59:59"}]}
    now = datetime.now(UTC)
    assign(
        closed.client,
        closed.ledger,
        closed.key,
        from_items(["13800000000"]),
        request=Request(
            job_group_id=closed.job_group_id, strategy_json=resolve_strategy(all_day, run_at=now, now=now).json
        ),
        options=AssignOptions(**closed.options),
        guard=lambda _: None,
    )

    compare(closed.completion(), 1)

    assert not reasons(closed, caplog)


def test_a_group_that_dials_says_nothing_of_the_kind(campaign: Campaign, caplog: pytest.LogCaptureFixture) -> None:
    campaign.freeze()
    campaign.assign(2)

    compare(campaign.completion(), 2)

    assert not reasons(campaign, caplog)

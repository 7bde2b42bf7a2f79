"""Details are fetched once a job, kept, and asked for again only when the job ran again."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from support.dialled import DialledCampaign
from support.messages import T0, call

from airflow_provider_outbound.core.ledger import JobResult, open_ledger
from airflow_provider_outbound.core.models.job import Job
from airflow_provider_outbound.core.results import iter_results
from airflow_provider_outbound.core.results.parse_details import details_of
from airflow_provider_outbound.exceptions import OutboundBotConfigError, OutboundBotError

#: Interested, undecided, refused, answered without tags, hung up by the person, no answer, blocked.
NUMBERS = [f"138000000{digits:02}" for digits in (0, 21, 38, 54, 43, 60, 88)]


def results_of(campaign: DialledCampaign, only: str | None = None) -> dict[str, JobResult]:
    return {r.reference_id: r for r in iter_results(campaign.ledger, campaign.job_group_id, only)}


def test_tags_durations_and_ends_of_answered_jobs(campaign: DialledCampaign, tmp_path: Path) -> None:
    campaign.dial(NUMBERS)
    campaign.collect()

    asked = campaign.enrich()
    campaign.export(tmp_path / "r.csv")

    found = results_of(campaign)
    tags = {reference: dict(result.details.tags) for reference, result in found.items() if result.details}
    assert asked == 5
    assert tags == {
        "r-0000": {"intent": "interested"},
        "r-0001": {"intent": "undecided"},
        "r-0002": {"intent": "refused", "do_not_call": "yes"},
        "r-0003": {},
        "r-0004": {},
    }
    first, hung_up = found["r-0000"].details, found["r-0004"].details
    assert first is not None
    assert hung_up is not None
    assert (first.hang_up_side, first.conversation_end) == ("ivr", "FINISHED")
    assert (hung_up.hang_up_side, hung_up.conversation_end) == ("client", "CLIENT_HANGUP")
    (call,) = next(job for job in campaign.jobs() if job["reference_id"] == "r-0000")["calls"]
    assert first.call_seconds == pytest.approx((call["ended_at"] - call["started_at"]) / 1000, abs=0.002)
    assert first.ringing_seconds is not None
    assert first.call_seconds is not None
    assert 0 <= first.ringing_seconds <= first.call_seconds
    assert first.talk_seconds == pytest.approx(first.call_seconds - first.ringing_seconds, abs=0.002)


def test_nothing_is_asked_twice(campaign: DialledCampaign) -> None:
    campaign.dial(NUMBERS)
    campaign.collect()
    campaign.enrich()

    assert campaign.enrich() == 0
    assert campaign.requests("DescribeJob") == 5


def test_what_was_fetched_before_a_failure_is_kept(campaign: DialledCampaign, monkeypatch: pytest.MonkeyPatch) -> None:
    # One method of the client is broken on purpose: the service's own faults cannot begin at the tenth request.
    campaign.dial([f"138{index:06}01" for index in range(30)])
    campaign.collect(ends=False)
    original, lock, asked = campaign.client.describe_job, threading.Lock(), []

    def breaks(**arguments: Any) -> Job:
        with lock:
            asked.append(arguments["job_id"])
            count = len(asked)
        if count > 10:
            raise OutboundBotError("out of order")
        return original(**arguments)

    monkeypatch.setattr(campaign.client, "describe_job", breaks)
    with pytest.raises(OutboundBotError, match="out of order"):
        campaign.enrich(max_parallel_requests=1)
    monkeypatch.undo()
    kept = sum(result.details is not None for result in results_of(campaign).values())

    assert kept == 10
    assert campaign.enrich() == 20
    assert campaign.requests("DescribeJob") == 30


@pytest.mark.parametrize("limit", [0, 1.5])
def test_a_number_of_requests_that_means_nothing_is_refused(campaign: DialledCampaign, limit: Any) -> None:
    with pytest.raises(OutboundBotConfigError, match=r"max_parallel_requests: .* is not (1 or more|a whole number)"):
        campaign.enrich(max_parallel_requests=limit)


_CHILD = """
import signal, sys
from airflow_provider_outbound.core.client import ClientSettings, OutboundBotClient
from airflow_provider_outbound.core.ledger import open_ledger
from airflow_provider_outbound.core.results import enrich

signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
url, key, group, api, access_key_id, secret, instance_id = sys.argv[1:]
settings = ClientSettings(
    access_key_id=access_key_id, access_key_secret=secret, endpoint=api, instance_id=instance_id
)
with open_ledger(url, [key]) as ledger:
    enrich(ledger, OutboundBotClient(settings), group)
"""


def enrich_until(campaign: DialledCampaign, key: str, requests: int, number: signal.Signals) -> int:
    """Enrich in a process of its own, and send it a signal after some requests; its exit code."""
    simulator = campaign.simulator
    command = [sys.executable, "-c", _CHILD, str(campaign.ledger.engine.url), key, campaign.job_group_id]
    command += [simulator.api, simulator.access_key_id, simulator.access_key_secret, simulator.instance_id]
    child = subprocess.Popen(command)
    deadline = time.monotonic() + 60
    while campaign.requests("DescribeJob") < requests and child.poll() is None:
        assert time.monotonic() < deadline
    child.send_signal(number)
    return child.wait(60)


def test_what_was_fetched_before_a_kill_is_kept(campaign: DialledCampaign, key: str) -> None:
    campaign.dial([f"138{index:06}01" for index in range(150)])
    campaign.collect(ends=False)
    enrich_until(campaign, key, 80, signal.SIGKILL)
    before = campaign.requests("DescribeJob")

    again = campaign.enrich()

    # No more than sixteen are asked for before they are taken, and forty-nine taken before they are kept.
    kept = 150 - again
    assert kept >= before - 65 > 0
    assert campaign.requests("DescribeJob") == before + again
    assert [name for name, result in results_of(campaign).items() if result.details is None] == []


def test_a_task_that_is_to_end_keeps_the_answers_to_what_it_has_asked(campaign: DialledCampaign, key: str) -> None:
    campaign.dial([f"138{index:06}01" for index in range(150)])
    campaign.collect(ends=False)

    code = enrich_until(campaign, key, 20, signal.SIGTERM)

    asked = campaign.requests("DescribeJob")
    kept = sum(result.details is not None for result in results_of(campaign).values())
    assert (code, asked < 150) == (3, True)
    # The signal may come between the taking of one answer and its keeping.
    assert asked - 1 <= kept <= asked


def test_a_throttled_service_is_waited_for(campaign: DialledCampaign) -> None:
    campaign.dial(NUMBERS)
    campaign.collect()
    campaign.simulator.faults(throttle={"actions": ["DescribeJob"], "times": 12})

    assert campaign.enrich(max_parallel_requests=2) == 5


def test_a_job_that_the_service_no_longer_keeps_is_not_asked_for_again(
    campaign: DialledCampaign, caplog: pytest.LogCaptureFixture
) -> None:
    campaign.dial(NUMBERS[:2])
    campaign.collect()
    gone = campaign.jobs()[0]["job_id"]
    campaign.simulator.run(lambda cloud: cloud.jobs.pop(gone))

    assert campaign.enrich() == 2
    assert campaign.enrich() == 0
    assert "does not have 1 job any more" in caplog.text


def test_jobs_that_are_looked_for_in_another_instance_are_not_stored_as_jobs_without_tags(
    campaign: DialledCampaign,
) -> None:
    campaign.dial(NUMBERS[:2])
    campaign.collect()
    # What another bot instance has of the group.
    jobs, groups = campaign.simulator.run(lambda cloud: (dict(cloud.jobs), dict(cloud.groups)))
    campaign.simulator.run(lambda cloud: cloud.jobs.clear())
    campaign.simulator.run(lambda cloud: cloud.groups.clear())

    with pytest.raises(OutboundBotConfigError, match="does not have job group"):
        campaign.enrich()

    campaign.simulator.run(lambda cloud: cloud.jobs.update(jobs))
    campaign.simulator.run(lambda cloud: cloud.groups.update(groups))
    assert campaign.enrich() == 2
    assert {tuple(result.details.tags) for result in results_of(campaign).values() if result.details} == {("intent",)}


def test_a_job_that_ran_again_is_asked_for_again(campaign: DialledCampaign) -> None:
    campaign.dial(NUMBERS[:1])
    campaign.collect()
    campaign.enrich()
    (job,) = campaign.jobs()
    campaign.tell(job, eventTime=T0 + 1000, tasks=[call("again", "SucceededClientHangUp")])

    (before,) = results_of(campaign).values()

    assert (before.revision, before.details) == (2, None)
    assert campaign.enrich() == 1


def test_only_those_with_a_tag(campaign: DialledCampaign) -> None:
    campaign.dial(NUMBERS)
    campaign.collect()
    with pytest.raises(OutboundBotConfigError, match=r"'tag:do_not_call=yes': the tags of 5 answered jobs .* enrich"):
        results_of(campaign, "tag:do_not_call=yes")
    campaign.enrich()

    assert set(results_of(campaign, "tag:do_not_call=yes")) == {"r-0002"}
    assert set(results_of(campaign, "tag:intent")) == {"r-0000", "r-0001", "r-0002"}
    assert set(results_of(campaign, "tag:intent=interested")) == {"r-0000"}
    assert not results_of(campaign, "tag:intent=")
    with pytest.raises(OutboundBotConfigError, match="names no tag: write tag:NAME=VALUE"):
        results_of(campaign, "tag:=yes")


def test_only_what_is_meant_is_asked_for(campaign: DialledCampaign) -> None:
    campaign.dial(NUMBERS)
    campaign.collect()

    assert campaign.enrich(only="unanswered") == 0
    assert campaign.enrich(only="SucceededTransferByIntent") == 0
    assert campaign.enrich(only="SucceededClientHangUp") == 1


def test_details_under_a_lost_key_are_fetched_again(campaign: DialledCampaign, tmp_path: Path) -> None:
    """The ledger's identity opens with the newer key; rows of the older one do not, once that is left out."""
    campaign.dial(NUMBERS[:1])
    campaign.collect()
    campaign.enrich()
    from sqlalchemy import update

    from airflow_provider_outbound.core.ledger import schema

    with campaign.ledger.write() as connection:
        connection.execute(update(schema.details).values(body=Fernet(Fernet.generate_key()).encrypt(b"{}")))

    assert results_of(campaign)["r-0000"].details is None
    assert campaign.enrich() == 1
    details = results_of(campaign)["r-0000"].details
    assert details is not None
    assert details.tags == {"intent": "interested"}


def test_what_people_said_is_encrypted(campaign: DialledCampaign, tmp_path: Path) -> None:
    campaign.dial(NUMBERS[:1])
    campaign.collect()
    campaign.enrich()
    campaign.ledger.close()

    assert not [path for path in tmp_path.glob("ledger.db*") if b"interested" in path.read_bytes()]


@pytest.mark.parametrize(
    ("ringing", "seconds"),
    [
        pytest.param(12, 12.0, id="seconds"),
        pytest.param(12_500, 12.5, id="milliseconds"),
        pytest.param(None, None, id="unknown"),
        pytest.param("12", None, id="text"),
        pytest.param(-1, None, id="negative"),
    ],
)
def test_durations_are_seconds_whatever_the_service_counts_in(ringing: Any, seconds: float | None) -> None:
    job = Job.from_api(
        {
            "JobId": "j",
            "Summary": [{"SummaryName": "a", "Content": None}, {"Content": "x"}, "?"],
            "Tasks": [
                {"TaskId": "1", "Status": "NoAnswer", "ActualTime": 1_700_000_090_000, "EndTime": 1_700_000_099_000},
                {
                    "TaskId": "2",
                    "Status": "SucceededFinish",
                    "ActualTime": 1_700_000_000_000,
                    "EndTime": 1_700_000_060_000,
                    "RealRingingDuration": ringing,
                    "EndReason": "77",
                    "HangUpDirection": "ivr",
                },
            ],
        }
    )

    details = details_of(job)

    assert (details.call_seconds, details.ringing_seconds) == (60.0, seconds)
    assert details.talk_seconds == (None if seconds is None else 60.0 - seconds)
    assert (details.conversation_end, details.tags) == ("77", {"a": ""})


def test_an_older_ledger_gets_its_table(tmp_path: Path) -> None:
    from alembic import command
    from alembic.config import Config
    from sqlalchemy import text

    import airflow_provider_outbound.core.ledger as package

    key = Fernet.generate_key().decode()
    url = f"sqlite:///{tmp_path}/old.db"
    with open_ledger(url, [key]) as ledger, ledger.write() as connection:
        for table in ("request_turns", "details", "handled", "topic_instances", "collectors"):
            connection.execute(text(f"DROP TABLE {table}"))
        connection.execute(text("ALTER TABLE quarantine DROP COLUMN head_of"))
        config = Config()
        config.set_main_option("script_location", str(Path(package.__file__).parent / "migrations"))
        config.attributes["connection"] = connection
        command.stamp(config, "0002")

    with open_ledger(url, [key]) as ledger:
        assert not list(ledger.results.iter_results("none"))

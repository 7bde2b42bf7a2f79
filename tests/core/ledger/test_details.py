"""Details of ended jobs and the calls with recordings, on both databases."""

from __future__ import annotations

from typing import Any

from support.messages import call, job_complete, store

from airflow_provider_outbound.core.ledger import JobDetails, Ledger, RecordedCall
from airflow_provider_outbound.core.ledger.job_facts import LATEST
from airflow_provider_outbound.core.models.enums import CallStatus, JobStatus
from airflow_provider_outbound.core.models.job import Call, Job

GROUP = "group-1"


def keep(ledger: Ledger, job: str, *calls: dict[str, Any], at: int = 1, **fields: Any) -> None:
    store(ledger, job_complete(GROUP, job, None, None, *calls, at=at, **fields))


def notice(ledger: Ledger, job_id: str, task_id: str, name: str, url: str, time: int = 2) -> None:
    recording = {"taskId": task_id, "fileName": name, "url": url}
    keep(ledger, job_id, eventType="RecordingReady", at=time, recording=recording)


def test_details_are_kept_replaced_and_void_once_the_job_ran_again(ledger: Ledger) -> None:
    keep(ledger, "j1", call("t1"))
    keep(ledger, "j2", call("t2"))
    first, second = ledger.results.iter_results(GROUP)
    ledger.details.save([(first, JobDetails(tags={"a": "旧"})), (second, JobDetails(call_seconds=1.5))])
    ledger.details.save([(first, JobDetails(tags={"a": "新"}, talk_seconds=2.5, hang_up_side="ivr"))])
    ledger.details.save([])

    told = [result.details for result in ledger.results.iter_results(GROUP)]
    keep(ledger, "j1", call("t1"), call("t3"), at=9)
    after = [result.details for result in ledger.results.iter_results(GROUP)]

    assert told == [JobDetails(tags={"a": "新"}, talk_seconds=2.5, hang_up_side="ivr"), JobDetails(call_seconds=1.5)]
    assert after == [None, JobDetails(call_seconds=1.5)]


def test_calls_that_have_or_will_have_a_recording(ledger: Ledger) -> None:
    keep(ledger, "j1", call("t1", "NoAnswer"), call("t2"))
    keep(ledger, "j2", call("t3", "Busy"), status="Failed")
    notice(ledger, "j1", "t2", "a.wav", "https://old", 2)
    notice(ledger, "j4", "t9", "b.wav", "https://only-a-notice")
    listed = Call(task_id=None, status=CallStatus.SUCCEEDED_FINISH)
    ledger.results.record_listing(
        GROUP, [Job(job_id="j5", job_group_id=GROUP, status=JobStatus.SUCCEEDED, calls=(listed,))]
    )

    assert ledger.details.recorded_calls(GROUP) == [
        RecordedCall(job_id="j1", task_id="t2", has_notice=True),
        RecordedCall(job_id="j4", task_id="t9", has_notice=True),
        RecordedCall(job_id="j5", task_id=None, has_notice=False),
    ]
    named = Call(task_id="t5", status=CallStatus.SUCCEEDED_FINISH)
    ledger.results.record_listing(
        GROUP, [Job(job_id="j5", job_group_id=GROUP, status=JobStatus.SUCCEEDED, calls=(named,))]
    )
    assert ledger.details.recorded_calls(GROUP)[-1] == RecordedCall(job_id="j5", task_id="t5", has_notice=False)
    assert LATEST not in str(ledger.details.recorded_calls(GROUP))
    assert ledger.details.recording_url("t2") == "https://old"
    assert ledger.details.recording_url("t5") is None


def test_whether_messages_come_at_all(ledger: Ledger) -> None:
    ledger.results.record_listing("listed", [Job(job_id="j", job_group_id="listed", status=JobStatus.SUCCEEDED)])
    keep(ledger, "j1")

    assert ledger.details.has_messages(GROUP)
    assert not ledger.details.has_messages("listed")

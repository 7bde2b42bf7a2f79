"""No mixture of numbers makes a wait end too early, or never."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_outbound.core.complete import Verdict, judge
from airflow_provider_outbound.core.complete.judge import Known, ended_jobs
from airflow_provider_outbound.core.models.enums import JobGroupStatus
from airflow_provider_outbound.core.models.job import JobGroup, Progress

_few = st.integers(min_value=0, max_value=4)
_groups = st.builds(
    lambda status, executing, paused, ended: JobGroup(
        job_group_id="g",
        status=JobGroupStatus.parse(status),
        progress=Progress(total=executing + paused + ended, executing=executing, paused=paused),
    ),
    st.sampled_from(["Completed", "Executing", "Scheduling", "Cancelled", "Failed", "FutureStatus", None]),
    _few,
    _few,
    _few,
)
_known = st.builds(
    lambda terminal, unlisted, unfinished, expected, deliberate, assigning, gave_up: Known(
        total=terminal + unlisted + unfinished,
        terminal=terminal,
        unlisted=unlisted,
        expected=expected if deliberate else 0,
        deliberate=deliberate,
        assigning=assigning,
        gave_up=gave_up,
    ),
    _few,
    _few,
    _few,
    _few,
    st.booleans(),
    st.booleans(),
    st.booleans(),
)


@settings(max_examples=600, print_blob=True)
@given(known=_known, group=_groups)
def test_complete_means_that_nothing_is_open_and_nothing_is_missing(known: Known, group: JobGroup) -> None:
    verdict = judge(known, group)

    assert group.progress is not None
    if verdict is Verdict.COMPLETE:
        assert group.progress.unfinished == 0
        assert not known.assigning
        assert known.total == known.ended >= group.progress.total >= known.expected
        assert group.progress.total or known.gave_up or (known.deliberate and known.expected == 0)
    if verdict is Verdict.SHORT:
        assert group.progress.unfinished == 0 or group.status in (JobGroupStatus.CANCELLED, JobGroupStatus.FAILED)
        assert not known.assigning


@settings(max_examples=600, print_blob=True)
@given(known=_known, group=_groups)
def test_a_service_that_ended_with_jobs_is_not_waited_for(known: Known, group: JobGroup) -> None:
    assert group.progress is not None
    if group.progress.total and not group.progress.unfinished and not known.assigning:
        assert judge(known, group) is not Verdict.WAIT


@given(known=_known, group=_groups)
def test_what_the_service_knows_and_the_ledger_does_not_is_a_gap(known: Known, group: JobGroup) -> None:
    assert group.progress is not None
    if ended_jobs(group.progress) > known.ended:
        assert judge(known, group) is Verdict.GAP


def test_an_answer_without_progress_decides_nothing() -> None:
    known = Known(total=1, terminal=1, unlisted=0, expected=1, deliberate=True, assigning=False, gave_up=False)

    assert judge(known, JobGroup(job_group_id="g", status=JobGroupStatus.COMPLETED)) is Verdict.WAIT

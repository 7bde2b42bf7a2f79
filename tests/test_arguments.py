"""Arguments of operators and sensors, as DAG files give them and as templates render them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from airflow.sdk.exceptions import AirflowSkipException
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2.nativetypes import NativeEnvironment
from jinja2.sandbox import SandboxedEnvironment
from support.examples import examples

from airflow_provider_outbound.arguments import (
    check_choice,
    check_duration,
    check_flags,
    check_seconds,
    named_group,
    text_list,
    whole_number,
)
from airflow_provider_outbound.exceptions import OutboundBotConfigError
from airflow_provider_outbound.operators.block_list import OutboundBotSaveContactBlockListOperator
from airflow_provider_outbound.operators.modify import OutboundBotModifyJobGroupOperator
from airflow_provider_outbound.operators.outboundbot import OutboundBotAssignJobsOperator, OutboundBotCancelJobsOperator
from airflow_provider_outbound.operators.recordings import OutboundBotDownloadRecordingsOperator
from airflow_provider_outbound.operators.results import OutboundBotExportResultsOperator
from airflow_provider_outbound.sensors.outboundbot import OutboundBotJobCompleteSensor
from airflow_provider_outbound.simulator.testing import Simulator

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator

IDS = st.from_regex(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", fullmatch=True)
ANYTHING = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.lists(st.text()), st.just(object())
)


def outcome(read: Callable[[], Any]) -> tuple[Any, str]:
    """What ``read`` returns, or what it complains about."""
    try:
        return read(), ""
    except OutboundBotConfigError as error:
        return None, str(error)


@settings(max_examples=examples(100), deadline=None)
@given(IDS, st.dictionaries(st.sampled_from(["job_group_name", "rows", "instance_id"]), st.text()))
def test_a_group_is_read_from_every_form_that_names_it_and_from_no_other(
    job_group_id: str, more: dict[str, Any]
) -> None:
    result = {**more, "job_group_id": job_group_id}
    templates = {
        "id": "{{ result['job_group_id'] }}",
        "padded": "\n {{ result.job_group_id }} ",
        "whole": "{{ result }}",
    }
    text = {name: SandboxedEnvironment().from_string(code).render(result=result) for name, code in templates.items()}
    native = NativeEnvironment().from_string(templates["whole"]).render(result=result)

    assert [named_group(value) for value in (job_group_id, result, text["id"], text["padded"], native)] == [
        job_group_id
    ] * 5
    with pytest.raises(OutboundBotConfigError, match=r"^contacts_from: the text of a dictionary"):
        named_group(text["whole"], "contacts_from")


@settings(max_examples=examples(200), deadline=None)
@given(ANYTHING)
def test_what_names_no_group_is_refused_in_one_line(value: Any) -> None:
    found, complaint = outcome(lambda: named_group(value))

    if complaint:
        assert complaint.startswith("job_group_id: ")
        assert "\n" not in complaint
    else:
        assert isinstance(value, str)
        assert found == value.strip() not in ("", "None")


@pytest.mark.parametrize(
    "task",
    [
        pytest.param(
            lambda group: OutboundBotAssignJobsOperator(task_id="t", job_group_id=group, contacts=[1]), id="assign"
        ),
        pytest.param(
            lambda group: OutboundBotAssignJobsOperator(task_id="t", job_group_id="g", contacts_from=group), id="again"
        ),
        pytest.param(lambda group: OutboundBotJobCompleteSensor(task_id="t", job_group_id=group), id="wait"),
        pytest.param(
            lambda group: OutboundBotCancelJobsOperator(task_id="t", job_group_id=group, all_jobs=True), id="cancel"
        ),
        pytest.param(
            lambda group: OutboundBotModifyJobGroupOperator(task_id="t", job_group_id=group, priority="Daily"),
            id="modify",
        ),
        pytest.param(
            lambda group: OutboundBotExportResultsOperator(task_id="t", job_group_id=group, path="/x.csv"), id="export"
        ),
        pytest.param(
            lambda group: OutboundBotDownloadRecordingsOperator(task_id="t", job_group_id=group, path="/x"), id="record"
        ),
        pytest.param(
            lambda group: OutboundBotSaveContactBlockListOperator(task_id="t", job_group_id=group, only="Busy"),
            id="block",
        ),
    ],
)
def test_every_task_refuses_a_dictionary_that_a_template_made_text(
    simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: Callable[[str], BaseOperator]
) -> None:
    for name, value in simulator.connections.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AIRFLOW__OUTBOUND__LEDGER_URL", f"sqlite:///{tmp_path}/ledger.db")

    with pytest.raises(OutboundBotConfigError, match=r"^(job_group_id|contacts_from): the text of a dictionary"):
        task("{'job_group_id': 'g', 'rows': 3}").execute({})


def test_a_dry_run_made_no_group() -> None:
    with pytest.raises(AirflowSkipException, match="dry run"):
        named_group({"job_group_id": None, "dry_run": True})


@settings(max_examples=examples(200), deadline=None)
@given(ANYTHING | st.integers(0, 10**12) | st.from_regex(r" ?[0-9]{1,15} ?", fullmatch=True), st.integers(0, 3))
def test_a_whole_number_is_what_python_reads_or_nothing(value: Any, least: int) -> None:
    found, complaint = outcome(lambda: whole_number(value, "expected_jobs", least=least))

    if complaint:
        assert complaint.startswith("expected_jobs: ")
    elif value is None:
        assert found is None
    else:
        assert isinstance(value, int | str)
        assert not isinstance(value, bool)
        assert found == int(value) >= least


@settings(max_examples=examples(200), deadline=None)
@given(ANYTHING | st.lists(st.text(min_size=1)) | st.tuples(st.text(min_size=1)))
def test_a_list_of_texts_keeps_each_or_is_refused(value: Any) -> None:
    found, complaint = outcome(lambda: text_list(value, "job_ids"))

    if complaint:
        assert complaint.startswith("job_ids: ")
    else:
        assert value is None or isinstance(value, list | tuple)
        assert list(found) == list(value or ())


@pytest.mark.parametrize(
    ("check", "value"),
    [
        pytest.param(lambda value: check_duration(value, "f"), 60, id="seconds-for-a-duration"),
        pytest.param(lambda value: check_duration(value, "f"), timedelta(seconds=-1), id="negative-duration"),
        *(
            pytest.param(lambda value: check_seconds(value, "f"), value, id=f"seconds-{value}")
            for value in ("5", 0, -1, float("nan"), float("inf"), True, None)
        ),
        pytest.param(lambda value: check_choice(value, "f", ("a", "b")), "c", id="neither"),
        pytest.param(lambda value: check_choice(value, "f", ("a", "b", "c")), None, id="unknown"),
    ],
)
def test_an_argument_that_cannot_be_used_is_refused_by_name_and_value(check: Any, value: Any) -> None:
    with pytest.raises(OutboundBotConfigError, match=r"^f: ") as caught:
        check(value)

    assert str(value) in str(caught.value)


def test_a_text_is_no_flag() -> None:
    operator = OutboundBotCancelJobsOperator(task_id="t", job_group_id="g", wait_for_completion=cast("bool", "False"))

    with pytest.raises(OutboundBotConfigError, match="wait_for_completion: 'False' is neither True nor False"):
        check_flags(operator, "wait_for_completion")

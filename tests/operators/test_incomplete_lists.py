"""Lists that are incomplete, overwrite each other, or hold nothing that can be read; texts that are taken as true."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG, task
from airflow.sdk.exceptions import AirflowSkipException, ErrorType
from airflow.sdk.execution_time import comms, task_runner
from airflow.sdk.execution_time.lazy_sequence import LazyXComSequence

from airflow_provider_outbound.core.models.strategy import Strategy
from airflow_provider_outbound.exceptions import OutboundBotConfigError, OutboundBotContactsError
from airflow_provider_outbound.operators.outboundbot import (
    OutboundBotAssignJobsOperator,
    OutboundBotCreateJobGroupOperator,
    OutboundBotExportResultsOperator,
)
from airflow_provider_outbound.simulator.testing import Simulator

if TYPE_CHECKING:
    from airflow.models import DagRun

ALL_DAY = Strategy(working_time=[("00:00", "24:00")])
NUMBERS = [f"1380000{index:04}" for index in range(4)]


@pytest.fixture
def group(context: Callable[..., Any]) -> dict[str, Any]:
    return OutboundBotCreateJobGroupOperator(task_id="create", strategy=ALL_DAY).execute(context("create"))


@pytest.fixture
def assign(group: dict[str, Any], context: Callable[..., Any]) -> Callable[..., Any]:
    def run(**arguments: Any) -> dict[str, Any]:
        operator = OutboundBotAssignJobsOperator(
            **{"task_id": "assign", "job_group_id": group, "contacts": NUMBERS, "settle_seconds": 0.3, **arguments}
        )
        return operator.execute(context("assign"))

    return run


def called(simulator: Simulator) -> list[str]:
    return sorted(simulator.state()["jobs_per_number"])


def write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize("label", ["contacts_path", "exclude_path"])
def test_rejects_never_replace_a_list(
    simulator: Simulator, assign: Callable[..., Any], tmp_path: Path, label: str
) -> None:
    """An empty file of rejects in place of a do-not-call list would be a list of nobody from the next run on."""
    path = write(tmp_path / "list.csv", f"phone\n{NUMBERS[0]}\n")
    link = tmp_path / "link.csv"
    link.symlink_to(path)
    lists = {"contacts": None, "contacts_path": path} if label == "contacts_path" else {"exclude_path": path}

    for rejects in (path, str(link)):
        with pytest.raises(OutboundBotConfigError, match=r"^rejects_path: .* is not a file of rejects"):
            assign(**lists, rejects_path=rejects, on_invalid="skip")

    assert (tmp_path / "list.csv").read_text() == f"phone\n{NUMBERS[0]}\n"
    assert not called(simulator)


def test_rejects_of_an_earlier_try_are_replaced(assign: Callable[..., Any], tmp_path: Path) -> None:
    rejects = tmp_path / "rejects.csv"

    for bad in ("12", "13"):
        assign(contacts=[*NUMBERS, bad], rejects_path=rejects, on_invalid="skip")

    assert len(rejects.read_text().splitlines()) == 2


def test_a_mapped_list_with_a_hole_calls_nobody(simulator: Simulator, run_dag: Callable[..., DagRun]) -> None:
    """Airflow gives the outputs of those instances that have one, and says nothing of the others."""
    with DAG("holes", schedule=None) as dag:

        @task
        def skips(place: int) -> dict[str, str]:
            if place == 1:
                raise AirflowSkipException
            return {"phone": NUMBERS[place]}

        @task
        def returns_nothing(place: int) -> dict[str, str] | None:
            return None if place == 1 else {"phone": NUMBERS[place]}

        create = OutboundBotCreateJobGroupOperator(task_id="create", strategy=ALL_DAY)
        common: dict[str, Any] = {"job_group_id": create.output, "settle_seconds": 0.3, "trigger_rule": "none_failed"}
        make = OutboundBotAssignJobsOperator
        make(task_id="skipped", contacts=NUMBERS, exclude=skips.expand(place=[0, 1]), **common)
        nothing = returns_nothing.expand(place=[0, 1])
        make(task_id="nothing", contacts=NUMBERS, exclude=nothing.map(lambda row: row), **common)
        make(task_id="ignored", contacts=NUMBERS[:2], exclude=nothing, on_missing_exclusions="ignore", **common)

    run = run_dag(dag)

    states = {found.task_id: str(found.state) for found in run.get_task_instances()}
    assert (states["skipped"], states["nothing"], states["ignored"]) == ("failed", "failed", "success")
    assert called(simulator) == [NUMBERS[1]]


@pytest.mark.parametrize("header", ["name,Phone,Phone 2", "姓名,手机号,备用电话", "name,mobile,fax"])
def test_every_number_of_a_do_not_call_list_counts(
    simulator: Simulator, assign: Callable[..., Any], tmp_path: Path, header: str
) -> None:
    dnc = write(tmp_path / "dnc.csv", f"{header}\nLi,{NUMBERS[0]},{NUMBERS[1]}\nWu,{NUMBERS[2]},\n")

    assign(exclude_path=dnc)

    assert called(simulator) == NUMBERS[3:]


def test_two_numbers_in_a_cell_of_a_do_not_call_list_call_nobody(
    simulator: Simulator, assign: Callable[..., Any], tmp_path: Path
) -> None:
    dnc = write(tmp_path / "dnc.csv", f"phone,work phone\n{NUMBERS[0]},{NUMBERS[1]} / {NUMBERS[2]}\n")

    with pytest.raises(
        OutboundBotContactsError, match=r"dnc\.csv line 2: column 'work phone' holds more than a number"
    ):
        assign(exclude_path=dnc)

    assert not called(simulator)


def test_a_do_not_call_list_may_have_another_encoding(
    simulator: Simulator, assign: Callable[..., Any], tmp_path: Path
) -> None:
    people, dnc = tmp_path / "people.csv", tmp_path / "dnc.csv"
    people.write_bytes(f"手机号,姓名\n{NUMBERS[0]},张三\n{NUMBERS[1]},李四\n".encode("gb18030"))
    dnc.write_bytes(f"手机号,姓名\n{NUMBERS[0]},张三\n".encode())

    assign(
        contacts=None, contacts_path=str(people), encoding="gb18030", exclude_path=str(dnc), exclude_encoding="utf-8"
    )

    assert called(simulator) == [NUMBERS[1]]


def test_a_list_of_nothing_but_rejects_is_no_success(simulator: Simulator, assign: Callable[..., Any]) -> None:
    with pytest.raises(
        OutboundBotContactsError, match=r"all 2 rows were rejected; .*pass rejects_path .* Nobody was called"
    ):
        assign(contacts=["12", "13"], on_invalid="skip")

    assert not called(simulator)


@pytest.mark.parametrize("on_invalid", ["fail", "skip"])
def test_a_file_that_is_cut_off_calls_nobody_behind_the_cut_silently(
    assign: Callable[..., Any], tmp_path: Path, on_invalid: str
) -> None:
    people = write(tmp_path / "people.jsonl", f'{{"phone": "{NUMBERS[0]}"}}\n{{"phone": "1380')

    with pytest.raises(OutboundBotContactsError, match="line 2: the file is cut off in the middle of an object"):
        assign(contacts=None, contacts_path=people, on_invalid=on_invalid)


@pytest.mark.parametrize("number", ["4155552671", "(212) 555-0123", "3931112222", 1012345678])
def test_ten_digits_are_nobodys_landline(simulator: Simulator, assign: Callable[..., Any], number: int | str) -> None:
    with pytest.raises(OutboundBotContactsError, match="a landline without the 0 of its area code"):
        assign(contacts=[number])

    assert not called(simulator)


@pytest.mark.parametrize("text", ["False", "", 0, None])
def test_a_text_is_no_flag(
    simulator: Simulator,
    assign: Callable[..., Any],
    context: Callable[..., Any],
    group: dict[str, Any],
    tmp_path: Path,
    text: Any,
) -> None:
    with pytest.raises(OutboundBotConfigError, match=r"allow_backfill: .* is neither True nor False"):
        assign(allow_backfill=text)
    with pytest.raises(OutboundBotConfigError, match=r"start_immediately: .* is neither True nor False"):
        OutboundBotCreateJobGroupOperator(task_id="other", start_immediately=text).execute(context("other"))
    export = OutboundBotExportResultsOperator(
        task_id="export", job_group_id=group, path=str(tmp_path / "x.csv"), include_phone_number=text
    )
    with pytest.raises(OutboundBotConfigError, match=r"include_phone_number: .* is neither True nor False"):
        export.execute(context("export"))

    assert not called(simulator)


@pytest.mark.parametrize(
    "field", [{"timezone": "America/New_York"}, {"repeatBY": "Week"}, {"repeatDay": [1]}, {"maxAttemptPerDay": 1}]
)
def test_a_field_that_the_service_would_ignore_is_refused(
    simulator: Simulator, context: Callable[..., Any], field: dict[str, Any]
) -> None:
    now = datetime.now(UTC)
    strategy = {
        "startTime": int(now.timestamp() * 1000),
        "endTime": int((now + timedelta(hours=1)).timestamp() * 1000),
        "workingTime": [{"beginTime": "00:00:00", "endTime": "23:59:59"}],
        **field,
    }

    with pytest.raises(OutboundBotConfigError, match=f"strategy: '{next(iter(field))}' is not a field of the API"):
        OutboundBotCreateJobGroupOperator(task_id="create", strategy=strategy).execute(context("create"))

    assert not simulator.state()["groups"]


class _Supervisor:
    """Answers about a task with four outputs, of which the API server does not find one."""

    def __init__(self, missing: int | None) -> None:
        self._missing = missing

    def send(self, msg: Any) -> Any:
        if isinstance(msg, comms.GetXComCount):
            return comms.XComCountResponse(len=len(NUMBERS))
        if isinstance(msg, comms.GetTICount):
            return comms.TICount(count=0 if msg.states else len(NUMBERS))
        if msg.offset == self._missing or msg.offset >= len(NUMBERS):
            return comms.ErrorResponse(error=ErrorType.XCOM_NOT_FOUND)
        return comms.XComSequenceIndexResult(root=NUMBERS[msg.offset])


@pytest.fixture
def outputs(monkeypatch: pytest.MonkeyPatch) -> Callable[[int | None], LazyXComSequence[Any]]:
    """Airflow's sequence of the outputs of a mapped task."""

    def make(missing: int | None) -> LazyXComSequence[Any]:
        monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", _Supervisor(missing), raising=False)
        operator = SimpleNamespace(dag_id="campaign", task_id="reads")
        # As much of Airflow's own objects as the sequence reads.
        output: Any = SimpleNamespace(operator=operator, key="return_value")
        instance: Any = SimpleNamespace(run_id="run")
        return LazyXComSequence(xcom_arg=output, ti=instance)

    return make


@pytest.mark.parametrize("missing", [0, 2])
@pytest.mark.parametrize("label", ["contacts", "exclude"])
def test_a_list_that_airflow_cuts_off_calls_nobody(
    simulator: Simulator,
    assign: Callable[..., Any],
    outputs: Callable[[int | None], LazyXComSequence[Any]],
    label: str,
    missing: int,
) -> None:
    """Airflow treats an output that its API server does not find as the end of the list."""
    with pytest.raises(OutboundBotContactsError, match=rf"^{label}: {missing} of 4 items .*Nobody was called$"):
        assign(**{label: outputs(missing)})

    assert not called(simulator)


def test_a_list_that_airflow_gives_completely_is_called(
    simulator: Simulator, assign: Callable[..., Any], outputs: Callable[[int | None], LazyXComSequence[Any]]
) -> None:
    assert assign(contacts=outputs(None))["assigned"] == 4

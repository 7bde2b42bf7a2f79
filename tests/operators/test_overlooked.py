"""Nobody is called because a part of a do-not-call list, or a rule of the connection, was overlooked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_outbound.core.models.strategy import Strategy
from airflow_provider_outbound.exceptions import OutboundBotConfigError, OutboundBotContactsError
from airflow_provider_outbound.operators.outboundbot import (
    OutboundBotAssignJobsOperator,
    OutboundBotCreateJobGroupOperator,
)
from airflow_provider_outbound.simulator.testing import Simulator

ANNA, BERT, CLEO = "13800000001", "13800000002", "13800000003"


@pytest.fixture
def assign(context: Callable[..., Any]) -> Callable[..., Any]:
    group = OutboundBotCreateJobGroupOperator(
        task_id="create", strategy=Strategy(working_time=[("00:00", "24:00")])
    ).execute(context("create"))

    def run(**arguments: Any) -> dict[str, Any]:
        return OutboundBotAssignJobsOperator(
            **{
                "task_id": "assign",
                "job_group_id": group,
                "contacts": [ANNA, BERT, CLEO],
                "settle_seconds": 0.3,
                **arguments,
            }
        ).execute(context("assign"))

    return run


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_contacts_that_a_pattern_leaves_out_are_named_in_the_log(
    simulator: Simulator, assign: Callable[..., Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path / "lists" / "here.csv", f"phone\n{ANNA}\n")
    write(tmp_path / "lists" / "more" / "there.csv", f"phone\n{BERT}\n")

    assign(contacts=None, contacts_path=f"{tmp_path}/lists/*")

    assert list(simulator.state()["jobs_per_number"]) == [ANNA]
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    (warning,) = (line for line in warnings if "does not read the files in the folder" in line)
    assert warning.startswith(
        f"contacts_path: {tmp_path}/lists/* does not read the files in the folder {tmp_path}/lists/more;"
    )


def test_a_list_in_a_linked_folder_counts(simulator: Simulator, assign: Callable[..., Any], tmp_path: Path) -> None:
    write(tmp_path / "lists" / "here.csv", f"phone\n{CLEO}\n")
    write(tmp_path / "elsewhere" / "there.csv", f"phone\n{ANNA}\n")
    (tmp_path / "lists" / "more").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(OutboundBotContactsError, match=r"does not read the files in the folder.*Nobody was called"):
        assign(exclude_path=f"{tmp_path}/lists/**/*.csv")
    assert not simulator.state()["jobs_per_number"]

    assign(exclude_path=f"{tmp_path}/lists")

    assert list(simulator.state()["jobs_per_number"]) == [BERT]


@pytest.mark.parametrize("pattern", ["day=*", "*"])
def test_a_pattern_that_matches_a_folder_is_not_a_missing_list(
    simulator: Simulator, assign: Callable[..., Any], tmp_path: Path, pattern: str
) -> None:
    write(tmp_path / "lists" / "day=1" / "part.csv", f"phone\n{ANNA}\n")

    with pytest.raises(OutboundBotContactsError, match=r"exclude_path: .*does not read the files in the folder"):
        assign(exclude_path=f"{tmp_path}/lists/{pattern}", on_missing_exclusions="ignore")

    assert not simulator.state()["jobs_per_number"]


def test_a_number_in_any_column_counts(simulator: Simulator, assign: Callable[..., Any], tmp_path: Path) -> None:
    path = write(tmp_path / "list.csv", f"手机,备用,电话\n{CLEO},{ANNA}.0,\n,,13900000000\n")

    assign(exclude_path=str(path))

    assert list(simulator.state()["jobs_per_number"]) == [BERT]


@pytest.mark.parametrize(
    "extra", [{"dryrun": True}, {"Dry-Run": True}, {"allowed_numbers": [BERT]}, {"calling_hour": {"windows": []}}]
)
def test_a_misspelt_rule_of_the_connection_calls_nobody(
    simulator: Simulator, assign: Callable[..., Any], connection: Callable[..., None], extra: dict[str, Any]
) -> None:
    connection(extra)

    with pytest.raises(OutboundBotConfigError, match="is unknown, so the rule in it would not apply"):
        assign()

    assert not simulator.state()["jobs_per_number"]

"""Excel workbooks as contacts, and as do-not-call lists."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from airflow.sdk import DAG

from airflow_provider_outbound.core.models.strategy import Strategy
from airflow_provider_outbound.exceptions import OutboundBotConfigError, OutboundBotContactsError
from airflow_provider_outbound.operators.outboundbot import (
    OutboundBotAssignJobsOperator,
    OutboundBotCreateJobGroupOperator,
)
from airflow_provider_outbound.simulator.testing import Simulator
from airflow_provider_outbound.task_groups.outboundbot import OutboundBotCampaignTaskGroup

ALL_DAY = Strategy(working_time=[("00:00", "23:59:59")])


def write(path: Path, **sheets: list[list[Any]]) -> str:
    book = openpyxl.Workbook()
    book.remove(book.active)
    for title, lines in sheets.items():
        sheet = book.create_sheet(title)
        for line in lines:
            sheet.append(line)
    book.save(path)
    return str(path)


def assign(group: dict[str, Any], **arguments: Any) -> OutboundBotAssignJobsOperator:
    return OutboundBotAssignJobsOperator(task_id="assign", job_group_id=group, settle_seconds=0.3, **arguments)


@pytest.fixture
def group(context: Callable[..., Any]) -> dict[str, Any]:
    return OutboundBotCreateJobGroupOperator(task_id="create", strategy=ALL_DAY).execute(context("create"))


def test_a_workbook_is_called_except_for_those_in_another(
    simulator: Simulator, context: Callable[..., Any], group: dict[str, Any], tmp_path: Path
) -> None:
    people = write(
        tmp_path / "a.xlsx", March=[["phone"], *([13800000000 + index] for index in range(9))], Other=[["x"]]
    )
    listed = write(tmp_path / "dnc.xlsx", A=[["phone"], ["138 0000 0001"]], B=[["phone"], ["13800000002"]])
    both = {"contacts_path": people, "sheet": "March", "exclude_path": listed}

    with pytest.raises(OutboundBotContactsError, match=r"exclude_path: .* pass exclude_sheet with one of 'A', 'B'"):
        assign(group, **both).execute(context())
    assert not simulator.state()["jobs_per_number"]
    result = assign(group, **both, exclude_sheet="B").execute(context())

    assert (result["read"], result["assigned"], result["excluded"]) == (9, 8, 1)
    assert "13800000002" not in simulator.state()["jobs_per_number"]


def test_nobody_is_called_before_a_workbook_is_read_to_its_end(
    simulator: Simulator, context: Callable[..., Any], group: dict[str, Any], tmp_path: Path
) -> None:
    lines: list[list[Any]] = [["phone"], *([13800000000 + index] for index in range(500)), ["=A1"]]
    path = write(tmp_path / "a.xlsx", March=lines)

    with pytest.raises(OutboundBotContactsError, match=r"cell A502 is a formula without a value.* Nobody was called"):
        assign(group, contacts_path=path).execute(context())

    assert not simulator.state()["jobs_per_number"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"contacts": ["13800000000"], "sheet": "x"}, r"sheet: no workbook is read that could have a sheet; omit it"),
        ({"contacts": ["13800000000"], "exclude_sheet": "x"}, r"exclude_sheet: no workbook is read"),
        ({"contacts": ["13800000000"], "exclude": [], "exclude_sheet": "x"}, r"exclude_sheet: no workbook is read"),
        ({"contacts_path": "/nowhere.xlsx", "sheet": 0}, r"sheet: 0 is not the name of a sheet; give its name"),
        ({"contacts_path": "/nowhere.xlsx", "sheet": " "}, r"sheet: ' ' is not the name of a sheet"),
    ],
)
def test_a_sheet_that_is_none(
    simulator: Simulator, context: Callable[..., Any], group: dict[str, Any], arguments: dict[str, Any], words: str
) -> None:
    with pytest.raises((OutboundBotConfigError, OutboundBotContactsError), match=words) as caught:
        assign(group, **arguments).execute(context())

    assert str(caught.value).endswith("Nobody was called")
    assert not simulator.state()["jobs_per_number"]


def test_a_campaign_passes_the_sheets_on() -> None:
    with DAG("sheets", schedule=None):
        campaign = OutboundBotCampaignTaskGroup(
            contacts_path="a.xlsx", sheet="{{ ds }}", exclude_sheet="DNC", path="r.xlsx"
        )

    assert (campaign.assign.sheet, campaign.assign.exclude_sheet) == ("{{ ds }}", "DNC")
    assert {"sheet", "exclude_sheet"} <= {*campaign.assign.template_fields}

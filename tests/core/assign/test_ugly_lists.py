"""Lists as they come: judged by whom the service was asked to call."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
from support.campaigns import Campaign

from airflow_provider_outbound.core.contacts import from_items, from_path
from airflow_provider_outbound.core.models.contact import Contact
from airflow_provider_outbound.core.models.phone import normalise
from airflow_provider_outbound.core.results import export
from airflow_provider_outbound.exceptions import OutboundBotContactsError

UGLY = [
    "138OOO13800",
    "1380013 Wang",
    "138oooo8000",
    "+8613833334444/+8613855556666",
    "+8613833334444 (after 6 pm)",
    "12345 13855556666",
    "17909 13855556666",
    "13855556666\n13833334444",
    "1385555666.6",
    "106552998.8",
    "13855556666x5",
    "tel:13855556666",
    "-13855556666",
    np.float32(13800138000),
    b"\xff13855556666",
    [13855556666],
    r"\N",
    "NULL",
    "nan",
]
GOOD = [
    "13800000001",
    "１３８０００００００２",
    b"13800000003",
    "138–0000–0004",
    "+86 (138) 0000.0005",
    "13800000006.0",
]


@pytest.mark.parametrize("in_rows", [False, True])
def test_nobody_is_called_whose_number_is_not_written(
    campaign: Campaign, tmp_path: Path, caplog: pytest.LogCaptureFixture, in_rows: bool
) -> None:
    caplog.set_level(logging.DEBUG)
    items = [*UGLY, *GOOD]

    result = campaign.assign(
        [{"phone": item, "name": "Li"} for item in items] if in_rows else items,
        on_invalid="skip",
        rejects_path=tmp_path / "rejects.csv",
    )

    assert campaign.each_once([f"1380000000{index}" for index in range(1, len(GOOD) + 1)])
    assert (result.rejected, result.assigned) == (len(UGLY), len(GOOD))
    shown = (tmp_path / "rejects.csv").read_text() + caplog.text
    for number in ("13833334444", "13855556666", "3333444", "5555666", "5556666"):
        assert number not in shown


@pytest.mark.parametrize("item", UGLY)
def test_by_default_one_such_row_stops_the_list_before_anyone_is_called(campaign: Campaign, item: Any) -> None:
    with pytest.raises(OutboundBotContactsError) as caught:
        campaign.assign([*GOOD, item])

    assert not campaign.jobs_per_number()
    for number in ("3333444", "5555666", "5556666"):
        assert number not in str(caught.value)


def test_a_column_of_narrow_floats_calls_nobody(campaign: Campaign, tmp_path: Path) -> None:
    frame = pd.DataFrame({"phone": np.array([13800138000, 13855556666], dtype="float32"), "name": ["Li", "Wang"]})
    pyarrow.parquet.write_table(pa.Table.from_pandas(frame), tmp_path / "people.parquet")

    for source in (from_items(frame), from_path(tmp_path / "people.parquet"), from_items(iter(frame["phone"].array))):
        with pytest.raises(OutboundBotContactsError, match="float32 cannot hold a phone number's digits exactly"):
            campaign.assign(source)

    assert not campaign.jobs_per_number()


def test_what_the_robot_says_is_text(campaign: Campaign) -> None:
    row = {
        "phone": b"13800000001",
        "name": "李宁".encode(),
        "price": np.float32(99.9),
        "sum": 0.1 + 0.2,
        "city": r"\N",
    }

    campaign.assign([row])

    (job,) = campaign.client.iter_jobs_by_group(job_group_id=campaign.job_group_id)
    assert job.name == "李宁"
    assert (job.extras["price"], job.extras["sum"], "city" in job.extras) == ("99.9", "0.3", False)


def test_a_job_of_others_under_its_number_leaves_no_trace_of_it(
    campaign: Campaign, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    number = "13877665546"
    theirs = [Contact(phone=normalise(number)).job_json(reference) for reference in (number, f"u{number}")]
    campaign.client.assign_jobs(job_group_id=campaign.job_group_id, jobs=theirs)

    campaign.assign(GOOD)
    written = export(campaign.ledger, campaign.job_group_id, tmp_path / "results.jsonl")

    assert written["rows"] == len(GOOD) + len(theirs)
    campaign.ledger.close()
    for kept in [*tmp_path.glob("ledger.db*"), tmp_path / "results.jsonl"]:
        assert number.encode() not in kept.read_bytes()
    assert number not in caplog.text

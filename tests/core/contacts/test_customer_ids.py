"""A column whose name says that it is a customer's id joins the results to the author's data without being named."""

from __future__ import annotations

import string
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.examples import examples
from support.rows import as_contact

from airflow_provider_outbound.core.contacts import Reject, from_items, from_path, read_excluded
from airflow_provider_outbound.core.contacts.columns import CUSTOMER_IDS
from airflow_provider_outbound.core.models.contact import Contact
from airflow_provider_outbound.exceptions import OutboundBotContactsError

PHONE = "13800138000"
HINT = "if the column is not a reference id, pass columns={'reference_id': None}"


def read(row: Mapping[str, Any], **how: Any) -> Contact | Reject:
    (item,) = from_items([row], **how)
    return item


def reference_id(row: Mapping[str, Any], **how: Any) -> str | None:
    return as_contact(read(row, **how)).reference_id


@pytest.mark.parametrize(
    "column", ["客户编号", "客户ID", " 客户 编号", "Customer ID", "customer_no", "会员号", "外部编号"]
)
def test_it_is_the_reference_id_and_stays_an_extra(column: str) -> None:
    """A script may have a variable of that name."""
    item = read({"手机号": PHONE, column: "C-1001"})

    assert isinstance(item, Contact)
    assert item.reference_id == "C-1001"
    assert item.extras == {column.strip(): "C-1001"}


@pytest.mark.parametrize("column", ["id", "编号", "序号", "user_id", "account id", "客户编号备注", "客户"])
def test_a_name_that_may_mean_something_else_is_not(column: str) -> None:
    item = read({"手机号": PHONE, column: "1"})

    assert isinstance(item, Contact)
    assert item.reference_id is None


def test_one_of_several_is_not_guessed() -> None:
    assert reference_id({"phone": PHONE, "客户编号": "1", "会员号": "2"}) is None


def test_what_the_author_names_comes_first() -> None:
    row = {"phone": PHONE, "reference_id": "r", "客户编号": "c", "x": "x"}

    assert reference_id(row) == "r"
    assert reference_id(row, columns={"reference_id": "x"}) == "x"
    assert reference_id(row, columns={"reference_id": None}) is None
    assert reference_id(row, columns={"name": "客户编号"}) == "r"
    del row["reference_id"]
    assert reference_id(row, columns={"name": "客户编号"}) is None


@pytest.mark.parametrize("value", ["13877665546", 0.5, "1.00E+05"])
def test_one_that_cannot_be_an_id_is_a_reject_that_says_how_to_go_without(value: float | str) -> None:
    row = {"phone": PHONE, "客户编号": value}

    item = read(row)
    assert isinstance(item, Reject)
    assert item.reason.endswith(HINT)
    assert reference_id(row, columns={"reference_id": None}) is None


def test_a_narrow_column_says_so_too() -> None:
    frame = pd.DataFrame({"phone": [PHONE], "客户编号": pd.Series([1.0], dtype="float32")})

    with pytest.raises(OutboundBotContactsError, match=r"pass columns=\{'reference_id': None\}"):
        list(from_items(frame))


def test_in_a_do_not_call_list_its_numbers_count() -> None:
    source = from_items([{"phone": PHONE, "客户编号": "13877665546"}, {"phone": "13900139000", "客户编号": 0.5}])
    source.be_exclusions()

    assert read_excluded(source, "exclude") == {"+8613800138000", "+8613877665546", "+8613900139000"}


@pytest.mark.parametrize("value", [None, 3, ["phone"]])
def test_only_the_reference_id_can_be_said_to_have_no_column(value: Any) -> None:
    with pytest.raises(OutboundBotContactsError, match=r"^columns: .*, given for phone, is not the name of a column"):
        from_items([PHONE], columns={"phone": value})


@settings(max_examples=examples(100), deadline=None)
@given(
    columns=st.lists(st.sampled_from([*sorted(CUSTOMER_IDS), "id", "city", "编号"]), unique=True, max_size=4),
    ids=st.lists(st.text(string.ascii_letters + "-", min_size=1), min_size=4, max_size=4),
)
def test_an_id_comes_from_the_only_such_column_or_from_none(columns: Any, ids: Any) -> None:
    row = {"phone": PHONE, **dict(zip(columns, ids, strict=False))}
    candidates = [row[name] for name in columns if name in CUSTOMER_IDS]

    item = read(row)

    expected = candidates[0] if len(candidates) == 1 else None
    assert isinstance(item, Contact)
    assert item.reference_id == expected


def test_the_log_says_once_which_columns_were_recognised(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    rows = [{"联系电话": PHONE, "客户姓名": "Li", "客户号码": "C-1", "city": "Xi'an"}] * 2
    for source in (from_items(rows), from_items(rows, columns={"reference_id": "客户号码"})):
        assert len(list(source)) == len(list(source)) == 2

    without, named = caplog.messages
    assert without == (
        "contacts: phone number in '联系电话', name in '客户姓名', no column of reference ids, so they are hashes of"
        " the numbers; 2 columns for the script's variables"
    )
    assert named.endswith("name in '客户姓名', reference id in '客户号码'; 1 column for the script's variables")


def test_the_columns_of_a_file_are_named_once_too(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    (tmp_path / "a.csv").write_text(f"手机号码,会员编号\n{PHONE},\n", encoding="utf-8")
    source = from_path(tmp_path / "a.csv")

    assert len(list(source)) == len(list(source)) == 1

    (line,) = caplog.messages
    assert line.startswith(
        "contacts_path: a.csv: phone number in '手机号码', name in no column, reference id in '会员编号';"
    )
    # So whoever has no id there is counted.
    assert source.reference_column == "会员编号"

"""A number anywhere in a do-not-call list counts, or the list is refused: its owner is never overlooked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.examples import examples

from airflow_provider_outbound.core.contacts import from_items, from_path, read_excluded
from airflow_provider_outbound.exceptions import OutboundBotContactsError

PHONE_COLUMNS = [
    "phone",
    "Phone 2",
    "mobile",
    "tel",
    "手机",
    "手机号码",
    "电话",
    "电话2",
    "联系电话",
    "备用电话",
    "Work Phone",
]
OTHER_COLUMNS = ["备用", "name", "联系人", "role", "note", "spare", "x"]
#: How exports write a number so that it can be read, and so that it cannot.
READABLE = ["{}", " +86 {} ", "0086-{}", "{}.0", "{}.00", "\ufeff{}\u200b", "（{}）", "'{}", '="{}"', ' ="{}" ']
DAMAGED = ["1.38E+10", "1.{rest}e10", "{}/{}", "{} ext. 8", "{}*", "13{rest}OO"]
NUMBERS = st.integers(0, 10**8 - 1).map(lambda tail: f"138{tail:08d}")


def excluded(
    rows: Sequence[Mapping[str, object]],
    *,
    columns: Mapping[str, str] | None = None,
    exclude_columns: Mapping[str, str] | None = None,
) -> frozenset[str]:
    source = from_items(rows, label="exclude")
    source.be_exclusions(columns=columns, exclude_columns=exclude_columns)
    return read_excluded(source, "exclude")


@settings(max_examples=examples(400), deadline=None)
@given(st.data())
def test_a_number_in_any_column_is_excluded(data: st.DataObject) -> None:
    main, other = data.draw(
        st.lists(st.sampled_from(PHONE_COLUMNS + OTHER_COLUMNS), min_size=2, max_size=2, unique=True).filter(
            lambda names: names[0] in PHONE_COLUMNS and set(names) != {"name", "联系人"}
        )
    )
    first, second = data.draw(NUMBERS), data.draw(NUMBERS)
    form = data.draw(st.sampled_from(READABLE))
    row = data.draw(st.permutations([(main, first), (other, form.format(second))]))

    found: frozenset[str] = frozenset()
    refused = ""
    try:
        found = excluded([dict(row)])
    except OutboundBotContactsError as error:
        refused = str(error)

    if refused:
        # No column is called phone or phone 2, so the author has to name one.
        assert main in ("备用电话", "Work Phone")
        assert "no phone number" in refused
    else:
        assert found == {f"+86{first}", f"+86{second}"}


@settings(max_examples=examples(300), deadline=None)
@given(st.sampled_from(["Phone 2", "电话2", "备用电话", "Work Phone", "手机"]), NUMBERS, st.sampled_from(DAMAGED))
def test_a_damaged_number_in_another_column_for_numbers_refuses_the_list(column: str, number: str, form: str) -> None:
    cell = form.format(number, number, rest=number[3:9])

    with pytest.raises(OutboundBotContactsError, match=r"exclude: row 1: column .*exclude_columns") as refused:
        excluded([{"phone": "13900000000", column: cell}])

    assert number not in str(refused.value)


def test_all_rows_that_cannot_be_read_are_told_at_once() -> None:
    rows: list[dict[str, str]] = [
        {"phone": "139"},
        {"phone": "", "note": "13900000000 asked for it"},
        {"phone": "13900000000", "Phone 2": "13800000001 ext. 8"},
        {"phone": "13900000000"},
        *({"phone": f"x{n}"} for n in range(20)),
    ]

    with pytest.raises(OutboundBotContactsError) as caught:
        excluded(rows)

    text = str(caught.value)
    assert text.startswith("exclude: 23 rows cannot be read: row 1 (***): ")
    assert "; row 2: no phone number; row 3: column 'Phone 2' holds more than a number" in text
    assert "; and 13 more. Fix them (write" in text
    assert text.endswith("exclude_columns={'phone': …}; numbers in the others are then not excluded")


@pytest.mark.parametrize("column", ["备用", "name", "note"])
@pytest.mark.parametrize("cell", ["1.38E+10", "1.38001E10", "8.6138E+12"])
def test_a_mobile_number_that_a_spreadsheet_rounded_refuses_the_list_in_any_column(column: str, cell: str) -> None:
    with pytest.raises(OutboundBotContactsError, match=r"exclude: row 1: column .* a spreadsheet has rounded"):
        excluded([{"phone": "13900000000", column: cell}])


@pytest.mark.parametrize(
    "cell", ["13800000001/13800000002", "13800000001、13800000002", ["13800000001", "13800000002"]]
)
def test_a_cell_of_numbers_excludes_each_of_them(cell: list[str] | str) -> None:
    assert excluded([{"phone": "13900000000", "备用": cell}]) == {
        f"+86{number}" for number in ("13900000000", "13800000001", "13800000002")
    }


@pytest.mark.parametrize(
    "details",
    [
        {"tel_updated_at": "2026-11-26 10:00:00", "phone_since": "2026-11-26", "电话日期": "20261126"},
        {"phone_type": "mobile", "has_phone": True, "电话次数": 3, "tel_extension": "8001"},
        {"note": "called twice, order 20261126001", "city": "Hangzhou", "amount": "1.5E+3"},
    ],
)
def test_what_is_no_number_does_not_refuse_a_list(details: dict[str, object]) -> None:
    assert excluded([{"phone": "13900000000", **details}]) == {"+8613900000000"}


@pytest.mark.parametrize(
    ("row", "numbers"),
    [
        pytest.param({"手机": "", "电话": "13800000001"}, ["13800000001"], id="first-empty"),
        pytest.param({"手机": "NULL", "备用电话": "13800000001.0"}, ["13800000001"], id="null"),
        pytest.param({"电话1": "", "电话2": "13800000001"}, ["13800000001"], id="numbered"),
        pytest.param({"电话1": "13800000001", "电话2": "13800000002"}, ["13800000001", "13800000002"], id="both"),
    ],
)
def test_all_columns_for_numbers_count(row: dict[str, object], numbers: list[str]) -> None:
    assert excluded([row]) == {f"+86{number}" for number in numbers}


def test_a_row_without_any_number_refuses_the_list() -> None:
    with pytest.raises(OutboundBotContactsError, match=r"row 2: no phone number"):
        excluded([{"手机": "13800000001", "电话": ""}, {"手机": "", "电话": ""}])


def test_a_row_whose_only_number_is_in_a_note_says_where_to_write_it() -> None:
    """It may be somebody else's, for example the colleague's who wrote the note."""
    rows = [{"手机": "13800000001", "备注": ""}, {"手机": "", "备注": "于先生 13800000002 请勿再打"}]

    with pytest.raises(OutboundBotContactsError, match=r"row 2: no phone number; write the number into the"):
        excluded(rows)


def test_a_column_that_the_author_names_is_the_only_one(caplog: pytest.LogCaptureFixture) -> None:
    rows = [
        {"手机": "13800000001", "电话": "13800000002", "备注": "x"},
        {"手机": "13800000003", "电话": "", "备注": "改打 13800000004"},
        {"手机": "13800000005", "电话": "", "备注": "2026-11-27"},
    ]

    assert excluded(rows, exclude_columns={"phone": "手机"}) == {f"+861380000000{n}" for n in (1, 3, 5)}
    assert "2 rows with numbers in 电话, 备注, which are not excluded: exclude_columns names the only" in caplog.text
    assert "13800000002" not in caplog.text
    with pytest.raises(OutboundBotContactsError, match="no phone number"):
        excluded([{"手机": "", "电话": "13800000002"}], exclude_columns={"phone": "手机"})


def test_a_frame_written_as_csv_with_gaps(tmp_path: Path) -> None:
    frame = pd.DataFrame({"手机": [13800000001, None], "备用": [None, 13800000002], "电话": [13800000003, 13800000004]})
    frame.to_csv(tmp_path / "list.csv", index=False)
    source = from_path(tmp_path / "list.csv", label="exclude_path")
    source.be_exclusions()

    assert read_excluded(source, "exclude_path") == {f"+861380000000{last}" for last in (1, 2, 3, 4)}


def test_a_second_column_of_float32_refuses_the_list() -> None:
    frame = pd.DataFrame({"phone": ["13800000001"], "phone2": pd.Series([13800000002], dtype="float32")})
    source = from_items(frame, label="exclude")
    source.be_exclusions()

    with pytest.raises(OutboundBotContactsError, match="column 'phone2': float32 cannot hold"):
        read_excluded(source, "exclude")


def test_a_workbook_with_numbered_columns(tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in (
        ["勿扰名单"],
        ["电话1", "电话2", "备注"],
        ["13800000001", 13800000002, "x"],
        [None, "13800000003", None],
    ):
        book.active.append(row)
    book.save(tmp_path / "list.xlsx")
    source = from_path(tmp_path / "list.xlsx", label="exclude_path")
    source.be_exclusions()

    assert read_excluded(source, "exclude_path") == {f"+861380000000{last}" for last in (1, 2, 3)}


#: How people write a number into a note, and what they write around it.
IN_A_NOTE = ["{}", "{a}-{b}-{c}", "{a} {b} {c}", "+86{}", "0086 {}", "+86-{a}-{b}-{c}", "（{}）", "１{rest}"]
WORDS = ["", "王先生", " 请勿再打", "also ", "; ", "：", " (wife) ", " 2026-11-26 ", "，备用 ", "张三/", "x", "次数3 "]


@settings(max_examples=examples(400), deadline=None)
@given(
    st.lists(st.tuples(NUMBERS, st.sampled_from(IN_A_NOTE), st.sampled_from(WORDS[1:])), min_size=1, max_size=3),
    st.sampled_from(WORDS),
    st.sampled_from(["note", "备注", "name", "role"]),
)
def test_every_number_in_a_note_is_excluded(numbers: list[tuple[str, str, str]], after: str, column: str) -> None:
    note = "".join(
        word + form.format(number, a=number[:3], b=number[3:7], c=number[7:], rest=number[1:])
        for number, form, word in numbers
    )

    found = excluded([{"phone": "13900000000", column: note + after}])

    assert {f"+86{number}" for number, _, _ in numbers} <= found


@pytest.mark.parametrize(
    ("note", "numbers"),
    [
        ("王先生 13800000001 请勿再打", ["13800000001"]),
        ("wife 13800000001, office 010-65529988", ["13800000001", "1065529988"]),
        ('{"tel": "13800000001"}', ["13800000001"]),
        ("ring +1 415 555 2671 never", ["+14155552671"]),
        ("400-812-3123 转 8001", ["4008123123"]),
    ],
)
def test_a_note_holds_these_numbers(note: str, numbers: list[str]) -> None:
    expected = {number if number.startswith("+") else f"+86{number}" for number in numbers}

    assert excluded([{"phone": "13900000000", "note": note}]) == {"+8613900000000", *expected}

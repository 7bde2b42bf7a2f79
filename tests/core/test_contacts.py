"""Rows as people write them, read as contacts or refused with a reason."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_outbound.core.contacts import Reject, from_items, from_path, read_excluded
from airflow_provider_outbound.core.models.contact import Contact
from airflow_provider_outbound.exceptions import OutboundBotContactsError

NUMBER = "13800000000"


def only(source):
    (item,) = source
    return item


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(
    "column", ["phone", "Phone Number", "phone_number", "phoneNumber", "MOBILE", "手机号", "手机号码", "电话"]
)
def test_the_usual_names_of_columns_are_understood(column):
    contact = only(from_items([{column: NUMBER, "姓名": "张三", "称呼": "先生", "referenceId": "r-1", "城市": "杭州"}]))

    assert contact.phone.e164 == "+8613800000000"
    assert (contact.name, contact.honorific, contact.reference_id) == ("张三", "先生", "r-1")
    assert contact.extras == {"城市": "杭州"}


def test_columns_are_chosen_by_name():
    contact = only(
        from_items(
            [{"a": NUMBER, "b": "Li", "phone": "not this"}],
            columns={"phone": "a", "name": "b"},
        )
    )

    assert (contact.phone.wire, contact.name, contact.extras) == (NUMBER, "Li", {"phone": "not this"})


@pytest.mark.parametrize(
    ("number", "e164"),
    [
        (NUMBER, "+8613800000000"),
        (13800000000, "+8613800000000"),
        (13800000000.0, "+8613800000000"),
        ("13800000000.0", "+8613800000000"),
        (" +86 138-0000-0000 ", "+8613800000000"),
        ("\u202d13800000000\u202c", "+8613800000000"),
        ("１３８００００００００", "+8613800000000"),
        ("+852 5123 4567", "+85251234567"),
    ],
)
def test_numbers_as_people_and_spreadsheets_write_them(number, e164):
    assert only(from_items([{"phone": number}])).phone.e164 == e164
    assert only(from_items([number])).phone.e164 == e164 if not isinstance(number, float) else True


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"phone": ""}, "no phone number"),
        ({"phone": None}, "no phone number"),
        ({"name": "Li"}, "no phone number"),
        ({}, "no phone number"),
        ({"phone": "1.38E+10"}, "a spreadsheet has rounded"),
        ({"phone": "12345"}, "not a valid number"),
        ({"phone": [NUMBER]}, "the number is of type list"),
        ({"phone": True}, "the number is of type bool"),
        ({"phone": NUMBER, "reference_id": NUMBER}, "could be a phone number"),
        ({"phone": NUMBER, "reference_id": "x" * 129}, "longer than 128"),
        ({"phone": NUMBER, "reference_id": "a\x00b"}, "control characters"),
        (None, "NoneType is neither"),
        ([NUMBER], "list is neither"),
    ],
)
def test_a_row_that_is_no_contact_is_rejected_with_its_reason(row, reason):
    reject = only(from_items([row]))

    assert isinstance(reject, Reject)
    assert reason in reject.reason
    assert NUMBER not in str(reject)


def test_control_characters_become_spaces_and_empty_values_stay():
    contact = only(
        from_items([{"phone": NUMBER, "name": "Li\x00\nNing\ud800", "note": "a\tb", "empty": "", "none": None, "n": 3}])
    )

    assert contact.name == "Li  Ning\ufffd"
    assert contact.extras == {"note": "a b", "empty": "", "n": "3"}


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("name", ["people.csv", "people.tsv", "people.jsonl", "people.ndjson"])
def test_files(tmp_path, name, suffix):
    rows = [{"phone": f"1380000000{index}", "name": "李, 宁", "city": "杭州"} for index in range(3)]
    if "json" in name:
        text = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n\n"
    else:
        separator = "\t" if "tsv" in name else ","
        lines = [separator.join(rows[0])]
        lines += [separator.join(f'"{value}"' for value in row.values()) for row in rows]
        text = "\ufeff" + "\r\n".join(lines) + "\r\n\r\n"
    content = text.encode()
    path = write(tmp_path, name + suffix, gzip.compress(content) if suffix else content)

    source = from_path(path)

    for _ in range(2):
        contacts = list(source)
        assert [contact.phone.wire for contact in contacts] == [row["phone"] for row in rows]
        assert {(contact.name, contact.extras["city"]) for contact in contacts} == {("李, 宁", "杭州")}
        assert [contact.row for contact in contacts] == [1, 2, 3]


def test_an_encoding_of_old_spreadsheets(tmp_path):
    path = write(tmp_path, "people.csv", f"手机号;姓名\n{NUMBER};张三\n".encode("gb18030"))

    assert only(from_path(path, encoding="gb18030")).name == "张三"
    with pytest.raises(OutboundBotContactsError, match="is not in encoding 'utf-8-sig'; pass the right one"):
        list(from_path(path))


def test_lines_that_cannot_be_read_are_rejected_and_the_others_kept(tmp_path):
    csv = write(tmp_path, "people.csv", f"phone,name\n{NUMBER},Li,more\n{NUMBER}\n,Li\n" + "x" * 200_000 + "\n")
    jsonl = write(tmp_path, "people.jsonl", f'{{"phone": "{NUMBER}"}}\n[1]\nnonsense\n')

    assert [type(item) for item in from_path(csv)] == [Reject, Contact, Reject, Reject]
    assert [type(item) for item in from_path(jsonl)] == [Contact, Reject, Reject]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (f"{NUMBER},Li\n", "its first line is a contact; put a line of column names"),
        ("name,city\nLi,x\n", "has no column for the phone number among name, city; name the one"),
        ("phone,mobile\n1,2\n", "'phone' and 'mobile' both look like the phone; say which"),
        ("phone,x,x\n1,2,3\n", "column 'x' appears twice"),
    ],
)
def test_a_file_whose_columns_do_not_fit(tmp_path, content, words):
    with pytest.raises(OutboundBotContactsError, match=words) as caught:
        list(from_path(write(tmp_path, "people.csv", content)))

    assert NUMBER not in str(caught.value)


def test_a_file_that_is_missing_damaged_or_of_another_kind(tmp_path):
    for name, content in (("people.csv.gz", b"no gzip"), ("people.jsonl.gz", gzip.compress(b"x" * 9)[:-6])):
        with pytest.raises(OutboundBotContactsError, match="cannot be read"):
            list(from_path(write(tmp_path, name, content)))
    with pytest.raises(OutboundBotContactsError, match="cannot be read: No such file"):
        list(from_path(tmp_path / "none.csv"))
    with pytest.raises(OutboundBotContactsError, match="none of the suffixes"):
        from_path(tmp_path / "people.xlsx")
    with pytest.raises(OutboundBotContactsError, match="encoding: 'nope' is unknown"):
        from_path(tmp_path / "people.csv", encoding="nope")


@pytest.mark.parametrize("content", ["", "\ufeff", "phone,name\n", "phone,name\n\n,\n"])
def test_a_file_without_a_row_is_empty(tmp_path, content):
    assert list(from_path(write(tmp_path, "people.csv", content))) == []


def test_excluded_numbers_must_all_be_readable():
    assert read_excluded(from_items([NUMBER, {"phone": "13800000001"}]), "exclude") == {
        "+8613800000000",
        "+8613800000001",
    }
    with pytest.raises(OutboundBotContactsError, match="exclude: row 2"):
        read_excluded(from_items([NUMBER, "1"]), "exclude")


def test_an_iterator_can_be_read_once_only():
    assert not from_items(iter([NUMBER])).is_repeatable
    assert from_items([NUMBER]).is_repeatable
    assert from_items((NUMBER,)).is_repeatable


def test_memory_does_not_grow_with_the_file(tmp_path):
    line = json.dumps({"phone": "12", "name": "x" * 200}) + "\n"
    peaks = []
    for count in (2_000, 20_000):
        path = write(tmp_path, "people.jsonl", line * count)
        tracemalloc.start()
        assert sum(1 for _ in from_path(path)) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()

    assert peaks[1] < peaks[0] * 1.5


@given(st.lists(st.dictionaries(st.text(max_size=5), st.text(max_size=20) | st.none() | st.integers() | st.floats())))
def test_whatever_stands_in_a_row_is_a_contact_or_rejected(rows):
    try:
        items = list(from_items(rows))
    except OutboundBotContactsError as error:
        assert "both look like" in str(error)  # noqa: PT017 - only now and then
        return

    assert len(items) == len(rows)
    for item in items:
        if isinstance(item, Contact):
            item.job_json("reference").encode()

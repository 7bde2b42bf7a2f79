"""Files that are not what they seem: refused for what they are, with file and line, or read as they were meant."""

from __future__ import annotations

import gzip
import io
import itertools
import json
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.examples import examples
from support.rows import as_contact, as_contacts, as_reject

from airflow_provider_outbound.core.contacts import Reject, from_items, from_path, read_excluded
from airflow_provider_outbound.core.models.contact import Contact
from airflow_provider_outbound.exceptions import ContactsNotFoundError, OutboundBotContactsError

NUMBER = "13800000000"


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def zipped(name: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, "x")
    return file.getvalue()


def numbers(source: Any) -> list[str]:
    return [item.phone.wire for item in source]


@pytest.mark.parametrize("before", ["\n", "\r\n", "\r", "\ufeff\r\n", "\n\ufeff", " \t\n,,\n", "sep=,\r\n", "\ufeff"])
def test_what_stands_before_the_header_hides_nobody(tmp_path: Path, before: str) -> None:
    path = write(tmp_path, "people.csv", f"{before}phone,name\r\n{NUMBER},Li\r\n")

    (contact,) = as_contacts(from_path(path))

    assert (contact.phone.wire, contact.name, contact.extras) == (NUMBER, "Li", {})
    assert read_excluded(from_path(path, label="exclude_path"), "exclude_path") == {f"+86{NUMBER}"}


def test_surplus_cells_that_are_empty_are_ignored_and_others_are_not(tmp_path: Path) -> None:
    rows = f"{NUMBER},A,,\n13800000001,B\n13800000002\n13800000003,C,,x\n,,,\n"
    for header in ("phone,name", "phone,name,,", "phone,name,"):
        *contacts, last = from_path(write(tmp_path, "people.csv", f"{header}\n{rows}"))
        reject = as_reject(last)

        assert [(contact.name, contact.extras) for contact in as_contacts(contacts)] == [
            ("A", {}),
            ("B", {}),
            (None, {}),
        ]
        assert (reject.line, reject.reason[:24]) == (5, "4 cells, but 2 columns; ")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", zipped("xl/workbook.xml"), "is an Excel workbook; save the sheet as 'CSV UTF-8'"),
        ("a.csv", zipped("people.csv"), "is a ZIP archive; unpack it"),
        ("a.jsonl", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600, "is a workbook of an old Excel"),
        ("a.csv", gzip.compress(b"phone\n1\n"), "is compressed with gzip; add .gz to its name"),
        ("a.csv.gz", gzip.compress(gzip.compress(b"phone\n1\n")), "is compressed with gzip"),
        ("a.csv.gz", b"phone\n1\n", "is not compressed with gzip; remove .gz from its name"),
        ("a.csv.gz", zipped("people.csv"), "is a ZIP archive"),
        ("a.csv", b"\x28\xb5\x2f\xfd\x00", "is compressed with Zstandard; unpack it"),
        ("a.csv", b"PAR1" + b"\0" * 50, "is a Parquet file; name it .parquet"),
        ("a.csv", b"\n<!DOCTYPE html>\n<html>", "is HTML or XML"),
        ("a.csv", f"phone,name\n{NUMBER},Li\n".encode("utf-16"), "is UTF-16 text, .* pass encoding='utf-16'"),
        ("a.csv", f"phone\n{NUMBER}\n".encode("utf-16-le"), "is UTF-16 text, .* pass encoding='utf-16-le'"),
        ("a.csv", f"手机号\n{NUMBER}\n".encode("utf-16-be"), "is UTF-16 text, .* pass encoding='utf-16-be'"),
        ("a.csv", f"phone\n{NUMBER}\n".encode("utf-32"), "is UTF-32 text, .* pass encoding='utf-32'"),
        ("a.csv", b"ph\0ne\n1\n" + b"x" * 99, "first line holds NUL bytes"),
        ("a.jsonl", f'\n [{{"phone": "{NUMBER}"}}]', "line 2: is a JSON array"),
        ("a.jsonl", f'{{\n"phone": "{NUMBER}"\n}}\n', "line 1: begins an object over several lines"),
    ],
    ids=itertools.count(),  # contents that hold the time of day name no test
)
def test_what_is_something_else_is_named_for_what_it_is(
    tmp_path: Path, name: str, content: str | bytes, words: str
) -> None:
    path = write(tmp_path, name, content)

    with pytest.raises(OutboundBotContactsError, match=words) as caught:
        list(from_path(path))

    assert name in str(caught.value)
    assert NUMBER not in str(caught.value)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8", "utf-8-sig", "gb18030"])
def test_text_is_read_in_the_encoding_that_is_named(tmp_path: Path, encoding: str) -> None:
    for mark in ("\ufeff", "") if "utf" in encoding else ("",):
        text = f"{mark}phone,姓名\r\n{NUMBER},李宁\r\n"
        path = write(tmp_path, "people.csv", text.encode(encoding))

        assert [(contact.phone.wire, contact.name) for contact in as_contacts(from_path(path, encoding=encoding))] == [
            (NUMBER, "李宁")
        ]


@pytest.mark.parametrize(
    ("written", "named", "words"),
    [
        ("gb18030", "utf-8-sig", "pass the right one: encoding='gb18030'"),
        ("utf-8-sig", "gb18030", "is UTF-8 text, not 'gb18030'; omit encoding"),
        ("utf-8", "utf-16", "not in encoding 'utf-16'; omit encoding"),
        ("utf-16", "gb18030", "pass encoding='utf-16'"),
        ("utf-16-be", "utf-16", "pass encoding='utf-16-be'"),
        ("big5", "gb18030", "save it as 'CSV UTF-8' and omit encoding"),
    ],
)
def test_advice_about_an_encoding_does_not_lead_back_to_itself(
    tmp_path: Path, written: str, named: str, words: str
) -> None:
    path = write(tmp_path, "people.csv", f"手機號,phone\n李,{NUMBER}\n".encode(written) + b"\xff,\n" * 2)

    with pytest.raises(OutboundBotContactsError, match=words) as caught:
        list(read_excluded(from_path(path, encoding=named), "exclude_path"))

    assert f"encoding={named!r}" not in str(caught.value)


def test_a_row_that_cannot_be_decoded_is_a_reject_and_hides_no_other(tmp_path: Path) -> None:
    content = f"phone,name\n{NUMBER},".encode() + b"\xc0\xee\n13800000001,Li\n" + b'13800000002,"\xc0\n\xee"\n'
    first, contact, last = from_path(write(tmp_path, "people.csv", content))
    (other,) = from_path(write(tmp_path, "people.jsonl", b'{"phone": "13800000000", "name": "\xc0"}\n'))

    assert as_contact(contact).phone.wire == "13800000001"
    assert [(item.line, item.row) for item in (first, last, other)] == [(2, 1), (4, 3), (1, 1)]
    for reject in (first, last, other):
        assert "is not in encoding 'utf-8-sig'; pass the right one" in as_reject(reject).reason
    with pytest.raises(
        OutboundBotContactsError, match=r"exclude_path: 2 rows .*: people\.csv line 2: is not in encoding"
    ):
        read_excluded(from_path(tmp_path / "people.csv"), "exclude_path")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (f'{{"phone": "{NUMBER}", "phone": "13800000001"}}', "has a key twice in one object"),
        (f'{{"phone": "{NUMBER}", "extras": {{"a": 1, "a": 2}}}}', "has a key twice in one object"),
        (f'{{"phone": "{NUMBER}", "n": Infinity}}', "holds Infinity, which is not a JSON value"),
        (f'{{"phone": "{NUMBER}"}} {{"phone": "1"}}', "is not a JSON object on one line"),
        ("[" * 100_000, "is not a JSON object on one line"),
        ('"13800000000"', "is not a JSON object on one line"),
    ],
)
def test_a_line_of_json_that_is_not_clear_is_a_reject_with_its_line(tmp_path: Path, line: str, reason: str) -> None:
    path = write(tmp_path, "people.jsonl", f'\ufeff\r\n{{"phone": "{NUMBER}", "n": NaN}}\r\n\r\n{line}\r\n')

    contact, reject = from_path(path)

    assert (contact.line, as_contact(contact).extras) == (2, {})
    assert (reject.line, reject.row, reject.file) == (4, 2, "people.jsonl")
    assert reason in as_reject(reject).reason


def test_rejects_name_file_and_line_and_keep_their_row(tmp_path: Path) -> None:
    path = write(tmp_path, "people.csv", f'\nphone,name\n\n{NUMBER},"Li\nNing"\n138,x\n,y\n')

    contact, short, none = from_path(path)

    assert (contact.row, contact.line, contact.file) == (1, 4, "people.csv")
    assert [(item.row, item.line) for item in (short, none)] == [(2, 6), (3, 7)]
    assert str(short).startswith("people.csv line 6 (***): ")
    with pytest.raises(
        OutboundBotContactsError, match=r"2 rows cannot be read: people\.csv line 6 .*; people\.csv line 7: no phone"
    ):
        read_excluded(from_path(path), "exclude_path")


@pytest.mark.parametrize("twin", ["city", "city ", " city", "ci ty", "\u3000city"])
def test_columns_that_are_the_same_or_differ_in_blanks_only_are_refused(tmp_path: Path, twin: str) -> None:
    table = pa.table([pa.array([NUMBER]), pa.array([1]), pa.array([2])], names=["phone", "city", twin])
    pyarrow.parquet.write_table(table, tmp_path / "people.parquet")
    write(tmp_path, "people.csv", f"phone,city,{twin}\n{NUMBER},1,2\n")
    if twin != "city":
        write(tmp_path, "people.jsonl", json.dumps({"phone": NUMBER, "city": 1, twin: 2}) + "\n")

    for path in tmp_path.iterdir():
        with pytest.raises(OutboundBotContactsError, match=r"appears twice; rename one|differ only in spaces; rename"):
            list(from_path(path))


@pytest.mark.parametrize("content", ["", "\n", "\ufeff", " \r\n,,\r\n", "sep=;\n"])
@pytest.mark.parametrize("name", ["people.csv", "people.csv.gz", "people.jsonl"])
def test_a_do_not_call_list_without_a_header_is_refused_and_contacts_are_none(
    tmp_path: Path, name: str, content: str
) -> None:
    if "json" in name and content.strip("\r\n \ufeff"):
        pytest.skip("not blank as JSON")
    data = content.encode()
    path = write(tmp_path, name, gzip.compress(data) if "gz" in name else data)

    assert from_path(path).is_empty()
    with pytest.raises(OutboundBotContactsError, match="is empty; to list nobody, give a CSV file with only a header"):
        read_excluded(from_path(path), "exclude_path")


def test_a_do_not_call_list_that_is_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    write(tmp_path / "folder", "_SUCCESS", "")

    for path in (tmp_path / "folder", tmp_path / "*.csv", tmp_path / "none.csv"):
        with pytest.raises(ContactsNotFoundError, match=r"exclude_path: .*(folder|\*\.csv|none\.csv) "):
            read_excluded(from_path(path, label="exclude_path"), "exclude_path")


def test_a_do_not_call_list_of_nobody_is_read(tmp_path: Path) -> None:
    pyarrow.parquet.write_table(pa.table({"phone": pa.array([], pa.string())}), tmp_path / "none.parquet")

    for path in (write(tmp_path, "none.csv", "phone,name\n"), tmp_path / "none.parquet"):
        assert read_excluded(from_path(path), "exclude_path") == frozenset()
    assert read_excluded(from_items([]), "exclude") == frozenset()
    assert read_excluded(from_items(iter([NUMBER])), "exclude") == {f"+86{NUMBER}"}


def test_a_file_of_a_folder_that_is_gone_is_not_passed_over(tmp_path: Path) -> None:
    write(tmp_path, "a.csv", f"phone\n{NUMBER}\n")
    (tmp_path / "b.csv").symlink_to(tmp_path / "elsewhere.csv")

    for path in (tmp_path, tmp_path / "*.csv"):
        with pytest.raises(OutboundBotContactsError, match=r"b\.csv cannot be read: No such file"):
            list(from_path(path))


@settings(max_examples=examples(200), deadline=None)
@given(data=st.binary(max_size=80) | st.text(max_size=40).map(str.encode), name=st.sampled_from(["a.csv", "a.jsonl"]))
def test_whatever_a_file_holds_it_is_read_rejected_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, name: str
) -> None:
    path = tmp_path_factory.getbasetemp() / name
    path.write_bytes(data)
    try:
        items = list(from_path(path))
    except OutboundBotContactsError as error:
        assert str(error).startswith(("contacts_path: ", "columns: "))  # noqa: PT017 - only now and then
        return

    assert [item for item in items if not isinstance(item, Contact | Reject)] == []

"""Contacts of files, folders and patterns."""

from __future__ import annotations

import gzip
import json
import sys
import tracemalloc
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest
from support.rows import as_contacts, as_reject

from airflow_provider_outbound.core.contacts import Reject, from_path
from airflow_provider_outbound.core.models.contact import Contact
from airflow_provider_outbound.exceptions import OutboundBotContactsError

NUMBER = "13800000000"


def only(source: Iterable[Contact | Reject]) -> Any:
    (item,) = source
    return item


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("name", ["people.csv", "people.tsv", "people.jsonl", "people.ndjson"])
def test_files(tmp_path: Path, name: str, suffix: str) -> None:
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
        contacts = as_contacts(source)
        assert [contact.phone.wire for contact in contacts] == [row["phone"] for row in rows]
        assert {(contact.name, contact.extras["city"]) for contact in contacts} == {("李, 宁", "杭州")}
        assert [contact.row for contact in contacts] == [1, 2, 3]


def test_an_encoding_of_old_spreadsheets(tmp_path: Path) -> None:
    path = write(tmp_path, "people.csv", f"手机号;姓名\n{NUMBER};张三\n".encode("gb18030"))

    assert only(from_path(path, encoding="gb18030")).name == "张三"
    with pytest.raises(OutboundBotContactsError, match="is not in encoding 'utf-8-sig'; pass the right one"):
        list(from_path(path))


def test_lines_that_cannot_be_read_are_rejected_and_the_others_kept(tmp_path: Path) -> None:
    csv = write(tmp_path, "people.csv", f"phone,name\n{NUMBER},Li,more\n{NUMBER}\n,Li\n" + "x" * 200_000 + "\n")
    jsonl = write(tmp_path, "people.jsonl", f'{{"phone": "{NUMBER}"}}\n[1]\nnonsense\n')

    assert [type(item) for item in from_path(csv)] == [Reject, Contact, Reject, Reject]
    assert [type(item) for item in from_path(jsonl)] == [Contact, Reject, Reject]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (f"{NUMBER},Li\n", "its first line is a contact; put a line of column names"),
        ("name,city\nLi,x\n", "has no column for the phone number among name, city; name the right one"),
        ("phone,mobile\n1,2\n", "'phone' and 'mobile' both look like the phone; choose one"),
        ("phone,x,x\n1,2,3\n", "column 'x' appears twice"),
    ],
)
def test_a_file_whose_columns_do_not_fit(tmp_path: Path, content: str, words: str) -> None:
    with pytest.raises(OutboundBotContactsError, match=words) as caught:
        list(from_path(write(tmp_path, "people.csv", content)))

    assert NUMBER not in str(caught.value)


@pytest.mark.parametrize("field", ["phone", "name", "reference_id"])
def test_a_wrong_name_of_a_column_is_named_with_its_field(tmp_path: Path, field: str) -> None:
    path = write(tmp_path, "people.csv", f"phone,name\n{NUMBER},Li\n")

    with pytest.raises(OutboundBotContactsError) as caught:
        list(from_path(path, columns={field: "客户号"}))

    assert "has no column '客户号' among phone, name" in str(caught.value)
    assert f"columns={{'{field}': 'NAME OF THE COLUMN'}}" in str(caught.value)


def test_a_file_that_is_missing_damaged_or_of_another_kind(tmp_path: Path) -> None:
    for name, content in (("people.csv.gz", b"no gzip"), ("people.jsonl.gz", gzip.compress(b"x" * 9)[:-6])):
        with pytest.raises(OutboundBotContactsError, match=r"cannot be read: it ends|not compressed with gzip"):
            list(from_path(write(tmp_path, name, content)))
    with pytest.raises(OutboundBotContactsError, match="cannot be read: No such file"):
        list(from_path(tmp_path / "none.csv"))
    with pytest.raises(OutboundBotContactsError, match="none of the suffixes"):
        from_path(tmp_path / "people.docx")
    with pytest.raises(OutboundBotContactsError, match="encoding: 'nope' is unknown"):
        from_path(tmp_path / "people.csv", encoding="nope")


@pytest.mark.parametrize("content", ["", "\ufeff", "phone,name\n", "phone,name\n\n,\n"])
def test_a_file_without_a_row_is_empty(tmp_path: Path, content: str) -> None:
    assert list(from_path(write(tmp_path, "people.csv", content))) == []


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    line = json.dumps({"phone": "12", "name": "x" * 200}) + "\n"
    peaks = []
    for count in (2_000, 20_000):
        path = write(tmp_path, "people.jsonl", line * count)
        tracemalloc.start()
        assert sum(1 for _ in from_path(path)) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()

    assert peaks[1] < peaks[0] * 1.5


def numbers(source: Any) -> list[str]:
    return [item.phone.wire for item in source]


def test_a_parquet_file(tmp_path: Path) -> None:
    table = pa.table(
        {
            "phone": pa.array([13800000000, None, 13800000002], pa.int64()),
            "name": ["李宁", "nobody", None],
            "age": pa.array([31.0, 2.0, None]),
            "limit": [Decimal("10.50"), None, None],
            "tags": [["a", "b"], None, None],
        }
    )
    pyarrow.parquet.write_table(table, tmp_path / "people.parquet")

    for _ in range(2):
        first, second, last = from_path(tmp_path / "people.parquet")
        first, third = as_contacts([first, last])
        assert (first.phone.wire, first.name) == (NUMBER, "李宁")
        assert first.extras == {"age": "31", "limit": "10.50", "tags": '["a", "b"]'}
        assert (second.row, as_reject(second).reason) == (2, "no phone number")
        assert (third.phone.wire, third.name, third.extras) == ("13800000002", None, {})


def test_a_parquet_file_of_one_row_group_is_read_in_parts(tmp_path: Path) -> None:
    count = 200_000
    table = pa.table({"phone": [str(13800000000 + index) for index in range(count)], "note": ["x" * 50] * count})
    pyarrow.parquet.write_table(table, tmp_path / "people.parquet", row_group_size=count)

    assert pyarrow.parquet.ParquetFile(tmp_path / "people.parquet").num_row_groups == 1
    assert sum(1 for _ in from_path(tmp_path / "people.parquet")) == count


def test_parquet_that_is_none_or_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, "people.parquet", "phone\n13800000000\n")

    with pytest.raises(OutboundBotContactsError, match=r"people\.parquet cannot be read: it is not a Parquet file"):
        list(from_path(path))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(OutboundBotContactsError, match=r"Parquet needs pyarrow; run: pip install .*\[parquet\]"):
        list(from_path(path))


def test_a_folder_is_all_its_files(tmp_path: Path) -> None:
    write(tmp_path, "b.csv", "phone\n13800000002\n")
    write(tmp_path, "a.jsonl", '{"phone": "13800000001"}\n')
    (tmp_path / "day=1").mkdir()
    write(tmp_path, "day=1/part.csv.gz", gzip.compress(b"phone\n13800000003\n1\n"))
    write(tmp_path, "_SUCCESS", "")
    write(tmp_path, ".hidden.csv", "phone\n13800000009\n")
    (tmp_path / "_temporary").mkdir()
    write(tmp_path, "_temporary/part.csv", "phone\n13800000009\n")

    items = list(from_path(tmp_path))

    assert numbers(item for item in items if isinstance(item, Contact)) == [
        "13800000001",
        "13800000002",
        "13800000003",
    ]
    (reject,) = [item for item in items if isinstance(item, Reject)]
    assert str(reject).startswith("part.csv.gz line 3 (*): ")


def test_a_folder_with_other_files_is_refused_until_a_pattern_names_those_that_are_meant(tmp_path: Path) -> None:
    write(tmp_path, "people.csv", f"phone\n{NUMBER}\n")
    write(tmp_path, "readme.txt", "")

    with pytest.raises(OutboundBotContactsError, match=r"'readme.txt' has none of the suffixes .* give a pattern"):
        from_path(tmp_path)
    assert numbers(from_path(tmp_path / "*.csv")) == [NUMBER]


def test_a_pattern(tmp_path: Path) -> None:
    for name in ("a/1.csv", "a/2.csv", "b/1.csv", "b/1.tsv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write(tmp_path, name, f"phone\n1380000000{name.encode()[0] % 10}\n")

    assert len(numbers(from_path(tmp_path / "?" / "1.csv"))) == 2
    assert len(numbers(from_path(tmp_path / "**" / "*.[ct]sv"))) == 4
    assert list(from_path(tmp_path / "c*" / "*.csv")) == []


def test_a_name_with_signs_of_a_pattern_is_a_name(tmp_path: Path) -> None:
    path = write(tmp_path, "people [1].csv", f"phone\n{NUMBER}\n")

    assert numbers(from_path(path)) == [NUMBER]


def test_an_empty_folder_has_no_contacts(tmp_path: Path) -> None:
    assert from_path(tmp_path).is_empty()


def test_a_file_that_vanishes_between_two_readings(tmp_path: Path) -> None:
    write(tmp_path, "a.csv", f"phone\n{NUMBER}\n")
    gone = write(tmp_path, "b.csv", "phone\n13800000001\n")
    source = from_path(tmp_path)
    assert len(numbers(source)) == 2

    gone.unlink()

    with pytest.raises(OutboundBotContactsError, match=r"b.csv cannot be read: No such file"):
        list(source)


def test_a_path_of_an_object_store(tmp_path: Path) -> None:
    from airflow.sdk import ObjectStoragePath

    for index in range(2):
        write(tmp_path, f"{index}.csv", f"phone\n1380000000{index}\n")
    pyarrow.parquet.write_table(pa.table({"phone": ["13800000002"]}), tmp_path / "2.parquet")

    assert numbers(from_path(ObjectStoragePath(f"file://{tmp_path}/0.csv"))) == ["13800000000"]
    assert len(numbers(from_path(ObjectStoragePath(f"file://{tmp_path}")))) == 3
    assert len(numbers(from_path(ObjectStoragePath(f"file://{tmp_path}/*.csv")))) == 2
    assert numbers(from_path(ObjectStoragePath(f"file://{tmp_path}/2.parquet"))) == ["13800000002"]

"""Contacts of Excel workbooks: read like the same CSV file, or refused before anybody is called."""

from __future__ import annotations

import csv
import io
import sys
import zipfile
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.examples import examples
from support.rows import as_contact, as_contacts, as_reject

from airflow_provider_outbound.core.contacts import PathLike, Reject, from_path, read_excluded, worksheets
from airflow_provider_outbound.core.models.contact import Contact
from airflow_provider_outbound.exceptions import OutboundBotContactsError

NUMBER = "13800138000"
HEADER = ["phone", "name"]


def write(path: Path, *rows: list[Any], formats: dict[str, str] | None = None, **sheets: list[list[Any]]) -> Path:
    """Write a workbook: ``rows`` in its first sheet, and those of ``sheets`` in others."""
    book = openpyxl.Workbook()
    first = book.active
    first.title = "People"
    for title, lines in {"People": rows, **sheets}.items():
        sheet = first if title == "People" else book.create_sheet(title)
        for line in lines:
            sheet.append(line)
    for cell, code in (formats or {}).items():
        first[cell].number_format = code
    book.save(path)
    return path


def patch(path: Path, part: str, old: bytes, new: bytes) -> Path:
    """Replace bytes in one part of a workbook."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    assert old in parts[part], parts[part]
    parts[part] = parts[part].replace(old, new)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return path


SHEET = "xl/worksheets/sheet1.xml"


def contacts(path: PathLike, **how: Any) -> list[Contact]:
    return as_contacts(from_path(path, **how))


def numbers(path: PathLike, **how: Any) -> list[str]:
    return [contact.phone.wire for contact in contacts(path, **how)]


def excluded(path: Path, **how: Any) -> frozenset[str]:
    return read_excluded(from_path(path, label="exclude_path", **how), "exclude_path")


def refuse(path: Path, words: str, *, listed: bool = False, **how: Any) -> None:
    with pytest.raises(OutboundBotContactsError, match=words) as caught:
        excluded(path, **how) if listed else list(from_path(path, **how))
    assert path.name in str(caught.value)
    assert NUMBER not in str(caught.value)


def test_a_workbook_is_read_twice_and_its_rows_have_their_numbers_in_excel(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.xlsx",
        ["Customers of March"],
        [],
        ["手机号", "姓名", "city", "due", "seen", "vip", "points", "id"],
        [13800138000, "李宁", "杭州", date(2026, 1, 2), datetime(2026, 1, 2, 3, 4, 5), True, 1.5, 7],  # noqa: DTZ001
        [None],
        ["+86 138 0013 8001", "a_x000D_\nb", None, None, None, None, 2.0, "=1"],
        formats={"H4": "00000"},
    )
    patch(path, SHEET, b'<c r="H6"><f>1</f><v /></c>', b'<c r="H6" t="str"><f>1</f><v>one</v></c>')
    source = from_path(path)

    for _ in range(2):
        first, second = as_contacts(source)
        assert (first.phone.wire, first.name, first.line) == (NUMBER, "李宁", 4)
        assert first.extras == {
            "city": "杭州",
            "due": "2026-01-02",
            "seen": "2026-01-02T03:04:05",
            "vip": "true",
            "points": "1.5",
            "id": "00007",
        }
        assert (second.phone.wire, second.name, second.line) == ("13800138001", "a  b", 6)
        assert second.extras == {"points": "2", "id": "one"}


# What begins with # may be an error of a spreadsheet, which the two name differently.
_texts = st.text(
    st.characters(exclude_categories=("Cs", "Cc"), exclude_characters='"'), min_size=1, max_size=12
).filter(lambda text: text.strip() == text and text[0] not in "=#" and "_x" not in text and "{" not in text)
_numbers = st.one_of(
    st.integers(13_000_000_000, 13_999_999_999),
    st.integers(13_000_000_000, 13_999_999_999).map(str),
    st.integers(13_000_000_000, 13_999_999_999).map(lambda number: f"+86 {number}"),
    st.sampled_from(["", "12", "1.38E+10", "13800138000/13800138001", "１３８００１３８０００"]),
)
_rows = st.lists(st.tuples(_numbers, _texts, st.integers(-(10**12), 10**12)), max_size=8)


@settings(max_examples=examples(120), deadline=None)
@given(rows=_rows, titles=st.integers(0, 19))
@example(rows=[(13_800_138_000, "¡¡", 0)], titles=0)
def test_a_workbook_is_read_like_the_same_csv(
    rows: list[tuple[int | str, str, int]], titles: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("same")
    header = ["phone", "name", "count"]
    lines: list[list[Any]] = [header, *map(list, rows)]
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows(lines)
    # With a byte order mark: some texts in UTF-8 could as well be GB18030, and are refused without one.
    (folder / "a.csv").write_text(text.getvalue(), encoding="utf-8-sig", newline="")
    write(folder / "a.xlsx", *[["title"]] * titles, *lines)

    def read(name: str) -> list[object]:
        return [
            (item.number, item.reason, item.row)
            if isinstance(item, Reject)
            else (item.phone, item.name, item.extras, item.row)
            for item in from_path(folder / name)
        ]

    assert read("a.xlsx") == read("a.csv")


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("sample") / "a.xlsx"
    return write(path, HEADER, *([13800138000 + index, f"n{index}"] for index in range(40))).read_bytes()


@settings(max_examples=examples(400), deadline=None)
@given(data=st.data())
def test_a_damaged_workbook_is_refused_or_read_completely(
    data: st.DataObject, sample: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    content = bytearray(sample)
    kind = data.draw(st.sampled_from(["cut", "flip"]))
    place = data.draw(st.integers(0, len(content) - 1))
    if kind == "cut":
        del content[place:]
    else:
        content[place] ^= data.draw(st.integers(1, 255))
    path = tmp_path_factory.mktemp("damaged") / "a.xlsx"
    path.write_bytes(content)

    try:
        read = [contact.phone.wire for contact in as_contacts(from_path(path))]
    except OutboundBotContactsError:
        return
    assert read == [str(13800138000 + index) for index in range(40)]


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        (13800138000.5, "not a phone number"),
        ("1.38E+10", "a spreadsheet has rounded the number"),
        (date(2026, 1, 2), "the number is of type date"),
        (time(1, 2), "the number is of type time"),
        (True, "the number is of type bool"),
        ("=A1", "cell A2 is a formula without a value; open the workbook in Excel and save it"),
        ("#DIV/0!", "cell A2 shows #DIV/0!; correct it in Excel"),
        (None, "no phone number"),
    ],
)
def test_a_cell_that_is_no_number_is_a_reject_and_no_do_not_call_list(
    tmp_path: Path, cell: object, reason: str
) -> None:
    path = write(tmp_path / "a.xlsx", HEADER, [cell, "Li"])

    (reject,) = from_path(path)

    assert isinstance(reject, Reject)
    assert reject.reason.startswith(reason)
    assert str(reject).startswith("a.xlsx line 2")
    fix = "write the number into the phone column, even if another column has it" if cell is None else "fix it"
    refuse(path, f"{fix}, or the person it stands for might be called", listed=True)


@pytest.mark.parametrize("code", ["yyyy-mm-dd", 'yyyy"年"m"月"d"日"', "YYYY\\-MM\\-DD"])
def test_a_number_that_is_formatted_as_a_date_is_not_written_into_a_warning(
    tmp_path: Path, code: str, recwarn: pytest.WarningsRecorder
) -> None:
    path = write(tmp_path / "a.xlsx", [*HEADER, "day"], [13800138000, "Li", 46000], formats={"A2": code, "C2": code})

    (reject,) = from_path(path)

    assert (
        as_reject(reject).reason
        == "cell A2 is formatted as a date, and holds a number that is not one; format it as text"
    )
    assert not recwarn
    (contact,) = from_path(patch(path, SHEET, b'<c r="A2" s="1"', b'<c r="A2"'))
    assert as_contact(contact).extras == {"day": "2025-12-09"}


def test_dates_in_the_formats_of_the_chinese_excel_are_dates(tmp_path: Path) -> None:
    path = write(tmp_path / "a.xlsx", [*HEADER, "day"], [13800138000, "Li", 46000], formats={"C2": "0.0000"})
    with zipfile.ZipFile(path) as archive:
        assert b'numFmtId="164"' in archive.read("xl/styles.xml")
    patch(path, "xl/styles.xml", b'<xf numFmtId="164"', b'<xf numFmtId="31"')

    assert contacts(path)[0].extras == {"day": "2025-12-09"}


def test_a_sheet_that_claims_another_size_is_read_completely(tmp_path: Path) -> None:
    path = write(tmp_path / "a.xlsx", HEADER, *([13800138000 + index, "Li"] for index in range(9)))
    patch(path, SHEET, b'<dimension ref="A1:B10" />', b'<dimension ref="A1" />')

    assert len(numbers(path)) == 9


def test_rows_after_many_blank_ones_and_hidden_rows_are_rows(tmp_path: Path) -> None:
    path = write(tmp_path / "a.xlsx", HEADER, ["13800138000"], *[[" "]] * 3_000, ["13800138001"])
    patch(path, SHEET, b'<row r="2"', b'<row hidden="1" r="2"')

    assert numbers(path) == ["13800138000", "13800138001"]
    assert len(excluded(path)) == 2


def test_values_beside_the_table_reject_the_row(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.xlsx", [*HEADER, " "], [NUMBER, "Li", None, " "], [NUMBER, "Li", None, None, "call later"]
    )

    contact, reject = from_path(path)

    assert as_contact(contact).extras == {}
    assert as_reject(reject).reason == "has a value in column E, which has no name; name that column, or clear the cell"


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([["name"], ["Li"]], "has no column for the phone number among name; name the right one"),
        ([[NUMBER, "Li"]], "its first line is a contact"),
        ([["title"]] * 20 + [HEADER, [NUMBER]], "has no column for the phone number among title"),
        (
            [["title"], [NUMBER], HEADER, [NUMBER]],
            "has a phone number, .* in line 2, before the column names in line 3",
        ),
        ([["phone", "=A1"], [NUMBER]], "cell B1 is a formula without a value; .* it should hold the name of a column"),
        ([["phone", "x", "x"], [NUMBER]], "column 'x' appears twice"),
        ([HEADER, [NUMBER], [None] * 200 + ["x"]], "has a value in cell GS3, and at most 200 columns are read"),
    ],
)
def test_a_table_that_is_not_understood_is_refused(tmp_path: Path, rows: list[list[Any]], words: str) -> None:
    refuse(write(tmp_path / "a.xlsx", *rows), words)


def test_the_header_is_the_line_with_the_column_that_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.xlsx", ["List of phones"], ["Kunde", "Mobil"], ["Li", NUMBER])

    assert numbers(path, columns={"phone": "Mobil"}) == [NUMBER]
    refuse(path, "has no column 'Tel.'", columns={"phone": "Tel."})


def test_the_sheet_is_the_only_visible_one_or_the_only_one_with_a_header_or_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.xlsx", HEADER, [NUMBER], Notes=[["hello"]], Other=[["phone"], ["13800138001"]])
    refuse(path, r"3 visible sheets, and 2 .* pass sheet with one of 'People', 'Notes', 'Other'")
    refuse(path, "has no sheet 'Mai'; pass sheet with one of", sheet="Mai")
    assert numbers(path, sheet="Other") == ["13800138001"]

    book = openpyxl.load_workbook(path)
    book["Other"].sheet_state = "veryHidden"
    book.save(path)

    assert numbers(path) == [NUMBER]
    assert numbers(path, sheet="Other") == ["13800138001"]


def test_a_do_not_call_list_is_one_sheet_or_the_one_that_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.xlsx", HEADER, [NUMBER], Notes=[["hello"]])
    assert excluded(path) == {f"+86{NUMBER}"}
    path = write(tmp_path / "a.xlsx", HEADER, [NUMBER], Old=[["x"], [None, 13800138001]])
    refuse(path, "has phone numbers, .* in sheet 'Old' too, beside 'People'", listed=True)
    assert excluded(path, sheet="People") == {f"+86{NUMBER}"}

    book = openpyxl.load_workbook(path)
    book["Old"].sheet_state = "hidden"
    book.save(path)

    refuse(path, "has phone numbers, .* in sheet 'Old' too", listed=True)


def test_numbers_below_a_merged_heading_are_excluded_too(tmp_path: Path) -> None:
    path = write(tmp_path / "a.xlsx", ["phone", None, "name"], [13800138000, 13800138001, "Li"])
    assert excluded(path) == {"+8613800138000", "+8613800138001"}
    path = write(tmp_path / "a.xlsx", ["phone", None, "name"], [13800138000, "=A1", "Li"])
    refuse(path, "cell B2 is a formula without a value", listed=True)


def test_an_empty_list_is_one_with_a_header(tmp_path: Path) -> None:
    assert excluded(write(tmp_path / "a.xlsx", HEADER)) == frozenset()
    path = write(tmp_path / "a.xlsx")
    refuse(path, "is empty; to list nobody, give it only a header", listed=True)
    assert from_path(path).is_empty()


def zipped(**parts: str) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return target.getvalue()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600, "old Excel, or has a password; save it in Excel as .xlsx"),
        (b"phone\n13800138000\n", "is not an Excel workbook, whatever its suffix"),
        (b"", "is not an Excel workbook"),
        (zipped(mimetype="application/vnd.oasis.opendocument.spreadsheet"), "is damaged, or not an Excel workbook"),
        (zipped(**{"[Content_Types].xml": "<Types/>"}), "cannot be read|is damaged"),
    ],
    ids=["xls", "text", "empty", "ods", "parts"],
)
def test_what_is_no_workbook_is_named(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "a.xlsx"
    path.write_bytes(content)

    refuse(path, words)
    refuse(path, words, listed=True)


@pytest.mark.parametrize("suffix", ["xls", "xlsm", "ods"])
def test_another_format_of_spreadsheets_is_to_be_saved_as_xlsx(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(OutboundBotContactsError, match=r"save it in Excel as \.xlsx"):
        from_path(tmp_path / f"a.{suffix}")


def test_a_strict_workbook_is_not_read_as_an_empty_one(tmp_path: Path) -> None:
    main, strict = b"http://schemas.openxmlformats.org/spreadsheetml/2006/main", b"http://purl.oclc.org/ooxml/x"
    refuse(patch(write(tmp_path / "a.xlsx", HEADER, [NUMBER]), SHEET, main, strict), "is a 'Strict Open XML' workbook")


def with_shared_texts(path: Path, *texts: str) -> Path:
    """Move the texts of a workbook to its table of texts, where Excel writes them."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name).decode() for name in archive.namelist()}
    for place, text in enumerate(texts):
        parts[SHEET] = parts[SHEET].replace(f't="inlineStr"><is><t>{text}</t></is>', f't="s"><v>{place}</v>')
    kind = "application/vnd.openxmlformats-officedocument.spreadsheetml.sharedStrings+xml"
    parts["[Content_Types].xml"] = parts["[Content_Types].xml"].replace(
        "</Types>", f'<Override PartName="/xl/sharedStrings.xml" ContentType="{kind}"/></Types>'
    )
    items = "".join(f"<si><r><t>{text[:1]}</t></r><r><t>{text[1:]}</t></r></si>" for text in texts)
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    parts["xl/sharedStrings.xml"] = f'<sst xmlns="{main}">{items}</sst>'
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return path


def test_shared_texts_are_read_and_one_that_does_not_exist_is_not_guessed(tmp_path: Path) -> None:
    path = with_shared_texts(write(tmp_path / "a.xlsx", HEADER, [NUMBER, "Li_x000D_"]), *HEADER, NUMBER, "Li_x000D_")
    (contact,) = contacts(path)
    assert (contact.phone.wire, contact.name) == (NUMBER, "Li")

    for wrong in (b"-1", b"4", b"x"):
        refuse(patch(path, SHEET, b"<v>3</v>", b"<v>" + wrong + b"</v>"), "is damaged")
        patch(path, SHEET, b"<v>" + wrong + b"</v>", b"<v>3</v>")


def test_charts_are_no_lists(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book.active.append(HEADER)
    book.active.append([NUMBER])
    book.create_chartsheet("Chart")
    book.save(tmp_path / "a.xlsx")
    patch(tmp_path / "a.xlsx", "xl/chartsheets/sheet1.xml", b"<drawing", b"<nothing")

    assert numbers(tmp_path / "a.xlsx") == [NUMBER]
    assert excluded(tmp_path / "a.xlsx") == {f"+86{NUMBER}"}


def test_bombs_are_refused_before_they_are_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.xlsx", HEADER, [NUMBER])
    monkeypatch.setattr(worksheets, "MAX_UNPACKED", 1 << 20)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/media/a.bin", b"\0" * (2 << 20))
    refuse(path, "holds 2 MiB when it is unpacked, more than 1")

    path = write(tmp_path / "b.xlsx", HEADER, [NUMBER])
    monkeypatch.setattr(worksheets, "MAX_HELD", 1 << 10)
    refuse(path, "of texts and formats")


def test_a_row_of_endless_cells_and_entities_that_expand_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.xlsx", HEADER, [NUMBER])
    patch(path, SHEET, b"</row><row", b"<c/>" * 17_000 + b"</row><row")
    refuse(path, "is damaged")

    laughs = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12))
    path = write(tmp_path / "b.xlsx", HEADER, [NUMBER])
    patch(path, SHEET, b"<sheetData>", b"<sheetData>&a11;")
    patch(path, SHEET, b"<worksheet", f'<!DOCTYPE x [<!ENTITY a0 "ha">{laughs}]><worksheet'.encode())
    refuse(path, "is damaged")


def test_a_sheet_is_named_only_where_there_are_workbooks(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"phone\n{NUMBER}\n")
    with pytest.raises(OutboundBotContactsError, match="no file is a workbook, so there is no sheet 'x'; omit it"):
        from_path(tmp_path, sheet="x")
    write(tmp_path / "b.xlsx", HEADER, ["13800138001"])
    (tmp_path / "~$b.xlsx").write_bytes(b"\x05Li")  # Excel has it open

    assert numbers(tmp_path, sheet="People") == [NUMBER, "13800138001"]


def test_without_openpyxl_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.xlsx", HEADER, [NUMBER])
    for name in [name for name in sys.modules if name.partition(".")[0] == "openpyxl"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "openpyxl", None)

    with pytest.raises(OutboundBotContactsError, match=r"Excel needs openpyxl; run: pip install .*\[excel\]"):
        list(from_path(path))


def test_a_workbook_of_an_object_store(tmp_path: Path) -> None:
    from airflow.sdk import ObjectStoragePath

    write(tmp_path / "a.xlsx", HEADER, [NUMBER])

    assert numbers(ObjectStoragePath(f"file://{tmp_path}/a.xlsx")) == [NUMBER]

"""The strict reader of CSV, beside an independent one that reads a character at a time."""

from __future__ import annotations

import csv
import io
from typing import Literal

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support.examples import examples

from airflow_provider_outbound.core.contacts.delimited import StructureError, read_rows


def read(text: str, *, is_tsv: bool = False) -> list[list[str] | str]:
    lines = io.TextIOWrapper(io.BytesIO(text.encode()), encoding="utf-8", newline="")
    return [cells for _, cells in read_rows(lines, undecodable="undecodable", is_tsv=is_tsv)]


class RefusedError(Exception):
    pass


def read_by_hand(text: str, delimiter: str) -> list[list[str]]:
    """RFC 4180 a character at a time, with any line end; rows of empty cells are left out."""
    rows: list[list[str]] = []
    row: list[str] = []
    cell, state = "", "start"
    text = text.replace("\r\n", "\n").replace("\r", "\n") + "\n"
    for place, character in enumerate(text):
        if state == "quoted":
            if character != '"':
                cell += character
            else:
                state = "quote"
        elif state == "quote" and character == '"':
            cell, state = cell + '"', "quoted"
        elif character in (delimiter, "\n"):
            row.append(cell)
            cell, state = "", "start"
            if character == "\n":
                rows.append(row)
                row = []
        elif character == '"' and state == "start":
            state = "quoted"
        elif character == '"' or state == "quote":
            raise RefusedError(f"quote or text at {place}")
        else:
            cell, state = cell + character, "plain"
    if state != "start" or row:
        raise RefusedError("never closed")
    return [row for row in rows if any(cell.strip() for cell in row)]


LETTERS = st.text(alphabet="abz ,;'\"\n李é", max_size=8)
TABLES = st.integers(1, 4).flatmap(
    lambda width: st.lists(st.lists(LETTERS, min_size=width, max_size=width), min_size=0, max_size=6)
)


@settings(max_examples=examples(200), deadline=None)
@given(
    table=TABLES,
    delimiter=st.sampled_from(",;\t|"),
    line_end=st.sampled_from(["\n", "\r\n", "\r"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    before=st.sampled_from(["", "\ufeff", "\ufeff\r\n", "\n \n", ",,\n", "\ufeffsep=X\r\n", '"sep=X"\n', "\nsep=X\n"]),
    surplus=st.integers(0, 3),
    blank=st.sampled_from(["", "\n", "DD\r\n", "\n\n"]),
)
def test_a_table_in_any_dialect_is_read_as_it_was_written(
    table: list[list[str]],
    delimiter: str,
    line_end: str,
    quoting: Literal[0, 1],
    before: str,
    surplus: int,
    blank: str,
) -> None:
    width = len(table[0]) if table else 2
    # The header of one column shows no delimiter.
    assume(width + surplus > 1 or delimiter == "," or "sep" in before)
    header = ["phone", *(f"column {index}" for index in range(1, width))]
    # The writer does not quote a line end that is not its own.
    quoting = csv.QUOTE_ALL if line_end == "\r" else quoting
    written = io.StringIO()
    written.write(before.replace("X", delimiter))
    writer = csv.writer(written, delimiter=delimiter, lineterminator=line_end, quoting=quoting)
    for row in [header, *table]:
        writer.writerow([*row, *[""] * surplus])
        written.write(blank.replace("D", delimiter))

    got = read(written.getvalue())

    wanted = [row for row in table if any(cell.strip() for cell in row)]
    assert [row[:width] for row in got] == [header, *wanted]
    assert not any(cell for row in got for cell in row[width:])


@settings(max_examples=examples(300), deadline=None)
@given(st.text(alphabet='ab1"",,\n\r ', max_size=60))
def test_any_text_is_read_as_an_independent_reader_does_or_refused(text: str) -> None:
    text = f"phone,name\n{text}"
    try:
        wanted = read_by_hand(text, ",")
    except RefusedError:
        with pytest.raises(StructureError):
            read(text)
        return
    try:
        got = read(text)
    except StructureError as error:
        # What is sound may still be refused, for a row that a forgotten quote may have swallowed.
        assert "rows of their own" in str(error)  # noqa: PT017 - only now and then
        return

    assert [[cell.replace("\r\n", "\n").replace("\r", "\n") for cell in row] for row in got] == wanted


@settings(max_examples=examples(200), deadline=None)
@given(
    count=st.integers(1, 8),
    line_end=st.sampled_from(["\n", "\r\n", "\r"]),
    data=st.data(),
)
def test_quotes_put_anywhere_never_swallow_a_number(count: int, line_end: str, data: st.DataObject) -> None:
    numbers = [f"1380000{index:04}" for index in range(count)]
    text = "phone,name\n" + "".join(f"{number},Ann{line_end}" for number in numbers)
    for _ in range(data.draw(st.integers(0, 3))):
        place = data.draw(st.integers(0, len(text)))
        text = text[:place] + '"' + text[place:]

    try:
        rows = read(text)
    except StructureError:
        return

    # A quote between the two characters of a line end leaves the second one in the cell.
    assert [row[0].strip() for row in rows[1:]] == numbers


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ('phone,name\n13800000001,"Tony\n13800000002,Ann\n', 2, "never closed"),
        ('phone,name\n13800000001,"Tony\n13800000002,Ann\n13800000003,Bob"\n', 2, "rows of their own"),
        ('phone,name\n13800000001,"Tony\n13800000002,Ann\n13800000003,"Bob"\n', 2, "closes it on line 4"),
        ('name,phone\n"Tony,13800000001\nBob",13800000003\n', 2, "rows of their own"),
        ('phone,name\n13800000001,"Tony\n１３８０００００００２,Ann"\n', 2, "rows of their own"),
        ('phone,name\n13800000001,"Tony\n138 0000–0002,Ann"\n', 2, "rows of their own"),
        ('phone,name\n13800000001,"Tony\n138OOO13800,Ann"\n', 2, "rows of their own"),
        ('phone,name\n\n13800000001,To"ny\n', 3, "inside a cell that does not begin with one"),
        ('phone,name\n13800000001, "Tony"\n', 2, "inside a cell that does not begin with one"),
        ('phone,name\n1,"x\ny"\n13800000001,"Tony" x\n', 4, "text follows the quote"),
        ('phone,name\n1,"x\ny","never\n', 3, "never closed"),
        ('phone,"name\n13800000001,Tony\n', 1, "never closed"),
        ('phone,"name\n13800000001,Tony"\n', 1, "rows of their own"),
        ("phone,name;city\n", 1, "as many commas as semicolons"),
        ("\nsep=\nphone\n", 2, "names no delimiter"),
        ("sep=x\nphone\n", 1, "names no delimiter"),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused_with_its_line(text: str, line: int, words: str) -> None:
    for end in ("\n", "\r\n", "\r"):
        with pytest.raises(StructureError, match=words) as caught:
            read(text.replace("\n", end))

        assert caught.value.line == line
        assert "1380000" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ('phone,name\n1,"Li\nNing"\n', [["phone", "name"], ["1", "Li\nNing"]]),
        (
            'phone,note\n1,"12 Main St, flat 3\n310000 Hangzhou, CN"\n',
            [["phone", "note"], ["1", "12 Main St, flat 3\n310000 Hangzhou, CN"]],
        ),
        ('"13800000001\n",x\n', [["13800000001\n", "x"]]),
        ('"Mobile\nNo.";name\n1;2\n', [["Mobile\nNo.", "name"], ["1", "2"]]),
        ("phone|name\n1|2,3\n", [["phone", "name"], ["1", "2,3"]]),
        ('sep=;\nphone;"a,b,c"\n1;2\n', [["phone", "a,b,c"], ["1", "2"]]),
        ('phone;"a,b,c"\n1;2\n', [["phone", "a,b,c"], ["1", "2"]]),
        ('phone\n"1"\n""\n" "\n"2"\n', [["phone"], ["1"], ["2"]]),
        ("\n\n", []),
    ],
)
def test_what_can_be_read_in_one_way_is_read(text: str, rows: list[list[str] | str]) -> None:
    assert read(text) == rows


def test_a_tab_separated_file_may_have_commas_in_its_header() -> None:
    assert read("phone\tname, first, last\n1\tx\n", is_tsv=True) == [["phone", "name, first, last"], ["1", "x"]]

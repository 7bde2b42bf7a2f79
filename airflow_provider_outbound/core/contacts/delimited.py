"""
CSV and the like, read strictly: what could be read in two ways is refused with its line.

The rules are those of RFC 4180. The ``csv`` module is too lenient even if ``strict``: it takes a quote inside an
unquoted cell for a character, and everything behind a quote that was forgotten for one cell.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator

from airflow_provider_outbound.core.contacts.text import UNDECODABLE

#: Longest row, in characters; within quotes a longer one is the trace of a quote that is never closed.
MAX_ROW = 131_072

#: Separate the cells of a file, told by its header; a bar only where there is none of the others.
_DELIMITERS = ",;\t"
_SPACES = "".join(character for character in map(chr, range(0x3001)) if character.isspace())
#: What a line without a header may consist of: delimiters, spaces and quoted spaces.
_BLANK_LINE = re.compile(r'(?:[,;|\s]|(?<!")"\s*"(?!"))*')
#: Excel's way to name the delimiter.
_SEP_LINE = re.compile(r'"?sep=(.?)"?(?:\1|\s)*', re.IGNORECASE)
_QUOTED = re.compile(r'"((?:[^"]++|"")*+)"')
_LINE_END = re.compile(r"\r\n|\r|\n")
#: Digits that could be a phone number, whatever people put between them.
_NUMBER = re.compile(r"\d(?:(?:[^\w,;|]|_){0,3}\d){6,}")
#: A line of a quoted cell that has as many delimiters as a row looks like one from this many digits on; a postcode has
#: fewer.
_DIGITS_OF_A_NUMBER = 7


class StructureError(ValueError):
    """
    A file cannot be read as rows of cells.

    :param line: Where, counted from 1.
    :param problem: What is wrong and how to fix it, without any text of the file.
    """

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(f"line {line}: {problem}")
        self.line = line
        self.problem = problem


def read_rows(lines: Iterable[str], *, undecodable: str, is_tsv: bool = False) -> Iterator[tuple[int, list[str] | str]]:
    """
    Read the header and the rows, each with the line where it begins; blank rows are passed over.

    :param lines: Lines with their ends.
    :param undecodable: What to say of a row that holds :data:`UNDECODABLE`.
    :param is_tsv: Prefer tabs as delimiters.
    :return: Cells, or why the row cannot be read.
    :raises StructureError: a quote is not closed or stands where none may, or the delimiter cannot be told.
    """
    numbered = enumerate(lines, start=1)
    found = _find_header(numbered, is_tsv=is_tsv)
    if found is None:
        return
    line, text, delimiter = found
    header = _split(line, text, delimiter, columns=0)
    yield line, undecodable if UNDECODABLE in text else header
    blank = _SPACES + delimiter
    fast = _OneLineReader(delimiter)
    for line, text in numbered:
        if '"' in text:
            cells = fast.split(text)
            if cells is None:
                text = _whole_row(text, numbered)
                cells = _split(line, text, delimiter, columns=len(header))
            if not any(cell.strip() for cell in cells):
                continue
        elif text.strip(blank):
            cells = text.rstrip("\r\n").split(delimiter)
        else:
            continue
        if UNDECODABLE in text:
            yield line, undecodable
        elif len(text) > MAX_ROW:
            yield line, f"is longer than {MAX_ROW:,} characters"
        else:
            yield line, cells


class _OneLineReader:
    """Splits rows of one line with the ``csv`` module, where that is as strict as we are."""

    def __init__(self, delimiter: str) -> None:
        self._text: str | None = None
        self._reader = csv.reader(self, delimiter=delimiter, strict=True)

    def split(self, text: str) -> list[str] | None:
        """Cells; ``None`` if the row has another line, holds a quote or is wrong."""
        self._text = text
        try:
            cells = next(self._reader)
        except csv.Error:
            return None
        # A quote where none may stand is kept in the cell.
        return None if '"' in "".join(cells) else cells

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        text, self._text = self._text, None
        if text is None:
            raise StopIteration
        return text


def _find_header(numbered: Iterator[tuple[int, str]], *, is_tsv: bool) -> tuple[int, str, str] | None:
    """Where the header begins, its text, and the delimiter; ``None`` if there are blank lines only."""
    named = None
    for line, text in numbered:
        # Programs that write this mark do so in front of blank lines too, and twice where two of them were at work.
        text = text.lstrip("\ufeff")
        if _BLANK_LINE.fullmatch(text):
            continue
        sep = _SEP_LINE.fullmatch(text.rstrip("\r\n"))
        if sep and named is None:
            named = sep[1]
            if not named or named not in f"{_DELIMITERS}|":
                raise StructureError(line, "'sep=' names no delimiter; write 'sep=,', or remove the line")
            continue
        text = _whole_row(text, numbered)
        return line, text, named or _delimiter_of(line, text, is_tsv=is_tsv)
    return None


def _delimiter_of(line: int, header: str, *, is_tsv: bool) -> str:
    unquoted = _QUOTED.sub("", header)
    if is_tsv and "\t" in unquoted:
        return "\t"
    most = max(map(unquoted.count, _DELIMITERS))
    if not most:
        return "|" if "|" in unquoted else ","
    # Spreadsheets of some countries separate by semicolons.
    first, *others = [delimiter for delimiter in _DELIMITERS if unquoted.count(delimiter) == most]
    if others:
        raise StructureError(
            line, "the header has as many commas as semicolons or tabs; put the line 'sep=,' or 'sep=;' before it"
        )
    return first


def _whole_row(text: str, numbered: Iterator[tuple[int, str]]) -> str:
    """Add the lines that a row goes on in: within a quoted cell the number of quotes so far is odd."""
    is_open = text.count('"') % 2
    parts, length = [text], len(text)
    while is_open and length <= MAX_ROW:
        _, more = next(numbered, (0, ""))
        if not more:
            break
        parts.append(more)
        length += len(more)
        is_open ^= more.count('"') % 2
    return "".join(parts)


def _split(line: int, text: str, delimiter: str, *, columns: int) -> list[str]:
    """
    Split a row that has quotes into its cells.

    :param columns: How many the file has; 0 while that is unknown.
    """
    text = text.rstrip("\r\n")
    cells = []
    start = 0
    while True:
        if text.startswith('"', start):
            cell, end = _quoted(line, text, start, delimiter)
            _refuse_swallowed_rows(line, text, start, cell, delimiter, columns)
        else:
            end = text.find(delimiter, start)
            end = len(text) if end < 0 else end
            cell = text[start:end]
            if '"' in cell:
                raise StructureError(
                    _line_at(line, text, text.index('"', start)),
                    "a quote stands inside a cell that does not begin with one; "
                    "put the whole cell into quotes and double the quote",
                )
        cells.append(cell)
        if end == len(text):
            return cells
        start = end + 1


def _quoted(line: int, text: str, start: int, delimiter: str) -> tuple[str, int]:
    """A quoted cell and where it ends."""
    match = _QUOTED.match(text, start)
    if match is None:
        raise StructureError(
            _line_at(line, text, start), "a quote opens a cell and is never closed; close it, or remove it"
        )
    end = match.end()
    if end < len(text) and text[end] != delimiter:
        closed = _line_at(line, text, end)
        raise StructureError(
            _line_at(line, text, start),
            f"a quote opens a cell, and text stands behind the quote that closes it on line {closed}; "
            "close the quote that was forgotten, or double a quote that belongs to the text",
        )
    return match[1].replace('""', '"'), end


def _refuse_swallowed_rows(line: int, text: str, start: int, cell: str, delimiter: str, columns: int) -> None:
    """
    Refuse a quoted cell of several lines if one of them could be a row of its own.

    A name or a note may have several lines. So has the cell that a forgotten quote opens and some quote rows later
    closes; whoever stands in it would not be called, and their numbers would be spoken as somebody's name.
    """
    lines = [part for part in _LINE_END.split(cell) if part.strip()]
    if len(lines) > 1 and any(_could_be_row(part, delimiter, columns) for part in lines):
        raise StructureError(
            _line_at(line, text, start),
            "a quote opens a cell that goes on over lines which could be rows of their own; "
            "close the quote, or take the line breaks out of the cell",
        )


def _could_be_row(text: str, delimiter: str, columns: int) -> bool:
    if _NUMBER.search(text):
        return True
    digits = sum(map(str.isdigit, text))
    return columns > 1 and text.count(delimiter) == columns - 1 and digits >= _DIGITS_OF_A_NUMBER


def _line_at(line: int, text: str, position: int) -> int:
    return line + len(_LINE_END.findall(text, 0, position))

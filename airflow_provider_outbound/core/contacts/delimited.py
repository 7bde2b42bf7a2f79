"""
CSV and similar formats, read strictly: ambiguous text is refused with its line number.

The rules are those of RFC 4180. The ``csv`` module is too lenient even if ``strict``: it reads a quote inside an
unquoted cell as a character, and everything after an unclosed quote as one cell.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator

from airflow_provider_outbound.core.contacts.text import UNDECODABLE

#: Maximum length of a row, in characters; a longer one with quotes has a quote that is never closed.
MAX_ROW = 131_072

#: Delimiters that the header may show; a bar counts only if the header has none of these.
_DELIMITERS = ",;\t"
_SPACES = "".join(character for character in map(chr, range(0x3001)) if character.isspace())
#: A blank line: only delimiters, spaces and quoted spaces.
_BLANK_LINE = re.compile(r'(?:[,;|\s]|(?<!")"\s*"(?!"))*')
#: Excel's way to name the delimiter.
_SEP_LINE = re.compile(r'"?sep=(.?)"?(?:\1|\s)*', re.IGNORECASE)
_QUOTED = re.compile(r'"((?:[^"]++|"")*+)"')
_LINE_END = re.compile(r"\r\n|\r|\n")
#: Digits that could be a phone number, with any separators between them.
_NUMBER = re.compile(r"\d(?:(?:[^\w,;|]|_){0,3}\d){6,}")
#: A line of a quoted cell that has as many delimiters as a row looks like a row if it has this many digits. A postcode
#: has fewer.
_DIGITS_OF_A_NUMBER = 7


class StructureError(ValueError):
    """
    A file cannot be read as rows of cells.

    :param line: Line number, counted from 1.
    :param problem: What is wrong and how to fix it, without any text of the file.
    """

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(f"line {line}: {problem}")
        self.line = line
        self.problem = problem


def read_rows(lines: Iterable[str], *, undecodable: str, is_tsv: bool = False) -> Iterator[tuple[int, list[str] | str]]:
    """
    Read the header and the rows, each with the number of its first line; skip blank rows.

    :param lines: Lines with their ends.
    :param undecodable: The problem reported for a row that contains :data:`UNDECODABLE`.
    :param is_tsv: Prefer tabs as delimiters.
    :return: Cells, or why the row cannot be read.
    :raises StructureError: a quote is not closed or is misplaced, or the delimiter is ambiguous.
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
    """Splits rows of one line with the ``csv`` module, in the cases in which it is strict enough."""

    def __init__(self, delimiter: str) -> None:
        self._text: str | None = None
        self._reader = csv.reader(self, delimiter=delimiter, strict=True)

    def split(self, text: str) -> list[str] | None:
        """Return the cells; ``None`` if the row spans lines, contains a quote or is malformed."""
        self._text = text
        try:
            cells = next(self._reader)
        except csv.Error:
            return None
        # The csv module keeps a misplaced quote in the cell.
        return None if '"' in "".join(cells) else cells

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        text, self._text = self._text, None
        if text is None:
            raise StopIteration
        return text


def _find_header(numbered: Iterator[tuple[int, str]], *, is_tsv: bool) -> tuple[int, str, str] | None:
    """Return the header's first line number, its text, and the delimiter; ``None`` if all lines are blank."""
    named = None
    for line, text in numbered:
        # Byte order marks may also precede blank lines, and two programs may write two of them.
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
    # In some countries, spreadsheets use semicolons.
    first, *others = [delimiter for delimiter in _DELIMITERS if unquoted.count(delimiter) == most]
    if others:
        raise StructureError(
            line, "the header has as many commas as semicolons or tabs; put the line 'sep=,' or 'sep=;' before it"
        )
    return first


def _whole_row(text: str, numbered: Iterator[tuple[int, str]]) -> str:
    """Add the lines on which a row continues: inside a quoted cell, the number of quotes so far is odd."""
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

    :param columns: The number of columns of the file; 0 while it is unknown.
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
                    "a quote is inside a cell that does not begin with one; "
                    "put the cell into quotes and double the quote",
                )
        cells.append(cell)
        if end == len(text):
            return cells
        start = end + 1


def _quoted(line: int, text: str, start: int, delimiter: str) -> tuple[str, int]:
    """Return a quoted cell and the position of its end."""
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
            f"a quote opens a cell, and text follows the quote that closes it on line {closed}; "
            "add the missing quote, or double a quote that belongs to the text",
        )
    return match[1].replace('""', '"'), end


def _refuse_swallowed_rows(line: int, text: str, start: int, cell: str, delimiter: str, columns: int) -> None:
    """
    Refuse a quoted cell of several lines if one of them could be a row of its own.

    A name or a note may have several lines. But an unclosed quote also opens such a cell, which ends at some quote rows
    later: the contacts in it would not be called, and their numbers would be spoken as somebody's name.
    """
    lines = [part for part in _LINE_END.split(cell) if part.strip()]
    if len(lines) > 1 and any(_could_be_row(part, delimiter, columns) for part in lines):
        raise StructureError(
            _line_at(line, text, start),
            "a quote opens a cell that contains lines which could be rows of their own; "
            "close the quote, or remove the line breaks from the cell",
        )


def _could_be_row(text: str, delimiter: str, columns: int) -> bool:
    if _NUMBER.search(text):
        return True
    digits = sum(map(str.isdigit, text))
    return columns > 1 and text.count(delimiter) == columns - 1 and digits >= _DIGITS_OF_A_NUMBER


def _line_at(line: int, text: str, position: int) -> int:
    return line + len(_LINE_END.findall(text, 0, position))

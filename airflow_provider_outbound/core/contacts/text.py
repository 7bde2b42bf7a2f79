"""Read files as text: recognise other kinds of files by their first bytes, and mark undecodable bytes."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from contextlib import contextmanager
from gzip import GzipFile
from io import BufferedReader, RawIOBase, TextIOWrapper
from typing import IO, Any

from airflow_provider_outbound.core.contacts.chinese import other_encoding

#: Stands for bytes that cannot be decoded: a lone surrogate, which no decoder returns.
UNDECODABLE = "\udcff"
_MARK_UNDECODABLE = "airflow_provider_outbound.mark"
_UTF8 = ("utf-8", "utf-8-sig")

#: The number of bytes by which a file is recognised, and the number read at a time.
_HEAD = 65_536
_BUFFER = 65_536
_UNPACK = "unpack it"
_EXPORT = "save the sheet as 'CSV UTF-8'"
_GZIP = b"\x1f\x8b"
#: First bytes of files that often have a wrong suffix, what such a file is, and the fix.
_KINDS: tuple[tuple[bytes, str, str], ...] = (
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "a workbook of an old Excel or with a password", _EXPORT),
    (_GZIP, "compressed with gzip", "add .gz to its name"),
    (b"\x28\xb5\x2f\xfd", "compressed with Zstandard", _UNPACK),
    (b"BZh", "compressed with bzip2", _UNPACK),
    (b"\xfd7zXZ", "compressed with xz", _UNPACK),
    (b"7z\xbc\xaf", "a 7-Zip archive", _UNPACK),
    (b"Rar!", "a RAR archive", _UNPACK),
    (b"PAR1", "a Parquet file", "name it .parquet"),
    (b"ARROW1", "an Arrow file", "write it as Parquet"),
    (b"Obj\x01", "an Avro file", "write it as Parquet"),
    (b"SQLite format 3", "an SQLite database", "export the table as CSV"),
    (b"%PDF-", "a PDF document", "export the table as CSV"),
)
_ZIP = b"PK\x03\x04"
_MARKUP = (b"<!doctype", b"<html", b"<?xml", b"<table")
#: Byte order marks; those of UTF-32 first, because they begin like those of UTF-16.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8"),
)


def _mark(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return UNDECODABLE, error.end


codecs.register_error(_MARK_UNDECODABLE, _mark)


class WrongKindError(ValueError):
    """A file is not text in the given encoding; the message says what it is, and how to fix it."""


@contextmanager
def open_text(raw: IO[bytes], *, encoding: str, is_gzip: bool, argument: str) -> Iterator[TextIOWrapper]:
    """
    Open bytes as lines that keep their ends; bytes that cannot be decoded become :data:`UNDECODABLE`.

    :param argument: Name of the argument for the encoding, for errors.
    :raises WrongKindError: the first bytes are not those of such a text.
    """
    head, plain = _peek(raw)
    if is_gzip:
        if head and not head.startswith(_GZIP):
            raise WrongKindError(_other_kind(head) or "is not compressed with gzip; remove .gz from its name")
        head, plain = _peek(GzipFile(fileobj=plain, mode="rb"))
    problem = _other_kind(head) or _other_encoding(head, encoding, argument)
    if problem:
        raise WrongKindError(problem)
    with TextIOWrapper(plain, encoding=encoding, errors=_MARK_UNDECODABLE, newline="") as lines:
        yield lines


def advice(encoding: str, argument: str) -> str:
    """Return the fix for text that is not in ``encoding``, which ``argument`` gives."""
    if codecs.lookup(encoding).name in _UTF8:
        both = _for_both(argument, "gb18030")
        return f"pass the right one: {argument}='gb18030'{both} if Excel wrote it in China, or save it as 'CSV UTF-8'"
    return f"save it as 'CSV UTF-8' and {_for_utf8(argument)}, or ask its author for the encoding"


class _Rest(RawIOBase):
    """A file whose first bytes were read already."""

    def __init__(self, head: bytes, file: IO[bytes] | GzipFile) -> None:
        self._head = head
        self._file = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._head[: len(buffer)] or self._file.read(len(buffer))
        self._head = self._head[len(buffer) :]
        buffer[: len(data)] = data
        return len(data)


def _peek(file: IO[bytes] | GzipFile) -> tuple[bytes, IO[bytes]]:
    """Return the first bytes, and the complete file; not every file of an object store can seek."""
    head = b""
    while len(head) < _HEAD and (more := file.read(_HEAD - len(head))):
        head += more
    return head, BufferedReader(_Rest(head, file), _BUFFER)


def _other_kind(head: bytes) -> str | None:
    if head.startswith(_ZIP):
        is_workbook = any(name in head for name in (b"[Content_Types].xml", b"xl/", b"opendocument.spreadsheet"))
        return f"is an Excel workbook; {_EXPORT}, or name it .xlsx" if is_workbook else f"is a ZIP archive; {_UNPACK}"
    if head.lstrip().lower().startswith(_MARKUP):
        return "is HTML or XML; check that it is not an error page, and save the table as 'CSV UTF-8'"
    return next((f"is {kind}; {fix}" for magic, kind, fix in _KINDS if head.startswith(magic)), None)


def _for_utf8(argument: str) -> str:
    # Without an encoding of its own, a do-not-call list has that of the contacts.
    return "omit encoding" if argument == "encoding" else f"pass {argument}='utf-8'"


def _for_both(argument: str, encoding: str) -> str:
    return "" if argument == "encoding" else f" (encoding={encoding!r} if the contacts are in it too)"


def _is_chinese_utf8(head: bytes) -> bool:
    """Whether bytes are certainly UTF-8 with Chinese characters; the last one may be incomplete."""
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return sum("\u4e00" <= character <= "\u9fff" for character in text) > 1


def _other_encoding(head: bytes, encoding: str, argument: str) -> str | None:
    name = codecs.lookup(encoding).name
    is_wide = name.startswith(("utf-16", "utf-32"))
    marked = next((marked for mark, marked in _MARKS if head.startswith(mark)), None)
    guess = marked or _without_mark(head)
    if not head or (marked and name.startswith(marked)):
        return None
    if guess == "utf-8" or (guess is None and name not in _UTF8 and _is_chinese_utf8(head)):
        return f"is UTF-8 text, not {encoding!r}; {_for_utf8(argument)}"
    if guess is not None and guess != name:
        return f"is UTF-{guess[4:6]} text, not {encoding!r}; pass {argument}={guess!r}"
    if guess is None and (other := other_encoding(head, name)):
        return (
            f"seems to be in encoding {other!r}, not {encoding!r}; pass {argument}={other!r}"
            f"{_for_both(argument, other)}, or save it as 'CSV UTF-8'"
        )
    if guess is None and is_wide:
        return f"is not in encoding {encoding!r}; {_for_utf8(argument)} if it is UTF-8"
    if not is_wide and b"\0" in head.splitlines()[0]:
        return f"is not text: its first line holds NUL bytes; if it is a workbook, {_EXPORT}"
    return None


def _without_mark(head: bytes) -> str | None:
    """Guess UTF-16 or UTF-32 without a byte order mark, by the positions of NUL bytes."""
    zeros = [head[place::4].count(0) for place in range(4)]
    most = len(head) // 4
    if sum(zeros) * 16 < len(head) or not most:
        return None
    for name, places in (("utf-32-le", (2, 3)), ("utf-32-be", (0, 1))):
        if all(zeros[place] >= most for place in places):
            return name
    even, odd = zeros[0] + zeros[2], zeros[1] + zeros[3]
    if odd > 4 * even:
        return "utf-16-le"
    return "utf-16-be" if even > 4 * odd else None

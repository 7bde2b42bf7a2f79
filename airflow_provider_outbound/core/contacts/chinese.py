"""
Recognise Chinese text that is not in the encoding that its reader was told.

Nearly all bytes of GB18030 are also text in Big5, and the other way round, and every byte is a letter in Latin-1: names
would be garbled without an error, and spoken. How often a text has common characters shows which encoding it is in.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable

_UTF8 = frozenset({"utf-8", "utf-8-sig"})
_GB = frozenset({"gb2312", "gbk", "gb18030"})
_BIG5 = frozenset({"big5", "big5hkscs", "cp950"})
#: Encodings of Western European languages, in which each byte is a character.
_WESTERN = frozenset({"iso8859-1", "iso8859-15", "cp1252", "cp437", "cp850", "mac-roman"})
#: Bytes of Big5 between these are its 5,401 common characters.
_COMMON_BIG5 = b"\xa4\x40", b"\xc6\x7e"
#: The number of different characters from which the common ones are no coincidence.
_ENOUGH = 6
_HIGH_BYTES = re.compile(rb"[\x80-\xff]+")
_BESIDE_LETTERS = re.compile(rb"[A-Za-z][\x80-\xff]|[\x80-\xff][A-Za-z]")


def other_encoding(head: bytes, name: str) -> str | None:
    """
    Return the encoding in which text certainly, or just as likely, is.

    :param head: The first bytes of a file without a byte order mark; the last character may be incomplete.
    :param name: The encoding that its reader was told, as Python names it.
    :return: ``gb18030`` or ``big5``; ``None`` if there is no reason to doubt ``name``.
    """
    if name in _BIG5:
        return "gb18030" if _could_be_gb(head) else None
    if name in _GB:
        return "big5" if _is_big5(head) else None
    if name in _UTF8:
        return "gb18030" if _could_be_short_gb(head) else None
    return _chinese_in(head) if name in _WESTERN else None


def _could_be_gb(head: bytes) -> bool:
    """
    Whether text is GB18030 as likely as Big5: all of its characters are simplified ones of GB 2312.

    Of the common characters of Big5, four in ten are read as such.
    """
    found = _characters(head, "gb18030")
    if len(found) < 2 or _share(found, _is_common_gb) < 0.95:
        return False
    return len(found) >= _ENOUGH or _share(_characters(head, "big5hkscs"), _is_common_big5) < 0.95


def _could_be_short_gb(head: bytes) -> bool:
    """
    Whether bytes are UTF-8 by chance: words of simplified Chinese that would be read as Greek, Cyrillic or Arabic.

    This takes a short text: one Chinese character in seven can be read so. Accents stand beside ASCII letters.
    """
    read = _decoded(head, "utf-8")
    if not read or max(read) > "\u07ff" or _BESIDE_LETTERS.search(head) or not _is_in_pairs(head):
        return False
    return _share(_characters(head, "gb18030"), _is_common_gb) == 1


def _is_big5(head: bytes) -> bool:
    """Whether text is Big5, and not GB18030 with rare characters."""
    found = _characters(head, "big5hkscs")
    if len(found) < 2 or _share(found, _is_common_big5) < 0.9:
        return False
    return _share(_characters(head, "gb18030"), _is_common_gb) < 0.9


def _chinese_in(head: bytes) -> str | None:
    """Return the Chinese encoding of bytes each of which is a letter in Western Europe."""
    if _is_in_pairs(head) and _share(_characters(head, "gb18030"), _is_common_gb) > 0.7:
        return "gb18030"
    # The second byte of a character may be an ASCII letter, so that single accents could be Chinese.
    found = _characters(head, "big5hkscs")
    return "big5" if len(found) >= _ENOUGH and _share(found, _is_common_big5) >= 0.9 else None


def _is_in_pairs(head: bytes) -> bool:
    """Whether bytes that are not ASCII come in pairs, as in Chinese; accents stand alone, between ASCII letters."""
    runs = [(len(run.group()), run.end() == len(head)) for run in _HIGH_BYTES.finditer(head)]
    # The last character may be cut off.
    is_even = all(length % 2 == 0 or is_last for length, is_last in runs)
    return is_even and max((length for length, _ in runs), default=0) >= 4


def _characters(head: bytes, encoding: str) -> set[str]:
    """Return the different letters of a text that are not ASCII; none if it is not in this encoding."""
    return {character for character in _decoded(head, encoding) if not character.isascii() and character.isalpha()}


def _decoded(head: bytes, encoding: str) -> str:
    """Return a text whose last character may be incomplete; an empty one if it is not in this encoding."""
    try:
        return codecs.getincrementaldecoder(encoding)().decode(head)
    except UnicodeDecodeError:
        return ""


def _share(characters: set[str], is_common: Callable[[str], bool]) -> float:
    return sum(map(is_common, characters)) / len(characters) if characters else 0.0


def _is_common_gb(character: str) -> bool:
    return character.encode("gb2312", "ignore") >= b"\xb0\xa1"


def _is_common_big5(character: str) -> bool:
    first, last = _COMMON_BIG5
    return first <= character.encode("big5hkscs", "ignore") <= last

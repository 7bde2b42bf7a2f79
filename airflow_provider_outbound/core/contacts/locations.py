"""Find the files that a path stands for: itself, everything in a folder, or what a pattern matches."""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from gzip import BadGzipFile
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

from airflow_provider_outbound.core.models.phone import redact
from airflow_provider_outbound.exceptions import ContactsNotFoundError, OutboundBotContactsError

#: Beginnings of names of files that are not data: of other programs, hidden, or Excel's mark of an open workbook.
_NO_DATA = ("_", ".", "~$")
#: A name that its author may take for a list, although it is no data.
_SKIPPED_LIST = re.compile(r"_.*\.(?:(?:csv|tsv|jsonl|ndjson)(?:\.gz)?|parquet|xlsx)\Z", re.IGNORECASE)
_PATTERN = re.compile(r"[*?[]")
#: The ending of a name or a pattern: ``.csv`` or ``.csv.gz``.
_ENDING = re.compile(r"\.[^.]*(?:\.gz)?\Z", re.IGNORECASE)
#: What in it can match a letter: a set of characters in brackets, perhaps negated, or a letter itself.
_LETTERS = re.compile(r"\[(!?)(\]?[^\]]*)\]|[A-Za-z]")
_DAMAGES: Mapping[type[Exception], str] = {
    EOFError: "it ends too early; write or copy it again",
    BadGzipFile: "it is damaged",
    zlib.error: "it is damaged",
}
_NO_PARQUET = "it is not a Parquet file, or is damaged; write or copy it again"


class PathLike(Protocol):
    """A local path, or anything that behaves like one, such as Airflow's ObjectStoragePath."""

    @property
    def name(self) -> str: ...

    def open(self, mode: str) -> Any: ...

    def with_name(self, name: str, /) -> Any: ...


def find_files(path: Any, label: str) -> tuple[list[PathLike], list[PathLike]]:
    """
    Return the files that a path stands for, in a stable order, and what is left out that may have been meant.

    That is a folder with files that a pattern does not read and, for a do-not-call list, a list whose name begins with
    an underscore. Patterns ignore the case of a name's ending: ``*.csv`` matches ``B.CSV``.

    :param label: The argument's name, for errors.
    :raises OutboundBotContactsError: a folder cannot be read.
    """
    found: Iterable[Any]
    folders: list[Any] = []
    try:
        if not hasattr(path, "is_dir") or path.is_file():
            return [path], []
        if path.is_dir():
            base, found = path, list(_everything_in(path))
        elif _PATTERN.search(str(path)):
            names: list[str] = []
            base = path
            while _PATTERN.search(str(base)) and base.parent != base:
                names.insert(0, base.name)
                base = base.parent
            names[-1] = _of_any_case(names[-1])
            found = folders = list(base.glob("/".join(names)))
            if "**" in names and isinstance(base, Path):
                folders = [*folders, *_linked_folders(base, names[-1])]
        else:
            # Opening it will raise the right error.
            return [path], []
        files = _data_files(base, found)
        known = {str(file) for file in files}
        folders = [folder for folder in folders if str(folder) not in known and folder.is_dir()]
        left_out = [
            folder
            for folder in folders
            if any(str(file) not in known for file in _data_files(base, _everything_in(folder)))
        ]
        if label.startswith("exclude") and not left_out:
            everything = chain(found, *map(_everything_in, folders))
            left_out = [file for file in everything if _SKIPPED_LIST.match(file.name) and file.is_file()]
    except OSError as error:
        raise unreadable(path, error, label) from None
    return sorted(files, key=str), left_out[:1]


def _of_any_case(pattern: str) -> str:
    """Return a pattern for a name that ignores the case of its ending: ``*.[cC][sS][vV]``."""
    return _ENDING.sub(lambda ending: _LETTERS.sub(_either_case, ending.group()), pattern)


def _either_case(found: re.Match[str]) -> str:
    negation, inner = found[1] or "", found[2] or found.group()
    # A bracket at the beginning belongs to the set; a second one would end it.
    return f"[{negation}{inner}{inner.swapcase().lstrip(']')}]"


def _data_files(base: Any, found: Iterable[Any]) -> list[Any]:
    """Return the files below ``base`` that may hold data."""
    above = len(str(base).rstrip("/"))
    return [
        file
        for file in found
        if not any(part.startswith(_NO_DATA) for part in str(file)[above:].strip("/").split("/"))
        and (file.is_file() or _is_broken_link(file))
    ]


def _everything_in(folder: Any) -> Iterator[Any]:
    if not isinstance(folder, Path):
        yield from folder.rglob("*")
        return
    # pathlib would silently skip unreadable and linked folders, and the people listed in them.
    met = set()
    for inner, folders, names in os.walk(folder, onerror=_raise, followlinks=True):
        # Two links may lead to one folder, and a link to a folder above it.
        place = os.path.realpath(inner)
        if place in met:
            folders.clear()
            continue
        met.add(place)
        folders[:] = [name for name in folders if not name.startswith(("_", "."))]
        yield from (Path(inner, name) for name in names)


def _linked_folders(folder: Path, pattern: str) -> list[Any]:
    """Return the links to folders below ``folder``, which ``**`` does not follow, that have files of such a name."""
    return [
        Path(inner, name)
        for inner, folders, _ in os.walk(folder, onerror=_raise)
        for name in folders
        if Path(inner, name).is_symlink() and any(file.match(pattern) for file in _everything_in(Path(inner, name)))
    ]


def _raise(error: OSError) -> None:
    raise error


def _is_broken_link(file: Any) -> bool:
    """Whether it links to a file that does not exist. It counts as a file, so that opening it raises an error."""
    return isinstance(file, Path) and file.is_symlink() and not file.exists()


def unreadable(path: object, error: Exception, label: str) -> OutboundBotContactsError:
    """Return the error for a file or folder that cannot be read."""
    kind = ContactsNotFoundError if isinstance(error, FileNotFoundError) else OutboundBotContactsError
    reason = getattr(error, "strerror", None) or _DAMAGES.get(type(error)) or type(error).__name__
    reason = _NO_PARQUET if reason == "ArrowInvalid" else reason
    return kind(f"{label}: {redact(str(path))} cannot be read: {reason}")

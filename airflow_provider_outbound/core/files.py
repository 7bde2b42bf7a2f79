"""Files that appear when they are whole, and are readable by whom they were before, or by their owner alone."""

from __future__ import annotations

import fcntl
import glob
import os
import stat
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from airflow_provider_outbound.exceptions import OutboundBotConfigError

_NEW_SECONDS = 60.0
#: Who else may read a private file: nobody.
_OWNER_ALONE = 0o600
_OTHERS = 0o007


@contextmanager
def atomic_write(path: Any, *, private: bool = False, field: str = "path") -> Iterator[IO[bytes]]:
    """
    Write beside the file, and put it into place once it is whole; an older one is replaced then.

    On this machine the file keeps its mode and its owner, and a link stays a link. What a killed process left beside it
    is removed by the next that writes the same file.

    :param path: A local path, or one of a store, where putting into place is the store's own move.
    :param private: It holds what is nobody else's business: a new file is its owner's alone (mode 0600), and so is one
        that everybody on this machine could read. One that a group may read was made so by somebody, and stays.
    :param field: What errors begin with: the argument's name.
    :raises OutboundBotConfigError: nothing can be written there, or the owner cannot be kept.
    """
    if getattr(path, "protocol", None) in ("file", "local"):
        path = Path(path.path)
    try:
        with _local(path, private=private) if isinstance(path, Path) else _stored(path) as file:
            yield file
    except OSError as error:
        raise OutboundBotConfigError(
            f"{field} {str(path)!r} cannot be written: {error.strerror or type(error).__name__}; give one that"
            " this machine may write"
        ) from None


@contextmanager
def _stored(path: Any) -> Iterator[IO[bytes]]:
    part = path.parent / _part_name(path.name)
    try:
        with _open_stored(part) as file:
            yield file
        part.move(path)
    except BaseException:
        _drop(part)
        raise


def _open_stored(part: Any) -> Any:
    try:
        return part.open("wb")
    except FileNotFoundError:
        # Not before: some stores would make a bucket, where its name is merely misspelt.
        part.parent.mkdir(parents=True, exist_ok=True)
        return part.open("wb")


@contextmanager
def _local(path: Path, *, private: bool) -> Iterator[IO[bytes]]:
    # The link's target is what is replaced.
    target = Path(os.path.realpath(path))
    before = _status(target)
    _sweep(target)
    part = target.parent / _part_name(target.name)
    try:
        with _open_local(part, _OWNER_ALONE if private or before is not None else 0o666) as file:
            # Held until this process ends, however it does: it tells that somebody is still writing.
            fcntl.flock(file, fcntl.LOCK_EX)
            if before is not None:
                _keep_owner_and_mode(file, before, private=private)
            yield file
            file.flush()
            os.fsync(file.fileno())
            part.replace(target)
    except BaseException:
        _drop(part)
        raise


def _part_name(name: str) -> str:
    return f".{name}.{uuid.uuid4().hex[:8]}.part"


def _status(target: Path) -> os.stat_result | None:
    """The file that is to be replaced; ``None`` if there is none."""
    try:
        status = target.stat()
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(status.st_mode):
        raise OSError(0, "it is not a file")
    return status


def _open_local(part: Path, mode: int) -> IO[bytes]:
    def opener(name: str, flags: int) -> int:
        return os.open(name, flags, mode)

    try:
        return open(part, "xb", opener=opener)
    except FileNotFoundError:
        part.parent.mkdir(parents=True, exist_ok=True)
        return open(part, "xb", opener=opener)


def _keep_owner_and_mode(file: IO[bytes], before: os.stat_result, *, private: bool) -> None:
    now = os.fstat(file.fileno())
    if (now.st_uid, now.st_gid) != (before.st_uid, before.st_gid):
        try:
            os.fchown(file.fileno(), before.st_uid, before.st_gid)
        except PermissionError:
            raise OSError(
                0,
                f"it belongs to user {before.st_uid} and group {before.st_gid}, which the new file could not be given:"
                " remove the old one, or write as that user",
            ) from None
    mode = stat.S_IMODE(before.st_mode)
    os.fchmod(file.fileno(), _OWNER_ALONE if private and mode & _OTHERS else mode)


def _sweep(path: Path) -> None:
    """Remove parts that nobody writes any more; one that is new may just not be locked yet."""
    for part in path.parent.glob(f".{glob.escape(path.name)}.{'[0-9a-f]' * 8}.part"):
        with suppress(OSError), part.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if time.time() - part.stat().st_mtime > _NEW_SECONDS:
                part.unlink()


def _drop(part: Any) -> None:
    # The error that led here is the one to tell; a part that cannot be removed is none of its own, of whatever kind.
    with suppress(Exception):
        part.unlink(missing_ok=True)

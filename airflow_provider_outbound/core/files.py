"""Atomic writes: a file appears once it is complete, and keeps its permissions or is private to its owner."""

from __future__ import annotations

import errno
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
#: Mode of a private file.
_OWNER_ALONE = 0o600
_OTHERS = 0o007


@contextmanager
def atomic_write(path: Any, *, private: bool = False, field: str = "path") -> Iterator[IO[bytes]]:
    """
    Write to a temporary file in the same folder, and move it to ``path`` once it is complete.

    A local file keeps its mode and its owner, and a link stays a link. The next write to the same path removes the
    temporary file of a killed process.

    :param path: A local path, or one in an object store, which moves files in its own way.
    :param private: The content is confidential: a new file gets mode 0600, and so does an existing one that every user
        of this machine may read. A file that only its group may read keeps its mode: somebody chose it.
    :param field: The argument's name, with which errors begin.
    :raises OutboundBotConfigError: the path cannot be written, or the owner cannot be kept.
    """
    if getattr(path, "protocol", None) in ("file", "local"):
        path = Path(path.path)
    try:
        with _local(path, private=private) if isinstance(path, Path) else _stored(path) as file:
            yield file
    except OSError as error:
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        fix = "free some space" if is_full else "give a path that this process may write"
        raise OutboundBotConfigError(
            f"{field}: {str(path)!r} cannot be written: {error.strerror or type(error).__name__}; {fix}"
        ) from None


@contextmanager
def _stored(path: Any) -> Iterator[IO[bytes]]:
    if getattr(getattr(path, "fs", None), "can_commit", False):
        with _committed(path) as file:
            yield file
        return
    part = path.parent / _part_name(path.name)
    try:
        with _open_stored(part) as file:
            yield file
        part.move(path)
    except BaseException:
        _drop(part)
        raise


@contextmanager
def _committed(path: Any) -> Iterator[IO[bytes]]:
    """Write to a store that puts a file into place when it is told to, and never when it is closed."""
    file = path.open("wb", explicit_commit=True)
    try:
        yield file
        file.commit()
    except BaseException:
        file.discard()
        raise
    finally:
        file.close()


def _open_stored(part: Any) -> Any:
    try:
        return part.open("wb")
    except FileNotFoundError:
        # Only now: otherwise some stores would create a bucket whose name is merely misspelt.
        part.parent.mkdir(parents=True, exist_ok=True)
        return part.open("wb")


@contextmanager
def _local(path: Path, *, private: bool) -> Iterator[IO[bytes]]:
    # Replace the target of a link, not the link.
    target = Path(os.path.realpath(path))
    before = _status(target)
    _sweep(target)
    part = target.parent / _part_name(target.name)
    try:
        with _open_local(part, _OWNER_ALONE if private or before is not None else 0o666) as file:
            # The lock lasts until this process ends in any way. It shows that the file is still being written.
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
    """Status of the file that will be replaced; ``None`` if there is none."""
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
                f"it belongs to user {before.st_uid} and group {before.st_gid}, and the new file cannot be given to"
                " them: remove the old file, or write as that user",
            ) from None
    mode = stat.S_IMODE(before.st_mode)
    os.fchmod(file.fileno(), _OWNER_ALONE if private and mode & _OTHERS else mode)


def _sweep(path: Path) -> None:
    """Remove temporary files that no process is writing. A new one may not be locked yet."""
    for part in path.parent.glob(f".{glob.escape(path.name)}.{'[0-9a-f]' * 8}.part"):
        with suppress(OSError), part.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if time.time() - part.stat().st_mtime > _NEW_SECONDS:
                part.unlink()


def _drop(part: Any) -> None:
    # A failure to remove the temporary file must not hide the error that led here.
    with suppress(Exception):
        part.unlink(missing_ok=True)

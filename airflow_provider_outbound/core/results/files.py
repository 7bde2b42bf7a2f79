"""Files that appear when they are whole."""

from __future__ import annotations

import fcntl
import glob
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from airflow_provider_outbound.exceptions import OutboundBotConfigError

_NEW_SECONDS = 60.0


@contextmanager
def whole(path: Any) -> Iterator[IO[bytes]]:
    """
    Write beside the file, and put it into place once it is whole; an older one is replaced then.

    What a killed process left beside it is removed by the next that writes the same file on this machine.

    :param path: A local path, or one of a store, where putting into place is the store's own move.
    :raises OutboundBotConfigError: nothing can be written there.
    """
    if getattr(path, "protocol", None) in ("file", "local"):
        path = Path(path.path)
    part = path.parent / f".{path.name}.{uuid.uuid4().hex[:8]}.part"
    is_local = isinstance(part, Path)
    try:
        if is_local:
            _sweep(path)
        with _open(part) as file:
            if is_local:
                # Held until this process ends, however it does: it tells that somebody is still writing.
                fcntl.flock(file, fcntl.LOCK_EX)
            yield file
            if is_local:
                file.flush()
                os.fsync(file.fileno())
                part.replace(path)
        if not is_local:
            part.move(path)
    except OSError as error:
        _drop(part)
        raise OutboundBotConfigError(
            f"path {str(path)!r} cannot be written: {error.strerror or type(error).__name__}; give one that"
            " this machine may write"
        ) from None
    except BaseException:
        _drop(part)
        raise


def _open(part: Any) -> Any:
    try:
        return part.open("wb")
    except FileNotFoundError:
        # Not before: some stores would make a bucket, where its name is merely misspelt.
        part.parent.mkdir(parents=True, exist_ok=True)
        return part.open("wb")


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

"""
Standard output and error that never stop a command.

If the reader of a pipe closes it, the disk is full or the terminal is gone, further output is dropped. The exit code
reports lost output, unless a reader closed a pipe. Characters that an encoding lacks are written as escapes.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any


class LastingStream:
    """
    A text stream that accepts all output, and drops it once the underlying stream has failed.

    :param stream: The underlying stream; ``None`` if it is closed.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        #: Why output was lost; ``None`` if none was. Output for a pipe that its reader closed is not lost.
        self.failure: str | None = "it is closed" if stream is None else None
        self._is_over = stream is None
        #: Whether output was dropped, also because of a closed pipe.
        self.was_cut = stream is None

    def __getattr__(self, name: str) -> Any:
        if self._stream is None:
            raise AttributeError(name)
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write ``text``, or drop it."""
        self._try(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        """Flush the buffer, or drop it."""
        self._try(lambda: self._stream.flush())

    def isatty(self) -> bool:
        """Whether output goes to a terminal."""
        return not self._is_over and bool(self._stream.isatty())

    def fileno(self) -> int:
        """File descriptor of the underlying stream."""
        if self._stream is None:
            raise OSError("there is no underlying stream")
        return int(self._stream.fileno())

    def _try(self, act: Any) -> None:
        if self._is_over:
            return
        try:
            act()
        except BrokenPipeError:
            self._give_up(None)
        except OSError as error:
            self._give_up(error.strerror or type(error).__name__)
        except ValueError:
            # The stream was closed.
            self._give_up("it is closed")

    def _give_up(self, failure: str | None) -> None:
        self._is_over = self.was_cut = True
        self.failure = failure
        # Otherwise flushing its buffer would fail again when Python exits, and change the exit code to 120.
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


@contextmanager
def lasting_output() -> Iterator[LastingStream]:
    """Replace standard output and error by streams that never fail; yields the one for standard output."""
    _fill_gaps()
    before = sys.stdout, sys.stderr
    output, errors = LastingStream(sys.stdout), LastingStream(sys.stderr)
    policies = [_escape(stream) for stream in before]
    sys.stdout, sys.stderr = output, errors
    try:
        yield output
    finally:
        output.flush()
        errors.flush()
        for stream, policy in zip(before, policies, strict=True):
            if policy is not None and not stream.closed:
                with contextlib.suppress(OSError):
                    stream.reconfigure(errors=policy)  # type: ignore[union-attr]  # see _escape
        sys.stdout, sys.stderr = before


def _fill_gaps() -> None:
    """Open closed standard descriptors, so that no file or socket of ours becomes standard output."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def print_json(value: Any) -> None:
    """Print a JSON value in characters that standard output can encode."""
    encoding = (getattr(sys.stdout, "encoding", None) or "ascii").lower().replace("-", "")
    text = json.dumps(value, ensure_ascii=encoding != "utf8")
    # No encoding has lone surrogates, but JSON has escapes for them.
    print(text.encode("utf-8", "backslashreplace").decode())


def print_table(texts: Sequence[str], numbers: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """
    Print a table.

    :param texts: Titles of the first columns.
    :param numbers: Titles of the others, which hold numbers.
    :param rows: A cell for each column; ``None`` for an empty one.
    """
    from rich.console import Console
    from rich.table import Table

    table = Table(*texts, box=None, header_style="bold")
    for title in numbers:
        table.add_column(title, justify="right")
    for row in rows:
        table.add_row(*("" if cell is None else str(cell) for cell in row))
    # Without a terminal there is no width to which ids should be cut.
    Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 240).print(table)


def in_minutes(moment: str | None) -> str:
    """A time in ISO 8601 as a table shows it, without seconds."""
    return (moment or "")[:16].replace("T", " ")


def _escape(stream: Any) -> str | None:
    """Write characters that the encoding lacks as escapes; returns the previous error handler, if there is one."""
    if not hasattr(stream, "reconfigure"):
        return None
    policy: str = stream.errors
    with contextlib.suppress(OSError, ValueError):
        stream.reconfigure(errors="backslashreplace")
    return policy

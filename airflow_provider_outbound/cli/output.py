"""
Standard output and error of a command, which never stop it: a command does its work whatever becomes of its output.

A pipe that its reader closed, a full disk, a terminal that is gone: what follows is dropped, and the exit code says so
where it matters. Characters that an encoding lacks are written as escapes.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class LastingStream:
    """
    A text stream that takes everything, and drops it once the stream below it fails.

    :param stream: The stream below; ``None``: it is closed.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        #: Why output was lost; ``None`` as long as none was. A pipe whose reader has read enough lost nothing.
        self.failure: str | None = "it is closed" if stream is None else None
        self._is_over = stream is None
        #: Whether somebody may have missed something, a closed pipe included.
        self.was_cut = stream is None

    def __getattr__(self, name: str) -> Any:
        if self._stream is None:
            raise AttributeError(name)
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write, or drop."""
        self._try(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        """Flush, or drop what is left."""
        self._try(lambda: self._stream.flush())

    def isatty(self) -> bool:
        """Whether somebody may be looking."""
        return not self._is_over and bool(self._stream.isatty())

    def fileno(self) -> int:
        """The descriptor of the stream below."""
        if self._stream is None:
            raise OSError("there is no stream")
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
            # Somebody closed it.
            self._give_up("it is closed")

    def _give_up(self, failure: str | None) -> None:
        self._is_over = self.was_cut = True
        self.failure = failure
        # What it still holds would fail once more when Python ends, and turn the exit code into 120.
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


@contextmanager
def lasting_output() -> Iterator[LastingStream]:
    """Let a command run whatever becomes of its output; gives what stands for standard output meanwhile."""
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
                    stream.reconfigure(errors=policy)  # type: ignore[union-attr]  # it has been before
        sys.stdout, sys.stderr = before


def _fill_gaps() -> None:
    """Give closed descriptors something, so that no file or socket of ours becomes standard output."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def print_json(value: Any) -> None:
    """One JSON value, in letters that standard output has."""
    encoding = (getattr(sys.stdout, "encoding", None) or "ascii").lower().replace("-", "")
    text = json.dumps(value, ensure_ascii=encoding != "utf8")
    # A lone surrogate has no place in any encoding, and its escape has one in JSON.
    print(text.encode("utf-8", "backslashreplace").decode())


def _escape(stream: Any) -> str | None:
    """Write what the stream's encoding lacks as escapes; gives its policy of before, ``None`` if it has none."""
    if not hasattr(stream, "reconfigure"):
        return None
    policy: str = stream.errors
    with contextlib.suppress(OSError, ValueError):
        stream.reconfigure(errors="backslashreplace")
    return policy

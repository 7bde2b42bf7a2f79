"""How a collector and its owner report what fails: once, and without private data."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from pathlib import Path

logger = logging.getLogger("airflow_provider_outbound.collect")


class OutageLogger:
    """Logs once that something fails, and once that it works again."""

    def __init__(self, restored: str, on_trouble: Callable[[str], None] = lambda _: None) -> None:
        self._restored = restored
        self._on_trouble = on_trouble
        self._said = ""

    @property
    def lasts(self) -> bool:
        return bool(self._said)

    def say(self, words: str) -> None:
        before, self._said = self._said, words
        self._on_trouble(words)
        if words != before:
            logger.warning("%s", words)

    def over(self) -> None:
        if self._said:
            logger.info("%s", self._restored)
        self._said = ""


def describe_exception(error: BaseException) -> str:
    """Return the type and location of an unexpected error, without its text, which may quote private data."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{place}"

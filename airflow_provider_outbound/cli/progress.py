"""
The progress of a command that takes long, on standard error: a bar on a terminal, a line now and then elsewhere.

Both use the format of the progress lines in a task's log; see :func:`.describe_progress`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self

from airflow_provider_outbound.core.progress import Rate, describe_progress

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

#: Seconds before the first line, and between two, where there is no terminal.
LINE_SECONDS = 5.0


class CommandProgress:
    """
    Shows how far a command is. What takes little time shows nothing that stays.

    :param unit: What is counted, for example ``rows``.
    :param clock: Seconds that never go back.
    """

    def __init__(self, unit: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._unit = unit
        self._clock = clock
        self._shown_at = clock()
        self._rates: dict[str, Rate] = {}
        self._bars: Progress | None = None
        self._bar_of: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        if sys.stderr is not None and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn

            columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[text]}"))
            console = Console(stderr=True, highlight=False, markup=False)
            self._bars = Progress(
                *columns, console=console, transient=True, redirect_stdout=False, redirect_stderr=False
            )
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()

    def show(self, label: str, done: int, total: int) -> None:
        """
        Show how far a step is. Call it as often as you like.

        :param label: The step, for example the name of a table.
        """
        rate = self._rates.setdefault(label, Rate(from_zero=True, clock=self._clock))
        rate.mark(done)
        if self._bars is None and self._clock() - self._shown_at < LINE_SECONDS:
            return
        self._shown_at = self._clock()
        text = describe_progress(done, total, self._unit, per_minute=rate.per_minute(done))
        if self._bars is None:
            print(f"{label}: {text}", file=sys.stderr, flush=True)
            return
        if label not in self._bar_of:
            self._bar_of[label] = self._bars.add_task(label, total=total, text=text)
        self._bars.update(self._bar_of[label], completed=done, total=total, text=text)

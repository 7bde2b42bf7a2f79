"""One action on many job groups: each is tried, even if another one, the output or the terminal fails."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType

import attrs

from airflow_provider_outbound.cli.gone import describe_gone, does_not_exist
from airflow_provider_outbound.core.models.words import count_of
from airflow_provider_outbound.exceptions import JobGroupCancelledError, LedgerError, OutboundBotError

#: Exit code of a command stopped by Ctrl-C.
_STOPPED = 130


@attrs.define(kw_only=True)
class Sweep:
    """
    An action on job groups, and its progress.

    :param action: Name of the action.
    :param group_ids: The job groups, in this order.
    :param may_be_gone: Whether it is no failure if a job group, given by its id, does not exist at the service.
    :param may_be_cancelled: Whether it is no failure if a job group that was to be resumed is cancelled.
    """

    action: str
    group_ids: Sequence[str]
    may_be_gone: Callable[[str], bool] = lambda _: False
    may_be_cancelled: bool = False
    done: list[str] = attrs.field(factory=list)
    gone: list[str] = attrs.field(factory=list)
    cancelled: list[str] = attrs.field(factory=list)
    unrecorded: list[str] = attrs.field(factory=list)
    failed: list[str] = attrs.field(factory=list)

    def run(self, act: Callable[[str], Mapping[str, int]]) -> int:
        """
        Try every job group, report each in one line, and print a summary if any failed or output was dropped.

        :param act: Acts on a job group; returns its counts afterwards.
        :return: Exit code: 0 only if every job group is done, or gone where it may be.
        """
        try:
            for group_id in self.group_ids:
                self._try(group_id, act)
        except KeyboardInterrupt:
            left = [group_id for group_id in self.group_ids if group_id not in self._tried]
            print(f"outbound: stopped: {self._summary()}; not done: {' '.join(left)}", file=sys.stderr)
            return _STOPPED
        if self.gone:
            print(f"outbound: {describe_gone(self.gone)}", file=sys.stderr, flush=True)
        if self.cancelled:
            what = count_of(len(self.cancelled), "job group was", "job groups were")
            told = f"{what} cancelled, and cannot be resumed: {', '.join(self.cancelled)}"
            print(f"outbound: {told}", file=sys.stderr, flush=True)
        sys.stdout.flush()
        if getattr(sys.stdout, "was_cut", False):
            print(f"outbound: {self._summary()}", file=sys.stderr)
        elif self.failed or self.unrecorded:
            print(self._summary())
        return 1 if self.failed or self.unrecorded else 0

    @property
    def _tried(self) -> set[str]:
        return {*self.done, *self.gone, *self.cancelled, *self.unrecorded, *self.failed}

    def _try(self, group_id: str, act: Callable[[str], Mapping[str, int]]) -> None:
        try:
            counts = act(group_id)
        except Exception as error:  # noqa: BLE001 - the next group must be tried after any error
            is_gone = does_not_exist(error)
            if is_gone and self.may_be_gone(group_id):
                self.gone.append(group_id)
                return
            if isinstance(error, JobGroupCancelledError) and self.may_be_cancelled:
                self.cancelled.append(group_id)
                return
            is_sent = isinstance(error, LedgerError) and error.is_sent
            (self.unrecorded if is_sent else self.failed).append(group_id)
            hint = "; it was deleted, or the connection belongs to another account" if is_gone else ""
            print(f"outbound: {group_id}: {words_of(error)}{hint}", file=sys.stderr, flush=True)
        else:
            self.done.append(group_id)
            told = ", ".join(f"{name} {count}" for name, count in counts.items())
            print(f"{group_id}: {self.action}: {told}", flush=True)

    def _summary(self) -> str:
        failed = f", failed for {len(self.failed)}" if self.failed else ""
        unrecorded = f", sent but not recorded for {len(self.unrecorded)}" if self.unrecorded else ""
        gone = f", {len(self.gone)} no longer exist" if self.gone else ""
        cancelled = f", {len(self.cancelled)} were cancelled" if self.cancelled else ""
        done = f"done for {len(self.done)} of {count_of(len(self.group_ids), 'job group')}"
        return f"{self.action}: {done}{unrecorded}{gone}{cancelled}{failed}"


def words_of(error: Exception) -> str:
    """Any error in one line, with phone numbers masked."""
    from airflow_provider_outbound.core.models.phone import redact

    if isinstance(error, OutboundBotError):
        return str(error)
    return redact(" ".join(f"{type(error).__name__}: {error}".split()))


@contextmanager
def undisturbed() -> Iterator[None]:
    """Continue when the terminal is closed; treat SIGTERM like Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers: dict[signal.Signals, Callable[[int, FrameType | None], None] | signal.Handlers] = {
        signal.SIGHUP: signal.SIG_IGN,
        # Python's default, which a parent process may have changed: a closed pipe is an error, not the end.
        signal.SIGPIPE: signal.SIG_IGN,
        signal.SIGTERM: _interrupt,
    }
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            # None stands for a handler that was not installed by Python, and cannot be restored.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt

"""The lease of an assignment: renewed by a thread, checked before every request."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
import uuid
from types import TracebackType
from typing import Self

from airflow_provider_outbound.core.ledger import Assignment, Ledger, TaskKey, UndecidedAssignment
from airflow_provider_outbound.exceptions import LeaseHeldError, LeaseLostError, LedgerUnavailableError

#: Seconds that an assignment stays locked after the process that holds it has died.
LEASE_SECONDS = 60.0
#: Seconds between two log lines about waiting for another process's lease.
_SAY_EVERY = 60.0

log = logging.getLogger(__name__)


class Lease:
    """
    The lease of an assignment, renewed until the ``with`` block ends.

    :param request_seconds: How long a request can take. No request is begun that may last longer than the lease.
    """

    def __init__(self, ledger: Ledger, assignment: Assignment, *, seconds: float, request_seconds: float) -> None:
        self.assignment = assignment
        self._ledger = ledger
        self._seconds = seconds
        self._request_seconds = request_seconds
        self._lock = threading.Lock()
        self._lost: LeaseLostError | None = None
        self._renewed_at = _Moment()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="outbound-lease", daemon=True)

    @classmethod
    def take(
        cls,
        ledger: Ledger,
        key: TaskKey,
        job_group_id: str,
        *,
        settle_seconds: float,
        seconds: float,
        request_seconds: float,
    ) -> Lease:
        """Open the task's assignment. Waits while another process, such as the task's killed try, holds the lease."""
        owner = own_name()
        said_at = -_SAY_EVERY
        while True:
            moment = _Moment()
            try:
                assignment = ledger.assignments.open(
                    key, job_group_id, owner=owner, lease_seconds=seconds, settle_seconds=settle_seconds
                )
            except LeaseHeldError as error:
                if time.monotonic() - said_at >= _SAY_EVERY:
                    log.info("Job group %s: waiting, because %s", job_group_id, error)
                    said_at = time.monotonic()
                time.sleep(min(5.0, max(0.05, (error.until - ledger.now()).total_seconds())))
                continue
            lease = cls(ledger, assignment, seconds=seconds, request_seconds=request_seconds)
            lease._renewed_at = moment
            return lease

    def borrow(self, other: UndecidedAssignment) -> Lease | None:
        """
        Take the lease of another task's assignment, for the same length as this one.

        :return: ``None`` if another process has taken it meanwhile.
        """
        moment = _Moment()
        borrowed = self._ledger.takeovers.borrow(other, self.assignment.job_group_id, self._seconds)
        if borrowed is None:
            return None
        lease = Lease(self._ledger, borrowed, seconds=self._seconds, request_seconds=self._request_seconds)
        lease._renewed_at = moment
        return lease

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def give_back(self) -> None:
        """End the lease now and leave the assignment open, so that the next try need not wait for it."""
        self._stop.set()
        self._thread.join()
        try:
            self._ledger.assignments.renew(self.assignment, 0)
        except (LeaseLostError, LedgerUnavailableError) as error:
            log.warning("Job group %s: %s", self.assignment.job_group_id, error)

    def check(self) -> None:
        """
        Make sure that a request begun now ends before the lease does.

        :raises LeaseLostError: another process has the lease.
        :raises LedgerUnavailableError: it is about to expire and cannot be renewed.
        """
        with self._lock:
            if self._lost is not None:
                raise self._lost
            if self._renewed_at.elapsed + self._request_seconds < self._seconds:
                return
        self._renew()
        with self._lock:
            if self._renewed_at.elapsed + self._request_seconds >= self._seconds:
                raise LeaseLostError(
                    f"job group {self.assignment.job_group_id}: the ledger is too slow to renew the lease of "
                    f"{self._seconds:g} s, so no further request was sent; a retry continues, and assigns nobody twice"
                )

    def _keep(self) -> None:
        while not self._stop.wait(self._seconds / 4):
            try:
                self._renew()
            except LeaseLostError:
                return
            except LedgerUnavailableError as error:
                # Senders check the lease; until it expires, a later renewal may succeed.
                log.warning("Job group %s: the lease was not renewed: %s", self.assignment.job_group_id, error)

    def _renew(self) -> None:
        moment = _Moment()
        try:
            self._ledger.assignments.renew(self.assignment, self._seconds)
        except LeaseLostError as error:
            with self._lock:
                self._lost = error
            raise
        with self._lock:
            self._renewed_at = moment


def own_name() -> str:
    """A unique name for this holder of a lease."""
    return f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"


class _Moment:
    """A moment, by clocks that keep running while this process or the machine is suspended."""

    def __init__(self) -> None:
        self._ticks, self._time = _ticks(), time.time()

    @property
    def elapsed(self) -> float:
        """Seconds since that moment, by the faster of two clocks: pausing a virtual machine stops one of them."""
        return max(_ticks() - self._ticks, time.time() - self._time)


def _ticks() -> float:
    # Linux's usual monotonic clock stops while the machine sleeps.
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)

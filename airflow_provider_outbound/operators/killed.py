"""How a task that calls people ends when Airflow kills its process."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from airflow_provider_outbound.operators.base import OutboundBotOperator


class EndsWhenKilled(OutboundBotOperator):
    """
    Base of operators that stop at once when a person ends their task.

    Airflow ends a task by SIGTERM, and by SIGKILL five seconds later. Its handler of SIGTERM only calls ``on_kill`` and
    returns, so without one the task would go on for these seconds.
    """

    _ends_when_killed = False

    @contextmanager
    def _ended_by_kill(self) -> Iterator[None]:
        """Within this block, end the task when it is killed."""
        self._ends_when_killed = True
        try:
            yield
        finally:
            self._ends_when_killed = False

    def on_kill(self) -> None:
        """
        End the task like a failed try, which Airflow repeats if the task has retries and no person ended it.

        :raises SystemExit: within :meth:`_ended_by_kill`. It is raised wherever the signal has interrupted the task.
        """
        if self._ends_when_killed:
            # Another signal must not interrupt the end, which waits for requests in flight and journals their outcomes.
            self._ends_when_killed = False
            self.log.warning("This task is being ended: it sends nothing more")
            raise SystemExit(128 + signal.SIGTERM)

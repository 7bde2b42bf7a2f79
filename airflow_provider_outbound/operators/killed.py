"""How a task that calls people ends when Airflow kills its process."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from airflow_provider_outbound.exceptions import OutboundBotError
from airflow_provider_outbound.operators.base import OutboundBotOperator

T = TypeVar("T")


class EndsWhenKilled(OutboundBotOperator):
    """
    Base of operators that send nothing more once a person has ended their task.

    Airflow ends a task by SIGTERM, and by SIGKILL five seconds later. Its handler of SIGTERM only calls ``on_kill`` and
    returns, so without one the task would go on for these seconds.
    """

    _is_killed = False

    def _unless_killed(self, guard: Callable[[T], None]) -> Callable[[T], None]:
        """
        Return a guard of requests that also raises once the task is killed, so that it ends like a failed try.

        Nothing is raised where the signal has interrupted the task: that could be within a transaction of the ledger.
        """
        self._is_killed = False

        def check(group: T) -> None:
            if self._is_killed:
                raise OutboundBotError("this task is being ended, so it sends nothing more; its next try continues")
            guard(group)

        return check

    def on_kill(self) -> None:
        """Let the task send nothing more. Airflow tries it again if it has retries and no person ended it."""
        self._is_killed = True
        self.log.warning("This task is being ended: it sends nothing more")

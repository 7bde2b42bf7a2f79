"""The log lines of a wait, each written once; in a triggerer they go to the log of the task that waits."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

log = logging.getLogger(__name__)

#: From this part of a group's results that came from the API, somebody else may be taking the messages.
MANY_RECOVERED = 0.1
#: Used where the cause is not known: if a part of the messages is missing, and if all are.
_ANOTHER_READER = (
    "if that goes on, another program or another ledger reads with the same RocketMQ consumer group: give each its own"
)
_NO_MESSAGE = (
    "check topic, consumer_group and credentials of the rocketmq connection, whether a collector runs, and whether the"
    " service publishes to that topic"
)


class WaitLog:
    """
    The log lines of one wait.

    :param job_group_id: The group.
    :param interval: Seconds between two requests to the API.
    """

    def __init__(self, job_group_id: str, interval: float) -> None:
        self._job_group_id = job_group_id
        self._interval = interval
        self._has_trouble = False
        self._announced: float | None = None
        self._has_warned_of_silence = False

    def trouble(self, error: Exception) -> None:
        """Log that a request failed; it is tried again."""
        if not self._has_trouble:
            log.warning("Job group %s: %s; will look again", self._job_group_id, error)
        self._has_trouble = True

    def works(self) -> None:
        """Log that requests work again after a failure."""
        if self._has_trouble:
            log.info("Job group %s: looking works again", self._job_group_id)
        self._has_trouble = False

    def next_request(self, due: float, seconds: float) -> None:
        """
        Log when the API is asked next.

        :param due: The time by this process's clock, which tells one request from another.
        :param seconds: Seconds until then.
        """
        if due == self._announced or not seconds:
            return
        self._announced = due
        at = datetime.now(UTC) + timedelta(seconds=seconds)
        log.info("Job group %s: the API is asked again at %s", self._job_group_id, f"{at:%H:%M:%S} UTC")

    def late_messages(self, ended: int, known: int) -> None:
        """Log that the service has ended jobs whose results no message has brought yet."""
        log.info(
            "Job group %s: the service has ended %d jobs, and the ledger has %d results; those whose messages are still"
            " missing when the API is asked again are taken from it",
            self._job_group_id,
            ended,
            known,
        )

    def silence(self, counted: Mapping[str, Any], cause: str = "") -> None:
        """
        Warn, once, of a group whose results all came from the API although messages are expected.

        :param counted: The ledger's summary of the group.
        :param cause: What is known to keep messages from coming; empty for nothing.
        """
        if self._has_warned_of_silence or not 0 < counted["recovered"] == counted["completed"]:
            return
        self._has_warned_of_silence = True
        log.warning(
            "Job group %s: no message brought any of its %d results: they came from the API, which is asked every %.0f"
            " s; %s",
            self._job_group_id,
            counted["recovered"],
            self._interval,
            cause or _NO_MESSAGE,
        )

    def recovered(self, counted: Mapping[str, Any], cause: str = "") -> None:
        """
        Warn of a group that has ended if many of its results came from the API although messages are expected.

        :param counted: The ledger's summary of the group.
        :param cause: What is known to keep messages from coming; empty for nothing.
        """
        self.silence(counted, cause)
        if MANY_RECOVERED * counted["total"] < counted["recovered"] < counted["completed"]:
            log.warning(
                "Job group %s: %d of %d results came from the API, for no message told them; %s",
                self._job_group_id,
                counted["recovered"],
                counted["total"],
                cause or _ANOTHER_READER,
            )

"""The log lines of a wait, each written once. In a triggerer they go to the log of the waiting task."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

log = logging.getLogger(__name__)

#: The share of results from the API from which another consumer may be receiving the messages.
MANY_RECOVERED = 0.1
#: Used if the cause is unknown: if some of the messages are missing, and if all are.
_ANOTHER_READER = (
    "if this continues, another program or ledger uses the same RocketMQ consumer group: give each its own"
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
        """Log that a request failed and will be tried again."""
        if not self._has_trouble:
            log.warning("Job group %s: %s; will try again", self._job_group_id, error)
        self._has_trouble = True

    def works(self) -> None:
        """Log that requests work again after a failure."""
        if self._has_trouble:
            log.info("Job group %s: requests succeed again", self._job_group_id)
        self._has_trouble = False

    def next_request(self, due: float, seconds: float) -> None:
        """
        Log the time of the next request to the API.

        :param due: That time by this process's clock, which identifies the request.
        :param seconds: Seconds until then.
        """
        if due == self._announced or not seconds:
            return
        self._announced = due
        at = datetime.now(UTC) + timedelta(seconds=seconds)
        log.info("Job group %s: next request to the API at %s", self._job_group_id, f"{at:%H:%M:%S} UTC")

    def late_messages(self, ended: int, known: int) -> None:
        """Log that the service has ended jobs whose messages have not arrived yet."""
        log.info(
            "Job group %s: the service has ended %d jobs, and the ledger has %d results; results whose messages are"
            " still missing at the next request will be read from the API",
            self._job_group_id,
            ended,
            known,
        )

    def silence(self, counted: Mapping[str, Any], cause: str = "") -> None:
        """
        Warn once if all results of a group came from the API although messages are expected.

        :param counted: The ledger's summary of the group.
        :param cause: Why messages do not arrive; empty if unknown.
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
        Warn if many results of an ended group came from the API although messages are expected.

        :param counted: The ledger's summary of the group.
        :param cause: Why messages do not arrive; empty if unknown.
        """
        self.silence(counted, cause)
        if MANY_RECOVERED * counted["total"] < counted["recovered"] < counted["completed"]:
            log.warning(
                "Job group %s: %d of %d results came from the API and not by a message; %s",
                self._job_group_id,
                counted["recovered"],
                counted["total"],
                cause or _ANOTHER_READER,
            )

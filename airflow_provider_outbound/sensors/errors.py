"""How a sensor fails so that Airflow does not retry it."""

from __future__ import annotations

from airflow.sdk.exceptions import AirflowFailException, AirflowSensorTimeout

from airflow_provider_outbound.exceptions import JobGroupFailedError, JobGroupTimeoutError


class OutboundBotSensorTimeoutError(JobGroupTimeoutError, AirflowSensorTimeout):
    """A sensor timed out. Airflow does not retry a sensor that timed out."""


class OutboundBotGroupCancelledError(JobGroupFailedError, AirflowFailException):
    """Somebody cancelled the job group, so a retry would find the same."""

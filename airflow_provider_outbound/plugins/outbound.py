"""The package's plugin."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin


class OutboundPlugin(AirflowPlugin):
    """Makes the package known to Airflow as a plugin; it adds no pages yet."""

    name = "outbound"

"""The package's plugin."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin


class OutboundPlugin(AirflowPlugin):
    """Registers the package with Airflow as a plugin; it adds no pages."""

    name = "outbound"

"""Apache Airflow provider for phone campaigns with Alibaba Cloud's OutboundBot."""

from __future__ import annotations

__version__ = "0.1.0"

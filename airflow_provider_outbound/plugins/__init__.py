"""What Airflow loads by the entry point ``airflow.plugins``."""

from __future__ import annotations

"""Modules that Airflow loads through the entry point ``airflow.plugins``."""

from __future__ import annotations

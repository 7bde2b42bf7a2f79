"""Campaigns in a real Airflow. A package, so that its Airflow ends with its last test."""

from __future__ import annotations

"""Reconciling the ledger with what the API lists, for tasks that assign and for tasks that wait."""

from __future__ import annotations

from airflow_provider_outbound.core.reconcile.lease import LEASE_SECONDS, Lease, own_name
from airflow_provider_outbound.core.reconcile.listing import GroupReader
from airflow_provider_outbound.core.reconcile.settle import Settled, settle

__all__ = ["LEASE_SECONDS", "GroupReader", "Lease", "Settled", "own_name", "settle"]

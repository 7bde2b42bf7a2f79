"""The ledger brought up to what the API lists, and settled with it: by whoever assigns and by whoever waits."""

from __future__ import annotations

from airflow_provider_outbound.core.reconcile.lease import LEASE_SECONDS, Lease, own_name
from airflow_provider_outbound.core.reconcile.listing import GroupReader
from airflow_provider_outbound.core.reconcile.settle import Settled, settle

__all__ = ["LEASE_SECONDS", "GroupReader", "Lease", "Settled", "own_name", "settle"]

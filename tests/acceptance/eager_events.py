"""For test_call_events.py: small batches that hardly wait, so that a triggerer is killed between any two of them."""

from __future__ import annotations

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, Asset, AssetWatcher

from airflow_provider_outbound.triggers.outboundbot import OutboundBotCallEventTrigger

EVENTS = Asset(
    "eager_events",
    watchers=[
        AssetWatcher(
            name="eager_events",
            trigger=OutboundBotCallEventTrigger(
                subscription="eager_events", event_types=["JobComplete"], batch_size=20, max_wait=2
            ),
        )
    ],
)

# A watcher lives as long as a DAG that is not paused is scheduled on its asset. This one costs no worker.
with DAG("eager_events", schedule=[EVENTS], catchup=False, max_active_runs=1):
    EmptyOperator(task_id="nothing")

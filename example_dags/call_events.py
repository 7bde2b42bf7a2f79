"""
Act on calls while a campaign goes on: every job that completes is an event, and events start this DAG.

The triggerer reads the ledger from the subscription's own cursor, so nothing is missed while it is down. A batch may
come twice after a failure: ``sequence`` is each event's own number. ``OUTBOUND_EXAMPLE_FOLDER`` says where files go.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

from airflow.sdk import Asset, AssetWatcher, dag, get_current_context, task

from airflow_provider_outbound.triggers.outboundbot import OutboundBotCallEventTrigger

FOLDER = os.environ.get("OUTBOUND_EXAMPLE_FOLDER") or str(Path(tempfile.gettempdir(), "outbound-example"))

COMPLETED_JOBS = Asset(
    "outbound_example_completed_jobs",
    watchers=[
        AssetWatcher(
            name="completed_jobs",
            trigger=OutboundBotCallEventTrigger(
                subscription="call_events", event_types=["JobComplete"], batch_size=100, max_wait=10
            ),
        )
    ],
)


@dag(schedule=[COMPLETED_JOBS], catchup=False, max_active_runs=1, tags=["outbound", "example"])
def call_events() -> None:
    """Events of calls → one line a job."""

    @task
    def note() -> dict[str, int]:
        """Write down which jobs completed; put your own reaction here."""
        context = get_current_context()
        events = {
            event["sequence"]: event
            for asset_event in context["triggering_asset_events"][COMPLETED_JOBS]
            for event in asset_event.extra["payload"]["events"]
        }
        run = "".join(character if character.isalnum() else "-" for character in context["run_id"])
        path = Path(FOLDER, f"completed-{run}.jsonl")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(events[number]) + "\n" for number in sorted(events)), encoding="utf-8")
        return {"completed": len(events)}

    note()


call_events()

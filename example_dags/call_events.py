"""
Act on calls during a campaign: every job that completes is an event, and events start this DAG.

The triggerer reads the ledger from the subscription's own cursor, so no event is missed while it is down. A batch may
come twice after a failure; ``sequence`` identifies an event. ``OUTBOUND_EXAMPLE_FOLDER`` sets the folder for files.
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
    """Call events → one line per job."""

    @task
    def note() -> dict[str, int]:
        """Record which jobs completed; put your own reaction here."""
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

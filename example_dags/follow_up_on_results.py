"""
A text message to everybody who did not answer, sent by a DAG that starts when the results are ready.

The campaign's export has an outlet; the event of that asset names the job group. Messages go to an HTTP service
(connection ``text_messages``, package ``apache-airflow-providers-http``) with the reference id in an idempotency key:
a retry may send a message again, and the service drops it. Numbers are read from the ledger and are in no XCom, file or
log. The environment variables of ``nightly_campaign`` apply here too.
"""

from __future__ import annotations

import csv
import os
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import Asset, Param, dag, get_current_context, task

from airflow_provider_outbound import Strategy
from airflow_provider_outbound.hooks.outboundbot import OutboundBotHook
from airflow_provider_outbound.task_groups.outboundbot import OutboundBotCampaignTaskGroup

FOLDER = os.environ.get("OUTBOUND_EXAMPLE_FOLDER") or str(Path(tempfile.gettempdir(), "outbound-example"))
TIMEZONE = os.environ.get("OUTBOUND_EXAMPLE_TIMEZONE") or "Asia/Shanghai"
BEGIN, _, END = (os.environ.get("OUTBOUND_EXAMPLE_WINDOW") or "09:00-12:00").partition("-")

RESULTS = Asset("outbound_example_results")


@dag(
    schedule=None,
    catchup=False,
    default_args={"retries": 2, "retry_delay": timedelta(seconds=30)},
    params={"contacts": Param(40, type="integer", minimum=1, maximum=50, description="Number of contacts")},
    tags=["outbound", "example"],
)
def campaign_with_results() -> None:
    """Contacts → campaign, whose export emits an event when the results are ready."""

    @task
    def write_contacts() -> str:
        """Write the contacts to call; put your own query here."""
        context = get_current_context()
        run = "".join(character if character.isalnum() else "-" for character in context["run_id"])
        path = Path(FOLDER, f"to-follow-up-{run}.csv")
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)  # phone numbers: only for Airflow's own user
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["reference_id", "phone_number"])
            # Reserved for fiction, see nightly_campaign.
            writer.writerows(
                [f"person-{last:03}", f"+121255501{last:02}"] for last in range(50, 50 + context["params"]["contacts"])
            )
        return str(path)

    @task
    def delete_contacts(path: Any) -> None:
        """Delete the list as soon as it is assigned; clearing a task that reads it writes it again."""
        Path(path).unlink(missing_ok=True)

    contacts_path = write_contacts()
    contacts_path.as_setup()
    campaign = OutboundBotCampaignTaskGroup(
        strategy=Strategy(working_time=[(BEGIN, END)], timezone=TIMEZONE, max_attempts_per_day=1),
        contacts_path=contacts_path,
        deferrable=True,
        path=f"{FOLDER}/to-follow-up-{{{{ run_id | replace(':', '-') }}}}.jsonl",
        outlets=[RESULTS],
    )
    campaign.assign >> delete_contacts(contacts_path).as_teardown()


@dag(
    schedule=[RESULTS],
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(seconds=30)},
    tags=["outbound", "example"],
)
def follow_up_on_results() -> None:
    """Results → a text message to everybody who did not answer."""

    @task
    def text_unanswered() -> int:
        """Send the messages; returns their number."""
        from airflow.providers.http.hooks.http import HttpHook

        service = HttpHook(method="POST", http_conn_id="text_messages")
        sent = 0
        for event in get_current_context()["triggering_asset_events"][RESULTS]:
            job_group_id = event.extra["job_group_id"]
            hook = OutboundBotHook()
            with hook.ledger:
                for person in hook.follow_up(job_group_id, "text-message", only="unanswered"):
                    answer = service.run(
                        "messages",
                        json={"to": person.phone_number, "text": "We could not reach you. Call us when it suits you."},
                        headers={"Idempotency-Key": f"{job_group_id}/{person.reference_id}"},
                        # The hook would log the answer, which may repeat the number.
                        extra_options={"check_response": False},
                    )
                    if answer.status_code >= 300:
                        raise RuntimeError(f"{person.reference_id}: the service answered {answer.status_code}")
                    sent += 1
        return sent

    text_unanswered()


campaign_with_results()
follow_up_on_results()

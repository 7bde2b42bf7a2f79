"""
The first hundred contacts as canaries: if too few of them answer, nobody else is called.

Some problems cause no error: a calling number that people take for spam, a script that hangs up. So a hundred contacts
are called, and their answer rate is checked after half an hour at the latest. If it is high enough, the rest are called
in the same job group; those called already are not called again. Otherwise the remaining jobs are suspended and the run
fails, with an e-mail from Airflow's own notifier (connection ``smtp_default``, to ``OUTBOUND_EXAMPLE_ALERT_TO``). Once
the cause is fixed, ``outbound resume GROUP`` resumes the canaries; clear ``wait_first`` to check them again.

The environment variables of ``nightly_campaign`` apply here too.
"""

from __future__ import annotations

import csv
import os
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.providers.smtp.notifications.smtp import SmtpNotifier
from airflow.sdk import CronTriggerTimetable, Param, dag, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_outbound import Strategy
from airflow_provider_outbound.operators.outboundbot import (
    OutboundBotAssignJobsOperator,
    OutboundBotCreateJobGroupOperator,
    OutboundBotExportResultsOperator,
    OutboundBotSuspendJobsOperator,
)
from airflow_provider_outbound.sensors.outboundbot import OutboundBotJobCompleteSensor

FOLDER = os.environ.get("OUTBOUND_EXAMPLE_FOLDER") or str(Path(tempfile.gettempdir(), "outbound-example"))
TIMEZONE = os.environ.get("OUTBOUND_EXAMPLE_TIMEZONE") or "Asia/Shanghai"
BEGIN, _, END = (os.environ.get("OUTBOUND_EXAMPLE_WINDOW") or "09:00-12:00").partition("-")
ALERT_TO = os.environ.get("OUTBOUND_EXAMPLE_ALERT_TO") or "campaigns@example.com"


@dag(
    schedule=CronTriggerTimetable("30 2 * * *", timezone=TIMEZONE),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(seconds=30)},
    params={
        "contacts": Param(130, type="integer", minimum=1, maximum=70_000, description="Number of contacts"),
        "least_answer_rate": Param(
            0.2, type="number", minimum=0, maximum=1, description="Of the first hundred contacts"
        ),
    },
    tags=["outbound", "example"],
)
def canary() -> None:
    """Create → the first hundred → check → the rest → export, or suspend → alert."""

    @task
    def write_contacts() -> str:
        """Write the contacts to call; put your own query here. The first hundred are the canaries."""
        context = get_current_context()
        run = "".join(character if character.isalnum() else "-" for character in context["run_id"])
        path = Path(FOLDER, f"canary-{run}.csv")
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)  # phone numbers: only for Airflow's own user
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["reference_id", "phone_number"])
            # Reserved for fiction, see nightly_campaign.
            for index in range(context["params"]["contacts"]):
                writer.writerow([f"person-{index:05}", f"+1{212 + index // 100}55501{index % 100:02}"])
        return str(path)

    @task
    def delete_contacts(path: Any) -> None:
        """Delete the list as soon as it is assigned; clearing a task that reads it writes it again."""
        Path(path).unlink(missing_ok=True)

    contacts_path = write_contacts()
    contacts_path.as_setup()
    create = OutboundBotCreateJobGroupOperator(
        task_id="create",
        strategy=Strategy(working_time=[(BEGIN, END)], timezone=TIMEZONE, max_attempts_per_day=1),
    )
    assign_first = OutboundBotAssignJobsOperator(
        task_id="assign_first",
        job_group_id=create.output,
        contacts_path=contacts_path,
        max_jobs=100,
        on_invalid="skip",
    )
    wait_first = OutboundBotJobCompleteSensor(
        task_id="wait_first",
        job_group_id=create.output,
        deferrable=True,
        timeout=timedelta(minutes=30),
        on_timeout="partial",
    )

    @task.branch
    def look(summary: Any) -> str:
        """Choose whether to continue."""
        will_do = summary["answer_rate"] >= get_current_context()["params"]["least_answer_rate"]
        return "assign_rest" if will_do else "suspend"

    assign_rest = OutboundBotAssignJobsOperator(
        task_id="assign_rest", job_group_id=create.output, contacts_path=contacts_path, on_invalid="skip"
    )
    wait = OutboundBotJobCompleteSensor(task_id="wait", job_group_id=create.output, deferrable=True)
    export = OutboundBotExportResultsOperator(
        task_id="export",
        job_group_id=create.output,
        path=f"{FOLDER}/canary-{{{{ run_id | replace(':', '-') }}}}.jsonl",
    )
    suspend = OutboundBotSuspendJobsOperator(
        task_id="suspend", job_group_id=create.output, all_jobs=True, deferrable=True
    )

    @task(
        on_failure_callback=[
            SmtpNotifier(
                to=ALERT_TO,
                from_email=ALERT_TO,
                subject="{{ dag.dag_id }}: too few contacts answer",
                html_content="{{ exception }}",
            )
        ],
    )
    def alert(summary: Any) -> None:
        """Fail the run, so that the notifier sends an e-mail."""
        raise AirflowFailException(
            f"{summary['answered']} of {summary['completed']} answered in job group {summary['job_group_id']}; the"
            " remaining jobs are suspended"
        )

    looked = look(wait_first.output)
    assign_first >> wait_first
    looked >> assign_rest >> wait >> export
    [assign_first, assign_rest] >> delete_contacts(contacts_path).as_teardown()
    looked >> suspend >> alert(wait_first.output)


canary()

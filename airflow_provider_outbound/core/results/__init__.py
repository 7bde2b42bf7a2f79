"""
Results of a job group: streamed, filtered, enriched, written; and the recordings of its calls.

One row a job. The columns, their order and their types are the same in every export:

==================  =========  =====================================================================================
column              type       meaning
==================  =========  =====================================================================================
job_group_id        text       The job group; with ``reference_id`` the key of a row.
reference_id        text       Whose result it is: as assigned. ``hmac:`` and a digest where somebody else assigned it
                               under an id that holds a phone number.
job_id              text       The service's id of the job.
outcome             text       ``answered``, ``unanswered``, ``not_dialled`` or ``other``; empty while the job has not
                               ended.
status              text       The service's words: the job's status,
failure_reason      text       why it failed,
call_status         text       and how its last call ended.
answered            boolean    Whether any call was answered.
attempts            integer    How many calls are known.
started_at          timestamp  Begin of the first call, UTC, milliseconds.
ended_at            timestamp  End of the last call.
revision            integer    1, and one more for each time the job completed again.
source              text       Where the status is from: ``message`` or ``api``; empty while nothing is known.
extras              object     The contact's other columns.
tags                object     What the conversation gave for the script's tags or variables; empty until ``enrich``
                               asked for it, as are all that follow. Of the answered call that began last:
call_seconds        number     from dialling to the end,
ringing_seconds     number     until somebody took the call,
talk_seconds        number     and after that.
hang_up_side        text       ``client`` or ``ivr``: the person or the robot.
conversation_end    text       ``FINISHED``, ``CLIENT_HANGUP``, ``TRANSFER_BY_INTENT`` …
phone_number        text       Only if numbers are asked for.
name                text       Only if numbers are asked for.
==================  =========  =====================================================================================

A timestamp is ISO 8601 text in CSV and JSON Lines, a UTC timestamp in Parquet and SQL. An object is one in JSON Lines,
of type JSON in SQL, and JSON text in CSV and Parquet. Unless numbers are asked for, what could be one is masked in
objects.
"""

from __future__ import annotations

from airflow_provider_outbound.core.results.columns import COLUMNS, PERSONAL_COLUMNS
from airflow_provider_outbound.core.results.enrich import enrich
from airflow_provider_outbound.core.results.export import export, export_to_table
from airflow_provider_outbound.core.results.filters import iter_results, needs_details
from airflow_provider_outbound.core.results.recordings import download_recordings

__all__ = [
    "COLUMNS",
    "PERSONAL_COLUMNS",
    "download_recordings",
    "enrich",
    "export",
    "export_to_table",
    "iter_results",
    "needs_details",
]

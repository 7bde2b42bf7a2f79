"""
Results of a job group, streamed, filtered, enriched and exported, and the recordings of its calls.

At the level of jobs there is one row per job. The columns, their order and their types are the same in every export:

==================  =========  =====================================================================================
column              type       meaning
==================  =========  =====================================================================================
job_group_id        text       The job group; together with ``reference_id`` the key of a row.
reference_id        text       The contact's reference id, as assigned; ``hmac:`` and a digest if another program
                               assigned the job under an id that contains a phone number.
job_id              text       The service's id of the job.
outcome             text       ``answered``, ``unanswered``, ``not_dialled`` or ``other``; empty while the job is open.
status              text       The job's status, as the service names it.
failure_reason      text       Why the job failed, as the service names it.
call_status         text       How the job's last call ended, as the service names it.
answered            boolean    Whether any call was answered.
attempts            integer    The number of calls known.
started_at          timestamp  Start of the first call, UTC, milliseconds.
ended_at            timestamp  End of the last call.
revision            integer    1, incremented each time the job completes again.
source              text       Source of the status: ``message`` or ``api``; empty while nothing is known.
extras              object     The contact's other columns.
tags                object     Values of the script's tags or variables from the conversation. This and the following
                               columns are empty until ``enrich`` has fetched them; the following ones describe the
                               answered call that began last.
call_seconds        number     Duration from dialling to the end.
ringing_seconds     number     Duration until the call was answered.
talk_seconds        number     Duration from the answer to the end.
hang_up_side        text       ``client`` or ``ivr``: the person or the robot.
conversation_end    text       ``FINISHED``, ``CLIENT_HANGUP``, ``TRANSFER_BY_INTENT`` …
conversation        object     Only if asked for: what was said in that call, a list of objects with ``speaker``
                               (``Robot`` or ``Contact``), ``text`` and ``at`` (ISO 8601 text).
phone_number        text       Only if phone numbers are included.
name                text       Only if phone numbers are included.
==================  =========  =====================================================================================

At the level of calls there is one row per call, without a row for jobs that were never called:

==================  =========  =====================================================================================
column              type       meaning
==================  =========  =====================================================================================
job_group_id        text       With ``reference_id`` and ``attempt`` the key of a row.
reference_id        text       As above.
job_id              text       As above.
attempt             integer    1 for the job's first known call, and so on.
task_id             text       The service's id of the call; empty if only a listing has reported the call.
status              text       How the call ended, as the service names it.
answered            boolean    Whether it was answered.
planned_at          timestamp  When the service planned it.
started_at          timestamp  When dialling began.
answered_at         timestamp  When it was answered; from the API's ringing time, otherwise from the message.
ended_at            timestamp  When it ended.
ringing_seconds     number     Duration until it was answered, or until it ended.
talk_seconds        number     Duration from the answer to the end.
hang_up_side        text       ``client`` or ``ivr``. This and the following two columns are empty until ``enrich`` has
                               fetched them.
end_reason          text       ``FINISHED``, ``CLIENT_HANGUP``, ``TRANSFER_BY_INTENT`` …
sip_code            text       The SIP status code.
calling_number      text       The number that was called from, masked unless phone numbers are included.
conversation        object     Only if asked for; as above.
phone_number        text       Only if phone numbers are included.
name                text       Only if phone numbers are included.
==================  =========  =====================================================================================

A timestamp is ISO 8601 text in CSV and JSON Lines, a UTC timestamp in Parquet and SQL, and a date with time in Excel,
which means UTC too. An object is an object in JSON Lines, of type JSON in SQL, and JSON text in CSV, Parquet and Excel.
Unless phone numbers are included, anything in an object that could be one is masked. In Excel, text is never a formula,
and ids and numbers are text.
"""

from __future__ import annotations

from airflow_provider_outbound.core.results.columns import COLUMNS, PERSONAL_COLUMNS
from airflow_provider_outbound.core.results.counting import count_tags
from airflow_provider_outbound.core.results.enrich import enrich, lacks_many
from airflow_provider_outbound.core.results.export import check_level, export, export_to_table
from airflow_provider_outbound.core.results.filters import iter_results, needs_details
from airflow_provider_outbound.core.results.recordings import Available, download_available, download_recordings

__all__ = [
    "COLUMNS",
    "PERSONAL_COLUMNS",
    "Available",
    "check_level",
    "count_tags",
    "download_available",
    "download_recordings",
    "enrich",
    "export",
    "export_to_table",
    "iter_results",
    "lacks_many",
    "needs_details",
]

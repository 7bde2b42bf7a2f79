"""Whether a DAG run calls people because of a backfill: its own, or one of the DAG that wrote the list."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_outbound.exceptions import OutboundBotWrongTimeError

if TYPE_CHECKING:
    from airflow.sdk import Context

_BACKFILL = "backfill"


def is_backfill(context: Context) -> bool:
    """Return whether the DAG run belongs to a backfill."""
    return _is_of_backfill(context["dag_run"])


def has_event_of_backfill(context: Context) -> bool:
    """
    Return whether an asset event that triggered the DAG run came from a backfill of another DAG.

    Airflow gives such a run the present time, however old the day is for which the event was made.

    :raises OutboundBotWrongTimeError: Airflow does not say what the event's DAG run was.
    """
    found = context.get("triggering_asset_events") or {}
    sources = {_source(event): event for events in found.values() for event in events}
    return any(run_id is not None and _is_run_of_backfill(run_id, event) for (_, run_id), event in sources.items())


def _source(event: Any) -> tuple[str | None, str | None]:
    """The DAG run that made an event; without a run, a person or another program did."""
    return getattr(event, "source_dag_id", None), getattr(event, "source_run_id", None)


def _is_run_of_backfill(run_id: str, event: Any) -> bool:
    if run_id.startswith(f"{_BACKFILL}__"):
        return True
    # A backfill that runs a scheduled date again keeps the run's id.
    try:
        run = event.source_dag_run
    except Exception as error:
        raise OutboundBotWrongTimeError(
            f"an asset event that triggered this run came from run {run_id} of DAG {event.source_dag_id}, and whether"
            f" that is a backfill cannot be determined ({type(error).__name__}); pass allow_backfill=True to dial"
            " nevertheless. Nobody was called"
        ) from error
    return run is not None and _is_of_backfill(run)


def _is_of_backfill(run: Any) -> bool:
    return str(getattr(run.run_type, "value", run.run_type)) == _BACKFILL

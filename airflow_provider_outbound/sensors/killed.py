"""
What a sensor does when Airflow kills its process.

Airflow calls ``on_kill`` in a handler of SIGTERM, whatever the reason: a person marked the task or cleared it, its
worker is shut down, or the API server is unavailable. It also calls it when the task's ``execution_timeout`` is over.
"""

from __future__ import annotations

import logging
import threading

from airflow_provider_outbound.hooks.outboundbot import OutboundBotHook
from airflow_provider_outbound.hooks.stopping import cancel_unless_ended, explain_uncertainty
from airflow_provider_outbound.triggers.ended_tasks import ENDED, task_state

log = logging.getLogger(__name__)

#: How long the handler waits for the cancellation (seconds): five seconds after SIGTERM, Airflow sends SIGKILL.
PATIENCE = 4.0


def cancel_if_ended(hook: OutboundBotHook, job_group_id: str, instance_id: str | None) -> None:
    """
    Cancel the jobs of a group if a person has ended the running task; log what is left to do if that fails.

    :param hook: A hook that nothing else uses: not that of the task, which the handler has interrupted.
    :param instance_id: The group's bot instance; ``None`` for the ledger's, or else the connection's.
    """
    # In a thread: the interrupted task may hold the lock of Airflow's connection to its supervisor, and cannot release
    # it before this handler returns.
    thread = threading.Thread(
        target=_cancel_if_ended, args=(hook, job_group_id, instance_id), name="outbound-cancel", daemon=True
    )
    thread.start()
    thread.join(PATIENCE)
    if thread.is_alive():
        log.error(explain_uncertainty(job_group_id, "Airflow is about to kill this process"))


def _cancel_if_ended(hook: OutboundBotHook, job_group_id: str, instance_id: str | None) -> None:
    # Neither a missing key of the ledger nor a mistake in the connection's rules may keep calls from being stopped.
    hook.may_call = False
    try:
        state = own_state()
        if state not in ENDED:
            log.info("Job group %s: not cancelled, because no person ended the task (%s)", job_group_id, state)
            return
        cancel_unless_ended(hook, job_group_id, instance_id)
    except Exception as error:  # noqa: BLE001 - nobody else reports it
        log.error(explain_uncertainty(job_group_id, error))  # noqa: TRY400 - its text may contain private data


def own_state() -> str | None:
    """Ask Airflow for the state of the running task; ``None`` if it was cleared or does not exist."""
    from airflow.sdk import get_current_context

    return task_state(get_current_context()["ti"])

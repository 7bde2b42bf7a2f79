"""Whether a person ended a task that waits for a job group."""

from __future__ import annotations

from typing import Any

#: States of a task that has ended. Airflow skips the tasks of a DAG run whose ``dagrun_timeout`` is over.
ENDED = frozenset({"failed", "success", "skipped", "removed", "upstream_failed"})


def task_state(task: Any) -> str | None:
    """
    Ask Airflow for the state of a task. Blocks.

    :param task: The task instance of a running task or trigger.
    :return: ``None`` if the task was cleared or does not exist.
    """
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    states = RuntimeTaskInstance.get_task_states(
        dag_id=task.dag_id, task_ids=[task.task_id], run_ids=[task.run_id], map_index=task.map_index
    )
    found = states.get(task.run_id, {})
    name = task.task_id if task.map_index < 0 else f"{task.task_id}_{task.map_index}"
    state = found.get(name, found.get(task.task_id))
    return None if state is None else str(getattr(state, "value", state))

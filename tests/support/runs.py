"""What tests ask of a run: its tasks, and what they returned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.models import DagRun
    from airflow.models.taskinstance import TaskInstance


def task_of(run: DagRun, task_id: str, *, map_index: int = -1) -> TaskInstance:
    """The instance of a task in a run, which must have one."""
    found = run.get_task_instance(task_id, map_index=map_index)
    assert found is not None, task_id
    return found


def xcom(run: DagRun, task_id: str, *, map_index: int = -1) -> Any:
    """What a task returned."""
    return task_of(run, task_id, map_index=map_index).xcom_pull(task_ids=task_id, map_indexes=map_index)

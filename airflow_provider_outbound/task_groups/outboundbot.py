"""A whole campaign as one group of tasks."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from airflow.sdk import BaseOperator, BaseSensorOperator, TaskGroup

from airflow_provider_outbound.exceptions import OutboundBotConfigError
from airflow_provider_outbound.operators.outboundbot import (
    OutboundBotAssignJobsOperator,
    OutboundBotCreateJobGroupOperator,
    OutboundBotExportResultsOperator,
)
from airflow_provider_outbound.sensors.outboundbot import OutboundBotJobCompleteSensor

#: Tasks by their ids, in their order.
_TASKS: Mapping[str, type[BaseOperator]] = {
    "create": OutboundBotCreateJobGroupOperator,
    "assign": OutboundBotAssignJobsOperator,
    "wait": OutboundBotJobCompleteSensor,
    "export": OutboundBotExportResultsOperator,
}
#: Arguments that two tasks know and one is meant, and those that Airflow's own base class takes.
_ONE_TASKS = {"strategy": "create", "calling_numbers": "create", "outlets": "export"}


class OutboundBotCampaignTaskGroup(TaskGroup):
    """
    Create a job group, assign contacts to it, wait for the last call, export what came of it.

    Takes every argument of :class:`OutboundBotCreateJobGroupOperator`, :class:`OutboundBotAssignJobsOperator`,
    :class:`OutboundBotJobCompleteSensor` and :class:`OutboundBotExportResultsOperator` except ``job_group_id``, and
    gives each to the tasks that know it: ``instance_id`` to all four, ``max_run_age`` to those that call people.
    ``strategy`` and ``calling_numbers`` are the job group's. What every task of Airflow takes (``retries``, ``pool`` …)
    goes into ``default_args``; ``outlets`` are the export's.

    The tasks are the attributes :attr:`create`, :attr:`assign`, :attr:`wait` and :attr:`export`. Inside a mapped
    ``@task_group`` the templated arguments may be that group's; give each a ``path`` of its own, for example with
    ``{{ ti.map_index }}`` in it.

    :param group_id: Id of this group; its tasks' ids begin with it.
    :param default_args: Arguments of all four tasks, as in a DAG.
    :param options: As said, and what Airflow's ``TaskGroup`` takes.
    :raises OutboundBotConfigError: none of them knows an argument.
    """

    create: OutboundBotCreateJobGroupOperator
    assign: OutboundBotAssignJobsOperator
    wait: OutboundBotJobCompleteSensor
    export: OutboundBotExportResultsOperator

    def __init__(
        self, group_id: str = "campaign", *, default_args: Mapping[str, Any] | None = None, **options: Any
    ) -> None:
        of_tasks = {task_id: _arguments(kind) for task_id, kind in _TASKS.items()}
        of_group = options.keys() & inspect.signature(TaskGroup).parameters.keys()
        unknown = options.keys() - of_group - _ONE_TASKS.keys() - set().union(*of_tasks.values())
        if unknown:
            raise OutboundBotConfigError(
                f"{group_id}: {', '.join(sorted(unknown))}: no task of a campaign takes this; what all tasks take goes"
                " into default_args"
            )
        own: dict[str, Any] = {"default_args": dict(default_args or {}), **{name: options[name] for name in of_group}}
        super().__init__(group_id=group_id, **own)
        with self:
            for task_id, kind in _TASKS.items():
                known = {
                    name: value
                    for name, value in options.items()
                    if (_ONE_TASKS[name] == task_id if name in _ONE_TASKS else name in of_tasks[task_id])
                }
                if task_id != "create":
                    known["job_group_id"] = self.create.output
                setattr(self, task_id, kind(task_id=task_id, **known))
            self.assign >> self.wait >> self.export


def _arguments(kind: type[BaseOperator]) -> set[str]:
    """Names of the arguments that one of our classes takes, without those of Airflow's base classes."""
    names: set[str] = set()
    for part in kind.__mro__:
        if part in (BaseOperator, BaseSensorOperator):
            break
        parameters = inspect.signature(part).parameters.values()
        names |= {parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY}
    return names - {"job_group_id"}

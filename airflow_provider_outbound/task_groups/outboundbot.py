"""A complete campaign as one task group."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from airflow.sdk import BaseOperator, BaseSensorOperator, TaskGroup

from airflow_provider_outbound.exceptions import OutboundBotConfigError
from airflow_provider_outbound.operators.literals import NOT_GIVEN
from airflow_provider_outbound.operators.outboundbot import (
    OutboundBotAssignJobsOperator,
    OutboundBotCreateJobGroupOperator,
    OutboundBotExportResultsOperator,
)
from airflow_provider_outbound.sensors.outboundbot import OutboundBotJobCompleteSensor

#: Tasks by id, in order.
_TASKS: Mapping[str, type[BaseOperator]] = {
    "create": OutboundBotCreateJobGroupOperator,
    "assign": OutboundBotAssignJobsOperator,
    "wait": OutboundBotJobCompleteSensor,
    "export": OutboundBotExportResultsOperator,
}
#: Arguments that several tasks or Airflow's base class accept, each with the one task that gets it.
_ONE_TASKS = {"strategy": "create", "calling_numbers": "create", "outlets": "export"}


class OutboundBotCampaignTaskGroup(TaskGroup):
    """
    Create a job group, assign contacts to it, wait for the last call and export the results.

    Accepts every argument of :class:`OutboundBotCreateJobGroupOperator`, :class:`OutboundBotAssignJobsOperator`,
    :class:`OutboundBotJobCompleteSensor` and :class:`OutboundBotExportResultsOperator` except ``job_group_id``, and
    passes each to the tasks that accept it: ``instance_id`` to all four, ``max_run_age`` to those that call people.
    ``strategy`` and ``calling_numbers`` are passed to the job group only, ``outlets`` to the export only. Put arguments
    that every Airflow task accepts (``retries``, ``pool`` …) into ``default_args``.

    The tasks are the attributes :attr:`create`, :attr:`assign`, :attr:`wait` and :attr:`export`. Inside a mapped
    ``@task_group``, templated arguments may use that group's arguments; give each instance its own ``path``, for
    example with ``{{ ti.map_index }}`` in it.

    ``only`` selects the rows of the export. With ``contacts_from`` it selects whom to call again; then ``export_only``
    must be given too, and selects the rows of the export: ``None`` for all.

    :param group_id: Id of this group, and prefix of its tasks' ids.
    :param default_args: Arguments of all four tasks, as in a DAG.
    :param export_only: Rows of the export, as in ``only`` of :class:`OutboundBotExportResultsOperator`; default:
        ``only``.
    :param options: Arguments of the tasks, as described above, and of Airflow's ``TaskGroup``.
    :raises OutboundBotConfigError: an argument is unknown to all of them, or would mean two things.
    """

    create: OutboundBotCreateJobGroupOperator
    assign: OutboundBotAssignJobsOperator
    wait: OutboundBotJobCompleteSensor
    export: OutboundBotExportResultsOperator

    def __init__(
        self,
        group_id: str = "campaign",
        *,
        default_args: Mapping[str, Any] | None = None,
        export_only: Any = NOT_GIVEN,
        **options: Any,
    ) -> None:
        of_tasks = {task_id: _arguments(kind) for task_id, kind in _TASKS.items()}
        of_group = options.keys() & inspect.signature(TaskGroup).parameters.keys()
        unknown = options.keys() - of_group - _ONE_TASKS.keys() - set().union(*of_tasks.values())
        if unknown:
            raise OutboundBotConfigError(
                f"{group_id}: {', '.join(sorted(unknown))}: no task of a campaign accepts this; put arguments that"
                " every Airflow task accepts into default_args"
            )
        _refuse_two_meanings(group_id, options, export_only)
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
                if task_id == "export" and export_only is not NOT_GIVEN:
                    known["only"] = export_only
                setattr(self, task_id, kind(task_id=task_id, **known))
            self.assign >> self.wait >> self.export


def _arguments(kind: type[BaseOperator]) -> set[str]:
    """Return the names of the arguments of one of our classes, without those of Airflow's base classes."""
    names: set[str] = set()
    for part in kind.__mro__:
        if part in (BaseOperator, BaseSensorOperator):
            break
        parameters = inspect.signature(part).parameters.values()
        names |= {parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY}
    return names - {"job_group_id"}


def _refuse_two_meanings(group_id: str, options: Mapping[str, Any], export_only: Any) -> None:
    """
    Refuse arguments of which the assignment and the export would each make something else.

    :raises OutboundBotConfigError: ``only``, or one path for a list and for the results.
    """
    if export_only is NOT_GIVEN and "only" in options and options.get("contacts_from") is not None:
        raise OutboundBotConfigError(
            f"{group_id}: only: with contacts_from, it would select both whom to call again and which results to"
            " export; pass export_only too: None to export all, or the results to export. Nobody was called"
        )
    path = options.get("path")
    for name in ("contacts_path", "exclude_path"):
        if path is not None and str(options.get(name)) == str(path):
            raise OutboundBotConfigError(
                f"{group_id}: path: it is the {name} too, so the results would replace that list; give another path."
                " Nobody was called"
            )

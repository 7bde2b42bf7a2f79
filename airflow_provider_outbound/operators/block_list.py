"""The operator that puts people who asked not to be called on the service's block list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowSkipException

from airflow_provider_outbound.arguments import named_group
from airflow_provider_outbound.core.models.words import count_of
from airflow_provider_outbound.exceptions import (
    NOTHING_WAS_CHANGED,
    OutboundBotConfigError,
    OutboundBotContactsError,
)
from airflow_provider_outbound.operators.base import OutboundBotOperator
from airflow_provider_outbound.operators.open_jobs import warn_of_open_jobs

if TYPE_CHECKING:
    from airflow.sdk import Context


class OutboundBotSaveContactBlockListOperator(OutboundBotOperator):
    """
    Put people of a job group on the bot instance's block list, so that the service does not call them again.

    The number of each job is sent once, however often the task is tried. Existing entries of the block list stay.
    Numbers go only from the ledger to the API. From then on, follow-ups with ``unanswered`` and ``contacts_from`` leave
    these people out, for all bot instances, until ``outbound ledger allow`` reverses that.

    :param job_group_id: The group, or the return value of another task of this provider.
    :param only: Select jobs that ended with this outcome, status, failure reason, call status or tag, as in
        ``OutboundBotExportResultsOperator``.
    :param remark: Shown next to the numbers in the console.
    :return: ``job_group_id``, ``saved`` (the number of jobs whose numbers this try sent).
    """

    template_fields: Sequence[str] = ("job_group_id", "only", "remark", "instance_id", "outboundbot_conn_id")
    complete_fields = ("only",)
    ending = NOTHING_WAS_CHANGED
    ui_color = "#fbe9e7"

    def __init__(self, *, job_group_id: Any, only: str, remark: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.job_group_id = job_group_id
        self.only = only
        self.remark = remark

    def execute(self, context: Context) -> dict[str, Any]:  # noqa: ARG002 - Airflow's signature
        """Send the numbers."""
        from airflow_provider_outbound.core.follow_up import save_block_list

        job_group_id = named_group(self.job_group_id)
        if not self.only:
            raise OutboundBotConfigError("only: empty; select whom to block, by a value of their results")
        if self.hook.dry_run:
            raise AirflowSkipException("dry run: nothing was sent")
        with self.hook as hook:
            record = hook.ledger.groups.get(job_group_id)
            warn_of_open_jobs(hook.ledger, job_group_id, "what this task puts on the block list")
            result = save_block_list(
                hook.client,
                hook.ledger,
                job_group_id,
                only=self.only,
                remark=self.remark,
                instance_id=self.instance_id or (record.instance_id if record else None),
            )
        self.log.info("Job group %s: %s put on the block list", job_group_id, count_of(result.saved, "number"))
        if result.forgotten:
            self.log.warning(
                "Job group %s: %s erased from the ledger since, so their numbers are not known here",
                job_group_id,
                count_of(result.forgotten, "person was", "persons were"),
            )
        reasons = []
        if result.undecryptable:
            reasons.append(
                f"{result.undecryptable} because the ledger cannot decrypt their numbers: add the key they were"
                " encrypted with to [outbound] ledger_key and clear this task"
            )
        if result.unnamed:
            reasons.append(
                f"{result.unnamed} because another program assigned them and the service does not show their numbers:"
                " put them on the list in the console"
            )
        if reasons:
            # Raised and not only logged, because people who asked not to be called would be called again.
            missing = count_of(result.undecryptable + result.unnamed, "person is", "people are")
            raise OutboundBotContactsError(
                f"job group {job_group_id}: {missing} not on the block list, {'; '.join(reasons)}"
            )
        return {"job_group_id": job_group_id, "saved": result.saved}

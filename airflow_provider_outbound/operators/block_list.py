"""The operator that puts those on the block list who asked not to be called."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowSkipException

from airflow_provider_outbound.arguments import named_group
from airflow_provider_outbound.exceptions import OutboundBotConfigError, OutboundBotContactsError
from airflow_provider_outbound.operators.base import OutboundBotOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class OutboundBotSaveContactBlockListOperator(OutboundBotOperator):
    """
    Put people of a job group on the bot instance's block list: the service calls them no more.

    Every number is sent once, however often the task is tried; what the block list holds already stays. Numbers go
    from the ledger to the API, and nowhere else. Follow-ups of the unanswered and ``contacts_from`` leave these people
    out from then on, whichever bot is to call, until ``outbound ledger allow`` takes it back.

    :param job_group_id: The group, or what another of our tasks returned.
    :param only: Who: jobs that ended with this outcome, status, failure reason, call status or tag, as in
        ``OutboundBotExportResultsOperator``.
    :param remark: Shown beside the numbers in the console.
    :return: ``job_group_id``, ``saved`` (numbers sent now).
    """

    template_fields: Sequence[str] = ("job_group_id", "only", "remark", "instance_id", "outboundbot_conn_id")
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
            raise OutboundBotConfigError("only: empty; say whom to block, by the value that their results have")
        if self.hook.dry_run:
            raise AirflowSkipException("dry run: nothing was sent")
        with self.hook as hook:
            record = hook.ledger.groups.get(job_group_id)
            result = save_block_list(
                hook.client,
                hook.ledger,
                job_group_id,
                only=self.only,
                remark=self.remark,
                instance_id=self.instance_id or (record.instance_id if record else None),
            )
        self.log.info("Job group %s: %d numbers put on the block list", job_group_id, result.saved)
        if result.without_number:
            # Not only logged: whoever asked not to be called would be called again.
            raise OutboundBotContactsError(
                f"job group {job_group_id}: {result.without_number} people are not on the block list, because the"
                " ledger cannot tell their numbers; add the key they were encrypted with to [outbound] ledger_key, or"
                " put them on the list in the console"
            )
        return {"job_group_id": job_group_id, "saved": result.saved}

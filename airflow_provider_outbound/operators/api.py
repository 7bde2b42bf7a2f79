"""The operator that performs any action of the API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowSkipException

from airflow_provider_outbound.arguments import check_flags
from airflow_provider_outbound.exceptions import OutboundBotConfigError, before_changing
from airflow_provider_outbound.operators.base import (
    MAX_RUN_AGE,
    MaskedContacts,
    OutboundBotOperator,
    mask_contacts,
    run_guard,
)

if TYPE_CHECKING:
    from airflow.sdk import Context


class MaskedParameters(MaskedContacts):
    """Hides the values of parameters, which may be numbers, names or keys: Airflow sees only their names."""

    def __repr__(self) -> str:
        if not isinstance(self.items, Mapping):
            return f"<parameters: {type(self.items).__name__}>"
        from airflow_provider_outbound.core.models.phone import redact

        return f"<parameters: {', '.join(redact(str(name)) for name in self.items) or 'none'}>"

    __str__ = __repr__


class OutboundBotCallApiOperator(OutboundBotOperator):
    """
    Perform any action of the API, e.g. publish a script or list intents.

    Actions that may dial people, or change whom, when or from which number the service calls, are refused: the other
    operators keep the promises about people for them. ``allow_dialling=True`` sends them nevertheless: then the ledger
    does not know whom they call, and exclusions and limits of this provider do not apply. The connection's calling
    hours do, and so do the rules about late runs and backfills. The task must have no retries; clearing it sends the
    action again.

    Airflow shows and stores only the parameters' names. The return value is the answer without numbers, personal data,
    secrets and the queries of URLs; ``OutboundBotHook.call`` returns the whole answer to a task of your own.

    :param action: Name of the action, e.g. ``PublishScript``.
    :param parameters: By their names in the API's documentation, e.g. ``{"ScriptId": "…"}``. Lists are sent as numbered
        items, and JSON parameters take JSON text or the value itself. ``InstanceId`` defaults to the connection's.
    :param allow_dialling: Whether an action may be sent that may dial people.
    :param max_run_age: How long after the time that the DAG run stands for such an action may still be sent; see
        :func:`~airflow_provider_outbound.operators.base.run_at`.
    :param allow_backfill: Whether a backfill may send such an action.
    :return: The answer of the API, masked.
    """

    template_fields: Sequence[str] = ("action", "parameters", "instance_id", "outboundbot_conn_id")
    veiled_fields = ("parameters",)
    veil = MaskedParameters
    ui_color = "#eceff1"

    def __init__(
        self,
        *,
        action: str,
        parameters: Any = None,
        allow_dialling: bool = False,
        max_run_age: timedelta = MAX_RUN_AGE,
        allow_backfill: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.action = action
        self.parameters = mask_contacts(parameters, MaskedParameters)
        self.allow_dialling = allow_dialling
        self.max_run_age = max_run_age
        self.allow_backfill = allow_backfill
        self.depend_on(parameters)

    def execute(self, context: Context) -> dict[str, Any]:
        """Send the request."""
        check_flags(self, "allow_dialling", "allow_backfill")
        from airflow_provider_outbound.core.client import ActionGuard
        from airflow_provider_outbound.core.client.guard import may_dial, only_stops
        from airflow_provider_outbound.core.client.masking import masked_answer

        # Before the connection is looked up, and before a dry run skips the task.
        ActionGuard().check(self.action, allow_dialling=self.allow_dialling)
        if may_dial(self.action) and self.retries:
            raise OutboundBotConfigError(
                f"retries: {self.retries}, and {self.action} sent twice may call people twice; pass retries=0."
                " Nothing was changed"
            )
        parameters = self._parameters()
        if self.hook.dry_run:
            raise AirflowSkipException("dry run: nothing was sent")
        if may_dial(self.action) and not only_stops(self.action):
            with before_changing():
                run_guard(self, context).check_run(datetime.now(UTC))
        with self.hook as hook:
            answer = hook.call(self.action, allow_dialling=self.allow_dialling, **parameters)
        self.log.info("%s succeeded (request %s)", self.action, masked_answer(answer).get("RequestId"))
        return masked_answer(answer)

    def _parameters(self) -> dict[str, Any]:
        veiled = self.parameters
        given = veiled.items if isinstance(veiled, MaskedContacts) else veiled
        if given is None:
            given = {}
        if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given):
            raise OutboundBotConfigError(
                f"parameters: a {type(given).__name__}; give a dictionary with names of parameters. Nothing was changed"
            )
        return ({"InstanceId": self.instance_id} if self.instance_id else {}) | dict(given)

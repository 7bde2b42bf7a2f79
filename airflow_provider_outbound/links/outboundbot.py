"""A link from a task's page to the OutboundBot console."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from airflow.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey

#: Source: the product's documentation, which names no page for a single job group.
CONSOLE = "https://outboundbot.console.aliyun.com/"


class OutboundBotConsoleLink(BaseOperatorLink):
    """
    The OutboundBot console, with the job group's id in the address.

    Alibaba Cloud documents only the console's own address, so the link leads to its start page. Instance and job group
    are in the query, to be copied into the console's search. The link is created when the task ends, from its
    arguments and its return value; it is empty if the task has no job group.
    """

    name = "OutboundBot console"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        given = getattr(operator, "job_group_id", None)
        if given is None:
            from airflow.sdk.execution_time.xcom import XCom

            given = XCom.get_value(ti_key=ti_key, key="return_value")
        found = dict(given) if isinstance(given, Mapping) else {"job_group_id": given}
        return console_url(
            found.get("job_group_id"), getattr(operator, "instance_id", None) or found.get("instance_id")
        )


def console_url(job_group_id: Any, instance_id: Any) -> str:
    """Return the console's address for a job group; empty without one."""
    if not job_group_id or not isinstance(job_group_id, str):
        return ""
    named = {"instanceId": instance_id} if instance_id else {}
    return f"{CONSOLE}?{urlencode({**named, 'jobGroupId': job_group_id})}"

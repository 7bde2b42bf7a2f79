"""Job groups that no longer exist at the service: nobody can be called from them."""

from __future__ import annotations

from collections.abc import Sequence

from airflow_provider_outbound.exceptions import OutboundBotNotFoundError


def does_not_exist(error: Exception) -> bool:
    """Whether the API knows no such job group; so it answers about a job group of another account, too."""
    return isinstance(error, OutboundBotNotFoundError) and error.code.startswith("NotExist.JobGroup")


def describe_gone(group_ids: Sequence[str]) -> str:
    """Describe in one line the job groups of the ledger that do not exist at the service."""
    count = len(group_ids)
    what = "1 job group no longer exists" if count == 1 else f"{count} job groups no longer exist"
    whose = "its connection belongs" if count == 1 else "their connections belong"
    return f"{what} at the service: {', '.join(group_ids)}. This is also reported if {whose} to another account"

"""
The inputs and outputs of a task for OpenLineage: contacts → job group → results.

It reports the names of files and job groups, not their contents. Airflow's OpenLineage provider causes the import.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowSkipException

from airflow_provider_outbound.arguments import as_path, named_group
from airflow_provider_outbound.exceptions import OutboundBotConfigError

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage
    from airflow.sdk import BaseOperator

#: Namespace of job groups, whose ids are globally unique.
NAMESPACE = "outboundbot"


def lineage(operator: BaseOperator, returned: Any) -> OperatorLineage[Any, Any]:
    """
    Return the inputs and outputs of a finished task.

    :param returned: Its return value, the only place where a task that created a group has its id.
    """
    from airflow.providers.common.compat.openlineage.facet import Dataset
    from airflow.providers.openlineage.extractors import OperatorLineage

    try:
        group = [Dataset(namespace=NAMESPACE, name=named_group(getattr(operator, "job_group_id", returned)))]
    except (OutboundBotConfigError, AirflowSkipException):
        return OperatorLineage()
    read = [Dataset(*_name(path)) for path in (getattr(operator, "contacts_path", None),) if path is not None]
    written = [Dataset(*_name(path)) for path in (getattr(operator, "path", None),) if path is not None]
    return OperatorLineage(inputs=group if written else read, outputs=written or group)


def _name(value: Any) -> tuple[str, str]:
    """Return OpenLineage's namespace and name of a file: ``file`` and the path, or ``s3://bucket`` and the key."""
    path = as_path(value, "path")
    if isinstance(path, Path):
        return "file", str(path.absolute())
    scheme, _, rest = str(path).partition("://")
    # A connection id may precede the bucket: s3://conn_id@bucket/key
    bucket, _, key = rest.rpartition("@")[2].partition("/")
    return f"{scheme}://{bucket}", key

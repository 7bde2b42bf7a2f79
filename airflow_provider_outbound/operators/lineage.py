"""
The inputs and outputs of a task for OpenLineage: contacts → job group → results.

It reports the names of files, tables and job groups, not their contents. Airflow's OpenLineage provider causes the
import.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowSkipException

from airflow_provider_outbound.arguments import as_path, named_group
from airflow_provider_outbound.exceptions import OutboundBotConfigError

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage
    from airflow.sdk import BaseOperator

log = logging.getLogger(__name__)

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
    statement = getattr(operator, "contacts_sql", None)
    if statement:
        read += _tables(operator, str(statement))[0]
    table = getattr(operator, "table", None)
    if table:
        # Parsed for the name, which the rules of its database complete; not executed.
        written += _tables(operator, f"INSERT INTO {table} (reference_id) VALUES (1)")[1]  # noqa: S608 - not executed
    is_export = written or table
    return OperatorLineage(inputs=group if is_export else read, outputs=written if is_export else group)


def _tables(operator: BaseOperator, statement: str) -> tuple[list[Any], list[Any]]:
    """
    Return the tables that a statement reads and writes; none if the provider of the database cannot name them.

    The statement is only parsed. Columns are left out.
    """
    from airflow.providers.common.compat.openlineage.facet import Dataset
    from airflow.providers.openlineage.sqlparser import get_openlineage_facets_with_sql
    from airflow.sdk import BaseHook

    sql_conn_id = str(getattr(operator, "sql_conn_id", None))
    try:
        hook: Any = BaseHook.get_hook(sql_conn_id)
        found = get_openlineage_facets_with_sql(hook, statement, sql_conn_id, None, use_connection=False)
    except Exception as error:  # noqa: BLE001 - providers raise anything, and the job group must be reported
        log.info("The tables of connection %r are not reported: %s", sql_conn_id, type(error).__name__)
        return [], []
    if found is None:
        return [], []
    read, written = (
        [Dataset(namespace=each.namespace, name=each.name) for each in part] for part in (found.inputs, found.outputs)
    )
    return read, written


def _name(value: Any) -> tuple[str, str]:
    """Return OpenLineage's namespace and name of a file: ``file`` and the path, or ``s3://bucket`` and the key."""
    path = as_path(value, "path")
    if isinstance(path, Path):
        return "file", str(path.absolute())
    scheme, _, rest = str(path).partition("://")
    # A connection id may precede the bucket: s3://conn_id@bucket/key
    bucket, _, key = rest.rpartition("@")[2].partition("/")
    return f"{scheme}://{bucket}", key

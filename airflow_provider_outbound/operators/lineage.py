"""
The inputs and outputs of a task for OpenLineage: contacts → job group → results.

It reports the names of files, tables and job groups, not their contents. Airflow's OpenLineage provider causes the
import.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowSkipException

from airflow_provider_outbound.arguments import as_path, named_group
from airflow_provider_outbound.exceptions import OutboundBotConfigError
from airflow_provider_outbound.operators.assets import maxcompute_name
from airflow_provider_outbound.operators.maxcompute import is_maxcompute

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
    sql_conn_id = getattr(operator, "sql_conn_id", None)
    contacts_conn_id = getattr(operator, "contacts_conn_id", None) or sql_conn_id
    statement = getattr(operator, "contacts_sql", None)
    if statement:
        read += _tables(contacts_conn_id, str(statement))[0]
    source = getattr(operator, "contacts_table", None)
    if source:
        read += _of_maxcompute(contacts_conn_id, lambda: [str(source)])
    table = getattr(operator, "table", None)
    if table:
        # Parsed for the name, which the rules of its database complete; not executed.
        written += _tables(sql_conn_id, f"INSERT INTO {table} (reference_id) VALUES (1)")[1]  # noqa: S608 - not executed
    is_export = written or table
    return OperatorLineage(inputs=group if is_export else read, outputs=written if is_export else group)


def _tables(conn_id: Any, statement: str) -> tuple[list[Any], list[Any]]:
    """
    Return the tables that a statement reads and writes; none if the provider of the database cannot name them.

    The statement is only parsed. Columns are left out.
    """
    from airflow.providers.common.compat.openlineage.facet import Dataset
    from airflow.providers.openlineage.sqlparser import get_openlineage_facets_with_sql
    from airflow.sdk import BaseHook

    sql_conn_id = str(conn_id)
    try:
        if is_maxcompute(sql_conn_id):
            return _of_maxcompute(sql_conn_id, lambda: _names_in(statement)), []
        hook: Any = BaseHook.get_hook(sql_conn_id)
        found = get_openlineage_facets_with_sql(hook, statement, sql_conn_id, None, use_connection=False)
    except Exception as error:  # noqa: BLE001 - providers raise anything, and the job group must be reported
        _pass_over(sql_conn_id, error)
        return [], []
    if found is None:
        return [], []
    read, written = (
        [Dataset(namespace=each.namespace, name=each.name) for each in part] for part in (found.inputs, found.outputs)
    )
    return read, written


def _of_maxcompute(conn_id: Any, find_names: Callable[[], list[str]]) -> list[Any]:
    """Return tables in MaxCompute; none if they cannot be named."""
    from airflow.providers.common.compat.openlineage.facet import Dataset
    from airflow.sdk import BaseHook

    try:
        project = BaseHook.get_connection(str(conn_id)).extra_dejson.get("project")
        return [Dataset(*maxcompute_name(project, name)) for name in find_names()]
    except Exception as error:  # noqa: BLE001 - as above
        _pass_over(conn_id, error)
        return []


def _names_in(statement: str) -> list[str]:
    """Return the tables that a statement reads. MaxCompute's SQL is an extension of Hive's."""
    from airflow.providers.openlineage.sqlparser import SQLParser

    found = SQLParser(dialect="hive").parse([statement])
    return sorted(table.qualified_name for table in found.in_tables) if found is not None else []


def _pass_over(conn_id: Any, error: Exception) -> None:
    log.info("The tables of connection %r are not reported: %s", conn_id, type(error).__name__)


def _name(value: Any) -> tuple[str, str]:
    """Return OpenLineage's namespace and name of a file: ``file`` and the path, or ``s3://bucket`` and the key."""
    path = as_path(value, "path")
    if isinstance(path, Path):
        return "file", str(path.absolute())
    scheme, _, rest = str(path).partition("://")
    # A connection id may precede the bucket: s3://conn_id@bucket/key
    bucket, _, key = rest.rpartition("@")[2].partition("/")
    return f"{scheme}://{bucket}", key

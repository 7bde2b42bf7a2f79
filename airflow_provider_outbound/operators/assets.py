"""
The assets that tasks write, by the URIs that other providers use for the same files and tables.

Airflow imports this module for assets with the schemes ``oss`` and ``maxcompute``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from airflow_provider_outbound.arguments import as_path

if TYPE_CHECKING:
    from airflow.providers.common.compat.openlineage.facet import Dataset
    from airflow.sdk import Asset, BaseOperator, Context
    from sqlalchemy import Connection

#: By SQLAlchemy's name of a database: the scheme of its assets, its default port, and whether a schema is part of the
#: path. Those of Airflow's providers for PostgreSQL and MySQL.
_DATABASES = {
    "postgresql": ("postgres", 5432, True),
    "mysql": ("mysql", 3306, False),
    "mariadb": ("mysql", 3306, False),
}


def report_to_outlets(operator: BaseOperator, context: Context, result: Mapping[str, Any], uri: str | None) -> None:
    """
    Put a task's result into the asset events of its outlets.

    :param uri: The URI of what was written, the asset of which an outlet that is an alias gets an event; ``None`` if it
        has none, and then an alias gets no event.
    """
    from airflow.sdk import Asset, AssetAlias

    for outlet in operator.outlets:
        event = context["outlet_events"][outlet]
        if not isinstance(outlet, AssetAlias):
            event.extra.update(result)
        elif uri is not None:
            event.add(Asset(uri), extra=dict(result))
        else:
            operator.log.warning(
                "outlets: alias %r gets no event, because assets of this database have no URI; name an Asset instead",
                outlet.name,
            )


def path_uri(path: Any) -> str:
    """Return the URI of a file or folder: ``file:///…``, or for an object store the path as the author wrote it."""
    found = as_path(path, "path")
    return f"file://{quote(str(found.absolute()))}" if isinstance(found, Path) else str(found)


def table_uri(connection: Connection, table: str) -> str | None:
    """
    Return the URI of a table: ``postgres://host:5432/database/schema/table``, ``mysql://host:3306/database/table``.

    :param table: ``table`` or ``schema.table``.
    :return: ``None`` if assets of this database have no URI, or the connection names no host or no database.
    """
    dialect, url = connection.dialect, connection.engine.url
    if dialect.name not in _DATABASES or not url.host or not url.database:
        return None
    scheme, port, has_schema = _DATABASES[dialect.name]
    schema, _, name = table.rpartition(".")
    if has_schema:
        parts = [url.database, schema or dialect.default_schema_name or "default", name]
    else:
        # MySQL calls a database a schema.
        parts = [schema or url.database, name]
    host = f"[{url.host}]" if ":" in url.host else url.host
    return f"{scheme}://{host}:{url.port or port}/{'/'.join(quote(part, safe='') for part in parts)}"


def create_oss_asset(*, bucket: str, key: str, extra: dict[str, Any] | None = None) -> Asset:
    """
    Make the asset of an object in OSS.

    :param bucket: The bucket, which a connection may precede: ``conn_id@bucket``.
    """
    from airflow.sdk import Asset

    return Asset(f"oss://{bucket}/{key}", extra=extra)


def convert_oss_asset_to_openlineage(asset: Asset, _lineage_context: Any) -> Dataset:
    """Return OpenLineage's name of an object in OSS, without the connection that the URI may contain."""
    from airflow.providers.common.compat.openlineage.facet import Dataset

    parts = urlsplit(asset.uri)
    return Dataset(namespace=f"oss://{parts.netloc.rpartition('@')[2]}", name=parts.path.lstrip("/"))


def maxcompute_name(project: str | None, table: str) -> tuple[str, str]:
    """
    Return OpenLineage's namespace and name of a table in MaxCompute.

    OpenLineage has no convention for MaxCompute. Its projects have names that are unique among all accounts, as those
    of BigQuery are, so that the convention for BigQuery is followed.

    :param project: The connection's project.
    :param table: ``name``, ``project.name`` or ``project.schema.name``.
    :raises ValueError: neither names a project.
    """
    name = table.strip().replace("`", "")
    if "." not in name:
        if not project:
            raise ValueError("the connection names no project")
        name = f"{project}.{name}"
    return "maxcompute", name


def create_maxcompute_asset(
    *, project: str, table: str, schema: str | None = None, extra: dict[str, Any] | None = None
) -> Asset:
    """
    Make the asset of a table in MaxCompute.

    :param schema: Its schema, in a project that has schemas.
    """
    from airflow.sdk import Asset

    return Asset("maxcompute://" + "/".join(filter(None, (project, schema, table))), extra=extra)


def convert_maxcompute_asset_to_openlineage(asset: Asset, _lineage_context: Any) -> Dataset:
    """Return OpenLineage's name of a table in MaxCompute, the one that tasks that read it report."""
    from airflow.providers.common.compat.openlineage.facet import Dataset

    parts = urlsplit(asset.uri)
    namespace, name = maxcompute_name(parts.netloc, ".".join((parts.netloc, *parts.path.strip("/").split("/"))))
    return Dataset(namespace=namespace, name=name)

"""
Where contacts come from: a task's output, a frame, files, a query, the files that an asset's events name, or results.

Imported when a task runs: parsing a DAG does not need it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow_provider_outbound.core.contacts import (
    ContactSource,
    Header,
    from_items,
    from_path,
    from_paths,
    narrow_columns,
    read_excluded,
)
from airflow_provider_outbound.core.follow_up import from_results
from airflow_provider_outbound.core.models.phone import redact
from airflow_provider_outbound.exceptions import OutboundBotConfigError, OutboundBotContactsError
from airflow_provider_outbound.hooks.outboundbot import OutboundBotHook
from airflow_provider_outbound.operators.base import Veiled, as_path, is_asset, named_group
from airflow_provider_outbound.operators.databases import connect

if TYPE_CHECKING:
    from airflow.sdk import Asset, Context

    from airflow_provider_outbound.operators.outboundbot import OutboundBotAssignJobsOperator

#: Rows of a query held at a time.
_BATCH = 1000


def read_contacts(operator: OutboundBotAssignJobsOperator, context: Context) -> ContactSource:
    """
    The contacts that an operator's arguments name.

    :raises OutboundBotContactsError: they name none, more than one source, or one that cannot be read.
    """
    contacts, path, sql = operator.contacts, operator.contacts_path, operator.contacts_sql
    if sum(given is not None for given in (contacts, path, sql, operator.contacts_from)) != 1:
        raise OutboundBotContactsError(
            "contacts: give one of contacts, contacts_path, contacts_sql and contacts_from; a task that returned"
            " nothing gives none"
        )
    if operator.contacts_from is not None:
        # A hook, and so a ledger, of its own: it is read while contacts are assigned.
        return from_results(
            lambda: OutboundBotHook(operator.outboundbot_conn_id).ledger,
            named_group(operator.contacts_from),
            operator.only,
        )
    how: dict[str, Any] = {"columns": operator.columns, "default_region": operator.default_region}
    if sql is not None:
        return ContactSource([_Query(sql, operator.sql_conn_id)], **how)
    if path is not None:
        return from_path(as_path(path, "contacts_path"), encoding=operator.encoding, **how)
    return _of_argument(contacts, "contacts", operator.encoding, context, how)


def read_exclusions(operator: OutboundBotAssignJobsOperator, context: Context) -> frozenset[str]:
    """
    The numbers that must not be called, in E.164.

    :raises OutboundBotContactsError: one of them cannot be read.
    """
    excluded: frozenset[str] = frozenset()
    how: dict[str, Any] = {"default_region": operator.default_region}
    if operator.exclude is not None:
        source = _of_argument(operator.exclude, "exclude", operator.encoding, context, how)
        excluded |= read_excluded(source, "exclude")
    if operator.exclude_path is not None:
        path = as_path(operator.exclude_path, "exclude_path")
        source = from_path(path, encoding=operator.encoding, label="exclude_path", **how)
        excluded |= read_excluded(source, "exclude_path")
    return excluded


def oldest_event(contacts: Any, context: Context) -> datetime | None:
    """When the oldest of the asset events was recorded that contacts come from; ``None`` if they come from none."""
    return min((event.timestamp for event in _events(contacts, context)), default=None) if is_asset(contacts) else None


def _of_argument(argument: Any, label: str, encoding: str, context: Context, how: Mapping[str, Any]) -> ContactSource:
    if is_asset(argument):
        paths = _event_paths(argument, label, context)
        return from_paths(paths, encoding=encoding, label=f"{label} of {_shown(argument)}", **how)
    return from_items(argument.items if isinstance(argument, Veiled) else argument, label=label, **how)


def _event_paths(asset: Asset, label: str, context: Context) -> list[Any]:
    """Each file that the asset's events in this run name, once, in the order of the events."""
    events = _events(asset, context)
    if not events:
        raise OutboundBotContactsError(
            f"{label}: no event of {_shown(asset)} belongs to this run; schedule the DAG on it, "
            "or pass contacts_path in runs that are triggered by hand"
        )
    named: dict[str, Any] = {}
    for event in events:
        path = (event.extra or {}).get("path") or (asset.uri if "://" in asset.uri or asset.uri[:1] == "/" else None)
        if not isinstance(path, str):
            raise OutboundBotContactsError(
                f"{label}: an event of {_shown(asset)} names no file; let its task put one into the event: "
                'outlet_events[asset].extra["path"]'
            )
        named[path] = as_path(path, label)
    return list(named.values())


def _events(asset: Asset, context: Context) -> Sequence[Any]:
    events = context.get("triggering_asset_events") or {}
    return sorted(events.get(asset, ()), key=lambda event: event.timestamp)


def _shown(asset: Asset) -> str:
    return f"asset {redact(asset.name)!r}"


class _Query:
    """Rows of a query, by a cursor of the server where its driver has one."""

    label = "contacts_sql"
    name = ""
    is_repeatable = True

    def __init__(self, sql: str, conn_id: str | None) -> None:
        if not isinstance(sql, str) or not sql.strip():
            raise OutboundBotConfigError("contacts_sql: empty; pass a SELECT statement")
        if not conn_id:
            raise OutboundBotConfigError("sql_conn_id: name the connection that contacts_sql is for")
        self._sql = sql.strip().rstrip(";")
        self._conn_id = conn_id

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        with connect(self._conn_id, "contacts_sql", OutboundBotContactsError) as connection:
            # Without parameters a percent sign is a percent sign.
            options = {"stream_results": True, "no_parameters": True}
            with closing(connection.execution_options(**options).exec_driver_sql(self._sql)) as result:
                if not result.returns_rows:
                    raise OutboundBotConfigError("contacts_sql: it returns no rows; pass a SELECT statement")
                names = tuple(result.keys())
                twice = [name for name in names if names.count(name) > 1]
                if twice:
                    raise OutboundBotContactsError(
                        f"contacts_sql: column {twice[0]!r} appears twice; rename one with AS"
                    )
                description = result.cursor.description if result.cursor is not None else ()
                yield 0, Header(names, narrow_columns(connection.dialect.name, description))
                for row, values in enumerate(result.yield_per(_BATCH), start=1):
                    yield row, dict(zip(names, values, strict=True))

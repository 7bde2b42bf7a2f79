"""
Sources of contacts: a task's output, a frame, files, a query, the files named by an asset's events, or results.

Imported when a task runs, because parsing a DAG does not need it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

import attrs

from airflow_provider_outbound.arguments import named_group
from airflow_provider_outbound.core.contacts import (
    ContactSource,
    Spool,
    from_items,
    from_path,
    from_paths,
    read_excluded,
)
from airflow_provider_outbound.core.follow_up import from_results
from airflow_provider_outbound.core.models.phone import redact
from airflow_provider_outbound.core.models.words import count_of
from airflow_provider_outbound.exceptions import OutboundBotConfigError, OutboundBotContactsError
from airflow_provider_outbound.hooks.outboundbot import OutboundBotHook
from airflow_provider_outbound.operators.base import MaskedContacts, is_asset
from airflow_provider_outbound.operators.literals import EXCLUSIONS, SOURCES
from airflow_provider_outbound.operators.maxcompute import (
    is_maxcompute,
    rows_of_query,
    rows_of_table,
)
from airflow_provider_outbound.operators.missing import whole_path, why_incomplete, why_missing, why_nothing
from airflow_provider_outbound.operators.open_jobs import warn_of_open_jobs
from airflow_provider_outbound.operators.queries import Query

if TYPE_CHECKING:
    from airflow.sdk import Asset, Context

    from airflow_provider_outbound.core.ledger import Ledger
    from airflow_provider_outbound.core.models.job import Job
    from airflow_provider_outbound.operators.query_results import SharedResult


@attrs.frozen(kw_only=True)
class SourceArguments:
    """
    The operator's arguments that select whom to call and whom not, under the same names, rendered.

    :param log: The task's log.
    :param named: The arguments that the DAG file gives, even if a template or a task turned them into nothing.
    :param shared: The result of a query in MaxCompute that the tries of the task share; ``None``: each runs it.
    """

    contacts: Any = attrs.field(repr=False)
    contacts_path: Any
    sheet: str | None
    contacts_sql: str | None
    sql_conn_id: str | None
    contacts_table: str | None
    partition: str | None
    contacts_conn_id: str | None
    contacts_from: Any
    only: str | None
    columns: Mapping[str, str | None] | None
    encoding: str
    default_region: str
    exclude: Any = attrs.field(repr=False)
    exclude_path: Any
    exclude_columns: Mapping[str, str | None] | None
    exclude_sheet: str | None
    exclude_encoding: str | None
    on_missing_exclusions: str
    outboundbot_conn_id: str
    log: Any = attrs.field(repr=False)
    named: frozenset[str]
    shared: SharedResult | None = None


def read_contacts(arguments: SourceArguments, context: Context) -> ContactSource:
    """
    Return the contacts that a task's arguments select.

    :raises OutboundBotContactsError: they name no source, more than one, or one that cannot be read.
    """
    given = {name: getattr(arguments, name) for name in SOURCES}
    named = [name for name, value in given.items() if value is not None or name in arguments.named]
    if len(named) != 1:
        raise OutboundBotContactsError(
            f"contacts: give one of {', '.join(SOURCES[:-1])} and {SOURCES[-1]}, not"
            f" {' and '.join(named) or 'none'}. Nobody was called"
        )
    (label,) = named
    if why := why_nothing(given[label]):
        hint = "; pass a job_group_id, or the output of a task that has one" if label == "contacts_from" else ""
        raise OutboundBotContactsError(f"{label}: {why}, so there are no contacts{hint}. Nobody was called")
    sheet = _sheet(arguments, "sheet", has_files=label == "contacts_path" or is_asset(given[label]))
    if arguments.contacts_conn_id is not None and label not in ("contacts_sql", "contacts_table"):
        raise OutboundBotConfigError(f"contacts_conn_id: {label} needs no connection; omit it. Nobody was called")
    if arguments.partition is not None and label != "contacts_table":
        raise OutboundBotConfigError("partition: there is no contacts_table that could have one. Nobody was called")
    if label == "contacts_from":
        return _of_results(arguments)
    how: dict[str, Any] = {
        "columns": _columns(arguments.columns, "columns"),
        "default_region": arguments.default_region,
    }
    if label in ("contacts_sql", "contacts_table"):
        return _of_database(arguments, label, context, how)
    if label == "contacts_path":
        return from_path(whole_path(arguments.contacts_path, label), encoding=arguments.encoding, sheet=sheet, **how)
    return _of_argument(arguments.contacts, label, context, how, encoding=arguments.encoding, sheet=sheet)


def _of_database(arguments: SourceArguments, label: str, context: Context, how: Mapping[str, Any]) -> ContactSource:
    if label == "contacts_table":
        if "partition" in arguments.named and (why := why_nothing(arguments.partition)):
            raise OutboundBotContactsError(f"partition: {why}, so there are no contacts. Nobody was called")
        rows = rows_of_table(arguments.contacts_table, arguments.partition, arguments.contacts_conn_id)
        _log_again(arguments, context, "contacts_table: the table is read again in this try, as it is now")
        return ContactSource([rows], **how)
    query = Query(arguments.contacts_sql, arguments.contacts_conn_id or arguments.sql_conn_id)
    if is_maxcompute(query.conn_id):
        return ContactSource([rows_of_query(query.sql, query.conn_id, label, arguments.shared)], **how)
    _log_again(arguments, context, "contacts_sql: the query runs again in this try")
    # A second run of the query could return other people than those that were validated.
    return ContactSource([Spool(ContactSource([query], **how), "contacts_sql")], **how)


def _log_again(arguments: SourceArguments, context: Context, what: str) -> None:
    if context["ti"].try_number > 1:
        arguments.log.info(
            "%s. Nobody whom an earlier try assigned is called again; contacts that come for the first time are called"
            " too",
            what,
        )


def _of_results(arguments: SourceArguments) -> ContactSource:
    only = arguments.only
    if "only" in arguments.named and (why := why_nothing(only)):
        raise OutboundBotContactsError(
            f"only: {why}, which would call everybody in the group again; pass only=None in the DAG file if that is"
            " intended. Nobody was called"
        )

    @contextmanager
    def own_ledger() -> Iterator[Ledger]:
        # A separate hook, because the ledger is read while contacts are assigned.
        with OutboundBotHook(arguments.outboundbot_conn_id) as hook:
            yield hook.ledger

    job_group_id = named_group(arguments.contacts_from, "contacts_from")

    def list_jobs(job_ids: Sequence[str]) -> Iterable[Job]:
        with OutboundBotHook(arguments.outboundbot_conn_id) as hook:
            return hook.lister(job_group_id)(job_ids)

    with own_ledger() as ledger:
        warn_of_open_jobs(ledger, job_group_id, "contacts_from")
    return from_results(own_ledger, job_group_id, only, list_jobs)


def read_exclusions(arguments: SourceArguments, context: Context) -> frozenset[str]:
    """
    Return the numbers that must not be called, in E.164.

    :raises OutboundBotConfigError: ``on_missing_exclusions`` or ``exclude_columns`` cannot be used.
    :raises OutboundBotContactsError: a given list does not exist, or one of its numbers cannot be read.
    """
    if arguments.on_missing_exclusions not in ("fail", "ignore"):
        raise OutboundBotConfigError(
            f"on_missing_exclusions: {arguments.on_missing_exclusions!r} is not one of 'fail', 'ignore'."
            " Nobody was called"
        )
    excluded: frozenset[str] = frozenset()
    for label in named_exclusions(arguments):
        numbers = _excluded_by(arguments, label, context)
        if numbers is not None:
            arguments.log.info("%s: %s", label, count_of(len(numbers), "number"))
            excluded |= numbers
    return excluded


def named_exclusions(arguments: SourceArguments) -> list[str]:
    """
    Return which of the arguments for people that must not be called are given.

    :raises OutboundBotConfigError: ``exclude_columns`` or ``exclude_sheet`` cannot be used.
    """
    named = [label for label in EXCLUSIONS if label in arguments.named or getattr(arguments, label) is not None]
    if arguments.exclude_columns is not None and not named:
        raise OutboundBotConfigError(
            "exclude_columns: there are no exclusions that have columns; pass exclude or exclude_path too."
            " Nobody was called"
        )
    has_files = "exclude_path" in named or is_asset(arguments.exclude)
    _sheet(arguments, "exclude_sheet", has_files=has_files)
    return named


def _excluded_by(arguments: SourceArguments, label: str, context: Context) -> frozenset[str] | None:
    """Return the numbers of one argument; ``None`` if its list does not exist and the author accepts that."""
    value = getattr(arguments, label)
    if why := why_missing(value, label):
        if arguments.on_missing_exclusions == "ignore":
            arguments.log.warning("%s: %s; it excludes nobody, because on_missing_exclusions='ignore'", label, why)
            return None
        raise OutboundBotContactsError(
            f"{label}: {why}, so the people it excludes might be called; fix it. Only if the list may be missing, pass"
            " on_missing_exclusions='ignore'. Nobody was called"
        )
    _check_complete(arguments, label, value)
    return read_exclusion(arguments, label, context)


def read_exclusion(arguments: SourceArguments, label: str, context: Context) -> frozenset[str]:
    """
    Return the numbers of one list of people that must not be called, in E.164.

    :param label: Name of the argument.
    :raises OutboundBotContactsError: one of its numbers cannot be read.
    """
    value = getattr(arguments, label)
    how: dict[str, Any] = {"default_region": arguments.default_region}
    encoding = arguments.encoding if arguments.exclude_encoding is None else arguments.exclude_encoding
    if label == "exclude_path":
        path = whole_path(value, label)
        source = from_path(path, encoding=encoding, label=label, sheet=arguments.exclude_sheet, **how)
    else:
        source = _of_argument(value, label, context, how, encoding=encoding, sheet=arguments.exclude_sheet)
    source.be_exclusions(
        columns=_columns(arguments.columns, "columns"),
        exclude_columns=_columns(arguments.exclude_columns, "exclude_columns"),
    )
    return read_excluded(source, label)


def _check_complete(arguments: SourceArguments, label: str, value: Any) -> None:
    """Refuse the output of a mapped task if some of its instances returned nothing."""
    if not (why := why_incomplete(value)):
        return
    if arguments.on_missing_exclusions != "ignore":
        raise OutboundBotContactsError(
            f"{label}: {why}, so the people they exclude might be called; let each return a list, which may be empty."
            " on_missing_exclusions='ignore' would call the people on the missing lists. Nobody was called"
        )
    arguments.log.warning("%s: %s; they exclude nobody, because on_missing_exclusions='ignore'", label, why)


def _columns(columns: Any, label: str) -> Mapping[str, str | None] | None:
    if columns is None or isinstance(columns, Mapping):
        return columns
    raise OutboundBotConfigError(
        f"{label}: a {type(columns).__name__} is not a dictionary; give e.g. {{'phone': 'Mobile No.'}}."
        " Nobody was called"
    )


def _sheet(arguments: SourceArguments, label: str, *, has_files: bool) -> str | None:
    sheet: str | None = getattr(arguments, label)
    if sheet is not None and not (isinstance(sheet, str) and sheet.strip()):
        raise OutboundBotConfigError(f"{label}: {sheet!r} is not the name of a sheet; give its name. Nobody was called")
    if sheet is not None and not has_files:
        raise OutboundBotConfigError(
            f"{label}: no workbook is read that could have a sheet; omit it. Nobody was called"
        )
    return sheet


def oldest_event(contacts: Any, context: Context) -> datetime | None:
    """Return when the oldest asset event with contacts was recorded; ``None`` if they come from no asset event."""
    return min((event.timestamp for event in _events(contacts, context)), default=None) if is_asset(contacts) else None


def _of_argument(
    argument: Any, label: str, context: Context, how: Mapping[str, Any], *, encoding: str, sheet: str | None
) -> ContactSource:
    if is_asset(argument):
        paths = _event_paths(argument, label, context)
        return from_paths(paths, encoding=encoding, label=f"{label} of {_shown(argument)}", sheet=sheet, **how)
    return from_items(argument.items if isinstance(argument, MaskedContacts) else argument, label=label, **how)


def _event_paths(asset: Asset, label: str, context: Context) -> list[Any]:
    """Return each file named by the asset's events in this run once, in the order of the events."""
    events = _events(asset, context)
    if not events:
        raise OutboundBotContactsError(
            f"{label}: no event of {_shown(asset)} belongs to this run; schedule the DAG on it, "
            f"or pass {label}_path in manual runs"
        )
    named: dict[str, Any] = {}
    for event in events:
        path = (event.extra or {}).get("path") or (asset.uri if "://" in asset.uri or asset.uri[:1] == "/" else None)
        if not isinstance(path, str):
            raise OutboundBotContactsError(
                f"{label}: an event of {_shown(asset)} names no file; let its task put one into the event: "
                'outlet_events[asset].extra["path"]'
            )
        named[path] = whole_path(path, label)
    return list(named.values())


def _events(asset: Asset, context: Context) -> Sequence[Any]:
    events = context.get("triggering_asset_events") or {}
    return sorted(events.get(asset, ()), key=lambda event: event.timestamp)


def _shown(asset: Asset) -> str:
    return f"asset {redact(asset.name)!r}"

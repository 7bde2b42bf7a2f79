"""
Contacts in MaxCompute: a table, one of its partitions, or the result of a query.

Rows come through the tunnel in short requests, so that no connection idles while people are called. pyodps's own
``open_reader`` is not used: it returns 10,000 rows and a warning where it may not read more.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from airflow_provider_outbound.core.contacts import Header
from airflow_provider_outbound.core.models.phone import redact
from airflow_provider_outbound.exceptions import OutboundBotConfigError, OutboundBotContactsError

if TYPE_CHECKING:
    from odps import ODPS
    from odps.tunnel import InstanceTunnel

    from airflow_provider_outbound.operators.query_results import SharedResult

log = logging.getLogger(__name__)

CONN_TYPE = "maxcompute"
#: Rows of one request, which are held in memory.
RANGE = 10_000

_PARTITION = re.compile(r"[^=,/\s]+=[^=,/]+([,/][^=,/\s]+=[^=,/]+)*")
_INSTALL = 'MaxCompute needs pyodps; run: pip install "airflow-provider-outbound[maxcompute]"'


def is_maxcompute(conn_id: str) -> bool:
    """Return whether a connection is one of MaxCompute, which is no database to Airflow."""
    from airflow.sdk import BaseHook

    return bool(BaseHook.get_connection(conn_id).conn_type == CONN_TYPE)


def rows_of_query(sql: str, conn_id: str, label: str, shared: SharedResult | None = None) -> MaxComputeRows:
    """
    Return the rows of a SELECT statement, which runs once.

    The service stores them with the instance that ran it, so that they are the same whenever they are read.

    :param label: The argument's name, for errors.
    :param shared: Finds the instance that an earlier try of the task read; ``None``: each try runs the statement.
    """
    # The same statement may mean something else to another connection.
    statement = f"{conn_id}\n{sql}"

    def open_session(odps: ODPS) -> Any:
        from odps.tunnel import InstanceTunnel

        tunnel = InstanceTunnel(odps)
        earlier = shared.find(statement) if shared else None
        if earlier is not None:
            return _open_again(tunnel, earlier, label, conn_id)
        instance_id = odps.execute_sql(sql).id
        if shared:
            shared.use(statement, instance_id)
        return tunnel.create_download_session(instance_id)

    return MaxComputeRows(conn_id, open_session, label)


def _open_again(tunnel: InstanceTunnel, instance_id: str, label: str, conn_id: str) -> Any:
    """
    Open the result that an earlier try read.

    :raises OutboundBotContactsError: the service refuses; another result could have other people in it.
    """
    from odps.errors import ODPSError

    try:
        session = tunnel.create_download_session(instance_id)
    except ODPSError as error:
        raise OutboundBotContactsError(
            f"{label} on connection {conn_id!r}: the result of instance {instance_id}, which an earlier try read,"
            f" cannot be read again: {_reason(error)}; clear this task later, or change the statement, for example by a"
            " comment, to run it anew"
        ) from None
    log.info("%s: the rows are those of instance %s, which an earlier try read", label, instance_id)
    return session


def rows_of_table(table: Any, partition: Any, conn_id: str | None) -> MaxComputeRows:
    """
    Return the rows of a table, without the columns by which it is partitioned.

    :param table: ``name``, ``project.name`` or ``project.schema.name``.
    :param partition: ``pt=20261126``, several joined by commas; ``None`` for a table without partitions.
    :raises OutboundBotConfigError: one of them is empty, or is not a text of this form.
    """
    if not isinstance(table, str) or not table.strip():
        raise OutboundBotConfigError(
            f"contacts_table: {table!r} is not the name of a table; give name or project.name. Nobody was called"
        )
    if not conn_id:
        raise OutboundBotConfigError(
            "contacts_conn_id: missing; give the connection for contacts_table. Nobody was called"
        )
    if partition is not None and not (isinstance(partition, str) and _PARTITION.fullmatch(partition.strip())):
        raise OutboundBotConfigError(
            f"partition: {partition!r} is not a partition; give one such as 'pt=20261126'. Nobody was called"
        )
    if partition is not None and re.search(r"=\s*None\s*([,/]|$)", partition):
        raise OutboundBotConfigError(
            f"partition: {partition!r} has a value that was not set; let its template give one. Nobody was called"
        )

    def open_session(odps: ODPS) -> Any:
        from odps.tunnel import TableTunnel

        return TableTunnel(odps).create_download_session(odps.get_table(table.strip()), partition_spec=partition)

    return MaxComputeRows(conn_id, open_session, "contacts_table")


class MaxComputeRows:
    """
    Rows of one download session. Each reading uses the same session, and gets the same rows.

    The service keeps a session for 24 hours.

    :param open_session: Opens the session.
    :param label: The argument's name, for errors.
    """

    name = ""
    is_repeatable = True

    def __init__(self, conn_id: str, open_session: Callable[[ODPS], Any], label: str) -> None:
        self.label = label
        self._conn_id = conn_id
        self._open_session = open_session
        self._session: Any = None

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        client = self._client()
        from odps.errors import ODPSError
        from requests import RequestException

        try:
            if self._session is None:
                self._session = self._open_session(client)
            yield from self._rows()
        except OutboundBotConfigError:
            raise
        except (OverflowError, ValueError) as error:
            # Its text may quote a value.
            raise self._refused(f"a row cannot be read ({type(error).__name__})") from None
        except (ODPSError, RequestException, OSError) as error:
            raise self._refused(_reason(error)) from None

    def _rows(self) -> Iterator[tuple[int, Any]]:
        session = self._session
        columns = session.schema.simple_columns
        names = tuple(column.name for column in columns)
        yield 0, Header(names, {column.name: str(column.type) for column in columns})
        for start in range(0, session.count, RANGE):
            count = min(RANGE, session.count - start)
            with session.open_record_reader(start, count, append_partitions=False) as reader:
                records = [tuple(record.values) for record in reader]
            if len(records) != count:
                raise self._refused(f"{len(records)} rows came instead of {count}")
            for row, values in enumerate(records, start=start + 1):
                yield row, dict(zip(names, values, strict=True))

    def _client(self) -> ODPS:
        try:
            from airflow.providers.alibaba.cloud.hooks.maxcompute import MaxComputeHook
        except ModuleNotFoundError:
            raise OutboundBotConfigError(f"{self.label}: {_INSTALL}") from None
        from airflow.providers.alibaba.cloud.exceptions import MaxComputeConfigurationException

        try:
            return MaxComputeHook(maxcompute_conn_id=self._conn_id).get_client()
        except (MaxComputeConfigurationException, ValueError) as error:
            raise OutboundBotConfigError(f"{self.label} on connection {self._conn_id!r}: {error}") from None

    def _refused(self, reason: str) -> OutboundBotContactsError:
        return OutboundBotContactsError(f"{self.label} on connection {self._conn_id!r}: {reason}")


def _reason(error: Exception) -> str:
    """Return the first line of an error's own text; its full text begins with addresses and ids."""
    text = str(error.args[0] if error.args else "") or type(error).__name__
    return redact(text.strip().splitlines()[0])

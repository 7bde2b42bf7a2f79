"""
Read contacts from any source one by one, so that memory does not grow with their number.

``items`` reads lists and frames. ``files`` reads files, which ``locations`` finds in folders and by patterns, with
``text``, ``delimited`` and ``json_objects`` for text, and ``workbook`` with ``worksheets`` for Excel. ``source`` turns
their rows into contacts, by ``columns``, and ``spool`` keeps those of a source that may return other rows the next
time; ``exclusions`` reads do-not-call lists.
"""

from __future__ import annotations

from airflow_provider_outbound.core.contacts.cells import narrow_columns, read_number
from airflow_provider_outbound.core.contacts.columns import COLUMN_NAMES
from airflow_provider_outbound.core.contacts.exclusions import read_excluded
from airflow_provider_outbound.core.contacts.files import from_path, from_paths
from airflow_provider_outbound.core.contacts.items import from_items
from airflow_provider_outbound.core.contacts.locations import PathLike, find_files
from airflow_provider_outbound.core.contacts.rows import Header, Reject, Rows, place_of
from airflow_provider_outbound.core.contacts.source import ContactSource
from airflow_provider_outbound.core.contacts.spool import Spool

__all__ = [
    "COLUMN_NAMES",
    "ContactSource",
    "Header",
    "PathLike",
    "Reject",
    "Rows",
    "Spool",
    "find_files",
    "from_items",
    "from_path",
    "from_paths",
    "narrow_columns",
    "place_of",
    "read_excluded",
    "read_number",
]

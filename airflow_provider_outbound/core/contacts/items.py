"""Contacts in a list, an iterator, or a frame of pandas, Polars, PyArrow and others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sized
from typing import Any

from airflow_provider_outbound.core.contacts.cells import narrow_float, no_number
from airflow_provider_outbound.core.contacts.columns import refuse_twins
from airflow_provider_outbound.core.contacts.rows import Header
from airflow_provider_outbound.core.contacts.source import ContactSource
from airflow_provider_outbound.core.models.phone import looks_like_number
from airflow_provider_outbound.exceptions import OutboundBotContactsError

#: Rows of a frame converted to Python values at a time.
_BUFFER = 1000


def from_items(
    items: Any,
    *,
    columns: Mapping[str, str | None] | None = None,
    default_region: str = "CN",
    label: str = "contacts",
) -> ContactSource:
    """
    Read dictionaries or plain numbers, or the rows of a frame.

    :param items: A list, an iterator (read once), or an eager frame that narwhals supports.
    :param columns: See :class:`ContactSource`.
    :param label: The argument's name, for errors.
    :raises OutboundBotContactsError: it is none of these.
    """
    if _is_lazy(items):
        raise OutboundBotContactsError(f"{label}: a lazy frame is a plan, not rows; call .collect() on it")
    _refuse_index(items, label, default_region)
    if _is_frame(items):
        return ContactSource([_Frame(items, label)], columns=columns, default_region=default_region)
    if narrow := narrow_float(str(getattr(items, "dtype", getattr(items, "type", "")))):
        raise OutboundBotContactsError(f"{label}: {no_number(narrow)}")
    if hasattr(items, "to_pylist"):
        # Otherwise an Arrow column returns its own types of values.
        items = items.to_pylist()
    is_one = getattr(items, "ndim", 1) == 0
    if isinstance(items, str | bytes | bytearray | memoryview | Mapping) or not isinstance(items, Iterable) or is_one:
        raise OutboundBotContactsError(
            f"{label}: {type(items).__name__} is not a list of dictionaries or numbers, or a frame; "
            f"pass a task's .output, or {label}_path for a file"
        )
    return ContactSource([_Items(items, label)], columns=columns, default_region=default_region)


def _refuse_index(items: Any, label: str, default_region: str) -> None:
    """
    Refuse numbers in the index of a frame or a series of pandas, which is not read: ``groupby("phone")`` makes one.

    :raises OutboundBotContactsError: the index holds phone numbers.
    """
    index: Any = getattr(items, "index", None)
    # Row numbers, which nearly every frame has, need no look.
    if not hasattr(index, "get_level_values") or type(index).__name__ == "RangeIndex":
        return
    for level in range(index.nlevels):
        if any(looks_like_number(str(value), default_region) for value in index.get_level_values(level).unique()):
            # Without its index, a do-not-call list would exclude nobody.
            drop = "" if label.startswith("exclude") else ", or drop it with .reset_index(drop=True)"
            raise OutboundBotContactsError(
                f"{label}: the index holds phone numbers, and only columns are read; make it a column with"
                f" .reset_index(){drop}"
            )


class _Items:
    name = ""

    def __init__(self, items: Iterable[Any], label: str) -> None:
        self._items = items
        self.label = label
        self.is_repeatable = not isinstance(items, Iterator)

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        row = 0
        for row, item in enumerate(self._items, start=1):
            yield row, item
        # Airflow's sequence of a mapped task's outputs fetches one after the other. It ends, without an error, at the
        # first that the API server does not find, for example while a proxy in front of it is reconfigured.
        expected = len(self._items) if isinstance(self._items, Sized) else row
        if row != expected:
            raise OutboundBotContactsError(
                f"{self.label}: {row} of {expected} items could be read, because the list changed meanwhile or Airflow"
                " did not find the rest; clear this task"
            )


class _Frame:
    name = ""
    is_repeatable = True

    def __init__(self, frame: Any, label: str) -> None:
        try:
            import narwhals
        except ModuleNotFoundError:
            raise OutboundBotContactsError(
                f'{label}: a {_kind(frame)} needs narwhals; run: pip install "airflow-provider-outbound[frames]"'
            ) from None
        # Checked here, because libraries handle it differently.
        refuse_twins(_names(frame), label)
        try:
            self._frame = narwhals.from_native(frame, eager_only=True)
        except TypeError:
            raise OutboundBotContactsError(
                f"{label}: {_kind(frame)} is not a supported frame; pass one of pandas, Polars or PyArrow"
            ) from None
        self.label = label

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        types = {str(name): str(kind) for name, kind in self._frame.schema.items()}
        yield 0, Header(tuple(map(str, self._frame.columns)), types)
        yield from enumerate(self._frame.iter_rows(named=True, buffer_size=_BUFFER), start=1)


def _is_frame(items: Any) -> bool:
    """Whether it has columns and exports them as frames do; a single column (a series) is a list of numbers."""
    has_columns = hasattr(items, "columns") or hasattr(items, "column_names")
    return has_columns and any(
        hasattr(items, name) for name in ("__dataframe__", "__arrow_c_stream__", "__narwhals_dataframe__")
    )


def _names(frame: Any) -> list[str]:
    # In Arrow, ``columns`` holds their values.
    return [*map(str, frame.column_names if hasattr(frame, "column_names") else frame.columns)]


def _is_lazy(items: Any) -> bool:
    return hasattr(items, "collect") and hasattr(items, "collect_schema") and not hasattr(items, "iter_rows")


def _kind(frame: Any) -> str:
    return f"{type(frame).__module__.partition('.')[0]} {type(frame).__name__}"

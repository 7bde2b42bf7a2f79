"""
Reads arguments of operators and sensors, as given in the DAG file or rendered by a template.

Each function names the argument in its errors, and does not depend on the task.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowSkipException

from airflow_provider_outbound.core.models.phone import redact
from airflow_provider_outbound.exceptions import OutboundBotConfigError

if TYPE_CHECKING:
    from airflow_provider_outbound.core.contacts import PathLike
    from airflow_provider_outbound.core.ledger import CallCap

#: Key of a task's return value: nothing was sent, because ``dry_run`` is set on the connection.
DRY_RUN = "dry_run"


def is_dry_run(value: Any) -> bool:
    """Return whether a ``job_group_id`` argument is the return value of a dry run, which created no group."""
    return isinstance(value, Mapping) and bool(value.get(DRY_RUN)) and not value.get("job_group_id")


def named_group(value: Any, field: str = "job_group_id") -> str:
    """
    Read an argument that names a job group.

    :param value: An id, or the dictionary returned by another task of this provider.
    :param field: Name of the argument, for the error.
    :raises AirflowSkipException: that task was a dry run, so there is no group.
    :raises OutboundBotConfigError: it is neither.
    """
    if is_dry_run(value):
        raise AirflowSkipException("dry run: there is no job group")
    if isinstance(value, Mapping):
        value = value.get("job_group_id")
    group = value.strip() if isinstance(value, str) else ""
    # A template with an undefined result renders to "None".
    if group in ("", "None"):
        raise OutboundBotConfigError(f"{field}: empty; pass the id, or the output of OutboundBotCreateJobGroupOperator")
    if group.startswith("{"):
        raise OutboundBotConfigError(
            f"{field}: the text of a dictionary; pass the task's output itself, or select its job_group_id in the"
            " template, or set render_template_as_native_obj=True on the DAG"
        )
    return group


def as_path(value: Any, field: str) -> PathLike:
    """
    Return a local path, or a path of an object store if the value has a scheme such as ``s3://``.

    :raises OutboundBotConfigError: it is not a path, or is a template that Airflow did not render, such as a
        :class:`~pathlib.Path` or an item that a task returned.
    """
    if not isinstance(value, bytes) and any(mark in str(value) for mark in ("{{", "{%")):
        raise OutboundBotConfigError(
            f"{field}: {redact(str(value))} is a template that was not rendered: Airflow renders texts and"
            " ObjectStoragePath in the DAG file; give one of them"
        )
    if isinstance(value, str) and value.strip():
        if "://" not in value:
            return Path(value).expanduser()
        from airflow.sdk import ObjectStoragePath

        return ObjectStoragePath(value)
    if hasattr(value, "open") and hasattr(value, "name"):
        return value  # type: ignore[no-any-return]  # duck typing
    raise OutboundBotConfigError(f"{field}: {type(value).__name__} is not a path; give a text or an ObjectStoragePath")


def text_list(value: Any, field: str) -> tuple[str, ...]:
    """
    Read a list of ids or numbers.

    :raises OutboundBotConfigError: it is not a list, or has other items.
    """
    if value is None:
        return ()
    is_list = isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping)
    items: tuple[Any, ...] = tuple(value) if is_list else ()
    if not is_list or not all(isinstance(item, str) and item for item in items):
        raise OutboundBotConfigError(f"{field}: not a list of texts; give one")
    return items


def whole_number(value: Any, field: str, *, least: int) -> int | None:
    """
    Read a whole number, which may be a text rendered by a template.

    :return: ``None`` only if ``value`` is ``None``.
    :raises OutboundBotConfigError: it is something else, or less than ``least``.
    """
    if isinstance(value, str) and re.fullmatch(r"[0-9]+", value.strip()):
        value = int(value)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
        raise OutboundBotConfigError(f"{field}: {value!r} is not a whole number of {least} or more")
    return value


def call_cap(most: Any, period: Any) -> CallCap | None:
    """
    Return how often a person may be called, from the arguments ``max_calls_per_contact`` and ``period``.

    :return: ``None`` if neither is given.
    :raises OutboundBotConfigError: only one of them is given, or one is not above zero.
    """
    from airflow_provider_outbound.core.ledger import CallCap

    if most is None and period is None:
        return None
    if most is None or not isinstance(period, timedelta) or period <= timedelta():
        raise OutboundBotConfigError(
            "max_calls_per_contact: give it together with a period, for example "
            "max_calls_per_contact=1, period=timedelta(days=7)"
        )
    return CallCap(most=whole_number(most, "max_calls_per_contact", least=1) or 1, period=period)


def check_choice(value: Any, field: str, words: Sequence[str]) -> None:
    """
    Check that a value is one of the words that an argument accepts.

    :raises OutboundBotConfigError: names the argument, its value and the words.
    """
    if value not in words:
        raise OutboundBotConfigError(f"{field}: {value!r} is not one of {', '.join(map(repr, words))}")


def check_duration(value: Any, field: str) -> None:
    """
    Check that a value is a timedelta of zero or more.

    :raises OutboundBotConfigError: names the argument and its value.
    """
    if not isinstance(value, timedelta):
        raise OutboundBotConfigError(f"{field}: {value!r} is not a timedelta; give one such as timedelta(minutes=30)")
    if value < timedelta():
        raise OutboundBotConfigError(f"{field}: {value} is negative; give a timedelta of zero or more")


def check_seconds(value: Any, field: str) -> None:
    """
    Check that a value is a number of seconds above 0.

    :raises OutboundBotConfigError: names the argument and its value.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise OutboundBotConfigError(f"{field}: {value!r} is not a number of seconds above 0")


def check_flags(owner: object, *names: str) -> None:
    """
    Check that attributes are ``True`` or ``False``: the text ``"False"``, e.g. from a variable, would count as true.

    :param owner: The object with the attributes ``names``.
    :raises OutboundBotConfigError: names the argument and its value.
    """
    for name in names:
        value = getattr(owner, name)
        if not isinstance(value, bool):
            raise OutboundBotConfigError(f"{name}: {value!r} is neither True nor False; pass one of them")

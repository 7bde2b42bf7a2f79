"""Whether the lists that an author named exist, and completely: what is missing must not be taken for nobody."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from airflow_provider_outbound.arguments import as_path
from airflow_provider_outbound.core.contacts import find_files
from airflow_provider_outbound.core.models.phone import redact
from airflow_provider_outbound.exceptions import OutboundBotContactsError
from airflow_provider_outbound.operators.base import MaskedContacts

_PATTERN = re.compile(r"[*?[]")


def why_missing(value: Any, label: str) -> str:
    """Return why a given list does not exist; an empty text if it does."""
    return why_nothing(value) or (_why_no_file(whole_path(value, label), label) if label == "exclude_path" else "")


def why_nothing(value: Any) -> str:
    """Return why a given argument is empty; an empty text if it is not."""
    from airflow.sdk.execution_time.lazy_sequence import LazyXComSequence

    items = value.items if isinstance(value, MaskedContacts) else value
    if items is None:
        return "empty: its task returned nothing or was skipped, its template rendered to None, or the DAG passes None"
    if isinstance(items, str) and items.strip() in ("", "None"):
        return f"empty: its template rendered to {items.strip() or 'nothing'}"
    if isinstance(items, LazyXComSequence) and not len(items):
        return "empty: no instance of its mapped task returned anything"
    return ""


def why_incomplete(value: Any) -> str:
    """Return why the output of a mapped task is incomplete; an empty text if it is not."""
    missing = sum(map(_missing_instances, _mapped_outputs(value.items if isinstance(value, MaskedContacts) else value)))
    if not missing:
        return ""
    return (
        f"{missing} instance{'' if missing == 1 else 's'} of its mapped task returned nothing, failed or were skipped"
    )


def _mapped_outputs(value: Any) -> Iterator[Any]:
    """Yield the outputs of mapped tasks in a value that Airflow resolved, also within ``.map()``, ``.zip()`` etc."""
    from airflow.sdk.definitions import xcom_arg
    from airflow.sdk.execution_time.lazy_sequence import LazyXComSequence

    if isinstance(value, LazyXComSequence):
        yield value
    elif type(value).__module__ == xcom_arg.__name__:
        for part in (getattr(value, "value", None), *(getattr(value, "values", None) or ())):
            yield from _mapped_outputs(part)


def _missing_instances(outputs: Any) -> int:
    """Return how many instances of a mapped task have no output: Airflow's sequence of outputs leaves them out."""
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    task = outputs._xcom_arg.operator  # noqa: SLF001 - there is no public way to find the task
    which: dict[str, Any] = {
        "dag_id": task.dag_id,
        "task_ids": [task.task_id],
        "run_ids": [outputs._ti.run_id],  # noqa: SLF001
    }
    count = RuntimeTaskInstance.get_ti_count
    return max(0, count(**which) - count(**which, states=["removed"]) - len(outputs))


def _why_no_file(path: Any, label: str) -> str:
    """
    Return why a path names no file; an empty text if it names one.

    :raises OutboundBotContactsError: the path cannot be read.
    """
    shown = redact(str(path))
    if not hasattr(path, "stat"):
        return ""
    try:
        try:
            # Not exists(), which treats "access denied" by an object store as "does not exist".
            path.stat()
        except FileNotFoundError:
            if not _PATTERN.search(str(path)):
                return f"there is no file {shown}"
            return "" if any(find_files(path, label)) else f"no file matches {shown}"
        return "" if not path.is_dir() or any(find_files(path, label)) else f"there is no file in {shown}"
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise OutboundBotContactsError(f"{label}: {shown} cannot be read: {reason}. Nobody was called") from None


def whole_path(value: Any, label: str) -> Any:
    """
    Return a path, unless one of its parts is empty: without that part, it names other files.

    :raises OutboundBotContactsError: a part is empty.
    """
    text = str(value)
    if "//" in (text.partition("://")[2] or text):
        raise OutboundBotContactsError(
            f"{label}: {redact(text)} has an empty part between two slashes, perhaps because a template rendered to"
            " nothing; fix it. Nobody was called"
        )
    return as_path(value, label)

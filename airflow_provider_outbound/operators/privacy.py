"""Errors that leave a task, without phone numbers: Airflow logs them, with the errors that caused them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from airflow_provider_outbound.core.models.phone import holds_number, redact
from airflow_provider_outbound.exceptions import OutboundBotError


@contextmanager
def without_numbers() -> Iterator[None]:
    """
    Within this block, phone numbers in the text of an error, and in those of its causes, are masked.

    Libraries and generators of authors quote the value that they cannot read. An error keeps its type if its text can
    be replaced; otherwise it becomes an :class:`OutboundBotError` that names its type. Its traceback stays.
    """
    try:
        yield
    except Exception as error:
        if not any(map(holds_number, _texts(error))):
            raise
        raise _masked(error).with_traceback(error.__traceback__) from None


def _texts(error: BaseException) -> Iterator[str]:
    """Yield what a traceback shows of an error and of those before it."""
    seen: set[int] = set()
    left = [error]
    while left:
        shown = left.pop()
        if id(shown) in seen:
            continue
        seen.add(id(shown))
        yield str(shown)
        yield from getattr(shown, "__notes__", ())
        before = shown.__cause__ or (None if shown.__suppress_context__ else shown.__context__)
        left += [before] if before is not None else []
        left += shown.exceptions if isinstance(shown, BaseExceptionGroup) else []


def _masked(error: Exception) -> Exception:
    text = redact(str(error))
    if not isinstance(error, BaseExceptionGroup):
        # In place, because Airflow distinguishes errors by their type, and theirs may have other data.
        error.args = tuple(redact(part) if isinstance(part, str) else part for part in error.args)
        error.__notes__ = [redact(note) for note in getattr(error, "__notes__", ())]
        error.__cause__ = None
        if not any(map(holds_number, [str(error), repr(error)])):
            return error
    return OutboundBotError(f"{type(error).__name__}: {text}")

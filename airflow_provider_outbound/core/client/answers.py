"""Parse answers: one of an unexpected form is in doubt, and is never read as empty."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, TypeVar

import attrs

from airflow_provider_outbound.core.client.errors import unusable
from airflow_provider_outbound.core.models.wire import MAX_COUNT
from airflow_provider_outbound.exceptions import OutboundBotError

T = TypeVar("T")


@attrs.frozen(kw_only=True)
class Page(Generic[T]):
    """
    One page of a listing.

    :param total: The number of items in the complete listing, as the API counted them for this answer.
    :param page_number: Counted from 1.
    """

    items: tuple[T, ...]
    total: int
    page_number: int
    page_size: int


def parsed(action: str, raw: object, read: Callable[[Mapping[str, Any]], T]) -> T:
    failure: OutboundBotError
    try:
        if isinstance(raw, Mapping):
            return read(raw)
        failure = unusable(action, "a part of the answer is missing")
    except (ValueError, TypeError, AttributeError, LookupError, ArithmeticError, RecursionError) as error:
        # The texts of such errors may repeat a value of the answer.
        failure = unusable(action, f"a part of the answer has the wrong form ({type(error).__name__})")
    raise failure


def read_page(
    action: str,
    raw: object,
    total_name: str,
    read: Callable[[Mapping[str, Any]], T],
    page_number: int,
    page_size: int,
) -> Page[T]:
    if not isinstance(raw, Mapping):
        raise unusable(action, "the listing is missing")
    total, items = raw.get(total_name), raw.get("List")
    if not isinstance(total, int) or isinstance(total, bool) or not 0 <= total <= MAX_COUNT:
        raise unusable(action, f"{total_name} is not a count")
    if items is None and total == 0:
        items = []
    if not isinstance(items, list):
        # Read as an empty page, this would make the group look empty and its contacts unassigned.
        raise unusable(action, "List is not a list")
    return Page(
        items=tuple(parsed(action, item, read) for item in items),
        total=total,
        page_number=page_number,
        page_size=page_size,
    )


def paginate(page: Callable[..., Page[T]]) -> Iterator[T]:
    """Yield every item, page by page, until the listing's total is reached or a page is empty."""
    seen, number = 0, 1
    while True:
        found = page(page_number=number)
        yield from found.items
        seen, number = seen + len(found.items), number + 1
        if not found.items or seen >= found.total:
            return

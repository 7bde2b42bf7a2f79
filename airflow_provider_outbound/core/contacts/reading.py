"""How a source is read, for files that contain more than one table with a header in the first line."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs


@attrs.frozen(kw_only=True)
class Reading:
    """
    What a reader must know to find the rows of a file.

    :param is_header: Whether column names include one for the phone number.
    :param is_exclusion: The rows must not be called, so that none may be overlooked.
    :param default_region: ISO 3166 country of numbers written without a country code.
    """

    is_header: Callable[[Sequence[str]], bool]
    is_exclusion: bool
    default_region: str

"""Phone numbers as the service reports them: in full, without the plus sign, or masked."""

from __future__ import annotations

import re

from airflow_provider_outbound.core.models.phone import normalise, normalise_or_digits

#: Digits with separators and an optional leading plus: a number that could be dialled as it is.
_COMPLETE = re.compile(r"\+?[\s(]*[0-9](?:[\s().\-\u2010-\u2015]*[0-9])*[\s)]*")
#: The number of digits in which two ways of writing one number agree at least: without country code and area code.
_LEAST_COMMON = 7


def complete_number(text: str) -> str | None:
    """
    The normal form of a number that the service reports.

    :return: E.164, or only the digits if the number is not valid; ``None`` if the text is not a complete number, such
        as a masked one (``138****8000``), because two persons may then have the same text.
    """
    if not _COMPLETE.fullmatch(text.strip()):
        return None
    number = normalise_or_digits(text)
    if number.startswith("+"):
        return number
    try:
        # Foreign numbers are sent with a plus. A service that drops it keeps the country code.
        return normalise(f"+{number}").e164
    except ValueError:
        return number


def is_same_number(text: str, e164: str) -> bool:
    """
    Whether the number that the service reports for a job with our reference can be the number that was sent.

    :param text: The reported number: with or without plus, country code, trunk zero and separators, or masked.
    :param e164: The number that was sent.
    """
    reported = complete_number(text)
    if reported is None or reported == e164:
        return True
    digits, sent = re.sub(r"\D", "", text).lstrip("0"), e164.removeprefix("+")
    # Too few digits to dial are a part of a number, as in a masked one.
    return len(digits) < _LEAST_COMMON or sent.endswith(digits) or digits.endswith(sent)

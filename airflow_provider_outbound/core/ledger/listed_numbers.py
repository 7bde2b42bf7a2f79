"""Numbers as the service reports them: in full, without their plus, or masked."""

from __future__ import annotations

import re

from airflow_provider_outbound.core.models.phone import normalise, normalise_or_digits

#: Digits with a plus in front and separators between them: a number that could be dialled as it stands.
_COMPLETE = re.compile(r"\+?[\s(]*[0-9](?:[\s().\-\u2010-\u2015]*[0-9])*[\s)]*")
#: Digits in which two ways of writing one number agree at least: what is left without country code and area code.
_LEAST_COMMON = 7


def complete_number(text: str) -> str | None:
    """
    The normal form of a number that the service reports.

    :return: E.164, or the bare digits of what is not a valid number; ``None`` if the text is not all of a number, for
        example masked (``138****8000``): equal texts may then be two persons.
    """
    if not _COMPLETE.fullmatch(text.strip()):
        return None
    number = normalise_or_digits(text)
    if number.startswith("+"):
        return number
    try:
        # We send numbers abroad with their plus; a service that drops it leaves the country code.
        return normalise(f"+{number}").e164
    except ValueError:
        return number


def is_same_number(text: str, e164: str) -> bool:
    """
    Whether what the service reports of a job that carries our reference can be the number that we sent.

    :param text: As the service reports it: with or without plus, country code, trunk zero and separators, or masked.
    :param e164: The number that was sent.
    """
    reported = complete_number(text)
    if reported is None or reported == e164:
        return True
    digits, sent = re.sub(r"\D", "", text).lstrip("0"), e164.removeprefix("+")
    # Fewer digits than anybody could dial are a part of a number, as a mask shows it.
    return len(digits) < _LEAST_COMMON or sent.endswith(digits) or digits.endswith(sent)

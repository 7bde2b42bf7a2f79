"""Phone numbers: one normal form, one masked form."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import attrs

_DIGITS = re.compile(r"\d(?:[\s().-]{0,2}\d){6,}")


@attrs.frozen
class PhoneNumber:
    """
    A possible number in its two forms.

    :param e164: ``+8613800000000``: identifies the person in the ledger.
    :param wire: What the API is sent: national digits in mainland China (``13800000000``), E.164 elsewhere.
    """

    e164: str = attrs.field(repr=lambda value: mask(value))
    wire: str = attrs.field(repr=False)


def mask(number: object) -> str:
    """Show a number so that a person who knows it recognises it and nobody else can dial it: ``+86138******00``."""
    text = str(number).strip()
    digits = sum(character.isdigit() for character in text)
    if digits < 7:
        return "*" * len(text)
    head = len(text) - digits + max(2, digits - 8) if text.startswith("+") else 3
    return f"{text[:head]}{'*' * (len(text) - head - 2)}{text[-2:]}"


def redact(text: str) -> str:
    """Mask everything in ``text`` that could be a phone number."""
    return _DIGITS.sub(lambda match: mask(match.group()), text)


def looks_like_number(text: str, default_region: str = "CN") -> bool:
    """
    Whether ``text`` could be dialled, and so must not be used as an identifier.

    A customer's id of digits alone passes unless it is a valid number of some country.
    """
    if re.fullmatch(r"[+(]?\d[\d\s().-]{5,24}", text.strip()) is None:
        return False
    try:
        normalise(text, default_region)
    except ValueError:
        return False
    return True


def normalise(number: object, default_region: str = "CN") -> PhoneNumber:
    """
    Read a number as people write it.

    :param number: ``13800000000``, ``+86 138 0000 0000``, ``0086-…``, ``010-12345678``; an integer too.
    :param default_region: ISO 3166 country of numbers written without a country code.
    :raises ValueError: not a valid number; the message says why and holds no digit of it.
    """
    if isinstance(number, float):
        if not number.is_integer():
            raise ValueError("not a phone number")
        number = int(number)
    text = "" if number is None else str(number).strip()
    if not text:
        raise ValueError("empty")
    if text.startswith("00"):
        # Not every region dials abroad with 00; people who write it mean it.
        text = f"+{text[2:]}"
    plain = text.removeprefix("+86") if default_region == "CN" or text.startswith("+86") else ""
    if plain.isascii() and _mainland_mobile().fullmatch(plain):
        # What nearly all contacts are: the library's own pattern answers a hundred times sooner than its parser.
        return PhoneNumber(f"+86{plain}", plain)
    import phonenumbers

    try:
        parsed = phonenumbers.parse(text, default_region)
    except phonenumbers.NumberParseException as error:
        raise ValueError(_PARSE_ERRORS.get(error.error_type, "not a phone number")) from None
    if parsed.extension:
        raise ValueError("has an extension, which the robot cannot dial")
    if not phonenumbers.is_valid_number(parsed):
        raise ValueError(f"not a valid number of country code {parsed.country_code}")
    e164 = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)
    if parsed.country_code != 86:
        return PhoneNumber(e164, e164)
    # The national format keeps a landline's trunk 0 and gives mobile and service numbers none.
    national = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.NATIONAL)
    return PhoneNumber(e164, re.sub(r"\D", "", national))


@cache
def _mainland_mobile() -> re.Pattern[str]:
    import phonenumbers

    metadata: Any = phonenumbers.PhoneMetadata.metadata_for_region("CN")
    return re.compile(metadata.mobile.national_number_pattern)


_PARSE_ERRORS = {0: "unknown country code", 1: "not a phone number", 2: "too short", 3: "too short", 4: "too long"}


def normalise_or_digits(number: str) -> str:
    """
    The normal form of a number that the service reports, whatever it wrote.

    :return: E.164, or the bare digits of what is no valid number, so that equal texts stay equal.
    """
    try:
        return normalise(number).e164
    except ValueError:
        return re.sub(r"\D", "", number) or number

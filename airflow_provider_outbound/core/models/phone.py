"""
Phone numbers: one normal form, one masked form, and one definition of what could be a number.

Every character of a number is checked before the library reads it: the library skips text, turns letters into digits
and drops carrier codes, and each of these would call somebody else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import attrs

from airflow_provider_outbound.core.models.characters import FORMS, shape


@attrs.frozen
class PhoneNumber:
    """
    A valid number in its two forms.

    :param e164: ``+8613800000000``: identifies the person in the ledger.
    :param wire: The form sent to the API: national digits in mainland China (``13800000000``), E.164 elsewhere.
    """

    e164: str = attrs.field(repr=lambda value: mask(value))
    wire: str = attrs.field(repr=False)


#: One leading plus, digits, and separators between them; a text with anything else is not a number.
_NUMBER = re.compile(r"\(?\+?[ (]*[0-9](?:[ \t().-]*[0-9])*[ )]*")
_STRANGE = re.compile(r"[^0-9+ \t().-]")
#: A float of a spreadsheet or frame as text. Its dot is not a separator.
_DECIMAL = re.compile(r"(\+?[0-9]{7,})\.([0-9]+)")
_ROUNDED = re.compile(r"[0-9]+(\.[0-9]+)?[eE]\+?[0-9]+")
_ROUNDED_MOBILE = re.compile(r"1(\.[0-9]+)?[eE]\+?10|8\.6[0-9]*[eE]\+?12")
#: Seven characters or more, three of them digits, of a number in which some may be masked or mistyped.
_ALMOST = re.compile(r"(?=(?:[^0-9]*[0-9]){3})[0-9OoIlXx*#+ ().-]{7,}")

#: Seven digits or more with separators, including some that the reader refuses; also in groups separated by commas.
_RUN = re.compile(
    r"[0-9](?:[0-9]{0,2}(?:,[0-9]{3}){3,}|[0-9]{2}(?:,[0-9]{4}){2}"
    r"|(?:[\x00-\x20\x7f().\-/\\_~*\[\]]{0,5}[0-9]){6,})"
)
#: A run that is a date is not a number. It may include an hour, if a colon follows.
_DATE = re.compile(
    r"(?:(?:19|20)\d\d([-/.])(?:0?[1-9]|1[0-2])\1(?:0?[1-9]|[12]\d|3[01])"
    r"|(?:0?[1-9]|[12]\d|3[01])([-/.])(?:0?[1-9]|[12]\d|3[01])\2(?:19|20)\d\d)(?:([ /])(?:[01]\d|2[0-3]))?"
)
#: The number of digits that a mask shows at the end of a number, and the maximum at its beginning.
_TAIL, _HEAD = 2, 5
_LONGEST_MASK = 60

#: Identifiers made by programs: by chance they contain digits that could be dialled.
_MADE = re.compile(
    r"(?<![0-9A-Za-z])(?:[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
    r"|(?=[0-9]*[a-fA-F])(?:[0-9a-fA-F]{64}|[0-9a-fA-F]{40}|[0-9a-fA-F]{32}|[0-9a-fA-F]{24}))(?![0-9A-Za-z])"
)
#: Prefix of the digest that replaces another program's identifier of a job, if that contains a number.
DIGEST = "hmac:"
#: In mainland China, digits inside a text are a number if they begin with a trunk 0, the country code, 400 or 800.
_DIALLED = re.compile(r"0[0-9]{9,}|86[0-9]{9,}|[48]00[0-9]{7}")
_DAY = re.compile(r"(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])")


def mask(number: object) -> str:
    """
    Mask a number so that a person who knows it recognises it and nobody else can dial it: ``+86138******00``.

    :param number: A number, or any other content of its cell, of which all runs of digits and all words are masked.
    """
    text = str(number).strip()
    form = shape(text)
    runs = list(_RUN.finditer(form))
    shown = ["*" if character.isalnum() or not character.isprintable() else character for character in text]
    for run in runs:
        head = 3
        if form[: run.start()].rstrip(" (").endswith("+"):
            head = min(max(2, _count(run.group()) - 8), _HEAD)
        # The end of one number may be next to the beginning of another.
        head = head if len(runs) == 1 else min(head, 3)
        shown[run.start() : run.end()] = _hidden(text[run.start() : run.end()], run.group(), head)
    masked = "".join(shown)
    return masked if len(masked) <= _LONGEST_MASK else f"{masked[:_LONGEST_MASK]}…"


def redact(text: str) -> str:
    """Mask everything in ``text`` that could be a phone number. Dates such as ``2026-11-26`` stay."""
    form = shape(text)
    parts: list[str] = []
    end = 0
    for run in _RUN.finditer(form):
        parts.append(text[end : run.start()])
        end = run.end()
        written = text[run.start() : end]
        parts.append(written if _is_date(run) else _hidden(written, run.group(), 3))
    return "".join(parts) + text[end:] if parts else text


def _count(form: str) -> int:
    return sum(character.isdigit() for character in form)


def _hidden(text: str, form: str, head: int) -> str:
    """Mask a run of digits except for the first ``head`` and the last two."""
    digits = [place for place, character in enumerate(form) if character.isdigit()]
    begin, end = digits[head - 1] + 1, digits[-_TAIL]
    return f"{text[:begin]}{'*' * (end - begin)}{text[end:]}"


def _is_date(run: re.Match[str]) -> bool:
    found = _DATE.fullmatch(run.group())
    return found is not None and (found[3] != " " or run.string[run.end() : run.end() + 1] == ":")


def looks_like_number(text: str, default_region: str = "CN") -> bool:
    """
    Whether ``text`` could be dialled, so that it must not be used as an identifier.

    A customer id of digits is allowed unless it is a valid number of some country.
    """
    form = shape(text.strip())
    decimal = _DECIMAL.fullmatch(form)
    if decimal is not None and not decimal[2].strip("0"):
        # Frames write a column of whole numbers with gaps as 13800000000.0.
        form = decimal[1]
    run = _RUN.search(form)
    if run is None or _is_date(run) or form[: run.start()].strip(" (+") or form[run.end() :].strip(" )"):
        return False
    return _is_valid(_digits(form), default_region)


def why_unreadable(text: str, default_region: str = "CN") -> str:
    """
    Return why a text that was meant to be a number cannot be read; an empty text if it was not meant to be one.

    Digits that a spreadsheet rounded, a mask hides, or a letter O replaces, and digits that are no valid number. Dates
    and short numbers, such as counts and extensions, are not meant to be phone numbers.
    """
    form = shape(text.strip())
    if not _ROUNDED.fullmatch(form) and (not _ALMOST.fullmatch(form) or _DATE.fullmatch(form) or _DAY.fullmatch(form)):
        return ""
    try:
        normalise(text, default_region)
    except ValueError as error:
        return str(error)
    return ""


def is_rounded_mobile(text: str) -> bool:
    """Whether ``text`` is what a spreadsheet makes of a mobile number of mainland China: ``1.38E+10``."""
    return _ROUNDED_MOBILE.fullmatch(text.strip()) is not None


def holds_number(text: str, default_region: str = "CN") -> bool:
    """
    Whether ``text`` is or contains a number that could be dialled: ``u13877665546``.

    Only digits that are a valid number by themselves count; those of UUIDs and digests do not. Inside a text, digits of
    mainland China must be a mobile number or have a prefix such as a trunk 0: otherwise many order numbers would count.
    """
    if _RUN.search(shape(text)) is None:
        return False
    return looks_like_number(text, default_region) or next(_written_in(text, default_region), None) is not None


def numbers_in(text: str, default_region: str = "CN") -> Iterator[str]:
    """
    Yield, in E.164, the numbers that a text contains beside other words: those for which :func:`holds_number` looks.

    Where digits can be read in several ways, each number among them is returned.
    """
    if _RUN.search(shape(text)) is not None:
        for digits in _written_in(text, default_region):
            yield normalise(digits, default_region).e164


def _written_in(text: str, default_region: str) -> Iterator[str]:
    """Yield the digits of each number in a text, with the plus if one precedes them."""
    form = _MADE.sub(lambda made: "x" * len(made.group()), shape(text))
    for run in _RUN.finditer(form):
        yield from _numbers_of(form, run, default_region)


def _numbers_of(form: str, run: re.Match[str], default_region: str) -> Iterator[str]:
    groups = re.findall(r"[0-9]+", run.group())
    has_plus = form[: run.start()].rstrip(" (").endswith("+")
    for first in range(len(groups)):
        digits = ""
        for group in groups[first:]:
            digits += group
            if len(digits) > 17:
                # 00 and the longest possible number.
                break
            if len(digits) < 7:
                continue
            if first == 0 and has_plus and _is_valid(f"+{digits}", default_region):
                yield f"+{digits}"
            if default_region == "CN":
                if _mainland_mobile().fullmatch(digits):
                    yield digits
                    continue
                if not _DIALLED.fullmatch(digits):
                    continue
            if not _DAY.fullmatch(digits) and _is_valid(digits, default_region):
                yield digits


def _is_valid(digits: str, default_region: str) -> bool:
    try:
        normalise(digits, default_region)
    except ValueError:
        return False
    return True


def _digits(form: str) -> str:
    """Return only the digits, with the plus if one precedes them."""
    return ("+" if form.lstrip(" (").startswith("+") else "") + re.sub(r"[^0-9]", "", form)


def normalise(number: object, default_region: str = "CN") -> PhoneNumber:
    """
    Read a number as people write it.

    :param number: ``13800000000``, ``+86 138 0000 0000``, ``0086-…``, ``010-12345678``, or an integer. It may have
        digits, one leading plus, spaces, hyphens and dashes, dots and parentheses, also in full width; nothing else.
    :param default_region: ISO 3166 country of numbers written without a country code.
    :raises ValueError: not a valid number; the message says why and contains no digit of it.
    """
    if isinstance(number, float):
        if not number.is_integer():
            raise ValueError("not a phone number")
        number = int(number)
    text = "" if number is None else str(number).strip()
    mobile = _mobile(text, default_region)
    if mobile is not None:
        return mobile
    cleaned = _cleaned(text)
    return _mobile(cleaned, default_region) or _read(cleaned, default_region)


def _mobile(text: str, default_region: str) -> PhoneNumber | None:
    """Read a mainland mobile number, as nearly all are: the library's pattern is 100 times faster than its parser."""
    plain = text.removeprefix("+86") if default_region == "CN" or text.startswith("+86") else ""
    if plain.isascii() and _mainland_mobile().fullmatch(plain):
        return PhoneNumber(f"+86{plain}", plain)
    return None


def _cleaned(text: str) -> str:
    """
    Return the digits, with a leading plus if there is one, of a text that contains only a number.

    :raises ValueError: it contains something else.
    """
    form = (text if text.isascii() else text.translate(FORMS)).strip()
    if not form:
        raise ValueError("empty")
    if _ROUNDED.fullmatch(form):
        raise ValueError("a spreadsheet has rounded the number; format that column as text and export again")
    decimal = _DECIMAL.fullmatch(form)
    if decimal is not None:
        if decimal[2].strip("0"):
            raise ValueError("not a whole number")
        form = decimal[1]
    if _NUMBER.fullmatch(form):
        return _digits(form)
    if not any(character.isdigit() for character in form):
        raise ValueError("not a phone number")
    strange = _STRANGE.search(form)
    if strange is not None:
        character = strange.group()
        shown = repr(character) if character.isprintable() and not character.isnumeric() else "a special character"
        raise ValueError(f"contains {shown}; a number may have digits, a leading +, spaces, hyphens, dots and ( )")
    if "+" in form:
        raise ValueError("has a + that is not at its beginning")
    raise ValueError("begins or ends with a hyphen or a dot")


def _read(text: str, default_region: str) -> PhoneNumber:
    readings = [text]
    if text.startswith("00"):
        # Not every region dials abroad with 00, but people who write 00 mean that.
        readings = [f"+{text[2:]}", text]
    found: dict[str, PhoneNumber] = {}
    failure: ValueError | None = None
    for reading in readings:
        try:
            number = _parsed(reading, default_region)
            found[number.e164] = number
        except ValueError as error:
            failure = failure or error
    if len(found) > 1:
        raise ValueError("could be two different numbers; write it with + and its country code")
    if not found:
        raise failure or ValueError("not a phone number")
    return found.popitem()[1]


def _parsed(text: str, default_region: str) -> PhoneNumber:
    import phonenumbers

    try:
        parsed = phonenumbers.parse(text, default_region)
    except phonenumbers.NumberParseException as error:
        raise ValueError(_PARSE_ERRORS.get(error.error_type, "not a phone number")) from None
    if not phonenumbers.is_valid_number(parsed):
        raise ValueError(f"not a valid number of country code {parsed.country_code}")
    _check_accounted(text, parsed, default_region)
    if parsed.country_code == 86 and _is_landline(parsed) and text == phonenumbers.national_significant_number(parsed):
        # Ten digits may also be a mobile number that lost one, or a number of another country.
        raise ValueError("a landline without the 0 of its area code, which spreadsheets drop; write the 0")
    e164 = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)
    if parsed.country_code != 86:
        return PhoneNumber(e164, e164)
    # The national format keeps a landline's trunk 0 and gives mobile and service numbers none.
    national = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.NATIONAL)
    return PhoneNumber(e164, re.sub(r"\D", "", national))


def _is_landline(parsed: Any) -> bool:
    import phonenumbers

    return bool(phonenumbers.number_type(parsed) == phonenumbers.PhoneNumberType.FIXED_LINE)


def _check_accounted(text: str, parsed: Any, default_region: str) -> None:
    """
    Refuse a number if the library dropped more than its country code and the prefixes that are dialled before one.

    It reads ``12345 13800000000`` as a call through a carrier, and rewrites numbers of some countries.
    """
    import phonenumbers

    code = str(parsed.country_code)
    home: Any = phonenumbers.PhoneMetadata.metadata_for_region_or_calling_code(
        parsed.country_code, phonenumbers.region_code_for_country_code(parsed.country_code)
    )
    trunk = home.national_prefix or ""
    national = phonenumbers.national_significant_number(parsed)
    digits = text.removeprefix("+")
    dropped = digits.removesuffix(national)
    # "+44 (0)20" is usual. The meaning of other trunk prefixes after a country code is unclear.
    expected = {code, f"{code}0"} if trunk == "0" else {code}
    if not text.startswith("+"):
        expected |= {"", trunk}
        here: Any = phonenumbers.PhoneMetadata.metadata_for_region(default_region)
        if dropped.startswith("0") and re.fullmatch(here.international_prefix or "", dropped.removesuffix(code)):
            expected.add(dropped)
    if not digits.endswith(national) or dropped not in expected:
        raise ValueError("has digits that are not part of the number; write it with + and its country code")


@cache
def _mainland_mobile() -> re.Pattern[str]:
    import phonenumbers

    metadata: Any = phonenumbers.PhoneMetadata.metadata_for_region("CN")
    return re.compile(metadata.mobile.national_number_pattern)


_PARSE_ERRORS = {0: "unknown country code", 1: "not a phone number", 2: "too short", 3: "too short", 4: "too long"}


def normalise_or_digits(number: str) -> str:
    """
    Return the normal form of a number that the service reports.

    :return: E.164; if the number is not valid, only its digits, so that equal texts stay equal.
    """
    try:
        return normalise(number).e164
    except ValueError:
        return re.sub(r"\D", "", number) or number

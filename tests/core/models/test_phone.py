"""Phone numbers: read whole or refused, masked whatever stands around them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from support.examples import examples

from airflow_provider_outbound.core.models.phone import looks_like_number, mask, normalise, redact

DASHES = "-‐‑‒–—―−－﹣﹘゠"
SPACES = " \t\u00a0\u2003\u2009\u3000"
INVISIBLE = "\u200b\u200e\u202a\u202c\u2060\u00ad\ufeff"
BETWEEN = [*DASHES, *SPACES, *INVISIBLE, ".", "．", "(", ")", "（", "）", " - ", "– "]
STRANGE = [*"OolxA/／,;#*~+\né转²①·", "ext.", " Wang"]
WIDE = dict(zip("0123456789", "０１２３４５６７８９", strict=True))


@pytest.mark.parametrize(
    "written",
    [
        pytest.param("138OOO13800", id="letter-o-thrice"),
        pytest.param("1380013 Wang", id="a-name-behind"),
        pytest.param("138oooo8000", id="small-letters"),
        pytest.param("1380013800O", id="a-letter-at-the-end"),
        pytest.param("+8613833334444/+8613855556666", id="two-numbers"),
        pytest.param("13800138000\n13900138000", id="two-lines"),
        pytest.param("+8613833334444 (after 6 pm)", id="text-behind"),
        pytest.param("12345 13800138000", id="digits-before"),
        pytest.param("17909 13800138000", id="a-carrier-before"),
        pytest.param("tel:+8613800138000", id="tel"),
        pytest.param("13800138000;ext=5", id="rfc3966-extension"),
        pytest.param("010-65529988 x5", id="extension"),
        pytest.param("137/0013/8000", id="slashes"),
        pytest.param("86+13800138000", id="plus-inside"),
        pytest.param("++8613800138000", id="two-plus"),
        pytest.param("-13800138000", id="negative"),
        pytest.param(-13800138000, id="negative-integer"),
        pytest.param("1380013800.1", id="a-fraction-of-a-mobile"),
        pytest.param("106552998.8", id="a-fraction-of-a-landline"),
        pytest.param("1380013.8000", id="one-dot-behind-seven-digits"),
        pytest.param("²13800138000", id="superscript"),
        pytest.param("①3800138000", id="circled"),
        pytest.param("13,800,138,000", id="thousands"),
        pytest.param("138****8000", id="masked"),
        pytest.param(True, id="boolean"),
        pytest.param(["13800138000"], id="list"),
    ],
)
def test_what_holds_anything_but_one_number_is_refused_without_quoting_a_digit(written: str) -> None:
    with pytest.raises(ValueError, match=r"^[^0-9]*(country code \d+)?$"):
        normalise(written)


@pytest.mark.parametrize(
    ("written", "region", "e164"),
    [
        ("(+86)138 0013 8000", "CN", "+8613800138000"),
        ("+86 (0)10 6552 9988", "CN", "+861065529988"),
        ("8613800138000", "CN", "+8613800138000"),
        ("008613800138000", "US", "+8613800138000"),
        ("011 86 138 0013 8000", "US", "+8613800138000"),
        ("1 415 555 2671", "US", "+14155552671"),
        ("+39 06 698 57777", "CN", "+390669857777"),
        ("8 912 345 67 89", "RU", "+79123456789"),
        ("020 7946 0018", "GB", "+442079460018"),
        ("٠١٠٦٥٥٢٩٩٨٨", "CN", "+861065529988"),
        ("138‑0013–8000", "CN", "+8613800138000"),
        ("＋８６　１３８（００１３）８０００", "CN", "+8613800138000"),
        ("13800138000.00", "CN", "+8613800138000"),
    ],
)
def test_usual_ways_to_write_a_number_are_understood(written: str, region: str, e164: str) -> None:
    assert normalise(written, region).e164 == e164


def test_a_number_that_reads_as_two_is_refused() -> None:
    """In Hong Kong one dials abroad with 001: this is Singapore's 8234 5678 there, and Jamaica's with +1."""
    with pytest.raises(ValueError, match=r"two different numbers; write it with \+"):
        normalise("0016582345678", "HK")


def strict(text: str) -> str | None:
    """Digits and the plus before them, read by hand; ``None`` where anything else stands."""
    read = ""
    for character in text.strip():
        if character.isdecimal():
            read += str(unicodedata.decimal(character))
        elif character in "+＋" and not read:
            read = "+"
        elif character not in DASHES + SPACES + INVISIBLE + ".．()（）":
            return None
    return read


def same_number(read: str, e164: str) -> bool:
    """Whether these digits mean that number: written with its country code, or as people in China write it."""
    if read.startswith("+"):
        return e164 in (read, read.replace("+860", "+86", 1))
    abroad = read.removeprefix("00")
    return e164 in (f"+86{read}", f"+86{read.removeprefix('0')}", f"+{abroad}", f"+{abroad}".replace("+860", "+86", 1))


@st.composite
def cells(draw: st.DrawFn, strange: Sequence[str] = STRANGE) -> str:
    number = draw(
        st.from_regex(r"1[3-9]\d{9}|010[2-8]\d{7}|1415555\d{4}|400\d{7}", fullmatch=True, alphabet="0123456789")
    )
    prefix = draw(st.sampled_from(["", "", "+86", "86", "0086", "+1", "1", "12345", "+"]))
    digits = [WIDE[digit] if draw(st.integers(0, 30)) == 0 and digit in WIDE else digit for digit in prefix + number]
    noise = st.one_of(*[st.just("")] * 6, st.sampled_from(BETWEEN))
    odd = draw(st.integers(0, 2)) if strange else 0
    written = "".join(digit + draw(noise) for digit in digits)
    for _ in range(odd):
        place = draw(st.integers(0, len(written)))
        cut = draw(st.integers(0, 1))
        written = written[:place] + draw(st.sampled_from(strange)) + written[place + cut :]
    return written


@settings(max_examples=examples(200), deadline=None)
@given(cells())
@example("1380013800.1")
@example("12345 13800138000")
@example("86 010 20000000")
def test_whatever_is_accepted_has_exactly_the_digits_of_the_cell(cell: str) -> None:
    try:
        number = normalise(cell)
    except ValueError as error:
        assert re.fullmatch(r"[^0-9]*(country code \d+)?", str(error)), cell  # noqa: PT017 - only of some cells
        return
    read = strict(cell)
    assert read is not None, cell
    decimal = re.fullmatch(r"(\+?\d{7,})\.0+", cell.strip())
    assert same_number(decimal[1] if decimal else read, number.e164), cell


@settings(max_examples=examples(100), deadline=None)
@given(st.from_regex(r"1(3[5-9]|5[0-27-9])\d{8}", fullmatch=True, alphabet="0123456789"), st.data())
def test_a_mobile_is_accepted_with_whatever_usual_separators(number: str, data: st.DataObject) -> None:
    noise = st.one_of(st.just(""), st.sampled_from([item for item in BETWEEN if item not in ".．"]))
    written = "".join(digit + data.draw(noise) for digit in number[:-1]) + number[-1]

    assert normalise(written).wire == number
    assert normalise(f"+86{written}").wire == number


@settings(max_examples=examples(100), deadline=None)
@given(cells(strange=[]))
def test_what_the_reader_accepts_is_masked_and_redacted(cell: str) -> None:
    try:
        normalise(cell)
    except ValueError:
        assume(False)
    assert looks_like_number(cell)
    assert longest_in_clear(cell.strip(), mask(cell)) < 7
    assert longest_in_clear(cell, redact(f"call {cell} now")[5:]) < 7


def longest_in_clear(text: str, shown: str) -> int:
    """The most digits in a row, whatever stands between them, that a text of the same length still shows."""
    longest = current = 0
    for before, after in zip(text, shown, strict=False):
        if before.isdecimal():
            current = current + 1 if before == after else 0
            longest = max(longest, current)
    return longest


@pytest.mark.parametrize(
    ("number", "masked"),
    [
        ("13812345678", "138******78"),
        ("+8613812345678", "+86138******78"),
        ("+85251234567", "+852******67"),
        ("138 1234 5678", "138********78"),
        ("+86 138 1234 5678", "+86 138********78"),
        ("12345", "*****"),
        ("", ""),
    ],
)
def test_a_masked_number_is_recognised_by_who_knows_it(number: str, masked: str) -> None:
    assert mask(number) == masked


@pytest.mark.parametrize(
    "text",
    [
        "+8613833334444/+8613855556666",
        "+8613833334444 (after 6 pm)",
        "+86… 13833334444 Wang",
        "Wang, 13833334444, 13855556666",
        "+86 137 - 0013 - 8000 / 8001",
        "+123456789012345678901234567890",
    ],
)
def test_each_number_is_masked_whatever_stands_around_it(text: str) -> None:
    assert longest_in_clear(text, mask(text)) < 7
    assert longest_in_clear(text, redact(text)) < 7
    assert "Wang" not in mask(text)


def test_a_mask_shows_no_control_character_and_no_end_of_a_long_text() -> None:
    assert mask("\x1b[m13800138000\nx") == "*[*138******00**"
    assert len(mask("x" * 10_000)) < 100


SEPARATED = [*BETWEEN, "/", "／", " / ", "~", "～", "·", "•", "_", "\\", "\n", "\x00", " – ", "[", "］", "ー"]


@st.composite
def written_numbers(draw: st.DrawFn) -> str:
    digits = draw(st.text("0123456789", min_size=7, max_size=15))
    between = st.one_of(st.just(""), st.sampled_from(SEPARATED))
    spread = "".join(digit + draw(between) for digit in digits[:-1]) + digits[-1]
    return draw(st.sampled_from(["", "+", "＋", "(+"])) + spread


TEXTS = st.text(st.characters(blacklist_categories=["Nd", "Cs"]), max_size=6)


@settings(max_examples=examples(200), deadline=None)
@given(st.lists(st.tuples(TEXTS, written_numbers()), min_size=1, max_size=3), TEXTS)
@example([("", "137–0013–8000")], "")
@example([("", "137 - 0013 - 8000")], "")
@example([("", "137/0013/8000")], "")
def test_any_text_around_numbers_is_masked_and_redacted(parts: list[tuple[str, str]], end: str) -> None:
    text = "".join(before + number for before, number in parts) + end
    assume(not re.search(r"(19|20)\d\d([-/.])\d\d?\2\d|\d([-/.])\d\d?\3(19|20)\d\d", text))

    assert longest_in_clear(text, redact(text)) < 7
    assert longest_in_clear(text.strip(), mask(text)) < 7
    assert len(redact(text)) == len(text)


@settings(max_examples=examples(200), deadline=None)
@given(st.text() | st.text("0123456789+-/ a."))
def test_no_text_shows_seven_digits_in_a_row(text: str) -> None:
    assert not re.search(r"\d{7}", redact(text))
    assert longest_in_clear(text.strip(), mask(text)) < 7
    looks_like_number(text)


@pytest.mark.parametrize("written", ["13,800,138,000", "138,0013,8000", "137·0013·8000", "１３７－００１３－８０００"])
def test_other_ways_to_write_a_number_are_redacted(written: str) -> None:
    assert longest_in_clear(written, redact(f"<{written}>")[1:]) < 7


@pytest.mark.parametrize(
    "text",
    [
        "due 2026-11-26",
        "at 2026-11-26 09:30:00",
        "2026-11-26T09:30:00Z",
        "s3://bucket/2026/11/26/part-0001.csv",
        "26/11/2026",
        "11/2/2026 09:30",
        "1,234,567.89",
        "30.27, 120.15",
        "row 12 of 345678",
    ],
)
def test_dates_and_amounts_are_left_alone(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize("text", ["2026-11-26-13800138000", "2026-11-26 13800138000", "13800138000 2026-11-26"])
def test_a_number_beside_a_date_is_redacted(text: str) -> None:
    assert "0138000" not in redact(text)

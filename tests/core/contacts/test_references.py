"""A contact's own reference id holds no number: it is in logs, results and other programs."""

from __future__ import annotations

import hashlib
import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.examples import examples

from airflow_provider_outbound.core.contacts import Reject, from_items
from airflow_provider_outbound.core.ledger.cipher import Identity
from airflow_provider_outbound.core.models.contact import Contact

NUMBER = "13800138000"


def read(reference: object, region: str = "CN") -> Contact | Reject:
    (item,) = from_items([{"phone": f"+86{NUMBER}", "reference_id": reference}], default_region=region)
    return item


@pytest.mark.parametrize(
    ("reference", "region"),
    [
        ("13877665546", "CN"),
        ("u13877665546", "CN"),
        ("u1387766-5546", "CN"),
        ("c-138–7766–5546", "CN"),
        ("2026-13877665546", "CN"),
        ("13877665546-2026", "CN"),
        ("+14155552671", "CN"),
        ("x+14155552671x", "CN"),
        ("id-0014155552671", "CN"),
        ("u8613877665546", "CN"),
        ("u010-65529988", "CN"),
        ("u4008123123", "CN"),
        ("u１３８７７６６５５４６", "CN"),
        ("u4155552671", "US"),
        ("u51234567", "HK"),
        (13877665546, "CN"),
        (b"u13877665546", "CN"),
    ],
)
def test_one_that_holds_a_number_is_a_reject_with_better_advice(reference: object, region: str) -> None:
    item = read(reference, region)

    assert isinstance(item, Reject)
    assert item.reason.endswith("use an id without one, or omit reference_id: it is then derived from the number")
    assert "5546" not in str(item)


@pytest.mark.parametrize(
    ("reference", "region"),
    [
        ("2026112600012345", "CN"),
        ("ORD-2026112600012345", "CN"),
        ("ORD-20261126-001", "CN"),
        ("N2026112601", "CN"),
        ("20261126093000", "CN"),
        ("1764167000", "CN"),
        ("1764167000123", "CN"),
        ("customer-10086", "CN"),
        ("10002345", "CN"),
        ("507f1f77bcf86cd799439011", "CN"),
        ("HK-20261126", "HK"),
    ],
)
def test_an_order_number_is_none(reference: str, region: str) -> None:
    item = read(reference, region)

    assert isinstance(item, Contact), item
    assert item.reference_id == reference


mobiles = st.from_regex(r"1(3[5-9]|5[0-27-9]|8[1-9])\d{8}", fullmatch=True, alphabet="0123456789")
words = st.text("ghijklmnopqrstuvwxyzGHIJ-_:#", max_size=8)


@settings(max_examples=examples(200), deadline=None)
@given(words, mobiles, words, st.sampled_from(["", "-", " ", "_", "–"]))
def test_a_mobile_inside_any_words_is_found(before: str, number: str, after: str, between: str) -> None:
    written = f"{number[:3]}{between}{number[3:7]}{between}{number[7:]}"

    assert isinstance(read(f"{before}{written}{after}"), Reject)


@settings(max_examples=examples(300), deadline=None)
@given(st.uuids() | st.binary(), st.sampled_from(["", "job-", "customer:"]))
def test_uuids_and_digests_are_no_numbers_whatever_digits_they_hold(made: uuid.UUID | bytes, prefix: str) -> None:
    if isinstance(made, uuid.UUID):
        ids = [str(made), str(made).upper()]
    else:
        ids = [hashlib.md5(made).hexdigest(), hashlib.sha256(made).hexdigest()]
        ids += [Identity(made).reference_id(NUMBER), Identity(made).foreign_reference(NUMBER)]
    for reference in ids:
        assert isinstance(read(prefix + reference), Contact), reference

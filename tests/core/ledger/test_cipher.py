"""Encryption: what is written now, what was written earlier, and keys that come and go."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from hypothesis import given, settings
from hypothesis import strategies as st
from support.examples import examples

from airflow_provider_outbound.core.ledger.cipher import FieldCipher
from airflow_provider_outbound.exceptions import LedgerKeyError

OLD, NEW = (Fernet.generate_key().decode() for _ in range(2))
_ALTERED = bytearray(FieldCipher([NEW]).encrypt(b"altered"))
_ALTERED[-1] ^= 1


@pytest.mark.parametrize("plain", [pytest.param(b"", id="empty"), pytest.param(b"g\x00\x01" * 1000, id="long")])
def test_what_was_encrypted_is_read_again(plain: bytes) -> None:
    token = FieldCipher([OLD]).encrypt(plain)

    assert FieldCipher([NEW, OLD]).decrypt(token) == plain
    assert plain == b"" or plain not in token


def test_equal_rows_do_not_look_equal() -> None:
    cipher = FieldCipher([OLD])

    assert len({cipher.encrypt(b"13800000000") for _ in range(100)}) == 100


def test_rows_of_fernet_stay_readable() -> None:
    token = Fernet(OLD).encrypt(b"13800000000")

    assert FieldCipher([NEW, OLD]).decrypt(token) == b"13800000000"
    assert FieldCipher([OLD]).is_newest(token)
    assert not FieldCipher([NEW, OLD]).is_newest(token)


@pytest.mark.parametrize(
    "token",
    [
        pytest.param(FieldCipher([OLD]).encrypt(b"of another key"), id="another-key"),
        pytest.param(Fernet(OLD).encrypt(b"of another key"), id="another-fernet-key"),
        pytest.param(bytes(_ALTERED), id="altered"),
        pytest.param(FieldCipher([NEW]).encrypt(b"cut short")[:20], id="cut-short"),
        pytest.param(FieldCipher([NEW]).encrypt(b"cut short")[:5], id="cut-in-its-nonce"),
        pytest.param(b"", id="empty"),
        pytest.param(b"no token at all", id="no-token"),
    ],
)
def test_what_no_key_opens_is_said(token: bytes) -> None:
    cipher = FieldCipher([NEW])

    assert not cipher.is_newest(token)
    with pytest.raises(LedgerKeyError, match="none of the keys opens this row"):
        cipher.decrypt(token)


KEYS = [OLD, NEW, *(Fernet.generate_key().decode() for _ in range(3))]
key_lists = st.lists(st.sampled_from(KEYS), min_size=1, max_size=len(KEYS), unique=True)


def read_independently(key: str, token: bytes) -> bytes | None:
    """A row by the formats' description alone; ``None``: it is another key's."""
    secret = HKDFExpand(SHA256(), length=32, info=b"outbound ledger").derive(base64.urlsafe_b64decode(key))
    try:
        if token[:1] == b"\x01":
            return AESGCM(secret).decrypt(token[1:13], token[13:], None)
        return Fernet(key).decrypt(token)
    except (InvalidTag, InvalidToken):
        return None


@settings(max_examples=examples(200), deadline=None)
@given(writer=st.sampled_from(KEYS), readers=key_lists, plain=st.binary(max_size=200), is_fernet=st.booleans())
def test_the_key_that_opens_a_row_is_found_or_none_is(
    writer: str, readers: Sequence[str], plain: bytes, is_fernet: bool
) -> None:
    token = Fernet(writer).encrypt(plain) if is_fernet else FieldCipher([writer]).encrypt(plain)
    cipher = FieldCipher(readers)

    found = cipher.find(token)

    able = [key for key in readers if read_independently(key, token) is not None]
    assert able == [key for key in readers if key == writer]
    assert found == ((FieldCipher([writer]).key_ids[0], plain) if able else None)
    again = cipher.encrypt(plain)
    assert [read_independently(key, again) for key in KEYS] == [plain if key == readers[0] else None for key in KEYS]


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
@settings(max_examples=examples(100), deadline=None)
def test_keys_are_told_apart_by_what_tells_nothing_about_them(one: bytes, other: bytes) -> None:
    keys = [base64.urlsafe_b64encode(secret).decode() for secret in (one, other)]

    names = FieldCipher(keys).key_ids

    assert names == (*FieldCipher(keys[:1]).key_ids, *FieldCipher(keys[1:]).key_ids)
    assert all(len(name) == 8 and set(name) <= set("0123456789abcdef") for name in names)
    assert (names[0] == names[1]) == (one == other)

"""Encryption: what is written now, what was written earlier, and keys that come and go."""

from __future__ import annotations

import pytest
from cryptography.fernet import Fernet

from airflow_provider_outbound.core.ledger.vault import Vault
from airflow_provider_outbound.exceptions import LedgerKeyError

OLD, NEW = (Fernet.generate_key().decode() for _ in range(2))
_ALTERED = bytearray(Vault([NEW]).encrypt(b"altered"))
_ALTERED[-1] ^= 1


@pytest.mark.parametrize("plain", [pytest.param(b"", id="empty"), pytest.param(b"g\x00\x01" * 1000, id="long")])
def test_what_was_encrypted_is_read_again(plain: bytes) -> None:
    token = Vault([OLD]).encrypt(plain)

    assert Vault([NEW, OLD]).decrypt(token) == plain
    assert plain == b"" or plain not in token


def test_equal_rows_do_not_look_equal() -> None:
    vault = Vault([OLD])

    assert len({vault.encrypt(b"13800000000") for _ in range(100)}) == 100


def test_rows_of_fernet_stay_readable() -> None:
    token = Fernet(OLD).encrypt(b"13800000000")

    assert Vault([NEW, OLD]).decrypt(token) == b"13800000000"
    assert Vault([OLD]).is_newest(token)
    assert not Vault([NEW, OLD]).is_newest(token)


@pytest.mark.parametrize(
    "token",
    [
        pytest.param(Vault([OLD]).encrypt(b"of another key"), id="another-key"),
        pytest.param(Fernet(OLD).encrypt(b"of another key"), id="another-fernet-key"),
        pytest.param(bytes(_ALTERED), id="altered"),
        pytest.param(Vault([NEW]).encrypt(b"cut short")[:20], id="cut-short"),
        pytest.param(Vault([NEW]).encrypt(b"cut short")[:5], id="cut-in-its-nonce"),
        pytest.param(b"", id="empty"),
        pytest.param(b"no token at all", id="no-token"),
    ],
)
def test_what_no_key_opens_is_said(token: bytes) -> None:
    vault = Vault([NEW])

    assert not vault.is_newest(token)
    with pytest.raises(LedgerKeyError, match="none of the keys opens this row"):
        vault.decrypt(token)

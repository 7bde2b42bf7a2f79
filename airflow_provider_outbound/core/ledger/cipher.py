"""
What keeps people's data unreadable in the ledger: encryption, and identities that do not tell the number.

Rows are encrypted by AES-256-GCM under a key made from the Fernet key that the ledger was given: a seventh of the time
of a Fernet token, and three quarters of its length. Rows that hold Fernet tokens, as earlier ones do, stay readable.
"""

from __future__ import annotations

import base64
import hmac
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from airflow_provider_outbound.core.models.phone import DIGEST
from airflow_provider_outbound.core.models.wire import compact_json
from airflow_provider_outbound.exceptions import LedgerKeyError

#: How a row begins that is no Fernet token, which begins with "g".
_SEAL = b"\x01"
#: Random, so one key is good for four thousand million rows.
_NONCE_SIZE = 12
_MAKE_ONE = 'python -c "from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())"'


class _Key:
    """One of the ledger's keys."""

    def __init__(self, key: str) -> None:
        self._fernet = Fernet(key)
        secret = base64.urlsafe_b64decode(key)
        # Derived, so that no key serves two ciphers, and the identifier tells nothing about the key.
        self._cipher = AESGCM(HKDFExpand(SHA256(), length=32, info=b"outbound ledger").derive(secret))
        self.key_id = HKDFExpand(SHA256(), length=4, info=b"outbound ledger key id").derive(secret).hex()

    def encrypt(self, plain: bytes) -> bytes:
        nonce = os.urandom(_NONCE_SIZE)
        return _SEAL + nonce + self._cipher.encrypt(nonce, plain, None)

    def decrypt(self, token: bytes) -> bytes | None:
        """``None``: another key's."""
        try:
            if not token.startswith(_SEAL):
                return self._fernet.decrypt(token)
            begin = len(_SEAL)
            return self._cipher.decrypt(token[begin : begin + _NONCE_SIZE], token[begin + _NONCE_SIZE :], None)
        except (InvalidTag, InvalidToken, ValueError):
            return None


class FieldCipher:
    """
    Encrypts with the first key, decrypts with any.

    :param keys: Fernet keys, newest first.
    :raises LedgerKeyError: no key, or one that is no Fernet key.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        if not keys:
            raise LedgerKeyError(f"ledger_key: none is set; make one with: {_MAKE_ONE}")
        try:
            self._keys = [_Key(key.strip()) for key in keys]
        except ValueError:
            raise LedgerKeyError(f"ledger_key: not a Fernet key; make one with: {_MAKE_ONE}") from None

    @property
    def key_ids(self) -> tuple[str, ...]:
        """Identifier of each key, newest first: eight hexadecimal digits that may be shown."""
        return tuple(key.key_id for key in self._keys)

    def encrypt(self, plain: bytes) -> bytes:
        """Encrypt with the newest key."""
        return self._keys[0].encrypt(plain)

    def decrypt(self, token: bytes) -> bytes:
        """
        Decrypt with whichever key fits.

        :raises LedgerKeyError: none does.
        """
        found = self.find(token)
        if found is None:
            raise LedgerKeyError("ledger_key: none of the keys opens this row; add the key it was written with")
        return found[1]

    def find(self, token: bytes) -> tuple[str, bytes] | None:
        """
        Find the key that opens a row.

        :return: Its identifier, and what it decrypts; ``None`` if none of the keys does.
        """
        for key in self._keys:
            plain = key.decrypt(token)
            if plain is not None:
                return key.key_id, plain
        return None

    def is_newest(self, token: bytes) -> bool:
        """Whether the newest key decrypts it."""
        return self._keys[0].decrypt(token) is not None

    def encrypt_json(self, value: Mapping[str, Any]) -> bytes:
        """Encrypt a dictionary."""
        return self.encrypt(compact_json(value).encode("utf-8", "surrogatepass"))

    def decrypt_json(self, token: bytes) -> dict[str, Any]:
        """
        Decrypt a dictionary.

        :raises LedgerKeyError: no key fits.
        """
        value: dict[str, Any] = json.loads(self.decrypt(token).decode("utf-8", "surrogatepass"))
        return value


class Identity:
    """
    Names for numbers that only this ledger can make; its key is made once and never rotated.

    :param key: The ledger's identity key.
    """

    def __init__(self, key: bytes) -> None:
        # Begun once and copied for each number: to begin takes longer than to hash a number.
        self._phone = hmac.new(key, b"phone:", "sha256")
        self._reference = hmac.new(key, b"reference:", "sha256")
        self._foreign_reference = hmac.new(key, b"foreign reference:", "sha256")

    def phone_key(self, e164: str) -> str:
        """By which the ledger knows a number."""
        return _name(self._phone, e164)

    def reference_id(self, e164: str) -> str:
        """The reference id of a contact whose caller gave none: the same in every try, whatever the source's order."""
        return _name(self._reference, e164)

    def foreign_reference(self, reference_id: str) -> str:
        """What stands in the ledger for a reference id that others gave their job and that holds a number."""
        return f"{DIGEST}{_name(self._foreign_reference, reference_id)}"


def _name(begun: hmac.HMAC, text: str) -> str:
    mac = begun.copy()
    mac.update(text.encode("utf-8", "surrogatepass"))
    return mac.digest()[:16].hex()

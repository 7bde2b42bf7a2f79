"""What keeps people's data unreadable in the ledger: encryption, and identities that do not tell the number."""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping, Sequence
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from airflow_provider_outbound.exceptions import LedgerKeyError

#: Made once, for it takes longer than to write a short value.
_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_MAKE_ONE = 'python -c "from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())"'


class Vault:
    """
    Encrypts with the first key, decrypts with any.

    :param keys: Fernet keys, newest first.
    :raises LedgerKeyError: no key, or one that is no Fernet key.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        if not keys:
            raise LedgerKeyError(f"ledger_key: none is set; make one with: {_MAKE_ONE}")
        try:
            fernets = [Fernet(key.strip()) for key in keys]
        except ValueError:
            raise LedgerKeyError(f"ledger_key: not a Fernet key; make one with: {_MAKE_ONE}") from None
        self._newest = fernets[0]
        self._fernet = MultiFernet(fernets)

    def encrypt(self, plain: bytes) -> bytes:
        """Encrypt with the newest key."""
        return self._fernet.encrypt(plain)

    def decrypt(self, token: bytes) -> bytes:
        """
        Decrypt with whichever key fits.

        :raises LedgerKeyError: none does.
        """
        try:
            return self._fernet.decrypt(token)
        except InvalidToken:
            raise LedgerKeyError(
                "ledger_key: none of the keys opens this row; add the key it was written with"
            ) from None

    def is_newest(self, token: bytes) -> bool:
        """Whether the newest key decrypts it."""
        try:
            self._newest.decrypt(token)
        except InvalidToken:
            return False
        return True

    def encrypt_json(self, value: Mapping[str, Any]) -> bytes:
        """Encrypt a dictionary."""
        return self.encrypt(_JSON.encode(value).encode("utf-8", "surrogatepass"))

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
        self._key = key

    def phone_key(self, e164: str) -> str:
        """By which the ledger knows a number."""
        return self._name("phone", e164)

    def reference_id(self, e164: str) -> str:
        """The reference id of a contact whose caller gave none: the same in every try, whatever the source's order."""
        return self._name("reference", e164)

    def _name(self, purpose: str, e164: str) -> str:
        return hmac.digest(self._key, f"{purpose}:{e164}".encode(), "sha256").hex()[:32]

"""What keeps people's data unreadable in the ledger: encryption, and identities that do not tell the number."""

from __future__ import annotations

import base64
import hmac
import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from airflow_provider_outbound.core.models.wire import compact_json
from airflow_provider_outbound.exceptions import LedgerKeyError

_MAKE_ONE = 'python -c "from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())"'
#: Bytes that AES encrypts at a time.
_BLOCK = 16


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
        # The two halves of a Fernet key, see https://github.com/fernet/spec.
        halves = base64.urlsafe_b64decode(keys[0].strip())
        self._signing_key, self._encryption_key = halves[:16], halves[16:]
        self._fernet = MultiFernet(fernets)

    def encrypt(self, plain: bytes) -> bytes:
        """Encrypt with the newest key."""
        return self._fernet.encrypt(plain)

    def encrypt_all(self, plains: Sequence[bytes]) -> list[bytes]:
        """
        Encrypt many with the newest key: tokens as :meth:`encrypt` makes them, in a third of its time.

        All go through one cipher, each behind a block of random bytes. What that block is encrypted to is as random,
        and in this mode it is the initialisation vector of what follows: the token begins with it.
        """
        noise = os.urandom(_BLOCK * len(plains))
        parts: list[bytes] = []
        for place, plain in enumerate(plains):
            padding = _BLOCK - len(plain) % _BLOCK
            parts += (noise[place * _BLOCK : (place + 1) * _BLOCK], plain, bytes((padding,)) * padding)
        cipher = Cipher(algorithms.AES(self._encryption_key), modes.CBC(bytes(_BLOCK)))
        encrypted = cipher.encryptor().update(b"".join(parts))
        head = b"\x80" + int(time.time()).to_bytes(8, "big")
        tokens: list[bytes] = []
        start = 0
        for plain in plains:
            end = start + _BLOCK + (len(plain) // _BLOCK + 1) * _BLOCK
            body = head + encrypted[start:end]
            tokens.append(base64.urlsafe_b64encode(body + hmac.digest(self._signing_key, body, "sha256")))
            start = end
        return tokens

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
        return self.encrypt(_json_bytes(value))

    def encrypt_jsons(self, values: Iterable[Mapping[str, Any]]) -> list[bytes]:
        """Encrypt many dictionaries."""
        return self.encrypt_all([_json_bytes(value) for value in values])

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
        # Begun once and copied for each number: deriving the two pads anew costs more than hashing a number.
        self._phone = hmac.new(key, b"phone:", "sha256")
        self._reference = hmac.new(key, b"reference:", "sha256")

    def phone_key(self, e164: str) -> str:
        """By which the ledger knows a number."""
        return _name(self._phone, e164)

    def reference_id(self, e164: str) -> str:
        """The reference id of a contact whose caller gave none: the same in every try, whatever the source's order."""
        return _name(self._reference, e164)


def _json_bytes(value: Mapping[str, Any]) -> bytes:
    return compact_json(value).encode("utf-8", "surrogatepass")


def _name(begun: hmac.HMAC, e164: str) -> str:
    mac = begun.copy()
    mac.update(e164.encode())
    return mac.digest()[:16].hex()

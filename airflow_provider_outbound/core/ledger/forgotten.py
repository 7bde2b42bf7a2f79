"""What stands in place of a person's data after the person was forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_outbound.exceptions import LedgerKeyError

if TYPE_CHECKING:
    from airflow_provider_outbound.core.ledger.cipher import FieldCipher

#: Bytes. No contact is as short when it is encrypted, so other rows need not be decrypted to tell.
_LONGEST = 32


def forgotten_token(cipher: FieldCipher) -> bytes:
    """What replaces an encrypted contact. It is not null: a null contact is filled in again by the next message."""
    return cipher.encrypt_json({})


def is_forgotten(cipher: FieldCipher, contact: bytes | None) -> bool:
    """Whether an encrypted contact was erased on request."""
    if contact is None or len(contact) > _LONGEST:
        return False
    try:
        return not cipher.decrypt_json(contact)
    except LedgerKeyError:
        return False

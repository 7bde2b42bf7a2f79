"""Finds messages in quarantine that mention a person."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlalchemy import select

from airflow_provider_outbound.core.ledger import schema
from airflow_provider_outbound.core.ledger.statements import stream
from airflow_provider_outbound.core.models.characters import shape
from airflow_provider_outbound.exceptions import LedgerKeyError

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from airflow_provider_outbound.core.ledger.cipher import FieldCipher

#: What may stand between the digits of a number.
_SEPARATORS = re.compile(r"[\s().\-/]")
#: A character of a JSON string, written as its code.
_ESCAPE = re.compile(r"\\u00([0-9a-fA-F]{2})")
#: Characters. A shorter identifier may occur by chance in a message about somebody else.
_DISTINCTIVE = 16


class Mentions:
    """
    What identifies a person in a message that could not be read.

    :param e164: The person's number, in any form: with or without country code, with separators, in UTF-8 or UTF-16.
    :param names: Identifiers that only the person's jobs have. Short ones are not searched for.
    """

    def __init__(self, e164: str, names: Sequence[str]) -> None:
        self._national = _national(e164)
        self._names = [name for name in names if len(name) >= _DISTINCTIVE]

    def find(self, connection: Connection, cipher: FieldCipher) -> tuple[list[str], int]:
        """
        Search the quarantine.

        :return: Hashes of the messages that mention the person, and the number of messages that no key opens.
        """
        found: list[str] = []
        unreadable = 0
        table = schema.quarantine.c
        messages = select(table.hash, table.topic, table.message_id, table.body)
        with stream(connection, messages, 20) as rows:
            for row in rows:
                try:
                    body = cipher.decrypt(row.body)
                except LedgerKeyError:
                    unreadable += 1
                    continue
                if self.is_in(body) or self._is_in_text(f"{row.topic} {row.message_id}"):
                    found.append(row.hash)
        return found, unreadable

    def is_in(self, body: bytes) -> bool:
        """Whether a message mentions the person."""
        # Without null bytes, so that the digits of UTF-16 are found too.
        return self._is_in_text(body.replace(b"\x00", b"").decode("utf-8", "replace"))

    def _is_in_text(self, text: str) -> bool:
        plain = _ESCAPE.sub(lambda code: chr(int(code[1], 16)), text)
        return self._national in _SEPARATORS.sub("", shape(plain)) or any(name in plain for name in self._names)


def _national(e164: str) -> str:
    """The number without its country code."""
    import phonenumbers

    return str(phonenumbers.parse(e164).national_number)

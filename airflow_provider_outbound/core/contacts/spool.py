"""Keep the contacts of a source that may return other rows the next time, so that all readings get the same ones."""

from __future__ import annotations

import os
import pickle
import tempfile
import weakref
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import IO

from airflow_provider_outbound.core.contacts.rows import Reject
from airflow_provider_outbound.core.contacts.source import ContactSource
from airflow_provider_outbound.core.models.contact import Contact
from airflow_provider_outbound.exceptions import OutboundBotContactsError, before_calling

#: Rows encrypted together.
_BLOCK = 1000


class Spool:
    """
    Reads a source once, to its end, before it returns the first row.

    The rows are kept in a temporary file that has no name and that only its owner could read, under a key that exists
    only in this process's memory. The kernel deletes the file when the process ends, even if it is killed.

    :param source: Read at the first iteration; later ones return the same contacts and rejects.
    :param label: The argument's name, for errors.
    """

    name = ""
    is_repeatable = True

    def __init__(self, source: ContactSource, label: str) -> None:
        self.label = label
        self._source = source
        self._kept: _EncryptedRows | None = None

    def __iter__(self) -> Iterator[tuple[int, Contact | Reject]]:
        if self._kept is None:
            self._kept = self._read()
        return enumerate(self._kept, start=1)

    def _read(self) -> _EncryptedRows:
        kept = _EncryptedRows()
        rows = iter(self._source)
        with before_calling():
            while block := list(islice(rows, _BLOCK)):
                self._append(kept, block)
        return kept

    def _append(self, kept: _EncryptedRows, block: list[Contact | Reject]) -> None:
        try:
            kept.append(block)
        except OSError as error:
            raise OutboundBotContactsError(
                f"{self.label}: the contacts cannot be kept in a temporary file in {tempfile.gettempdir()}:"
                f" {error.strerror}; free some space, or set TMPDIR to another folder"
            ) from None


class _EncryptedRows:
    """Rows in a temporary file; several iterations may run at the same time."""

    def __init__(self) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._cipher = AESGCM(AESGCM.generate_key(bit_length=256))
        self._file: IO[bytes] = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - closed with this object
        weakref.finalize(self, self._file.close)
        #: Where each block begins and ends.
        self._places: list[tuple[int, int]] = []

    def append(self, block: Iterable[Contact | Reject]) -> None:
        plain = pickle.dumps(list(block), protocol=pickle.HIGHEST_PROTOCOL)
        sealed = self._cipher.encrypt(_nonce(len(self._places)), plain, None)
        begin = self._places[-1][1] if self._places else 0
        written = 0
        while written < len(sealed):
            written += os.pwrite(self._file.fileno(), sealed[written:], begin + written)
        self._places.append((begin, begin + len(sealed)))

    def __iter__(self) -> Iterator[Contact | Reject]:
        for number, (begin, end) in enumerate(self._places):
            sealed = os.pread(self._file.fileno(), end - begin, begin)
            plain = self._cipher.decrypt(_nonce(number), sealed, None)
            # Decryption has proved that these bytes are this process's own.
            yield from pickle.loads(plain)  # noqa: S301 - authenticated, see above


def _nonce(number: int) -> bytes:
    """Return a nonce that is used once: the key is the object's own, and so is the number of a block."""
    return number.to_bytes(12, "big")

"""A ledger that is opened without its keys, because calls must be stopped although a key is missing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_provider_outbound.core.ledger.cipher import FieldCipher, Identity
from airflow_provider_outbound.core.ledger.ledger import Ledger
from airflow_provider_outbound.core.ledger.reading import check_revision
from airflow_provider_outbound.exceptions import LedgerKeyError, LedgerMissingError

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine
    from sqlalchemy.engine import URL

_WHY = (
    "ledger_key: this ledger was opened without its keys, which is enough to stop calls, but not for this; set"
    " [outbound] ledger_key"
)


class _NoCipher(FieldCipher):
    """Encrypts nothing and decrypts nothing."""

    def __init__(self) -> None:
        self._keys = []

    def encrypt(self, plain: bytes) -> bytes:  # noqa: ARG002 - the interface of the base class
        raise LedgerKeyError(_WHY)

    def is_newest(self, token: bytes) -> bool:  # noqa: ARG002 - the interface of the base class
        return False


class _NoIdentity(Identity):
    """Knows no pseudonym: a wrong one would let a person be called twice."""

    def __init__(self) -> None:
        pass

    def _name(self, kind: str, text: str) -> str:  # noqa: ARG002 - the interface of the base class
        raise LedgerKeyError(_WHY)


class KeylessLedger(Ledger):
    """
    A ledger without its keys. What is not encrypted can be read and written: job groups, their states and connections.

    It is neither created nor migrated.

    :param url: As for :class:`Database`.
    :raises LedgerMissingError: there is no ledger.
    :raises LedgerVersionError: its schema is older or newer than this package.
    """

    def __init__(self, url: str) -> None:
        super().__init__(url, (), require_keys=False)

    def _make_cipher(self, keys: Sequence[str]) -> FieldCipher:  # noqa: ARG002 - the interface of the base class
        return _NoCipher()

    def _read_identity(self, token: bytes, needed: set[str]) -> Identity:  # noqa: ARG002 - the interface of the base class
        return _NoIdentity()

    def _note_key(self, connection: Connection) -> None:
        """Note no key, because nothing is encrypted."""

    def _note_first_keys(self) -> set[str]:
        return set()

    def _create_engine(self, url: URL) -> Engine:
        if url.get_backend_name() == "sqlite" and not Path(str(url.database)).is_file():
            raise LedgerMissingError(f"ledger {url.database}: there is no such file")
        return super()._create_engine(url)

    def _migrate(self) -> str | None:
        with self.read() as connection:
            revision = self._revision(connection)
        check_revision(revision, self._shown)
        return revision

"""A ledger on SQLite, and on PostgreSQL where there is a server."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from cryptography.fernet import Fernet

from airflow_provider_outbound.core.ledger import Candidate, Ledger, open_ledger
from airflow_provider_outbound.core.models.contact import Contact
from airflow_provider_outbound.core.models.phone import normalise


@pytest.fixture
def key() -> str:
    return Fernet.generate_key().decode()


@pytest.fixture
def url(ledger_url: str) -> str:
    """A database of its own for each test."""
    return ledger_url


@pytest.fixture
def ledger(url: str, key: str) -> Iterator[Ledger]:
    with open_ledger(url, [key]) as opened:
        yield opened


@pytest.fixture
def candidates(ledger: Ledger) -> Callable[[int], list[Candidate]]:
    """Makes N contacts, always the same."""

    def make(count: int) -> list[Candidate]:
        made = []
        for index in range(count):
            phone = normalise(f"138{index:08d}")
            made.append(
                Candidate(
                    reference_id=ledger.identity.reference_id(phone.e164),
                    phone_key=ledger.identity.phone_key(phone.e164),
                    contact=Contact(phone=phone, name="张三", extras={"city": "杭州"}),
                )
            )
        return made

    return make

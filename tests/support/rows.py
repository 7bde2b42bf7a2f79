"""What the rows of a source have become: contacts, or rejects with a reason."""

from __future__ import annotations

from collections.abc import Iterable

from airflow_provider_outbound.core.contacts import Reject
from airflow_provider_outbound.core.models.contact import Contact


def as_contact(item: Contact | Reject) -> Contact:
    """The item, which must be a contact; a failure says why it was rejected."""
    assert isinstance(item, Contact), item
    return item


def as_contacts(items: Iterable[Contact | Reject]) -> list[Contact]:
    """All items, each of which must be a contact."""
    return [as_contact(item) for item in items]


def as_reject(item: Contact | Reject) -> Reject:
    """The item, which must be a reject."""
    assert isinstance(item, Reject), item
    return item

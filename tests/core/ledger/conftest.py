"""A ledger on SQLite, and on PostgreSQL where OUTBOUND_TEST_POSTGRESQL names a server's maintenance database."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from airflow_provider_outbound.core.ledger import Candidate, Ledger, open_ledger
from airflow_provider_outbound.core.models.contact import Contact
from airflow_provider_outbound.core.models.phone import normalise

POSTGRESQL = os.environ.get("OUTBOUND_TEST_POSTGRESQL")


@pytest.fixture
def key() -> str:
    return Fernet.generate_key().decode()


@pytest.fixture(
    params=[
        pytest.param("sqlite", id="sqlite"),
        pytest.param(
            "postgresql",
            id="postgresql",
            marks=[
                pytest.mark.postgresql,
                pytest.mark.skipif(POSTGRESQL is None, reason="OUTBOUND_TEST_POSTGRESQL names no server"),
            ],
        ),
    ]
)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database of its own for each test."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'ledger.db'}"
        return
    server = make_url(POSTGRESQL or "").set(drivername="postgresql+psycopg")
    name = f"test_{uuid.uuid4().hex}"
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    yield server.set(database=name).render_as_string(hide_password=False)
    with engine.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    engine.dispose()


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

"""Whether a connection to a database can be read on its way, by real connections."""

from __future__ import annotations

import pytest
from sqlalchemy import create_engine, make_url
from support.mysql import PARAMS, server_url

from airflow_provider_outbound.core.tls import is_readable, is_unchecked

#: This machine, in a form that does not show it.
DISGUISED = "2130706433"


@pytest.mark.postgresql
@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_a_connection_to_postgresql_without_tls(postgresql_url: str, driver: str) -> None:
    pytest.importorskip(driver)
    url = make_url(postgresql_url).set(drivername=f"postgresql+{driver}")

    for host, readable in ((url.host, False), (DISGUISED, True)):
        engine = create_engine(url.set(host=host))
        with engine.connect() as connection:
            assert is_readable(connection) is readable
        engine.dispose()


@pytest.mark.parametrize("server", PARAMS)
def test_a_connection_to_mysql_without_tls(server: str) -> None:
    for host, readable in ((server_url(server).host, False), (DISGUISED, True)):
        engine = create_engine(server_url(server).set(host=host), connect_args={"ssl_disabled": True})
        with engine.connect() as connection:
            assert is_readable(connection) is readable
            assert not connection.in_transaction()
        engine.dispose()


def test_a_file_crosses_no_network() -> None:
    engine = create_engine("sqlite://")
    with engine.connect() as connection:
        assert not is_readable(connection)
    engine.dispose()


@pytest.mark.parametrize(
    ("url", "unchecked"),
    [
        ("postgresql://u@db/l", True),
        ("postgresql://u@db/l?sslmode=prefer", True),
        ("postgresql://u@db/l?sslmode=require", True),
        ("postgresql://u@db/l?sslmode=require&sslrootcert=/ca.pem", False),
        ("postgresql://u@db/l?sslmode=verify-ca", False),
        ("postgresql+psycopg://u@db/l?sslmode=verify-full", False),
        ("postgresql://u@/l?host=/var/run/postgresql", False),
        ("postgresql://u@/l?host=db-1:5432&host=localhost", True),
        ("postgresql://u@127.0.0.1/l", False),
        ("sqlite:////var/lib/ledger.db", False),
    ],
)
def test_a_server_that_does_not_prove_who_it_is(monkeypatch: pytest.MonkeyPatch, url: str, unchecked: bool) -> None:
    monkeypatch.delenv("PGSSLMODE", raising=False)
    monkeypatch.delenv("PGSSLROOTCERT", raising=False)

    assert is_unchecked(make_url(url)) is unchecked

    monkeypatch.setenv("PGSSLMODE", "verify-full")
    assert is_unchecked(make_url(url)) is (unchecked and "sslmode" in url)

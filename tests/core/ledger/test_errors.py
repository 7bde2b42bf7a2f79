"""What an error of the database means, judged by its SQLSTATE on a real server."""

from __future__ import annotations

import psycopg.errors
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from support.postgresql import PostgreSQLServer

from airflow_provider_outbound.core.ledger import Ledger, open_ledger
from airflow_provider_outbound.core.ledger.errors import ledger_error
from airflow_provider_outbound.exceptions import (
    LedgerAccessError,
    LedgerError,
    LedgerUnavailableError,
    OutboundBotConfigError,
)

SECRET = "13800138000"


def _raised(state: str) -> DBAPIError:
    """As SQLAlchemy raises the driver's error for a statement that holds a number."""
    kind = psycopg.errors.lookup(state)
    detail = f"the server says so\nDETAIL: Key (phone)=({SECRET})"
    error = DBAPIError.instance(
        "INSERT INTO jobs VALUES (%(phone)s)", {"phone": SECRET}, kind(detail), psycopg.Error, hide_parameters=True
    )
    assert isinstance(error, DBAPIError)
    return error


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        pytest.param("08006", LedgerUnavailableError, id="connection-failure"),
        pytest.param("08P01", LedgerUnavailableError, id="pooler-gave-up"),
        pytest.param("25006", LedgerUnavailableError, id="read-only"),
        pytest.param("40001", LedgerUnavailableError, id="serialization-failure"),
        pytest.param("40P01", LedgerUnavailableError, id="deadlock"),
        pytest.param("53100", LedgerUnavailableError, id="disk-full"),
        pytest.param("53300", LedgerUnavailableError, id="too-many-connections"),
        pytest.param("55P03", LedgerUnavailableError, id="lock-not-available"),
        pytest.param("57P01", LedgerUnavailableError, id="admin-shutdown"),
        pytest.param("57P03", LedgerUnavailableError, id="cannot-connect-now"),
        pytest.param("58030", LedgerUnavailableError, id="io-error"),
        pytest.param("28P01", LedgerAccessError, id="wrong-password"),
        pytest.param("3D000", LedgerAccessError, id="no-such-database"),
        pytest.param("42501", LedgerAccessError, id="missing-privilege"),
        pytest.param("42P01", LedgerAccessError, id="no-such-table"),
        pytest.param("22001", None, id="value-too-long"),
        pytest.param("23505", None, id="unique-violation"),
        pytest.param("42601", None, id="syntax-error"),
    ],
)
def test_an_error_is_judged_by_its_state(state: str, expected: type[LedgerError] | None) -> None:
    translated = ledger_error("postgresql://host/ledger", _raised(state))

    assert (None if translated is None else type(translated)) is expected
    if translated is not None:
        assert SECRET not in str(translated)
        assert "\n" not in str(translated)


def test_every_state_that_the_driver_knows_is_judged_without_its_values() -> None:
    states = [state for state in psycopg.errors._sqlcodes if len(state) == 5]
    assert len(states) > 200

    for state in states:
        translated = ledger_error("postgresql://host/ledger", _raised(state))
        assert translated is None or SECRET not in str(translated), state


@pytest.mark.postgresql
@pytest.mark.parametrize(
    ("state", "expected"),
    [("25006", LedgerUnavailableError), ("53100", LedgerUnavailableError), ("42501", LedgerAccessError)],
)
def test_a_servers_own_error_is_judged_in_reads_and_writes_alike(
    server: PostgreSQLServer, key: str, state: str, expected: type[LedgerError]
) -> None:
    statement = text(f"DO $$ BEGIN RAISE EXCEPTION 'not now' USING ERRCODE = '{state}'; END $$")

    with open_ledger(server.url, [key]) as ledger:
        for transaction in (ledger.read, ledger.write):
            with pytest.raises(expected, match="not now"), transaction() as connection:
                connection.execute(statement)
        _write(ledger)


@pytest.mark.postgresql
@pytest.mark.parametrize(
    ("user", "database", "words"),
    [
        pytest.param("nobody", "postgres", "refuses this user", id="unknown-user"),
        pytest.param("postgres", "nowhere", "no such database", id="unknown-database"),
    ],
)
def test_a_wrong_address_is_one_line_with_the_fix(
    server: PostgreSQLServer, key: str, user: str, database: str, words: str
) -> None:
    with pytest.raises(LedgerAccessError, match=words) as raised:
        open_ledger(f"postgresql://{user}:word@127.0.0.1:{server.port}/{database}", [key])

    assert "\n" not in str(raised.value)
    assert "word@" not in str(raised.value)


@pytest.mark.postgresql
def test_an_unknown_option_of_the_url_is_named(server: PostgreSQLServer, key: str) -> None:
    with pytest.raises(OutboundBotConfigError, match=r"ledger_url: .*pool_size"):
        open_ledger(f"{server.url}?pool_size=5", [key])


@pytest.mark.postgresql
@pytest.mark.parametrize("option", ["prepare_threshold=0", "prepare_threshold=5", "connect_timeout=10"])
def test_options_of_the_driver_are_understood(server: PostgreSQLServer, key: str, option: str) -> None:
    with open_ledger(f"{server.url}?{option}", [key]) as ledger:
        _write(ledger)


@pytest.mark.postgresql
class TestARoleWithoutCreate:
    """As a careful administrator makes it: it may use the ledger's tables and make none."""

    @pytest.fixture
    def limited_url(self, server: PostgreSQLServer) -> str:
        server.execute("CREATE ROLE limited LOGIN", "REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        return f"postgresql://limited@127.0.0.1:{server.port}/postgres"

    def test_opens_and_uses_a_ledger_that_is_up_to_date(
        self, server: PostgreSQLServer, limited_url: str, key: str
    ) -> None:
        open_ledger(server.url, [key]).close()
        server.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO limited")

        with open_ledger(limited_url, [key]) as ledger:
            _write(ledger)

    def test_is_told_who_makes_a_ledger(self, limited_url: str, key: str) -> None:
        with pytest.raises(LedgerAccessError, match="run 'outbound ledger migrate' as the user who owns them"):
            open_ledger(limited_url, [key])

    def test_is_told_who_migrates_a_ledger(self, server: PostgreSQLServer, limited_url: str, key: str) -> None:
        open_ledger(server.url, [key]).close()
        server.execute(
            "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO limited",
            "DROP TABLE handled",
            "UPDATE outbound_version SET version_num = '0004'",
        )

        with pytest.raises(LedgerAccessError, match="run 'outbound ledger migrate' as the user who owns them"):
            open_ledger(limited_url, [key])


def _write(ledger: Ledger) -> None:
    with ledger.write() as connection:
        ledger.take_sequence(connection, 1)

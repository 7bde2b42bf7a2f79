"""Databases on real MySQL and MariaDB servers, which tests that need them name by environment variables."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import URL, create_engine, make_url, text

#: Environment variable by server.
SERVERS = {"mysql": "OUTBOUND_TEST_MYSQL", "mariadb": "OUTBOUND_TEST_MARIADB"}
#: Parameters of a fixture, one for each server.
PARAMS = [pytest.param(name, id=name, marks=pytest.mark.mysql) for name in SERVERS]


def server_url(server: str) -> URL:
    """The URL of a server; skips the test if it is not named."""
    url = os.environ.get(SERVERS[server])
    if not url:
        pytest.skip(f"{SERVERS[server]} is not set (a {server} server, URL)")
    pytest.importorskip("pymysql", reason="pymysql is not installed: see .ci/run")
    return make_url(url).set(drivername="mysql+pymysql")


@contextmanager
def database(server: str, options: str = "") -> Iterator[URL]:
    """
    A database of the test's own.

    :param server: ``mysql`` or ``mariadb``.
    :param options: Of ``CREATE DATABASE``.
    """
    url, name = server_url(server), f"test_{uuid.uuid4().hex}"
    keeper = create_engine(url)
    try:
        with keeper.begin() as connection:
            connection.execute(text(f"CREATE DATABASE {name} {options}"))
        yield url.set(database=name)
        with keeper.begin() as connection:
            connection.execute(text(f"DROP DATABASE {name}"))
    finally:
        keeper.dispose()

"""
One Airflow on several machines for all tests of this folder.

There is only one for any number of test processes: all modules belong to one ``xdist_group``.
"""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest
from support.airflow import add_account
from support.machines import LONG, Machines

from airflow_provider_outbound.cli.services import example_dag

#: Packages that the suite needs in addition to ``[dev]``; ``.ci/run`` installs them.
PACKAGES = {
    "celery": "apache-airflow-providers-celery",
    "redis": "redis",
    "s3fs": "apache-airflow-providers-amazon[s3fs]",
    "moto": "moto[s3]",
    "flask_cors": "flask-cors",
}
OWN = ("outage_campaign", "wrong_machines")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add Airflow's logs to the report of a failed test, since its folder is removed at the end."""
    report = yield
    add_account(item, report, "machines")
    return report


@pytest.fixture(scope="session")
def machines(postgresql_url: str, redis_url: str) -> Iterator[Machines]:
    """Two running workers and triggerers, with ``nightly_campaign`` and the DAGs of this folder."""
    if missing := [package for module, package in PACKAGES.items() if find_spec(module) is None]:
        pytest.skip(f"not installed: {', '.join(missing)}")
    folder = Path(tempfile.mkdtemp(prefix="outbound-machines-"))
    with databases(postgresql_url) as (metadata, ledger):
        stack = Machines(
            folder,
            database=metadata,
            ledger=ledger,
            redis=redis_url,
            dags=[example_dag("nightly_campaign"), *(Path(__file__).with_name(f"{name}.py") for name in OWN)],
            simulator_options=["--call-seconds", "0.5", "--concurrency", "5", "--latency-ms", "500", "--seed", "7"],
        )
        with stack:
            stack.prepare()
            stack.start_airflow()
            for dag_id in ("nightly_campaign", "impatient_campaign", "on_sqlite"):
                stack.wait_for_dag(dag_id, LONG)
            yield stack
            for name in stack.services:
                print(f"--- {name}\n{stack.tail(name)}")


@contextmanager
def databases(server: str) -> Iterator[tuple[str, str]]:
    """Two temporary databases: URLs of Airflow's and of the ledger's."""
    import psycopg
    from sqlalchemy import make_url

    names = [f"{name}_{uuid.uuid4().hex}" for name in ("airflow", "ledger")]
    drivers = ("postgresql+psycopg2", "postgresql")
    plain = make_url(server).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain, autocommit=True) as connection:
        for name in names:
            connection.execute(f"CREATE DATABASE {name}")
        try:
            metadata, ledger = (
                make_url(server).set(drivername=driver, database=name).render_as_string(hide_password=False)
                for driver, name in zip(drivers, names, strict=True)
            )
            yield metadata, ledger
        finally:
            for name in names:
                connection.execute(f"DROP DATABASE {name} WITH (FORCE)")

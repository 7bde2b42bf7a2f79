"""
Fixtures that more than one folder of tests uses.

Airflow reads its settings when it is first imported, so its home is chosen here, before any test module is loaded.
"""

from __future__ import annotations

import fcntl
import functools
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.oss_server import OssServer, oss_server
from support.postgresql import PostgreSQLServer, postgresql_server

if TYPE_CHECKING:
    from airflow.models import DagRun
    from airflow.sdk import DAG

pytest_plugins = ["airflow_provider_outbound.simulator.testing"]

_HOME = Path(tempfile.mkdtemp(prefix="outbound-tests-"))

for _name in [name for name in os.environ if name.startswith(("AIRFLOW_", "OUTBOUND_")) and "_TEST_" not in name]:
    del os.environ[_name]  # a developer's own Airflow must not be reached from here
os.environ |= {
    "AIRFLOW_HOME": str(_HOME),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
    # Fixed and public: it protects nothing but the data of these tests.
    "AIRFLOW__CORE__FERNET_KEY": "dGVzdHMtb25seS1rZXktb2YtMzItYnl0ZXMtISEhISE=",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{_HOME}/airflow.db",
    "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(_HOME / "logs"),
    "no_proxy": "127.0.0.1,localhost",
}


def pytest_unconfigure() -> None:
    """Leave no folder behind."""
    shutil.rmtree(_HOME, ignore_errors=True)


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let one process run all DAGs: importing Airflow's API server for the first run takes ten seconds of CPU time."""
    for item in items:
        if "run_dag" in getattr(item, "fixturenames", ()) and item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group("dag_runs"))


@pytest.fixture(scope="session")
def airflow_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """AIRFLOW_HOME of this process, with a migrated SQLite metadata database: enough for ``dag.test()``."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        # All processes of a run copy what the first of them made: making it takes longer than most tests.
        folder = folder.parent
    made, whole = folder / "airflow.db", folder / "airflow.migrated"
    with (folder / "airflow.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not whole.exists():
            subprocess.run(
                [sys.executable, "-W", "ignore", "-m", "airflow", "db", "migrate"],
                env={**os.environ, "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{made}"},
                check=True,
                capture_output=True,
                timeout=180,
            )
            whole.touch()
    # Not a copy of the file: what was written last is in a log beside it.
    with closing(sqlite3.connect(made)) as source, closing(sqlite3.connect(_HOME / "airflow.db")) as copy:
        source.backup(copy)
    return _HOME


@pytest.fixture
def run_dag(airflow_home: Path) -> Callable[..., DagRun]:
    """
    Run a DAG that a test defines inline with ``dag.test()`` and return its run.

    ``dag.test()`` looks for a DAG in the folders that Airflow parses, so it is written to the metadata database first.
    """
    _share_execution_api()

    def run(dag: DAG, **arguments: Any) -> DagRun:
        from airflow.dag_processing.bundles.manager import DagBundlesManager
        from airflow.dag_processing.dagbag import BundleDagBag, sync_bag_to_db

        folder = airflow_home / "dags"
        folder.mkdir(exist_ok=True)
        bundles: Any = DagBundlesManager  # untyped
        bundles().sync_bundles_to_db()
        bag = BundleDagBag(dag_folder=folder, bundle_path=folder, bundle_name="dags-folder")
        dag.fileloc = str(folder / f"{dag.dag_id}.py")
        bag.bag_dag(dag)
        sync_bag_to_db(bag, "dags-folder", None)
        made: DagRun = dag.test(**arguments)
        return made

    return run


def _share_execution_api() -> None:
    """Let all tasks of ``dag.test()`` use one API: before Airflow 3.3 each task takes seconds to build its own."""
    from airflow.sdk.execution_time import supervisor

    if not hasattr(supervisor.in_process_api_server, "cache_info"):
        supervisor.in_process_api_server = functools.cache(supervisor.in_process_api_server)


@pytest.fixture(
    params=[
        pytest.param("sqlite", id="sqlite"),
        pytest.param("postgresql", id="postgresql", marks=pytest.mark.postgresql),
    ]
)
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of a database of its own for each test, where no ledger is yet."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ledger.db'}"
    make_database: Callable[[], str] = request.getfixturevalue("make_database")
    return make_database()


@pytest.fixture
def make_database(postgresql_url: str) -> Iterator[Callable[[], str]]:
    """Makes empty PostgreSQL databases, gone after the test; gives their URLs."""
    from sqlalchemy import create_engine, make_url, text

    server = make_url(postgresql_url).set(drivername="postgresql+psycopg")
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    names: list[str] = []

    def make() -> str:
        name = f"test_{uuid.uuid4().hex}"
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        names.append(name)
        return server.set(database=name).render_as_string(hide_password=False)

    yield make
    with engine.connect() as connection:
        for name in names:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    engine.dispose()


@pytest.fixture
def server(postgresql_url: str) -> Iterator[PostgreSQLServer]:
    """A PostgreSQL server of the test's own, which it may stop, kill and turn read-only."""
    with postgresql_server() as running:
        yield running


@pytest.fixture
def broker_endpoint() -> str:
    """``HOST:PORT`` of a real RocketMQ broker."""
    return _required("OUTBOUND_TEST_BROKER", "a real RocketMQ broker, HOST:PORT")


@pytest.fixture(scope="session")
def postgresql_url() -> str:
    """URL of a PostgreSQL server."""
    return _required("OUTBOUND_TEST_POSTGRESQL", "a PostgreSQL server, URL")


@pytest.fixture(scope="session")
def redis_url() -> str:
    """URL of a Redis server."""
    return _required("OUTBOUND_TEST_REDIS", "a Redis server, URL")


def _required(variable: str, what: str) -> str:
    value = os.environ.get(variable)
    if not value:
        pytest.skip(f"{variable} is not set ({what})")
    return value


@pytest.fixture(scope="session")
def _oss_server() -> Iterator[OssServer]:
    with oss_server() as server:
        yield server


@pytest.fixture
def oss(_oss_server: OssServer, monkeypatch: pytest.MonkeyPatch) -> OssServer:
    """A stand-in for OSS with the empty bucket ``campaigns``, which the connection ``oss_test`` reaches."""
    pytest.importorskip("alibabacloud_oss_v2")
    _oss_server.reset("campaigns")
    monkeypatch.setenv("AIRFLOW_CONN_OSS_TEST", _oss_server.connection())
    return _oss_server


@pytest.fixture
def at(oss: OssServer) -> Callable[..., Any]:
    """Makes paths in that bucket."""
    from airflow.sdk import ObjectStoragePath

    return lambda key, conn_id="oss_test": ObjectStoragePath(f"oss://{conn_id}@campaigns/{key}")

"""An Airflow on several simulated machines: CeleryExecutor, two workers, two triggerers, one object store."""

from __future__ import annotations

import json
import shutil
import sys
import sysconfig
import urllib.request
import venv
from collections.abc import Collection, Iterable
from importlib.metadata import files
from pathlib import Path
from typing import Any

import psutil
import tenacity

from airflow_provider_outbound.cli.processes import ServiceError, wait_until
from airflow_provider_outbound.cli.services import OUTBOUND, AirflowStack, free_port

WORKERS = ("worker-1", "worker-2")
TRIGGERERS = ("triggerer-1", "triggerer-2")
#: Services that share a machine, as in the demo.
CENTRAL = ("api-server", "dag-processor", "scheduler")
BUCKET = "outbound"
#: Timeout (seconds), since a dozen processes may share two cores.
LONG = 900
_STORE = "import sys; from moto.server import main; main(sys.argv[1:])"
_WORKER = ("celery", "worker", "--concurrency", "2", "--without-mingle", "--without-gossip", "--skip-serve-logs")


class Machines(AirflowStack):
    """
    Each worker and each triggerer is a machine: an AIRFLOW_HOME of its own, with its own DAG files, logs and folder for
    temporary files. They share PostgreSQL, Redis, the object store and the simulated service.

    :param database: URL of Airflow's database.
    :param ledger: URL of the ledger.
    :param redis: URL of Celery's broker.
    """

    services: Collection[str] = (*CENTRAL, *WORKERS, *TRIGGERERS)

    def __init__(self, folder: Path, *, database: str, ledger: str, redis: str, **arguments: Any) -> None:
        self._database_url = database
        self.store = f"http://127.0.0.1:{free_port()}"
        settings = {
            "CORE__EXECUTOR": "CeleryExecutor",
            "CELERY__BROKER_URL": redis,
            "CELERY__RESULT_BACKEND": f"db+{database}",
            "CELERY__SYNC_PARALLELISM": "1",
            # Many services share two cores here, so the first messages and requests are slow.
            "CELERY__OPERATION_TIMEOUT": "20",
            "DATABASE__SQL_ALCHEMY_POOL_SIZE": "3",
            "WORKERS__EXECUTION_API_TIMEOUT": "60",
            # A killed process is given up after seconds, not after minutes.
            "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
            "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
            "TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "20",
            "TRIGGERER__JOB_HEARTBEAT_SEC": "2",
            "OUTBOUND__LEDGER_URL": ledger,
            "OUTBOUND__RECONCILE_INTERVAL": "5",
        }
        aws = {"region_name": "us-east-1", "endpoint_url": self.store}
        environment = {
            "AIRFLOW_CONN_STORE": json.dumps({"conn_type": "aws", "login": "key", "password": "secret", "extra": aws}),
            "OUTBOUND_EXAMPLE_FOLDER": f"s3://store@{BUCKET}/campaigns",
        }
        super().__init__(folder, settings=settings, environment=environment, **arguments)

    def prepare(self) -> None:
        """Start the object store as well."""
        self.start("store", [sys.executable, "-c", _STORE, "-H", "127.0.0.1", "-p", self.store.rpartition(":")[2]], {})
        super().prepare()
        wait_until(self._make_bucket, seconds=LONG, what="the object store", every=0.5)

    def start_airflow(self) -> None:
        """Start all services."""
        for name in CENTRAL:
            self.start_service(name)
        for name in TRIGGERERS:
            self.start_triggerer(name)
        for name in WORKERS:
            self.start_worker(name)

    def start_worker(self, name: str, *, queue: str = "default", python: Path | None = None, **settings: str) -> None:
        """
        Start a worker on a machine of its own.

        :param python: Python of that machine; default: this one.
        :param settings: Settings that are different on that machine.
        """
        command = [*_WORKER, "--queues", queue, "--celery-hostname", f"{name}@%h"]
        self.start(name, self._airflow(command, python), self.machine(name, **settings))

    def start_triggerer(self, name: str) -> None:
        """Start a triggerer on a machine of its own."""
        self.start(name, self._airflow(["triggerer", "--skip-serve-logs"]), self.machine(name))

    def machine(self, name: str, **settings: str) -> dict[str, str]:
        """Environment of a machine's processes; its folders are created if they do not exist."""
        home = self.folder / name
        if not home.exists():
            (home / "tmp").mkdir(parents=True)
            shutil.copytree(self.folder / "dags", home / "dags")
        return {
            **self.environment,
            "AIRFLOW_HOME": str(home),
            "HOME": str(home),
            "TMPDIR": str(home / "tmp"),
            "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
            "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
            **{f"AIRFLOW__{option}": value for option, value in settings.items()},
        }

    def get(self, path: str) -> Any:
        """Send a GET request to Airflow's API, with retries: on a busy machine, its first answer may take minutes."""
        attempts = tenacity.Retrying(
            retry=tenacity.retry_if_exception_message(match=r".*: no answer"),
            stop=tenacity.stop_after_attempt(5),
            reraise=True,
        )
        return attempts(super().get, path)

    def start_doctor(self, name: str, python: Path | None = None, **settings: str) -> None:
        """Start ``outbound doctor --json`` on a machine."""
        command = [str(python or sys.executable), *OUTBOUND[1:], "doctor", "--json"]
        self.start(f"doctor-{name}", command, self.machine(name, **settings))

    def kill(self, name: str) -> None:
        """Kill a machine: all its processes at once, with SIGKILL."""
        first = psutil.Process(self.pid(name))
        first.suspend()  # so that it starts no other process
        for process in (first, *first.children(recursive=True)):
            process.kill()
        wait_until(lambda: self.ended(name) is not None, seconds=LONG, what=f"the end of {name}")

    def machine_of(self, names: Iterable[str], dag_id: str, run_id: str, task_id: str, log: str) -> str | None:
        """
        The machine that has the newest log of a task or of its trigger.

        :param log: ``attempt=*.log``, or ``attempt=*.log.trigger.*``.
        """
        pattern = f"logs/dag_id={dag_id}/run_id={run_id}/task_id={task_id}/{log}"
        found = [(path.stat().st_mtime, name) for name in names for path in (self.folder / name).glob(pattern)]
        return max(found)[1] if found else None

    def stored(self, path: str) -> str:
        """Text of a file in the object store, by its path there."""
        key = path.partition(f"@{BUCKET}/")[2]
        # The store requires a signature, but does not check it.
        request = urllib.request.Request(f"{self.store}/{BUCKET}/{key}", headers={"Authorization": "AWS key:any"})
        with _opener().open(request, timeout=60) as answer:
            return str(answer.read().decode())

    def task_log(self, dag_id: str, run_id: str, task_id: str) -> Path | None:
        """The newest log file of a task on any machine."""
        pattern = f"*/logs/dag_id={dag_id}/run_id={run_id}/task_id={task_id}/*.log*"
        return max(self.folder.glob(pattern), key=lambda path: path.stat().st_mtime, default=None)

    def _database(self, seconds: float) -> str:  # noqa: ARG002  # for SQLite only
        return self._database_url

    def _airflow(self, command: Iterable[str], python: Path | None = None) -> list[str]:
        return [str(python or sys.executable), "-W", "ignore", "-m", "airflow", *command]

    def _make_bucket(self) -> bool:
        self.check(["store"])
        request = urllib.request.Request(f"{self.store}/{BUCKET}", method="PUT")
        try:
            with _opener().open(request, timeout=30):
                return True
        except OSError:
            return False


def python_without(folder: Path, *distributions: str) -> Path:
    """
    Create an environment like this one without some distributions: a machine on which an extra was forgotten.

    :return: Its Python.
    """
    venv.create(folder, symlinks=True)
    left_out = {name for distribution in distributions for name in _top_level(distribution)}
    search = [str(Path(__file__).parents[2])]
    for number, site in enumerate(Path(path) for path in sys.path if path.endswith("-packages")):
        links = folder / f"packages-{number}"
        links.mkdir()
        search.append(str(links))
        for entry in site.iterdir():
            # A .pth file would add the packages that it names, including those left out.
            if entry.name not in left_out and entry.suffix != ".pth":
                (links / entry.name).symlink_to(entry)
    packages = sysconfig.get_path("purelib", scheme="venv", vars={"base": str(folder)})
    Path(packages, "links.pth").write_text("\n".join(search) + "\n")
    return folder / "bin" / "python"


def _top_level(distribution: str) -> set[str]:
    """The top-level names of a distribution in ``site-packages``."""
    found = {file.parts[0] for file in files(distribution) or () if file.parts[0] not in ("..", "__pycache__")}
    if not found:
        raise ServiceError(f"{distribution} lists no files of its own")
    return found


def _opener() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))

"""A real Airflow and a simulator in a folder of their own, for the demo and the acceptance tests."""

from __future__ import annotations

import base64
import json
import secrets
import shutil
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import tenacity

from airflow_provider_outbound.cli.processes import ServiceError, Supervised, plain_environment, wait_until

USER = "admin"
#: Between two requests to Airflow (seconds): each costs its server as much as a task does.
_ASK_SECONDS = 0.5
#: Timeout of a request (seconds): all servers may share two cores.
_ANSWER_SECONDS = 60.0
#: How long a service waits for the lock of the SQLite file (seconds): a triggerer that gives up ends.
_PATIENT_SECONDS = 60
#: The same for the API server, and the number of attempts. It writes its log of a request in its event loop. While that
#: waits, no other request can commit, not even the one that holds the lock. So it gives up early, without having done
#: anything, and the request is sent again.
_HASTY_SECONDS, _ATTEMPTS = 2, 5
#: Names of Airflow's four services, and their commands.
AIRFLOW_SERVICES: Mapping[str, tuple[str, ...]] = {
    "api-server": ("api-server",),
    "dag-processor": ("dag-processor",),
    "scheduler": ("scheduler", "--skip-serve-logs"),
    "triggerer": ("triggerer", "--skip-serve-logs"),
}


class AirflowStack(Supervised):
    """
    A simulator, and Airflow's api-server, dag-processor, scheduler and triggerer on free ports.

    It uses SQLite, LocalExecutor and secrets of its own, and reads nothing from another Airflow on this machine.

    :param dags: DAG files to run; they are copied.
    :param settings: Additional Airflow settings: ``SECTION__OPTION``.
    :param environment: Additional environment variables, for example connections.
    :param simulator_options: Additional arguments of ``outbound simulate``.
    :param path: The path of Airflow's address, for example ``/airflow``.
    """

    #: Names of the processes that must run during a wait for a DAG or a run.
    services: Collection[str] = tuple(AIRFLOW_SERVICES)

    def __init__(
        self,
        folder: Path,
        *,
        dags: Iterable[Path],
        settings: Mapping[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
        simulator_options: Iterable[str] = (),
        path: str = "",
    ) -> None:
        super().__init__(folder)
        self.password = secrets.token_urlsafe(9)
        self.address = f"http://127.0.0.1:{free_port()}{path}"
        #: The simulator's ready line, once it runs.
        self.simulator: dict[str, Any] = {}
        #: Folder for the files of the example DAGs.
        self.files = folder / "files"
        self._dags = tuple(dags)
        self._settings = dict(settings or {})
        self._more_environment = dict(environment or {})
        self._simulator_options = tuple(simulator_options)
        self._token: str | None = None

    def prepare(self) -> None:
        """Start the simulator, and create the metadata database in parallel."""
        dags = self.folder / "dags"
        dags.mkdir()
        self.files.mkdir()
        for path in self._dags:
            shutil.copy(path, dags)
        (self.folder / "passwords.json").write_text(json.dumps({USER: self.password}))
        self.start("migrate", [*_AIRFLOW, "db", "migrate"], self.environment)
        self.start_simulator()
        wait_until(lambda: self.ended("migrate") is not None, seconds=120, what="airflow db migrate")
        if self.ended("migrate"):
            raise ServiceError(f"airflow db migrate failed; its log: {self.log('migrate')}")

    def start_simulator(self) -> None:
        """Start the simulator and read its ready line."""
        ports = ("--api-port", "0", "--broker-port", "0")
        command = [*OUTBOUND, "simulate", *ports, "--seed", "0", *self._simulator_options]
        self.start("simulator", command, plain_environment())

        def is_ready() -> bool:
            self.check(["simulator"])
            lines = self.log("simulator").read_text().splitlines()
            self.simulator = next((json.loads(line) for line in lines if line.startswith("{")), {})
            return bool(self.simulator)

        wait_until(is_ready, seconds=60, what="the simulator")

    def start_airflow(self) -> None:
        """Start Airflow's four services; :meth:`wait_for_dag` waits until they are ready."""
        for name in AIRFLOW_SERVICES:
            self.start_service(name)

    def start_service(self, service: str, name: str | None = None) -> int:
        """
        Start one of :data:`AIRFLOW_SERVICES`: restart it, or add another process of it.

        :param name: Name of the process; default: that of the service.
        :return: Its process id.
        """
        environment = self.environment
        if service == "api-server":
            environment["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] = self._database(_HASTY_SECONDS)
        return self.start(name or service, [*_AIRFLOW, *AIRFLOW_SERVICES[service]], environment)

    @property
    def environment(self) -> dict[str, str]:
        """Environment of every Airflow process."""
        if not hasattr(self, "_environment"):
            self._environment = self._make_environment()
        return {**self._environment, **self.simulator.get("connections", {})}

    def _database(self, seconds: float) -> str:
        """URL of Airflow's database, for a process that waits up to ``seconds`` for its lock."""
        return f"sqlite:///{self.folder / 'airflow.db'}?timeout={seconds}"

    def _make_environment(self) -> dict[str, str]:
        airflow = {
            "CORE__DAGS_FOLDER": str(self.folder / "dags"),
            "CORE__LOAD_EXAMPLES": "False",
            "CORE__EXECUTOR": "LocalExecutor",
            "CORE__PARALLELISM": "4",
            "CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "CORE__FERNET_KEY": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            "CORE__EXECUTION_API_SERVER_URL": f"{self.address}/execution/",
            "CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin",
            "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(self.folder / "passwords.json"),
            "DATABASE__SQL_ALCHEMY_CONN": self._database(_PATIENT_SECONDS),
            # The end of a task may be noticed this late (seconds). If a deferred wait resumes sooner, Airflow takes the
            # late report of its first end for a failure.
            "WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
            "API__HOST": "127.0.0.1",
            "API__PORT": str(urlsplit(self.address).port),
            "API__BASE_URL": self.address,
            "API__SECRET_KEY": secrets.token_hex(16),
            "API_AUTH__JWT_SECRET": secrets.token_hex(32),
            # Poll more often than in production: idle time would slow the demo down.
            "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.3",
            "SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
            # Parse seldom, because the files do not change, and patiently, on a machine that is busy.
            "CORE__DAGBAG_IMPORT_TIMEOUT": "120",
            "DAG_PROCESSOR__DAG_FILE_PROCESSOR_TIMEOUT": "150",
            "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "300",
            "LOGGING__BASE_LOG_FOLDER": str(self.folder / "logs"),
            **self._settings,
        }
        return {
            **plain_environment(),
            "AIRFLOW_HOME": str(self.folder),
            "OUTBOUND_EXAMPLE_FOLDER": str(self.files),
            **_all_day(),
            **{f"AIRFLOW__{name}": value for name, value in airflow.items()},
            **self._more_environment,
        }

    def wait_for_dag(self, dag_id: str, seconds: float = 120) -> None:
        """Wait until the DAG has been parsed and the API answers."""

        def is_there() -> bool:
            self.check(self.services)
            try:
                self.get(f"/api/v2/dags/{dag_id}")
            except ServiceError:
                return False
            return True

        wait_until(is_there, seconds=seconds, what=f"DAG {dag_id}", every=_ASK_SECONDS)

    def trigger(self, dag_id: str, params: Mapping[str, Any] | None = None) -> str:
        """
        Trigger a run.

        :return: Its run id.
        """
        body = {"logical_date": None, "conf": dict(params or {})}
        return str(self._request("POST", f"/api/v2/dags/{dag_id}/dagRuns", body)["dag_run_id"])

    def run_state(self, dag_id: str, run_id: str) -> str:
        """State of a run: ``queued``, ``running``, ``success`` or ``failed``."""
        return str(self.get(f"/api/v2/dags/{dag_id}/dagRuns/{quote(run_id)}")["state"])

    def tasks(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """Task instances of a run, as the API returns them."""
        answer = self.get(f"/api/v2/dags/{dag_id}/dagRuns/{quote(run_id)}/taskInstances?limit=100")
        return list(answer["task_instances"])

    def xcom(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> Any:
        """The return value of a task."""
        answer = self.get(
            f"/api/v2/dags/{dag_id}/dagRuns/{quote(run_id)}/taskInstances/{task_id}"
            f"/xcomEntries/return_value?map_index={map_index}"
        )
        value = answer["value"]
        return json.loads(value) if isinstance(value, str) and value[:1] in {"{", "["} else value

    def wait_for_run(self, dag_id: str, run_id: str, seconds: float = 180) -> str:
        """
        Wait until a run has ended.

        :return: Its final state.
        """

        def has_ended() -> bool:
            self.check(self.services)
            return self.run_state(dag_id, run_id) in {"success", "failed"}

        wait_until(has_ended, seconds=seconds, what=f"run of {dag_id}", every=_ASK_SECONDS)
        return self.run_state(dag_id, run_id)

    def task_log(self, dag_id: str, run_id: str, task_id: str) -> Path | None:
        """The newest log file of a task, if it wrote one."""
        folder = self.folder / "logs" / f"dag_id={dag_id}" / f"run_id={run_id}"
        found = [path for path in folder.rglob("*.log*") if f"task_id={task_id}" in path.parts]
        return max(found, key=lambda path: path.stat().st_mtime, default=None)

    def simulator_state(self) -> dict[str, Any]:
        """The state of the simulated service, by which every promise is judged."""
        state: dict[str, Any] = request_json("GET", f"{self.simulator['api']}/_simulator/state")
        return state

    def simulator_post(self, path: str, body: Mapping[str, Any]) -> Any:
        """Control the simulator, e.g. ``("faults", {"messages": …})``."""
        return request_json("POST", f"{self.simulator['api']}/_simulator/{path}", body)

    def get(self, path: str) -> Any:
        """Send a GET request to Airflow's API."""
        return self._request("GET", path)

    def send(self, method: str, path: str, body: Mapping[str, Any]) -> Any:
        """Send a request with a body to Airflow's API."""
        return self._request(method, path, body)

    def _request(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        if self._token is None:
            login = {"username": USER, "password": self.password}
            self._token = request_json("POST", f"{self.address}/auth/token", login)["access_token"]
        attempts = tenacity.Retrying(
            retry=tenacity.retry_if_exception_message(match=r".*HTTP 500: .*Database error"),
            wait=tenacity.wait_random(0.2, 1),
            stop=tenacity.stop_after_attempt(_ATTEMPTS),
            reraise=True,
        )
        return attempts(request_json, method, self.address + path, body, token=self._token)


_AIRFLOW = (sys.executable, "-W", "ignore", "-m", "airflow")
#: The ``outbound`` command, to be followed by its arguments.
OUTBOUND = (sys.executable, "-c", "import sys; from airflow_provider_outbound.cli import main; sys.exit(main())")


def _all_day() -> dict[str, str]:
    """A window that is open now and for the next hours: the whole day, in a time zone where it is about noon."""
    hours = 12 - time.gmtime().tm_hour
    # The signs in the names of these zones are reversed: Etc/GMT-8 is UTC+08:00.
    return {
        "OUTBOUND_EXAMPLE_TIMEZONE": f"Etc/GMT{-hours:+d}" if hours else "Etc/GMT",
        "OUTBOUND_EXAMPLE_WINDOW": "00:00-23:59:59",
    }


def example_dag(name: str) -> Path:
    """
    Path of an example DAG: in the installed package, or next to it in a checkout.

    :raises ServiceError: it is in neither place.
    """
    package = Path(__file__).parents[1]
    for folder in (package / "example_dags", package.parent / "example_dags"):
        path = folder / f"{name}.py"
        if path.is_file():
            return path
    raise ServiceError(f"example DAG {name}.py is not installed; install airflow-provider-outbound again")


def free_port() -> int:
    """A port of 127.0.0.1 that is free at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def request_json(method: str, url: str, body: Mapping[str, Any] | None = None, *, token: str | None = None) -> Any:
    """
    Exchange JSON with a server on this machine, never through a proxy.

    :raises ServiceError: the answer was an error, or there was none.
    """
    request = urllib.request.Request(  # noqa: S310  # addresses of this machine only
        url, method=method, data=None if body is None else json.dumps(body).encode()
    )
    request.add_header("Content-Type", "application/json")
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=_ANSWER_SECONDS) as answer:
            return json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        with error:
            detail = error.read(300).decode(errors="replace")
        raise ServiceError(f"{method} {url}: HTTP {error.code}: {detail}") from None
    except OSError as error:
        raise ServiceError(f"{method} {url}: no answer: {error}") from None

"""
One real Airflow, with a simulator and what the examples send to beside it.

All modules that use it are of one ``xdist_group``, so that there is one however many processes test. It ends after the
last test of this folder: until the end of the session it would take CPU time from the tests of other folders.
"""

from __future__ import annotations

import json
import socketserver
import tempfile
import threading
from collections.abc import Generator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from support.airflow import add_account

from airflow_provider_outbound.cli.services import AIRFLOW_SERVICES, AirflowStack, example_dag

#: Twenty calls a second, so that a test chooses by the number of contacts how long its campaign lasts.
CALLS_PER_SECOND = 20
EXAMPLES = (
    "nightly_campaign",
    "parallel_segments",
    "campaign_on_asset",
    "mapped_campaign",
    "setup_and_teardown",
    "canary",
    "follow_up_on_results",
    "call_events",
    "redial_with_cap",
    "approve_before_calling",
)
#: DAGs of this folder.
OWN = ("private_campaign", "eager_events", "pooled_campaign", "killed_campaign")


class TextMessages(ThreadingHTTPServer):
    """A service that sends text messages, each key once."""

    daemon_threads = True

    def __init__(self) -> None:
        #: Bodies by idempotency key.
        self.sent: dict[str, dict[str, Any]] = {}
        super().__init__(("127.0.0.1", 0), _TextMessage)


class _TextMessage(BaseHTTPRequestHandler):
    server: TextMessages

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.sent.setdefault(self.headers["Idempotency-Key"], body)
        self.send_response(201)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Mail(socketserver.ThreadingTCPServer):
    """A mail server that keeps what it is given."""

    daemon_threads = True

    def __init__(self) -> None:
        self.letters: list[str] = []
        super().__init__(("127.0.0.1", 0), _Letter)


class _Letter(socketserver.StreamRequestHandler):
    server: Mail

    def handle(self) -> None:
        self._say("220 ready")
        while line := self.rfile.readline():
            word = line[:4].upper()
            if word == b"DATA":
                self._say("354 go on")
                self.server.letters.append(b"".join(iter(self.rfile.readline, b".\r\n")).decode())
            self._say("221 bye" if word == b"QUIT" else "250 done")
            if word == b"QUIT":
                return

    def _say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what Airflow says where a test of it fails: its folder is gone when somebody looks."""
    report = yield
    add_account(item, report, "airflow_services")
    return report


@pytest.fixture(scope="session")
def text_messages() -> Iterator[TextMessages]:
    """What ``follow_up_on_results`` sends to."""
    yield from _serving(TextMessages())


@pytest.fixture(scope="session")
def mail() -> Iterator[Mail]:
    """What ``canary`` sends its alert to."""
    yield from _serving(Mail())


def _serving(server: Any) -> Iterator[Any]:
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="package")
def airflow_services(text_messages: TextMessages, mail: Mail) -> Iterator[AirflowStack]:
    """Scheduler, DAG processor, API server and triggerer with the example DAGs, running."""
    mail_extra = {"disable_ssl": True, "disable_tls": True, "retry_limit": 1}
    stack = AirflowStack(
        Path(tempfile.mkdtemp(prefix="outbound-acceptance-")),
        dags=[*map(example_dag, EXAMPLES), *(Path(__file__).with_name(f"{name}.py") for name in OWN)],
        simulator_options=["--call-seconds", "0.5", "--concurrency", str(CALLS_PER_SECOND // 2), "--seed", "7"],
        # A triggerer that was killed is given up after ten seconds and not after thirty.
        settings={"TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "10", "TRIGGERER__JOB_HEARTBEAT_SEC": "2"},
        environment={
            "AIRFLOW_CONN_TEXT_MESSAGES": f"http://127.0.0.1:{text_messages.server_port}",
            "AIRFLOW_CONN_SMTP_DEFAULT": json.dumps(
                {"conn_type": "smtp", "host": "127.0.0.1", "port": mail.server_address[1], "extra": mail_extra}
            ),
        },
    )
    with stack:
        stack.prepare()
        stack.start_airflow()
        for name in (*EXAMPLES, *OWN):
            stack.wait_for_dag(name, 400)
        yield stack
        for name in AIRFLOW_SERVICES:
            print(f"--- {name}\n{stack.tail(name)}")

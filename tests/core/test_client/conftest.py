"""A client for the simulator, and a server that answers whatever a test wants."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from airflow_provider_outbound.core.client import ClientSettings, OutboundBotClient
from airflow_provider_outbound.simulator.testing import Simulator

Connect = Callable[..., OutboundBotClient]


@pytest.fixture
def connect(simulator: Simulator) -> Connect:
    """Makes clients of the simulator; settings given replace the right ones."""

    def make(**changes: Any) -> OutboundBotClient:
        right = {
            "access_key_id": simulator.access_key_id,
            "access_key_secret": simulator.access_key_secret,
            "region_id": simulator.region_id,
            "endpoint": simulator.api,
            "instance_id": simulator.instance_id,
        }
        return OutboundBotClient(ClientSettings(**(right | changes)))

    return make


@pytest.fixture
def client(connect: Connect) -> OutboundBotClient:
    """A client with the right key and instance."""
    return connect()


@pytest.fixture
def group_id(client: OutboundBotClient, simulator: Simulator) -> str:
    """A job group of the simulator that dials at once."""
    return client.create_job_group(job_group_name="spring", script_id=simulator.script_id).job_group_id


def _job(number: int, *, name: str = "", reference_id: str = "") -> str:
    contact = {"phoneNumber": f"138{number:08}", "referenceId": reference_id or f"r-{number}", "name": name}
    return json.dumps({"contacts": [contact], "extras": [{"key": "city", "value": "上海"}]}, ensure_ascii=False)


@pytest.fixture
def make_job() -> Callable[..., str]:
    """Makes the JSON of a job for the contact with this number."""
    return _job


class Scripted:
    """
    A server that gives prepared answers and remembers what it was asked.

    A simulator refuses in good form only; a gateway, a proxy or a new version of the API need not.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.answers: list[tuple[int, bytes]] = []
        #: Query parameters of each request.
        self.requests: list[dict[str, str]] = []
        #: Called with the headers of each request.
        self.on_headers: Callable[[str], object] = str

    def answer(self, status: int, body: object) -> None:
        """Prepare the next answer; the last one prepared is repeated."""
        self.answers.append((status, body if isinstance(body, bytes) else json.dumps(body).encode()))

    def take(self) -> tuple[int, bytes]:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def client(self, **settings: Any) -> OutboundBotClient:
        """A client of this server."""
        given = {"access_key_id": "LTAI5tExample", "access_key_secret": "s3cretKey", "instance_id": "i-1"}
        return OutboundBotClient(ClientSettings(**(given | {"endpoint": self.url} | settings)))


@pytest.fixture
def scripted() -> Iterator[Scripted]:
    """A running :class:`Scripted` server."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            query = parse_qs(urlsplit(self.path).query, keep_blank_values=True)
            state.requests.append({name: values[0] for name, values in query.items()})
            state.on_headers(str(self.headers))
            status, body = state.take()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        state = Scripted(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield state
        server.shutdown()
        thread.join()

"""Over TLS, and no faster than asked."""

from __future__ import annotations

import datetime as dt
import ssl
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from airflow_provider_outbound.core.client import ClientSettings, OutboundBotClient
from airflow_provider_outbound.exceptions import OutboundBotTransportError

# The urllib3 inside the SDK is old.
pytestmark = [
    pytest.mark.filterwarnings("ignore:ssl.PROTOCOL_TLS is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings(r"ignore:ssl\.match_hostname\(\) is deprecated:DeprecationWarning"),
]


@pytest.fixture
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for ``localhost`` that nobody trusts yet, and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "localhost.pem"
    path.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


@pytest.fixture
def endpoint(certificate: Path) -> Iterator[str]:
    """``HOST:PORT`` of an API that speaks TLS only."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = b'{"Success": true, "Code": "OK", "JobsId": ["j-1"]}'
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """A client that trusts nobody hangs up: that is what is tested."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with Server(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"localhost:{server.server_port}"
        server.shutdown()
        thread.join()


def _client(endpoint: str) -> OutboundBotClient:
    return OutboundBotClient(
        ClientSettings(access_key_id="a", access_key_secret="b", instance_id="i", endpoint=endpoint)
    )


def test_jobs_travel_over_tls_unless_told_otherwise(
    endpoint: str, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALIBABA_CLOUD_CA_BUNDLE", str(certificate))

    assert _client(endpoint).assign_jobs(job_group_id="g", jobs=["{}"]) == {"j-1"}


def test_nothing_is_sent_to_a_server_nobody_vouches_for(endpoint: str) -> None:
    with pytest.raises(OutboundBotTransportError, match="is the certificate trusted"):
        _client(endpoint).assign_jobs(job_group_id="g", jobs=["{}"])


def test_requests_are_spaced_out(scripted: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock is held still and sleeping is counted, so that no real time is measured."""
    scripted.answer(200, {"Success": True, "Code": "OK", "JobsId": ["j-1"]})
    client = scripted.client(max_requests_per_second=4)
    slept: list[float] = []
    turns: list[int] = []

    with monkeypatch.context() as still:
        still.setattr(time, "monotonic", lambda: 1000.0)
        still.setattr(time, "sleep", slept.append)
        for _ in range(4):
            client.assign_jobs(job_group_id="g", jobs=["{}"], before_request=lambda: turns.append(len(slept)))

    assert slept == [0.0, 0.25, 0.5, 0.75]
    assert turns == [1, 2, 3, 4]

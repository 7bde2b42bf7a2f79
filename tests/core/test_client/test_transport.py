"""What travels, and how: over TLS, by name, through proxies, as it was signed, and no faster than asked."""

from __future__ import annotations

import base64
import datetime as dt
import os
import select
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import attrs
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.examples import examples
from support.scripted import Scripted
from support.web import Handler, served

from airflow_provider_outbound.core.client import ClientSettings, OutboundBotClient
from airflow_provider_outbound.exceptions import OutboundBotConfigError, OutboundBotTransportError
from airflow_provider_outbound.simulator.testing import Simulator

#: No resolver knows it: whoever reaches it was told the way, as a proxy is.
NAME = "outboundbot.test"
_CA_BUNDLES = ("ALIBABA_CLOUD_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


def _certificate(folder: Path, name: str) -> Path:
    """A certificate for ``name`` that nobody trusts yet, and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    usage = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "crl_sign"), False
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.KeyUsage(
                digital_signature=True, key_cert_sign=True, encipher_only=False, decipher_only=False, **usage
            ),
            critical=True,
        )
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{name}.pem"
    path.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


@attrs.frozen
class Service:
    """An API that speaks TLS only, and shows the certificate of whichever of its names it is asked for."""

    port: int
    #: Certificates of its names, ``localhost`` and :data:`NAME`, for those who trust it.
    bundle: Path
    #: The name each client asked for; ``None`` if it named none.
    asked: list[str | None]


@pytest.fixture
def service(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """A running :class:`Service`."""
    folder = tmp_path_factory.mktemp("tls")
    for name in _CA_BUNDLES:
        monkeypatch.delenv(name, raising=False)
    asked: list[str | None] = []
    contexts: dict[str, ssl.SSLContext] = {}
    for name in ("localhost", NAME, "other.test"):
        contexts[name] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        contexts[name].load_cert_chain(_certificate(folder, name))

    def choose(connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        asked.append(name)
        connection.context = contexts.get(name or "", contexts["other.test"])

    bundle = folder / "bundle.pem"
    bundle.write_text("".join((folder / f"{name}.pem").read_text() for name in ("localhost", NAME)))

    class Api(Handler):
        def do_POST(self) -> None:
            self.answer(200, b'{"Success": true, "Code": "OK", "JobsId": ["j-1"]}')

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """A client that trusts nobody hangs up: that is what is tested."""

    front = contexts["other.test"]
    front.sni_callback = choose
    with Server(("127.0.0.1", 0), Api) as server:
        server.socket = front.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield Service(server.server_port, bundle, asked)
        server.shutdown()
        thread.join()


@pytest.fixture
def tunnels(service: Service, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Mapping[str, str]]]:
    """The environment's proxy, which leads every CONNECT to the service; the list holds what it was asked for."""
    asked: list[Mapping[str, str]] = []

    class Proxy(Handler):
        def do_CONNECT(self) -> None:
            asked.append({"target": self.path, **{name.lower(): value for name, value in self.headers.items()}})
            with socket.create_connection(("127.0.0.1", service.port)) as there:
                self.send_response(200)
                self.end_headers()
                self._pump(there)
            self.close_connection = True

        def _pump(self, there: socket.socket) -> None:
            other = {self.connection: there, there: self.connection}
            with suppress(OSError):
                while True:
                    for ready in select.select([*other], [], [])[0]:
                        data = ready.recv(65536)
                        if not data:
                            return
                        other[ready].sendall(data)

    with served(Proxy) as url:
        _use_proxy(monkeypatch, url.replace("http://", "http://me:pass%20word@"))
        yield asked


def _use_proxy(
    monkeypatch: pytest.MonkeyPatch, proxy: str, names: tuple[str, ...] = ("HTTP_PROXY", "HTTPS_PROXY")
) -> None:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    for name in names:
        monkeypatch.setenv(name, proxy)


def _client(endpoint: str, **changes: Any) -> OutboundBotClient:
    return OutboundBotClient(
        ClientSettings(access_key_id="a", access_key_secret="b", instance_id="i", endpoint=endpoint, **changes)
    )


def _assign(client: OutboundBotClient) -> frozenset[str]:
    return client.assign_jobs(job_group_id="g", jobs=["{}"])


@pytest.mark.parametrize("variable", _CA_BUNDLES)
def test_jobs_travel_over_tls_to_a_server_that_chooses_its_certificate_by_name(
    service: Service, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, str(service.bundle))

    assert _assign(_client(f"localhost:{service.port}")) == {"j-1"}
    assert service.asked == ["localhost"]


def test_a_proxy_tunnels_to_a_server_that_chooses_its_certificate_by_name(
    service: Service, tunnels: list[Mapping[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(service.bundle))

    assert _assign(_client(NAME)) == {"j-1"}

    (asked,) = tunnels
    assert (asked["target"], service.asked) == (f"{NAME}:443", [NAME])
    assert base64.b64decode(asked["proxy-authorization"].removeprefix("Basic ")) == b"me:pass word"


def test_nothing_is_sent_to_a_server_nobody_vouches_for(service: Service) -> None:
    with pytest.raises(
        OutboundBotTransportError, match=r"the TLS connection failed \(self.signed.*is the certificate trusted"
    ):
        _assign(_client(f"localhost:{service.port}"))


def test_nothing_is_sent_to_a_server_of_another_name(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(service.bundle))

    with pytest.raises(OutboundBotTransportError, match="the TLS connection failed"):
        _assign(_client(f"127.0.0.1:{service.port}"))


@pytest.mark.parametrize("content", [None, "", "no certificate"], ids=["missing", "empty", "text"])
def test_a_bundle_that_cannot_be_read_is_named_before_anything_is_sent(
    service: Service, tmp_path: Path, content: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "bundle.pem"
    if content is not None:
        bundle.write_text(content)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))

    with pytest.raises(OutboundBotConfigError, match=r"REQUESTS_CA_BUNDLE names '.*bundle\.pem'.*cannot be read"):
        _assign(_client(f"localhost:{service.port}"))

    assert service.asked == []


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")
def test_a_folder_of_certificates_may_be_named(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(service.bundle.with_name("localhost.pem"), tmp_path)
    subprocess.run(["openssl", "rehash", tmp_path], check=True, timeout=30)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path))

    assert _assign(_client(f"localhost:{service.port}")) == {"j-1"}


@pytest.mark.parametrize(
    "proxy",
    [
        pytest.param("socks5://me:secretword@127.0.0.1:1", id="socks-without-its-library"),
        pytest.param("ftp://me:secretword@127.0.0.1:1", id="another-scheme"),
        pytest.param("http://me:secretword@", id="no-host"),
        pytest.param("http://me:secretword@proxy:port", id="no-port"),
    ],
)
def test_a_proxy_that_cannot_be_used_is_said_before_anything_is_sent(
    proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _use_proxy(monkeypatch, proxy)

    with pytest.raises(OutboundBotConfigError, match="the environment's proxy cannot be used") as caught:
        _assign(_client("http://nowhere.invalid"))

    assert "secretword" not in str(caught.value)
    assert caught.value.__context__ is None


def test_a_proxy_for_everything_is_one_for_the_api(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        _use_proxy(monkeypatch, f"127.0.0.1:{unused.getsockname()[1]}", names=("ALL_PROXY",))

        with pytest.raises(OutboundBotTransportError, match="the proxy refused or cannot be reached"):
            _assign(_client(NAME))


@pytest.mark.parametrize("no_proxy", ["outboundbot.test", ".test", "other.example, test", "*"])
def test_no_proxy_is_understood_as_requests_understands_it(no_proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _use_proxy(monkeypatch, "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", no_proxy)

    with pytest.raises(OutboundBotTransportError, match="host name cannot be resolved"):
        _assign(_client(f"http://{NAME}"))


@pytest.mark.parametrize("host", ["a b", "-", "x" * 64 + ".com"], ids=["blank", "hyphen", "long-label"])
def test_a_host_that_cannot_be_one_is_an_error_of_ours(host: str) -> None:
    with pytest.raises((OutboundBotConfigError, OutboundBotTransportError)):
        _assign(_client(host))


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40))
@settings(max_examples=examples(100), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_text_arrives_as_it_was_signed(simulator: Simulator, client: OutboundBotClient, text: str) -> None:
    """The simulator checks the signature of each request."""
    group = client.create_job_group(job_group_name="n", script_id=simulator.script_id, description=f"a{text}z")

    assert simulator.state()["groups"][group.job_group_id]["description"] == f"a{text}z"


def test_requests_are_spaced_out(scripted: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
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

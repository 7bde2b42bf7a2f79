"""Web pages cannot reach the control routes, whatever name they use for this machine."""

from __future__ import annotations

import json
import socket
from collections.abc import Sequence

import pytest

from airflow_provider_outbound.simulator.testing import Simulator

ROUTES = ("state", "counts", "faults", "reset", "clock", "broker")


def request(
    simulator: Simulator, headers: Sequence[str], *, path: str = "/_simulator/faults", body: str = '{"reset": true}'
) -> tuple[int, str]:
    """One POST, byte for byte as given; ``PORT`` stands for the simulator's."""
    port = int(simulator.api.rpartition(":")[2])
    lines = [f"POST {path} HTTP/1.1", *headers, f"Content-Length: {len(body)}", "Connection: close", "", body]
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall("\r\n".join(lines).replace("PORT", str(port)).encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
    return int(answer.split(" ", 2)[1]), answer.partition("\r\n\r\n")[2]


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param(["Host: 127.0.0.1:PORT"], id="address"),
        pytest.param(["Host: LocalHost:PORT"], id="name"),
        pytest.param(["Host: [::1]:PORT"], id="ipv6"),
        pytest.param(["Host: 127.0.0.1:PORT", "Origin: http://localhost:PORT"], id="own-page"),
        pytest.param(["Host: 127.0.0.1:PORT", "Sec-Fetch-Site: same-origin"], id="same-origin"),
        pytest.param(["Host: 127.0.0.1:PORT", "Sec-Fetch-Site: none"], id="typed-by-a-person"),
    ],
)
def test_programs_of_this_machine_and_its_own_pages_control_the_simulator(
    simulator: Simulator, headers: list[str]
) -> None:
    status, answer = request(simulator, headers)

    assert (status, list(json.loads(answer))) == (200, ["reset"])


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        pytest.param(["Host: evil.example:PORT"], "Host", id="rebound-name"),
        pytest.param(["Host: 127.0.0.1"], "Host", id="no-port"),
        pytest.param(["Host: 127.0.0.1:1"], "Host", id="other-port"),
        pytest.param(["Host: 127.0.0.1:PORT.evil.example"], "Host", id="longer-name"),
        pytest.param(["Host: evil.example@127.0.0.1:PORT"], "Host", id="user-part"),
        pytest.param(["Host: 10.0.0.1:PORT"], "Host", id="other-address"),
        pytest.param(["Host: 127.0.0.1:PORT", "Origin: http://evil.example"], "Origin", id="foreign-origin"),
        pytest.param(["Host: 127.0.0.1:PORT", "Origin: null"], "Origin", id="hidden-origin"),
        pytest.param(["Host: 127.0.0.1:PORT", "Origin: http://127.0.0.1:1"], "Origin", id="origin-of-another-port"),
        pytest.param(["Host: 127.0.0.1:PORT", "Origin: https://127.0.0.1:PORT"], "Origin", id="other-scheme"),
        pytest.param(["Host: 127.0.0.1:PORT", "Sec-Fetch-Site: cross-site"], "Sec-Fetch-Site", id="cross-site"),
        pytest.param(["Host: 127.0.0.1:PORT", "Sec-Fetch-Site: same-site"], "Sec-Fetch-Site", id="same-site"),
        pytest.param(
            ["Host: 127.0.0.1:PORT", "Sec-Fetch-Site: none", "Sec-Fetch-Site: cross-site"], "Sec-Fetch-Site", id="twice"
        ),
    ],
)
def test_others_are_refused_and_change_nothing(simulator: Simulator, headers: list[str], why: str) -> None:
    status, answer = request(simulator, headers)

    assert status == 403
    assert why in answer
    assert simulator.state()["faults"] == {}


@pytest.mark.parametrize("route", ROUTES)
def test_every_control_route_is_guarded(simulator: Simulator, route: str) -> None:
    assert request(simulator, ["Host: evil.example:PORT"], path=f"/_simulator/{route}")[0] == 403


@pytest.mark.parametrize("path", ["/_simulator", "/_simulator/", "//_simulator/state", "/%5fsimulator/faults"])
def test_another_spelling_of_a_path_leads_nowhere(simulator: Simulator, path: str) -> None:
    assert request(simulator, ["Host: evil.example:PORT"], path=path)[0] in (403, 404)


def test_a_request_without_a_host_is_refused(simulator: Simulator) -> None:
    assert request(simulator, [])[0] in (400, 403)


@pytest.mark.parametrize("body", ["[" * 990 + "]" * 990, '{"advance": Infinity}', '{"now": 1e400}', '{"speed": NaN}'])
def test_a_clock_is_not_set_to_what_is_no_number(simulator: Simulator, body: str) -> None:
    before = simulator.run(lambda cloud: cloud.clock.now())

    status, _ = request(simulator, ["Host: 127.0.0.1:PORT"], path="/_simulator/clock", body=body)

    assert status == 400
    assert simulator.run(lambda cloud: cloud.clock.now()) - before < 3600

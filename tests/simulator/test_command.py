"""``outbound simulate`` as a process: the ready line, ports, and its end."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from support.vendor_clients import ClassicSdk, MakeConsumer

from airflow_provider_outbound.simulator.testing import Simulator

_PROGRAM = """
import argparse, sys
from airflow_provider_outbound.cli.simulate import configure
parser = argparse.ArgumentParser()
configure(parser.add_subparsers())
arguments = parser.parse_args(["simulate", *sys.argv[1:]])
sys.exit(arguments.run(arguments))
"""
_PARENT = """
import subprocess, sys, time
options = ["--api-port", "0", "--broker-port", "0", "--until-stdin-closes"]
child = subprocess.Popen([sys.executable, "-c", sys.argv[1], *options], stdin=subprocess.PIPE)
print(child.pid, flush=True)
time.sleep(60)
"""
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts the command; whatever still runs is ended with the test."""
    processes: list[subprocess.Popen[str]] = []

    def run(*arguments: str) -> subprocess.Popen[str]:
        processes.append(
            subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        return processes[-1]

    yield run
    for process in processes:
        process.kill()
        process.communicate()


def _ready(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    line: dict[str, Any] = json.loads(process.stdout.readline())
    return line


def _is_open(address: str) -> bool:
    host, _, port = address.removeprefix("http://").partition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


def test_one_json_line_says_where_and_how(start: Start) -> None:
    ready = _ready(start("--api-port", "0", "--broker-port", "0", "--topic", "t", "--consumer-group", "g"))

    outboundbot = json.loads(ready["connections"]["AIRFLOW_CONN_OUTBOUNDBOT_DEFAULT"])
    rocketmq = json.loads(ready["connections"]["AIRFLOW_CONN_ROCKETMQ_DEFAULT"])
    assert set(ready) == {
        "api", "broker", "access_key_id", "access_key_secret", "region_id", "instance_id", "script_id", "topic",
        "consumer_group", "connections",
    }  # fmt: skip
    assert _is_open(ready["api"])
    assert _is_open(ready["broker"])
    assert outboundbot == {
        "conn_type": "outboundbot",
        "host": ready["api"],
        "login": ready["access_key_id"],
        "password": ready["access_key_secret"],
        "extra": {key: ready[key] for key in ("region_id", "instance_id", "script_id")},
    }
    assert f"{rocketmq['host']}:{rocketmq['port']}" == ready["broker"]
    assert rocketmq["extra"] == {"transport": "grpc", "topic": "t", "consumer_group": "g", "tls": False}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(start: Start, number: signal.Signals) -> None:
    process = start("--api-port", "0", "--broker-port", "0")
    ready = _ready(process)

    process.send_signal(number)
    _, errors = process.communicate(timeout=20)

    assert (process.returncode, errors) == (0, "")
    assert not _is_open(ready["api"])
    assert not _is_open(ready["broker"])


@pytest.mark.parametrize(("taken", "other"), [("--api-port", "--broker-port"), ("--broker-port", "--api-port")])
def test_a_port_in_use_is_one_line(start: Start, taken: str, other: str) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]

        process = start(taken, str(port), other, "0")
        output, errors = process.communicate(timeout=20)

    assert (process.returncode, output) == (1, "")
    assert errors == f"outbound: port {port} on 127.0.0.1 is in use or not allowed; choose another {taken}, or 0\n"


def test_it_ends_with_whoever_started_it(start: Start) -> None:
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            _PARENT,
            _PROGRAM,
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    ready = json.loads(parent.stdout.readline())

    parent.send_signal(signal.SIGKILL)
    parent.communicate()

    deadline = time.monotonic() + 15
    while _is_open(ready["api"]) or _is_open(ready["broker"]):
        assert time.monotonic() < deadline, f"process {child} outlives its parent"
        time.sleep(0.1)


def test_the_clock_starts_where_it_is_told_and_runs_fast(start: Start) -> None:
    process = start(
        "--api-port", "0", "--broker-port", "0", "--start-at", "2030-01-01T09:00:00+08:00", "--clock-speed", "3600"
    )  # fmt: skip
    api = _ready(process)["api"]

    time.sleep(0.5)
    with urllib.request.urlopen(f"{api}/_simulator/state") as answer:
        now = json.loads(answer.read())["now"] / 1000

    started = datetime.fromisoformat("2030-01-01T09:00:00+08:00").timestamp()
    assert 1000 < now - started < 24 * 3600


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(
            ("--publish-to", "remoting://127.0.0.1:1", "--librocketmq", "/nowhere.so"),
            "is not a file",
            id="librocketmq",
        ),
        pytest.param(("--publish-to", "http://127.0.0.1"), "give grpc://HOST:PORT or", id="scheme"),
        pytest.param(("--publish-to", "grpc://127.0.0.1:1"), "no RocketMQ proxy answers at 127.0.0.1:1", id="nobody"),
    ],
)
def test_a_broker_that_cannot_be_published_to_is_one_line(start: Start, arguments: tuple[str, ...], words: str) -> None:
    process = start("--api-port", "0", *arguments)
    output, errors = process.communicate(timeout=30)

    assert (process.returncode, output) == (1, "")
    assert words in errors
    assert errors.count("\n") == 1


def test_it_publishes_to_another_broker(
    start: Start, simulator: Simulator, sdk: ClassicSdk, make_consumer: MakeConsumer
) -> None:
    process = start("--api-port", "0", "--publish-to", f"grpc://{simulator.broker}", "--topic", simulator.topic)
    api = _ready(process)["api"]
    order = urllib.request.Request(f"{api}/_simulator/broker", data=b'{"publish": "hello"}')

    urllib.request.urlopen(order).close()

    assert [message.body for message in make_consumer(simulator).receive(1)] == [b"hello"]


def test_the_home_folder_is_left_alone(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))

    _ready(start("--api-port", "0", "--broker-port", "0"))

    assert list(tmp_path.iterdir()) == []


def test_exports_are_lines_that_a_shell_reads_as_the_connections(start: Start) -> None:
    process = start("--api-port", "0", "--broker-port", "0", "--exports")
    assert process.stdout is not None
    lines = process.stdout.readline() + process.stdout.readline()

    read = 'printf "%s\\n%s" "$AIRFLOW_CONN_OUTBOUNDBOT_DEFAULT" "$AIRFLOW_CONN_ROCKETMQ_DEFAULT"'
    output = subprocess.run(["sh", "-c", lines + read], capture_output=True, text=True, check=True).stdout

    outboundbot, rocketmq = (json.loads(line) for line in output.splitlines())
    assert (outboundbot["conn_type"], rocketmq["conn_type"]) == ("outboundbot", "rocketmq")
    assert _is_open(outboundbot["host"])
    assert _is_open(f"{rocketmq['host']}:{rocketmq['port']}")


@pytest.mark.parametrize(("options", "same"), [((), False), (("--seed", "7"), True)])
def test_ids_come_again_only_with_a_seed(start: Start, options: tuple[str, ...], same: bool) -> None:
    ports = ("--api-port", "0", "--broker-port", "0")

    first, second = (_first_id(_ready(start(*ports, *options))["api"]) for _ in range(2))

    assert (first == second) is same


def _first_id(api: str) -> str:
    """The id of a request that is refused because it is not signed."""
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{api}/?Action=ListScripts", timeout=10)
    with refused.value as answer:
        found: str = json.load(answer)["RequestId"]
    return found

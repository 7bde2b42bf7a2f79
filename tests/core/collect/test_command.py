"""``outbound collect``: the same collector as a service."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.processes import until

from airflow_provider_outbound.core.collect.settings import WorkerSettings
from airflow_provider_outbound.core.ledger import Ledger
from airflow_provider_outbound.simulator.testing import Simulator

PROGRAM = (
    "import argparse, sys\n"
    "from airflow_provider_outbound.cli import collect\n"
    "parser = argparse.ArgumentParser('outbound')\n"
    "collect.configure(parser.add_subparsers())\n"
    "args = parser.parse_args(['collect', *sys.argv[1:]])\n"
    "sys.exit(args.run(args))\n"
)

_REMOTING = ["--endpoint", "remoting://127.0.0.1:9876", "--topic", "t", "--group", "g"]


def _start(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments],
        env=dict(os.environ) | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _run(*arguments: str, **environment: str) -> tuple[int, str, str]:
    process = _start(*arguments, **environment)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


@pytest.mark.parametrize(
    ("by", "ledger_by"),
    [
        pytest.param("endpoint", "option", id="endpoint"),
        pytest.param("connection", "environment", id="connection"),
        pytest.param("database", "environment", id="connection-of-airflows-database"),
    ],
)
def test_it_collects_until_it_is_told_to_stop(
    simulator: Simulator,
    settings: WorkerSettings,
    ledger: Ledger,
    completed: Callable[..., bytes],
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    by: str,
    ledger_by: str,
) -> None:
    simulator.publish(completed("group-1"))
    if by == "endpoint":
        arguments = ["--endpoint", f"grpc://{simulator.broker}", "--topic", simulator.topic, "--no-tls"]
        arguments += ["--group", simulator.consumer_group]
    else:
        arguments = ["--rocketmq-conn-id", "rocketmq_default" if by == "connection" else "events"]
    environment = {"OUTBOUND_LEDGER_KEY": settings.ledger_keys[0]}
    if by == "connection":
        environment |= simulator.connections
    if by == "database":
        request.getfixturevalue("airflow_home")
        monkeypatch.delenv("_AIRFLOW_PROCESS_CONTEXT", raising=False)
        add = ["connections", "add", "events", "--conn-json", simulator.connections["AIRFLOW_CONN_ROCKETMQ_DEFAULT"]]
        subprocess.run([sys.executable, "-W", "ignore", "-m", "airflow", *add], check=True, capture_output=True)
    if ledger_by == "option":
        arguments += ["--ledger-url", settings.ledger_url]
    else:
        environment["OUTBOUND_LEDGER_URL"] = settings.ledger_url

    process = _start(*arguments, **environment)
    try:
        until(lambda: "group-1" in ledger.groups.changed_since(0)[1], "stored")
    finally:
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)

    assert process.returncode == 0
    assert err.splitlines()[-1].endswith(" INFO stopped")


def test_a_connection_that_is_corrected_while_the_broker_refuses_it_is_used(
    simulator: Simulator,
    settings: WorkerSettings,
    ledger: Ledger,
    completed: Callable[..., bytes],
    tmp_path: Path,
) -> None:
    """As after the password was rotated: the process goes on by itself, with the same process id."""
    simulator.publish(completed("group-1"))
    connection = json.loads(simulator.connections["AIRFLOW_CONN_ROCKETMQ_DEFAULT"])
    file = tmp_path / "connections.json"

    def edit(topic: str) -> None:
        edited = {**connection, "extra": {**connection["extra"], "topic": topic}}
        file.with_suffix(".new").write_text(json.dumps({"events": edited}))
        file.with_suffix(".new").rename(file)

    environment = {
        "OUTBOUND_LEDGER_KEY": settings.ledger_keys[0],
        "AIRFLOW__SECRETS__BACKEND": "airflow.secrets.local_filesystem.LocalFilesystemBackend",
        "AIRFLOW__SECRETS__BACKEND_KWARGS": json.dumps({"connections_file_path": str(file)}),
    }
    program = PROGRAM.replace("parser =", "collect._LOOK_UP_SECONDS = 0.5\nparser =", 1)
    command = [sys.executable, "-c", program, "--rocketmq-conn-id", "events", "--ledger-url", settings.ledger_url]
    log = tmp_path / "collector.log"
    edit("no-such-topic")
    with log.open("w") as output:
        process = subprocess.Popen(command, env=dict(os.environ) | environment, stdout=output, stderr=output)
    try:
        until(lambda: "has no topic 'no-such-topic'" in log.read_text(), "the broker refuses the topic")
        edit(simulator.topic)
        until(lambda: "group-1" in ledger.groups.changed_since(0)[1], "stored")
        assert process.poll() is None
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)

    assert process.returncode == 0
    assert "connection 'events' was edited: starting again with it" in log.read_text()


SUBSCRIPTION = ["--endpoint", "grpc://127.0.0.1:1", "--topic", "t", "--group", "g"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(
            ["--endpoint", "127.0.0.1:8081", "--topic", "t", "--group", "g"], "grpc://HOST:PORT", id="no-scheme"
        ),
        pytest.param(["--endpoint", "grpc://nowhere", "--topic", "t", "--group", "g"], "'nowhere'", id="no-port"),
        pytest.param(
            [*_REMOTING, "--no-tls", "--librocketmq", "/nowhere.so"], "'/nowhere.so' is not a file", id="librocketmq"
        ),
        pytest.param(_REMOTING, "--no-tls", id="remoting-with-tls"),
        pytest.param(["--rocketmq-conn-id", "no_such_connection"], "no_such_connection", id="no-connection"),
        pytest.param([*SUBSCRIPTION, "--ledger-url", "sqlite://"], "ledger_url", id="ledger-in-memory"),
        pytest.param(
            [*SUBSCRIPTION, "--ledger-url", "sqlite:////nowhere/ledger.db"], "there is no such file", id="no-ledger"
        ),
    ],
)
def test_an_error_is_one_line(arguments: list[str], words: str, settings: WorkerSettings, ledger: Ledger) -> None:
    code, _, err = _run(
        *arguments, OUTBOUND_LEDGER_KEY=settings.ledger_keys[0], OUTBOUND_LEDGER_URL=settings.ledger_url
    )

    said = [line for line in err.splitlines() if line]
    assert (code, len(said)) == (1, 1)
    assert words in said[0]


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param([], id="nothing"),
        pytest.param(["--endpoint", "grpc://127.0.0.1:1"], id="no-topic"),
        pytest.param(["--rocketmq-conn-id", "a", "--topic", "t"], id="connection-and-topic"),
        pytest.param(["--rocketmq-conn-id", "a", *SUBSCRIPTION], id="connection-and-endpoint"),
    ],
)
def test_wrong_usage_is_told_apart(arguments: list[str]) -> None:
    code, _, err = _run(*arguments)

    assert code == 2
    assert "outbound collect: error:" in err

"""``outbound`` as a user meets it: its commands, its exit codes, one line for what it cannot do."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from airflow_provider_outbound import __version__
from airflow_provider_outbound.cli import demo, main
from airflow_provider_outbound.core.ledger import open_ledger

#: Runs the command line with some modules missing, as if an extra were not installed.
_WITHOUT = """
import sys
for name in sys.argv.pop(1).split(","):
    sys.modules[name] = None
from airflow_provider_outbound.cli import main
sys.exit(main())
"""


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--version"])

    assert end.value.code == 0
    assert capsys.readouterr().out == f"outbound {__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param([], id="no-command"),
        pytest.param(["dial"], id="unknown-command"),
        pytest.param(["demo", "--contacts", "0"], id="no-contacts"),
        pytest.param(["collect"], id="no-subscription"),
        pytest.param(["simulate", "--start-at", "noon"], id="no-time"),
    ],
)
def test_wrong_usage_is_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments)

    assert end.value.code == 2
    assert "usage: outbound" in capsys.readouterr().err


def test_the_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])

    assert {"demo", "simulate", "collect", "groups", "ledger", "doctor"} <= set(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("missing", "command", "extra"),
    [
        pytest.param("starlette", "simulate", "simulator", id="simulate"),
        pytest.param(
            "rocketmq",
            "collect --endpoint grpc://127.0.0.1:1 --topic t --group g --no-tls --ledger-url sqlite:///FOLDER/ledger.db",
            "grpc",
            id="collect",
        ),
    ],
)
def test_a_missing_extra_is_one_line_with_the_command_that_brings_it(
    missing: str, command: str, extra: str, tmp_path: Path
) -> None:
    process = [sys.executable, "-c", _WITHOUT, missing, *command.replace("FOLDER", str(tmp_path)).split()]
    environment = {**os.environ, "OUTBOUND_LEDGER_KEY": os.environ["AIRFLOW__CORE__FERNET_KEY"]}
    open_ledger(f"sqlite:///{tmp_path}/ledger.db", [environment["OUTBOUND_LEDGER_KEY"]]).close()
    ended = subprocess.run(process, capture_output=True, text=True, timeout=60, cwd=tmp_path, env=environment)

    assert ended.returncode == 1, ended.stderr
    (line,) = ended.stderr.splitlines()
    assert f"airflow-provider-outbound[{extra}]" in line


def test_the_demo_says_what_is_missing_before_it_starts_anything(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def version(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(demo, "version", version)  # as importlib.metadata answers where the extra is not installed

    assert main(["demo"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert 'pip install "airflow-provider-outbound[grpc,simulator]"' in line


def test_importing_the_command_line_loads_no_airflow() -> None:
    code = "import sys; from airflow_provider_outbound.cli import _parser; _parser(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout

    assert not {"airflow", "sqlalchemy", "grpc", "rich", "aliyunsdkcore"} & set(loaded.split())

"""Both RocketMQ clients own the folder ``rocketmq``: whichever was installed last, both import through our guards."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import airflow_provider_outbound

pytestmark = [pytest.mark.packages, pytest.mark.xdist_group("packages")]

GRPC, REMOTING = "rocketmq-python-client==5.1.2", "rocketmq-client-python==2.0.0"
#: Brings a librocketmq.so for Linux on x86-64.
REMOTING_WHEEL = "rocketmq-client-python==0.5.0rc2"

_LOAD_GRPC = """
from airflow_provider_outbound.core.rocketmq.grpc import load_client
print(load_client().SimpleConsumer.__name__)
"""
_LOAD_REMOTING = """
from airflow_provider_outbound.core.rocketmq.librocketmq import load_library
from airflow_provider_outbound.exceptions import RocketMQClientError
try:
    load_library()
    print("loaded")
except RocketMQClientError as error:
    print(error)
"""
_LOAD_MISSING_GRPC = """
from airflow_provider_outbound.core.rocketmq.grpc import load_client
from airflow_provider_outbound.exceptions import RocketMQClientError
try:
    load_client()
except RocketMQClientError as error:
    print(error)
"""


class Environment:
    """An environment with this package, attrs, and what the gRPC client needs; each test installs the clients anew."""

    def __init__(self, folder: Path) -> None:
        self._home = folder / "home"
        self._home.mkdir()
        self._path = folder / "path"
        shutil.copytree(Path(airflow_provider_outbound.__file__).parent, self._path / "airflow_provider_outbound")
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True, timeout=120)
        self._python = folder / "venv" / "bin" / "python"
        self._pip("install", "attrs", GRPC)

    def install(self, *packages: str) -> None:
        """Install clients, one after another."""
        self._pip("uninstall", "-y", "rocketmq-python-client", "rocketmq-client-python")
        for package in packages:
            self._pip("install", "--no-deps", package)

    def uninstall(self, package: str) -> None:
        self._pip("uninstall", "-y", package)

    def _pip(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "pip", "--python", self._python, "--disable-pip-version-check", "-q"]
        subprocess.run([str(word) for word in (*command, *arguments)], check=True, timeout=600)

    def run(self, program: str) -> str:
        ended = subprocess.run(
            [self._python, "-c", program],
            env={"PATH": os.environ["PATH"], "HOME": str(self._home), "PYTHONPATH": str(self._path)},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout.strip()

    def files_at_home(self) -> list[str]:
        return [path.name for path in self._home.iterdir()]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return Environment(tmp_path_factory.mktemp("environment"))


@pytest.mark.parametrize(
    "packages",
    [pytest.param((GRPC, REMOTING), id="remoting-last"), pytest.param((REMOTING, GRPC), id="grpc-last")],
)
def test_both_clients_import_whichever_was_installed_last(packages: tuple[str, str], environment: Environment) -> None:
    environment.install(*packages)

    grpc, remoting = environment.run(_LOAD_GRPC), environment.run(_LOAD_REMOTING)

    assert grpc == "SimpleConsumer"
    # Where a machine has the native library it works, elsewhere exactly that is missing.
    assert remoting == "loaded" or "no usable librocketmq (rocketmq dynamic library not found)" in remoting
    assert environment.files_at_home() == []

    environment.uninstall("rocketmq-python-client")

    assert 'pip install "airflow-provider-outbound[grpc]"' in environment.run(_LOAD_MISSING_GRPC)


@pytest.mark.skipif(platform.machine() != "x86_64" or sys.platform != "linux", reason="the wheel is for Linux, x86-64")
@pytest.mark.parametrize(
    "packages",
    [pytest.param((GRPC, REMOTING_WHEEL), id="remoting-last"), pytest.param((REMOTING_WHEEL, GRPC), id="grpc-last")],
)
def test_the_wheel_with_its_own_library_works_beside_the_grpc_client(
    packages: tuple[str, str], environment: Environment
) -> None:
    environment.install(*packages)

    grpc, remoting = environment.run(_LOAD_GRPC), environment.run(_LOAD_REMOTING)

    assert (grpc, remoting) == ("SimpleConsumer", "loaded")
    assert environment.files_at_home() == []

"""``outbound demo`` leaves nothing behind, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from airflow_provider_outbound.cli.processes import wait_until

pytestmark = pytest.mark.airflow

#: A shell starts what it puts into the background with Ctrl-C ignored, and so the tests perhaps.
_COMMAND = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from airflow_provider_outbound.cli import main
sys.exit(main())
"""


@pytest.mark.parametrize(
    ("services", "number", "code"),
    [
        pytest.param({"simulate"}, signal.SIGTERM, 143, id="sigterm-while-it-prepares"),
        pytest.param({"simulate", "scheduler", "triggerer"}, signal.SIGINT, 130, id="ctrl-c-with-all-services"),
        pytest.param({"simulate", "scheduler", "triggerer"}, signal.SIGKILL, -9, id="kill-with-all-services"),
    ],
)
def test_nothing_is_left(services: set[str], number: int, code: int, tmp_path: Path) -> None:
    with (tmp_path / "output").open("wb") as output:
        command = [sys.executable, "-c", _COMMAND, "demo"]
        environment = {**os.environ, "TMPDIR": str(tmp_path)}
        demo = subprocess.Popen(command, stdout=output, stderr=output, cwd=tmp_path, env=environment)
    try:
        wait_until(lambda: services <= running(demo), seconds=120, what="services of the demo")
        time.sleep(1)  # into the middle of what they do at their start
        tree = psutil.Process(demo.pid).children(recursive=True)

        demo.send_signal(number)

        assert demo.wait(60) == code, (tmp_path / "output").read_text()
    finally:
        demo.kill()
        demo.wait()
    wait_until(lambda: not left(tree, tmp_path), seconds=30, what="end of every process")
    wait_until(lambda: not list(tmp_path.glob("outbound-demo-*")), seconds=10, what="end of the folder")


def running(demo: subprocess.Popen[bytes]) -> set[str]:
    """Every argument of every process that the demo started."""
    assert demo.poll() is None, "the demo ended too early"
    arguments: set[str] = set()
    for process in psutil.Process(demo.pid).children(recursive=True):
        try:
            arguments.update(process.cmdline())
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
    return arguments


def left(tree: list[psutil.Process], folder: Path) -> list[psutil.Process]:
    """Those of the tree that still run, and all others that work in its folder."""
    others = [process for process in psutil.process_iter(["environ"]) if str(folder) in str(process.info["environ"])]
    alive = [process for process in {*tree, *others} if process.is_running()]
    return [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]

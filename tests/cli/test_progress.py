"""A command that takes long shows how far it is: bars on a terminal, lines elsewhere, and nothing in its output."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from typing import TYPE_CHECKING

from airflow_provider_outbound.cli.progress import LINE_SECONDS, CommandProgress

if TYPE_CHECKING:
    import pytest

_COMMAND = """
from airflow_provider_outbound.cli.output import lasting_output
from airflow_provider_outbound.cli.progress import CommandProgress

with lasting_output():
    with CommandProgress("rows") as progress:
        progress.show("jobs", 50, 100)
        progress.show("calls", 0, 7)
        progress.show("jobs", 100, 100)
    print("done")
"""


class Clock:
    """A clock that a test moves."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def test_without_a_terminal_there_is_a_line_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with CommandProgress("rows", clock=clock) as progress:
        for done in range(61):
            clock.seconds = done * 0.5
            progress.show("jobs", done, 61)
    output = capsys.readouterr()
    lines = output.err.splitlines()

    assert output.out == ""
    assert len(lines) == 30 // LINE_SECONDS
    assert lines[0] == "jobs: 10 of 61 rows"
    assert re.fullmatch(r"jobs: 60 of 61 rows, 120\.0 per minute, expected end [\d: -]+ UTC", lines[-1])


def test_what_takes_little_time_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    with CommandProgress("rows", clock=Clock()) as progress:
        progress.show("jobs", 1, 1)
    assert capsys.readouterr().err == ""


def test_a_terminal_has_bars_which_leave_the_output_as_it_is() -> None:
    terminal, other = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    command = subprocess.run(
        [sys.executable, "-c", _COMMAND], stdout=subprocess.PIPE, stderr=other, env=environment, text=True, check=True
    )
    os.close(other)
    shown = ""
    try:
        while part := os.read(terminal, 65536).decode():
            shown += part
    except OSError:  # the other end is closed, and all is read
        pass
    os.close(terminal)

    assert command.stdout == "done\n"
    plain = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", shown)
    assert "100 of 100 rows" in plain
    assert "calls" in plain
    assert "━" in plain

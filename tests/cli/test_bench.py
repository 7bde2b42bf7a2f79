"""The benchmarks, small: that they measure what they say, not how fast it is."""

from __future__ import annotations

import json
import subprocess

from airflow_provider_outbound.cli.services import OUTBOUND


def test_assign_prints_a_line_of_figures_last():
    command = [*OUTBOUND, "bench", "assign", "--contacts", "150", "--many", "1200", "--limit-seconds", "3"]

    done = subprocess.run(command, capture_output=True, text=True, timeout=170, check=False)

    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures.keys() >= {
        "jobs_per_second_guide",
        "jobs_per_second_pool",
        "jobs_per_second",
        "ratio_to_guide",
        "ratio_to_pool",
        "extra_mb_at_a_million",
        "rerun_seconds",
        "rerun_requests",
        "used_of_limit",
        "throttled_share",
    }
    assert figures["contacts"] == 1200
    assert figures["rerun_requests"] == 0
    assert all(figures[f"jobs_per_second{way}"] > 0 for way in ("_guide", "_pool", ""))
    assert "the guide's loop" in done.stdout


def test_a_benchmark_must_be_named():
    done = subprocess.run([*OUTBOUND, "bench"], capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 2
    assert "NAME" in done.stderr

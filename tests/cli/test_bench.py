"""The benchmarks, small: that they measure what they say, not how fast it is."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

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


def _figures(*arguments: str) -> tuple[dict[str, Any], str]:
    """The last line of a benchmark's output, and all of it."""
    done = subprocess.run([*OUTBOUND, "bench", *arguments], capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), done.stdout + done.stderr


def test_wait_prints_a_line_of_figures_last() -> None:
    figures, output = _figures(
        *("wait", "--waits", "1", "--sensors", "4", "--idle-seconds", "0.5"),
        *("--kafka-waits", "1", "--kafka-seconds", "0.5"),
    )

    shared = {"threads", "processes", "connections", "loop_blocked_ms", "idle_cpu_percent", "all_resumed_seconds"}
    assert figures.keys() >= {"median_ms", "p99_ms", "bare_median_ms", "kafka_median_ms"} | shared
    assert figures.keys() >= {f"kafka_{name}" for name in shared}
    assert figures["median_ms"] > 0
    assert figures["bare_median_ms"] > 0
    assert figures["sensors"] == 4
    # What is held while nothing happens does not grow with the waits.
    assert all(figures[name] == figures[f"{name}_for_one"] for name in ("threads", "processes", "connections"))
    assert ("no comparison with Kafka's trigger" in output) == (figures["kafka_median_ms"] is None)


def test_collect_prints_a_line_of_figures_last() -> None:
    figures, output = _figures(
        *("collect", "--events", "4000", "--rounds", "1", "--few", "2000", "--many", "6000", "--lots", "2")
    )

    ratios = {f"ratio_{way}_{ledger}" for way in ("grpc", "remoting") for ledger in ("sqlite", "postgresql")}
    assert figures.keys() >= ratios | {"insert_slowdown", "query_slowdown"}
    assert figures["ratio_grpc_sqlite"] > 0
    assert figures["events_per_second_grpc_bare"] > 0
    assert figures["ratio_remoting_sqlite"] is None
    assert "remoting is left out" in output
    assert figures["broker"] == "stand-in"
    assert figures["many"] == 6000
    assert figures["insert_slowdown"] > 0
    assert figures["query_slowdown"] > 0


@pytest.mark.postgresql
def test_collect_compares_into_postgresql_too(postgresql_url: str) -> None:
    figures, _ = _figures(
        *("collect", "--events", "4000", "--rounds", "1", "--many", "0", "--postgresql-url", postgresql_url)
    )

    assert figures["ratio_grpc_postgresql"] > 0
    assert figures["insert_slowdown"] is None


def test_a_benchmark_must_be_named():
    done = subprocess.run([*OUTBOUND, "bench"], capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 2
    assert "NAME" in done.stderr

"""Small runs of the benchmarks: they measure what they report; the speed is not tested."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import kafka
from benchmarks.__main__ import main


def _figures(*arguments: str) -> tuple[dict[str, Any], str]:
    """The last line of a benchmark's output, and the whole output."""
    command = [sys.executable, str(Path(__file__).parent), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), done.stdout + done.stderr


def test_assign_prints_a_line_of_figures_last() -> None:
    figures, output = _figures("assign", "--contacts", "100", "--many", "1000", "--limit-seconds", "2")

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
    assert figures["contacts"] == 1000
    assert figures["rerun_requests"] == 0
    assert all(figures[f"jobs_per_second{way}"] > 0 for way in ("_guide", "_pool", ""))
    assert "the guide's loop" in output


def test_wait_prints_a_line_of_figures_last() -> None:
    figures, _ = _figures("wait", "--waits", "1", "--sensors", "4", "--idle-seconds", "0.5", "--kafka-waits", "0")

    shared = {"threads", "processes", "connections", "loop_blocked_ms", "idle_cpu_percent", "all_resumed_seconds"}
    assert figures.keys() >= {"median_ms", "p99_ms", "bare_median_ms"} | shared
    assert figures["median_ms"] > 0
    assert figures["bare_median_ms"] > 0
    assert figures["sensors"] == 4
    # What is held while idle does not grow with the number of waits.
    assert all(figures[name] == figures[f"{name}_for_one"] for name in ("threads", "processes", "connections"))
    assert {figures[f"kafka_{name}"] for name in shared | {"median_ms", "resumed"}} == {None}


@pytest.mark.skipif(not kafka.is_installed(), reason=f"{kafka.PACKAGE} is not installed")
def test_kafkas_trigger_waits_for_the_last_message_of_its_own_group(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.providers.apache.kafka.hooks.consume import KafkaConsumerHook

    # The benchmark replaces this method in its own process; here it is restored after the test.
    monkeypatch.setattr(KafkaConsumerHook, "get_consumer", KafkaConsumerHook.get_consumer)
    trigger = kafka.trigger("group")
    trigger.poll_interval = 0.01

    async def first_event() -> Any:
        events = trigger.run()
        waiting = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0.1)
        for group, kind in (("other", "JobComplete"), ("group", "CallFinished"), ("group", "JobComplete")):
            assert not waiting.done()
            kafka.TOPIC.append(json.dumps({"groupId": group, "eventType": kind}))
        return await asyncio.wait_for(waiting, 60)

    assert asyncio.run(first_event()).payload == "group"


def test_collect_prints_a_line_of_figures_last() -> None:
    figures, output = _figures(
        *("collect", "--events", "1000", "--rounds", "1", "--few", "2000", "--many", "4000", "--lots", "1")
    )

    ratios = {f"ratio_{way}_{ledger}" for way in ("grpc", "remoting") for ledger in ("sqlite", "postgresql")}
    assert figures.keys() >= ratios | {"insert_slowdown", "query_slowdown"}
    assert figures["ratio_grpc_sqlite"] > 0
    assert figures["events_per_second_grpc_bare"] > 0
    assert figures["ratio_remoting_sqlite"] is None
    assert "remoting is left out" in output
    assert figures["broker"] == "stand-in"
    assert figures["many"] == 4000
    assert figures["insert_slowdown"] > 0
    assert figures["query_slowdown"] > 0


@pytest.mark.postgresql
def test_collect_compares_into_postgresql_too(postgresql_url: str) -> None:
    figures, _ = _figures(
        *("collect", "--events", "1000", "--rounds", "1", "--many", "0", "--postgresql-url", postgresql_url)
    )

    assert figures["ratio_grpc_postgresql"] > 0
    assert figures["insert_slowdown"] is None


def test_a_benchmark_must_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([])

    assert ended.value.code == 2
    assert "NAME" in capsys.readouterr().err


def test_sources_prints_a_line_of_figures_last() -> None:
    pytest.importorskip("alibabacloud_oss_v2")
    figures, output = _figures("sources", "--rows", "200")

    for source in ("csv", "xlsx", "oss"):
        assert figures[f"contacts_{source}"] == figures["rows"] == 200
        assert figures[f"peak_mb_{source}"] >= figures[f"before_mb_{source}"] > 0
    assert "rows per second" in output


def test_page_prints_a_line_of_figures_last() -> None:
    figures, output = _figures(
        *("page", "--campaigns", "60", "--events", "2400", "--clients", "2", "--seconds", "2", "--pause", "0.05")
    )

    assert figures["p95_ms"].keys() <= {"list", "filtered", "campaign", "jobs", "job", "health"}
    assert figures["requests"] > 0
    assert all(took > 0 for took in figures["p95_ms"].values())
    assert "60 campaigns: filled" in output

"""
``python tests/benchmarks assign``: how fast contacts are assigned, and what exactly-once costs.

Three ways to assign the same contacts: the vendor guide's loop (one request after the other), a plain thread pool over
the SDK, which is the limit of this client on this machine, and ours with its journal. Then many contacts from Parquet,
the same again when all are assigned, and a service that throttles. Every measurement runs in a separate process.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import attrs
from support.simulated import client_of, simulated_service

from benchmarks.common import KEY, in_own_process, say

_LATENCY_MS = 30
#: Seconds after which the client should have found the limit of a service that throttles.
_WARM_UP = 10.0
_ROWS = 10_000
_CITIES = ("Hangzhou", "Shanghai", "Chengdu")


def configure(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the benchmark."""
    parser = subparsers.add_parser(
        "assign",
        help="assigning contacts: the guide's loop, a thread pool, and ours; a million; a service that throttles",
        description="Compares three ways to assign contacts to one simulated service with 30 ms latency, then assigns "
        "many contacts from Parquet, twice, then runs into a limit of requests per second.",
    )
    parser.add_argument("--contacts", type=int, default=10_000, help="contacts for each way (default: %(default)s)")
    parser.add_argument("--many", type=int, default=1_000_000, help="contacts from Parquet (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=8, help="simultaneous requests (default: %(default)s)")
    parser.add_argument("--batch-size", type=int, default=25, help="contacts per request (default: %(default)s)")
    parser.add_argument("--limit", type=int, default=20, help="limit in requests per second (default: %(default)s)")
    parser.add_argument(
        "--limit-seconds", type=int, default=60, help="duration of the part with the limit (default: %(default)s)"
    )
    parser.set_defaults(run=run)


@attrs.frozen(kw_only=True)
class Job:
    """Arguments of a measuring process."""

    service: Mapping[str, Any]
    folder: str
    job_group_id: str
    threads: int
    batch_size: int
    contacts: int = 0
    path: str = ""


def run(arguments: argparse.Namespace) -> int:
    """Measure everything and print the figures; returns 0."""
    with tempfile.TemporaryDirectory(prefix="outbound-bench-") as folder:
        with simulated_service("--latency-ms", str(_LATENCY_MS)) as service:
            figures = {**_three_ways(arguments, service, folder), **_many(arguments, service, folder)}
        figures |= _limited(arguments, folder)
    _print_table(figures, arguments)
    print(json.dumps(figures))
    return 0


def _three_ways(arguments: argparse.Namespace, service: Mapping[str, Any], folder: str) -> dict[str, float]:
    speeds: dict[str, float] = {}
    for name, measure in (("guide", guide), ("pool", pool), ("ours", ours)):
        job = _job(arguments, service, folder, contacts=arguments.contacts)
        seconds = in_own_process(measure, job)["seconds"]
        _check(service, job.job_group_id, arguments.contacts)
        speeds[name] = arguments.contacts / seconds
        say(f"{name}: {speeds[name]:,.0f} jobs per second")
    return {
        "jobs_per_second_guide": round(speeds["guide"], 1),
        "jobs_per_second_pool": round(speeds["pool"], 1),
        "jobs_per_second": round(speeds["ours"], 1),
        "ratio_to_guide": round(speeds["ours"] / speeds["guide"], 2),
        "ratio_to_pool": round(speeds["ours"] / speeds["pool"], 2),
    }


def _many(arguments: argparse.Namespace, service: Mapping[str, Any], folder: str) -> dict[str, float]:
    few, many = str(Path(folder, "few.parquet")), str(Path(folder, "many.parquet"))
    _write_parquet(few, min(1000, arguments.many))
    _write_parquet(many, arguments.many)
    small = in_own_process(ours, _job(arguments, service, folder, path=few))
    job = attrs.evolve(_job(arguments, service, folder, path=many), batch_size=99)
    large = in_own_process(ours, job)
    _check(service, job.job_group_id, arguments.many)
    say(f"{arguments.many:,} contacts: {large['seconds']:.0f} s; memory {large['memory']}")
    before = _counts(service)["requests"]["AssignJobs"]
    again = in_own_process(ours, job)
    requests = _counts(service)["requests"]["AssignJobs"] - before
    say(f"the same again: {again['seconds']:.1f} s, {requests} requests")
    return {
        "contacts": arguments.many,
        "seconds_for_them": round(large["seconds"], 1),
        "extra_mb_at_a_million": round(large["peak_mb"] - small["peak_mb"], 1),
        "rerun_seconds": round(again["seconds"], 1),
        "rerun_requests": requests,
    }


def _limited(arguments: argparse.Namespace, folder: str) -> dict[str, float]:
    limit, seconds = arguments.limit, arguments.limit_seconds
    warm_up = min(_WARM_UP, seconds / 3)
    with simulated_service("--latency-ms", str(_LATENCY_MS), "--max-requests-per-second", str(limit)) as service:
        # More than can be sent in that time, so that the measurement ends first.
        job = _job(arguments, service, folder, contacts=int(limit * (seconds + 5)) * arguments.batch_size)
        process = multiprocessing.get_context("spawn").Process(target=ours, args=(job,), daemon=True)
        process.start()
        while not _counts(service)["requests"].get("AssignJobs"):
            time.sleep(0.05)
        time.sleep(warm_up)
        first, begun = _counts(service), time.monotonic()
        time.sleep(seconds - warm_up)
        last, lasted = _counts(service), time.monotonic() - begun
        process.kill()
        process.join()
    sent = last["requests"]["AssignJobs"] - first["requests"]["AssignJobs"]
    throttled = last["throttled"] - first["throttled"]
    return {
        "limit": limit,
        "used_of_limit": round((sent - throttled) / (limit * lasted), 3),
        "throttled_share": round(throttled / max(1, sent), 4),
    }


def guide(job: Job) -> dict[str, Any]:
    """The vendor guide's way: one request after the other."""
    send = _plain_sender(job)
    return _measured(lambda: [send(batch) for batch in _batches(job)])


def pool(job: Job) -> dict[str, Any]:
    """The same with several threads, without a record of what was sent."""
    send = _plain_sender(job)

    def run_all() -> None:
        with ThreadPoolExecutor(job.threads) as threads:
            for done in [threads.submit(send, batch) for batch in _batches(job)]:
                done.result()

    return _measured(run_all)


def ours(job: Job) -> dict[str, Any]:
    """The operator's way: with a journal in a ledger, each contact at most once."""
    from airflow_provider_outbound.core.assign import AssignOptions, Request, assign
    from airflow_provider_outbound.core.contacts import from_items, from_path
    from airflow_provider_outbound.core.ledger import TaskKey, open_ledger

    client = client_of(job.service)
    # The SDK is imported before the clock starts, as in the other ways: it takes a second, once.
    client.describe_job_group(job_group_id=job.job_group_id)
    source = from_path(Path(job.path)) if job.path else from_items([*_people(job.contacts)])
    with open_ledger(f"sqlite:///{job.folder}/ledger.db", [KEY]) as ledger:
        return _measured(
            lambda: assign(
                client,
                ledger,
                TaskKey("bench", job.job_group_id, "assign"),
                source,
                request=Request(job_group_id=job.job_group_id),
                options=AssignOptions(batch_size=job.batch_size, max_parallel_requests=job.threads),
                guard=lambda _: None,
            )
        )


def _plain_sender(job: Job) -> Callable[[Sequence[str]], None]:
    from aliyunsdkcore.client import AcsClient
    from aliyunsdkoutboundbot.request.v20191226.AssignJobsRequest import AssignJobsRequest

    service = job.service
    client = AcsClient(service["access_key_id"], service["access_key_secret"], service["region_id"])

    def send(batch: Sequence[str]) -> None:
        request = AssignJobsRequest()
        request.set_endpoint(service["api"].removeprefix("http://"))
        request.set_protocol_type("http")
        request.set_InstanceId(service["instance_id"])
        request.set_JobGroupId(job.job_group_id)
        request.set_JobsJsons(list(batch))
        client.do_action_with_exception(request)

    return send


def _batches(job: Job) -> Iterator[list[str]]:
    texts = (
        json.dumps(
            {
                "contacts": [
                    {"phoneNumber": person["phone"], "name": person["name"], "referenceId": f"r{person['phone']}"}
                ],
                "extras": [{"key": "city", "value": person["city"]}],
            },
            ensure_ascii=False,
            separators=(",", ":"),
        )
        for person in _people(job.contacts)
    )
    while batch := list(islice(texts, job.batch_size)):
        yield batch


def _people(count: int, start: int = 0) -> Iterator[dict[str, str]]:
    for index in range(start, start + count):
        yield {"phone": f"138{index:08d}", "name": f"客户{index}", "city": _CITIES[index % len(_CITIES)]}


def _write_parquet(path: str, count: int) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    schema = pa.schema([(name, pa.string()) for name in ("phone", "name", "city")])
    with parquet.ParquetWriter(path, schema) as writer:
        for start in range(0, count, _ROWS):
            rows = [*_people(min(_ROWS, count - start), start)]
            writer.write_table(pa.Table.from_pylist(rows, schema))


def _measured(work: Callable[[], object]) -> dict[str, Any]:
    """Seconds, the peak of this process's memory, and its memory after each tenth of the time, MB."""
    import psutil

    process, done = psutil.Process(), threading.Event()
    samples: list[int] = []

    def sample() -> None:
        while not done.wait(0.1):
            samples.append(process.memory_info().rss)

    sampler = threading.Thread(target=sample, name="outbound-bench-memory", daemon=True)
    sampler.start()
    begun = time.perf_counter()
    try:
        work()
    finally:
        seconds = time.perf_counter() - begun
        done.set()
        sampler.join()
    tenths = [samples[len(samples) * tenth // 10] for tenth in range(10)] if len(samples) >= 10 else samples
    return {
        "seconds": seconds,
        "peak_mb": max([*samples, process.memory_info().rss]) / 2**20,
        "memory": " ".join(f"{rss / 2**20:.0f}" for rss in tenths) + " MB",
    }


def _job(arguments: argparse.Namespace, service: Mapping[str, Any], folder: str, **what: Any) -> Job:
    client = client_of(service)
    # A window in the future: dialling would slow the service's answers down.
    tomorrow = int((time.time() + 86_400) * 1000)
    strategy = {
        "startTime": tomorrow,
        "endTime": tomorrow + 3_600_000,
        "workingTime": [{"beginTime": "09:00:00", "endTime": "12:00:00"}],
        "repeatBy": "Once",
    }
    group = client.create_job_group(
        job_group_name="bench", script_id=service["script_id"], strategy_json=json.dumps(strategy)
    )
    return Job(
        service=service,
        folder=folder,
        job_group_id=group.job_group_id,
        threads=arguments.threads,
        batch_size=arguments.batch_size,
        **what,
    )


def _counts(service: Mapping[str, Any]) -> dict[str, Any]:
    from airflow_provider_outbound.cli.services import request_json

    counts: dict[str, Any] = request_json("GET", f"{service['api']}/_simulator/counts")
    return counts


def _check(service: Mapping[str, Any], job_group_id: str, wanted: int) -> None:
    found = _counts(service)["jobs_per_group"][job_group_id]
    if found != wanted:
        raise RuntimeError(f"the service has {found} jobs of {wanted}: the figures would be meaningless")


def _print_table(figures: Mapping[str, float], arguments: argparse.Namespace) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("", "jobs per second", "ratio of ours")
    ways = (("the guide's loop", "_guide"), (f"{arguments.threads} threads over the SDK", "_pool"), ("ours", ""))
    for title, suffix in ways:
        speed = figures[f"jobs_per_second{suffix}"]
        table.add_row(title, f"{speed:,.0f}", f"{figures['jobs_per_second'] / speed:.2f}")
    Console().print(table)
    rows = Table("", "")
    rows.add_row(f"{arguments.many:,} contacts from Parquet", f"{figures['seconds_for_them']:,.0f} s")
    rows.add_row("additional memory beyond that for a thousand", f"{figures['extra_mb_at_a_million']:,.0f} MB")
    rows.add_row("the same again", f"{figures['rerun_seconds']:.1f} s, {figures['rerun_requests']} requests")
    rows.add_row(f"limit of {arguments.limit} requests per second", f"{figures['used_of_limit']:.1%} used")
    rows.add_row("throttled at this limit", f"{figures['throttled_share']:.1%} of the requests")
    Console().print(rows)

"""A collector on a topic that others can write to: everything is acknowledged, what is ours is stored."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from pathlib import Path

import attrs
from support.processes import until
from support.workers import StartWorker, delivered, unacknowledged

from airflow_provider_outbound.core.collect.settings import WorkerSettings
from airflow_provider_outbound.core.ledger import Ledger, examine
from airflow_provider_outbound.simulator.testing import Simulator


def packed(body: bytes, size: int) -> bytes:
    """A body with so many blanks behind it, as gzip."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    beginning = packer.compress(body) + packer.flush(zlib.Z_FULL_FLUSH)
    blanks = packer.compress(b" " * (1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return beginning + blanks * (size >> 20)


def peak(pid: int) -> int:
    """Most memory that a process has had (bytes)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def test_bombs_nests_and_other_bots_are_acknowledged_and_ours_are_stored(
    simulator: Simulator, settings: WorkerSettings, ledger: Ledger, start: StartWorker, completed: Callable[..., bytes]
) -> None:
    ours = attrs.evolve(settings, rocketmq=attrs.evolve(settings.rocketmq, instance_ids=("instance-1",)))
    bombs = [packed(completed(), 600 << 20) for _ in range(3)]
    nests = [completed()[:-1] + b', "novel": ' + b"[" * depth + b"]" * depth + b"}" for depth in (70, 900, 990, 10_000)]
    theirs = [json.dumps(json.loads(completed("theirs")) | {"instanceId": "instance-2"}).encode() for _ in range(5)]
    for bomb in bombs:
        simulator.publish(bomb, is_packed=True)
    for body in (*nests, *theirs, completed("ours")):
        simulator.publish(body)
    simulator.publish(zlib.compress(completed("ours")), is_packed=True)

    worker = start(ours)

    until(lambda: (delivered(simulator), unacknowledged(simulator)) == (14, 0), "all acknowledged")
    health = examine(ledger)
    assert {name: health.rows[name] for name in ("events", "jobs", "job_groups", "quarantine")} == {
        "events": 2,
        "jobs": 2,
        "job_groups": 1,
        "quarantine": 7,
    }
    assert [(one.instance_id, one.stored, one.skipped) for one in health.instances] == [
        ("instance-1", 2, 0),
        ("instance-2", 0, 5),
    ]
    assert health.size_bytes < 8 << 20
    assert peak(worker.process.pid) < 400 << 20
    assert worker.said("messages of bot instances other than instance-1 are not stored") == 1
    assert worker.said("will be redelivered") == 0

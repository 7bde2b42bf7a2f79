"""
A process like a triggerer: one asyncio event loop that runs triggers, and reports when each yields its event.

Airflow's own triggerer reads its triggers from the metadata database once a second and writes their events to it. This
is the same for every trigger, so it is left out. Everything that a trigger does itself is included.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import time
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Self

import attrs

#: How often it is measured whether the event loop responds (seconds).
_PULSE = 0.02
#: How long a process may take to start, with Airflow's imports (seconds).
_START_SECONDS = 120.0
_END_SECONDS = 30.0


@attrs.frozen(kw_only=True)
class Event:
    """A trigger's event: its job group, its time (Unix seconds) and its payload."""

    job_group_id: str
    at: float
    payload: Any


class Triggerer:
    """
    Starts such a process and controls it.

    :param kind: The trigger that waits: ``ours`` or ``kafka``.
    :param environment: Airflow's connections and settings.
    :param ledger: File or port of the ledger, whose connections are counted.
    :param broker: Port of the broker, whose connections are counted.
    """

    def __init__(self, kind: str, environment: Mapping[str, str], *, ledger: str | int, broker: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        # Not a daemon, since it has child processes.
        self._process = context.Process(target=_program, args=(theirs, kind, dict(environment)))
        self._process.start()
        theirs.close()
        self._ledger, self._broker = ledger, broker
        self._events: list[Event] = []
        self._cpu: dict[int, float] = {}
        self._cpu_at = 0.0
        self._ask("ready", patience=_START_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        try:
            self._pipe.send(("end", None))
            self._process.join(_END_SECONDS)
        except OSError:
            pass
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._pipe.close()

    def wait_for(self, job_group_ids: Sequence[str]) -> None:
        """Start a trigger for each group."""
        self._ask("start", list(job_group_ids))

    def tell(self, body: str) -> None:
        """Publish a message to Kafka's topic."""
        self._pipe.send(("message", body))

    def event(self, patience: float) -> Event | None:
        """The next event; ``None`` if none comes within ``patience`` seconds."""
        deadline = time.monotonic() + patience
        while not self._events:
            if not self._pipe.poll(max(0.0, deadline - time.monotonic())):
                return None
            self._receive()
        return self._events.pop(0)

    def longest_block(self) -> float:
        """Longest time (seconds) for which the event loop was blocked since the last call."""
        return float(self._ask("blocked"))

    def figures(self) -> dict[str, int]:
        """The numbers of ``threads``, ``processes`` and ``connections`` (to ledger and broker)."""
        import psutil

        me = psutil.Process(self._process.pid)
        family = [me, *_children(me)]
        return {
            "threads": me.num_threads(),
            "processes": len(family),
            "connections": sum(_connections(member, self._ledger, self._broker) for member in family),
        }

    def start_cpu(self) -> None:
        """Start to measure the CPU time of the process and its children."""
        self._cpu, self._cpu_at = self._cpu_times(), time.monotonic()

    def cpu_percent(self) -> float:
        """CPU time since :meth:`start_cpu`, in percent of one core."""
        used = sum(seconds - self._cpu.get(pid, 0.0) for pid, seconds in self._cpu_times().items())
        return 100 * used / (time.monotonic() - self._cpu_at)

    def _cpu_times(self) -> dict[int, float]:
        import psutil

        me = psutil.Process(self._process.pid)
        times = {}
        for member in (me, *_children(me)):
            try:
                spent = member.cpu_times()
            except psutil.Error:  # it has ended meanwhile
                continue
            times[member.pid] = spent.user + spent.system
        return times

    def _ask(self, order: str, what: Any = None, *, patience: float = _START_SECONDS) -> Any:
        self._pipe.send((order, what))
        deadline = time.monotonic() + patience
        while True:
            if not self._pipe.poll(max(0.0, deadline - time.monotonic())):
                raise RuntimeError(f"the process with the triggers does not answer ({order})")
            answer = self._receive()
            if answer is not None and answer[0] == order:
                return answer[1]

    def _receive(self) -> tuple[str, Any] | None:
        try:
            kind, what = self._pipe.recv()
        except EOFError:
            raise RuntimeError("the process with the triggers ended") from None
        if kind != "event":
            return kind, what
        self._events.append(Event(job_group_id=what[0], at=what[1], payload=what[2]))
        return None


def _children(process: Any) -> list[Any]:
    import psutil

    def is_ours(child: Any) -> bool:
        # multiprocessing's own helper belongs to the benchmark, not to what is measured.
        try:
            return "resource_tracker" not in " ".join(child.cmdline())
        except psutil.Error:
            return False

    return [child for child in process.children(recursive=True) if is_ours(child)]


def _connections(process: Any, ledger: str | int, broker: int) -> int:
    import psutil

    try:
        ports = {broker, ledger}
        sockets = [link for link in process.net_connections("tcp") if link.raddr and link.raddr.port in ports]
        # SQLite keeps a database file open while another connection has locked it, so the log files are counted.
        files = [file for file in process.open_files() if file.path == f"{ledger}-wal"]
    except psutil.Error:  # it has ended meanwhile
        return 0
    return len(sockets) + len(files)


def _program(pipe: Connection, kind: str, environment: Mapping[str, str]) -> None:
    """The main function of the process."""
    os.environ.update(environment)
    asyncio.run(_serve(pipe, kind))


async def _serve(pipe: Connection, kind: str) -> None:
    """Execute the commands from the pipe, in the event loop of the triggers."""
    make = _kafka() if kind == "kafka" else _ours()
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    tasks: set[asyncio.Task[None]] = set()
    blocked = 0.0

    async def run(job_group_id: str) -> None:
        trigger = make(job_group_id)
        try:
            async for event in trigger.run():
                pipe.send(("event", (job_group_id, time.time(), event.payload)))
        finally:
            await trigger.cleanup()

    async def start(job_group_ids: Sequence[str]) -> None:
        for job_group_id in job_group_ids:
            # As in Airflow's triggerer, other tasks run between two new ones.
            await asyncio.sleep(0)
            tasks.add(task := asyncio.create_task(run(job_group_id)))
            task.add_done_callback(tasks.discard)
        pipe.send(("start", None))

    def obey() -> None:
        nonlocal blocked
        try:
            order, what = pipe.recv()
        except EOFError:
            order, what = "end", None
        if order == "end":
            ended.set()
        elif order == "message":
            from benchmarks import kafka

            kafka.TOPIC.append(what)
        elif order == "start":
            tasks.add(task := asyncio.create_task(start(what)))
            task.add_done_callback(tasks.discard)
        elif order == "blocked":
            pipe.send((order, blocked))
            blocked = 0.0
        else:
            pipe.send((order, None))

    async def feel_pulse() -> None:
        nonlocal blocked
        while True:
            asleep_at = loop.time()
            await asyncio.sleep(_PULSE)
            blocked = max(blocked, loop.time() - asleep_at - _PULSE)

    loop.add_reader(pipe.fileno(), obey)
    pulse = asyncio.create_task(feel_pulse())
    await ended.wait()
    loop.remove_reader(pipe.fileno())
    for task in (pulse, *tasks):
        task.cancel()
    if kind == "kafka":
        # Its triggers share one thread, which waits for one message after the other; do not wait for that thread.
        os._exit(0)
    await asyncio.gather(pulse, *tasks, return_exceptions=True)
    from airflow_provider_outbound.core.collect.watch import end_all

    await asyncio.to_thread(end_all)


def _ours() -> Any:
    from airflow_provider_outbound.triggers.outboundbot import OutboundBotJobCompleteTrigger

    return lambda job_group_id: OutboundBotJobCompleteTrigger(job_group_id=job_group_id)


def _kafka() -> Any:
    from benchmarks import kafka

    return kafka.trigger

"""Dials the jobs: windows, attempts, redials, a limit of simultaneous calls, and the messages about them."""

from __future__ import annotations

import asyncio
import contextlib
import random
import uuid
from collections import deque
from collections.abc import Callable

from airflow_provider_outbound.simulator.clock import Clock
from airflow_provider_outbound.simulator.messages import Post, job_event, recording_event
from airflow_provider_outbound.simulator.outcomes import NOT_DIALLED, REDIALLED, is_answered, job_result
from airflow_provider_outbound.simulator.records import Agenda, Call, Job
from airflow_provider_outbound.simulator.strategy import day_of

#: The number of due entries that are processed before other tasks of the event loop run.
_ENTRIES_PER_TURN = 200


class Dialler:
    """
    Processes an agenda of jobs by the service's clock.

    Every entry is processed as of the instant for which it was planned, not of the instant when the event loop reached
    it, so that a fast clock results in the same calls as a slow one.

    :param call_seconds: mean duration of an answered call, in seconds of the service's clock.
    :param concurrency: maximum number of simultaneous calls.
    :param recording_url: returns the URL of a recording by its file name.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        post: Post,
        rng: random.Random,
        instance_id: str,
        call_seconds: float,
        concurrency: int,
        calling_number: str,
        recording_url: Callable[[str], str],
    ) -> None:
        self.clock = clock
        self.post = post
        self.rng = rng
        self.instance_id = instance_id
        self.call_seconds = call_seconds
        self.concurrency = concurrency
        self.calling_number = calling_number
        self.recording_url = recording_url
        self.agenda = Agenda()
        #: Jobs that are due and wait for a free line.
        self.ready: deque[tuple[Job, int]] = deque()
        self.lines_in_use = 0
        #: Calls by task id.
        self.calls: dict[str, Call] = {}
        self._wake = asyncio.Event()
        clock.on_change = self._wake.set

    async def run(self) -> None:
        """Dial until cancelled."""
        while True:
            self._wake.clear()
            at = self.agenda.next_at()
            delay = None if at is None else self.clock.real_seconds_until(at)
            if delay == 0:
                self._work()
                await asyncio.sleep(0)
                continue
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), delay)

    def reset(self) -> None:
        """Drop all calls and entries."""
        self.agenda.clear()
        self.ready.clear()
        self.calls.clear()
        self.lines_in_use = 0
        self._wake.set()

    def plan(self, job: Job) -> None:
        """Plan the calls of a job: at assignment, and when it is resumed."""
        now = self.clock.now()
        if job.strategy.end is not None:
            self.agenda.add(max(job.strategy.end, now), "expire", job)
        self._plan_at(job, self._next_attempt(job, now))
        self._wake.set()

    def replan(self, job: Job) -> None:
        """Plan the calls of a job whose strategy has changed; a call on the line is finished first."""
        if job.status == "Scheduling":
            self.plan(job)
        elif job.strategy.end is not None:
            self.agenda.add(max(job.strategy.end, self.clock.now()), "expire", job)
            self._wake.set()

    def end(self, job: Job, status: str, failure_reason: str | None = None, *, at: float | None = None) -> None:
        """End a job that has no call on the line."""
        job.plan += 1
        job.next_at = None
        job.set_status(status, failure_reason)
        self._tell("JobComplete", job, self.clock.now() if at is None else at)

    def pause(self, job: Job) -> None:
        """Pause a job until it is planned again."""
        job.plan += 1
        job.next_at = None
        job.set_status("Paused")

    @staticmethod
    def _next_attempt(job: Job, at: float) -> float | None:
        """When the strategy allows the next attempt, as seen at ``at``; ``None``: never."""
        if job.calls:
            at = max(at, (job.calls[-1].ended_at or at) + job.strategy.min_attempt_interval)
        if job.attempts_by_day[day_of(at)] < job.strategy.max_attempts_per_day:
            return job.strategy.opens_at(at)
        return job.strategy.next_day_after(at)

    def _plan_at(self, job: Job, at: float | None) -> None:
        job.plan += 1
        job.next_at = at
        if at is not None:
            self.agenda.add(at, "dial", job)

    def _work(self) -> None:
        now = self.clock.now()
        for _ in range(_ENTRIES_PER_TURN):
            at = self.agenda.next_at()
            if at is None or at > now:
                return
            at, kind, job, plan = self.agenda.pop()
            if kind == "expire":
                # The strategy may have changed since the entry was added.
                is_over = job.strategy.end is not None and at >= job.strategy.end
                if is_over and job.status in {"Scheduling", "Paused"}:
                    self.end(job, "Failed", "TimeUp", at=at)
            elif kind == "dial":
                if plan == job.plan and job.status == "Scheduling":
                    self._dial_or_queue(job, at)
            elif kind == "answer":
                job.calls[-1].answered_at = at
                self._tell("CallAnswered", job, at)
            elif kind == "hang_up":
                self._hang_up(job, at)
            else:
                self._recorded(job, at)

    def _dial_or_queue(self, job: Job, at: float) -> None:
        if not job.outcome.attempts:
            self.end(job, job.outcome.status, job.outcome.failure_reason, at=at)
        elif job.outcome.attempt(len(job.calls)) in NOT_DIALLED:
            self._refuse_to_dial(job, at)
        elif self.lines_in_use < self.concurrency:
            self._dial(job, at)
        else:
            self.ready.append((job, job.plan))

    def _new_call(self, job: Job, at: float) -> Call:
        call = Call(
            task_id=str(uuid.UUID(int=self.rng.getrandbits(128), version=4)),
            call_id=str(uuid.UUID(int=self.rng.getrandbits(128), version=4)),
            calling_number=job.calling_numbers[0] if job.calling_numbers else self.calling_number,
            called_number=job.phone_number,
            planned_at=at if job.next_at is None else job.next_at,
            started_at=at,
        )
        job.calls.append(call)
        self.calls[call.task_id] = call
        job.group.calls += 1
        job.attempts_by_day[day_of(at)] += 1
        return call

    def _refuse_to_dial(self, job: Job, at: float) -> None:
        call = self._new_call(job, at)
        call.ended_at = at
        call.status = job.outcome.attempt(len(job.calls) - 1)
        status, reason = job_result(call.status, job.outcome)
        self.end(job, status, reason, at=at)

    def _dial(self, job: Job, at: float) -> None:
        self.lines_in_use += 1
        self._new_call(job, at)
        job.plan += 1
        job.next_at = None
        job.set_status("Executing")
        self._tell("Dialing", job, at)
        ringing = self.rng.uniform(0.1, 0.4) * self.call_seconds
        if is_answered(job.outcome.attempt(len(job.calls) - 1)):
            self.agenda.add(at + ringing, "answer", job)
            ringing += self.rng.uniform(0.4, 1.1) * self.call_seconds
        self.agenda.add(at + ringing, "hang_up", job)

    def _hang_up(self, job: Job, at: float) -> None:
        self.lines_in_use -= 1
        call = job.calls[-1]
        call.ended_at = at
        call.status = job.outcome.attempt(len(job.calls) - 1)
        self._after_call(job, call, at)
        self._fill_lines(at)

    def _after_call(self, job: Job, call: Call, at: float) -> None:
        self._tell("CallFinished", job, at)
        job.set_status("Scheduling")
        if is_answered(call.status):
            self.agenda.add(at + 0.2 * self.call_seconds, "recording", job)
        result = job_result(call.status, job.outcome)
        if call.status not in REDIALLED:
            self.end(job, *result, at=at)
        elif job.cancel_wanted:
            self.end(job, "Cancelled", at=at)
        elif job.strategy.end is not None and at >= job.strategy.end:
            self.end(job, "Failed", "TimeUp", at=at)
        elif (next_at := self._next_attempt(job, at)) is not None:
            self._plan_at(job, next_at)
        elif job.attempts_by_day[day_of(at)] >= job.strategy.max_attempts_per_day or job.strategy.end is None:
            self.end(job, *result, at=at)
        # Otherwise an attempt is left but no window: the job waits until it expires at the end of its strategy.
        if job.pause_wanted and not job.ended:
            self.pause(job)
        job.pause_wanted = job.cancel_wanted = False

    def _fill_lines(self, at: float) -> None:
        while self.ready and self.lines_in_use < self.concurrency:
            job, plan = self.ready.popleft()
            if plan != job.plan or job.status != "Scheduling":
                continue
            opens_at = job.strategy.opens_at(at)
            if opens_at == at:
                self._dial(job, at)
            else:
                # The window closed while the job waited for a line.
                self._plan_at(job, opens_at)

    def _recorded(self, job: Job, at: float) -> None:
        call = job.calls[-1]
        call.recording = f"{call.task_id}.wav"
        url = self.recording_url(call.recording)
        self.post.send(recording_event(job, call, instance_id=self.instance_id, at=at, url=url))

    def _tell(self, event_type: str, job: Job, at: float) -> None:
        self.post.send(job_event(event_type, job, instance_id=self.instance_id, at=at))

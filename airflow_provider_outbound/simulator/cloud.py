"""The simulated service: its state and its rules, without HTTP."""

from __future__ import annotations

import json
import random
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import attrs

from airflow_provider_outbound.simulator.clock import Clock
from airflow_provider_outbound.simulator.dialler import Dialler
from airflow_provider_outbound.simulator.faults import Faults
from airflow_provider_outbound.simulator.messages import Post, Publish, milliseconds
from airflow_provider_outbound.simulator.outcomes import Outcome, outcome_of
from airflow_provider_outbound.simulator.records import Call, Group, Job
from airflow_provider_outbound.simulator.strategy import Strategy, StrategyError, parse_strategy

#: Maximum number of jobs in one AssignJobs request.
MAX_JOBS_PER_REQUEST = 99


class Refusal(Exception):  # noqa: N818  # an answer of the service, not an error of this program
    """The service refuses a request and has done nothing."""

    def __init__(self, http_status: int, code: str, message: str) -> None:
        self.http_status = http_status
        self.code = code
        self.message = message
        super().__init__(f"{code}: {message}")


@attrs.frozen(kw_only=True)
class Options:
    """How the simulated service behaves."""

    call_seconds: float = 5.0
    concurrency: int = 20
    seed: int = 0
    access_key_id: str = "LTAI-simulator"
    access_key_secret: str = attrs.field(default="simulator-secret", repr=False)
    security_token: str = attrs.field(default="simulator-token", repr=False)
    region_id: str = "cn-shanghai"
    instance_id: str = "simulator-instance"
    script_id: str = "simulator-script"
    calling_number: str = "02100000000"

    @property
    def script_ids(self) -> tuple[str, str]:
        """The scripts of the instance."""
        return self.script_id, f"{self.script_id}-2"


class Cloud:
    """
    One instance of the service.

    It runs in one event loop and must be used only there.

    :param publish: publishes a message body to the broker.
    :param recording_url: returns the URL of a recording by its file name.
    """

    def __init__(
        self,
        options: Options,
        *,
        clock: Clock,
        publish: Publish,
        recording_url: Callable[[str], str] = lambda name: name,
    ) -> None:
        self.options = options
        self.clock = clock
        # One random generator for each purpose, so that drawing a fault does not change who is called when.
        self._ids = random.Random(f"{options.seed}-ids")
        self.faults = Faults(random.Random(f"{options.seed}-faults"))
        self.post = Post(publish, self.faults)
        self.recording_url = recording_url
        self.dialler = Dialler(
            clock=clock,
            post=self.post,
            rng=random.Random(f"{options.seed}-calls"),
            instance_id=options.instance_id,
            call_seconds=options.call_seconds,
            concurrency=options.concurrency,
            calling_number=options.calling_number,
            recording_url=recording_url,
        )
        self.groups: dict[str, Group] = {}
        self.jobs: dict[str, Job] = {}
        self.block_list: dict[str, dict[str, Any]] = {}
        #: Requests by action, including refused ones.
        self.requests: Counter[str] = Counter()
        #: The number of throttled requests.
        self.throttled = 0

    async def run(self) -> None:
        """Dial until cancelled."""
        await self.dialler.run()

    def reset(self) -> None:
        """Delete groups, jobs, messages, faults and counts; the clock continues."""
        self.dialler.reset()
        self.post.clear()
        self.faults.clear()
        self.groups.clear()
        self.jobs.clear()
        self.block_list.clear()
        self.requests.clear()
        self.throttled = 0

    def new_id(self) -> str:
        """An id in the service's format, drawn from the seed."""
        return str(uuid.UUID(int=self._ids.getrandbits(128), version=4))

    # Checks

    def check_instance(self, instance_id: str) -> None:
        """:raises Refusal: there is no such instance."""
        if instance_id != self.options.instance_id:
            raise Refusal(404, "NotExist.Instance", "The specified Instance does not exist.")

    def check_script(self, script_id: str) -> None:
        """:raises Refusal: the instance has no such script."""
        if script_id not in self.options.script_ids:
            raise Refusal(404, "NotExist.Script", "The specified Script does not exist.")

    def group(self, group_id: str) -> Group:
        """:raises Refusal: there is no such job group."""
        try:
            return self.groups[group_id]
        except KeyError:
            raise Refusal(404, "NotExist.JobGroup", "The specified JobGroup does not exist.") from None

    def job(self, job_id: str) -> Job:
        """:raises Refusal: there is no such job."""
        try:
            return self.jobs[job_id]
        except KeyError:
            raise Refusal(404, "NotExist.Job", "The specified Job does not exist.") from None

    def recorded_call(self, task_id: str) -> Call:
        """:raises Refusal: there is no such call, or it has no recording yet."""
        call = self.dialler.calls.get(task_id)
        if call is None or call.recording is None:
            raise Refusal(404, "NotExist.Recording", "The specified Recording does not exist.")
        return call

    # Actions

    def create_group(
        self,
        *,
        name: str,
        script_id: str,
        description: str = "",
        strategy_json: str | None = None,
        **settings: Any,
    ) -> Group:
        """Create a job group."""
        self.check_script(script_id)
        now = self.clock.now()
        group = Group(
            group_id=self.new_id(),
            name=name,
            description=description,
            script_id=script_id,
            created_at=now,
            modified_at=now,
            strategy=read_strategy(strategy_json) if strategy_json else Strategy(),
            strategy_id=self.new_id(),
            **settings,
        )
        self.groups[group.group_id] = group
        return group

    def read_jobs(self, jobs_json: Sequence[str]) -> list[Mapping[str, Any]]:
        """
        Parse the JobsJson of a request.

        :raises Refusal: there are too many jobs, or one cannot be read.
        """
        if len(jobs_json) > MAX_JOBS_PER_REQUEST:
            raise Refusal(
                400,
                "InvalidParameter",
                f"JobsJson holds {len(jobs_json)} jobs; at most {MAX_JOBS_PER_REQUEST} are allowed.",
            )
        return [_read_job(index, text) for index, text in enumerate(jobs_json, start=1)]

    def assign(
        self,
        group: Group,
        jobs: Iterable[Mapping[str, Any]],
        *,
        strategy_json: str | None = None,
        calling_numbers: Sequence[str] = (),
    ) -> list[str]:
        """Add jobs to a group and plan their calls; returns their ids in the order of ``jobs``."""
        strategy = read_strategy(strategy_json) if strategy_json else group.strategy
        assigned_at = time.monotonic()
        ids = []
        for raw in jobs:
            number = str(raw["contacts"][0]["phoneNumber"])
            job = Job(
                job_id=self.new_id(),
                group=group,
                contacts=raw["contacts"],
                extras=raw.get("extras") or (),
                calling_numbers=calling_numbers or group.calling_numbers,
                strategy=strategy,
                outcome=Outcome(attempts=("ContactBlockList",)) if number in self.block_list else outcome_of(number),
                assigned_at=assigned_at,
            )
            group.jobs.append(job)
            group.counts[job.status] += 1
            self.jobs[job.job_id] = job
            ids.append(job.job_id)
            self.dialler.plan(job)
        group.modified_at = self.clock.now()
        return ids

    def block(self, entries: Mapping[str, dict[str, Any]]) -> None:
        """Add numbers to the block list: waiting jobs do not dial them; a call on the line is finished first."""
        self.block_list.update(entries)
        for job in self.jobs.values():
            if job.phone_number in entries and not job.ended:
                had = [job.outcome.attempt(index) for index in range(len(job.calls))]
                job.outcome = Outcome(attempts=(*had, "ContactBlockList"))

    def suspend(self, jobs: Iterable[Job]) -> None:
        """Suspend jobs; a call on the line is finished first. Ended jobs do not change."""
        for job in jobs:
            if job.status == "Executing":
                job.pause_wanted = True
            elif job.status == "Scheduling":
                self.dialler.pause(job)

    def resume(self, jobs: Iterable[Job]) -> None:
        """Resume suspended jobs."""
        for job in jobs:
            job.pause_wanted = False
            if job.status == "Paused":
                job.set_status("Scheduling")
                self.dialler.plan(job)

    def cancel(self, jobs: Iterable[Job]) -> None:
        """Cancel jobs; a call on the line is finished first, and counts if it was answered."""
        for job in jobs:
            if job.status == "Executing":
                job.cancel_wanted = True
            elif not job.ended:
                self.dialler.end(job, "Cancelled")

    def select_jobs(
        self, group_id: str | None, *, everything: bool, job_ids: Sequence[str], reference_ids: Sequence[str]
    ) -> list[Job]:
        """
        The jobs that a SuspendJobs, ResumeJobs or CancelJobs request selects.

        Without a group, jobs of the whole instance are selected, also by reference id.
        """
        pool = self.group(group_id).jobs if group_id else list(self.jobs.values())
        if everything:
            return pool
        if not job_ids and not reference_ids:
            raise Refusal(400, "MissingJobId", "JobId is mandatory for this action.")
        wanted, references = set(job_ids), set(reference_ids)
        return [job for job in pool if job.job_id in wanted or job.reference_id in references]

    # Queries

    def visible_jobs(self, group: Group, action: str) -> list[Job]:
        """The group's jobs as ``action`` lists them: delayed or reordered by an active fault."""
        jobs = group.jobs
        if lag := self.faults.strikes("listing_lag", action=action):
            horizon = time.monotonic() - lag.seconds
            jobs = [job for job in jobs if job.assigned_at <= horizon]
        if self.faults.strikes("listing_reshuffle", action=action):
            jobs = self.faults.rng.sample(jobs, len(jobs))
        return jobs

    def counts(self) -> dict[str, Any]:
        """Counts that are cheap for any number of jobs."""
        return {
            "requests": dict(self.requests),
            "throttled": self.throttled,
            "jobs_per_group": {group.group_id: len(group.jobs) for group in self.groups.values()},
        }

    def state(self) -> dict[str, Any]:
        """The whole state as JSON, by which tests judge."""
        jobs_per_number: dict[str, list[str]] = {}
        calls_per_number: Counter[str] = Counter()
        for job in self.jobs.values():
            jobs_per_number.setdefault(job.phone_number, []).append(job.job_id)
            calls_per_number[job.phone_number] += len(job.calls)
        return {
            "now": milliseconds(self.clock.now()),
            "clock_speed": self.clock.speed,
            "seed": self.options.seed,
            "instance_id": self.options.instance_id,
            "scripts": list(self.options.script_ids),
            "security_token": self.options.security_token,
            "groups": {group.group_id: _group_state(group) for group in self.groups.values()},
            "jobs_per_number": jobs_per_number,
            "calls_per_number": dict(calls_per_number),
            "requests": dict(self.requests),
            "published": dict(self.post.published),
            "withheld": dict(self.post.withheld),
            "faults": self.faults.state(),
        }


def read_strategy(text: str) -> Strategy:
    """:raises Refusal: it cannot be read."""
    try:
        return parse_strategy(text)
    except (StrategyError, TypeError, ValueError) as error:
        raise Refusal(400, "InvalidParameter", f"{error}.") from error


def _read_job(index: int, text: str) -> Mapping[str, Any]:
    where = f"JobsJson.{index}"
    try:
        job = json.loads(text)
    except ValueError as error:
        raise Refusal(400, "InvalidParameter", f"{where} is not JSON.") from error
    contacts = job.get("contacts") if isinstance(job, dict) else None
    if not isinstance(contacts, list) or len(contacts) != 1 or not isinstance(contacts[0], dict):
        raise Refusal(400, "InvalidParameter", f"{where} does not hold exactly one contact.")
    for field in ("phoneNumber", "referenceId"):
        value = contacts[0].get(field)
        if not isinstance(value, str) or not value:
            raise Refusal(400, "InvalidParameter", f"{where} has no {field}.")
    extras = job.get("extras") or []
    if not isinstance(extras, list) or not all(isinstance(extra, dict) and "key" in extra for extra in extras):
        raise Refusal(400, "InvalidParameter", f"{where}.extras is not a list of key and value.")
    return job  # type: ignore[no-any-return]  # checked to be a dictionary above


def _group_state(group: Group) -> dict[str, Any]:
    return {
        "name": group.name,
        "description": group.description,
        "status": group.status,
        "script_id": group.script_id,
        "created_at": milliseconds(group.created_at),
        "strategy": group.strategy.raw,
        "counts": {status: count for status, count in group.counts.items() if count},
        "jobs": [_job_state(job) for job in group.jobs],
    }


def _job_state(job: Job) -> dict[str, Any]:
    return {
        "job_id": job.job_id,
        "phone_number": job.phone_number,
        "reference_id": job.reference_id,
        "status": job.status,
        "failure_reason": job.failure_reason,
        "next_at": None if job.next_at is None else milliseconds(job.next_at),
        "calls": [
            {
                "task_id": call.task_id,
                "status": call.status,
                "started_at": milliseconds(call.started_at),
                "ended_at": None if call.ended_at is None else milliseconds(call.ended_at),
                "recording": call.recording,
            }
            for call in job.calls
        ],
    }

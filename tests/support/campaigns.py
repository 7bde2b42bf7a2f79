"""One job group in the simulator, and what tests do with it."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Self

import attrs

from airflow_provider_outbound.core.assign import AssignOptions, AssignResult, Request, assign
from airflow_provider_outbound.core.client import OutboundBotClient
from airflow_provider_outbound.core.complete import Completion
from airflow_provider_outbound.core.contacts import ContactSource, from_items
from airflow_provider_outbound.core.ledger import Assignment, Candidate, Ledger, TaskKey
from airflow_provider_outbound.core.models.contact import Contact
from airflow_provider_outbound.core.models.job import JobGroup
from airflow_provider_outbound.core.models.phone import normalise
from airflow_provider_outbound.exceptions import AssignmentUnresolvedError
from airflow_provider_outbound.simulator.testing import Simulator
from support.messages import job_complete, store
from support.processes import PATIENCE, until

#: The task that assigns, and one that was killed assigning.
ASSIGN, DIED = TaskKey("dag", "run", "assign"), TaskKey("dag", "run", "died")
KEY = "dGVzdHMtb25seS1rZXktb2YtMzItYnl0ZXMtISEhISE="

MakeSimulator = Callable[..., Simulator]


def numbers(count: int, first: int = 0) -> list[str]:
    """Numbers whose last digits run up from ``first``."""
    return [f"138{index:08d}" for index in range(first, first + count)]


@attrs.define(kw_only=True)
class Campaign:
    """One job group in the simulator, and the means to assign to it and to wait for it."""

    simulator: Simulator
    client: OutboundBotClient
    ledger: Ledger
    job_group_id: str = attrs.field()
    key: TaskKey = ASSIGN
    #: How it assigns, unless a test says otherwise.
    options: Mapping[str, Any] = {"settle_seconds": 0.2, "lease_seconds": 20.0}

    @job_group_id.default
    def _first_group(self) -> str:
        return self.new_group("tests")

    def new_group(self, name: str, **fields: Any) -> str:
        """The id of another group."""
        fields = {"script_id": self.simulator.script_id, **fields}
        return self.client.create_job_group(job_group_name=name, **fields).job_group_id

    def another(self, name: str = "another", **fields: Any) -> Self:
        """A campaign of another group beside this one."""
        return attrs.evolve(self, job_group_id=self.new_group(name, **fields))

    def assign(
        self,
        contacts: int | Sequence[Any] | ContactSource,
        *,
        first: int = 0,
        task: str | None = None,
        key: TaskKey | None = None,
        guard: Callable[[JobGroup], None] = lambda _: None,
        before_sending: Callable[[JobGroup, int | None], None] = lambda _group, _people: None,
        **options: Any,
    ) -> AssignResult:
        """Assign a list, a source, or so many numbers whose last digits run up from ``first``."""
        items = numbers(contacts, first) if isinstance(contacts, int) else contacts
        return assign(
            self.client,
            self.ledger,
            key or attrs.evolve(self.key, task_id=task or self.key.task_id),
            from_items(items) if isinstance(items, Sequence) else items,
            request=Request(job_group_id=self.job_group_id),
            options=AssignOptions(**{**self.options, **options}),
            guard=guard,
            before_sending=before_sending,
        )

    def finish(self, contacts: Sequence[Any] | ContactSource, *, tries: int = 8, **options: Any) -> AssignResult:
        """Try until a try leaves nothing unresolved, as Airflow does: what is sent again may fail again."""
        for _ in range(tries - 1):
            with suppress(AssignmentUnresolvedError):
                return self.assign(contacts, **options)
        return self.assign(contacts, **options)

    def assign_tomorrow(self, count: int) -> None:
        """Assign to another group instead, which calls nobody today."""
        tomorrow = round(time.time() * 1000) + 86_400_000
        strategy = {"repeatBy": "Once", "startTime": tomorrow, "endTime": tomorrow + 3_600_000}
        self.job_group_id = self.new_group("tomorrow", strategy_json=json.dumps(strategy))
        self.assign(count)

    def freeze(self) -> None:
        """Stop the service's clock: no call ends."""
        self.simulator.set_clock(speed=0)

    def thaw(self) -> None:
        """Let the service's clock go on."""
        self.simulator.set_clock(speed=1)

    def die_assigning(
        self, contacts: Sequence[str], *, arrived: int = 0, lease_seconds: float = 1.0, shares: bool = False
    ) -> Assignment:
        """
        Leave an assignment as a process does that is killed with requests under way; some of them arrived.

        :param shares: Whether another task works meanwhile, and may have begun with some of the contacts.
        """
        ledger, identity = self.ledger, self.ledger.identity
        assignment = ledger.assignments.open(
            DIED, self.job_group_id, owner="killed", lease_seconds=lease_seconds, settle_seconds=0
        )
        candidates = [
            Candidate(
                reference_id=identity.reference_id(contact.phone.e164),
                phone_key=identity.phone_key(contact.phone.e164),
                contact=contact,
            )
            for contact in (Contact(phone=normalise(number)) for number in contacts)
        ]
        begun = ledger.journal.begin(assignment, candidates, dedupe_by="phone").candidates
        assert shares or len(begun) == len(contacts)
        wire = [candidate.contact.job_json(candidate.reference_id) for candidate in begun[:arrived]]
        if wire:
            self.client.assign_jobs(job_group_id=self.job_group_id, jobs=wire)
        return assignment

    def completion(self, **options: Any) -> Completion:
        """Somebody who waits, with an interval that fits a test."""
        fitting = {"reconcile_interval": 0.3, "messages": True}
        return Completion(self.ledger, self.client, self.job_group_id, **{**fitting, **options})

    def wait(self, completion: Completion) -> dict[str, Any]:
        """Look as often as a trigger would, until the group is done."""
        deadline = time.monotonic() + PATIENCE
        while (summary := completion.check()) is None:
            assert time.monotonic() < deadline, self.ledger.groups.state(self.job_group_id)
            time.sleep(max(0.02, min(0.2, completion.next_check_in())))
        return summary

    def jobs(self) -> list[dict[str, Any]]:
        """The group's jobs, by the simulator's own account."""
        jobs: list[dict[str, Any]] = self.simulator.state()["groups"][self.job_group_id]["jobs"]
        return jobs

    def wait_for_service(self, patience: float = PATIENCE) -> None:
        """Wait until the service has ended."""
        until(self._is_over, "the service has ended", patience=patience)

    def _is_over(self) -> bool:
        progress = self.client.describe_job_group(job_group_id=self.job_group_id).progress
        return progress is not None and not progress.unfinished

    def requests(self, action: str) -> int:
        """How often the service was asked for an action; ``recording``: for the sound of one."""
        return int(self.simulator.state()["requests"].get(action, 0))

    def jobs_per_number(self) -> Counter[str]:
        """How many jobs each number has, by the simulator's own account."""
        return Counter({number: len(ids) for number, ids in self.simulator.state()["jobs_per_number"].items()})

    def each_once(self, contacts: Sequence[str]) -> bool:
        """Whether exactly these numbers have a job, and one each."""
        return self.jobs_per_number() == Counter(dict.fromkeys(contacts, 1))

    def completed(self, job: Mapping[str, Any], **fields: Any) -> dict[str, Any]:
        """The message that a job of the simulator's account is complete."""
        told = {
            "instanceId": self.simulator.instance_id,
            "status": job["status"],
            "failureReason": job["failure_reason"],
        }
        return job_complete(
            self.job_group_id, job["job_id"], job["phone_number"], job["reference_id"], **{**told, **fields}
        )

    def tell(self, *jobs: Mapping[str, Any], **fields: Any) -> None:
        """Store the messages that jobs are complete, as a collector does."""
        for start in range(0, len(jobs), 500):
            store(self.ledger, *(self.completed(job, **fields) for job in jobs[start : start + 500]))

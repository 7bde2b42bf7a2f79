"""One job group in the simulator, and what tests do with it."""

from __future__ import annotations

import json
import time
from typing import Any

import attrs

from airflow_provider_outbound.core.assign import AssignOptions, AssignResult, Request, assign
from airflow_provider_outbound.core.client import OutboundBotClient
from airflow_provider_outbound.core.complete import Completion
from airflow_provider_outbound.core.contacts import from_items
from airflow_provider_outbound.core.ledger import Assignment, Candidate, Incoming, Ledger, TaskKey
from airflow_provider_outbound.core.models.contact import Contact
from airflow_provider_outbound.core.models.phone import normalise
from airflow_provider_outbound.simulator.testing import Simulator

KEY = "dGVzdHMtb25seS1rZXktb2YtMzItYnl0ZXMtISEhISE="
#: Long enough for a slow machine; nothing is measured by it.
PATIENCE = 60.0


@attrs.define(kw_only=True)
class Campaign:
    """One job group in the simulator, and the means to assign to it and to wait for it."""

    simulator: Simulator
    client: OutboundBotClient
    ledger: Ledger
    job_group_id: str

    def assign(self, count: int, *, task: str = "assign", first: int = 0, **options: Any) -> AssignResult:
        """Assign ``count`` numbers whose last digits run up from ``first``."""
        numbers = [f"138{index:08d}" for index in range(first, first + count)]
        return assign(
            self.client,
            self.ledger,
            TaskKey("dag", "run", task),
            from_items(numbers),
            request=Request(job_group_id=self.job_group_id),
            options=AssignOptions(**{"settle_seconds": 0.2, "lease_seconds": 20.0, **options}),
            guard=lambda _: None,
        )

    def die_assigning(self, count: int, *, first: int, sent: bool, lease_seconds: float = 1.0) -> Assignment:
        """Leave an assignment as a process does that is killed with a request under way."""
        ledger, identity = self.ledger, self.ledger.identity
        key = TaskKey("dag", "run", "died")
        assignment = ledger.assignments.open(
            key, self.job_group_id, owner="killed", lease_seconds=lease_seconds, settle_seconds=0
        )
        candidates = [
            Candidate(
                reference_id=identity.reference_id(contact.phone.e164),
                phone_key=identity.phone_key(contact.phone.e164),
                contact=contact,
            )
            for contact in (Contact(phone=normalise(f"138{index:08d}")) for index in range(first, first + count))
        ]
        begun = ledger.journal.begin(assignment, candidates, dedupe_by="phone").candidates
        assert len(begun) == count
        if sent:
            wire = [candidate.contact.job_json(candidate.reference_id) for candidate in begun]
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
        deadline = time.monotonic() + patience
        while self.client.describe_job_group(job_group_id=self.job_group_id).progress.unfinished:
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def requests(self, action: str) -> int:
        """How often the API was asked for an action."""
        return int(self.simulator.state()["requests"].get(action, 0))

    def tell(self, job: dict[str, Any], **changes: Any) -> None:
        """Store the message that a job is complete, as a collector does."""
        event = {
            "eventType": "JobComplete",
            "eventTime": 1_700_000_000_000,
            "instanceId": self.simulator.instance_id,
            "groupId": self.job_group_id,
            "id": job["job_id"],
            "status": job["status"],
            "failureReason": job["failure_reason"],
            "contacts": [{"phoneNumber": job["phone_number"], "referenceId": job["reference_id"]}],
            "extras": [],
            "tasks": [],
        } | changes
        body = json.dumps(event).encode()
        self.ledger.inbox.record([Incoming(body=body, message_id=job["job_id"], topic="t")])

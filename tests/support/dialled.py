"""A campaign whose calls are over, and what is known of them afterwards."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from airflow_provider_outbound.core.results import enrich, export
from support.campaigns import Campaign
from support.messages import T0, call, store
from support.processes import until


@attrs.define(kw_only=True)
class DialledCampaign(Campaign):
    """One job group in the simulator that has ended."""

    def dial(self, numbers: Sequence[str]) -> None:
        """Assign numbers, each under a reference of its own, and wait until all jobs and recordings are there."""
        jobs = [
            json.dumps({"contacts": [{"phoneNumber": number, "referenceId": f"r-{index:04}"}], "extras": []})
            for index, number in enumerate(numbers)
        ]
        for start in range(0, len(jobs), 99):
            self.client.assign_jobs(job_group_id=self.job_group_id, jobs=jobs[start : start + 99])
        until(self._has_recordings, "all jobs and recordings")

    def _has_recordings(self) -> bool:
        return all(
            job["status"] in ("Succeeded", "Failed", "Cancelled")
            and all(call["recording"] or not call["status"].startswith("Succeeded") for call in job["calls"])
            for job in self.jobs()
        )

    def answered_calls(self) -> dict[str, str]:
        """Task id → job id of every answered call, by the simulator's own account."""
        return {
            call["task_id"]: job["job_id"]
            for job in self.jobs()
            for call in job["calls"]
            if call["status"].startswith("Succeeded")
        }

    def collect(self, *, ends: bool = True) -> None:
        """Store the messages about completed jobs, as a collector does; ``ends``: with the ends of their calls."""
        store(self.ledger, *(self.completed(job, tasks=_calls(job, ends)) for job in self.jobs()))

    def notice(self, task_ids: Sequence[str], *, url: str | None = None, field: str = "url") -> None:
        """
        Store the notices of recordings, as a collector does.

        :param url: Another than the service gives.
        :param field: The field of the message with the URL.
        """
        jobs = self.answered_calls()
        store(
            self.ledger,
            *(
                {
                    "eventType": "RecordingReady",
                    "eventTime": T0,
                    "groupId": self.job_group_id,
                    "id": jobs[task_id],
                    "contacts": [],
                    "extras": [],
                    "recording": {
                        "taskId": task_id,
                        "callId": task_id,
                        "duration": 5,
                        "fileName": "../../13800000000.wav",
                        field: url or self._link(f"{task_id}.wav"),
                    },
                }
                for task_id in task_ids
            ),
        )

    def _link(self, name: str) -> str:
        return self.simulator.run(lambda cloud: cloud.recording_url(name))

    def enrich(self, **options: Any) -> int:
        """Fetch what the API alone knows of the answered jobs; how many were asked for."""
        return enrich(self.ledger, self.client, self.job_group_id, **options)

    def export(self, path: Any, **options: Any) -> dict[str, Any]:
        """Write the results to a file."""
        return export(self.ledger, self.job_group_id, path, **options)


def _calls(job: Mapping[str, Any], ends: bool) -> list[dict[str, Any]]:
    return [
        call(one["task_id"], one["status"], one["started_at"], endTime=one["ended_at"] if ends else None)
        for one in job["calls"]
    ]

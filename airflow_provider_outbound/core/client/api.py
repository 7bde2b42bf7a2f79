"""The client: one method for each action of the API."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from airflow_provider_outbound.core.client.actions import AnyAction
from airflow_provider_outbound.core.client.answers import parsed
from airflow_provider_outbound.core.client.base import MAX_JOBS_PER_REQUEST
from airflow_provider_outbound.core.client.block_list import BlockListActions
from airflow_provider_outbound.core.client.control import ControlActions
from airflow_provider_outbound.core.client.errors import unusable
from airflow_provider_outbound.core.client.groups import GroupActions
from airflow_provider_outbound.core.client.instance import InstanceActions
from airflow_provider_outbound.core.client.listings import ListingActions
from airflow_provider_outbound.core.models.job import Job, JobGroup
from airflow_provider_outbound.core.models.wire import parse_count
from airflow_provider_outbound.exceptions import OutboundBotConfigError


@attrs.frozen(kw_only=True)
class BlockedNumber:
    """
    A number that must not be called.

    :param phone_number: In the form in which it is assigned.
    :param remark: Shown beside it in the console.
    """

    phone_number: str = attrs.field(repr=False)
    remark: str = ""


@attrs.frozen(kw_only=True)
class RecordingUrl:
    """The temporary URL of a recording. Anybody who has it can hear the call."""

    file_name: str
    url: str = attrs.field(repr=False)


class OutboundBotClient(ListingActions, ControlActions, GroupActions, BlockListActions, InstanceActions, AnyAction):
    """
    The API's actions, with a distinct error for each kind of failure.

    Every method raises :class:`OutboundBotApiError` (or a subclass) if the API answered with an error, and
    :class:`OutboundBotTransportError` if there was no answer; ``in_doubt`` says whether it may have acted. Actions that
    could call somebody twice are sent once; all others up to four times while the API throttles or fails.

    Threads may share a client. It connects and imports nothing before the first call.

    :param settings: Address, credentials and timeouts.
    :param take_slots: Takes slots of a rate limit that processes share: called with the number of slots and the rate
        per second, it returns the seconds until the first. Default: the limit holds for this client alone.
    :param guard: What the connection allows of :meth:`call`. Default: everything, except that actions that may dial
        people need ``allow_dialling``.
    """

    def create_job_group(
        self,
        *,
        job_group_name: str,
        script_id: str,
        description: str | None = None,
        strategy_json: str | None = None,
        recall_strategy_json: str | None = None,
        calling_numbers: Sequence[str] = (),
        recall_calling_numbers: Sequence[str] = (),
        priority: str | None = None,
        ringing_duration: int | None = None,
        min_concurrency: int | None = None,
        instance_id: str | None = None,
    ) -> JobGroup:
        """
        Create a job group. Not safe to repeat: the API would create a second one.

        :param strategy_json: When to call, in the API's form; without one the service calls at once.
        :param recall_strategy_json: Which numbers not to redial, in the API's form.
        :param calling_numbers: Numbers to call from; empty for all numbers of the instance.
        :param recall_calling_numbers: Numbers to redial from.
        :param priority: ``Urgent`` or ``Daily``.
        :param ringing_duration: Seconds to let the phone ring.
        :param min_concurrency: Guaranteed number of simultaneous calls; 0 leaves it to the service.

        Source: ``CreateJobGroup`` (2019-12-26).
        """
        self._need("script_id", script_id, "put it into the operator or into the connection's extra")
        answer = self._sender.send(
            "CreateJobGroup",
            InstanceId=self._instance(instance_id),
            JobGroupName=job_group_name,
            ScriptId=script_id,
            JobGroupDescription=description,
            StrategyJson=strategy_json,
            RecallStrategyJson=recall_strategy_json,
            CallingNumber=calling_numbers,
            RecallCallingNumber=recall_calling_numbers,
            Priority=priority,
            RingingDuration=ringing_duration,
            MinConcurrency=min_concurrency,
        )
        return parsed("CreateJobGroup", answer.get("JobGroup"), JobGroup.from_api)

    def assign_jobs(
        self,
        *,
        job_group_id: str,
        jobs: Sequence[str],
        strategy_json: str | None = None,
        calling_numbers: Sequence[str] = (),
        instance_id: str | None = None,
        before_request: Callable[[], None] | None = None,
    ) -> frozenset[str]:
        """
        Add jobs to a group. Not safe to repeat: the API has no idempotency token and may call people twice.

        :param jobs: 1 to 99 jobs, each as JSON text.
        :param strategy_json: Overrides the group's strategy.
        :param before_request: Called right before connecting and sending; if it raises, nothing is sent.
        :return: Ids of the new jobs. Only a listing shows which job is whose.
        :raises OutboundBotAnswerError: also if the number of distinct ids is not the number of jobs; in doubt.

        Source: ``AssignJobs`` (2019-12-26).
        """
        if not 0 < len(jobs) <= MAX_JOBS_PER_REQUEST:
            raise OutboundBotConfigError(f"AssignJobs: {len(jobs)} jobs; send 1 to {MAX_JOBS_PER_REQUEST} at a time")
        answer = self._sender.send(
            "AssignJobs",
            before_request,
            InstanceId=self._instance(instance_id),
            JobGroupId=self._need("job_group_id", job_group_id),
            JobsJson=jobs,
            StrategyJson=strategy_json,
            CallingNumber=calling_numbers,
        )
        ids = answer.get("JobsId")
        if not isinstance(ids, list) or not all(isinstance(job_id, str) and job_id for job_id in ids):
            raise unusable("AssignJobs", "JobsId is not a list of job ids")
        if len(set(ids)) != len(jobs) or len(ids) != len(jobs):
            raise unusable("AssignJobs", f"{len(ids)} job ids ({len(set(ids))} distinct) for {len(jobs)} jobs")
        return frozenset(ids)

    def describe_job_group(
        self, *, job_group_id: str, instance_id: str | None = None, urgent: bool = False
    ) -> JobGroup:
        """
        Describe a group: status and progress.

        :param urgent: Whether to ask at once, whatever the connection's rate limit.
        :raises OutboundBotNotFoundError: there is no such group in the instance.

        Source: ``DescribeJobGroup`` (2019-12-26).
        """
        answer = self._sender.repeatable(
            "DescribeJobGroup",
            urgent=urgent,
            InstanceId=self._instance(instance_id),
            JobGroupId=self._need("job_group_id", job_group_id),
        )
        return parsed("DescribeJobGroup", answer.get("JobGroup"), JobGroup.from_api)

    def describe_job(self, *, job_id: str, instance_id: str | None = None) -> Job:
        """
        Describe one job in full.

        :raises OutboundBotNotFoundError: there is no such job in the instance.

        Source: ``DescribeJob`` (2019-12-26).
        """
        answer = self._sender.repeatable(
            "DescribeJob", InstanceId=self._instance(instance_id), JobId=self._need("job_id", job_id)
        )
        return parsed("DescribeJob", answer.get("Job"), Job.from_api)

    def download_recording(self, *, task_id: str, instance_id: str | None = None) -> RecordingUrl:
        """
        Return the temporary URL of a call's recording.

        :raises OutboundBotNotFoundError: there is no such call in the instance.

        Source: ``DownloadRecording`` (2019-12-26).
        """
        answer = self._sender.repeatable(
            "DownloadRecording", InstanceId=self._instance(instance_id), TaskId=self._need("task_id", task_id)
        )
        found = answer.get("DownloadParams")
        url = found.get("SignatureUrl") if isinstance(found, Mapping) else None
        if not isinstance(found, Mapping) or not isinstance(url, str) or not url:
            raise unusable("DownloadRecording", "SignatureUrl is missing")
        return RecordingUrl(url=url, file_name=str(found.get("FileName") or ""))

    def save_contact_block_list(self, numbers: Sequence[BlockedNumber], *, instance_id: str | None = None) -> int:
        """
        Put numbers on the block list of a bot instance, so that the service does not dial them. Safe to repeat.

        :return: The number of changed entries, as the service counts them.

        Source: ``SaveContactBlockList`` (2019-12-26).
        """
        rows = [
            {"phoneNumber": number.phone_number, "remark": number.remark, "name": "", "creator": "airflow"}
            for number in numbers
        ]
        answer = self._sender.repeatable(
            "SaveContactBlockList",
            InstanceId=self._instance(instance_id),
            ContactBlockListsJson=json.dumps(rows, ensure_ascii=False, separators=(",", ":")),
        )
        return parsed("SaveContactBlockList", answer, lambda told: parse_count(told.get("AffectedRows")))

    def describe_script(self, *, script_id: str, instance_id: str | None = None) -> Mapping[str, Any]:
        """
        Return a script in the API's form.

        :raises OutboundBotNotFoundError: there is no such script in the instance.

        Source: ``DescribeScript`` (2019-12-26).
        """
        answer = self._sender.repeatable(
            "DescribeScript", InstanceId=self._instance(instance_id), ScriptId=self._need("script_id", script_id)
        )
        script = answer.get("Script")
        if not isinstance(script, Mapping):
            raise unusable("DescribeScript", "Script is missing")
        return script

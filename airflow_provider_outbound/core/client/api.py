"""The client: one method for each action of the API."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import attrs

from airflow_provider_outbound.core.client.answers import Page, paginate, parsed, read_page
from airflow_provider_outbound.core.client.errors import unusable
from airflow_provider_outbound.core.client.instance import InstanceActions
from airflow_provider_outbound.core.client.sender import RequestSender
from airflow_provider_outbound.core.client.settings import ClientSettings
from airflow_provider_outbound.core.models.job import Job, JobGroup
from airflow_provider_outbound.core.models.wire import parse_count
from airflow_provider_outbound.exceptions import OutboundBotConfigError

#: Maximum number of jobs in one AssignJobs, and of job ids in one ListJobs. Source: the newer SDK's documentation.
MAX_JOBS_PER_REQUEST = 99


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


class OutboundBotClient(InstanceActions):
    """
    The API's actions, with a distinct error for each kind of failure.

    Every method raises :class:`OutboundBotApiError` (or a subclass) if the API answered with an error, and
    :class:`OutboundBotTransportError` if there was no answer; ``in_doubt`` says whether it may have acted. Actions that
    could call somebody twice are sent once; all others up to four times while the API throttles or fails.

    Threads may share a client. It connects and imports nothing before the first call.

    :param settings: Address, credentials and timeouts.
    :param take_slots: Takes slots of a rate limit that processes share: called with the number of slots and the rate
        per second, it returns the seconds until the first. Default: the limit holds for this client alone.
    """

    def __init__(self, settings: ClientSettings, take_slots: Callable[[int, float], float] | None = None) -> None:
        self.settings = settings
        self._sender = RequestSender(settings, take_slots)

    def take_throttled(self) -> int:
        """Return the number of requests that the API throttled since the last call."""
        return self._sender.take_throttled()

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

    def describe_job_group(self, *, job_group_id: str, instance_id: str | None = None) -> JobGroup:
        """
        Describe a group: status and progress.

        :raises OutboundBotNotFoundError: there is no such group in the instance.

        Source: ``DescribeJobGroup`` (2019-12-26).
        """
        answer = self._sender.repeatable(
            "DescribeJobGroup",
            InstanceId=self._instance(instance_id),
            JobGroupId=self._need("job_group_id", job_group_id),
        )
        return parsed("DescribeJobGroup", answer.get("JobGroup"), JobGroup.from_api)

    def list_job_groups(
        self,
        *,
        search_text: str | None = None,
        status: Sequence[str] = (),
        page_number: int = 1,
        page_size: int = 50,
        instance_id: str | None = None,
    ) -> Page[JobGroup]:
        """
        Return one page of the instance's groups.

        :param search_text: Part of a group's name or id.
        :param status: Only groups in one of these statuses.

        Source: ``ListJobGroups`` (2019-12-26).
        """
        answer = self._sender.repeatable(
            "ListJobGroups",
            InstanceId=self._instance(instance_id),
            SearchText=search_text or None,
            JobGroupStatusFilter=",".join(status) or None,
            PageNumber=page_number,
            PageSize=page_size,
        )
        return read_page(
            "ListJobGroups", answer.get("JobGroups"), "TotalCount", JobGroup.from_api, page_number, page_size
        )

    def iter_job_groups(
        self,
        *,
        search_text: str | None = None,
        status: Sequence[str] = (),
        page_size: int = 50,
        instance_id: str | None = None,
    ) -> Iterator[JobGroup]:
        """Yield every group of :meth:`list_job_groups`."""
        return paginate(
            partial(
                self.list_job_groups,
                search_text=search_text,
                status=status,
                page_size=page_size,
                instance_id=instance_id,
            )
        )

    def list_jobs_by_group(
        self,
        *,
        job_group_id: str,
        status: str | None = None,
        page_number: int = 1,
        page_size: int = 100,
        instance_id: str | None = None,
    ) -> Page[Job]:
        """
        Return one page of a group's jobs: status and reference id, without calls.

        :param status: Only jobs in this status.

        Source: ``ListJobsByGroup`` (2019-12-26).
        """
        answer = self._sender.repeatable(
            "ListJobsByGroup",
            InstanceId=self._instance(instance_id),
            JobGroupId=self._need("job_group_id", job_group_id),
            JobStatus=status,
            PageNumber=page_number,
            PageSize=page_size,
        )
        return read_page("ListJobsByGroup", answer.get("Jobs"), "TotalCount", Job.from_api, page_number, page_size)

    def iter_jobs_by_group(
        self, *, job_group_id: str, status: str | None = None, page_size: int = 100, instance_id: str | None = None
    ) -> Iterator[Job]:
        """Yield every job of :meth:`list_jobs_by_group`; if it changes meanwhile, some may be repeated or missing."""
        return paginate(
            partial(
                self.list_jobs_by_group,
                job_group_id=job_group_id,
                status=status,
                page_size=page_size,
                instance_id=instance_id,
            )
        )

    def query_jobs_with_result(
        self,
        *,
        job_group_id: str,
        status: str | None = None,
        page_number: int = 1,
        page_size: int = 100,
        instance_id: str | None = None,
    ) -> Page[Job]:
        """
        Return one page of a group's jobs, each with the outcome of its latest call.

        :param status: Only jobs in this status.

        Source: ``QueryJobsWithResult`` (2019-12-26).
        """
        answer = self._sender.repeatable(
            "QueryJobsWithResult",
            InstanceId=self._instance(instance_id),
            JobGroupId=self._need("job_group_id", job_group_id),
            JobStatusFilter=status,
            PageNumber=page_number,
            PageSize=page_size,
        )
        read = partial(Job.from_query, job_group_id=job_group_id)
        return read_page("QueryJobsWithResult", answer.get("Jobs"), "RowCount", read, page_number, page_size)

    def iter_jobs_with_result(
        self, *, job_group_id: str, status: str | None = None, page_size: int = 100, instance_id: str | None = None
    ) -> Iterator[Job]:
        """Yield every job of :meth:`query_jobs_with_result`; if it changes, some may be repeated or missing."""
        return paginate(
            partial(
                self.query_jobs_with_result,
                job_group_id=job_group_id,
                status=status,
                page_size=page_size,
                instance_id=instance_id,
            )
        )

    def list_jobs(self, *, job_ids: Sequence[str], instance_id: str | None = None) -> tuple[Job, ...]:
        """
        Return up to 99 jobs with their calls. Jobs that the API does not know are left out.

        Source: ``ListJobs`` (2019-12-26).
        """
        if len(job_ids) > MAX_JOBS_PER_REQUEST:
            raise OutboundBotConfigError(f"ListJobs: {len(job_ids)} job ids; send at most {MAX_JOBS_PER_REQUEST}")
        if not job_ids:
            return ()
        answer = self._sender.repeatable("ListJobs", InstanceId=self._instance(instance_id), JobId=job_ids)
        jobs = answer.get("Jobs")
        if not isinstance(jobs, list):
            raise unusable("ListJobs", "Jobs is not a list")
        return tuple(parsed("ListJobs", job, Job.from_api) for job in jobs)

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

    def suspend_jobs(
        self,
        *,
        job_group_id: str,
        job_ids: Sequence[str] = (),
        reference_ids: Sequence[str] = (),
        all_jobs: bool = False,
        instance_id: str | None = None,
    ) -> None:
        """
        Pause jobs of a group: those named, or all.

        Source: ``SuspendJobs`` (2019-12-26).
        """
        self._control("SuspendJobs", job_group_id, job_ids, reference_ids, all_jobs, instance_id)

    def resume_jobs(
        self,
        *,
        job_group_id: str,
        job_ids: Sequence[str] = (),
        reference_ids: Sequence[str] = (),
        all_jobs: bool = False,
        instance_id: str | None = None,
    ) -> None:
        """
        Resume paused jobs of a group: those named, or all.

        Source: ``ResumeJobs`` (2019-12-26).
        """
        self._control("ResumeJobs", job_group_id, job_ids, reference_ids, all_jobs, instance_id)

    def cancel_jobs(
        self,
        *,
        job_group_id: str,
        job_ids: Sequence[str] = (),
        reference_ids: Sequence[str] = (),
        all_jobs: bool = False,
        instance_id: str | None = None,
    ) -> None:
        """
        Cancel jobs of a group permanently: those named, or all.

        Source: ``CancelJobs`` (2019-12-26).
        """
        self._control("CancelJobs", job_group_id, job_ids, reference_ids, all_jobs, instance_id)

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

    def _control(
        self,
        action: str,
        job_group_id: str,
        job_ids: Sequence[str],
        reference_ids: Sequence[str],
        all_jobs: bool,
        instance_id: str | None,
    ) -> None:
        if all_jobs and (job_ids or reference_ids):
            raise OutboundBotConfigError(f"{action}: give either all_jobs, or job_ids and reference_ids")
        send = partial(
            self._sender.repeatable,
            action,
            InstanceId=self._instance(instance_id),
            JobGroupId=self._need("job_group_id", job_group_id),
            All=all_jobs,
        )
        if all_jobs:
            send()
        for parameter, values in (("JobId", job_ids), ("JobReferenceId", reference_ids)):
            for start in range(0, len(values), MAX_JOBS_PER_REQUEST):
                send(**{parameter: values[start : start + MAX_JOBS_PER_REQUEST]})

    def _instance(self, instance_id: str | None) -> str:
        return self._need(
            "instance_id",
            instance_id or self.settings.instance_id,
            "put the bot instance's id into the connection's extra, or pass instance_id",
        )

    def _need(self, name: str, value: str | None, hint: str = "pass it") -> str:
        if not value or not isinstance(value, str):
            raise self.settings.wrong(name, "is missing", hint)
        return value

"""The operator for recordings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk.configuration import conf

from airflow_provider_outbound.arguments import as_path, check_duration, check_flags, named_group
from airflow_provider_outbound.exceptions import OutboundBotError
from airflow_provider_outbound.operators.assets import path_uri, report_to_outlets
from airflow_provider_outbound.operators.base import OutboundBotOperator
from airflow_provider_outbound.triggers.outboundbot import OutboundBotJobCompleteTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context

#: How long to wait for recordings.
RECORDINGS_TIMEOUT = timedelta(minutes=30)
#: First and longest pause of a deferred task between two tries of what is missing (seconds).
FIRST_PAUSE, LONGEST_PAUSE = 60.0, 600.0
#: How long a deferred task may download what has become available, even after ``timeout`` (seconds).
LEAST_SECONDS = 300.0


class OutboundBotDownloadRecordingsOperator(OutboundBotOperator):
    """
    Download the recording of each answered call of a group, as soon as the service has it.

    Run it after the campaign or in parallel. It waits until the group has ended and every answered call has its
    recording, or until ``timeout``. Files are named by ids, ``JOB_TASK.wav``, and appear when they are complete; only
    the owner can read them. Existing recordings are not downloaded again. If a notice is missing, the API is asked.

    With ``deferrable`` it holds a worker only while it downloads: once at the beginning, once the group has ended, and
    then for what is still missing, after pauses of 1 to 10 minutes. It may continue on another worker, so ``path`` must
    be one that all workers share.

    :param job_group_id: The group, or the return value of another task of this provider.
    :param path: Folder for the files, local or, with a scheme, in an object store.
    :param max_parallel_requests: The maximum number of concurrent downloads.
    :param timeout: How long to wait for recordings. Those missing then are counted; the next run downloads them.
    :param deferrable: Wait in the triggerer and hold no worker.
    :param rocketmq_conn_id: With ``deferrable``, connection of type ``rocketmq`` to receive messages by while the group
        is running; ``None`` to use only the API and what other tasks receive.
    :param mkv: Download what ``mkvUrl`` of the notices refers to instead, to ``JOB_TASK_mkv`` with the suffix of its
        format. The service's guide names this URL, but does not say what it contains or whether every notice has one.
        The API cannot return it again: a call without it, or whose URL has expired, counts as missing.
    :return: ``job_group_id``, ``path``, ``answered`` (calls), ``downloaded``, ``present`` (from earlier), ``missing``,
        ``bytes`` (downloaded); also in the asset events of ``outlets``.
    """

    template_fields: Sequence[str] = ("job_group_id", "path", "instance_id", "outboundbot_conn_id", "rocketmq_conn_id")
    complete_fields = ("path",)
    ending = "Nothing was written"
    ui_color = "#eaf7ea"

    def __init__(
        self,
        *,
        job_group_id: Any,
        path: Any,
        max_parallel_requests: int = 8,
        timeout: timedelta = RECORDINGS_TIMEOUT,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        rocketmq_conn_id: str | None = None,
        mkv: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.job_group_id = job_group_id
        self.path = path
        self.max_parallel_requests = max_parallel_requests
        self.timeout = timeout
        self.deferrable = deferrable
        self.rocketmq_conn_id = rocketmq_conn_id
        self.mkv = mkv

    def execute(self, context: Context) -> dict[str, Any]:
        """Download the available recordings, and wait for the rest."""
        check_flags(self, "deferrable", "mkv")
        check_duration(self.timeout, "timeout")
        if self.deferrable:
            return self._download_or_defer(context, datetime.now(UTC) + self.timeout)
        from airflow_provider_outbound.core.results import download_recordings

        with self.hook as hook:
            found = download_recordings(
                hook.ledger, hook.client, timeout=self.timeout.total_seconds(), **self._arguments()
            )
        return self._finish(context, found)

    def execute_complete(
        self,
        context: Context,
        event: Any = None,
        *,
        deadline: str,
        downloaded: int = 0,
        size: int = 0,
        pause: float = FIRST_PAUSE,
        has_ended: bool = False,
    ) -> dict[str, Any]:
        """
        Resume when the group has ended, or after a pause.

        :param event: See :class:`OutboundBotJobCompleteTrigger`; a time after a pause; ``None`` if the triggerer lost
            it.
        :param deadline: When to give up, ISO 8601.
        :param downloaded: How many recordings this task has downloaded so far.
        :param size: Their size (bytes).
        :param pause: The next pause (seconds).
        :param has_ended: Whether the group had ended before.
        """
        status = event.get("status") if isinstance(event, Mapping) else None
        if status == "error":
            raise OutboundBotError(str(event["message"]))
        return self._download_or_defer(
            context,
            datetime.fromisoformat(deadline),
            downloaded=downloaded,
            size=size,
            pause=pause,
            has_ended=has_ended or status == "complete",
        )

    def _download_or_defer(
        self,
        context: Context,
        deadline: datetime,
        *,
        downloaded: int = 0,
        size: int = 0,
        pause: float | None = None,
        has_ended: bool = False,
    ) -> dict[str, Any]:
        """
        Download the available recordings; end if none is missing or the time is up, otherwise defer.

        :param pause: The next pause (seconds); ``None`` before the first, when notices may still come.
        """
        from airflow_provider_outbound.core.results import download_available

        left = (deadline - datetime.now(UTC)).total_seconds()
        patience: dict[str, Any] = {} if pause is None else {"notice_patience": 0.0}
        with self.hook as hook:
            found = download_available(
                hook.ledger, hook.client, timeout=max(left, LEAST_SECONDS), **patience, **self._arguments()
            )
        downloaded += found.summary["downloaded"]
        size += found.summary["bytes"]
        if not found.is_over and datetime.now(UTC) < deadline:
            state = {"deadline": deadline.isoformat(), "downloaded": downloaded, "size": size, "has_ended": has_ended}
            if found.has_unfinished and not has_ended:
                self._wait_for_group(deadline, state)
            self._pause(deadline, FIRST_PAUSE if pause is None else pause, state)
        found.report(named_group(self.job_group_id))
        present = found.summary["answered"] - found.summary["missing"] - downloaded
        return self._finish(context, found.summary | {"downloaded": downloaded, "present": present, "bytes": size})

    def _wait_for_group(self, deadline: datetime, state: dict[str, Any]) -> NoReturn:
        job_group_id = named_group(self.job_group_id)
        self.log.info("Job group %s: the task waits without a worker until the group has ended", job_group_id)
        self.defer(
            trigger=OutboundBotJobCompleteTrigger(
                job_group_id=job_group_id,
                outboundbot_conn_id=self.outboundbot_conn_id,
                rocketmq_conn_id=self.rocketmq_conn_id,
                instance_id=self.instance_id,
                deadline=deadline,
            ),
            method_name="execute_complete",
            kwargs=state,
        )

    def _pause(self, deadline: datetime, pause: float, state: dict[str, Any]) -> NoReturn:
        from airflow.providers.standard.triggers.temporal import DateTimeTrigger

        moment = min(deadline, datetime.now(UTC) + timedelta(seconds=pause))
        self.log.info(
            "Job group %s: recordings are missing; they are tried again at %s",
            named_group(self.job_group_id),
            moment.isoformat(timespec="seconds"),
        )
        self.defer(
            trigger=DateTimeTrigger(moment=moment),
            method_name="execute_complete",
            kwargs=state | {"pause": min(LONGEST_PAUSE, 2 * pause)},
        )

    def _arguments(self) -> dict[str, Any]:
        job_group_id = named_group(self.job_group_id)
        record = self.hook.ledger.groups.get(job_group_id)
        return {
            "job_group_id": job_group_id,
            "folder": as_path(self.path, "path"),
            "instance_id": self.instance_id or (record.instance_id if record else None),
            "max_parallel_requests": self.max_parallel_requests,
            "mkv": self.mkv,
        }

    def _finish(self, context: Context, found: Mapping[str, Any]) -> dict[str, Any]:
        result = {"job_group_id": named_group(self.job_group_id), **found}
        report_to_outlets(self, context, result, path_uri(self.path))
        return result

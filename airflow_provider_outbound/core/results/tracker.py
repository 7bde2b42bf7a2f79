"""Tracks which recordings of a group are missing while the ledger and the API report its calls."""

from __future__ import annotations

import hashlib
import logging
import re
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import attrs

from airflow_provider_outbound.core.reconcile import GroupReader
from airflow_provider_outbound.core.results.fetch import is_sound
from airflow_provider_outbound.exceptions import (
    OutboundBotConfigError,
    OutboundBotError,
)

if TYPE_CHECKING:
    from airflow_provider_outbound.core.client import OutboundBotClient
    from airflow_provider_outbound.core.ledger import GroupState, Ledger, RecordedCall

log = logging.getLogger(__name__)

#: The maximum number of job ids in one ListJobs.
_JOBS = 99
#: How often the API is asked for what no message reported (seconds).
_REFRESH = 60.0
#: How soon it is asked again after it did not answer (seconds).
_AGAIN = 5.0
#: First pause before an unavailable recording is tried again, in poll intervals. Each further pause is twice as long, …
_FIRST_PAUSE = 5
#: … up to this one (seconds).
_LONGEST_PAUSE = 60.0
_ID = re.compile(r"[A-Za-z0-9-]{1,64}")


@attrs.define(kw_only=True, eq=False)
class PendingRecording:
    """A recording that is still missing."""

    task_id: str
    stem: str
    has_notice: bool
    #: When to try, on the monotonic clock.
    at: float
    #: Pause before it is tried again if it is not available (seconds).
    pause: float
    running: bool = False


class Present:
    """
    Recordings that already exist in a folder. Files of the same name that are not recordings do not count.

    :raises OutboundBotConfigError: the folder cannot be read.
    """

    def __init__(self, folder: Any) -> None:
        self._folder = folder
        self._unseen: dict[str, list[Any]] = defaultdict(list)
        self._sounds: set[str] = set()
        with self._errors():
            # In an object store a folder does not exist before a file in it.
            for path in folder.iterdir() if folder.exists() else ():
                if not path.name.startswith("."):
                    self._unseen[path.name.rpartition(".")[0]].append(path)

    def __contains__(self, stem: str) -> bool:
        for path in self._unseen.pop(stem, ()):
            with self._errors():
                if path.is_file() and is_sound(path):
                    self._sounds.add(stem)
        return stem in self._sounds

    def add(self, stem: str) -> None:
        """Add a downloaded recording."""
        self._sounds.add(stem)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutboundBotConfigError(
                f"path {str(self._folder)!r} cannot be read: {error.strerror or type(error).__name__}; give a folder"
                " whose files this machine may read"
            ) from None


class RecordingTracker:
    """The answered calls of a group that the ledger knows, and which of them have no recording yet."""

    def __init__(
        self,
        ledger: Ledger,
        client: OutboundBotClient,
        job_group_id: str,
        *,
        instance_id: str | None,
        present: Present,
        poll_interval: float,
        notice_patience: float,
        suffix: str = "",
    ) -> None:
        self._ledger = ledger
        self._client = client
        self.job_group_id = job_group_id
        self._instance_id = instance_id
        self._present = present
        self._poll_interval = poll_interval
        self._notice_patience = notice_patience
        self._suffix = suffix
        self._look_at = self._refresh_at = 0.0
        self._changed = -1
        self._calls: list[RecordedCall] = []
        self._pending: dict[str, PendingRecording] = {}
        self._has_unfinished = True
        self._begun = False
        self.downloaded = 0

    @property
    def answered(self) -> int:
        """The number of calls that have or will have a recording."""
        return len(self._calls)

    @property
    def is_over(self) -> bool:
        """Whether no recording is missing, no job is open, and none may still be added."""
        return not (self._pending or self._unnamed or self._has_unfinished)

    @property
    def has_unfinished(self) -> bool:
        """Whether a job of the group is open, or may still be added."""
        return self._has_unfinished

    @property
    def has_more(self) -> bool:
        """Whether a recording may be tried now, or the API may be asked now which call was answered."""
        now = time.monotonic()
        may_ask = bool(self._unnamed) and self._refresh_at <= now
        return may_ask or any(not pending.running and pending.at <= now for pending in self._pending.values())

    @property
    def missing(self) -> list[str]:
        """The missing recordings, by the names of their files."""
        return [*self._pending, *self._unnamed]

    @property
    def _unnamed(self) -> list[str]:
        """Jobs of which the API reported that a call was answered, but not which one."""
        return [call.job_id for call in self._calls if call.task_id is None]

    def look(self) -> None:
        """Poll the ledger if it is due, and ask the API at intervals for what the ledger lacks."""
        now = time.monotonic()
        if now < self._look_at:
            return
        self._look_at = now + self._poll_interval
        state = self._ledger.groups.state(self.job_group_id)
        is_known = self._has_begun(state)
        if now >= self._refresh_at and (not is_known or state.has_unfinished or self._unnamed):
            self._refresh_at = now + _REFRESH
            self._refresh(known=is_known, is_assigning=bool(state.open_assignments))
            state = self._ledger.groups.state(self.job_group_id)
            is_known = self._has_begun(state)
        self._has_unfinished = state.has_unfinished or state.is_assigning or not is_known
        if state.changed == self._changed:
            return
        self._changed = state.changed
        had_unnamed = bool(self._unnamed)
        self._calls = self._ledger.details.recorded_calls(self.job_group_id)
        if self._unnamed and not had_unnamed:
            self._refresh_at = self._look_at = now
        patience = self._notice_patience if self._ledger.details.has_messages(self.job_group_id) else 0.0
        for call in self._calls:
            if call.task_id is not None:
                self._want(call, call.task_id, now, patience)

    def _has_begun(self, state: GroupState) -> bool:
        """Whether anything was assigned to the group: before that, that no job is open does not mean that it ended."""
        if not self._begun:
            is_told = state.confirmed is not None or state.closed_assignments or state.abandoned_assignments
            self._begun = bool(is_told or self._ledger.results.counts(self.job_group_id).total)
        return self._begun

    def due(self, most: int) -> list[PendingRecording]:
        """Return up to ``most`` recordings that may be tried now."""
        now = time.monotonic()
        found: list[PendingRecording] = []
        for pending in self._pending.values():
            if len(found) >= most:
                break
            if not pending.running and pending.at <= now:
                pending.running = True
                found.append(pending)
        return found

    def put_off(self, pending: PendingRecording) -> None:
        """Try again later."""
        pending.running, pending.at = False, time.monotonic() + pending.pause
        pending.pause = min(pending.pause * 2, _LONGEST_PAUSE)

    def has(self, pending: PendingRecording) -> None:
        """Record that a recording was downloaded."""
        del self._pending[pending.stem]
        self._present.add(pending.stem)
        self.downloaded += 1

    def _want(self, call: RecordedCall, task_id: str, now: float, patience: float) -> None:
        stem = f"{_name(call.job_id)}_{_name(task_id)}{self._suffix}"
        if stem in self._present:
            return
        pending = self._pending.get(stem)
        if pending is None:
            self._pending[stem] = PendingRecording(
                task_id=task_id,
                stem=stem,
                has_notice=call.has_notice,
                at=now if call.has_notice else now + patience,
                pause=_FIRST_PAUSE * self._poll_interval,
            )
        elif call.has_notice and not pending.has_notice:
            pending.has_notice, pending.at = True, now

    def _refresh(self, *, known: bool, is_assigning: bool) -> None:
        """Record what the API reports of jobs whose end, or whose call, no message reported."""
        ledger, group_id = self._ledger, self.job_group_id
        try:
            unfinished = ledger.results.unfinished(group_id, _JOBS)
            # An answer to AssignJobs does not tell whose id is which, so that jobs of which no message came have none.
            if not known or (not is_assigning and any(job.job_id is None for job in unfinished)):
                GroupReader(
                    client=self._client, ledger=self._ledger, job_group_id=group_id, instance_id=self._instance_id
                ).read_results()
                return
            ids = self._unnamed + [job.job_id for job in unfinished if job.job_id is not None]
            for start in range(0, len(ids), _JOBS):
                found = self._client.list_jobs(job_ids=ids[start : start + _JOBS], instance_id=self._instance_id)
                ledger.results.record_listing(group_id, found)
        except OutboundBotError as error:
            if not error.is_transient:
                raise
            log.warning("Job group %s: %s; will try again", group_id, error)
            self._refresh_at = time.monotonic() + _AGAIN


def _name(identifier: str) -> str:
    """Return an id as part of a file name: itself if it is safe, otherwise a digest."""
    return identifier if _ID.fullmatch(identifier) else hashlib.sha256(identifier.encode()).hexdigest()[:32]

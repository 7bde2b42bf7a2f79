"""What the API reports about an ended job beyond its outcome, and its stored form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import IntEnum
from typing import Any

import attrs

from airflow_provider_outbound.core.models.wire import milliseconds, to_milliseconds


class Depth(IntEnum):
    """How much of a job's details is known; each includes those before it."""

    #: Tags, hang-up side and end of the conversation.
    TAGS = 1
    DURATIONS = 2
    #: Each call of the job.
    CALLS = 3
    CONVERSATIONS = 4


@attrs.frozen(kw_only=True)
class Turn:
    """One utterance of a conversation."""

    #: ``Robot`` or ``Contact``: the service's words.
    speaker: str | None
    text: str = attrs.field(repr=False)
    at: datetime | None = None


@attrs.frozen(kw_only=True)
class CallDetails:
    """One call of a job as the API describes it. Durations in seconds."""

    task_id: str | None
    status: str | None = None
    planned_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    calling_number: str | None = attrs.field(default=None, repr=False)
    ringing_seconds: float | None = None
    talk_seconds: float | None = None
    hang_up_side: str | None = None
    end_reason: str | None = None
    sip_code: str | None = None
    #: ``None`` if it was not asked for, or the call was not answered.
    conversation: tuple[Turn, ...] | None = attrs.field(default=None, repr=False)


@attrs.frozen(kw_only=True)
class JobDetails:
    """
    What the API reports about a job beyond its outcome.

    All except ``calls`` describes the answered call that began last. Durations in seconds.
    """

    #: Tags or variables of the script, and their values from the conversation.
    tags: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    #: From dialling to the end.
    call_seconds: float | None = None
    ringing_seconds: float | None = None
    #: After the call was answered.
    talk_seconds: float | None = None
    #: ``client`` or ``ivr``: the service's words for the person and the robot.
    hang_up_side: str | None = None
    #: How the conversation ended, e.g. ``FINISHED`` or ``CLIENT_HANGUP``.
    conversation_end: str | None = None
    depth: Depth = Depth.DURATIONS
    #: Empty below :attr:`Depth.CALLS`.
    calls: tuple[CallDetails, ...] = attrs.field(default=(), repr=False)

    def to_json(self) -> dict[str, Any]:
        """Return the stored form; times are epoch milliseconds."""
        return attrs.asdict(self, value_serializer=_plain)

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> JobDetails:
        """Read the stored form. Rows of earlier versions have fewer fields."""
        fields = _known(cls, kept)
        depth, calls = fields.pop("depth", None), fields.pop("calls", None) or ()
        fields["depth"] = Depth.DURATIONS if depth is None else Depth(depth)
        fields["calls"] = tuple(map(_call, calls))
        return cls(**fields)


def _plain(_instance: Any, _field: Any, value: Any) -> Any:
    return to_milliseconds(value) if isinstance(value, datetime) else value


def _known(cls: type[attrs.AttrsInstance], kept: Mapping[str, Any]) -> dict[str, Any]:
    return {field.name: kept[field.name] for field in attrs.fields(cls) if field.name in kept}


def _call(kept: Mapping[str, Any]) -> CallDetails:
    fields = _timed(_known(CallDetails, kept), ("planned_at", "started_at", "ended_at"))
    turns = fields.get("conversation")
    if turns is not None:
        fields["conversation"] = tuple(Turn(**_timed(_known(Turn, turn), ("at",))) for turn in turns)
    return CallDetails(**fields)


def _timed(fields: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return fields | {name: milliseconds(fields.get(name)) for name in names}

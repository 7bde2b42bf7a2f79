"""
The API's enumerations. Values that are not listed are kept, because the service may add some.

Source: the vendor's quick-integration guide ("枚举值") and the models of the API, version 2019-12-26.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from functools import lru_cache
from typing import Any, Self, TypeVar

from airflow_provider_outbound.core.models.wire import text

T = TypeVar("T", bound="OpenEnum")

#: A number that stands for a word; a JSON writer may add a fraction.
_CODE = re.compile(r"[0-9]{1,3}(\.0)?")


class OpenEnum(StrEnum):
    """An enumeration that also parses unlisted values and keeps their text; :attr:`is_known` is false for those."""

    # Unlisted values have a flag instead of a special name: FailureReason has a real member Unknown.
    _unlisted: bool

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, str) or not value:
            return None
        member = str.__new__(cls, value)
        member._name_, member._value_ = value, value
        member._unlisted = True  # noqa: SLF001 - its own class
        return member

    @classmethod
    def parse(cls, value: Any) -> Self | None:
        """
        Read a value of the API or of a message: a word, or the service's number for it.

        :return: ``None`` for an absent or empty one, and for one that is neither a word nor a number. An unlisted word
            or number keeps its text.
        """
        word = text(value)
        if word is None or len(word) > _LONGEST:
            return None
        return _read(cls, word)

    @property
    def is_known(self) -> bool:
        """Whether this value is one of those listed here."""
        return not getattr(self, "_unlisted", False)


#: Maximum length of a word that is kept, as in the ledger's columns.
_LONGEST = 64


# Every message has such words, nearly always the same few, and an enumeration's own lookup is slower.
@lru_cache(1024)
def _read(kind: type[T], word: str) -> T | None:
    word = word.strip()
    if not word or not word.isprintable():
        return None
    coded = _CODED.get(kind, ())
    code = int(word.removesuffix(".0")) if _CODE.fullmatch(word) else len(coded)
    return kind(coded[code]) if code < len(coded) else kind(word)


class EventType(OpenEnum):
    """What a message reports. Source: guide, "EventType"."""

    JOB_COMPLETE = "JobComplete"
    DIALING = "Dialing"
    CALL_ANSWERED = "CallAnswered"
    CALL_FINISHED = "CallFinished"
    RECORDING_READY = "RecordingReady"


class JobStatus(OpenEnum):
    """State of a job. Source: guide, "JobStatus"; Drafted: API models."""

    SCHEDULING = "Scheduling"
    EXECUTING = "Executing"
    SUCCEEDED = "Succeeded"
    PAUSED = "Paused"
    FAILED = "Failed"
    CANCELLED = "Cancelled"
    DRAFTED = "Drafted"

    @property
    def is_terminal(self) -> bool:
        """Whether the service will not dial for this job again of its own accord. An unknown status is not terminal."""
        return self in _TERMINAL_JOB_STATUSES


_TERMINAL_JOB_STATUSES = frozenset({JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED})


class JobGroupStatus(OpenEnum):
    """State of a job group. Source: API models; Succeed and Succeeded: the older list in the product's FAQ."""

    DRAFT = "Draft"
    INITIALIZING = "Initializing"
    SCHEDULING = "Scheduling"
    EXECUTING = "Executing"
    COMPLETED = "Completed"
    PAUSED = "Paused"
    FAILED = "Failed"
    CANCELLED = "Cancelled"
    SUCCEED = "Succeed"
    SUCCEEDED = "Succeeded"

    @property
    def is_terminal(self) -> bool:
        """Whether the group has ended."""
        return self in _TERMINAL_GROUP_STATUSES


_TERMINAL_GROUP_STATUSES = frozenset(
    {
        JobGroupStatus.COMPLETED,
        JobGroupStatus.FAILED,
        JobGroupStatus.CANCELLED,
        JobGroupStatus.SUCCEED,
        JobGroupStatus.SUCCEEDED,
    }
)


class FailureReason(OpenEnum):
    """Why a job failed. Source: guide, "FailureReason"; the last three: API models."""

    UNKNOWN = "Unknown"
    NO_ANSWER = "NoAnswer"
    INVALID_STRATEGY = "InvalidStrategy"
    TIME_UP = "TimeUp"
    NO_STRATEGY = "NoStrategy"
    CALL_FAILED = "CallFailed"
    PER_DAY_CALL_COUNT_LIMIT = "PerDayCallCountLimit"
    CONTACT_BLOCK_LIST = "ContactBlockList"
    EMPTY_NUMBER = "EmptyNumber"
    JOB_PER_DAY_CALL_COUNT_LIMIT = "JobPerDayCallCountLimit"
    VERIFICATION_CANCELLED = "VerificationCancelled"
    CONTACT_SUSPENDED = "ContactSuspended"
    IN_ARREARS = "InArrears"
    OUT_OF_SERVICE = "OutOfService"
    NONE_REPEATABLE_JOB_MAX_ATTEMPT_COUNT_LIMIT = "NoneRepeatableJobMaxAttemptCountLimit"


class CallStatus(OpenEnum):
    """
    Outcome of one call (the API's Task.Status). Source: guide, "TaskStatus"; from OutOfServiceNoCall on: API models.

    "NoAnswer" inside a Succeeded… value means an utterance that the robot did not understand, not an unanswered phone.
    """

    EXECUTING = "Executing"
    SUCCEEDED = "Succeeded"
    NO_ANSWER = "NoAnswer"
    NOT_EXIST = "NotExist"
    BUSY = "Busy"
    CANCELLED = "Cancelled"
    FAILED = "Failed"
    NOT_CONNECTED = "NotConnected"
    POWERED_OFF = "PoweredOff"
    OUT_OF_SERVICE = "OutOfService"
    IN_ARREARS = "InArrears"
    EMPTY_NUMBER = "EmptyNumber"
    PER_DAY_CALL_COUNT_LIMIT = "PerDayCallCountLimit"
    CONTACT_BLOCK_LIST = "ContactBlockList"
    CALLER_NOT_REGISTERED = "CallerNotRegistered"
    TERMINATED = "Terminated"
    VERIFICATION_CANCELLED = "VerificationCancelled"
    OUT_OF_SERVICE_NO_CALL = "OutOfServiceNoCall"
    IN_ARREARS_NO_CALL = "InArrearsNoCall"
    CALLING_NUMBER_NOT_EXIST = "CallingNumberNotExist"
    SUCCEEDED_FINISH = "SucceededFinish"
    SUCCEEDED_CHATBOT_HANG_UP_AFTER_NO_ANSWER = "SucceededChatbotHangUpAfterNoAnswer"
    SUCCEEDED_CHATBOT_HANG_UP_AFTER_SILENCE = "SucceededChatbotHangUpAfterSilence"
    SUCCEEDED_CLIENT_HANG_UP_AFTER_NO_ANSWER = "SucceededClientHangUpAfterNoAnswer"
    SUCCEEDED_CLIENT_HANG_UP = "SucceededClientHangUp"
    SUCCEEDED_TRANSFER_BY_INTENT = "SucceededTransferByIntent"
    SUCCEEDED_TRANSFER_AFTER_NO_ANSWER = "SucceededTransferAfterNoAnswer"
    SUCCEEDED_INO_INTER_ACTION = "SucceededInoInterAction"
    SUCCEEDED_ERROR = "SucceededError"
    SUCCEEDED_SPECIAL_INTERCEPT_VOICE_ASSISTANT = "SucceededSpecialInterceptVoiceAssistant"
    SUCCEEDED_SPECIAL_INTERCEPT_EXTENSION_NUMBER_TRANSFER = "SucceededSpecialInterceptExtensionNumberTransfer"
    SUCCEEDED_SPECIAL_INTERCEPT_CUSTOM_SPECIAL_INTERCEPT = "SucceededSpecialInterceptCustomSpecialIntercept"
    HIGH_RISK_SIP_CODE = "HighRiskSipCode"

    @property
    def is_answered(self) -> bool:
        """Whether somebody answered the call; unlisted Succeeded… values count too."""
        return self.startswith("Succeeded")

    @property
    def is_unanswered(self) -> bool:
        """Whether the phone was dialled and nobody answered."""
        return self in _UNANSWERED


_UNANSWERED = frozenset({CallStatus.NO_ANSWER, CallStatus.BUSY, CallStatus.NOT_CONNECTED, CallStatus.POWERED_OFF})
#: Call statuses that mean that nothing was dialled.
NOT_DIALLED_CALL_STATUSES = frozenset(
    {
        CallStatus.EMPTY_NUMBER,
        CallStatus.PER_DAY_CALL_COUNT_LIMIT,
        CallStatus.CONTACT_BLOCK_LIST,
        CallStatus.VERIFICATION_CANCELLED,
        CallStatus.OUT_OF_SERVICE_NO_CALL,
        CallStatus.IN_ARREARS_NO_CALL,
        CallStatus.CALLING_NUMBER_NOT_EXIST,
        CallStatus.CALLER_NOT_REGISTERED,
        CallStatus.CANCELLED,
        CallStatus.HIGH_RISK_SIP_CODE,
    }
)
#: Failure reasons that mean that the job ended before the phone could ring.
NOT_DIALLED_FAILURE_REASONS = frozenset(
    {
        FailureReason.INVALID_STRATEGY,
        FailureReason.TIME_UP,
        FailureReason.NO_STRATEGY,
        FailureReason.PER_DAY_CALL_COUNT_LIMIT,
        FailureReason.JOB_PER_DAY_CALL_COUNT_LIMIT,
        FailureReason.NONE_REPEATABLE_JOB_MAX_ATTEMPT_COUNT_LIMIT,
    }
)
#: Failure reasons that forbid contacting the person, whatever the result of an earlier call.
DO_NOT_CONTACT_FAILURE_REASONS = frozenset(
    {
        FailureReason.CONTACT_BLOCK_LIST,
        FailureReason.CONTACT_SUSPENDED,
        FailureReason.VERIFICATION_CANCELLED,
        FailureReason.EMPTY_NUMBER,
    }
)


#: Members by the service's numbers. Source: guide, "枚举值" (0 to 5, 11 and 16); API models;
#: groups: the older list in the product's FAQ.
_CODED: Mapping[type[OpenEnum], Sequence[OpenEnum]] = {
    JobStatus: tuple(JobStatus),
    JobGroupStatus: (
        JobGroupStatus.SCHEDULING,
        JobGroupStatus.EXECUTING,
        JobGroupStatus.SUCCEED,
        JobGroupStatus.PAUSED,
        JobGroupStatus.FAILED,
        JobGroupStatus.CANCELLED,
    ),
    FailureReason: tuple(FailureReason)[:12],
    CallStatus: tuple(CallStatus),
}


class Outcome(StrEnum):
    """What a finished job means to a campaign; one of four, so that the four counts add up to the total."""

    ANSWERED = "answered"
    UNANSWERED = "unanswered"
    NOT_DIALLED = "not_dialled"
    #: Dialled, but the phone may not have rung: an unreachable number, a failed call, an unknown status.
    OTHER = "other"


def outcome(
    status: JobStatus | None, failure_reason: FailureReason | None, call_status: CallStatus | None, *, answered: bool
) -> Outcome:
    """
    Return the outcome of a job from its latest facts.

    A reason that forbids contacting the person overrides an earlier unanswered call: a text message to the unanswered
    must never reach somebody on a block list. Limits and the strategy's end do not override it: after an unanswered
    call they only explain why there was no redial.

    :param status: Status of the job.
    :param failure_reason: Reason, if the job failed.
    :param call_status: Outcome of the last call; ``None`` without one.
    :param answered: Whether any call of the job was answered.
    """
    if answered or (call_status is not None and call_status.is_answered):
        return Outcome.ANSWERED
    if failure_reason in DO_NOT_CONTACT_FAILURE_REASONS:
        return Outcome.NOT_DIALLED
    if call_status is not None:
        if call_status.is_unanswered:
            return Outcome.UNANSWERED
        return Outcome.NOT_DIALLED if call_status in NOT_DIALLED_CALL_STATUSES else Outcome.OTHER
    if failure_reason in NOT_DIALLED_FAILURE_REASONS or status is JobStatus.CANCELLED:
        return Outcome.NOT_DIALLED
    return Outcome.UNANSWERED if failure_reason is FailureReason.NO_ANSWER else Outcome.OTHER

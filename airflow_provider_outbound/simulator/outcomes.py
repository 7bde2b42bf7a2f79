"""
Outcomes of phone numbers, chosen by their last two digits.

=======  ==========================================================================================
digits   outcome (call status; the job's status and failure reason)
=======  ==========================================================================================
00-39    answered, SucceededFinish; job Succeeded
40-51    answered, one each: the other Succeeded… statuses, and the older plain Succeeded
52       NoAnswer first, then SucceededFinish, if the strategy allows a second attempt
53       Busy first, then SucceededFinish, if the strategy allows a second attempt
54-59    answered, SucceededFinish; job Succeeded
60-72    NoAnswer at every attempt; job Failed, NoAnswer
73-78    no call at all; job Failed: TimeUp, InvalidStrategy, NoStrategy, JobPerDayCallCountLimit,
         NoneRepeatableJobMaxAttemptCountLimit, Unknown
79       no call at all; job Cancelled by hand in the console
80-82    Busy, NotConnected, PoweredOff at every attempt; job Failed, CallFailed
83-86    NotExist, Failed, OutOfService, InArrears, at the first attempt; job Failed
87-89    EmptyNumber, ContactBlockList, PerDayCallCountLimit: not dialled; job Failed, the same reason
90-91    CallerNotRegistered, Terminated; job Failed, CallFailed
92-93    VerificationCancelled, ContactSuspended: not dialled; job Failed, the same reason
94-97    CallingNumberNotExist, OutOfServiceNoCall, InArrearsNoCall, HighRiskSipCode; job Failed
98       FutureStatus, FutureReason: values that are not documented
99       no answer, then blocked: NoAnswer at the first attempt, ContactBlockList at the second
=======  ==========================================================================================

Answered calls also have tags: ``intent=interested`` (digits 00-19), ``intent=undecided`` (20-37), ``intent=refused``
with ``do_not_call=yes`` (38-39); others have none.

The service's documentation does not say which failure reason a busy or unreachable number results in. This table is a
guess, so do not rely on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import attrs

#: Call statuses after which the simulator dials again if the strategy allows it.
REDIALLED = frozenset({"NoAnswer", "Busy", "NotConnected", "PoweredOff"})
#: Call statuses of attempts that are not dialled: no Dialing event, no duration.
NOT_DIALLED = frozenset(
    {
        "EmptyNumber",
        "ContactBlockList",
        "PerDayCallCountLimit",
        "VerificationCancelled",
        "Cancelled",
        "OutOfServiceNoCall",
        "InArrearsNoCall",
    }
)


@attrs.frozen(kw_only=True)
class Outcome:
    """The outcome of one number."""

    #: Status of each attempt, in order; the last one repeats. Empty: the job ends without any call.
    attempts: tuple[str, ...]
    #: Status and failure reason of the job once no attempt remains.
    status: str = "Failed"
    failure_reason: str | None = None

    def attempt(self, index: int) -> str:
        """The status of attempt ``index``, counted from 0."""
        return self.attempts[min(index, len(self.attempts) - 1)]

    def after(self, attempts: int) -> Outcome:
        """
        The expected outcome if ``attempts`` attempts are allowed.

        :return: an outcome whose ``attempts`` are exactly the calls placed, in order.
        """
        placed: list[str] = []
        for index in range(attempts if self.attempts else 0):
            placed.append(self.attempt(index))
            if placed[-1] not in REDIALLED:
                break
        if not placed:
            return self
        status, reason = job_result(placed[-1], self)
        return Outcome(attempts=tuple(placed), status=status, failure_reason=reason)


#: The failure reason of a job by the status of its last call; for all others it is CallFailed.
_REASONS: Mapping[str, str] = MappingProxyType(
    {
        "NoAnswer": "NoAnswer",
        "EmptyNumber": "EmptyNumber",
        "NotExist": "EmptyNumber",
        "ContactBlockList": "ContactBlockList",
        "PerDayCallCountLimit": "PerDayCallCountLimit",
        "VerificationCancelled": "VerificationCancelled",
        "OutOfService": "OutOfService",
        "OutOfServiceNoCall": "OutOfService",
        "InArrears": "InArrears",
        "InArrearsNoCall": "InArrears",
        "FutureStatus": "FutureReason",
    }
)


def is_answered(status: str) -> bool:
    """Whether a call with this status was answered."""
    return status.startswith("Succeeded")


def job_result(last_call: str, outcome: Outcome) -> tuple[str, str | None]:
    """
    Status and failure reason of a job after its last call.

    :param last_call: status of the last call.
    :param outcome: the number's outcome, whose failure reason takes precedence if it has one.
    """
    if is_answered(last_call):
        return "Succeeded", None
    return "Failed", outcome.failure_reason or _REASONS.get(last_call, "CallFailed")


#: Statuses of answered calls other than SucceededFinish.
_ANSWERED = (
    "SucceededChatbotHangUpAfterNoAnswer",
    "SucceededChatbotHangUpAfterSilence",
    "SucceededClientHangUpAfterNoAnswer",
    "SucceededClientHangUp",
    "SucceededTransferByIntent",
    "SucceededTransferAfterNoAnswer",
    "SucceededInoInterAction",
    "SucceededError",
    "SucceededSpecialInterceptVoiceAssistant",
    "SucceededSpecialInterceptExtensionNumberTransfer",
    "SucceededSpecialInterceptCustomSpecialIntercept",
    "Succeeded",
)
#: Failure reasons of jobs that end without a call.
_WITHOUT_CALL = (
    "TimeUp",
    "InvalidStrategy",
    "NoStrategy",
    "JobPerDayCallCountLimit",
    "NoneRepeatableJobMaxAttemptCountLimit",
    "Unknown",
)
#: Statuses of calls that failed; the job ends with them.
_FAILED = (
    "Busy",
    "NotConnected",
    "PoweredOff",
    "NotExist",
    "Failed",
    "OutOfService",
    "InArrears",
    "EmptyNumber",
    "ContactBlockList",
    "PerDayCallCountLimit",
    "CallerNotRegistered",
    "Terminated",
    "VerificationCancelled",
)


def _table() -> tuple[Outcome, ...]:
    finish = Outcome(attempts=("SucceededFinish",), status="Succeeded")
    table = [finish] * 100
    for digits, status in enumerate(_ANSWERED, start=40):
        table[digits] = Outcome(attempts=(status,), status="Succeeded")
    table[52] = Outcome(attempts=("NoAnswer", "SucceededFinish"))
    table[53] = Outcome(attempts=("Busy", "SucceededFinish"))
    for digits in range(60, 73):
        table[digits] = Outcome(attempts=("NoAnswer",))
    for digits, reason in enumerate(_WITHOUT_CALL, start=73):
        table[digits] = Outcome(attempts=(), failure_reason=reason)
    table[79] = Outcome(attempts=(), status="Cancelled")
    for digits, status in enumerate(_FAILED, start=80):
        table[digits] = Outcome(attempts=(status,))
    table[93] = Outcome(attempts=("Cancelled",), failure_reason="ContactSuspended")
    for digits, status in enumerate(
        ("CallingNumberNotExist", "OutOfServiceNoCall", "InArrearsNoCall", "HighRiskSipCode", "FutureStatus"), start=94
    ):
        table[digits] = Outcome(attempts=(status,))
    table[99] = Outcome(attempts=("NoAnswer", "ContactBlockList"))
    return tuple(table)


#: The outcome of each pair of last digits, 0 to 99.
OUTCOMES: tuple[Outcome, ...] = _table()


def outcome_of(number: str) -> Outcome:
    """The outcome of a phone number by its last two digits; numbers without them are answered."""
    digits = number[-2:]
    return OUTCOMES[int(digits)] if len(digits) == 2 and digits.isascii() and digits.isdigit() else OUTCOMES[0]


def tags_of(number: str) -> dict[str, str]:
    """The tags of an answered call to a number; numbers without last digits count as 00."""
    digits = number[-2:]
    last = int(digits) if len(digits) == 2 and digits.isascii() and digits.isdigit() else 0
    if last < 20:
        return {"intent": "interested"}
    if last < 38:
        return {"intent": "undecided"}
    return {"intent": "refused", "do_not_call": "yes"} if last < 40 else {}


def conversation_of(number: str) -> tuple[tuple[str, str], ...]:
    """What is said in an answered call to a number: speaker and text, in order."""
    said = {"interested": "好的,你说。", "undecided": "我再想想。", "refused": "不用了,别再打了。"}
    opening = ("Robot", "您好,请问您现在方便吗?")
    answer = said.get(tags_of(number).get("intent", ""))
    return (opening,) if answer is None else (opening, ("Contact", answer), ("Robot", "好的,再见。"))


def expected_outcome(number: str, max_attempts: int = 1) -> Outcome:
    """
    The expected outcome of a job for ``number`` if nothing ends it early, by which tests judge.

    :param number: phone number as assigned.
    :param max_attempts: attempts that the strategy allows; 1 without a strategy.
    """
    return outcome_of(number).after(max_attempts)

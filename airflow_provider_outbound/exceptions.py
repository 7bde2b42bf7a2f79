"""
The exceptions of this package::

    OutboundBotError
      OutboundBotConfigError            a connection, an argument or a setting is wrong
        OutboundBotContactsError        the contacts cannot be used
          ContactsNotFoundError         the given file, folder or pattern does not exist, or contains no data file
        ConnectionMissingError          Airflow does not find the connection; a secrets backend may be away
        OutboundBotWrongTimeError       dialling now would break a time rule
      OutboundBotApiError               the API answered with an error; ``in_doubt`` says whether it may have acted
        OutboundBotThrottlingError      refused for now; a retry may succeed
        OutboundBotNotFoundError        the named instance, job group, script or job does not exist
        OutboundBotAuthenticationError  the access key, signature, token or permission was refused
        OutboundBotAnswerError          the answer cannot be used (HTML, missing fields, a wrong count): in doubt
      OutboundBotTransportError         no answer: whether the API acted is unknown
      LedgerError                       the ledger cannot be used
        LedgerUnavailableError          its database cannot be reached or written now; a retry may succeed
        LedgerAccessError               its database refuses this user, or is not a ledger
        LedgerMissingError              there is no ledger yet, and this process must not create one
        LedgerVersionError              its schema is newer than this package, or older and nobody may migrate it here
        LedgerKeyError                  a row cannot be decrypted with the given keys
        JobGroupUnknownError            the ledger does not know the group
        JobGroupPurgedError             the group's rows were purged
        LeaseHeldError                  another process holds the lease of this assignment
        LeaseLostError                  another process has taken over this assignment
      RocketMQError                     the broker cannot be used
        RocketMQClientError             the RocketMQ client library is missing or unusable
      StoppedError                      a person suspended or cancelled the group during an assignment
      AssignmentUnresolvedError         some contacts are unresolved: they may or may not have been assigned
      JobGroupFailedError               a job group ended in a way that the author does not accept
        JobGroupCancelledError          the jobs to be resumed were cancelled
        JobGroupTimeoutError            a job group did not end, or a command had no effect, in time

Every message may be shown and logged: none contains a phone number, a contact's name or a key.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

#: How an error ends that was raised before anybody was called.
NOBODY_WAS_CALLED = "Nobody was called"
#: How such an error ends if it is about a job group that exists, because that may be dialling.
NOTHING_WAS_CHANGED = "Nothing was changed"


class OutboundBotError(Exception):
    """Base class of the exceptions of this package."""

    #: Whether the request may have taken effect although it failed.
    in_doubt: bool = False

    @property
    def is_transient(self) -> bool:
        """Whether a retry may succeed, without any other change."""
        return False


class OutboundBotConfigError(OutboundBotError, ValueError):
    """A connection, an argument or a setting is wrong. The request that it was for was not sent."""


class ConnectionMissingError(OutboundBotConfigError):
    """
    Airflow does not find a connection.

    Airflow reports the same if a secrets backend or its API server does not answer, so a retry may succeed.
    """

    @property
    def is_transient(self) -> bool:
        return True


def end_with(text: str, ending: str) -> str:
    """Return an error's text with a last sentence in place of the one that says what did not happen, if it has one."""
    text = text.removesuffix(NOBODY_WAS_CALLED).removesuffix(NOTHING_WAS_CHANGED).rstrip().removesuffix(".")
    return f"{text}{'' if text.endswith(('?', '!')) else '.'} {ending}"


@contextmanager
def before_calling() -> Iterator[None]:
    """
    Within this block nobody is called: errors about arguments, settings, keys and contacts say so at their end.

    Those about a group that exists keep their :data:`NOTHING_WAS_CHANGED`: that group may be dialling.
    """
    try:
        yield
    except (OutboundBotConfigError, LedgerKeyError) as error:
        if str(error).endswith(NOTHING_WAS_CHANGED):
            raise
        error.args = (end_with(str(error), NOBODY_WAS_CALLED), *error.args[1:])
        raise


@contextmanager
def before_changing() -> Iterator[None]:
    """Within this block nothing is changed: errors end with that, and not with :data:`NOBODY_WAS_CALLED`."""
    try:
        yield
    except OutboundBotConfigError as error:
        error.args = (end_with(str(error), NOTHING_WAS_CHANGED), *error.args[1:])
        raise


class OutboundBotContactsError(OutboundBotConfigError):
    """The contacts cannot be used. If some were assigned before that was found, the message says how many."""


class ContactsNotFoundError(OutboundBotContactsError):
    """The given file, folder or pattern does not exist, or contains no data file."""


class OutboundBotWrongTimeError(OutboundBotConfigError):
    """Dialling now would break a time rule. If contacts were assigned before, the message says how many."""


class OutboundBotApiError(OutboundBotError):
    """
    The API answered with an error.

    :param action: API action, e.g. ``AssignJobs``.
    :param code: The API's error code, e.g. ``NotExist.JobGroup``.
    :param detail: The API's message, already redacted.
    :param request_id: The API's request id, for a support ticket.
    :param http_status: HTTP status of the answer, if known.
    :param in_doubt: ``False`` only if the code is one of the gateway's refusals.
    """

    def __init__(
        self,
        action: str,
        code: str,
        detail: str = "",
        *,
        request_id: str | None = None,
        http_status: int | None = None,
        in_doubt: bool = True,
    ) -> None:
        self.action = action
        self.code = code
        self.detail = detail
        self.request_id = request_id
        self.http_status = http_status
        self.in_doubt = in_doubt
        request = f" (request {request_id})" if request_id else ""
        super().__init__(f"{action}: {code}{': ' if detail else ''}{detail}{request}")

    @property
    def is_transient(self) -> bool:
        """Whether the API may have acted; otherwise the answer is a refusal."""
        return self.in_doubt

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild_api_error, (
            type(self),
            (self.action, self.code, self.detail),
            {"request_id": self.request_id, "http_status": self.http_status, "in_doubt": self.in_doubt},
        )


def _rebuild_api_error(
    kind: type[OutboundBotApiError], args: tuple[str, str, str], options: dict[str, Any]
) -> OutboundBotApiError:
    """Rebuild a pickled error; pickle supports positional arguments only."""
    return kind(*args, **options)


class OutboundBotThrottlingError(OutboundBotApiError):
    """Refused for now; a retry may succeed."""

    @property
    def is_transient(self) -> bool:
        """Always."""
        return True


class OutboundBotNotFoundError(OutboundBotApiError):
    """The named instance, job group, script or job does not exist."""


class OutboundBotAuthenticationError(OutboundBotApiError):
    """The access key, signature, token or permission was refused."""


class OutboundBotAnswerError(OutboundBotApiError):
    """The answer cannot be used: HTML, missing fields, a wrong count. Whether the API acted is unknown."""


class OutboundBotTransportError(OutboundBotError):
    """No answer: whether the API acted is unknown."""

    in_doubt = True

    @property
    def is_transient(self) -> bool:
        """Always."""
        return True

    def __init__(self, action: str, detail: str) -> None:
        self.action = action
        self.detail = detail
        super().__init__(f"{action}: no answer: {detail}")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.action, self.detail)


class LedgerError(OutboundBotError):
    """The ledger cannot be used."""

    #: Whether the service had accepted a command before, which the ledger could then not record.
    is_sent: bool = False


class LedgerUnavailableError(LedgerError):
    """The ledger's database cannot be reached or written now; a retry may succeed."""

    @property
    def is_transient(self) -> bool:
        """Always."""
        return True


class LedgerAccessError(LedgerError):
    """The ledger's database refuses this user, or is not a ledger: a retry cannot succeed."""


class LedgerMissingError(LedgerError):
    """There is no ledger yet, and this process must not create one."""


class LedgerVersionError(LedgerError):
    """The ledger's schema is newer than this package, or older and this process must not migrate it."""


class LedgerKeyError(LedgerError):
    """A row cannot be decrypted with the given keys."""


class LeaseLostError(LedgerError):
    """Another process has taken over this assignment."""


class RocketMQError(OutboundBotError):
    """The broker cannot be used."""


class RocketMQClientError(RocketMQError):
    """The RocketMQ client library is missing or unusable."""


class StoppedError(OutboundBotError):
    """A person suspended or cancelled all jobs of the group during an assignment, which then assigns nobody else."""


class AssignmentUnresolvedError(OutboundBotError):
    """Some contacts are unresolved: they may or may not have been assigned."""


class JobGroupFailedError(OutboundBotError):
    """A job group ended in a way that the author does not accept."""


class JobGroupCancelledError(JobGroupFailedError):
    """The jobs to be resumed were cancelled: the service cannot resume them."""


class JobGroupTimeoutError(JobGroupFailedError):
    """A job group did not end, or suspending, resuming or cancelling jobs had no effect, in time."""


class LeaseHeldError(LedgerError):
    """
    Another process holds the lease of this assignment.

    :param until: When its lease ends unless it is renewed, aware, database time.
    """

    def __init__(self, until: datetime) -> None:
        self.until = until
        super().__init__(f"another process assigns these jobs; its lease ends at {until.isoformat(timespec='seconds')}")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.until,)


class JobGroupUnknownError(LedgerError):
    """
    The ledger does not know the group: with this ledger, nothing was assigned to it and no task waited for it.

    :param job_group_id: The group.
    """

    def __init__(self, job_group_id: str) -> None:
        self.job_group_id = job_group_id
        super().__init__(
            f"job group {job_group_id}: the ledger does not know it; check the id, and whether [outbound] ledger_url"
            " names the ledger of its campaign. If other programs assign to the group, wait with a sensor first"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.job_group_id,)


class JobGroupPurgedError(LedgerError):
    """
    The group's rows were purged from the ledger, so the group cannot be used.

    :param job_group_id: The group.
    :param purged_at: When, aware.
    """

    def __init__(self, job_group_id: str, purged_at: datetime) -> None:
        self.job_group_id = job_group_id
        self.purged_at = purged_at
        super().__init__(
            f"job group {job_group_id}: its rows were purged from the ledger at "
            f"{purged_at.isoformat(timespec='seconds')}, so it cannot be used. Its results remain in earlier "
            "exports and in the service's console. A new DAG run would call its whole list again"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.job_group_id, self.purged_at)

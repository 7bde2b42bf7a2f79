"""
Checks before the first call: what would otherwise fail only when the service dials.

What the API says is wrong is an error. What it does not say, or what these credentials may not read, stops no campaign
and is logged.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any

import attrs

from airflow_provider_outbound.core.models.phone import mask, normalise_or_digits
from airflow_provider_outbound.core.models.windows import SERVICE_ZONE
from airflow_provider_outbound.exceptions import OutboundBotConfigError, OutboundBotError

if TYPE_CHECKING:
    from airflow_provider_outbound.core.client import OutboundBotClient
    from airflow_provider_outbound.core.ledger import CallCap
    from airflow_provider_outbound.core.models.schedule import Schedule

log = logging.getLogger(__name__)

#: Statuses of a script that the service calls with. Source: ``QueryScriptsByStatus`` (2019-12-26), StatusList.
PUBLISHED = frozenset({"PUBLISHED", "PUBLISHED_AND_EXAMINE_IN_PROGRESS"})
#: Statuses of a script that was never published, or that has changes since; its history shows which.
NOT_PUBLISHED = frozenset(
    {"DRAFTED", "INITIALIZE_IN_PROGRESS", "EXAMINE_IN_PROGRESS", "IMPORT_IN_PROGRESS", "IMPORT_FAILED"}
)
#: More windows than these are not counted.
_MOST_DAYS = 100
#: Mean length of a call if the ledger knows of no call (seconds).
ASSUMED_CALL_SECONDS = 60.0


@attrs.frozen(kw_only=True)
class Checks:
    """
    Checks of what a campaign needs, by reading requests.

    :param client: The client.
    :param instance_id: The bot instance; ``None`` for the client's.
    """

    client: OutboundBotClient
    instance_id: str | None = None

    def check_script(self, script_id: str | None) -> str:
        """
        Check that a script is published.

        :return: What was found, in words.
        :raises OutboundBotConfigError: it was never published.
        """
        if not script_id:
            return "the group names no script, so whether it is published is unknown"
        script = self.client.describe_script(script_id=script_id, instance_id=self.instance_id)
        status = script.get("Status")
        if status in PUBLISHED:
            return f"script {script_id!r} is published"
        if status not in NOT_PUBLISHED:
            return f"script {script_id!r} has status {status!r}; whether a version of it is in use is unknown"
        if self.client.count_publications(script_id=script_id, instance_id=self.instance_id):
            return f"script {script_id!r} has status {status}; the service uses the version that was published last"
        raise OutboundBotConfigError(
            f"script_id: script {script_id!r} is not published (its status is {status}), so the service cannot call"
            " with it; publish it in the console. Nobody was called"
        )

    def check_calling_numbers(self, numbers: Sequence[str], field: str = "calling_numbers") -> str:
        """
        Check that numbers belong to the bot instance.

        :return: What was found, in words.
        :raises OutboundBotConfigError: one of them does not.
        """
        if not numbers:
            return ""
        known = {
            normalise_or_digits(number) for number in self.client.iter_calling_numbers(instance_id=self.instance_id)
        }
        if not known:
            return f"the API lists no numbers of the instance, so whether it has the {field} is unknown"
        foreign = [mask(number) for number in numbers if normalise_or_digits(number) not in known]
        if foreign:
            instance = self.instance_id or self.client.settings.instance_id
            raise OutboundBotConfigError(
                f"{field}: {', '.join(foreign)} does not belong to instance {instance!r}; name one of its"
                f" {len(known)} numbers, or bind it to the instance in the console. Nobody was called"
            )
        return f"all {len(numbers)} {field} belong to the instance"

    def check_before_calls(
        self, *, script_id: str | None, calling_numbers: Sequence[str] = (), recall_calling_numbers: Sequence[str] = ()
    ) -> None:
        """
        Run both checks. What cannot be checked is logged.

        :raises OutboundBotConfigError: the script is not published, or a number belongs to another instance.
        """
        _run({"script_id": lambda: self.check_script(script_id)})
        self.check_numbers(calling_numbers, recall_calling_numbers)

    def check_numbers(self, calling_numbers: Sequence[str], recall_calling_numbers: Sequence[str]) -> None:
        """
        Check that all numbers belong to the bot instance. What cannot be checked is logged.

        :raises OutboundBotConfigError: one of them does not.
        """
        _run(
            {
                "calling_numbers": lambda: self.check_calling_numbers(calling_numbers),
                "recall_calling_numbers": lambda: self.check_calling_numbers(
                    recall_calling_numbers, "recall_calling_numbers"
                ),
            }
        )


def _run(steps: Mapping[str, Callable[[], str]]) -> None:
    for field, check in steps.items():
        with _tolerant(field):
            if found := check():
                log.info("Preflight: %s", found)


@attrs.frozen(kw_only=True)
class Capacity:
    """
    Whether the calls fit into the window.

    :param people: The number of people to call.
    :param lines: The maximum number of simultaneous calls.
    :param call_seconds: Mean length of a call.
    :param window_seconds: The time that is left for dialling.
    :param is_assumed: Whether the length is an assumption, because the ledger knows of no call.
    """

    people: int
    lines: int
    call_seconds: float
    window_seconds: float
    is_assumed: bool = False

    @property
    def needed_seconds(self) -> float:
        """How long it takes to call everybody once, if all lines are always busy."""
        return self.people * self.call_seconds / self.lines

    @property
    def fits(self) -> bool:
        """Whether everybody can be called once."""
        return self.needed_seconds <= self.window_seconds

    def __str__(self) -> str:
        assumed = " (assumed)" if self.is_assumed else ""
        return (
            f"{self.people} contacts × {self.call_seconds:.3g} s per call{assumed} on {self.lines} lines take"
            f" {_hours(self.needed_seconds)}, and {_hours(self.window_seconds)} are left for dialling"
        )


def check_capacity(capacity: Capacity | str, *, required: bool) -> None:
    """
    Report whether the calls fit into the window.

    :param capacity: A text: why it is unknown.
    :param required: Whether calls that do not fit are an error; otherwise they are a warning.
    :raises OutboundBotConfigError: ``required``, and they do not fit or that is unknown.
    """
    if isinstance(capacity, str):
        if required:
            raise OutboundBotConfigError(
                f"require_capacity: whether all calls fit is unknown, because {capacity}; change that, or leave"
                " require_capacity out. Nobody was called"
            )
        return
    if capacity.fits:
        log.info("Preflight: %s", capacity)
        return
    advice = "give a longer window, fewer contacts or more lines"
    if required:
        raise OutboundBotConfigError(f"require_capacity: {capacity}; {advice}. Nobody was called")
    log.warning("Preflight: %s; the rest will not be called; %s", capacity, advice)


def warn_of_attempts(cap: CallCap, strategy: Mapping[str, Any], schedule: Schedule | None) -> None:
    """
    Warn if the service may dial a contact more than once after the call cap was checked.

    :param cap: The call cap.
    :param strategy: StrategyJson, or the strategy as the API reports it; empty for none.
    :param schedule: When the strategy dials; ``None``: at once.
    """
    # The API answers in names that begin with a capital.
    attempts = strategy.get("maxAttemptsPerDay") or strategy.get("MaxAttemptsPerDay")
    days = 1 if schedule is None else _days(schedule)
    if str(attempts) == "1" and days == 1:
        return
    often = f"up to {attempts} times a day" if attempts else "as often a day as the bot instance allows"
    log.warning(
        "max_calls_per_contact=%d is checked before contacts are assigned. Then the service may dial each of them %s%s:"
        " for a hard limit, set the strategy's max_attempts_per_day=1 and let its window end on the same day",
        cap.most,
        often,
        f", on {days if days < _MOST_DAYS else 'many'} days" if days > 1 else "",
    )


def _days(schedule: Schedule) -> int:
    """The number of the service's days on which a schedule dials; at most :data:`_MOST_DAYS`."""
    days: set[int] = set()
    for begin, end in islice(schedule.spans(), _MOST_DAYS):
        first, last = (
            moment.astimezone(SERVICE_ZONE).toordinal() for moment in (begin, end - timedelta(microseconds=1))
        )
        days.update(range(first, min(last, first + _MOST_DAYS) + 1))
    return min(len(days), _MOST_DAYS)


def dialling_seconds(schedule: Schedule, now: datetime) -> float:
    """The time that a schedule dials from now on (seconds)."""
    return sum(((end - max(begin, now)) for begin, end in schedule.spans() if end > now), timedelta()).total_seconds()


@contextmanager
def _tolerant(field: str) -> Iterator[None]:
    """Log an error of the API instead of raising it: the check has failed, not the campaign."""
    try:
        yield
    except OutboundBotConfigError:
        raise
    except OutboundBotError as error:
        log.info("Preflight: %s could not be checked: %s", field, error)


def _hours(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"

"""How fast a campaign proceeds, and when it is expected to end."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from airflow_provider_outbound.core.ledger.pages import Minute, Numbers
from airflow_provider_outbound.core.models.windows import first_uncovered
from airflow_provider_outbound.core.rules import CallingHours

#: The last minutes whose calls are the campaign's pace.
RECENT = timedelta(minutes=10)
#: How far ahead an end is looked for.
_FORESEEN = timedelta(days=60)


def calls_per_minute(minutes: Sequence[Minute], now: datetime) -> float | None:
    """The calls a minute in the last ten minutes; ``None``: no call began in them."""
    recent = [minute for minute in minutes if now - RECENT <= minute.at <= now]
    if not recent:
        return None
    length = max(1.0, (now - recent[0].at) / timedelta(minutes=1))
    return round(sum(minute.calls for minute in recent) / length, 1)


def sustained_rate(minutes: Sequence[Minute], now: datetime) -> float | None:
    """
    The calls a minute that a campaign may keep up; ``None``: it is too early to tell.

    At its beginning all lines are free, so many calls begin at once. In its first ten minutes only calls that have
    ended count: each gives its line to the next one.
    """
    if not minutes or minutes[0].at <= now - RECENT:
        return calls_per_minute(minutes, now)
    length = max(1.0, (now - minutes[0].at) / timedelta(minutes=1))
    return sum(minute.ended for minute in minutes) / length or None


def expected_end(numbers: Numbers, rate: float | None, now: datetime, hours: CallingHours | None) -> datetime | None:
    """
    When the last open job ends if the campaign continues at this rate, and needs as many calls a job as before.

    :param rate: Calls a minute.
    :param hours: Outside of these nobody is called; ``None``: calls are placed at any time.
    """
    left = numbers.total - numbers.done
    if not rate or not left or not numbers.done:
        return None
    calls_a_job = max(1.0, numbers.calls / numbers.done)
    needed = timedelta(minutes=left * calls_a_job / rate)
    if needed > _FORESEEN:
        return None
    if hours is None:
        return now + needed
    for begin, end in hours.spans(now, now + _FORESEEN):
        start = max(begin, now)
        if start + needed <= end:
            return start + needed
        needed -= max(timedelta(0), end - start)
    return None


def has_stalled(
    minutes: Sequence[Minute],
    now: datetime,
    *,
    created_at: datetime,
    starts_at: datetime | None,
    ends_at: datetime | None,
    hours: CallingHours | None,
) -> bool:
    """
    Whether no call is known for ten minutes although people may be called all that time.

    :param created_at: When the campaign was created, which counts like a call if none is known.
    :param starts_at: When its window begins; ``None``: it has none, or it is not known.
    :param ends_at: When its window ends; ``None`` as before.
    :param hours: Outside of these nobody is called; ``None``: calls are placed at any time.
    """
    begin = now - RECENT
    last = minutes[-1].at if minutes else created_at
    if last > begin or (starts_at is not None and starts_at > begin) or (ends_at is not None and ends_at <= now):
        return False
    return hours is None or first_uncovered([(begin, now)], hours.spans(begin, now)) is None


def buckets(minutes: Sequence[Minute], most: int) -> tuple[int, list[Minute]]:
    """
    Sum minutes up to at most this number of equal buckets, from the first call to the last.

    :return: The length of a bucket in seconds, and the buckets with calls.
    """
    if not minutes:
        return 60, []
    count = int((minutes[-1].at - minutes[0].at) / timedelta(minutes=1)) + 1
    length = -(-count // most)
    found: dict[int, Minute] = {}
    for minute in minutes:
        place = int((minute.at - minutes[0].at) / timedelta(minutes=length))
        before = found.get(place)
        found[place] = Minute(
            at=minutes[0].at + place * timedelta(minutes=length),
            calls=minute.calls + (before.calls if before else 0),
            ended=minute.ended + (before.ended if before else 0),
            answered=minute.answered + (before.answered if before else 0),
        )
    return 60 * length, list(found.values())

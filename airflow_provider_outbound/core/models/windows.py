"""Times of day, their time zones, and the instants that they stand for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from itertools import pairwise
from typing import Any, Self
from zoneinfo import ZoneInfo

import attrs

from airflow_provider_outbound.exceptions import OutboundBotConfigError, OutboundBotWrongTimeError

#: The service reads times of day in this zone; its documents mention no other.
SERVICE_ZONE = ZoneInfo("Asia/Shanghai")
MIDNIGHT = time(0)
_DAY = timedelta(days=1)
#: A fraction of an hour or of a minute.
_FRACTION = re.compile(r"T?\d\d(:?\d\d)?[.,]")

#: From the first instant until just before the second, UTC.
Span = tuple[datetime, datetime]


@attrs.frozen(kw_only=True)
class Window:
    """Times of day between which phones may ring. An ``end`` of midnight means the end of the day, ``24:00``."""

    begin: time
    end: time

    @classmethod
    def parse(cls, value: Any, field: str) -> Self:
        """
        Read ``("09:00", "12:00")``; seconds are optional, and ``24:00`` ends a day.

        :param field: Name of the argument, for the error.
        :raises OutboundBotConfigError: these are not two times of day, or they are not in order.
        """
        if isinstance(value, Window):
            return cls(begin=value.begin, end=value.end)
        if isinstance(value, str) or not isinstance(value, Sequence) or len(value) != 2:
            raise OutboundBotConfigError(f'{field}: {value!r} is not a pair such as ("09:00", "12:00")')
        begin = _time_of_day(value[0], field)
        if begin.microsecond:
            raise OutboundBotConfigError(f"{field}: {value[0]!r} has a fraction of a second; give whole seconds")
        if _is_end_of_day(value[1]):
            return cls(begin=begin, end=MIDNIGHT)
        end = _time_of_day(value[1], field).replace(microsecond=0)
        if begin >= end:
            hint = "write the end of a day as 24:00" if end == MIDNIGHT else "write a window across midnight as two"
            raise OutboundBotConfigError(f"{field}: {begin:%H:%M:%S} is not before {end:%H:%M:%S}; {hint}")
        return cls(begin=begin, end=end)

    @classmethod
    def between(cls, begin: datetime, end: datetime) -> Self:
        """Return the window between two instants of one day in their zone; ``end`` may be the next midnight."""
        return cls(begin=begin.time(), end=end.time())

    def span(self, day: date, zone: tzinfo) -> Span:
        """Return the instants between which this window is open on a day."""
        begin, end = self._edges(day)
        return _instant(begin, zone), _instant(end, zone)

    def certain_span(self, day: date, zone: tzinfo) -> Span:
        """As :meth:`span`; at a clock change, only the part that every reading covers, which may be empty."""
        begin, end = self._edges(day)
        return max(_readings(begin, zone)), min(_readings(end, zone))

    def possible_span(self, day: date, zone: tzinfo) -> Span:
        """As :meth:`span`; at a clock change, everything that any reading covers."""
        begin, end = self._edges(day)
        return min(_readings(begin, zone)), max(_readings(end, zone))

    def check_edges(self, day: date, zone: ZoneInfo, field: str) -> None:
        """
        Refuse a time of day that a clock change skips or repeats on a day.

        :raises OutboundBotConfigError: names the time, the day and the zone.
        """
        for edge in self._edges(day):
            earliest, *latest = sorted(_readings(edge, zone))
            if latest and earliest != latest[0]:
                is_gap = _instant(edge, zone).astimezone(zone).replace(tzinfo=None) != edge
                raise OutboundBotConfigError(
                    f"{field}: {edge:%H:%M} {'does not exist' if is_gap else 'occurs twice'} on {edge:%Y-%m-%d} in "
                    f"{zone.key}, because the clocks change; choose a time outside that hour. Nobody was called"
                )

    def _edges(self, day: date) -> tuple[datetime, datetime]:
        # Without a zone: local time.
        last_day = day + _DAY if self.end == MIDNIGHT else day
        return datetime.combine(day, self.begin), datetime.combine(last_day, self.end)

    def __str__(self) -> str:
        return f"{self.begin:%H:%M}-{'24:00' if self.end == MIDNIGHT else f'{self.end:%H:%M}'}"


def _instant(wall: datetime, zone: tzinfo, fold: int = 0) -> datetime:
    return wall.replace(tzinfo=zone, fold=fold).astimezone(UTC)


def _readings(wall: datetime, zone: tzinfo) -> tuple[datetime, ...]:
    """Return the instants that a local time may stand for. Midnight is the start of its day, so it has only one."""
    if wall.time() == MIDNIGHT:
        return (_instant(wall, zone),)
    return _instant(wall, zone), _instant(wall, zone, fold=1)


def _is_end_of_day(value: Any) -> bool:
    return isinstance(value, str) and value.strip() in ("24:00", "24:00:00")


def _time_of_day(value: Any, field: str) -> time:
    hint = f'{field}: {value!r} is not a time of day such as "09:00"'
    # Refuse numbers: YAML reads 20:00 as the number 1200, and Python reads the text 1200 as noon.
    if _is_end_of_day(value) or not isinstance(value, time | str):
        raise OutboundBotConfigError(hint)
    if isinstance(value, str) and _FRACTION.match(value.strip()):
        # Python reads 09.30 as nine o'clock.
        raise OutboundBotConfigError(hint)
    try:
        parsed = value if isinstance(value, time) else time.fromisoformat(value.strip())
    except ValueError:
        raise OutboundBotConfigError(hint) from None
    if parsed.tzinfo is not None:
        raise OutboundBotConfigError(f"{field}: {value!r} has a zone; omit it, and pass timezone")
    return parsed


def refuse_past(ends_at: datetime, now: datetime, whose: str, hint: str) -> None:
    """
    Refuse to dial in a window that is over.

    :param ends_at: When the window ends, aware.
    :param whose: Whose window it is, for the error: ``the strategy's``.
    :param hint: What to do instead.
    :raises OutboundBotWrongTimeError: ``now`` is not before ``ends_at``.
    """
    if ends_at <= now:
        raise OutboundBotWrongTimeError(
            f"{whose} window was over at {ends_at.isoformat(timespec='minutes')}; {hint}. Nobody was called"
        )


def parse_windows(value: Any, field: str = "working_time") -> tuple[Window, ...]:
    """
    Read a list of windows of one day, in any order.

    :param field: Name of the argument, for the error.
    :raises OutboundBotConfigError: there is none, one cannot be read, or two overlap.
    """
    if isinstance(value, str) or not isinstance(value, Sequence) or not value:
        raise OutboundBotConfigError(
            f'{field}: {value!r} is not a list of windows such as [("09:00", "12:00")]; '
            "nobody is called without a window"
        )
    windows = tuple(sorted((Window.parse(item, field) for item in value), key=lambda window: window.begin))
    for earlier, later in pairwise(windows):
        if earlier.end == MIDNIGHT or later.begin < earlier.end:
            raise OutboundBotConfigError(f"{field}: {earlier} and {later} overlap; write them as one")
    return windows


def parse_zone(value: Any, field: str = "timezone") -> ZoneInfo:
    """
    Read the name of a time zone.

    :raises OutboundBotConfigError: this machine has no such zone.
    """
    if isinstance(value, ZoneInfo):
        return value
    try:
        # These two files are on most machines: the first is each machine's own zone, the second says "not configured".
        if str(value) in ("localtime", "Factory"):
            raise ValueError
        return ZoneInfo(str(value))
    except (KeyError, ValueError, OSError):
        raise OutboundBotConfigError(
            f'{field}: {value!r} is not the name of a time zone such as "Asia/Shanghai"'
        ) from None


def merge(spans: Iterable[Span]) -> Iterator[Span]:
    """
    Join spans that overlap or touch, and omit empty ones.

    :param spans: Sorted by their beginnings.
    """
    current: Span | None = None
    for begin, end in spans:
        if begin >= end:
            continue
        if current is None:
            current = begin, end
        elif begin <= current[1]:
            current = current[0], max(current[1], end)
        else:
            yield current
            current = begin, end
    if current is not None:
        yield current


def first_uncovered(spans: Iterable[Span], allowed: Iterable[Span]) -> Span | None:
    """
    Return the first part of ``spans`` that ``allowed`` does not cover; ``None`` if it covers all.

    Both must be as :func:`merge` returns them.
    """
    rest = iter(allowed)
    current = next(rest, None)
    for begin, end in spans:
        while begin < end:
            while current is not None and current[1] <= begin:
                current = next(rest, None)
            if current is None or begin < current[0]:
                return begin, end if current is None else min(end, current[0])
            begin = current[1]  # covered until here
    return None

"""
Faults that a test can switch on.

Each is a JSON object under its name; ``true`` stands for ``{}``, a number for ``{"seconds": number}`` in faults that
take seconds and for ``{"times": number}`` in the others. Common options: ``times`` (how often it occurs; default:
always), ``probability`` (default 1), ``actions`` (which actions API and listing faults affect; default: all suitable).

API, before acting
    ``throttle``: HTTP 400 Throttling.User (the status is the general gateway's; this product's is not documented).
    ``status_500``, ``status_502``, ``status_503``: an error as JSON. ``html``: HTTP 502 with a page.
    ``reset``: the connection is reset.
API, after acting
    ``answer_lost``: the connection closes unanswered. ``late`` (``seconds``): it closes, then the service acts.
    ``success_false`` (``acts``, default true): HTTP 200 with ``Success: false``.
    ``throttle_503`` (``acts``, default true): HTTP 503 with the code Throttling.User, as from a gateway that gave up.
    ``partial_batch``: a random part of the jobs is accepted, then HTTP 500.
    ``ids_shuffled``: AssignJobs' job ids come in random order.
    ``change_ignored``: ModifyJobGroup reports success, and nothing was changed.
Listings
    ``listing_lag`` (``seconds``): jobs appear in listings and progress that much later.
    ``listing_reshuffle``: the order is different in every answer.
    ``latest_task_missing``: QueryJobsWithResult omits the contact and call of a job that was never called; whether the
    service does so is not documented.
    ``job_left_out``: ListJobs leaves out the first of the jobs that it was asked for.
    ``tags_renamed``: QueryJobsWithResult names tags differently from DescribeJob; whether they agree is not documented.
    ``numbers_masked``: phone numbers appear as ``138****8000``. ``plus_dropped``: they appear without ``+``.
    ``completed_counts_ended``: TotalCompleted counts every ended job instead of the succeeded ones; the service's
    documentation does not say which of the two it counts.
Instance
    ``script_unpublished``: DescribeScript and ListScripts show drafts that were never published.
    ``concurrency_missing``: DescribeInstance does not name the number of lines.
Messages (``event_types``: which are affected; default: all)
    ``messages_doubled`` (``new_event_time``, default false): the same body again with a new message id.
    ``messages_late`` (``seconds``). ``messages_reordered`` (``seconds``: within how long, default 1).
    ``messages_withheld``: never published.
Recordings, when they are downloaded
    ``recording_missing``: HTTP 404. ``recording_wrong_type``: a page instead of sound. ``recording_truncated``: the
    connection closes half way. ``recording_slow`` (``seconds``): the download takes that long.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import attrs

_ACTING = frozenset({"AssignJobs"})
_LISTINGS = frozenset({"ListJobsByGroup", "QueryJobsWithResult"})
#: Fault name → the actions it affects by default; ``None``: all.
_DEFAULT_ACTIONS: Mapping[str, frozenset[str] | None] = {
    "throttle": None,
    "status_500": None,
    "status_502": None,
    "status_503": None,
    "html": None,
    "reset": None,
    "answer_lost": None,
    "late": None,
    "success_false": None,
    "throttle_503": None,
    "partial_batch": _ACTING,
    "ids_shuffled": _ACTING,
    "change_ignored": frozenset({"ModifyJobGroup"}),
    "listing_lag": None,
    "listing_reshuffle": _LISTINGS,
    "latest_task_missing": None,
    "job_left_out": None,
    "tags_renamed": None,
    "numbers_masked": None,
    "plus_dropped": None,
    "completed_counts_ended": None,
    "script_unpublished": None,
    "concurrency_missing": None,
    "messages_doubled": None,
    "messages_late": None,
    "messages_reordered": None,
    "messages_withheld": None,
    "recording_missing": None,
    "recording_wrong_type": None,
    "recording_truncated": None,
    "recording_slow": None,
}
_DEFAULT_SECONDS: Mapping[str, float] = {
    "late": 1.0,
    "listing_lag": 2.0,
    "messages_late": 2.0,
    "messages_reordered": 1.0,
    "recording_slow": 1.0,
}
_OPTIONS = frozenset({"times", "probability", "actions", "seconds", "acts", "new_event_time", "event_types"})


@attrs.define(kw_only=True)
class Fault:
    """One active fault."""

    times: int | None = None
    probability: float = 1.0
    actions: frozenset[str] | None = None
    seconds: float = 0.0
    #: Whether ``success_false`` and ``throttle_503`` act before they answer.
    acts: bool = True
    #: Whether the copy of a message has a different event time.
    new_event_time: bool = False
    event_types: frozenset[str] | None = None
    #: How often it occurred.
    struck: int = 0


class Faults:
    """
    The active faults.

    :param rng: random generator for probabilities.
    """

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self._faults: dict[str, Fault] = {}

    def update(self, wanted: Mapping[str, Any]) -> None:
        """
        Switch faults on; faults that are not named do not change.

        ``false`` or ``null`` switches a fault off, an empty object all faults.

        :raises ValueError: an unknown fault or option; nothing was changed.
        """
        if not wanted:
            self.clear()
            return
        parsed = {name: _parse(name, value) for name, value in wanted.items()}
        for name, fault in parsed.items():
            if fault is None:
                self._faults.pop(name, None)
            else:
                self._faults[name] = fault

    def clear(self) -> None:
        """Switch every fault off."""
        self._faults.clear()

    def strikes(self, name: str, *, action: str | None = None, event_type: str | None = None) -> Fault | None:
        """Draw whether fault ``name`` occurs now, and count it if so."""
        fault = self._faults.get(name)
        if fault is None or fault.times == 0:
            return None
        if fault.actions is not None and action is not None and action not in fault.actions:
            return None
        if fault.event_types is not None and event_type is not None and event_type not in fault.event_types:
            return None
        if fault.probability < 1 and self.rng.random() >= fault.probability:
            return None
        if fault.times is not None:
            fault.times -= 1
        fault.struck += 1
        return fault

    def state(self) -> dict[str, Any]:
        """The active faults as JSON, with how often each occurred."""
        return {
            name: {
                key: sorted(value) if isinstance(value, frozenset) else value
                for key, value in attrs.asdict(fault).items()
                if value is not None
            }
            for name, fault in self._faults.items()
        }


def _parse(name: str, value: Any) -> Fault | None:
    if name not in _DEFAULT_ACTIONS:
        raise ValueError(f"unknown fault {name!r}; known: {', '.join(_DEFAULT_ACTIONS)}")
    if value is None or value is False:
        return None
    if value is True:
        value = {}
    elif isinstance(value, int | float):
        value = {"seconds" if name in _DEFAULT_SECONDS else "times": value}
    if not isinstance(value, Mapping):
        raise ValueError(  # noqa: TRY004  # of the caller's JSON
            f"fault {name!r} is neither an object, a number nor true"
        )
    unknown = set(value) - _OPTIONS
    if unknown:
        raise ValueError(f"fault {name!r} has unknown options {sorted(unknown)}; known: {', '.join(sorted(_OPTIONS))}")
    actions = value.get("actions")
    event_types = value.get("event_types")
    return Fault(
        times=None if value.get("times") is None else int(value["times"]),
        probability=float(value.get("probability", 1.0)),
        actions=_DEFAULT_ACTIONS[name] if actions is None else frozenset(actions),
        seconds=float(value.get("seconds", _DEFAULT_SECONDS.get(name, 0.0))),
        acts=bool(value.get("acts", True)),
        new_event_time=bool(value.get("new_event_time", False)),
        event_types=None if event_types is None else frozenset(event_types),
    )

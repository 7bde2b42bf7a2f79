"""The author's options for an assignment, validated."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Literal

import attrs
from attrs.validators import optional

from airflow_provider_outbound.core.assign.screening import DedupeBy
from airflow_provider_outbound.core.client import MAX_JOBS_PER_REQUEST
from airflow_provider_outbound.core.contacts import PathLike
from airflow_provider_outbound.core.ledger import CallCap
from airflow_provider_outbound.core.reconcile import LEASE_SECONDS
from airflow_provider_outbound.exceptions import OutboundBotConfigError


def _within(least: float, most: float, *, whole: bool = False) -> Callable[[Any, attrs.Attribute[Any], Any], None]:
    def check(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
        kinds = (int,) if whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds) or not least <= value <= most:
            kind = "a whole number" if whole else "a number"
            raise OutboundBotConfigError(f"{attribute.name}: {value!r} is not {kind} from {least:g} to {most:g}")

    return check


def _one_of(*words: str) -> Callable[[Any, attrs.Attribute[Any], Any], None]:
    def check(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
        if value not in words:
            raise OutboundBotConfigError(f"{attribute.name}: {value!r} is not one of {', '.join(map(repr, words))}")

    return check


@attrs.frozen(kw_only=True)
class AssignOptions:
    """
    Options of an assignment.

    :param dedupe_by: What must be unique in the group: the number, or the caller's reference id.
    :param on_invalid: ``fail``: read the complete source before sending, and send nothing if a row is not a contact;
        ``skip``: leave such rows out.
    :param batch_size: Contacts in one request.
    :param max_parallel_requests: Maximum number of requests in flight.
    :param settle_seconds: How long after a request without an answer its jobs may still appear in the group.
    :param on_unresolved: What to do with contacts that did not appear: ``resend`` sends them again, and fails if they
        are not accepted then; ``hold`` only reports them.
    :param excluded: Numbers that must not be called, E.164.
    :param allowed: If not ``None``, the only numbers that may be called, E.164.
    :param max_jobs: Maximum number of contacts that this assignment adds to the group; ``None`` for no limit.
    :param cap: How often one person may be called.
    :param rejects_path: Where to write who is left out, and why, with masked numbers.
    :param lease_seconds: How long the assignment stays taken after its process died.
    :param run_started_at: When the DAG run started, aware: a command that cancelled the group since then holds for this
        assignment too. ``None`` if that is not known.
    :raises OutboundBotConfigError: a value is out of range.
    """

    dedupe_by: DedupeBy = attrs.field(default="phone", validator=_one_of("phone", "reference_id"))
    on_invalid: Literal["fail", "skip"] = attrs.field(default="fail", validator=_one_of("fail", "skip"))
    batch_size: int = attrs.field(default=25, validator=_within(1, MAX_JOBS_PER_REQUEST, whole=True))
    max_parallel_requests: int = attrs.field(default=8, validator=_within(1, 64, whole=True))
    settle_seconds: float = attrs.field(default=120.0, validator=_within(0, 3600))
    on_unresolved: Literal["resend", "hold"] = attrs.field(default="resend", validator=_one_of("resend", "hold"))
    excluded: frozenset[str] = attrs.field(default=frozenset(), repr=False)
    allowed: frozenset[str] | None = attrs.field(default=None, repr=False)
    max_jobs: int | None = attrs.field(default=None, validator=optional(_within(1, 1_000_000_000, whole=True)))
    cap: CallCap | None = None
    rejects_path: PathLike | None = None
    lease_seconds: float = LEASE_SECONDS
    run_started_at: datetime | None = None

"""Messages of the service, and their way into a ledger."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from airflow_provider_outbound.core.ledger import Incoming, Ledger, Recorded

#: The moment of a message that names no other, in milliseconds.
T0 = 1_700_000_000_000


def call(task_id: str, status: str = "SucceededFinish", at: int | None = T0, **fields: Any) -> dict[str, Any]:
    """A call in a message."""
    return {"id": task_id, "status": status, "actualTime": at, **fields}


def job_complete(
    group: str,
    job: str,
    phone: str | None,
    reference: str | None,
    *calls: Mapping[str, Any],
    at: int = T0,
    name: str | None = None,
    extras: Mapping[str, str] | None = None,
    **fields: Any,
) -> dict[str, Any]:
    """
    The message that a job is complete.

    :param at: Its moment, in milliseconds.
    :param fields: Fields that it has besides, or has another value in; by default the job succeeded.
    """
    return {
        "eventType": "JobComplete",
        "eventTime": at,
        "groupId": group,
        "id": job,
        "status": "Succeeded",
        "contacts": [{"phoneNumber": phone, "referenceId": reference, "name": name}],
        "extras": [{"key": key, "value": value} for key, value in (extras or {}).items()],
        "tasks": calls,
        **fields,
    }


def encoded(message: Mapping[str, Any]) -> bytes:
    """A message as the service sends it."""
    return json.dumps(message).encode()


def incoming(message: Mapping[str, Any] | bytes, *, topic: str = "t") -> Incoming:
    """A message as a collector receives it."""
    return Incoming(body=message if isinstance(message, bytes) else encoded(message), message_id="m", topic=topic)


def store(ledger: Ledger, *messages: Mapping[str, Any] | bytes, topic: str = "t") -> Recorded:
    """Store messages, as a collector does."""
    return ledger.inbox.record([incoming(message, topic=topic) for message in messages])

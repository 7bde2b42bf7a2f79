"""A ledger, and messages that fill it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_outbound.core.ledger import Incoming, Ledger, open_ledger

KEY = "dGVzdHMtb25seS1rZXktb2YtMzItYnl0ZXMtISEhISE="
GROUP = "group-1"


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with open_ledger(f"sqlite:///{tmp_path}/ledger.db", [KEY]) as opened:
        yield opened


@pytest.fixture
def tell(ledger: Ledger) -> Callable[..., None]:
    """Stores a message about person ``number``'s job, as a collector does; by default it ended unanswered."""

    def tell(
        number: int,
        call: str | None = "NoAnswer",
        *,
        group: str = GROUP,
        reference: str | None = None,
        status: str = "Failed",
        reason: str | None = None,
        event: str = "JobComplete",
        at: int = 0,
        phone: str | None = "",
    ) -> None:
        reference = reference or f"r-{number:04}"
        moment = 1_700_000_000_000 + at
        body: dict[str, Any] = {
            "eventType": event,
            "eventTime": moment,
            "groupId": group,
            "id": f"{group}-job-{reference}",
            "status": status,
            "failureReason": reason,
            "contacts": [{"phoneNumber": f"1380000{number:04}" if phone == "" else phone, "referenceId": reference}],
            "extras": [],
            "tasks": []
            if call is None
            else [{"id": f"{group}-{reference}-{at}", "status": call, "actualTime": moment, "endTime": moment}],
        }
        ledger.inbox.record([Incoming(body=json.dumps(body).encode(), message_id=reference, topic="t")])

    return tell

"""A ledger, and messages that fill it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import messages
from support.campaigns import KEY
from support.messages import job_complete, store

from airflow_provider_outbound.core.ledger import Ledger, open_ledger

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
        moment = messages.T0 + at
        job = job_complete(
            group,
            f"{group}-job-{reference}",
            f"1380000{number:04}" if phone == "" else phone,
            reference,
            *([] if call is None else [messages.call(f"{group}-{reference}-{at}", call, moment, endTime=moment)]),
            at=moment,
            eventType=event,
            status=status,
            failureReason=reason,
        )
        store(ledger, job)

    return tell

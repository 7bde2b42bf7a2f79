"""A campaign to assign: simulator, real client, real ledger."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
import pytest
from support.simulated import client_of

from airflow_provider_outbound.core.assign import AssignOptions, AssignResult, Request, assign
from airflow_provider_outbound.core.client import OutboundBotClient
from airflow_provider_outbound.core.contacts import from_items
from airflow_provider_outbound.core.ledger import Ledger, TaskKey, open_ledger
from airflow_provider_outbound.exceptions import AssignmentUnresolvedError
from airflow_provider_outbound.simulator.testing import Simulator

KEY = "dGVzdHMtb25seS1rZXktb2YtMzItYnl0ZXMtISEhISE="


@attrs.define(kw_only=True)
class Campaign:
    """One job group in the simulator, and the means to assign to it."""

    simulator: Simulator
    client: OutboundBotClient
    ledger: Ledger
    job_group_id: str
    key: TaskKey = attrs.field(factory=lambda: TaskKey("dag", "run", "assign"))

    def assign(
        self,
        contacts: Any,
        *,
        key: TaskKey | None = None,
        guard: Callable[[Any], None] | None = None,
        **options: Any,
    ) -> AssignResult:
        """Assign a list, or a source, with settings that fit a test."""
        source = from_items(contacts) if isinstance(contacts, Sequence) else contacts
        fitting = {"settle_seconds": 0.5, "batch_size": 5, "max_parallel_requests": 4, "lease_seconds": 6.0}
        return assign(
            self.client,
            self.ledger,
            key or self.key,
            source,
            request=Request(job_group_id=self.job_group_id),
            options=AssignOptions(**{**fitting, **options}),
            guard=guard or (lambda _: None),
        )

    def finish(self, contacts: Any, *, tries: int = 8, **options: Any) -> AssignResult:
        """Try until a try leaves nothing unresolved, as Airflow does: what is sent again may fail again."""
        for _ in range(tries - 1):
            with suppress(AssignmentUnresolvedError):
                return self.assign(contacts, **options)
        return self.assign(contacts, **options)

    def jobs_per_number(self) -> Counter[str]:
        """How many jobs each number has, by the simulator's own account."""
        return Counter({number: len(ids) for number, ids in self.simulator.state()["jobs_per_number"].items()})

    def each_once(self, contacts: Sequence[str]) -> bool:
        """Whether exactly these numbers have a job, and one each."""
        return self.jobs_per_number() == Counter(dict.fromkeys(contacts, 1))


def make_client(simulator: Simulator, *, connect_timeout: float = 0.5, read_timeout: float = 1.0) -> OutboundBotClient:
    return client_of(simulator.ready, connect_timeout=connect_timeout, read_timeout=read_timeout)


@pytest.fixture
def numbers() -> Callable[[int], list[str]]:
    return lambda count: [f"138{index:08d}" for index in range(count)]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with open_ledger(f"sqlite:///{tmp_path}/ledger.db", [KEY]) as opened:
        yield opened


@pytest.fixture
def make_campaign(ledger: Ledger) -> Callable[[Simulator], Campaign]:
    """Makes a campaign of a simulator."""

    def make(simulator: Simulator) -> Campaign:
        client = make_client(simulator)
        group = client.create_job_group(job_group_name="tests", script_id=simulator.script_id)
        return Campaign(simulator=simulator, client=client, ledger=ledger, job_group_id=group.job_group_id)

    return make


@pytest.fixture
def campaign(simulator: Simulator, make_campaign: Callable[[Simulator], Campaign]) -> Campaign:
    return make_campaign(simulator)

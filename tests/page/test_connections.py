"""An answer of the page needs one connection to the ledger at a time, so that few serve many people."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import event

from airflow_provider_outbound.page.ledger import shared

pytestmark = [pytest.mark.xdist_group("page"), pytest.mark.filterwarnings("ignore")]


def test_no_answer_holds_two_connections(ask: Callable[..., Any], campaigns: Any) -> None:
    held, most = 0, 0

    def take(*_: object) -> None:
        nonlocal held, most
        held += 1
        most = max(most, held)

    def give_back(*_: object) -> None:
        nonlocal held
        held -= 1

    pool = shared.get().engine.pool
    event.listen(pool, "checkout", take)
    event.listen(pool, "checkin", give_back)
    reference = campaigns["running"][0]
    for path in (
        "campaigns",
        "campaigns/running",
        "campaigns/running/jobs?outcome=answered",
        f"campaigns/running/jobs/{reference}",
        "campaigns/running/actions/cancel",
        "health",
        "quarantine",
    ):
        assert ask("admin", path).status_code == 200, path
        assert (most, held) == (1, 0), path
    assert ask("admin", "person/search", {"phone_number": "13800000000"}).status_code == 200
    assert (most, held) == (1, 0)

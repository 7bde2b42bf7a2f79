"""A follow-up is given each row until it has handled it, and nobody it must not reach."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import pytest

from airflow_provider_outbound.core.follow_up import follow_up
from airflow_provider_outbound.core.ledger import Ledger
from airflow_provider_outbound.exceptions import OutboundBotConfigError

GROUP = "group-1"
Tell = Callable[..., None]


def references(ledger: Ledger, name: str = "sms", only: str | None = "unanswered", group: str = GROUP) -> list[str]:
    """Handle whatever is left."""
    return [row.reference_id for row in follow_up(ledger, group, name, only)]


def test_what_was_handled_is_not_given_again_and_what_came_since_is(ledger: Ledger, tell: Tell) -> None:
    tell(1)
    tell(2, "SucceededFinish", status="Succeeded")
    tell(3)

    assert references(ledger) == ["r-0001", "r-0003"]
    assert references(ledger) == []

    tell(0)

    assert references(ledger) == ["r-0000"]


def test_two_names_are_two_follow_ups_and_two_groups_too(ledger: Ledger, tell: Tell) -> None:
    tell(1)
    tell(1, group="group-2")

    assert references(ledger, "sms") == references(ledger, "mail") == references(ledger, "sms", group="group-2")
    assert references(ledger, "sms", group="group-2") == []


def test_a_row_that_a_consumer_did_not_come_back_from_is_given_again(ledger: Ledger, tell: Tell) -> None:
    for number in range(3):
        tell(number)

    def fail() -> None:
        for row in follow_up(ledger, GROUP, "sms"):
            if row.reference_id == "r-0001":
                raise RuntimeError("the gateway is out of order")

    with pytest.raises(RuntimeError):
        fail()
    for _ in follow_up(ledger, GROUP, "sms"):
        break

    assert references(ledger) == ["r-0001", "r-0002"]


def test_every_row_comes_at_least_once_however_often_consumers_die(ledger: Ledger, tell: Tell) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    for number in range(250):
        tell(number)
    given: Counter[str] = Counter()
    deaths, ended = 0, False

    while not ended:
        ended = True
        for row in follow_up(ledger, GROUP, "sms"):
            given[row.reference_id] += 1
            if rng.random() < 0.05:
                deaths += 1
                ended = False
                break

    assert sorted(given) == [f"r-{number:04}" for number in range(250)]
    assert given.total() == 250 + deaths


def test_a_job_that_completes_again_is_not_given_again(ledger: Ledger, tell: Tell) -> None:
    tell(1)
    tell(2, "SucceededFinish", status="Succeeded")
    assert references(ledger, only=None) == ["r-0001", "r-0002"]

    tell(1, "Busy", at=5000)
    tell(2, at=5000)

    assert next(iter(follow_up(ledger, GROUP, "another", None))).revision == 2
    assert references(ledger, only=None) == []


def test_a_job_that_has_not_ended_is_not_given_yet(ledger: Ledger, tell: Tell) -> None:
    tell(1, event="CallFinished", status="Scheduling")

    assert references(ledger, only=None) == references(ledger, only="NoAnswer") == []

    tell(1, at=5000)

    assert references(ledger, only="NoAnswer") == ["r-0001"]


@pytest.mark.parametrize("only", ["unanswered", "NoAnswer"])
def test_nobody_on_a_block_list_is_among_the_unanswered(ledger: Ledger, tell: Tell, only: str) -> None:
    tell(1)
    tell(2, "ContactBlockList", reason="ContactBlockList")
    tell(3, None, reason="TimeUp")
    # 4 did not answer, and was refused at the second attempt.
    tell(4, event="CallFinished", status="Scheduling")
    tell(4, "ContactBlockList", reason="ContactBlockList", at=9000)
    # 5 did not answer, and was found to be on the list by a later campaign; in writing of another form.
    tell(5)
    tell(5, "ContactBlockList", group="group-2", reason="ContactBlockList", at=9000, phone="+86 138-0000-0005")
    # 6 was on the list of one bot, and was called by another later: that takes nothing back.
    tell(6, at=9000)
    tell(6, "ContactBlockList", group="group-2", reason="ContactBlockList")
    # 7 has two jobs in the group, one of them refused.
    tell(7)
    tell(7, "ContactBlockList", reference="r-0007-again", reason="ContactBlockList", at=9000)

    assert references(ledger, only=only) == ["r-0001"]


def test_what_is_asked_for_otherwise_is_given_to_its_last_row(ledger: Ledger, tell: Tell) -> None:
    tell(1)
    tell(1, "ContactBlockList", group="group-2", reason="ContactBlockList", at=9000)

    assert references(ledger, "crm", None) == ["r-0001"]
    assert references(ledger, "crm", "ContactBlockList", "group-2") == ["r-0001"]


@pytest.mark.parametrize(
    ("name", "only", "field"),
    [
        pytest.param("", "unanswered", "name", id="no-name"),
        pytest.param("x" * 129, "unanswered", "name", id="long-name"),
        pytest.param("outbound:mine", "unanswered", "name", id="our-own-names"),
        pytest.param("sms", "unaswered", "only", id="only"),
    ],
)
def test_what_cannot_be_asked_for_is_said_before_the_first_row(
    ledger: Ledger, name: str, only: str, field: str
) -> None:
    with pytest.raises(OutboundBotConfigError, match=field):
        follow_up(ledger, GROUP, name, only)

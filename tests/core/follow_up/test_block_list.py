"""Who asked not to be called is put on the service's list, once, and is called no more."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support.simulated import client_of

from airflow_provider_outbound.core.client import OutboundBotClient
from airflow_provider_outbound.core.follow_up import follow_up, save_block_list
from airflow_provider_outbound.core.ledger import Ledger
from airflow_provider_outbound.exceptions import OutboundBotApiError
from airflow_provider_outbound.simulator.testing import Simulator

GROUP = "group-1"
HUNG_UP = "SucceededClientHangUp"
Tell = Callable[..., None]


@pytest.fixture
def client(simulator: Simulator) -> OutboundBotClient:
    return client_of(simulator.ready)


def blocked(simulator: Simulator) -> set[str]:
    return simulator.run(lambda cloud: set(cloud.block_list))


def requests(simulator: Simulator) -> int:
    return int(simulator.state()["requests"].get("SaveContactBlockList", 0))


def test_a_repeat_sends_only_those_that_came_since(
    simulator: Simulator, client: OutboundBotClient, ledger: Ledger, tell: Tell
) -> None:
    for number in range(120):
        tell(number, HUNG_UP, status="Succeeded")
    tell(200)

    first = save_block_list(client, ledger, GROUP, only=HUNG_UP, remark="asked")
    again = save_block_list(client, ledger, GROUP, only=HUNG_UP)
    tell(300, HUNG_UP, status="Succeeded")
    later = save_block_list(client, ledger, GROUP, only=HUNG_UP)

    assert (first.saved, again.saved, later.saved) == (120, 0, 1)
    assert blocked(simulator) == {f"1380000{number:04}" for number in [*range(120), 300]}
    assert requests(simulator) == 3 + 1  # 50, 50, 20 and 1
    entry = simulator.run(lambda cloud: dict(cloud.block_list["13800000007"]))
    assert (entry["Remark"], entry["Name"], entry["InstanceId"]) == ("asked", "", simulator.instance_id)


def test_after_a_failure_all_whose_fate_is_unknown_are_sent_again(
    simulator: Simulator, client: OutboundBotClient, ledger: Ledger, tell: Tell
) -> None:
    for number in range(80):
        tell(number, HUNG_UP, status="Succeeded")
    simulator.faults(success_false={"actions": ["SaveContactBlockList"], "times": 1})

    with pytest.raises(OutboundBotApiError):
        save_block_list(client, ledger, GROUP, only=HUNG_UP)
    saved_before_the_answer = blocked(simulator)
    rest = save_block_list(client, ledger, GROUP, only=HUNG_UP)

    assert len(saved_before_the_answer) == 50
    assert rest.saved == len(blocked(simulator)) == 80


def test_nobody_put_on_the_list_is_texted_by_a_follow_up(client: OutboundBotClient, ledger: Ledger, tell: Tell) -> None:
    tell(1)
    tell(1, HUNG_UP, group="group-2", status="Succeeded", at=9000)
    tell(2)

    save_block_list(client, ledger, "group-2", only=HUNG_UP)

    assert [row.reference_id for row in follow_up(ledger, GROUP, "sms")] == ["r-0002"]


def test_whose_number_is_not_known_is_counted_and_tried_again(
    client: OutboundBotClient, ledger: Ledger, tell: Tell
) -> None:
    tell(1, HUNG_UP, status="Succeeded", phone=None)
    tell(2, HUNG_UP, status="Succeeded")

    first = save_block_list(client, ledger, GROUP, only=HUNG_UP)
    again = save_block_list(client, ledger, GROUP, only=HUNG_UP)

    assert (first.saved, first.unnamed) == (1, 1)
    assert (again.saved, again.unnamed) == (0, 1)

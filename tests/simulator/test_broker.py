"""The broker stand-in as Apache's SimpleConsumer and Producer meet it, bad habits included."""

from __future__ import annotations

import json
import time
from functools import partial

import pytest
from support.grpc_client import once_started
from support.vendor_clients import ClassicSdk, MakeConsumer

from airflow_provider_outbound.core.rocketmq.grpc import load_client
from airflow_provider_outbound.simulator.testing import Simulator

CODE_LOST = "50001"


def test_all_five_events_arrive_in_the_guides_shape(
    simulator: Simulator, sdk: ClassicSdk, make_consumer: MakeConsumer
) -> None:
    group = sdk.create_group()
    (answered,) = sdk.assign(group, "13800000000")
    events = make_consumer(simulator).events(5)

    by_type = {event["eventType"]: event for event in events}
    complete, recording = by_type["JobComplete"], by_type["RecordingReady"]

    assert set(by_type) == {"Dialing", "CallAnswered", "CallFinished", "JobComplete", "RecordingReady"}
    assert set(complete) == {
        "eventType", "eventTime", "instanceId", "groupId", "id", "status", "extras", "contacts", "tasks"
    }  # fmt: skip
    assert (complete["groupId"], complete["id"], complete["status"]) == (group, answered, "Succeeded")
    assert complete["contacts"][0] | {"id": ""} == {
        "id": "", "honorific": "", "name": "张三", "phoneNumber": "13800000000", "referenceId": "r-13800000000"
    }  # fmt: skip
    assert complete["extras"] == [{"key": "自定义参数1", "value": "1 ~*+/=&%"}]
    assert set(complete["tasks"][0]) == {
        "id", "callId", "planedTime", "actualTime", "endTime", "callingNumber", "calledNumber", "status"
    }  # fmt: skip
    assert "endTime" not in by_type["Dialing"]["tasks"][0]
    assert "tasks" not in recording
    assert set(recording["recording"]) == {"taskId", "callId", "duration", "fileName", "mkvUrl", "url"}
    assert recording["recording"]["taskId"] == complete["tasks"][0]["id"]
    assert [event for event in events if not isinstance(event["eventTime"], int)] == []


def test_a_failed_job_says_why(simulator: Simulator, sdk: ClassicSdk, make_consumer: MakeConsumer) -> None:
    sdk.assign(sdk.create_group(), "13800000060")

    (complete,) = (e for e in make_consumer(simulator).events(3) if e["eventType"] == "JobComplete")

    assert (complete["status"], complete["failureReason"]) == ("Failed", "NoAnswer")


def test_consumers_of_one_group_share_and_other_groups_get_everything(
    simulator: Simulator, make_consumer: MakeConsumer
) -> None:
    simulator.broker_control(create_group="other")
    first, second, other = (
        make_consumer(simulator),
        make_consumer(simulator),
        make_consumer(simulator, group="other"),
    )
    for index in range(100):
        simulator.publish(str(index).encode())

    # A batch is 32, so both get some.
    shared = [m.body for m in first.receive(32)] + [m.body for m in second.receive(32)]
    shared += [m.body for m in first.receive(100 - len(shared))]
    alone = [m.body for m in other.receive(100)]

    assert len(shared) == len(set(shared)) == 100
    assert sorted(alone) == sorted(shared)


def test_an_unacknowledged_message_returns_after_its_lease(simulator: Simulator, make_consumer: MakeConsumer) -> None:
    consumer = make_consumer(simulator)
    simulator.publish(b"kept")
    simulator.publish(b"done with")

    first = consumer.receive(2, lease=1, acknowledge=False)
    consumer.client.ack(next(message for message in first if message.body == b"done with"))
    (again,) = consumer.receive(1)

    assert (again.body, again.delivery_attempt) == (b"kept", 2)
    with pytest.raises(Exception, match="receipt handle"):
        consumer.client.ack(next(message for message in first if message.body == b"kept"))


def test_a_lease_can_be_made_longer(simulator: Simulator, make_consumer: MakeConsumer) -> None:
    consumer = make_consumer(simulator)
    simulator.publish(b"kept")

    (message,) = consumer.receive(1, lease=1, acknowledge=False)
    consumer.client.change_invisible_duration(message, 60)
    time.sleep(3.2)  # the first lease and the delay would be over
    consumer.client.ack(message)

    assert simulator.broker_control()["topics"][simulator.topic]["groups"][simulator.consumer_group] == {
        "delivered": 1,
        "unacknowledged": 0,
    }


def test_a_missing_group_is_50001_for_ever_although_the_start_succeeds(
    simulator: Simulator, make_consumer: MakeConsumer
) -> None:
    consumer = make_consumer(simulator, group="missing")
    simulator.publish(b"unseen")

    for _ in range(3):
        with pytest.raises(Exception, match=CODE_LOST):
            consumer.client.receive(1, 10)
        time.sleep(0.5)


def test_a_restart_loses_the_settings_and_a_new_consumer_finds_its_messages(
    simulator: Simulator, make_consumer: MakeConsumer
) -> None:
    consumer = make_consumer(simulator)
    simulator.publish(b"before")
    consumer.receive(1)

    simulator.broker_control(restart=True)
    simulator.publish(b"after")
    errors = []
    for _ in range(20):
        with pytest.raises(Exception) as error:  # noqa: PT011  # first the connection, then the settings
            consumer.client.receive(1, 10)
        errors.append(str(error.value))
        time.sleep(0.1)

    assert CODE_LOST in errors[-1]
    assert "settings" in errors[-1]
    assert [message.body for message in make_consumer(simulator).receive(1)] == [b"after"]


def test_a_poll_that_leaves_less_than_the_minimum_is_refused(simulator: Simulator, make_consumer: MakeConsumer) -> None:
    consumer = make_consumer(simulator, wait=1)
    time.sleep(0.5)

    with pytest.raises(Exception, match="40018"):
        consumer.poll()


def test_an_unknown_topic_has_no_route(simulator: Simulator) -> None:
    client = load_client()
    consumer = client.SimpleConsumer(
        client.ClientConfiguration(simulator.broker, client.Credentials()),
        simulator.consumer_group,
        {"missing": client.FilterExpression("*")},
        await_duration=3,
    )
    consumer.startup()

    with pytest.raises(Exception, match="failed to fetch topic:missing route"):
        consumer.receive(1, 10)
    consumer.shutdown()


def test_a_producer_publishes_and_tags_are_filtered(simulator: Simulator, make_consumer: MakeConsumer) -> None:
    client = load_client()
    producer = client.Producer(client.ClientConfiguration(simulator.broker, client.Credentials()), (simulator.topic,))
    producer.startup()
    for tag in ("a", "b", "c"):
        message = client.Message()
        message.topic, message.tag, message.body = simulator.topic, tag, tag.encode()
        once_started(partial(producer.send, message))
    producer.shutdown()

    received = make_consumer(simulator, tag="a||c").receive(2)

    assert [message.body for message in received] == [b"a", b"c"]
    assert [message for message in received if message.corrupted] == []


def test_a_reset_empties_the_topic(simulator: Simulator) -> None:
    simulator.publish(json.dumps({"eventType": "JobComplete"}).encode())

    simulator.reset()

    assert simulator.broker_control()["topics"][simulator.topic] == {"messages": 0, "groups": {}}


def test_unknown_orders_are_named(simulator: Simulator) -> None:
    with pytest.raises(ValueError, match="unknown commands \\['restrt'\\]"):
        simulator.broker_control(restrt=True)

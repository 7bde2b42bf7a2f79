"""Clients of the simulated service as their vendors ship them, nothing of ours: the SDK and the RocketMQ client."""

from __future__ import annotations

import importlib
import json
import time
from collections.abc import Callable
from typing import Any

from airflow_provider_outbound.core.rocketmq.grpc import load_client
from airflow_provider_outbound.simulator.testing import Simulator
from support.grpc_client import once_started


class ClassicSdk:
    """``aliyun-python-sdk-outboundbot`` pointed at a simulator."""

    def __init__(self, simulator: Simulator, *, key: str | None = None, secret: str | None = None) -> None:
        from aliyunsdkcore.client import AcsClient

        self.simulator = simulator
        self._client = AcsClient(
            key or simulator.access_key_id, secret or simulator.access_key_secret, simulator.region_id
        )

    def __call__(self, action: str, **parameters: Any) -> dict[str, Any]:
        """Perform ``action``; parameters by their setters' names, ``None`` leaves one out."""
        module = importlib.import_module(f"aliyunsdkoutboundbot.request.v20191226.{action}Request")
        request = getattr(module, f"{action}Request")()
        request.set_endpoint(self.simulator.api)
        for name, value in ({"InstanceId": self.simulator.instance_id} | parameters).items():
            if value is not None:
                getattr(request, f"set_{name}")(value)
        answer: dict[str, Any] = json.loads(self._client.do_action_with_exception(request))
        return answer

    def close(self) -> None:
        """End the connections that are kept open."""
        self._client.session.close()

    def create_group(self, **parameters: Any) -> str:
        """A new job group's id."""
        defaults = {"JobGroupName": "spring", "ScriptId": self.simulator.script_id}
        answer = self("CreateJobGroup", **(defaults | parameters))
        return str(answer["JobGroup"]["JobGroupId"])

    def assign(self, group: str, *numbers: str, **parameters: Any) -> list[str]:
        """Assign numbers; the reference id is the number with ``r-`` before it."""
        answer = self("AssignJobs", JobGroupId=group, JobsJsons=[job_json(number) for number in numbers], **parameters)
        return list(answer["JobsId"])

    def group(self, group: str) -> dict[str, Any]:
        """DescribeJobGroup."""
        return dict(self("DescribeJobGroup", JobGroupId=group)["JobGroup"])

    def wait(self, group: str, status: str = "Completed") -> dict[str, Any]:
        """The group once it has this status."""
        answer: dict[str, Any] = _until(lambda: self.group(group), lambda answer: answer["Status"] == status)
        return answer


def job_json(number: str, **contact: Any) -> str:
    """A JobsJson item."""
    return json.dumps(
        {
            "contacts": [{"phoneNumber": number, "referenceId": f"r-{number}", "name": "张三", **contact}],
            "extras": [{"key": "自定义参数1", "value": "1 ~*+/=&%"}],
        },
        ensure_ascii=False,
    )


def _until(get: Callable[[], Any], done: Callable[[Any], bool], seconds: float = 20) -> Any:
    """What ``get`` gives once ``done`` says so."""
    deadline = time.monotonic() + seconds
    while not done(value := get()):
        assert time.monotonic() < deadline, f"still not so after {seconds} s: {value}"
        time.sleep(0.02)
    return value


class Consumer:
    """``rocketmq-python-client``'s SimpleConsumer."""

    def __init__(self, simulator: Simulator, *, group: str | None = None, wait: int = 3, tag: str = "*") -> None:
        client = load_client()
        configuration = client.ClientConfiguration(simulator.broker, client.Credentials(), request_timeout=3)
        self.client = client.SimpleConsumer(
            configuration,
            group or simulator.consumer_group,
            {simulator.topic: client.FilterExpression(tag)},
            await_duration=wait,
        )
        self.client.startup()

    def receive(self, count: int, *, lease: int = 30, acknowledge: bool = True) -> list[Any]:
        """At least ``count`` messages."""
        messages: list[Any] = []
        deadline = time.monotonic() + 20
        while len(messages) < count:
            assert time.monotonic() < deadline, f"only {len(messages)} of {count} messages"
            messages += (batch := self.poll(lease=lease))
            if acknowledge:
                for message in batch:
                    self.client.ack(message)
        return messages

    def events(self, count: int) -> list[dict[str, Any]]:
        """At least ``count`` messages' bodies."""
        return [json.loads(message.body) for message in self.receive(count)]

    def poll(self, *, lease: int = 30) -> list[Any]:
        """One long poll."""
        return list(once_started(lambda: self.client.receive(32, lease)))


MakeSdk = Callable[..., ClassicSdk]
MakeConsumer = Callable[..., Consumer]

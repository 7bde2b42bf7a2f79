"""
RocketMQ's gRPC protocol, as the Apache client generated it.

Importing any part of that client may run its ``__init__.py``, which belongs to whichever RocketMQ client was installed
last and may open a log file in the home folder: :func:`load_client` prevents that.
"""

from __future__ import annotations

from airflow_provider_outbound.core.rocketmq.grpc import load_client

load_client()

from rocketmq.grpc_protocol import MessagingServiceStub  # noqa: E402 - after load_client
from rocketmq.grpc_protocol import definition_pb2 as wire  # noqa: E402
from rocketmq.grpc_protocol import service_pb2 as service  # noqa: E402
from rocketmq.grpc_protocol.service_pb2_grpc import (  # noqa: E402
    MessagingServiceServicer,
    add_MessagingServiceServicer_to_server,
)

__all__ = [
    "MessagingServiceServicer",
    "MessagingServiceStub",
    "add_MessagingServiceServicer_to_server",
    "service",
    "wire",
]

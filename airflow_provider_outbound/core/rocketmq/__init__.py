"""RocketMQ: consumes one subscription through the client library of its transport."""

from __future__ import annotations

from airflow_provider_outbound.core.rocketmq.base import Consumer, RocketMQSettings, check_transport

__all__ = ["open_consumer"]


def open_consumer(settings: RocketMQSettings) -> Consumer:
    """
    Join the subscription's consumer group. The broker may be unavailable: :meth:`Consumer.receive` raises then.

    :raises RocketMQClientError: The client library is missing or unusable.
    """
    check_transport(settings)
    if settings.transport == "remoting":
        from airflow_provider_outbound.core.rocketmq.remoting import RemotingConsumer

        return RemotingConsumer(settings)
    from airflow_provider_outbound.core.rocketmq.grpc import GrpcConsumer

    return GrpcConsumer(settings)

"""Messages that arrive while a task assigns."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from airflow_provider_outbound import config
from airflow_provider_outbound.exceptions import before_calling
from airflow_provider_outbound.hooks.rocketmq import RocketMQHook

if TYPE_CHECKING:
    from airflow_provider_outbound.core.ledger import Ledger


def collecting_messages(rocketmq_conn_id: str | None, ledger: Ledger) -> AbstractContextManager[None]:
    """
    Store messages while the body runs, unless a collector of the same subscription already does.

    :param rocketmq_conn_id: Connection of type ``rocketmq``; ``None``: store none.
    :param ledger: The ledger, which knows the running collectors.
    :raises OutboundBotConfigError: the connection does not exist, or a field cannot be used.
    :raises RocketMQClientError: the client library of its transport is not installed.
    """
    if rocketmq_conn_id is None:
        return nullcontext()
    with before_calling():
        settings = config.load()
        if settings.collector != "embedded":
            return nullcontext()
        from airflow_provider_outbound.core.collect.beside import collecting
        from airflow_provider_outbound.core.collect.settings import WorkerSettings
        from airflow_provider_outbound.core.rocketmq.base import check_transport

        rocketmq = RocketMQHook(rocketmq_conn_id).settings()
        check_transport(rocketmq)
    if ledger.collectors.read().running((rocketmq.topic, rocketmq.consumer_group)):
        return nullcontext()
    return collecting(
        WorkerSettings(ledger_url=settings.ledger_url, ledger_keys=settings.ledger_keys, rocketmq=rocketmq)
    )

"""A triggerer without Airflow's services: runs triggers from what was stored, in a process of its own."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from typing import Any

import attrs

from airflow_provider_outbound.core.collect import watch
from airflow_provider_outbound.core.rocketmq.base import RocketMQSettings
from airflow_provider_outbound.hooks.rocketmq import RocketMQHook
from airflow_provider_outbound.triggers.outboundbot import OutboundBotJobCompleteTrigger


def run_triggers(
    environment: dict[str, str], triggers: list[dict[str, Any]], log_file: str, lease_seconds: int, events: Any
) -> None:
    """
    Wait for several job groups at once.

    :param environment: Connections and settings, as a triggerer has them.
    :param triggers: Arguments of each trigger.
    :param events: Takes (job group, payload) of each event.
    """
    os.environ |= environment
    logging.basicConfig(filename=log_file, level=logging.INFO, force=True, format="%(levelname)s %(message)s")
    _shorten_leases(lease_seconds)
    asyncio.run(_run_all([OutboundBotJobCompleteTrigger(**arguments) for arguments in triggers], events))
    watch.end_all()


def _shorten_leases(lease_seconds: int) -> None:
    """The messages of a killed collector come back sooner than the minute that users have: rounds are many."""
    usual = RocketMQHook.asettings

    async def shortened(hook: RocketMQHook) -> RocketMQSettings:
        return attrs.evolve(await usual(hook), lease_seconds=lease_seconds)

    patched: Any = RocketMQHook
    patched.asettings = shortened


async def _run_all(triggers: list[OutboundBotJobCompleteTrigger], events: Any) -> None:
    await asyncio.gather(*(_run(trigger, events) for trigger in triggers))


async def _run(trigger: OutboundBotJobCompleteTrigger, events: Any) -> None:
    async for event in trigger.run():
        events.send((trigger.job_group_id, json.loads(json.dumps(event.payload))))

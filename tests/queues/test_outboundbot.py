"""Airflow's one trigger for all message queues finds ours by its scheme."""

from __future__ import annotations

import subprocess
import sys

import pytest
from airflow.providers.common.messaging.triggers.msg_queue import MessageQueueTrigger

from airflow_provider_outbound.triggers.outboundbot import OutboundBotCallEventTrigger


def test_the_scheme_makes_our_trigger_with_its_arguments() -> None:
    by_scheme = MessageQueueTrigger(
        scheme="outboundbot", subscription="crm", event_types=["JobComplete"], batch_size=10
    )

    assert (
        by_scheme.serialize()
        == OutboundBotCallEventTrigger(subscription="crm", event_types=["JobComplete"], batch_size=10).serialize()
    )


def test_an_argument_that_the_trigger_has_not_is_refused() -> None:
    with pytest.raises(TypeError, match="topic"):
        MessageQueueTrigger(scheme="outboundbot", subscription="crm", topic="t").serialize()


def test_airflow_passes_over_the_queue_where_common_messaging_is_not_installed() -> None:
    code = """
import logging, sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.startswith("airflow.providers.common.messaging.providers"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
logging.basicConfig(level=logging.WARNING, stream=sys.stdout)
from airflow.providers_manager import ProvidersManager
print(ProvidersManager().queue_class_names)
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=120, check=True
    )

    assert done.stdout.splitlines()[-1] == "[]"
    assert "warning" not in (done.stdout + done.stderr).lower(), done.stdout + done.stderr

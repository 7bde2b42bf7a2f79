"""What an event trigger cannot do is said where the DAG is parsed, not in a triggerer's log."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_outbound.core.models.enums import EventType
from airflow_provider_outbound.exceptions import OutboundBotConfigError
from airflow_provider_outbound.triggers.outboundbot import OutboundBotCallEventTrigger
from airflow_provider_outbound.triggers.steering import OutboundBotJobsSteeredTrigger

REFUSED: list[Any] = [
    pytest.param({"event_types": ["JobCompleted"]}, "'JobCompleted' is not an event type; did you mean", id="misspelt"),
    pytest.param({"event_types": ["jobcomplete"]}, "'jobcomplete' is not an event type; did you mean", id="small"),
    pytest.param({"event_types": ["JobComplete", "Dialling"]}, "did you mean 'Dialing'", id="second"),
    pytest.param({"event_types": [" JobComplete"]}, "is not an event type", id="blank"),
    pytest.param({"event_types": ["Purchase"]}, "Use any of JobComplete, Dialing, CallAnswered", id="another"),
    pytest.param({"event_types": [None]}, "None is not an event type", id="none"),
    pytest.param({"event_types": [["JobComplete"]]}, "is not an event type", id="nested"),
    pytest.param({"event_types": "JobComplete"}, "event_types: a text is not a list; write ['JobComplete']", id="text"),
    pytest.param({"event_types": []}, "event_types: the list is empty", id="empty"),
    pytest.param({"event_types": {"JobComplete": True}}, "is not a list of event types", id="mapping"),
    pytest.param({"event_types": 5}, "is not a list of event types", id="number"),
    pytest.param({"subscription": ""}, "subscription: ''", id="no-subscription"),
    pytest.param({"subscription": "x" * 257}, "subscription", id="long-subscription"),
    pytest.param({"subscription": "{{ params.name }}"}, "triggers render none", id="template"),
    pytest.param({"job_group_id": ""}, "job_group_id: ''", id="no-group"),
    pytest.param({"job_group_id": 5}, "job_group_id: 5", id="group-number"),
    pytest.param({"batch_size": 0}, "batch_size: 0", id="batch-size"),
    pytest.param({"batch_size": 1001}, "batch_size: 1001", id="large-batch"),
    pytest.param({"batch_size": True}, "batch_size: True", id="batch-truth"),
    pytest.param({"batch_size": "100"}, "batch_size: '100'", id="batch-text"),
    pytest.param({"max_wait": -1}, "max_wait: -1", id="max-wait"),
    pytest.param({"max_wait": math.nan}, "max_wait: nan", id="max-wait-nan"),
    pytest.param({"max_wait": math.inf}, "max_wait: inf", id="max-wait-inf"),
    pytest.param({"rocketmq_conn_id": ""}, "rocketmq_conn_id: ''", id="no-connection"),
]


@pytest.mark.parametrize(("arguments", "words"), REFUSED)
def test_an_argument_that_cannot_be_used_is_refused_when_the_dag_is_parsed(
    arguments: dict[str, Any], words: str
) -> None:
    with pytest.raises(OutboundBotConfigError) as refusal:
        OutboundBotCallEventTrigger(**{"subscription": "crm", **arguments})

    assert words in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("make", [list, tuple, set, frozenset])
def test_every_listed_type_is_accepted_in_any_collection(make: Any) -> None:
    every = [str(event_type) for event_type in EventType]

    trigger = OutboundBotCallEventTrigger(subscription="crm", event_types=make(every))

    _, arguments = trigger.serialize()
    assert sorted(arguments["event_types"]) == sorted(every)
    assert OutboundBotCallEventTrigger(**arguments).serialize() == trigger.serialize()


@pytest.mark.parametrize("trigger", ["direct", "queue"])
def test_a_dag_with_a_misspelt_type_is_an_import_error(airflow_home: Path, tmp_path: Path, trigger: str) -> None:
    from airflow.dag_processing.dagbag import BundleDagBag
    from airflow.serialization.serialized_objects import DagSerialization

    made = {
        "direct": "OutboundBotCallEventTrigger(subscription='crm', event_types=['JobCompleted'])",
        "queue": "MessageQueueTrigger(scheme='outboundbot', subscription='crm', event_types=['JobCompleted'])",
    }[trigger]
    source = {
        "direct": "from airflow_provider_outbound.triggers.outboundbot import OutboundBotCallEventTrigger",
        "queue": "from airflow.providers.common.messaging.triggers.msg_queue import MessageQueueTrigger",
    }[trigger]
    (tmp_path / "calls.py").write_text(
        f"{source}\nfrom airflow.sdk import DAG, Asset, AssetWatcher\n"
        f"calls = Asset('calls', watchers=[AssetWatcher(name='w', trigger={made})])\n"
        "with DAG('crm', schedule=[calls]):\n    pass\n"
    )

    bag = BundleDagBag(dag_folder=tmp_path, bundle_path=tmp_path, bundle_name="tests")
    said = list(bag.import_errors.values())
    for dag in bag.dags.values():
        # The processor that parses a file serialises its DAGs, and shows what fails there as an import error too.
        with pytest.raises(Exception, match="event_types") as failure:
            DagSerialization.to_dict(dag)
        said.append(str(failure.value))

    assert len(said) == 1
    assert "'JobCompleted' is not an event type; did you mean 'JobComplete'?" in said[0]


def test_an_action_that_does_not_exist_is_refused() -> None:
    with pytest.raises(OutboundBotConfigError, match="action: 'pause' is not one of suspend, resume, cancel"):
        OutboundBotJobsSteeredTrigger(action="pause", job_group_id="g", job_ids=None, deadline=datetime.now(UTC))

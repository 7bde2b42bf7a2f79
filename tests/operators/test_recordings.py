"""Recordings in a real DAG run, at the end of a campaign."""

from __future__ import annotations

import asyncio
import functools
import importlib
import json
import re
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.standard.triggers.temporal import DateTimeTrigger
from airflow.sdk import DAG
from airflow.sdk.exceptions import TaskDeferred
from support.runs import xcom

from airflow_provider_outbound.core.models.strategy import Strategy
from airflow_provider_outbound.core.results import tracker
from airflow_provider_outbound.exceptions import OutboundBotConfigError, OutboundBotError
from airflow_provider_outbound.operators.outboundbot import (
    OutboundBotAssignJobsOperator,
    OutboundBotCreateJobGroupOperator,
    OutboundBotDownloadRecordingsOperator,
)
from airflow_provider_outbound.sensors.outboundbot import OutboundBotJobCompleteSensor
from airflow_provider_outbound.simulator.testing import Simulator
from airflow_provider_outbound.triggers.outboundbot import OutboundBotJobCompleteTrigger

if TYPE_CHECKING:
    from airflow.models import DagRun
    from airflow.triggers.base import BaseTrigger

ALL_DAY = Strategy(working_time=[("00:00", "23:59:59")])


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__OUTBOUND__RECONCILE_INTERVAL", "1")


def test_a_campaign_ends_with_its_recordings_and_nothing_tells_a_number_or_a_link(
    simulator: Simulator,
    airflow_home: Path,
    run_dag: Callable[..., DagRun],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("DEBUG")
    with DAG("recorded", schedule=None, params={"folder": str(tmp_path)}) as dag:
        create = OutboundBotCreateJobGroupOperator(task_id="create", strategy=ALL_DAY)
        assign = OutboundBotAssignJobsOperator(
            task_id="assign",
            job_group_id=create.output,
            contacts=[f"138000000{digits:02}" for digits in (0, 1, 2, 60, 88)],
            settle_seconds=0.3,
        )
        wait = OutboundBotJobCompleteSensor(
            task_id="wait",
            job_group_id=assign.output,
            rocketmq_conn_id=None,
            deferrable=False,
            mode="poke",
            poke_interval=0.5,
        )
        OutboundBotDownloadRecordingsOperator(
            task_id="record",
            job_group_id=wait.output,
            path="{{ params.folder }}/{{ ti.xcom_pull('create')['job_group_id'] }}",
            timeout=timedelta(minutes=2),
        )

    run = run_dag(dag)

    assert run.state == "success"
    group = xcom(run, "create")["job_group_id"]
    result = xcom(run, "record")
    files = sorted(path.name for path in (tmp_path / group).iterdir())
    assert (result["job_group_id"], result["path"]) == (group, str(tmp_path / group))
    assert (result["answered"], result["downloaded"], result["present"], result["missing"]) == (3, 3, 0, 0)
    answered = {
        f"{job['job_id']}_{call['task_id']}.wav"
        for job in simulator.state()["groups"][group]["jobs"]
        for call in job["calls"]
        if call["recording"]
    }
    assert set(files) == answered
    told = "".join(capfd.readouterr()) + caplog.text + json.dumps(result)
    told += "".join(log.read_text() for log in (airflow_home / "logs").rglob("dag_id=recorded/**/*.log"))
    assert "3 recordings downloaded" in told
    assert not re.search(r"138\d{8}|Signature=", told)


class TestDeferred:
    """A deferred task holds a worker only while it downloads, and its totals are those of all its parts."""

    @pytest.fixture
    def paused(self, simulator_factory: Callable[..., Simulator], monkeypatch: pytest.MonkeyPatch) -> Simulator:
        """A simulator whose clock stands still."""
        simulator = simulator_factory(clock_speed=0)
        for name, value in simulator.connections.items():
            monkeypatch.setenv(name, value)
        return simulator

    @pytest.fixture
    def group(self, paused: Simulator, context: Callable[..., Any]) -> str:
        """A group with three jobs that will be answered."""
        made = OutboundBotCreateJobGroupOperator(task_id="create", start_immediately=True).execute(context("create"))
        OutboundBotAssignJobsOperator(
            task_id="assign",
            job_group_id=made,
            contacts=[f"1380000000{digit}" for digit in range(3)],
            settle_seconds=0.3,
        ).execute(context("assign"))
        assert paused.state()["groups"].keys() == {made["job_group_id"]}
        return str(made["job_group_id"])

    def operator(self, group: str, folder: Path, **arguments: Any) -> OutboundBotDownloadRecordingsOperator:
        arguments = {"deferrable": True, "timeout": timedelta(minutes=5), **arguments}
        return OutboundBotDownloadRecordingsOperator(
            task_id="record", job_group_id=group, path=str(folder), **arguments
        )

    def deferred(self, act: Callable[[], object]) -> tuple[Any, dict[str, Any]]:
        with pytest.raises(TaskDeferred) as caught:
            act()
        # As Airflow stores what the task needs to continue.
        return caught.value.trigger, json.loads(json.dumps(caught.value.kwargs))

    def event_of(self, trigger: BaseTrigger) -> dict[str, Any]:
        path, arguments = trigger.serialize()
        module, _, name = path.rpartition(".")

        async def first() -> dict[str, Any]:
            async with asyncio.timeout(120):
                event = await anext(aiter(getattr(importlib.import_module(module), name)(**arguments).run()))
                payload: dict[str, Any] = event.payload
                return payload

        return asyncio.run(first())

    def test_it_waits_for_the_group_and_then_for_what_is_missing(
        self, paused: Simulator, context: Callable[..., Any], group: str, tmp_path: Path
    ) -> None:
        record = self.operator(group, tmp_path / "r")

        waits, kwargs = self.deferred(lambda: record.execute(context()))
        assert isinstance(waits, OutboundBotJobCompleteTrigger)
        paused.set_clock(speed=1000)
        event = self.event_of(waits)
        paused.faults(recording_missing=1000)
        pauses, kwargs = self.deferred(lambda: record.execute_complete(context(), event, **kwargs))
        assert isinstance(pauses, DateTimeTrigger)
        paused.faults()
        result = record.execute_complete(context(), pauses.moment, **kwargs)

        assert event["status"] == "complete"
        files = sorted((tmp_path / "r").iterdir())
        size = sum(path.stat().st_size for path in files)
        counts = {"answered": 3, "downloaded": 3, "present": 0, "missing": 0, "bytes": size}
        assert result == {"job_group_id": group, "path": str(tmp_path / "r"), **counts}
        assert len(files) == 3

        # Two were downloaded before a pause, and one after it.
        again = files[0].stat().st_size
        files[0].unlink()
        result = record.execute_complete(context(), None, **kwargs | {"downloaded": 2, "size": size - again})
        assert {name: result[name] for name in counts} == counts

    def test_when_the_time_is_up_it_counts_what_is_missing(
        self,
        paused: Simulator,
        context: Callable[..., Any],
        group: str,
        tmp_path: Path,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        paused.set_clock(speed=1000)
        paused.faults(recording_missing=1000)
        record = self.operator(group, tmp_path / "r")

        trigger, kwargs = self.deferred(lambda: record.execute(context()))
        if isinstance(trigger, OutboundBotJobCompleteTrigger):
            trigger, kwargs = self.deferred(
                lambda: record.execute_complete(context(), self.event_of(trigger), **kwargs)
            )
        over = datetime.now(UTC).isoformat()
        result = record.execute_complete(context(), None, **kwargs | {"deadline": over})

        assert [result[name] for name in ("answered", "downloaded", "present", "missing")] == [3, 0, 0, 3]
        assert "3 recordings are missing: 3 × its link answers HTTP 404" in caplog.text

    def test_pauses_grow_and_end_with_the_timeout(
        self, context: Callable[..., Any], group: str, tmp_path: Path
    ) -> None:
        record = self.operator(group, tmp_path / "r")
        ended: dict[str, Any] = {"deadline": (datetime.now(UTC) + timedelta(hours=1)).isoformat(), "has_ended": True}

        lengths = []
        for _ in range(5):
            trigger, ended = self.deferred(functools.partial(record.execute_complete, context(), None, **ended))
            lengths.append(round((trigger.moment - datetime.now(UTC)).total_seconds() / 60))
        soon: dict[str, Any] = {"deadline": (datetime.now(UTC) + timedelta(seconds=30)).isoformat(), "has_ended": True}
        trigger, _ = self.deferred(lambda: record.execute_complete(context(), None, **soon))

        assert lengths == [1, 2, 4, 8, 10]
        assert trigger.moment.isoformat() == soon["deadline"]

    def test_an_error_of_the_wait_is_the_tasks(self, context: Callable[..., Any], group: str, tmp_path: Path) -> None:
        event = {"status": "error", "kind": "OutboundBotNotFoundError", "message": "NotExist.JobGroup"}

        with pytest.raises(OutboundBotError, match="NotExist"):
            self.operator(group, tmp_path / "r").execute_complete(
                context(), event, deadline=datetime.now(UTC).isoformat()
            )


def test_a_group_to_which_nobody_has_assigned_yet_has_not_ended(
    simulator: Simulator, context: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a DAG in which this task and the one that assigns both follow the one that creates the group."""
    monkeypatch.setattr(tracker, "_REFRESH", 0.5)
    made = OutboundBotCreateJobGroupOperator(task_id="create", strategy=ALL_DAY).execute(context("create"))
    assign = OutboundBotAssignJobsOperator(
        task_id="assign", job_group_id=made, contacts=["13800000000"], settle_seconds=0.3
    )
    later = threading.Timer(1.5, assign.execute, [context("assign")])
    later.start()

    result = OutboundBotDownloadRecordingsOperator(
        task_id="record", job_group_id=made, path=str(tmp_path / "r"), timeout=timedelta(minutes=1)
    ).execute(context())
    later.join()

    assert (result["answered"], result["downloaded"]) == (1, 1)


def test_a_group_that_has_not_ended_in_time_is_named(
    simulator: Simulator, context: Callable[..., Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = OutboundBotCreateJobGroupOperator(task_id="create", strategy=ALL_DAY).execute(context("create"))

    OutboundBotDownloadRecordingsOperator(
        task_id="record", job_group_id=made, path=str(tmp_path / "r"), timeout=timedelta(seconds=1)
    ).execute(context())

    assert "the group has not ended" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param({"deferrable": "yes"}, "deferrable: 'yes' is neither", id="deferrable"),
        pytest.param({"mkv": "yes"}, "mkv: 'yes' is neither", id="mkv"),
        pytest.param(
            {"max_parallel_requests": 0}, "max_parallel_requests: 0 is not a whole number of 1 or more", id="requests"
        ),
        pytest.param({"timeout": 60}, "timeout: 60 is not a timedelta", id="timeout"),
        pytest.param({"path": 5}, "path: int is not a path", id="path"),
    ],
)
def test_arguments_that_cannot_be_used_are_refused(
    context: Callable[..., Any], tmp_path: Path, arguments: dict[str, Any], words: str
) -> None:
    given = {"path": str(tmp_path / "r"), **arguments}

    with pytest.raises(OutboundBotConfigError, match=words):
        OutboundBotDownloadRecordingsOperator(task_id="record", job_group_id="group", **given).execute(context())

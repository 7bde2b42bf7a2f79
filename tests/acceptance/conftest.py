"""One real Airflow, with a simulator beside it, for all tests of this folder."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_provider_outbound.cli.services import AIRFLOW_SERVICES, AirflowStack, example_dag

#: Twenty calls a second, so that a test chooses by the number of contacts how long its campaign lasts.
CALLS_PER_SECOND = 20
EXAMPLES = ("nightly_campaign", "parallel_segments", "campaign_on_asset")
#: DAGs for tests alone.
OWN = ("private_campaign", "killed_campaign")


@pytest.fixture(scope="session")
def airflow_services() -> Iterator[AirflowStack]:
    """Scheduler, DAG processor, API server and triggerer with the example DAGs, running."""
    stack = AirflowStack(
        Path(tempfile.mkdtemp(prefix="outbound-acceptance-")),
        dags=[*map(example_dag, EXAMPLES), *(Path(__file__).with_name(f"{name}.py") for name in OWN)],
        simulator_options=["--call-seconds", "0.5", "--concurrency", str(CALLS_PER_SECOND // 2), "--seed", "7"],
        # A triggerer that was killed is given up after ten seconds and not after thirty.
        settings={"TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "10", "TRIGGERER__JOB_HEARTBEAT_SEC": "2"},
    )
    with stack:
        stack.prepare()
        stack.start_airflow()
        for name in (*EXAMPLES, *OWN):
            stack.wait_for_dag(name, 400)
        yield stack
        for name in AIRFLOW_SERVICES:
            print(f"--- {name}\n{stack.tail(name)}")

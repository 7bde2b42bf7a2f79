"""The redial example in a real Airflow, with the simulated service as the judge."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from airflow_provider_outbound.cli.services import AirflowStack
from airflow_provider_outbound.simulator.outcomes import expected_outcome

pytestmark = [pytest.mark.airflow, pytest.mark.xdist_group("airflow")]
REDIAL = "redial_with_cap"
UNREACHED = {"NoAnswer", "Busy", "NotConnected", "PoweredOff"}


def test_those_not_reached_are_called_again_and_nobody_too_often(airflow_services: AirflowStack) -> None:
    stack = airflow_services
    groups = set(stack.simulator_state()["groups"])

    first = run(stack)

    calls = calls_by_number(stack, groups)
    unreached = {number for number in calls if (expected_outcome(number).attempts or ("",))[-1] in UNREACHED}
    assert len(calls) == 50
    assert len(unreached) > 10
    assert {number for number, count in calls.items() if count > 1} == unreached
    assert first["assign_again"]["newly_assigned"] == len(unreached)

    second = run(stack)

    assert max(calls_by_number(stack, groups).values()) == 3
    # Two calls yesterday and one today: they have had theirs.
    assert second["assign_again"]["capped"] == len(unreached)
    assert second["assign_again"]["assigned"] == second["wait_again"]["total"] == second["export"]["rows"] == 0


def run(stack: AirflowStack) -> dict[str, Any]:
    """Run the example, and give what its tasks returned."""
    run_id = stack.trigger(REDIAL, {"contacts": 50})
    assert stack.wait_for_run(REDIAL, run_id, 400) == "success"
    return {name: stack.xcom(REDIAL, run_id, name) for name in ("assign", "assign_again", "wait_again", "export")}


def calls_by_number(stack: AirflowStack, before: set[str]) -> Counter[str]:
    """Calls of groups made since; what was not dialled counts as one entry of zero."""
    calls: Counter[str] = Counter()
    for group_id, group in stack.simulator_state()["groups"].items():
        if group_id not in before:
            for job in group["jobs"]:
                calls[job["phone_number"]] += len(job["calls"])
    return calls

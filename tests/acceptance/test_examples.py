"""More example DAGs in a real Airflow, and what a person does to them: marks, clears, looks."""

from __future__ import annotations

import json
from collections.abc import Iterable
from email import message_from_string
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import pytest
from support.airflow import contents

from airflow_provider_outbound.cli.processes import wait_until
from airflow_provider_outbound.cli.services import AirflowStack

pytestmark = [pytest.mark.airflow, pytest.mark.xdist_group("airflow")]


def test_each_segment_has_a_campaign_of_its_own(airflow_services: AirflowStack) -> None:
    run_id = run_to(airflow_services, "mapped_campaign", {"segments": 3, "contacts": 20})

    groups = [airflow_services.xcom("mapped_campaign", run_id, "each.campaign.create", index) for index in range(3)]
    exports = [airflow_services.xcom("mapped_campaign", run_id, "each.campaign.export", index) for index in range(3)]
    jobs = [jobs_of(airflow_services, group["job_group_id"]) for group in groups]
    assert [len({job["phone_number"] for job in each}) for each in jobs] == [20, 20, 20]
    assert len({job["phone_number"] for each in jobs for job in each}) == 60
    assert [len(Path(export["path"]).read_text().splitlines()) for export in exports] == [20, 20, 20]
    assert {group["job_group_name"][:9] for group in groups} == {"segment 0", "segment 1", "segment 2"}


def test_a_campaign_that_ends_leaves_its_teardown_nothing_to_do(airflow_services: AirflowStack) -> None:
    run_id = run_to(airflow_services, "setup_and_teardown", {"contacts": 20})

    counts = airflow_services.xcom("setup_and_teardown", run_id, "cancel")
    assert (counts["total"], counts["cancelled"]) == (20, 0)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        pytest.param("taskInstances/wait", {"new_state": "failed"}, id="task"),
        pytest.param("", {"state": "failed"}, id="run"),
    ],
)
def test_marking_failed_stops_dialling(airflow_services: AirflowStack, path: str, body: dict[str, Any]) -> None:
    dag_id = "setup_and_teardown"
    run_id = airflow_services.trigger(dag_id, {"contacts": 1000})
    wait_for_states(airflow_services, dag_id, run_id, {"wait": "deferred"})

    airflow_services.send("PATCH", f"/api/v2/dags/{dag_id}/dagRuns/{quote(run_id)}/{path}".rstrip("/"), body)

    wait_for_states(airflow_services, dag_id, run_id, {"cancel": "success"})
    counts = airflow_services.xcom(dag_id, run_id, "cancel")
    assert (counts["scheduling"], counts["executing"], counts["paused"]) == (0, 0, 0)
    # Not every fictitious number is valid; at twenty calls a second they would be called for most of a minute.
    assert counts["cancelled"] > 100
    # Of a run that was marked, Airflow lets the teardown decide.
    assert airflow_services.wait_for_run(dag_id, run_id) in ("failed", "success")
    group_id = airflow_services.xcom(dag_id, run_id, "create")["job_group_id"]
    assert not {job["status"] for job in jobs_of(airflow_services, group_id)} & {"Scheduling", "Executing"}


def test_a_run_that_is_cleared_calls_nobody_again(airflow_services: AirflowStack) -> None:
    dag_id = "setup_and_teardown"
    run_id = run_to(airflow_services, dag_id, {"contacts": 20})
    group_id = airflow_services.xcom(dag_id, run_id, "create")["job_group_id"]
    before = jobs_of(airflow_services, group_id)

    airflow_services.send("POST", f"/api/v2/dags/{dag_id}/dagRuns/{quote(run_id)}/clear", {"dry_run": False})
    wait_for_states(airflow_services, dag_id, run_id, {"write_contacts": "success", "cancel": "success"}, tries=2)

    assert airflow_services.wait_for_run(dag_id, run_id) == "success"
    assert airflow_services.xcom(dag_id, run_id, "create")["job_group_id"] == group_id
    assigned = airflow_services.xcom(dag_id, run_id, "assign")
    assert (assigned["assigned"], assigned["newly_assigned"]) == (20, 0)
    assert jobs_of(airflow_services, group_id) == before


def test_good_canaries_are_followed_by_the_rest(airflow_services: AirflowStack) -> None:
    run_id = run_to(airflow_services, "canary", {"contacts": 120})

    assert airflow_services.xcom("canary", run_id, "wait_first")["total"] == 100
    rest = airflow_services.xcom("canary", run_id, "assign_rest")
    assert (rest["read"], rest["newly_assigned"], rest["duplicates"]) == (120, 20, 100)
    group_id = airflow_services.xcom("canary", run_id, "create")["job_group_id"]
    numbers = [job["phone_number"] for job in jobs_of(airflow_services, group_id)]
    assert len(set(numbers)) == len(numbers) == 120
    assert airflow_services.xcom("canary", run_id, "export")["rows"] == 120
    assert states(airflow_services, "canary", run_id)["suspend"] == "skipped"


def test_bad_canaries_stop_the_campaign_and_somebody_is_told(airflow_services: AirflowStack, mail: Any) -> None:
    run_id = run_to(airflow_services, "canary", {"contacts": 120, "least_answer_rate": 0.99}, state="failed")

    group_id = airflow_services.xcom("canary", run_id, "create")["job_group_id"]
    assert len(jobs_of(airflow_services, group_id)) == 100
    found = states(airflow_services, "canary", run_id)
    assert (found["suspend"], found["assign_rest"], found["alert"]) == ("success", "skipped", "failed")
    wait_until(lambda: mail.letters, seconds=60, what="a letter")
    (letter,) = map(message_from_string, mail.letters)
    assert letter["Subject"] == "canary: too few contacts answer"
    (text,) = [part for part in letter.walk() if part.get_content_maintype() == "text"]
    content = text.get_payload(decode=True)
    assert isinstance(content, bytes)
    assert group_id in content.decode()


def test_those_not_reached_get_a_text_message_once(airflow_services: AirflowStack, text_messages: Any) -> None:
    campaign = run_to(airflow_services, "campaign_with_results", {"contacts": 40})

    def runs() -> list[dict[str, Any]]:
        return list(airflow_services.get("/api/v2/dags/follow_up_on_results/dagRuns")["dag_runs"])

    wait_until(runs, seconds=120, what="a run on the results", every=0.5)
    run_id = runs()[0]["dag_run_id"]
    assert airflow_services.wait_for_run("follow_up_on_results", run_id) == "success"

    group_id = airflow_services.xcom("campaign_with_results", campaign, "campaign.create")["job_group_id"]
    redialled = {"NoAnswer", "Busy", "NotConnected", "PoweredOff"}
    unanswered = {
        f"{group_id}/{job['reference_id']}": job["phone_number"]
        for job in jobs_of(airflow_services, group_id)
        if job["calls"] and job["calls"][-1]["status"] in redialled
    }
    assert unanswered
    assert {key: message["to"] for key, message in text_messages.sent.items()} == unanswered
    assert airflow_services.xcom("follow_up_on_results", run_id, "text_unanswered") == len(unanswered)
    exported = Path(airflow_services.xcom("campaign_with_results", campaign, "campaign.export")["path"])
    rows = [json.loads(line) for line in exported.read_text().splitlines()]
    assert {row["reference_id"] for row in rows if row["outcome"] == "unanswered"} == {
        key.partition("/")[2] for key in unanswered
    }
    check_no_number_in_logs(airflow_services, unanswered.values())


def test_a_task_leads_to_the_console(airflow_services: AirflowStack) -> None:
    dag_id = "setup_and_teardown"
    run_id = run_to(airflow_services, dag_id, {"contacts": 1})

    group_id = airflow_services.xcom(dag_id, run_id, "create")["job_group_id"]
    for task_id in ("create", "assign", "wait", "export", "cancel"):
        links = airflow_services.get(
            f"/api/v2/dags/{dag_id}/dagRuns/{quote(run_id)}/taskInstances/{task_id}/links?map_index=-1"
        )
        url = links["extra_links"]["OutboundBot console"]
        assert url.startswith("https://outboundbot.console.aliyun.com/?"), task_id
        assert f"jobGroupId={group_id}" in url
        page = urlsplit(links["extra_links"]["Campaign"])
        assert page.path == "/plugin/outbound", task_id
        assert {"dag_id": dag_id, "run_id": run_id, "task_id": task_id}.items() <= dict(parse_qsl(page.query)).items()


@pytest.mark.parametrize(
    ("include_deferred", "at_once"), [pytest.param(False, 2, id="default"), pytest.param(True, 1, id="counted")]
)
def test_a_pool_counts_waits_as_it_is_told_to(
    airflow_services: AirflowStack, include_deferred: bool, at_once: int
) -> None:
    make_pool(airflow_services, include_deferred=include_deferred)
    run_id = airflow_services.trigger("pooled_campaign")
    most = 0

    def has_ended() -> bool:
        nonlocal most
        waits = [task for task in airflow_services.tasks("pooled_campaign", run_id) if task["task_id"] == "wait"]
        most = max(most, sum(task["state"] in ("deferred", "running", "queued") for task in waits))
        return airflow_services.run_state("pooled_campaign", run_id) in ("success", "failed")

    wait_until(has_ended, seconds=240, what="both waits", every=0.3)

    assert airflow_services.run_state("pooled_campaign", run_id) == "success"
    assert most == at_once


def test_an_assignment_that_took_too_long_goes_on_when_it_is_tried_again(airflow_services: AirflowStack) -> None:
    make_pool(airflow_services, include_deferred=False)
    airflow_services.simulator_post("faults", {"throttle": {"actions": ["AssignJobs"]}})
    try:
        run_id = airflow_services.trigger("pooled_campaign")

        def was_tried() -> bool:
            tasks = airflow_services.tasks("pooled_campaign", run_id)
            return all(task["try_number"] >= 2 for task in tasks if task["task_id"] == "assign") and len(tasks) > 4

        wait_until(was_tried, seconds=240, what="a second try", every=0.5)
    finally:
        airflow_services.simulator_post("faults", {"throttle": None})

    assert airflow_services.wait_for_run("pooled_campaign", run_id, 240) == "success"
    for index in range(2):
        made = airflow_services.xcom("pooled_campaign", run_id, "create", index)
        assigned = airflow_services.xcom("pooled_campaign", run_id, "assign", index)
        numbers = [job["phone_number"] for job in jobs_of(airflow_services, made["job_group_id"])]
        assert len(set(numbers)) == len(numbers) == assigned["assigned"]


def make_pool(stack: AirflowStack, *, include_deferred: bool) -> None:
    settings = {"slots": 1, "include_deferred": include_deferred}
    if "waiting" in {found["name"] for found in stack.get("/api/v2/pools")["pools"]}:
        stack.send("PATCH", "/api/v2/pools/waiting", {"pool": "waiting", **settings})
    else:
        stack.send("POST", "/api/v2/pools", {"name": "waiting", **settings})


def run_to(stack: AirflowStack, dag_id: str, params: dict[str, Any], state: str = "success") -> str:
    run_id = stack.trigger(dag_id, params)
    assert stack.wait_for_run(dag_id, run_id, 240) == state, describe(stack, dag_id, run_id)
    return run_id


def describe(stack: AirflowStack, dag_id: str, run_id: str) -> str:
    """The logs of the tasks that failed."""
    logs = [
        stack.task_log(dag_id, run_id, task["task_id"])
        for task in stack.tasks(dag_id, run_id)
        if task["state"] == "failed"
    ]
    return "\n".join(log.read_text(errors="replace")[-3000:] for log in logs if log)


def states(stack: AirflowStack, dag_id: str, run_id: str) -> dict[str, str]:
    return {task["task_id"]: task["state"] for task in stack.tasks(dag_id, run_id)}


def wait_for_states(stack: AirflowStack, dag_id: str, run_id: str, wanted: dict[str, str], tries: int = 1) -> None:
    def is_so() -> bool:
        found = {task["task_id"]: task for task in stack.tasks(dag_id, run_id)}
        return all(
            found[task_id]["state"] == state and found[task_id]["try_number"] >= tries
            for task_id, state in wanted.items()
        )

    wait_until(is_so, seconds=180, what=f"{dag_id} {wanted}", every=0.5)


def jobs_of(stack: AirflowStack, group_id: str) -> list[dict[str, Any]]:
    return list(stack.simulator_state()["groups"][group_id]["jobs"])


def check_no_number_in_logs(stack: AirflowStack, numbers: Iterable[str]) -> None:
    files = [*stack.folder.glob("*.log"), *stack.folder.glob("*.db*"), *(stack.folder / "logs").rglob("*.log*")]
    wanted = [number.removeprefix("+").encode() for number in numbers]
    for path, content in contents(files):
        assert [number for number in wanted if number in content] == [], path.name

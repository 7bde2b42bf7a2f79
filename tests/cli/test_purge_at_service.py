"""``outbound ledger purge --at-service``: what the ledger has purged is deleted at the service, sooner or later."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from airflow_provider_outbound.cli import main
from airflow_provider_outbound.core.ledger import JobGroupRecord, TaskKey, open_ledger
from airflow_provider_outbound.simulator.cloud import Cloud
from airflow_provider_outbound.simulator.testing import Simulator

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def url(simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    for name, value in simulator.connections.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("OUTBOUND_LEDGER_KEY", Fernet.generate_key().decode())
    monkeypatch.setenv("COLUMNS", "200")
    return f"sqlite:///{tmp_path / 'ledger.db'}"


@pytest.fixture
def outbound(url: str, capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: str) -> tuple[int, str]:
        code = main(["ledger", "purge", *arguments, "--ledger-url", url])
        captured = capsys.readouterr()
        return code, captured.out + captured.err

    return run


@pytest.fixture
def make(simulator: Simulator, url: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Makes a group at the service and in the ledger."""

    def make_group(
        *, is_own: bool = True, at_service: bool = True, instance_id: str | None = None, jobs: int = 0
    ) -> str:
        def create(cloud: Cloud) -> str:  # the service's state, in its own thread
            group = cloud.create_group(name="g", script_id=cloud.options.script_id)
            texts = [
                f'{{"contacts": [{{"phoneNumber": "1380000000{job}", "referenceId": "r{job}"}}]}}'
                for job in range(jobs)
            ]
            cloud.assign(group, cloud.read_jobs(texts))
            if not at_service:
                del cloud.groups[group.group_id]
            return group.group_id

        group_id: str = simulator.run(create)
        key = TaskKey("dag", group_id, "create") if is_own else None
        record = JobGroupRecord(
            job_group_id=group_id,
            run_key=key.run_key if key else None,
            task_key=key,
            instance_id=instance_id or simulator.instance_id,
        )
        with open_ledger(url, [_key()]) as ledger:
            ledger.groups.record(record)
        return group_id

    return make_group


def _key() -> str:
    import os

    return os.environ["OUTBOUND_LEDGER_KEY"]


def left(simulator: Simulator) -> set[str]:
    return set(simulator.state()["groups"])


def deletions(simulator: Simulator) -> int:
    return int(simulator.state()["requests"].get("DeleteJobGroup", 0))


def test_purged_groups_are_deleted_once_those_of_earlier_purges_among_them(
    simulator: Simulator, outbound: Run, make: Callable[..., str]
) -> None:
    earlier = make()
    assert outbound("--older-than-days", "0")[0] == 0
    foreign, mine = make(is_own=False), make()

    code, said = outbound("--older-than-days", "0", "--at-service")
    again = outbound("--older-than-days", "0", "--at-service")

    assert code == 0, said
    assert f"{mine}: deleted at the service" in said
    assert f"{earlier}: deleted at the service" in said
    # Whoever created it decides.
    assert left(simulator) == {foreign}
    assert again[0] == 0
    assert deletions(simulator) == 2
    assert outbound("--group", foreign, "--at-service")[0] == 0
    assert left(simulator) == set()


def test_a_dry_run_and_a_purge_without_the_option_delete_nothing(
    simulator: Simulator, outbound: Run, make: Callable[..., str]
) -> None:
    group = make()

    code, said = outbound("--older-than-days", "0", "--at-service", "--dry-run")

    assert code == 0
    assert "1 job group would be deleted at the service" in said
    assert outbound("--older-than-days", "0")[0] == 0
    assert left(simulator) == {group}
    assert "1 job group would be deleted" in outbound("--older-than-days", "0", "--at-service", "--dry-run")[1]


def test_a_group_that_the_service_does_not_know_counts_as_deleted(
    simulator: Simulator, outbound: Run, make: Callable[..., str]
) -> None:
    group = make(at_service=False)

    assert outbound("--older-than-days", "0", "--at-service")[0] == 0
    requests = simulator.state()["requests"]["DescribeJobGroup"]

    assert "already purged" in outbound("--group", group, "--at-service")[1]
    assert simulator.state()["requests"]["DescribeJobGroup"] == requests


def test_a_failure_is_named_and_tried_again_by_the_next_purge(
    simulator: Simulator, outbound: Run, make: Callable[..., str]
) -> None:
    lost, other = make(), make()
    elsewhere = make(instance_id="another-instance")
    simulator.faults(status_500={"actions": ["DeleteJobGroup"], "times": 4})

    code, said = outbound("--older-than-days", "0", "--at-service")

    assert code == 1
    # An instance that is not known is no proof that the group is gone.
    assert f"outbound: {elsewhere}: DescribeJobGroup: NotExist.Instance" in said
    assert f"outbound: {lost}: DeleteJobGroup: InternalError" in said
    assert left(simulator) == {lost, elsewhere}
    assert other not in left(simulator)

    code, said = outbound("--group", lost, "--at-service")
    assert code == 0, said
    assert left(simulator) == {elsewhere}


def test_a_group_whose_jobs_have_not_ended_is_not_deleted(
    simulator: Simulator, outbound: Run, make: Callable[..., str]
) -> None:
    simulator.set_clock(speed=0)
    group = make(jobs=2)

    code, said = outbound("--older-than-days", "0", "--at-service")

    assert code == 1
    assert f"outbound: {group}: has 2 jobs that have not ended; cancel them" in said
    assert (left(simulator), deletions(simulator)) == ({group}, 0)


def test_a_cursor_has_nothing_at_the_service(outbound: Run, make: Callable[..., str]) -> None:
    make()

    code, said = outbound("--cursor", "crm", "--at-service")

    assert code == 1
    assert "--at-service: --cursor purges no job group" in said

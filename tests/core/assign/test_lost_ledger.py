"""A ledger that is put back to an earlier state, or lost, in the middle; and where the promise ends."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import attrs
import pytest
from cryptography.fernet import Fernet
from support.campaigns import Campaign, numbers

from airflow_provider_outbound.core.assign import AssignResult, GroupSpec, create_group
from airflow_provider_outbound.core.control import Action, JobCommand
from airflow_provider_outbound.core.ledger import TaskKey, open_ledger
from airflow_provider_outbound.exceptions import OutboundBotAnswerError, OutboundBotConfigError, StoppedError

KEY = Fernet.generate_key().decode()

AssignWith = Callable[..., AssignResult]


@pytest.fixture
def assign_with(campaign: Campaign, tmp_path: Path) -> AssignWith:
    """Assigns with a ledger that is opened for one try only, as a task does."""

    default = campaign

    def assign(
        contacts: list[str],
        *,
        path: Path = tmp_path / "mine.db",
        keys: tuple[str, ...] = (KEY,),
        campaign: Campaign = default,
        **options: Any,
    ) -> AssignResult:
        with open_ledger(f"sqlite:///{path}", keys) as ledger:
            return attrs.evolve(campaign, ledger=ledger).assign(contacts, **options)

    return assign


def test_a_snapshot_put_back_in_the_middle_calls_nobody_again(
    campaign: Campaign, assign_with: AssignWith, tmp_path: Path
) -> None:
    contacts = numbers(60)
    assign_with(contacts[:20])
    with closing(sqlite3.connect(tmp_path / "mine.db")) as now, closing(sqlite3.connect(tmp_path / "old.db")) as old:
        now.backup(old)
    campaign.simulator.faults(answer_lost={"actions": ["AssignJobs"], "probability": 0.3})
    assign_with(contacts[:45])

    for left in tmp_path.glob("mine.db*"):
        left.unlink()
    (tmp_path / "old.db").rename(tmp_path / "mine.db")
    for _ in range(5):
        result = assign_with(contacts)
        if not result.unresolved:
            break

    assert campaign.each_once(contacts)
    assert result.read == 60


def test_a_lost_ledger_calls_nobody_again(campaign: Campaign, assign_with: AssignWith, tmp_path: Path) -> None:
    contacts = numbers(40)
    assign_with(contacts[:25])

    result = assign_with(contacts, path=tmp_path / "new.db")

    assert campaign.each_once(contacts)
    assert (result.newly_assigned, result.duplicates) == (15, 25)


def test_a_lost_ledger_calls_nobody_again_while_the_listing_lags(
    campaign: Campaign, assign_with: AssignWith, tmp_path: Path
) -> None:
    """The group was made by a task of the ledger that is lost, and lists nothing yet."""
    contacts = numbers(30)
    campaign = marked(campaign, tmp_path)
    campaign.simulator.faults(listing_lag={"seconds": 2.0})
    assign_with(contacts[:25], campaign=campaign)

    result = assign_with(contacts, campaign=campaign, path=tmp_path / "new.db", settle_seconds=2.5)

    assert campaign.each_once(contacts)
    assert (result.newly_assigned, result.duplicates) == (5, 25)


def test_a_lost_ledger_whose_group_is_not_listed_whole_calls_nobody(
    campaign: Campaign, assign_with: AssignWith, tmp_path: Path
) -> None:
    campaign = marked(campaign, tmp_path)
    assign_with(numbers(10), campaign=campaign)
    requests = campaign.requests("AssignJobs")

    class Longer(list[Any]):
        """Jobs whose listing counts one more than it shows."""

        def __len__(self) -> int:
            return super().__len__() + 1

    def hide_one(cloud: Any) -> None:
        group = cloud.groups[campaign.job_group_id]
        group.jobs = Longer(group.jobs)

    campaign.simulator.run(hide_one)

    with pytest.raises(OutboundBotAnswerError, match=r"does not list the complete job group .* Nobody was called"):
        assign_with(numbers(12), campaign=campaign, path=tmp_path / "new.db", settle_seconds=0)

    assert campaign.requests("AssignJobs") == requests


def test_a_lost_ledger_whose_jobs_show_masked_calls_nobody(
    campaign: Campaign, assign_with: AssignWith, tmp_path: Path
) -> None:
    """Neither the references nor the numbers tell who was called."""
    campaign = marked(campaign, tmp_path)
    assign_with(numbers(10), campaign=campaign)
    campaign.simulator.faults(numbers_masked=True)

    with pytest.raises(OutboundBotConfigError, match=r"job_group_id: .* jobs of another ledger .* Nobody was called"):
        assign_with(numbers(12), campaign=campaign, path=tmp_path / "new.db")

    assert campaign.each_once(numbers(10))


def marked(campaign: Campaign, tmp_path: Path, **fields: Any) -> Campaign:
    """The campaign in a group that carries the mark of the first ledger."""
    with open_ledger(f"sqlite:///{tmp_path}/mine.db", (KEY,)) as ledger:
        group = create_group(
            campaign.client,
            ledger,
            TaskKey("dag", "run", "create"),
            lambda: GroupSpec(name="marked", script_id=campaign.simulator.script_id, **fields),
            instance_id=campaign.simulator.instance_id,
            settle_seconds=1.0,
        )
    return attrs.evolve(campaign, job_group_id=group.job_group_id)


@pytest.mark.parametrize("action", [Action.CANCEL, Action.SUSPEND])
@pytest.mark.parametrize("is_restored", [True, False])
def test_a_restored_ledger_adds_nobody_to_a_group_that_was_stopped(
    campaign: Campaign, assign_with: AssignWith, tmp_path: Path, action: Any, is_restored: bool
) -> None:
    """The command is younger than the backup, or the ledger is a new one: that the group was stopped is not known."""
    campaign = marked(campaign, tmp_path)
    campaign.simulator.set_clock(speed=0)
    with closing(sqlite3.connect(tmp_path / "mine.db")) as now, closing(sqlite3.connect(tmp_path / "old.db")) as old:
        now.backup(old)
    # More than the service has lines.
    assign_with(numbers(60), campaign=campaign)
    command = JobCommand(action=action, job_group_id=campaign.job_group_id, all_jobs=True)
    with open_ledger(f"sqlite:///{tmp_path}/mine.db", (KEY,)) as ledger:
        command.send(campaign.client, lambda: ledger)

    path = tmp_path / ("old.db" if is_restored else "new.db")
    for _ in range(2):
        with pytest.raises(
            StoppedError, match=f"all its jobs were {action}.* 60 jobs in the group may be of this list"
        ):
            assign_with(numbers(80), campaign=campaign, path=path, settle_seconds=0)

    assert campaign.each_once(numbers(60))


def test_nobody_is_added_to_a_group_that_was_cancelled_in_the_console(
    campaign: Campaign, assign_with: AssignWith, tmp_path: Path
) -> None:
    """The task has assigned everybody whom it had, and is cleared with a longer list."""
    tomorrow = round((time.time() + 86_400) * 1000)
    strategy = {"repeatBy": "Once", "startTime": tomorrow, "endTime": tomorrow + 3_600_000}
    campaign = marked(campaign, tmp_path, strategy_json=json.dumps(strategy))
    assign_with(numbers(3), campaign=campaign)
    campaign.client.cancel_jobs(job_group_id=campaign.job_group_id, all_jobs=True)

    with pytest.raises(StoppedError, match="all its jobs were cancelled"):
        assign_with(numbers(5), campaign=campaign)

    assert campaign.each_once(numbers(3))


def test_two_ledgers_that_take_turns_on_one_group(campaign: Campaign, assign_with: AssignWith, tmp_path: Path) -> None:
    contacts = numbers(30)
    for index, end in enumerate((10, 20, 30)):
        assign_with(contacts[:end], path=tmp_path / f"{index % 2}.db", key=TaskKey("dag", "run", f"t{index}"))

    assert campaign.each_once(contacts)


def test_keys_that_rotate_between_tries(campaign: Campaign, assign_with: AssignWith) -> None:
    contacts = numbers(20)
    assign_with(contacts[:10])
    newer = Fernet.generate_key().decode()
    campaign.simulator.faults(reset={"actions": ["AssignJobs"], "times": 1})
    held = assign_with(contacts, keys=(newer, KEY), on_unresolved="hold")
    assert held.unresolved == 5

    # The contact that is sent again was written under the key before.
    assert assign_with(contacts, keys=(Fernet.generate_key().decode(), newer, KEY)).unresolved == 0
    assert campaign.each_once(contacts)


def test_beyond_settle_seconds_the_promise_ends(campaign: Campaign, caplog: pytest.LogCaptureFixture) -> None:
    """
    A request that the service acts on later than ``settle_seconds`` after it was given up is sent again.

    Nothing in the API could tell it from one that never arrived. Who must not take that risk holds such contacts.
    """
    caplog.set_level("INFO")
    (number,) = numbers(1)
    campaign.simulator.faults(late={"actions": ["AssignJobs"], "seconds": 2.0, "times": 1})

    result = campaign.assign([number], settle_seconds=0.2)

    assert (result.assigned, result.unresolved) == (1, 0)
    assert "sending 1 contact again that never arrived" in caplog.text
    until = time.monotonic() + 20
    while campaign.jobs_per_number()[number] < 2 and time.monotonic() < until:
        time.sleep(0.05)
    assert campaign.jobs_per_number()[number] == 2


def test_held_contacts_are_not_sent_again_even_beyond_settle_seconds(campaign: Campaign) -> None:
    (number,) = numbers(1)
    campaign.simulator.faults(late={"actions": ["AssignJobs"], "seconds": 1.5, "times": 1})

    held = campaign.assign([number], settle_seconds=0.2, on_unresolved="hold")

    assert (held.assigned, held.unresolved) == (0, 1)
    until = time.monotonic() + 20
    while not campaign.jobs_per_number()[number] and time.monotonic() < until:
        time.sleep(0.05)
    result = campaign.assign([number], on_unresolved="hold")
    assert (result.assigned, result.unresolved) == (1, 0)
    assert campaign.each_once([number])

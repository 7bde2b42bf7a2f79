"""A company's do-not-call list is on the service's block list, completely, and nobody who refused is taken off it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowSkipException
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.examples import examples
from support.messages import call, job_complete, store

from airflow_provider_outbound.exceptions import OutboundBotConfigError, OutboundBotContactsError
from airflow_provider_outbound.operators.outboundbot import (
    OutboundBotSaveContactBlockListOperator,
    OutboundBotSyncContactBlockListOperator,
)
from airflow_provider_outbound.simulator.testing import Simulator

NUMBERS = [f"1380000{index:04}" for index in range(8)]
HUNG_UP = "SucceededClientHangUp"


def sync(**arguments: Any) -> OutboundBotSyncContactBlockListOperator:
    return OutboundBotSyncContactBlockListOperator(**{"task_id": "sync", **arguments})


def blocked(simulator: Simulator) -> set[str]:
    return set(simulator.run(lambda cloud: list(cloud.block_list)))


def block(simulator: Simulator, *numbers: str) -> None:
    """Put numbers on the list by hand."""
    simulator.run(
        lambda cloud: cloud.block(
            {number: {"ContactBlockListId": f"by-hand-{number}", "PhoneNumber": number} for number in numbers}
        )
    )


def requests(simulator: Simulator) -> dict[str, int]:
    return {name: count for name, count in simulator.state()["requests"].items() if "BlockList" in name}


@given(
    before=st.sets(st.sampled_from(NUMBERS)),
    listed=st.sets(st.sampled_from(NUMBERS), min_size=1),
    remove=st.booleans(),
)
@settings(max_examples=examples(15), deadline=None, suppress_health_check=list(HealthCheck))
def test_everybody_on_the_list_is_blocked_and_a_repeat_changes_nothing(
    simulator: Simulator, context: Callable[..., Any], before: set[str], listed: set[str], remove: bool
) -> None:
    simulator.reset()
    block(simulator, *before)

    result = sync(exclude=sorted(listed), remove=remove).execute(context())
    again = sync(exclude=sorted(listed), remove=remove).execute(context())

    gone = before - listed if remove else set()
    assert blocked(simulator) == (before | listed) - gone
    assert result == {"listed": len(listed), "added": len(listed - before), "removed": len(gone), "kept": 0}
    assert again == {"listed": len(listed), "added": 0, "removed": 0, "kept": 0}


def test_long_lists_are_read_and_sent_in_parts(
    simulator: Simulator,
    context: Callable[..., Any],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level("DEBUG")
    listed = [f"1391{index:07}" for index in range(120)]
    block(simulator, *(f"1370000{index:04}" for index in range(230)), *listed[:5])
    (tmp_path / "dnc.csv").write_text("Name,Mobile No.\n" + "".join(f"王芳,+86 {number}\n" for number in listed))

    result = sync(
        exclude_path=tmp_path, exclude_columns={"phone": "Mobile No."}, remove=True, max_removals=230
    ).execute(context())

    assert result == {"listed": 120, "added": 115, "removed": 230, "kept": 0}
    assert blocked(simulator) == set(listed)
    assert requests(simulator)["SaveContactBlockList"] == 3
    assert listed[7] not in caplog.text + capsys.readouterr().out + json.dumps(result)


def test_a_list_in_another_writing_blocks_the_form_that_is_dialled(
    simulator: Simulator, context: Callable[..., Any]
) -> None:
    block(simulator, "+8613800000000")

    sync(exclude=["138-0000-0000"], remove=True).execute(context())

    assert blocked(simulator) == {"+8613800000000", "13800000000"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param({}, "there is no list", id="none"),
        pytest.param({"exclude": None}, "exclude: empty", id="skipped-upstream"),
        pytest.param({"exclude": []}, "there is no number on the list", id="empty"),
        pytest.param({"exclude": ["13800000000", "no number"]}, "exclude: row 2", id="unreadable"),
        pytest.param({"exclude_path": "/nowhere/dnc.csv"}, "there is no file", id="no-file"),
        pytest.param({"exclude": NUMBERS, "exclude_columns": {"tel": "x"}}, "exclude_columns", id="columns"),
        pytest.param({"exclude": NUMBERS, "exclude_sheet": "x"}, "exclude_sheet", id="sheet"),
        pytest.param({"exclude": NUMBERS, "on_empty": "clear"}, "remove=True", id="contradiction"),
        pytest.param({"exclude": NUMBERS, "remove": "False"}, "remove: 'False'", id="flag"),
        pytest.param({"exclude": NUMBERS[:1], "remove": True, "max_removals": 1}, "max_removals: 2", id="cut-off"),
    ],
)
def test_a_list_that_is_not_understood_changes_nothing(
    simulator: Simulator, context: Callable[..., Any], arguments: dict[str, Any], words: str
) -> None:
    block(simulator, "13900000000", "13900000001")

    with pytest.raises(OutboundBotConfigError, match=words):
        sync(**arguments).execute(context())

    assert blocked(simulator) == {"13900000000", "13900000001"}
    assert requests(simulator).keys() <= {"GetContactBlockList"}


def test_an_empty_list_empties_the_service_only_if_the_author_says_so(
    simulator: Simulator, context: Callable[..., Any]
) -> None:
    block(simulator, "13900000000")
    with pytest.raises(OutboundBotContactsError, match="on_empty"):
        sync(exclude=[], remove=True).execute(context())
    with pytest.raises(AirflowSkipException, match="Nothing was changed"):
        sync(exclude=[], remove=True, on_empty="skip").execute(context())
    assert blocked(simulator) == {"13900000000"}

    assert sync(exclude=[], remove=True, on_empty="clear").execute(context())["removed"] == 1
    assert blocked(simulator) == set()


def test_masked_entries_are_never_removed(simulator: Simulator, context: Callable[..., Any]) -> None:
    block(simulator, "13900000000")
    simulator.faults(numbers_masked=True)

    with pytest.raises(OutboundBotConfigError, match="remove: the numbers of 1 entries"):
        sync(exclude=NUMBERS, remove=True).execute(context())

    assert blocked(simulator) == {"13900000000"}
    assert sync(exclude=NUMBERS).execute(context())["added"] == len(NUMBERS)
    assert blocked(simulator) == {"13900000000", *NUMBERS}


def test_who_refused_stays_blocked_until_somebody_allows_it(simulator: Simulator, context: Callable[..., Any]) -> None:
    """A task put the person on the list because of what was said in a call; the company's list does not know."""
    operator = OutboundBotSaveContactBlockListOperator(task_id="block", job_group_id="g", only=HUNG_UP)
    with operator.hook as hook:
        store(hook.ledger, job_complete("g", "job-1", "13900000043", "r-1", call("call-1", HUNG_UP)))
    operator.execute(context())

    result = sync(exclude=NUMBERS, remove=True).execute(context())
    assert (result["removed"], result["kept"]) == (0, 1)
    assert "13900000043" in blocked(simulator)

    with operator.hook as hook:
        hook.ledger.follow_ups.take_back([hook.ledger.identity.phone_key("+8613900000043")])
    assert sync(exclude=NUMBERS, remove=True).execute(context())["removed"] == 1


def test_a_removal_whose_answer_was_lost_counts_once(simulator: Simulator, context: Callable[..., Any]) -> None:
    block(simulator, "13900000000")
    simulator.faults(answer_lost={"actions": ["DeleteContactBlockList"], "times": 1})

    assert sync(exclude=NUMBERS, remove=True).execute(context())["removed"] == 1
    assert blocked(simulator) == set(NUMBERS)


def test_nothing_is_sent_in_a_dry_run(
    simulator: Simulator, context: Callable[..., Any], connection: Callable[..., None]
) -> None:
    connection({"dry_run": True})

    with pytest.raises(AirflowSkipException, match="8 numbers are on the list; nothing was sent"):
        sync(exclude=NUMBERS).execute(context())

    assert requests(simulator) == {}


def test_airflow_sees_no_number() -> None:
    with DAG("masked", schedule=None) as dag:
        operator = sync(exclude=NUMBERS)

    assert "13800" not in repr(operator.exclude)
    assert next(iter(dag.task_dict["sync"].template_fields)) == "exclude"

"""Every example is run by the tests, and none takes a date that belongs to another day for today's."""

from __future__ import annotations

import ast
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from airflow.dag_processing.dagbag import DagBag

FOLDER = Path(__file__).parents[1] / "example_dags"
EXAMPLES = sorted(FOLDER.glob("*.py"))
#: Of a DAG run they tell the interval or nothing at all, not the day on which people are called.
DATES = ("ds", "ds_nodash", "ts", "logical_date", "data_interval_start", "execution_date")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_no_example_takes_the_runs_date_for_today(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    rendered = {word for text in texts if "{{" in text or text.isidentifier() for word in text.split()}

    assert not {date for date in DATES if date in names | rendered}


def test_every_example_is_run_in_a_real_airflow() -> None:
    tree = ast.parse((Path(__file__).parent / "acceptance" / "conftest.py").read_text(encoding="utf-8"))
    (listed,) = [
        ast.literal_eval(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", None) == "EXAMPLES"
    ]

    assert set(listed) == {path.stem for path in EXAMPLES}


@pytest.mark.parametrize(
    ("module", "dag_id", "written"),
    [
        pytest.param("nightly_campaign", "nightly_campaign", "write_contacts", id="nightly_campaign"),
        pytest.param("canary", "canary", "write_contacts", id="canary"),
        pytest.param("setup_and_teardown", "setup_and_teardown", "write_contacts", id="setup_and_teardown"),
        pytest.param("redial_with_cap", "redial_with_cap", "write_contacts", id="redial_with_cap"),
        pytest.param("follow_up_on_results", "campaign_with_results", "write_contacts", id="follow_up_on_results"),
        pytest.param("mapped_campaign", "mapped_campaign", "write_segments", id="mapped_campaign"),
        pytest.param("parallel_segments", "parallel_segments", "write_segments", id="parallel_segments"),
        pytest.param("approve_before_calling", "approve_before_calling", "write_contacts", id="approve_before_calling"),
        pytest.param("campaign_on_asset", "contacts_for_asset", "write_contacts", id="campaign_on_asset"),
    ],
)
def test_the_list_of_an_example_is_its_owners_alone_and_does_not_stay(
    module: str, dag_id: str, written: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_dag: Callable[..., Any]
) -> None:
    monkeypatch.setenv("OUTBOUND_EXAMPLE_FOLDER", str(tmp_path / "example"))
    bag = DagBag(str(FOLDER / f"{module}.py"))
    assert not bag.import_errors
    mask = os.umask(0o022)
    try:
        run = run_dag(bag.dags[dag_id], mark_success_pattern=rf"(?!{written}$).*")
    finally:
        os.umask(mask)

    lists = list((tmp_path / "example").iterdir())
    assert lists
    assert {stat.S_IMODE(path.stat().st_mode) for path in lists} == {0o600}
    assert stat.S_IMODE((tmp_path / "example").stat().st_mode) == 0o700

    (delete,) = [task for dag in bag.dags.values() for task in dag.tasks if task.task_id == "delete_contacts"]
    if module == "campaign_on_asset":
        # It reads the path in the event of its run; the acceptance tests see the file go.
        assert delete.upstream_task_ids == {"assign"}
        return
    assert delete.is_teardown
    cast("Any", delete).python_callable(run.get_task_instance(written).xcom_pull(task_ids=written))
    assert not list((tmp_path / "example").iterdir())


def test_the_list_of_the_flagship_lies_in_the_store_that_its_folder_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_dag: Callable[..., Any]
) -> None:
    monkeypatch.setenv("OUTBOUND_EXAMPLE_FOLDER", f"{(tmp_path / 'store').as_uri()}")
    (tmp_path / "store").mkdir()
    monkeypatch.chdir(tmp_path)
    dag = DagBag(str(FOLDER / "nightly_campaign.py")).dags["nightly_campaign"]

    run = run_dag(dag, mark_success_pattern=r"(?!write_contacts$).*")

    path = run.get_task_instance("write_contacts").xcom_pull(task_ids="write_contacts")
    assert path.startswith("file:///")
    (written,) = (tmp_path / "store").iterdir()
    assert path.endswith(written.name)
    assert [entry.name for entry in tmp_path.iterdir()] == ["store"]
    (delete,) = [task for task in dag.tasks if task.task_id == "delete_contacts"]
    cast("Any", delete).python_callable(path)
    assert not list((tmp_path / "store").iterdir())


def test_each_task_of_the_flagship_is_tried_again() -> None:
    dag = DagBag(str(FOLDER / "nightly_campaign.py")).dags["nightly_campaign"]

    assert [task.task_id for task in dag.tasks if not task.retries] == []

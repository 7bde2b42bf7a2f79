"""Every example is run by the tests, and none takes a date that belongs to another day for today's."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

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

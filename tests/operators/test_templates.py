"""A template of which a part gives nothing selects other files, tables or rows than its author meant."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import jinja2
import pytest
from airflow.sdk import DAG, ObjectStoragePath
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.examples import examples

from airflow_provider_outbound.core.models.strategy import Strategy
from airflow_provider_outbound.exceptions import OutboundBotConfigError
from airflow_provider_outbound.operators.outboundbot import (
    OutboundBotAssignJobsOperator,
    OutboundBotCreateJobGroupOperator,
    OutboundBotDownloadRecordingsOperator,
    OutboundBotExportResultsOperator,
    OutboundBotSaveContactBlockListOperator,
    OutboundBotSyncContactBlockListOperator,
)
from airflow_provider_outbound.simulator.testing import Simulator

ALL_DAY = Strategy(working_time=[("00:00", "23:59:59")])
NUMBERS = [f"1380000{index:04}" for index in range(4)]
NAMES = count()


@pytest.fixture
def group(context: Callable[..., Any]) -> Any:
    return OutboundBotCreateJobGroupOperator(task_id="create", strategy=ALL_DAY).execute(context("create"))


@pytest.fixture
def rendered(context: Callable[..., Any], group: Any) -> Any:
    """Renders and executes a task as Airflow does."""

    def run(kind: Any = OutboundBotAssignJobsOperator, *, given: Any = None, dag: Any = None, **arguments: Any) -> Any:
        with DAG(f"by_hand_{next(NAMES)}", schedule=None, **(dag or {})) as made:
            if kind is OutboundBotAssignJobsOperator:
                arguments = {"settle_seconds": 0.3, **arguments}
            if kind is not OutboundBotSyncContactBlockListOperator:
                arguments = {"job_group_id": group, **arguments}
            operator = kind(task_id="task", **arguments)
        full: Any = {**context(), "params": {}, **(given or {})}
        operator.render_template_fields(full, made.get_template_env())
        return operator.execute(full)

    return run


@pytest.fixture
def lists(tmp_path: Path) -> Any:
    """A folder of two lists, of one and of three people."""
    folder = tmp_path / "lists"
    folder.mkdir()
    (folder / "a.csv").write_text(f"phone\n{NUMBERS[0]}\n")
    (folder / "b.csv").write_text("phone\n" + "".join(f"{number}\n" for number in NUMBERS[1:]))
    return folder


def called(simulator: Simulator) -> list[str]:
    return sorted(simulator.state()["jobs_per_number"])


TEXTS, VALUES = st.sampled_from(["a", "b-", "x/", ""]), st.sampled_from(["v", "", " ", None])
NOTHING = [
    pytest.param("{{ params.file }}", {"file": ""}, id="empty"),
    pytest.param("{{ params.file }}", {"file": " "}, id="blank"),
    pytest.param("{{ params.file }}", {"file": None}, id="none"),
    pytest.param("{{ params.file | default('') }}", {}, id="default"),
    pytest.param("{{ data_interval_start | ds }}", {}, id="no-logical-date"),
    pytest.param("{{ params.file }}*.csv", {"file": ""}, id="pattern"),
    pytest.param("{% if params.file %}{{ params.file }}{% endif %}", {"file": ""}, id="condition"),
    pytest.param("{{ params.file }}.csv", {"file": None}, id="name"),
    pytest.param("{{ ds }}", {}, id="undefined"),
]


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize(("template", "params"), NOTHING)
def test_a_path_that_lost_its_end_calls_nobody(
    simulator: Simulator, rendered: Any, lists: Any, template: Any, params: Any, native: bool
) -> None:
    with pytest.raises(OutboundBotConfigError, match=r"^contacts_path: .*Nobody was called$"):
        rendered(
            contacts_path=f"{lists}/{template}",
            given={"params": params, "data_interval_start": None},
            dag={"render_template_as_native_obj": native},
        )

    assert not called(simulator)


@pytest.mark.parametrize(
    "template",
    [
        "{{ params.folder ~ '/' ~ params.file }}",
        "{{ params.folder + '/' + params.file }}",
        "{{ '%s/%s' | format(params.folder, params.file) }}",
        "{{ [params.folder, params.file] | join('/') }}",
        "{{ '{}/{}'.format(params.folder, params.file) }}",
    ],
)
def test_a_path_that_is_put_together_within_an_expression_calls_nobody(
    simulator: Simulator, rendered: Any, lists: Any, template: str
) -> None:
    with pytest.raises(OutboundBotConfigError, match=r"^contacts_path: .*Nobody was called$"):
        rendered(contacts_path=template, given={"params": {"folder": str(lists), "file": ""}})

    assert not called(simulator)


@pytest.mark.parametrize(
    ("template", "params"),
    [
        pytest.param("{folder}/", {}, id="literal"),
        pytest.param("{{{{ params.folder }}}}/", {"folder": "{folder}"}, id="template"),
        pytest.param("{{{{ params.folder }}}}", {"folder": "{folder}/"}, id="value"),
        pytest.param("{base}/{{{{ params.prefix }}}}", {"prefix": "lists/"}, id="prefix"),
        pytest.param("{folder}/{{% if params.only %}}{{{{ params.only }}}}{{% else %}}*{{% endif %}}", {}, id="branch"),
    ],
)
def test_a_folder_that_the_author_or_a_value_names_is_read(
    simulator: Simulator, rendered: Any, lists: Any, template: str, params: dict[str, Any]
) -> None:
    params = {name: value.format(folder=lists) for name, value in params.items()}

    rendered(
        contacts_path=template.format(folder=lists, base=lists.parent),
        given={"params": params},
        dag={"template_undefined": jinja2.Undefined},
    )

    assert called(simulator) == NUMBERS


@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    parts=st.lists(st.tuples(st.sampled_from(["a", "b-", "x/", ""]), st.sampled_from(["v", "", " ", None])), max_size=4)
)
def test_each_expression_of_a_path_has_a_value_or_the_path_is_refused(context: Callable[..., Any], parts: Any) -> None:
    """For any path of literal parts and expressions: what is rendered is whole, or it is an error."""
    with DAG(f"any_{next(NAMES)}", schedule=None) as dag:
        path = "/" + "".join(f"{text}{{{{ params.p{place} }}}}" for place, (text, _) in enumerate(parts))
        operator = OutboundBotAssignJobsOperator(task_id="task", job_group_id="g", contacts_path=f"{path}.csv")
    params = {f"p{place}": value for place, (_, value) in enumerate(parts)}
    full: Any = {**context(), "params": params}

    if all(value and value.strip() for value in params.values()):
        operator.render_template_fields(full, dag.get_template_env())
        assert operator.contacts_path == "/" + "".join(f"{text}v" for text, _ in parts) + ".csv"
    else:
        with pytest.raises(OutboundBotConfigError, match=r"^contacts_path: "):
            operator.render_template_fields(full, dag.get_template_env())


@pytest.mark.parametrize("argument", ["contacts_path", "exclude_path", "rejects_path"])
@pytest.mark.parametrize("kind", [str, Path, ObjectStoragePath])
def test_no_path_with_a_missing_part_is_used(
    simulator: Simulator, rendered: Any, lists: Any, argument: str, kind: Any
) -> None:
    arguments = {} if argument == "contacts_path" else {"contacts": NUMBERS}

    with pytest.raises(OutboundBotConfigError, match=rf"^{argument}: .*Nobody was called$"):
        rendered(
            **arguments,
            **{argument: kind(f"{lists}/{{{{ params.day }}}}.csv")},
            on_invalid="skip",
            given={"params": {"day": None}},
        )

    assert not called(simulator)
    assert sorted(path.name for path in lists.iterdir()) == ["a.csv", "b.csv"]


def test_a_path_that_was_not_rendered_calls_nobody(simulator: Simulator, rendered: Any, lists: Any) -> None:
    """Airflow does not render a pathlib.Path; as a pattern it matches nothing, and the task would be skipped."""
    with pytest.raises(OutboundBotConfigError, match=r"^contacts_path: .* was not rendered"):
        rendered(contacts_path=lists / "{{ ds }}*.csv", given={"ds": "2026-11-27"})

    assert not called(simulator)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT phone FROM people WHERE phone >= '{{ params.since }}'",
        "SELECT phone FROM people WHERE phone < 'x{{ params.since }}'",
        "SELECT phone FROM people {{ params.since }}",
    ],
)
@pytest.mark.parametrize("value", ["", None])
def test_a_query_that_lost_a_part_calls_nobody(
    simulator: Simulator, rendered: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sql: str, value: str | None
) -> None:
    with sqlite3.connect(tmp_path / "crm.db") as crm:
        crm.execute("CREATE TABLE people (phone TEXT)")
        crm.executemany("INSERT INTO people VALUES (?)", [(number,) for number in NUMBERS])
    monkeypatch.setenv("AIRFLOW_CONN_CRM", f"sqlite:///{tmp_path}/crm.db")

    with pytest.raises(OutboundBotConfigError, match=r"^contacts_sql: .*Nobody was called$"):
        rendered(contacts_sql=sql, sql_conn_id="crm", given={"params": {"since": value}})

    assert not called(simulator)


@pytest.mark.parametrize(
    ("kind", "arguments", "ending"),
    [
        (OutboundBotExportResultsOperator, {"path": "{out}/results_{{{{ params.x }}}}.csv"}, "Nothing was written"),
        (OutboundBotExportResultsOperator, {"path": "{{{{ params.x }}}}"}, "Nothing was written"),
        (
            OutboundBotExportResultsOperator,
            {"table": "results_{{{{ params.x }}}}", "sql_conn_id": "crm"},
            "Nothing was written",
        ),
        (OutboundBotDownloadRecordingsOperator, {"path": "{out}/{{{{ params.x }}}}"}, "Nothing was written"),
        (OutboundBotSaveContactBlockListOperator, {"only": "tag:refused={{{{ params.x }}}}"}, "Nothing was changed"),
        (OutboundBotSyncContactBlockListOperator, {"exclude_path": "{out}/{{{{ params.x }}}}"}, "Nothing was changed"),
    ],
)
@pytest.mark.parametrize("value", ["", None])
def test_other_tasks_refuse_it_too(
    rendered: Any, tmp_path: Path, kind: Any, arguments: dict[str, Any], ending: str, value: str | None
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    arguments = {name: text.format(out=out) for name, text in arguments.items()}

    with pytest.raises(OutboundBotConfigError, match=rf"^{next(iter(arguments))}: .*{ending}$"):
        rendered(kind, **arguments, given={"params": {"x": value}})

    assert not list(out.iterdir())


@pytest.mark.parametrize(
    "argument",
    ["columns", "exclude_columns", "sheet", "exclude_sheet", "rejects_path", "sql_conn_id", "contacts_conn_id"],
)
def test_what_a_task_did_not_give_is_not_the_default(simulator: Simulator, rendered: Any, argument: str) -> None:
    """Without columns, another number of each person might be called; without rejects_path, rejects are lost."""
    contacts = [{"phone": NUMBERS[0], "backup": NUMBERS[1]}]

    with pytest.raises(OutboundBotConfigError, match=rf"^{argument}: .*Nobody was called$"):
        rendered(contacts=contacts, **{argument: "{{ none }}"}, dag={"render_template_as_native_obj": True})

    assert not called(simulator)


def test_an_error_of_a_retry_speaks_of_this_try(context: Callable[..., Any], group: Any) -> None:
    with DAG("again", schedule=None) as dag:
        operator = OutboundBotAssignJobsOperator(task_id="task", job_group_id=group, contacts_path="/x/{{ params.x }}")
    full: Any = {**context(try_number=2), "params": {"x": ""}}

    with pytest.raises(OutboundBotConfigError, match=r"Nobody was called in this try$"):
        operator.render_template_fields(full, dag.get_template_env())


@pytest.mark.parametrize(
    ("kind", "field"),
    [(OutboundBotAssignJobsOperator, "rejects_path"), (OutboundBotExportResultsOperator, "path")],
)
def test_instances_of_a_mapped_task_do_not_replace_each_others_file(
    context: Callable[..., Any], tmp_path: Path, kind: Any, field: str
) -> None:
    def render(path: Any, /, *, map_index: int = 0, **expanded: Any) -> Any:
        with DAG(f"mapped_{next(NAMES)}", schedule=None) as dag:
            given: dict[str, Any] = {"task_id": "task"} if field in expanded else {"task_id": "task", field: path}
            made = kind.partial(**given).expand(**expanded) if expanded else kind(**given, job_group_id="g")
        operator = made if not expanded else made.unmap({"job_group_id": "g", field: path})
        full: Any = {
            **context(map_index=map_index),
            "params": {"day": "today"},
            "ds": "2026-11-27",
            "macros": {"random": random.random},
        }
        operator.render_template_fields({**full, "task": operator}, dag.get_template_env())
        return str(getattr(operator, field))

    shared = f"{tmp_path}/file.csv"
    same = rf"^{field}: all instances of this mapped task would write the same file.*(called|written)$"

    with pytest.raises(OutboundBotConfigError, match=same):
        render(shared, job_group_id=["a", "b"])
    with pytest.raises(OutboundBotConfigError, match=same):
        # Of a mapped task group, each task has an index.
        render(Path(shared))
    for of_run in ("{{ ds }}", "{{ params.day }}", "{% if ds > '2026' %}a{% endif %}", "{{ ds | replace('-', '') }}"):
        with pytest.raises(OutboundBotConfigError, match=same):
            render(f"{tmp_path}/{of_run}.csv", job_group_id=["a", "b"])
    with pytest.raises(jinja2.TemplateSyntaxError):
        render(f"{tmp_path}/{{{{ ds", job_group_id=["a", "b"])
    own_params: list[Any] = [{"day": "x"}, {"day": "y"}]
    for own in ("{{ ti.map_index }}", "{{ task.task_id }}", "{{ macros.random() }}"):
        assert render(f"{tmp_path}/{own}.csv", job_group_id=["a", "b"]).startswith(f"{tmp_path}/")
    assert render(f"{tmp_path}/{{{{ params.day }}}}.csv", params=own_params) == f"{tmp_path}/today.csv"
    assert render(shared, map_index=-1) == shared
    assert render(f"{tmp_path}/{{{{ ti.map_index }}}}.csv", map_index=1) == f"{tmp_path}/1.csv"
    expanded: dict[str, Any] = {field: [shared, f"{tmp_path}/other.csv"]}
    assert render(shared, **expanded) == shared

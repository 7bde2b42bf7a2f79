"""Nobody on a do-not-call list is called, whatever the form in which the list arrives, or fails to arrive."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import openpyxl
import pandas as pd
import pytest
from airflow.sdk import DAG, task
from airflow.sdk.exceptions import AirflowSkipException
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from support.examples import examples

from airflow_provider_outbound.core.models.strategy import Strategy
from airflow_provider_outbound.exceptions import OutboundBotConfigError, OutboundBotContactsError
from airflow_provider_outbound.operators.outboundbot import (
    OutboundBotAssignJobsOperator,
    OutboundBotCreateJobGroupOperator,
)
from airflow_provider_outbound.simulator.testing import Simulator

if TYPE_CHECKING:
    from airflow.models import DagRun

ALL_DAY = Strategy(working_time=[("00:00", "23:59:59")])
NUMBERS = [f"1380000{index:04}" for index in range(8)]


@pytest.fixture
def group(context: Callable[..., Any]) -> dict[str, Any]:
    return OutboundBotCreateJobGroupOperator(task_id="create", strategy=ALL_DAY).execute(context("create"))


@pytest.fixture
def assign(group: dict[str, Any], context: Callable[..., Any]) -> Callable[..., Any]:
    """Renders and executes an assignment as Airflow does."""
    numbers = count()

    def run(
        *,
        params: dict[str, Any] | None = None,
        native: bool = False,
        context_more: dict[str, Any] | None = None,
        **arguments: Any,
    ) -> dict[str, Any]:
        with DAG(f"by_hand_{next(numbers)}", schedule=None, render_template_as_native_obj=native) as dag:
            operator = OutboundBotAssignJobsOperator(
                **{"task_id": "assign", "job_group_id": group, "contacts": NUMBERS, "settle_seconds": 0.3, **arguments}
            )
        full = context("assign") | {"params": params or {}, **(context_more or {})}
        operator.render_template_fields(full, dag.get_template_env())
        return operator.execute(full)

    return run


def called(simulator: Simulator) -> list[str]:
    return sorted(simulator.state()["jobs_per_number"])


def write_csv(path: Path, rows: Iterable[Iterable[object]]) -> str:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return str(path)


WRITINGS = [
    "{}",
    " +86 {} ",
    "0086-{}",
    "{}.0",
]
FORMS = [
    "list",
    "tuple",
    "dicts",
    "numbers",
    "frame",
    "templates",
    "params",
    "csv",
    "jsonl",
    "folder",
    "both",
    "workbook",
]


def in_form(form: str, numbers: list[str], writing: str, folder: Path) -> dict[str, Any]:
    """Arguments by which exactly these numbers are excluded."""
    written = [writing.format(number) for number in numbers]
    folder.mkdir()
    if form in ("list", "tuple"):
        return {"exclude": {"list": list, "tuple": tuple}[form](written)}
    if form == "dicts":
        return {"exclude": [{"手机号": number, "why": "asked"} for number in written]}
    if form == "numbers":
        return {"exclude": [int(number) for number in numbers]}
    if form == "frame":
        return {"exclude": pd.DataFrame({"Mobile No.": written}), "exclude_columns": {"phone": "Mobile No."}}
    if form == "templates":
        places = range(len(written))
        return {"exclude": [f"{{{{ params.dnc[{place}] }}}}" for place in places], "params": {"dnc": written}}
    if form == "params":
        return {"exclude": "{{ params.dnc }}", "params": {"dnc": written}, "native": True}
    if form == "jsonl":
        (folder / "dnc.jsonl").write_text("".join(json.dumps({"phone": number}) + "\n" for number in written))
        return {"exclude_path": "{{ params.folder }}/dnc.jsonl", "params": {"folder": str(folder)}}
    if form == "workbook":
        book = openpyxl.Workbook()
        for line in (["Do not call"], [], ["phone"], *([number] for number in written)):
            book.active.append(line)
        book.save(folder / "dnc.xlsx")
        return {"exclude_path": str(folder / "dnc.xlsx"), "exclude_sheet": "Sheet"}
    path = write_csv(folder / "dnc.csv", [["phone"], *([number] for number in written)])
    if form == "both":
        write_csv(folder / "dnc.csv", [["phone"], *([number] for number in written[1:])])
        return {"exclude_path": path, "exclude": written[:1]}
    return {"exclude_path": path if form == "csv" else str(folder)}


@given(
    form=st.sampled_from(FORMS),
    writing=st.sampled_from(WRITINGS),
    places=st.sets(st.integers(0, len(NUMBERS) - 1), max_size=len(NUMBERS) - 1),
)
@settings(max_examples=examples(25), deadline=None, suppress_health_check=list(HealthCheck))
def test_nobody_on_the_list_is_called_in_whatever_form_it_comes(
    simulator: Simulator,
    context: Callable[..., Any],
    assign: Callable[..., Any],
    tmp_path_factory: pytest.TempPathFactory,
    form: str,
    writing: str,
    places: set[int],
) -> None:
    assume(places or form != "jsonl")  # an empty file has no header, which alone would say that nobody is meant
    excluded = [NUMBERS[place] for place in places]
    run_id = str(tmp_path_factory.mktemp("forms"))
    group = OutboundBotCreateJobGroupOperator(task_id="create", strategy=ALL_DAY).execute(
        context("create", run_id=run_id)
    )

    result = assign(
        **in_form(form, excluded, writing, Path(run_id, "lists")),
        job_group_id=group,
        context_more=context("assign", run_id=run_id),
    )

    jobs = simulator.state()["groups"][group["job_group_id"]]["jobs"]
    assert sorted(job["phone_number"] for job in jobs) == sorted(set(NUMBERS) - set(excluded))
    assert result["excluded"] == len(excluded)


@pytest.mark.parametrize("value", [None, "", "None", " "], ids=["none", "nothing", "the-word", "blank"])
@pytest.mark.parametrize("native", [False, True], ids=["text", "native"])
@pytest.mark.parametrize("argument", ["exclude", "exclude_path"])
def test_an_exclusion_whose_template_renders_to_nothing_calls_nobody(
    simulator: Simulator, assign: Callable[..., Any], argument: str, native: bool, value: str | None
) -> None:
    with pytest.raises(
        OutboundBotContactsError, match=rf"^{argument}: empty: .*on_missing_exclusions='ignore'"
    ) as caught:
        assign(**{argument: "{{ params.dnc }}"}, params={"dnc": value}, native=native)

    assert str(caught.value).endswith("Nobody was called")
    assert "\n" not in str(caught.value)
    assert not called(simulator)


@pytest.mark.parametrize("arguments", [{"exclude": ""}, {"exclude": [None]}, {"exclude": ["13800000001", None]}])
def test_an_exclusion_with_a_hole_calls_nobody(
    simulator: Simulator, assign: Callable[..., Any], arguments: dict[str, Any]
) -> None:
    with pytest.raises(OutboundBotContactsError, match=r"^exclude: "):
        assign(**arguments)

    assert not called(simulator)


@pytest.mark.parametrize("label", ["exclude", "exclude_path"])
def test_none_in_the_dag_file_is_a_list_that_is_missing(
    simulator: Simulator, assign: Callable[..., Any], label: str
) -> None:
    with pytest.raises(OutboundBotContactsError, match=f"^{label}: empty: .*the DAG passes None"):
        assign(**{label: None})
    assert not called(simulator)

    assert assign(**{label: None}, on_missing_exclusions="ignore")["assigned"] == 8


@pytest.mark.parametrize("shape", ["file", "pattern", "folder", "hidden", "object-store"])
def test_exclusions_that_are_not_there_call_nobody_unless_that_is_accepted(
    simulator: Simulator, assign: Callable[..., Any], tmp_path: Path, shape: str, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "lists"
    folder.mkdir()
    (folder / "_SUCCESS").touch()
    path = {
        "file": f"{folder}/dnc.csv",
        "pattern": f"{folder}/day=*/dnc-*.csv",
        "folder": str(tmp_path / "empty"),
        "hidden": str(folder),
        "object-store": f"file://{folder}/dnc.csv",
    }[shape]
    (tmp_path / "empty").mkdir()

    with pytest.raises(
        OutboundBotContactsError, match=r"^exclude_path: (there is no file|no file matches) .*lists|empty"
    ):
        assign(exclude_path=path)
    assert not called(simulator)

    assert assign(exclude_path=path, on_missing_exclusions="ignore")["assigned"] == 8
    assert "it excludes nobody, because on_missing_exclusions='ignore'" in "".join(capfd.readouterr())


@pytest.mark.parametrize(
    ("arguments", "params"),
    [
        pytest.param({"exclude": "{{ params.dnc }}"}, {"dnc": None}, id="none"),
        pytest.param({"exclude_path": "{{ params.dnc }}"}, {"dnc": ""}, id="no-path"),
    ],
)
def test_an_exclusion_that_does_not_exist_may_be_ignored_by_name(
    simulator: Simulator,
    assign: Callable[..., Any],
    arguments: dict[str, Any],
    params: dict[str, Any],
    capfd: pytest.CaptureFixture[str],
) -> None:
    result = assign(**arguments, params=params, on_missing_exclusions="ignore")

    assert result["assigned"] == 8
    assert "on_missing_exclusions='ignore'" in "".join(capfd.readouterr())


def test_one_that_exists_and_cannot_be_read_is_never_ignored(
    simulator: Simulator, assign: Callable[..., Any], tmp_path: Path
) -> None:
    bad = write_csv(tmp_path / "dnc.csv", [["phone"], ["nonsense"]])

    for arguments in (
        {"exclude_path": bad},
        {"exclude_path": f"{bad}/inside.csv"},
        {"exclude_path": "{{ '{{' }} params.dnc }}.csv"},
        {"exclude": ["12"]},
        {"exclude": [None]},
        {"exclude": "{{ '13800000001' }}"},
        {"exclude_path": write_csv(tmp_path / "other.csv", [["number of the phone"], ["13800000001"]])},
    ):
        with pytest.raises((OutboundBotContactsError, OutboundBotConfigError), match="Nobody was called"):
            assign(**arguments, on_missing_exclusions="ignore")

    assert not called(simulator)


def test_an_unknown_word_for_missing_exclusions_is_refused(simulator: Simulator, assign: Callable[..., Any]) -> None:
    with pytest.raises(OutboundBotConfigError, match=r"on_missing_exclusions: 'skip' is not one of 'fail', 'ignore'"):
        assign(exclude=[], on_missing_exclusions="skip")

    assert not called(simulator)


def test_a_list_that_is_there_and_empty_is_meant_and_logged(
    simulator: Simulator, assign: Callable[..., Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    result = assign(exclude=[], exclude_path=write_csv(tmp_path / "dnc.csv", [["phone", "name"]]))

    assert result["assigned"] == 8
    log = "".join(capfd.readouterr())
    assert "exclude: 0 numbers" in log
    assert "exclude_path: 0 numbers" in log


def test_the_number_of_exclusions_is_logged_and_no_number(
    simulator: Simulator, assign: Callable[..., Any], capfd: pytest.CaptureFixture[str]
) -> None:
    assign(exclude=[NUMBERS[1], {"phone": NUMBERS[2]}])

    log = "".join(capfd.readouterr())
    assert "exclude: 2 numbers" in log
    assert not [number for number in NUMBERS if number in log]


class TestColumns:
    """``columns`` and ``exclude_columns``."""

    def test_columns_hold_for_both_where_they_exist(
        self, simulator: Simulator, assign: Callable[..., Any], tmp_path: Path
    ) -> None:
        people = write_csv(tmp_path / "people.csv", [["Mobile No."], *([number] for number in NUMBERS)])
        dnc = write_csv(tmp_path / "dnc.csv", [["Mobile No.", "why"], [NUMBERS[3], "asked"]])

        result = assign(
            contacts=None,
            contacts_path=people,
            exclude_path=dnc,
            exclude=[{"Mobile No.": NUMBERS[4]}, {"phone": NUMBERS[5]}, NUMBERS[6]],
            columns={"phone": "Mobile No."},
        )

        assert result["excluded"] == 4
        assert called(simulator) == [*NUMBERS[:3], NUMBERS[7]]

    def test_usual_names_are_found_where_they_do_not(
        self, simulator: Simulator, assign: Callable[..., Any], tmp_path: Path
    ) -> None:
        people = write_csv(tmp_path / "people.csv", [["Mobile No."], *([number] for number in NUMBERS)])
        dnc = write_csv(tmp_path / "dnc.csv", [["手机号"], [NUMBERS[3]]])

        assign(contacts=None, contacts_path=people, exclude_path=dnc, columns={"phone": "Mobile No."})

        assert called(simulator) == [*NUMBERS[:3], *NUMBERS[4:]]

    def test_exclude_columns_override(self, simulator: Simulator, assign: Callable[..., Any], tmp_path: Path) -> None:
        dnc = write_csv(tmp_path / "dnc.csv", [["phone", "Refused"], [NUMBERS[0], NUMBERS[1]]])

        assign(
            exclude_path=dnc,
            exclude=pd.DataFrame({"Refused": [NUMBERS[2]], "phone": [NUMBERS[3]]}),
            exclude_columns={"phone": "{{ params.column }}"},
            params={"column": "Refused"},
        )

        assert called(simulator) == [NUMBERS[0], *NUMBERS[3:]]

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            pytest.param({"exclude_columns": {"phone": "Gone"}}, r"dnc\.csv: has no column 'Gone'", id="absent"),
            pytest.param({"exclude_columns": {"fone": "x"}}, r"exclude_columns: 'fone' is not one of", id="unknown"),
            pytest.param({"exclude_columns": "phone"}, r"exclude_columns: a str is not a dictionary", id="text"),
            pytest.param({"columns": "phone"}, r"columns: a str is not a dictionary", id="columns-text"),
            pytest.param(
                {},
                r"dnc\.csv: has no column for the phone.*exclude_columns=\{'phone'.*in the other columns do not count",
                id="neither",
            ),
            pytest.param(
                {"columns": {"phone": "Mobile"}}, r"exclude_path: dnc.csv: has no column for the phone", id="not-there"
            ),
        ],
    )
    def test_a_column_that_is_not_there_calls_nobody(
        self, simulator: Simulator, assign: Callable[..., Any], tmp_path: Path, arguments: dict[str, Any], words: str
    ) -> None:
        dnc = write_csv(tmp_path / "dnc.csv", [["Refused"], [NUMBERS[1]]])

        with pytest.raises((OutboundBotContactsError, OutboundBotConfigError), match=words) as caught:
            assign(exclude_path=dnc, **arguments)

        assert "\n" not in str(caught.value)
        assert not called(simulator)

    def test_exclude_columns_without_exclusions_are_a_forgotten_list(
        self, simulator: Simulator, assign: Callable[..., Any]
    ) -> None:
        with pytest.raises(OutboundBotConfigError, match=r"exclude_columns: there are no exclusions"):
            assign(exclude_columns={"phone": "Refused"})

        assert not called(simulator)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param({"contacts": "{{ params.none }}"}, r"^contacts: empty: ", id="contacts"),
        pytest.param({"contacts": None, "contacts_path": "{{ params.none }}"}, r"^contacts_path: empty: ", id="path"),
        pytest.param({"contacts": None, "contacts_sql": "{{ params.none }}"}, r"^contacts_sql: empty: ", id="sql"),
        pytest.param({"contacts": None, "contacts_from": "{{ params.none }}"}, r"^contacts_from: empty: ", id="from"),
        pytest.param(
            {"contacts_path": "{{ params.none }}"},
            r"give one of .* not contacts and contacts_path",
            id="two-of-which-one-is-none",
        ),
    ],
)
@pytest.mark.parametrize("native", [False, True], ids=["text", "native"])
def test_contacts_that_are_named_and_not_there_call_nobody(
    simulator: Simulator, assign: Callable[..., Any], arguments: dict[str, Any], words: str, native: bool
) -> None:
    with pytest.raises(OutboundBotContactsError, match=words):
        assign(**arguments, params={"none": None}, native=native)

    assert not called(simulator)


def test_only_that_renders_to_nothing_does_not_mean_everybody(
    simulator: Simulator, assign: Callable[..., Any], group: dict[str, Any]
) -> None:
    assign(contacts=NUMBERS[:2])

    for native in (False, True):
        with pytest.raises(OutboundBotContactsError, match=r"^only: empty: .*everybody"):
            assign(contacts=None, contacts_from=group, only="{{ params.none }}", params={"none": None}, native=native)


def test_a_mapped_operator_is_stored_without_its_contacts() -> None:
    from airflow.serialization.serialized_objects import DagSerialization

    with DAG("stored", schedule=None) as dag:
        OutboundBotAssignJobsOperator.partial(task_id="mapped", contacts=NUMBERS[:2], exclude=NUMBERS[2:3]).expand(
            job_group_id=["1", "2"]
        )
        OutboundBotAssignJobsOperator(task_id="plain", job_group_id="1", contacts=NUMBERS[3:5], exclude=NUMBERS[5:])

    stored = json.dumps(DagSerialization.to_dict(dag))

    assert not [number for number in NUMBERS if number in stored]
    assert "<2 contacts>" in stored


class TestRendering:
    """What the DAG file says literally is rendered; what comes from a task is not."""

    @pytest.mark.parametrize("native", [False, True], ids=["text", "native"])
    def test_literal_contacts_and_exclusions_are_rendered(
        self, simulator: Simulator, assign: Callable[..., Any], native: bool
    ) -> None:
        contacts = [
            "{{ params.phone }}",
            {"phone": "{{ params.phone[:-1] }}1", "name": "{{ params.name }}"},
            {"phone": NUMBERS[2], "name": "Wang"},
            {"phone": "{{ params.abroad }}"},
        ]

        result = assign(
            contacts=contacts,
            exclude=({"phone": "{% if true %}" + NUMBERS[2] + "{% endif %}"},),
            params={"phone": NUMBERS[0], "name": "Li", "abroad": "+13802138000"},
            native=native,
        )

        assert (result["assigned"], result["excluded"]) == (3, 1)
        assert called(simulator) == ["+13802138000", *NUMBERS[:2]]
        assert contacts[0] == "{{ params.phone }}"

    def test_a_template_that_a_file_or_a_task_gives_is_refused_in_words(
        self, simulator: Simulator, assign: Callable[..., Any], tmp_path: Path
    ) -> None:
        path = write_csv(tmp_path / "people.csv", [["phone"], ["{{ params.phone }}"]])

        with pytest.raises(OutboundBotContactsError, match=r"row 1: its number is a template that was not rendered"):
            assign(contacts=None, contacts_path=path, params={"phone": NUMBERS[0]})

        assert not called(simulator)

    @given(
        content=st.recursive(
            st.sampled_from(["{{ params.a }}", "{{ params.b }}!", "plain", "{% if params.b %}x{% endif %}", "{# c #}d"])
            | st.text(alphabet="{}% ab#", max_size=6).filter(lambda text: "{{" not in text and "{%" not in text)
            | st.integers()
            | st.none(),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.tuples(inner, inner)
                | st.dictionaries(st.sampled_from(["phone", "name", "{{ params.a }}"]), inner, max_size=2)
            ),
            max_leaves=8,
        )
    )
    @settings(max_examples=examples(100), deadline=None)
    def test_rendered_as_airflow_renders_the_same_list(self, content: Any) -> None:
        from types import SimpleNamespace

        from airflow.sdk import BaseOperator

        content = [content]
        context: Any = {"params": {"a": "138", "b": "B"}, "ti": SimpleNamespace(map_index=-1)}
        with DAG("rendering", schedule=None) as dag:
            ours = OutboundBotAssignJobsOperator(task_id="ours", job_group_id="g", contacts=content, exclude=content)
        env = dag.get_template_env()
        try:
            expected = BaseOperator(task_id="theirs").render_template(content, context, env)
        except Exception as error:
            with pytest.raises(type(error)):
                ours.render_template_fields(context, env)
            return

        ours.render_template_fields(context, env)

        assert ours.exclude is not None
        assert ours.contacts.items == ours.exclude.items == expected


def test_lists_of_tasks_in_a_real_run(simulator: Simulator, run_dag: Callable[..., DagRun]) -> None:
    """One DAG, for each takes seconds: which assignments call whom is in their names."""
    evil = "{{ params.secret }}"
    with DAG("listed", schedule=None, params={"phone": NUMBERS[5], "secret": "s3cret"}) as dag:

        @task
        def nothing() -> None:
            return None

        @task
        def skipped() -> None:
            raise AirflowSkipException

        @task(show_return_value_in_logs=False)
        def one() -> dict[str, str]:
            return {"phone": NUMBERS[4], "name": evil}

        @task(show_return_value_in_logs=False)
        def lists() -> list[list[str] | None]:
            return [[NUMBERS[0]], None]

        @task(show_return_value_in_logs=False)
        def arguments() -> list[dict[str, Any]]:
            return [
                {"contacts": [{"phone": "13900000000", "name": evil}], "exclude": [NUMBERS[0]]},
                {"contacts": [{"phone": "13900000001", "name": evil}], "exclude": None},
                {"contacts": [{"phone": "13900000002", "name": evil}]},
            ]

        create = OutboundBotCreateJobGroupOperator(task_id="create", strategy=ALL_DAY)
        common: dict[str, Any] = {"job_group_id": create.output, "settle_seconds": 0.3}
        rule: dict[str, Any] = {"trigger_rule": "none_failed"}
        ones = {name: [f"1370000000{index}"] for index, name in enumerate(("nothing", "skipped", "ignored", "mapped"))}
        make = OutboundBotAssignJobsOperator
        make(task_id="fails_nothing", contacts=ones["nothing"], exclude=nothing(), **common)
        make(task_id="fails_skipped", contacts=ones["skipped"], exclude=skipped(), **common, **rule)
        make(
            task_id="ignores_skipped",
            contacts=ones["ignored"],
            exclude=skipped(),
            on_missing_exclusions="ignore",
            **common,
            **rule,
        )
        mixed = make(task_id="mixed", contacts=[one(), {"phone": "{{ params.phone }}"}, NUMBERS[6]], **common)
        make.partial(task_id="mapped", contacts=ones["mapped"], **common).expand(exclude=lists())
        make.partial(task_id="mapped_literally", contacts=[{"phone": "1370000001{{ ti.map_index }}"}], **common).expand(
            exclude=[[NUMBERS[0]], None]
        )
        make.partial(task_id="mapped_arguments", **common).expand_kwargs(arguments())

    run = run_dag(dag)

    states = {(found.task_id, found.map_index): str(found.state) for found in run.get_task_instances()}
    wrong = [key for key, state in states.items() if state == "failed"]
    assert sorted(wrong) == [
        ("fails_nothing", -1),
        ("fails_skipped", -1),
        ("mapped", 1),
        ("mapped_arguments", 1),
        ("mapped_literally", 1),
    ]
    assert called(simulator) == sorted(
        [
            *ones["ignored"],
            *(NUMBERS[4], NUMBERS[5], NUMBERS[6]),
            *ones["mapped"],
            "13700000010",
            *("13900000000", "13900000002"),
        ]
    )
    assert "one" in mixed.upstream_task_ids
    names = json.dumps(simulator.state())
    assert "s3cret" not in names

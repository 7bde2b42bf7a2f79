"""Where the contacts of OutboundBotAssignJobsOperator come from."""

from __future__ import annotations

import csv
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pandas as pd
import polars as pl
import pytest
from airflow.sdk import DAG, Asset, task
from airflow.sdk.exceptions import AirflowSkipException

from airflow_provider_outbound.core.models.strategy import Strategy
from airflow_provider_outbound.exceptions import (
    OutboundBotConfigError,
    OutboundBotContactsError,
    OutboundBotWrongTimeError,
)
from airflow_provider_outbound.hooks.outboundbot import OutboundBotHook
from airflow_provider_outbound.operators.outboundbot import (
    OutboundBotAssignJobsOperator,
    OutboundBotCreateJobGroupOperator,
)
from airflow_provider_outbound.simulator.testing import Simulator

if TYPE_CHECKING:
    from airflow.models import DagRun

ALL_DAY = Strategy(working_time=[("00:00", "23:59:59")])
PEOPLE = Asset("people", uri="file:///nowhere/people.csv")


@pytest.fixture
def group(context: Callable[..., Any]) -> dict[str, Any]:
    return OutboundBotCreateJobGroupOperator(task_id="create", strategy=ALL_DAY).execute(context("create"))


def assign(group: dict[str, Any], **arguments: Any) -> OutboundBotAssignJobsOperator:
    return OutboundBotAssignJobsOperator(
        **{"task_id": "assign", "job_group_id": group, "settle_seconds": 0.3, **arguments}
    )


def write_csv(path: Path, people: list[dict[str, str]]) -> str:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, people[0])
        writer.writeheader()
        writer.writerows(people)
    return str(path)


def numbers_called(simulator: Simulator) -> list[str]:
    jobs = simulator.state()["jobs_per_number"]
    assert {len(ids) for ids in jobs.values()} <= {1}
    return sorted(jobs)


def event(path: Path | str | None = None, *, age: timedelta = timedelta(), **extra: Any) -> SimpleNamespace:
    named = {} if path is None else {"path": path}
    return SimpleNamespace(extra={**named, **extra}, timestamp=datetime.now(UTC) - age)


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame])
def test_a_frame_of_contacts_and_one_of_exclusions(
    simulator: Simulator,
    context: Callable[..., Any],
    group: dict[str, Any],
    people: Callable[[int], list[dict[str, str]]],
    make: Callable[[list[dict[str, str]]], object],
) -> None:
    result = assign(group, contacts=make(people(10)), exclude=make(people(3))).execute(context())

    assert (result["read"], result["assigned"], result["excluded"]) == (10, 7, 3)
    assert numbers_called(simulator) == [person["phone"] for person in people(10)[3:]]


def test_a_frame_from_an_upstream_task_is_called_once_and_not_rendered(
    simulator: Simulator,
    airflow_home: Path,
    run_dag: Callable[..., DagRun],
    people: Callable[[int], list[dict[str, str]]],
) -> None:
    with DAG("frames", schedule=None) as dag:

        @task(show_return_value_in_logs=False)
        def load() -> pd.DataFrame:
            return pd.DataFrame(people(20))

        create = OutboundBotCreateJobGroupOperator(task_id="create", strategy=ALL_DAY)
        OutboundBotAssignJobsOperator(task_id="assign", job_group_id=create.output, contacts=load())

    run = run_dag(dag)

    assert run.state == "success"
    assert len(numbers_called(simulator)) == 20


def test_folders_and_patterns(
    simulator: Simulator,
    context: Callable[..., Any],
    group: dict[str, Any],
    people: Callable[[int], list[dict[str, str]]],
    tmp_path: Path,
) -> None:
    root = tmp_path / "people"
    for index in range(3):
        (root / f"day={index}").mkdir(parents=True)
        write_csv(root / f"day={index}" / "part.csv", people(10)[index * 3 : index * 3 + 4])

    folder = assign(group, contacts_path=str(root)).execute(context())
    again = assign(group, contacts_path=f"file://{root}/day=[12]/*.csv").execute(context("other"))

    assert (folder["read"], folder["assigned"], folder["duplicates"]) == (12, 10, 2)
    assert (again["read"], again["newly_assigned"], again["duplicates"]) == (8, 0, 8)
    assert len(numbers_called(simulator)) == 10


def test_a_pattern_that_nothing_matches_is_empty(
    context: Callable[..., Any], group: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(AirflowSkipException, match=r"there are no contacts"):
        assign(group, contacts_path=f"{tmp_path}/*.csv").execute(context())


def test_an_iterator_is_asked_whether_it_is_empty_and_loses_nothing(
    simulator: Simulator,
    context: Callable[..., Any],
    group: dict[str, Any],
    people: Callable[[int], list[dict[str, str]]],
) -> None:
    with pytest.raises(AirflowSkipException):
        assign(group, contacts=iter(())).execute(context())

    result = assign(group, contacts=iter(people(4))).execute(context())

    assert (result["read"], result["assigned"]) == (4, 4)


def test_the_files_that_the_assets_events_name(
    simulator: Simulator,
    context: Callable[..., Any],
    group: dict[str, Any],
    people: Callable[[int], list[dict[str, str]]],
    tmp_path: Path,
) -> None:
    paths = [write_csv(tmp_path / f"{index}.csv", people(8)[index * 3 : index * 3 + 5]) for index in range(2)]
    events = [event(paths[1]), event(paths[0], age=timedelta(hours=1)), event(paths[1])]

    result = assign(group, contacts=PEOPLE).execute(context() | {"triggering_asset_events": {PEOPLE: events}})

    assert (result["read"], result["assigned"], result["duplicates"]) == (10, 8, 2)
    assert len(numbers_called(simulator)) == 8


def test_an_asset_whose_uri_is_the_file(
    simulator: Simulator,
    context: Callable[..., Any],
    group: dict[str, Any],
    people: Callable[[int], list[dict[str, str]]],
    tmp_path: Path,
) -> None:
    asset = Asset("one", uri=f"file://{write_csv(tmp_path / 'one.csv', people(3))}")

    assign(group, contacts=asset).execute(context() | {"triggering_asset_events": {asset: [event()]}})

    assert len(numbers_called(simulator)) == 3


@pytest.mark.parametrize(
    ("asset", "events", "words"),
    [
        pytest.param(PEOPLE, [], r"no event of asset 'people' belongs to this run", id="none"),
        pytest.param(Asset("x"), [event()], r"event of asset 'x' names no file", id="no-path"),
        pytest.param(PEOPLE, [event()], r"people.csv cannot be read: No such", id="no-file"),
    ],
)
def test_an_asset_that_gives_no_contacts(
    simulator: Simulator,
    context: Callable[..., Any],
    group: dict[str, Any],
    asset: Asset,
    events: list[SimpleNamespace],
    words: str,
) -> None:
    with pytest.raises(OutboundBotContactsError, match=words) as caught:
        assign(group, contacts=asset).execute(context() | {"triggering_asset_events": {asset: events}})

    assert "\n" not in str(caught.value)
    assert not numbers_called(simulator)


def test_without_an_event_the_error_names_the_argument_for_files_of_the_same_people(
    context: Callable[..., Any], group: dict[str, Any], people: Callable[[int], list[dict[str, str]]]
) -> None:
    with pytest.raises(OutboundBotContactsError, match=r"^exclude: no event of .* or pass exclude_path in manual runs"):
        assign(group, contacts=people(1), exclude=PEOPLE).execute(context() | {"triggering_asset_events": {}})


def test_an_event_that_queued_for_too_long_calls_nobody_unless_all_are_assigned(
    simulator: Simulator,
    context: Callable[..., Any],
    group: dict[str, Any],
    people: Callable[[int], list[dict[str, str]]],
    tmp_path: Path,
) -> None:
    path = write_csv(tmp_path / "people.csv", people(3))
    fresh = context() | {"triggering_asset_events": {PEOPLE: [event(path)]}}
    old = context() | {"triggering_asset_events": {PEOPLE: [event(path, age=timedelta(hours=13))]}}

    with pytest.raises(
        OutboundBotWrongTimeError, match=r"the asset event was recorded at .* longer ago than"
    ) as caught:
        assign(group, contacts=PEOPLE).execute(old)
    assert "\n" not in str(caught.value)
    assert not numbers_called(simulator)

    assign(group, contacts=PEOPLE).execute(fresh)
    assert assign(group, contacts=PEOPLE).execute(old)["newly_assigned"] == 0
    assert len(numbers_called(simulator)) == 3


@pytest.mark.parametrize("before", ["\n", "\ufeff\r\n", "sep=,\n", ",,\n"])
def test_nobody_on_a_do_not_call_file_is_called_whatever_stands_before_its_header(
    simulator: Simulator,
    context: Callable[..., Any],
    group: dict[str, Any],
    people: Callable[[int], list[dict[str, str]]],
    tmp_path: Path,
    before: str,
) -> None:
    contacts = write_csv(tmp_path / "people.csv", people(4))
    exclude = tmp_path / "exclude.csv"
    exclude.write_text(before + "phone,name\n" + "".join(f"{person['phone']},x,,\n" for person in people(3)))

    assert assign(group, contacts_path=contacts, exclude_path=str(exclude)).execute(context())["excluded"] == 3

    assert numbers_called(simulator) == [person["phone"] for person in people(4)[3:]]


@pytest.mark.parametrize("on_invalid", ["fail", "skip"])
@pytest.mark.parametrize("content", ["", "\n\n", 'phone,name\n13800000001,"Tony\n13800000002,Ann\n', None])
def test_nobody_is_called_if_a_do_not_call_file_is_not_understood(
    simulator: Simulator,
    context: Callable[..., Any],
    group: dict[str, Any],
    people: Callable[[int], list[dict[str, str]]],
    tmp_path: Path,
    content: str | None,
    on_invalid: str,
) -> None:
    contacts = write_csv(tmp_path / "people.csv", people(4))
    exclude = tmp_path / "exclude.csv"
    if content is not None:
        exclude.write_text(content)

    with pytest.raises(
        OutboundBotContactsError,
        match=r"exclude_path: .*exclude\.csv ?(line 2|is empty|cannot be read|, so the people it excludes)",
    ):
        assign(group, contacts_path=contacts, exclude_path=str(exclude), on_invalid=on_invalid).execute(context())

    assert not numbers_called(simulator)


def test_rejects_of_several_files_name_theirs(
    context: Callable[..., Any], group: dict[str, Any], people: Callable[[int], list[dict[str, str]]], tmp_path: Path
) -> None:
    write_csv(tmp_path / "a.csv", people(2))
    write_csv(tmp_path / "b.csv", [{"phone": "13800000009"}, {"phone": "nonsense"}])
    rejects = tmp_path / "rejects.out"

    with pytest.raises(OutboundBotContactsError, match=r"1 of 4 contacts cannot be used: b.csv line 3"):
        assign(group, contacts_path=f"{tmp_path}/*.csv").execute(context())
    assign(group, contacts_path=f"{tmp_path}/*.csv", on_invalid="skip", rejects_path=str(rejects)).execute(context())

    assert rejects.read_text().splitlines()[1:] == ["2,********,not a phone number,b.csv,3,,rejected"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param({"contacts": ["1"], "contacts_sql": "SELECT 1"}, r"contacts: give one of contacts,", id="two"),
        pytest.param({"contacts_sql": "SELECT 1"}, r"sql_conn_id: missing; give the connection", id="no-connection"),
        pytest.param({"contacts_sql": " ", "sql_conn_id": "db"}, r"contacts_sql: empty", id="empty-sql"),
        pytest.param({"max_jobs": 0}, r"max_jobs: 0 is not a whole number from 1", id="max-jobs"),
        pytest.param({"max_calls_per_contact": 1}, r"give it together with a period", id="no-period"),
        pytest.param({"period": timedelta(days=1)}, r"give it together with a period", id="no-cap"),
        pytest.param(
            {"max_calls_per_contact": 0, "period": timedelta(days=1)},
            r"max_calls_per_contact: 0 is not a whole number of 1 or more",
            id="cap-0",
        ),
    ],
)
def test_arguments_that_do_not_fit(
    simulator: Simulator, context: Callable[..., Any], group: dict[str, Any], arguments: dict[str, Any], words: str
) -> None:
    given = {} if "contacts_sql" in arguments else {"contacts": ["13800000000"]}
    with pytest.raises((OutboundBotConfigError, OutboundBotContactsError), match=words) as caught:
        assign(group, **{**given, **arguments}).execute(context())

    assert "\n" not in str(caught.value)
    assert not numbers_called(simulator)


def test_a_cap_holds_across_dags(
    simulator: Simulator,
    context: Callable[..., Any],
    group: dict[str, Any],
    people: Callable[[int], list[dict[str, str]]],
) -> None:
    first = assign(group, contacts=people(4)).execute(context())
    other = OutboundBotCreateJobGroupOperator(task_id="create", strategy=ALL_DAY).execute(context("create", run_id="2"))

    capped = assign(other, contacts=people(6), max_calls_per_contact=1, period=timedelta(days=7)).execute(
        context(run_id="2")
    )

    assert (first["assigned"], capped["assigned"], capped["capped"]) == (4, 2, 4)
    assert len(numbers_called(simulator)) == 6


@pytest.mark.postgresql
@pytest.mark.xdist_group("outbound_people")
class TestSql:
    """``contacts_sql`` on a real PostgreSQL."""

    @pytest.fixture(autouse=True)
    def table(self, postgresql_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
        import psycopg

        with psycopg.connect(postgresql_url, autocommit=True) as connection:
            connection.execute("DROP TABLE IF EXISTS outbound_people")
            connection.execute("CREATE TABLE outbound_people (手机号 text, name text, debt numeric, due date, day int)")
            connection.execute(
                "INSERT INTO outbound_people SELECT (13800000000 + i)::text, 'Person ' || i, i + 0.5, '2026-01-02',"
                " i % 2 FROM generate_series(0, 2999) AS i"
            )
            monkeypatch.setenv("AIRFLOW_CONN_PEOPLE_DB", postgresql_url.replace("postgresql://", "postgres://"))
            yield connection
            connection.execute("DROP TABLE outbound_people")

    def test_rows_are_streamed_from_a_cursor_of_the_server(
        self, context: Callable[..., Any], group: dict[str, Any]
    ) -> None:
        sql = "SELECT 手机号, name, debt, due FROM outbound_people WHERE name LIKE 'Person 1%' AND day = 0 ORDER BY 1;"

        result = assign(group, contacts_sql=sql, sql_conn_id="people_db", batch_size=99).execute(context())

        assert result["read"] == result["assigned"] == 555
        results = OutboundBotHook().ledger.results.iter_results(group["job_group_id"])
        (tenth,) = [result for result in results if result.phone_number == "13800000010"]
        assert (tenth.name, tenth.extras) == ("Person 10", {"debt": "10.5", "due": "2026-01-02"})

    def test_a_statement_from_a_file_is_rendered(
        self, simulator: Simulator, run_dag: Callable[..., DagRun], tmp_path: Path
    ) -> None:
        (tmp_path / "people.sql").write_text("SELECT * FROM outbound_people WHERE day = {{ params.day }} LIMIT 40")
        with DAG("by_sql", schedule=None, params={"day": 1}, template_searchpath=str(tmp_path)) as dag:
            create = OutboundBotCreateJobGroupOperator(task_id="create", strategy=ALL_DAY)
            OutboundBotAssignJobsOperator(
                task_id="assign",
                job_group_id=create.output,
                contacts_sql="people.sql",
                sql_conn_id="people_db",
                columns={"name": "name"},
            )

        assert run_dag(dag).state == "success"
        assert len(numbers_called(simulator)) == 40

    @pytest.mark.parametrize(
        ("sql", "words"),
        [
            ("SELECT * FROM nowhere", r"contacts_sql on connection 'people_db': relation \"nowhere\" does not exist"),
            ("SELECT name, name FROM outbound_people", r"column 'name' appears twice"),
            ("SELECT name FROM outbound_people", r"has no column for the phone number among name"),
            ("CREATE TEMP TABLE t (a int)", r"contacts_sql"),
        ],
    )
    def test_a_statement_that_gives_no_contacts(
        self, simulator: Simulator, context: Callable[..., Any], group: dict[str, Any], sql: str, words: str
    ) -> None:
        with pytest.raises((OutboundBotConfigError, OutboundBotContactsError), match=words) as caught:
            assign(group, contacts_sql=sql, sql_conn_id="people_db").execute(context())

        assert "\n" not in str(caught.value)
        assert not numbers_called(simulator)

    def test_a_column_of_narrow_floats_calls_nobody(
        self, simulator: Simulator, context: Callable[..., Any], group: dict[str, Any]
    ) -> None:
        sql = "SELECT 13800138000::real AS phone"

        with pytest.raises(OutboundBotContactsError, match="contacts_sql: column 'phone': float4 cannot hold a phone"):
            assign(group, contacts_sql=sql, sql_conn_id="people_db").execute(context())

        assert not numbers_called(simulator)

    def test_bytes_and_narrow_floats_are_spoken_as_they_are_meant(
        self, context: Callable[..., Any], group: dict[str, Any]
    ) -> None:
        sql = "SELECT '13800000001'::bytea AS phone, 'Person'::bytea AS name, 99.9::real AS price, 0.1::float8 AS tenth"

        assign(group, contacts_sql=sql, sql_conn_id="people_db").execute(context())

        (result,) = OutboundBotHook().ledger.results.iter_results(group["job_group_id"])
        assert (result.name, result.extras) == ("Person", {"price": "99.9", "tenth": "0.1"})

    def test_a_database_that_goes_away_half_way_calls_nobody(
        self, simulator: Simulator, context: Callable[..., Any], group: dict[str, Any], postgresql_url: str
    ) -> None:
        """The server ends the connection between two parts of the result; the task's next try reads it all."""
        import psycopg

        sql = "SELECT 手机号, name, pg_sleep(0.002)::text AS pause FROM outbound_people"
        operator = assign(group, contacts_sql=sql, sql_conn_id="people_db", batch_size=99)

        def end() -> None:
            deadline = time.monotonic() + 60
            with psycopg.connect(postgresql_url, autocommit=True) as connection:
                while (
                    time.monotonic() < deadline
                    and not connection.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                        " WHERE pid <> pg_backend_pid() AND query LIKE 'FETCH%'"
                    ).fetchall()
                ):
                    time.sleep(0.05)

        killer = threading.Thread(target=end)
        killer.start()
        with pytest.raises(OutboundBotContactsError, match="contacts_sql on connection 'people_db': ") as caught:
            operator.execute(context())
        killer.join()

        assert "\n" not in str(caught.value)
        assert str(caught.value).endswith("Nobody was called")
        assert not numbers_called(simulator)
        result = operator.execute(context(try_number=2))
        assert (result["read"], result["assigned"]) == (3000, 3000)
        assert len(numbers_called(simulator)) == 3000

    @pytest.mark.parametrize("on_invalid", ["fail", "skip"])
    def test_those_who_were_validated_are_those_who_are_called(
        self, simulator: Simulator, context: Callable[..., Any], group: dict[str, Any], table: Any, on_invalid: str
    ) -> None:
        """Each run of this query returns other numbers."""
        table.execute("CREATE SEQUENCE outbound_runs")
        sql = "SELECT 13800000000 + nextval('outbound_runs') AS phone FROM generate_series(1, 20)"
        try:
            operator = assign(group, contacts_sql=sql, sql_conn_id="people_db", on_invalid=on_invalid)
            result = operator.execute(context())
        finally:
            table.execute("DROP SEQUENCE outbound_runs")

        assert (result["read"], result["assigned"]) == (20, 20)
        assert numbers_called(simulator) == [f"138000000{number:02}" for number in range(1, 21)]

    def test_a_retry_says_that_the_query_runs_again_and_calls_nobody_twice(
        self,
        simulator: Simulator,
        context: Callable[..., Any],
        group: dict[str, Any],
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        operator = assign(group, contacts_sql="SELECT * FROM outbound_people LIMIT 20", sql_conn_id="people_db")
        operator.execute(context())
        assert "the query runs again" not in "".join(capfd.readouterr())
        result = operator.execute(context(try_number=2))

        assert "the query runs again in this try" in "".join(capfd.readouterr())
        assert (result["assigned"], result["newly_assigned"]) == (20, 0)
        assert len(numbers_called(simulator)) == 20

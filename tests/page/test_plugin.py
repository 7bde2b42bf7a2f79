"""The plugin: what it registers, what its switches leave out, and what importing it loads."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from airflow.sdk import DAG

from airflow_provider_outbound import __version__
from airflow_provider_outbound.plugins.link import CampaignLink
from airflow_provider_outbound.plugins.outbound import OutboundPlugin

pytestmark = [pytest.mark.xdist_group("page"), pytest.mark.filterwarnings("ignore")]


def test_the_page_is_in_the_navigation_and_on_runs() -> None:
    apps = OutboundPlugin().react_apps
    assert [(app["destination"], app["url_route"]) for app in apps] == [("nav", "outbound"), ("dag_run", "campaigns")]
    assert {app["bundle_url"] for app in apps} == {f"/outbound/static/{__version__}/app.js"}


def test_addresses_begin_with_the_path_of_the_base_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://example.com/airflow/")
    assert all(app["bundle_url"].startswith("/airflow/outbound/static/") for app in OutboundPlugin().react_apps)


@pytest.mark.parametrize(
    ("options", "pages", "apps"),
    [
        ({"page": "false"}, [], 0),
        ({"run_tab": "False"}, ["nav"], 1),
        ({"page": "true", "run_tab": "true"}, ["nav", "dag_run"], 1),
        # A wrong setting must not end the api-server.
        ({"page": "perhaps"}, [], 0),
        ({"run_tab": "perhaps"}, ["nav"], 1),
    ],
)
def test_switches_leave_the_page_or_the_tab_out(
    options: dict[str, Any], pages: list[Any] | list[str], apps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in options.items():
        monkeypatch.setenv(f"AIRFLOW__OUTBOUND__{name.upper()}", value)
    plugin = OutboundPlugin()
    assert [app["destination"] for app in plugin.react_apps] == pages
    assert len(plugin.fastapi_apps) == apps
    assert len(plugin.operator_extra_links) == apps


def test_importing_the_plugin_loads_nothing_of_the_api_server() -> None:
    code = (
        "import sys, airflow.plugins_manager; before = set(sys.modules);"
        "import airflow_provider_outbound.plugins.outbound; new = set(sys.modules) - before;"
        "print([name for name in ('fastapi', 'sqlalchemy', 'airflow.api_fastapi',"
        " 'airflow_provider_outbound.page', 'airflow_provider_outbound.operators') if name in new])"
    )
    shown = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip().endswith("[]")


def test_a_task_of_each_operator_links_to_its_campaign_before_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.serialization.serialized_objects import DagSerialization

    from airflow_provider_outbound.operators.outboundbot import OutboundBotAssignJobsOperator
    from airflow_provider_outbound.sensors.outboundbot import OutboundBotJobCompleteSensor

    with DAG("campaign") as dag:
        OutboundBotJobCompleteSensor(task_id="wait", job_group_id="group")
        OutboundBotAssignJobsOperator.partial(task_id="assign", job_group_id="group").expand(contacts=[[], []])
    read = DagSerialization.from_dict(DagSerialization.to_dict(dag))
    for task_id in ("wait", "assign"):
        assert "Campaign" in read.get_task(task_id).extra_links


def test_the_link_names_the_task_so_that_the_page_finds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://example.com/airflow")
    key = SimpleNamespace(dag_id="campaign", run_id="manual__2026-11-26T00:00:00+00:00", task_id="a.b", map_index=3)
    link: Any = CampaignLink()  # which needs neither an operator nor a real key
    assert link.get_link(None, ti_key=key) == (
        "/airflow/plugin/outbound?dag_id=campaign&run_id=manual__2026-11-26T00%3A00%3A00%2B00%3A00&task_id=a.b&map_index=3"
    )


def test_one_module_imports_airflows_api_server() -> None:
    from pathlib import Path

    import airflow_provider_outbound

    package = Path(airflow_provider_outbound.__file__).parent
    found = [path.name for path in package.rglob("*.py") if "airflow.api_fastapi" in path.read_text()]
    assert found == ["rights.py"]

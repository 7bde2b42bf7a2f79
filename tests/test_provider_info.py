"""What Airflow is told about the package."""

from __future__ import annotations

import importlib
import json
import logging
import subprocess
import sys
from typing import Any

import pytest

import airflow_provider_outbound
from airflow_provider_outbound import get_provider_info
from airflow_provider_outbound.hooks.outboundbot import OutboundBotHook
from airflow_provider_outbound.hooks.rocketmq import RocketMQHook

HOOKS = (OutboundBotHook, RocketMQHook)


@pytest.fixture
def manager(caplog: pytest.LogCaptureFixture) -> Any:
    """Airflow's own reading of all providers."""
    from airflow.providers_manager import ProvidersManager

    manager: Any = ProvidersManager()  # type: ignore[no-untyped-call]
    with caplog.at_level(logging.WARNING):
        manager.initialize_providers_hooks()
        manager.initialize_providers_configuration()
        _ = manager.connection_form_widgets, manager.field_behaviours
    return manager


def test_airflow_loads_the_provider_without_a_complaint(manager: Any, caplog: pytest.LogCaptureFixture) -> None:
    assert manager.providers["airflow-provider-outbound"].version == airflow_provider_outbound.__version__
    assert [record.getMessage() for record in caplog.records if "outbound" in record.getMessage().lower()] == []


@pytest.mark.parametrize("hook", HOOKS)
def test_airflow_finds_each_hook_by_its_connection_type(hook: Any) -> None:
    from airflow.sdk.providers_manager_runtime import ProvidersManagerTaskRuntime

    runtime: Any = ProvidersManagerTaskRuntime()  # type: ignore[no-untyped-call]
    found = runtime.hooks[hook.conn_type]

    assert found.hook_class_name == f"{hook.__module__}.{hook.__qualname__}"
    assert (found.hook_name, found.connection_id_attribute_name) == (hook.hook_name, hook.conn_name_attr)
    # Airflow makes the hook with this argument and nothing else.
    assert getattr(hook(**{hook.conn_name_attr: "mine"}), hook.conn_name_attr) == "mine"
    assert getattr(hook(), hook.conn_name_attr) == hook.default_conn_name


@pytest.mark.parametrize("hook", HOOKS)
def test_the_form_shows_every_field_the_hook_reads(manager: Any, hook: Any) -> None:
    fields = importlib.import_module(hook.__module__)._EXTRA
    shown = [name for name in manager.connection_form_widgets if name.startswith(f"extra__{hook.conn_type}__")]

    assert [name.rpartition("__")[2] for name in shown] == list(fields)
    assert manager.field_behaviours[hook.conn_type]["hidden_fields"]


@pytest.mark.parametrize("hook", HOOKS)
def test_the_port_can_be_stored_without_which_airflows_button_refuses(manager: Any, hook: Any) -> None:
    """The button sends 0 for a port that is not stored, and Airflow takes that for another server's."""
    behaviour = manager.field_behaviours[hook.conn_type]

    assert "port" not in behaviour["hidden_fields"]
    assert behaviour["placeholders"]["port"].isdecimal()


def test_the_token_is_hidden_in_the_form(manager: Any) -> None:
    assert manager.connection_form_widgets["extra__outboundbot__security_token"].is_sensitive


def test_no_option_defaults_to_nothing() -> None:
    options = get_provider_info()["config"]["outbound"]["options"]

    assert set(options) == {"ledger_url", "ledger_key", "collector", "reconcile_interval", "retention_days"}
    assert all(isinstance(option["default"], str) for option in options.values())
    assert {name for name, option in options.items() if option.get("sensitive")} == {"ledger_url", "ledger_key"}


def test_the_info_is_plain_data() -> None:
    assert json.loads(json.dumps(get_provider_info())) == get_provider_info()


def test_the_named_modules_of_hooks_exist() -> None:
    for part in get_provider_info()["hooks"]:
        for module in part["python-modules"]:
            importlib.import_module(module)


def test_the_plugin_is_registered() -> None:
    from importlib.metadata import entry_points

    (plugin,) = [entry for entry in entry_points(group="airflow.plugins") if entry.name == "outbound"]

    assert plugin.load().name == "outbound"


@pytest.mark.parametrize("name", ["Strategy", "RecallStrategy", "Contact"])
def test_authors_find_the_values_at_the_top(name: str) -> None:
    assert getattr(airflow_provider_outbound, name).__name__ == name
    assert name in dir(airflow_provider_outbound)


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Tactics'"):
        _ = airflow_provider_outbound.Tactics


def test_importing_the_package_loads_the_standard_library_only() -> None:
    code = (
        "import sys; import airflow_provider_outbound; airflow_provider_outbound.get_provider_info(); "
        "loaded = {name.partition('.')[0] for name in sys.modules}; "
        "print(sorted(loaded & {'attr', 'attrs', 'airflow', 'aliyunsdkcore'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout == "[]\n"

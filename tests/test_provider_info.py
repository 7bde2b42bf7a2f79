"""What Airflow is told about the package."""

from __future__ import annotations

import importlib
import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import airflow_provider_outbound
from airflow_provider_outbound import get_provider_info
from airflow_provider_outbound.exceptions import OutboundBotConfigError
from airflow_provider_outbound.hooks.outboundbot import OutboundBotHook
from airflow_provider_outbound.hooks.rocketmq import RocketMQHook

HOOKS = (OutboundBotHook, RocketMQHook)
DOCS = Path(__file__).parents[1] / "docs"
#: Extra fields without which there is no connection.
NEEDED: dict[Any, dict[str, Any]] = {OutboundBotHook: {}, RocketMQHook: {"topic": "t", "consumer_group": "g"}}


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


def form_of(hook: Any) -> dict[str, Any]:
    """What Airflow is told about the form of a hook's connections."""
    forms: list[dict[str, Any]] = get_provider_info()["connection-types"]
    (form,) = (form for form in forms if form["connection-type"] == hook.conn_type)
    return form


def settings_of(hook: Any, monkeypatch: pytest.MonkeyPatch, extra: dict[str, Any]) -> Any:
    """What a hook makes of a connection, given its extra fields and as few others as it takes."""
    connection = {"conn_type": hook.conn_type, "login": "key", "password": "secret", "host": "host", "extra": extra}
    monkeypatch.setenv(f"AIRFLOW_CONN_{hook.default_conn_name.upper()}", json.dumps(connection))
    settings = hook().settings
    return settings() if callable(settings) else settings


@pytest.mark.parametrize("hook", HOOKS)
def test_the_form_shows_every_field_the_hook_reads(manager: Any, hook: Any) -> None:
    """The hook cannot read another: it raises LookupError."""
    shown = [name for name in manager.connection_form_widgets if name.startswith(f"extra__{hook.conn_type}__")]

    assert [name.rpartition("__")[2] for name in shown] == list(form_of(hook)["conn-fields"])
    assert manager.field_behaviours[hook.conn_type]["hidden_fields"]


@pytest.mark.parametrize(("hook", "field"), [(hook, field) for hook in HOOKS for field in form_of(hook)["conn-fields"]])
def test_the_hook_reads_every_field_the_form_shows(hook: Any, field: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A field that is shown and not read would be one that people fill in for nothing."""
    with pytest.raises(OutboundBotConfigError, match=field):
        settings_of(hook, monkeypatch, NEEDED[hook] | {field: [[]]})


@pytest.mark.parametrize("hook", HOOKS)
def test_the_form_proposes_what_the_hook_assumes(hook: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    proposed = {
        name: field["schema"]["default"]
        for name, field in form_of(hook)["conn-fields"].items()
        if "default" in field["schema"]
    }

    assert proposed
    assert settings_of(hook, monkeypatch, NEEDED[hook] | proposed) == settings_of(hook, monkeypatch, NEEDED[hook])


@pytest.mark.parametrize("hook", HOOKS)
def test_the_documentation_explains_every_field(hook: Any) -> None:
    text = (DOCS / "connections.md").read_text(encoding="utf-8")
    section = text.partition(f"\n## {hook.conn_type}\n")[2].partition("\n## ")[0]

    assert [field for field in form_of(hook)["conn-fields"] if f"`{field}`" not in section] == []


def test_the_documentation_explains_every_option() -> None:
    text = (DOCS / "configuration.md").read_text(encoding="utf-8")

    options = get_provider_info()["config"]["outbound"]["options"]
    assert [option for option in options if f"\n| `{option}` |" not in text] == []


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

    names = {"ledger_url", "ledger_key", "collector", "reconcile_interval", "retention_days", "page", "run_tab"}
    assert set(options) == names
    assert all(isinstance(option["default"], str) for option in options.values())
    assert {name for name, option in options.items() if option.get("sensitive")} == {"ledger_url", "ledger_key"}


def test_the_info_is_plain_data() -> None:
    assert json.loads(json.dumps(get_provider_info())) == get_provider_info()


def test_the_info_satisfies_airflows_schema() -> None:
    import airflow
    from jsonschema import validate

    schema = Path(airflow.__file__).with_name("provider_info.schema.json")
    validate(get_provider_info(), json.loads(schema.read_text(encoding="utf-8")))


def test_the_guides_and_the_logo_exist() -> None:
    (integration,) = get_provider_info()["integrations"]
    named = [*integration["how-to-guide"], integration["logo"]]

    assert [path for path in named if not (DOCS.parent / path.removeprefix("/")).is_file()] == []
    assert all(path.startswith("/docs/") for path in named)


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

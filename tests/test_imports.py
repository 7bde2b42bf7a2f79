"""Parsing a DAG stays cheap: Airflow imports our modules in every parse of every file that uses them."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from pkgutil import walk_packages

import airflow_provider_outbound

#: Imported where DAGs are not parsed: below Airflow, by a command, or by the api-server.
APART = ("core", "simulator", "cli", "page")
#: Imported when a task or a trigger runs, each for a reason that it says.
LATER = {
    "airflow_provider_outbound.operators.sources": "reads contacts, which needs phonenumbers",
    "airflow_provider_outbound.operators.lineage": "asked for by Airflow's OpenLineage provider alone",
    "airflow_provider_outbound.triggers.event_stream": "needs Airflow 3.3",
}

#: Prints the heavy libraries that each module is the first to load, beside those that Airflow's own SDK had loaded.
_PROBE = """
import importlib, json, sys
import airflow.sdk
from airflow.sdk import BaseHook, BaseOperator, BaseSensorOperator
modules, heavy = map(json.loads, sys.argv[1:])
loaded = lambda: {name.partition(".")[0] for name in sys.modules} & set(heavy)
found, before = {}, loaded()
for module in modules:
    importlib.import_module(module)
    found[module] = sorted(loaded() - before)
    before = loaded()
print(json.dumps(found))
"""


def heavy_libraries() -> list[str]:
    """Those that no module of ours may import at its top, as the linter is told."""
    with (Path(__file__).parent.parent / "pyproject.toml").open("rb") as file:
        ruff = tomllib.load(file)["tool"]["ruff"]
    return [*ruff["lint"]["flake8-tidy-imports"]["banned-module-level-imports"], "alibabacloud_credentials"]


def parsed_modules() -> list[str]:
    """Modules that a DAG file may import."""
    prefix = f"{airflow_provider_outbound.__name__}."
    apart = tuple(f"{prefix}{name}" for name in APART)
    names = [module.name for module in walk_packages(airflow_provider_outbound.__path__, prefix)]
    assert LATER.keys() <= set(names)
    return [name for name in names if not name.startswith(apart) and name not in LATER]


def test_importing_ours_loads_no_heavy_library() -> None:
    modules = parsed_modules()

    done = subprocess.run(
        [sys.executable, "-c", _PROBE, json.dumps(modules), json.dumps(heavy_libraries())],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert {module: loaded for module, loaded in found.items() if loaded} == {}
    assert {"airflow_provider_outbound.hooks.outboundbot", "airflow_provider_outbound.plugins.outbound"} <= found.keys()

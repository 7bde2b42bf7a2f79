"""What a stranger gets: the wheel, its entry points, the pinned versions and the two commands of the README."""

from __future__ import annotations

import configparser
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
INSTALL = "python3 -m venv .venv && .venv/bin/pip install -q -c constraints.txt"
DEMO = f'{INSTALL} ".[grpc,simulator]" && .venv/bin/outbound demo'
TESTS = f'{INSTALL} -e ".[dev]" && .venv/bin/pytest'


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel, built from this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    built = subprocess.run(command, capture_output=True, text=True, timeout=180, cwd=folder)
    assert built.returncode == 0, built.stdout + built.stderr
    return zipfile.ZipFile(next(folder.glob("*.whl")))


@pytest.mark.parametrize(
    "name",
    [
        "py.typed",
        "example_dags/nightly_campaign.py",
        "cli/demo.py",
        "core/ledger/migrations/env.py",
        "simulator/empty_answers.json",
    ],
)
def test_the_wheel_holds_what_runs(wheel: zipfile.ZipFile, name: str) -> None:
    assert f"airflow_provider_outbound/{name}" in wheel.namelist()


def test_the_wheel_holds_every_module_and_migration_of_the_checkout_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    package = {str(path.relative_to(ROOT)) for path in (ROOT / "airflow_provider_outbound").rglob("*.py")}
    examples = {f"airflow_provider_outbound/{path.relative_to(ROOT)}" for path in (ROOT / "example_dags").rglob("*.py")}

    packed = {name for name in wheel.namelist() if ".dist-info/" not in name and name.endswith(".py")}

    assert packed == package | examples
    assert not [name for name in wheel.namelist() if name.startswith("tests/") or "__pycache__" in name]


def test_the_wheel_carries_its_licence_and_entry_points(wheel: zipfile.ZipFile) -> None:
    texts = {Path(name).name: wheel.read(name).decode() for name in wheel.namelist() if ".dist-info/" in name}
    entries = configparser.ConfigParser(delimiters=("=",))
    entries.read_string(texts["entry_points.txt"])

    assert "Apache License" in texts["LICENSE"]
    assert dict(entries["apache_airflow_provider"]) == {"provider_info": "airflow_provider_outbound:get_provider_info"}
    assert dict(entries["airflow.plugins"]) == {"outbound": "airflow_provider_outbound.plugins.outbound:OutboundPlugin"}
    assert dict(entries["console_scripts"]) == {"outbound": "airflow_provider_outbound.cli:main"}


def test_every_direct_dependency_is_pinned() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    pins = {_normal(re.split(r"[=\[; ]", line)[0]) for line in lines}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["grpc"], *extras["simulator"], *extras["dev"]]
    direct = {_normal(re.split(r"[\[<>=; ]", line)[0]) for line in wanted} - {"airflow-provider-outbound"}

    assert direct <= pins
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+( ; .+)?", line) for line in lines)


def test_the_pythons_of_the_classifiers_are_those_that_are_checked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    classifiers = {name.rpartition(" ")[2] for name in project["classifiers"] if re.search(r":: 3\.\d+$", name)}
    others = re.search(r"^pythons=\((.*)\)$", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)

    assert others
    assert classifiers == {"3.11", *others[1].split()}
    assert project["requires-python"] == ">=3.11"


#: What ``phonenumbers`` has and ``phonenumberslite`` lacks, and the modules that need it.
_GEODATA = {"geodata", "carrierdata", "tzdata", "geocoder", "carrier", "timezone"}

_READ_NUMBERS = """
import sys
from airflow_provider_outbound.core.models.phone import normalise
for number in ("+86 138 0000 0000", "010-12345678", "+1 212 555 2368", "+81 3-1234-5678"):
    normalise(number)
print(*sorted(name.partition(".")[2] for name in sys.modules if name.startswith("phonenumbers.")))
"""


def test_numbers_are_read_without_tables_of_places_and_carriers() -> None:
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]

    loaded = subprocess.run(
        [sys.executable, "-c", _READ_NUMBERS], capture_output=True, text=True, timeout=60, check=True
    )

    assert {"phonenumberslite"} == {name for line in dependencies if (name := line.partition(">")[0])[:5] == "phone"}
    assert "phonenumberutil" in loaded.stdout
    assert not _GEODATA & {name.partition(".")[0] for name in loaded.stdout.split()}


def test_the_readme_and_the_check_script_run_the_same_commands() -> None:
    readme, script = ((ROOT / name).read_text().splitlines() for name in ("README.md", ".ci/run"))

    for command in (DEMO, TESTS):
        assert command in readme
        assert command in [line.strip() for line in script]


def test_the_dag_of_the_readme_is_a_dag() -> None:
    code, *_ = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)

    assert sorted(names["export"].dag.task_ids) == ["assign", "create", "export", "wait"]
    assert names["export"].get_flat_relative_ids(upstream=True) == {"create", "assign", "wait"}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()

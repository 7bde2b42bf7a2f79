"""Parsing a DAG stays cheap: Airflow imports our modules in every parse of every file that uses them."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec

import pytest

HEAVY = (
    "aliyunsdkcore",
    "aliyunsdkoutboundbot",
    "alibabacloud_credentials",
    "alembic",
    "grpc",
    "narwhals",
    "pandas",
    "phonenumbers",
    "pyarrow",
    "rocketmq",
    "sqlalchemy",
)

#: Exits 3 if the module does not exist; prints what it added to the heavy libraries that Airflow's own SDK had loaded.
_PROBE = """
import json, sys
import airflow.sdk
from airflow.sdk import BaseHook, BaseOperator, BaseSensorOperator
heavy = set(json.loads(sys.argv[2]))
loaded = lambda: {name.partition(".")[0] for name in sys.modules} & heavy
before = loaded()
__import__(sys.argv[1])
print(json.dumps(sorted(loaded() - before)))
"""


@pytest.mark.parametrize(
    "module",
    [
        "airflow_provider_outbound.hooks.outboundbot",
        "airflow_provider_outbound.hooks.rocketmq",
        "airflow_provider_outbound.operators.outboundbot",
        "airflow_provider_outbound.task_groups.outboundbot",
        "airflow_provider_outbound.sensors.outboundbot",
        "airflow_provider_outbound.triggers.outboundbot",
        "airflow_provider_outbound.triggers.steering",
        "airflow_provider_outbound.links.outboundbot",
        "airflow_provider_outbound.config",
        "airflow_provider_outbound.plugins.outbound",
    ],
)
def test_importing_ours_loads_no_heavy_library(module: str) -> None:
    if find_spec(module) is None:
        pytest.skip(f"{module} does not exist yet")

    done = subprocess.run(
        [sys.executable, "-c", _PROBE, module, json.dumps(HEAVY)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == []

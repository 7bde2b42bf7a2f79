"""Apache Airflow provider for phone campaigns with Alibaba Cloud's OutboundBot."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

#: Names for DAG authors, imported on first use so that importing the package is cheap.
_LAZY = {
    "Contact": "airflow_provider_outbound.core.models.contact",
    "RecallStrategy": "airflow_provider_outbound.core.models.strategy",
    "Strategy": "airflow_provider_outbound.core.models.strategy",
}

__all__ = ["Contact", "RecallStrategy", "Strategy", "__version__", "get_provider_info"]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})


def get_provider_info() -> dict[str, Any]:
    """Return the provider's metadata; called by Airflow through the entry point ``apache_airflow_provider``."""
    integration = "Alibaba Cloud OutboundBot"
    return {
        "package-name": "airflow-provider-outbound",
        "name": integration,
        "description": "Phone campaigns with Alibaba Cloud's OutboundBot: assign contacts once, wait, act on results.",
        "versions": [__version__],
        "integrations": [
            {
                "integration-name": integration,
                "external-doc-url": "https://help.aliyun.com/product/101088.html",
                # Paths in the source distribution. Airflow's providers name those in Airflow's own documentation.
                "how-to-guide": [f"/docs/{page}.md" for page in ("start", "first-hour", "contacts", "results")],
                "logo": "/docs/integration-logos/outboundbot.svg",
                "tags": ["service"],
            }
        ],
        "hooks": [
            {
                "integration-name": integration,
                "python-modules": [
                    "airflow_provider_outbound.hooks.outboundbot",
                    "airflow_provider_outbound.hooks.rocketmq",
                ],
            }
        ],
        **{
            kind: [
                {"integration-name": integration, "python-modules": [f"airflow_provider_outbound.{kind}.outboundbot"]}
            ]
            for kind in ("operators", "sensors")
        },
        "filesystems": ["airflow_provider_outbound.oss"],
        "asset-uris": [_assets("oss"), _assets("maxcompute")],
        "queues": ["airflow_provider_outbound.queues.outboundbot.OutboundBotMessageQueueProvider"],
        "triggers": [
            {
                "integration-name": integration,
                "python-modules": [
                    f"airflow_provider_outbound.triggers.{name}" for name in ("details", "outboundbot", "steering")
                ],
            }
        ],
        "extra-links": ["airflow_provider_outbound.links.outboundbot.OutboundBotConsoleLink"],
        "cli": ["airflow_provider_outbound.cli.airflow.commands"],
        "connection-types": [_outboundbot_connection(), _rocketmq_connection()],
        "config": {"outbound": _configuration()},
    }


def _assets(scheme: str) -> dict[str, Any]:
    # The schemes of other databases belong to their own providers.
    module = "airflow_provider_outbound.operators.assets"
    return {
        "schemes": [scheme],
        "handler": None,
        "factory": f"{module}.create_{scheme}_asset",
        "to_openlineage_converter": f"{module}.convert_{scheme}_asset_to_openlineage",
    }


def _outboundbot_connection() -> dict[str, Any]:
    return {
        "connection-type": "outboundbot",
        "hook-class-name": "airflow_provider_outbound.hooks.outboundbot.OutboundBotHook",
        "hook-name": "Alibaba Cloud OutboundBot",
        # In the order of the form: what each connection needs comes first.
        "conn-fields": {
            "region_id": _field("Region", "string", "Region of the bot instance.", default="cn-shanghai"),
            "instance_id": _field("Instance id", "string", "Default bot instance of tasks."),
            "script_id": _field("Script id", "string", "Default script of new job groups."),
            "calling_hours": _field(
                "Calling hours",
                "object",
                'Nobody is called outside these, e.g. {"timezone": "Asia/Shanghai", "windows": [["09:00", "20:00"]], '
                '"holidays": ["2026-10-01"]}.',
            ),
            "allowed_phone_numbers": _field(
                "Allowed phone numbers",
                "array",
                "If given, only these numbers are called. One per line, e.g. +8613800000000. For trial runs.",
            ),
            "dry_run": _field("Dry run", "boolean", "Read, validate and count contacts, send nothing.", default=False),
            "security_token": _field("STS token", "string", "Token of a temporary AccessKey.", format="password"),
            "role_arn": _field("RAM role ARN", "string", "Role to assume, e.g. acs:ram::123456:role/outbound."),
            "role_session_name": _field("RAM session name", "string", "Shown in the audit trail of that role."),
            "ecs_role": _field("ECS RAM role", "string", "Role of the machine; leave login and password empty then."),
            "connect_timeout": _field("Connect timeout", "number", "Seconds to wait for a connection.", default=5),
            "read_timeout": _field("Read timeout", "number", "Seconds to wait for an answer.", default=10),
            "max_requests_per_second": _field("Requests per second", "number", "Of all processes; empty: no limit."),
        },
        "ui-field-behaviour": {
            # If the port were hidden it would not be stored, and Airflow's button to test a connection would refuse it.
            "hidden-fields": ["schema"],
            "relabeling": {
                "login": "AccessKey id",
                "password": "AccessKey secret",
                "host": "Endpoint",
            },
            "placeholders": {"host": "empty: the region's endpoint", "port": "443"},
        },
    }


def _rocketmq_connection() -> dict[str, Any]:
    return {
        "connection-type": "rocketmq",
        "hook-class-name": "airflow_provider_outbound.hooks.rocketmq.RocketMQHook",
        "hook-name": "RocketMQ",
        "conn-fields": {
            "transport": _field(
                "Transport",
                "string",
                "grpc: RocketMQ 5 proxy. remoting: the 4.x protocol.",
                default="grpc",
                enum=["grpc", "remoting"],
            ),
            "topic": _field("Topic", "string", "Topic that the bot instance publishes to."),
            "consumer_group": _field("Consumer group", "string", "Must exist, and be used by this ledger only."),
            "namespace": _field("Namespace", "string", "Instance id, if the broker needs one."),
            "tag": _field("Tag", "string", "Tag expression; * for every message.", default="*"),
            "tls": _field("TLS", "boolean", "Encrypt the connection.", default=True),
            "librocketmq": _field("librocketmq.so", "string", "Path of the library, for remoting only."),
            "instance_id": _field(
                "Bot instances", "string", "Instances whose events are stored, comma separated. Empty: all."
            ),
        },
        "ui-field-behaviour": {
            "hidden-fields": ["schema"],
            "relabeling": {"host": "Endpoints", "login": "User name"},
            "placeholders": {"host": "one host, or several as host:port;host:port", "port": "8081"},
        },
    }


def _field(label: str, kind: str, description: str, **schema: Any) -> dict[str, Any]:
    return {"label": label, "description": description, "schema": {"type": [kind, "null"], **schema}}


def _configuration() -> dict[str, Any]:
    return {
        "description": "The ledger of calls, how tasks wait, and the page.",
        "options": {
            "ledger_url": _option(
                "string",
                "sqlite:///{AIRFLOW_HOME}/outbound_ledger.db",
                "SQLAlchemy URL of the ledger, the database that records who was called. All schedulers, workers and "
                "triggerers must reach the same one.",
                example="postgresql+psycopg://user:password@host/database",
                sensitive=True,
            ),
            "ledger_key": _option(
                "string",
                "",
                "Fernet key that encrypts phone numbers in the ledger. For rotation give several, comma separated: the "
                "first encrypts, all decrypt. Empty: [core] fernet_key.",
                sensitive=True,
            ),
            "collector": _option(
                "string",
                "embedded",
                "Which collector receives messages from RocketMQ: embedded (triggers start it), or external (you run "
                "outbound collect).",
                example="external",
            ),
            "reconcile_interval": _option(
                "float", "300", "How often waiting job groups are reconciled with the API (seconds).", example="60"
            ),
            "retention_days": _option(
                "string",
                "",
                "Days after which outbound ledger purge, which you run daily, deletes the data of a job group and its "
                "contacts. 0 or empty: everything is kept. max_calls_per_contact does not count deleted calls.",
                example="90",
            ),
            "page": _option(
                "boolean",
                "true",
                "Whether Airflow's UI shows campaigns: the page Campaigns, and a link from each task to its campaign.",
                example="false",
            ),
            "run_tab": _option(
                "boolean",
                "true",
                "Whether each DAG run has a tab with its campaigns. Airflow shows the tab on runs of every DAG.",
                example="false",
            ),
        },
    }


def _option(kind: str, default: str, description: str, *, example: str | None = None, sensitive: bool = False) -> Any:
    return {
        "description": description,
        "version_added": "0.1.0",
        "type": kind,
        "example": example,
        "default": default,
        **({"sensitive": True} if sensitive else {}),
    }

"""Apache Airflow provider for phone campaigns with Alibaba Cloud's OutboundBot."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

#: Names for authors of DAGs, loaded on first use so that nothing else is.
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
    """What Airflow shows and configures; found by the entry point ``apache_airflow_provider``."""
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
        "queues": ["airflow_provider_outbound.queues.outboundbot.OutboundBotMessageQueueProvider"],
        "triggers": [
            {
                "integration-name": integration,
                "python-modules": [
                    "airflow_provider_outbound.triggers.outboundbot",
                    "airflow_provider_outbound.triggers.steering",
                ],
            }
        ],
        "extra-links": ["airflow_provider_outbound.links.outboundbot.OutboundBotConsoleLink"],
        "cli": ["airflow_provider_outbound.cli.airflow.commands"],
        "connection-types": [_outboundbot_connection(), _rocketmq_connection()],
        "config": {"outbound": _configuration()},
    }


def _outboundbot_connection() -> dict[str, Any]:
    return {
        "connection-type": "outboundbot",
        "hook-class-name": "airflow_provider_outbound.hooks.outboundbot.OutboundBotHook",
        "hook-name": "Alibaba Cloud OutboundBot",
        "conn-fields": {
            "region_id": _field("Region", "string", "Region of the bot instance.", default="cn-shanghai"),
            "instance_id": _field("Instance id", "string", "Bot instance that tasks use unless they name one."),
            "script_id": _field("Script id", "string", "Script that new job groups use unless they name one."),
            "security_token": _field("STS token", "string", "Belongs to a temporary AccessKey.", format="password"),
            "role_arn": _field("RAM role ARN", "string", "Role to assume, e.g. acs:ram::123456:role/outbound."),
            "role_session_name": _field("RAM session name", "string", "Shown in the audit trail of that role."),
            "ecs_role": _field("ECS RAM role", "string", "Role of the machine; leave login and password empty then."),
            "connect_timeout": _field("Connect timeout", "number", "Seconds to wait for a connection.", default=5),
            "read_timeout": _field("Read timeout", "number", "Seconds to wait for an answer.", default=10),
            "max_requests_per_second": _field("Requests per second", "number", "By all processes; empty: no limit."),
            "calling_hours": _field(
                "Calling hours",
                "object",
                'Nobody is called outside, e.g. {"timezone": "Asia/Shanghai", "windows": [["09:00", "20:00"]], '
                '"holidays": ["2026-10-01"]}.',
            ),
            "dry_run": _field("Dry run", "boolean", "Read, validate and count contacts, send nothing.", default=False),
            "allowed_phone_numbers": _field(
                "Allowed phone numbers", "array", "If given, nobody else is called. For trying things out."
            ),
        },
        "ui-field-behaviour": {
            # Airflow's button for trying a connection refuses one whose port is hidden, and so was never stored.
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
                "grpc: RocketMQ 5 proxy. remoting: the protocol of 4.x.",
                default="grpc",
                enum=["grpc", "remoting"],
            ),
            "topic": _field("Topic", "string", "Topic that the bot's instance publishes to."),
            "consumer_group": _field("Consumer group", "string", "Must exist, and belong to this ledger alone."),
            "namespace": _field("Namespace", "string", "Instance id, where the broker wants one."),
            "tag": _field("Tag", "string", "Tag expression; * for every message.", default="*"),
            "tls": _field("TLS", "boolean", "Encrypt the connection.", default=True),
            "librocketmq": _field("librocketmq.so", "string", "Path of the library, for remoting only."),
            "instance_id": _field("Bot instances", "string", "Whose events are stored, comma separated. Empty: all."),
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
        "description": "Where calls are remembered and how waiting works.",
        "options": {
            "ledger_url": _option(
                "string",
                "sqlite:///{AIRFLOW_HOME}/outbound_ledger.db",
                "SQLAlchemy URL of the ledger, the database that remembers who was called. All schedulers, workers and "
                "triggerers must reach the same one.",
                example="postgresql+psycopg://user:password@host/database",
                sensitive=True,
            ),
            "ledger_key": _option(
                "string",
                "",
                "Fernet key that encrypts phone numbers in the ledger. Several, comma separated, rotate: the first "
                "encrypts, all decrypt. Empty: [core] fernet_key.",
                sensitive=True,
            ),
            "collector": _option(
                "string",
                "embedded",
                "Who takes messages from RocketMQ: embedded (triggers start it), external (you run outbound collect).",
                example="external",
            ),
            "reconcile_interval": _option(
                "float", "300", "Seconds between two looks at a waiting job group by the API.", example="60"
            ),
            "retention_days": _option(
                "string",
                "",
                "Days after which outbound ledger purge, which you run daily, deletes what the ledger knows of a job "
                "group and its people. 0 or empty: all is kept. max_calls_per_contact counts only what is kept.",
                example="90",
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

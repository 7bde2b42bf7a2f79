"""The settings of a collector, which its parent hands over as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import attrs

from airflow_provider_outbound.core.rocketmq.base import RocketMQSettings


@attrs.frozen(kw_only=True)
class WorkerSettings:
    """
    Settings of a collector.

    :param ledger_url: SQLAlchemy URL of the ledger.
    :param ledger_keys: Fernet keys of the ledger, newest first.
    :param rocketmq: The subscription to read.
    """

    ledger_url: str = attrs.field(repr=False)
    ledger_keys: tuple[str, ...] = attrs.field(repr=False)
    rocketmq: RocketMQSettings

    def to_dict(self) -> dict[str, Any]:
        """Return the values as JSON for standard input. They include passwords and keys: never log them."""
        return {
            "ledger_url": self.ledger_url,
            "ledger_keys": list(self.ledger_keys),
            "rocketmq": self.rocketmq.to_dict(),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The reverse of :meth:`to_dict`."""
        return cls(
            ledger_url=values["ledger_url"],
            ledger_keys=tuple(values["ledger_keys"]),
            rocketmq=RocketMQSettings.from_dict(values["rocketmq"]),
        )

"""Settings from the ``[outbound]`` section of Airflow's configuration."""

from __future__ import annotations

import base64
import binascii
import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import attrs

from airflow_provider_outbound.exceptions import OutboundBotConfigError

SECTION = "outbound"
COLLECTORS = ("embedded", "external")
DEFAULT_RECONCILE_INTERVAL = 300.0

#: Supported databases, by URL scheme.
_DATABASES = ("sqlite", "postgresql")
_LOCAL_EXECUTORS = ("LocalExecutor", "SequentialExecutor", "DebugExecutor")
#: Airflow's value of [core] fernet_key before it has written its first airflow.cfg.
_NO_KEY_YET = "{FERNET_KEY}"
_MAKE_KEY = 'python -c "from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())"'


@attrs.frozen(kw_only=True)
class Settings:
    """
    Settings of this installation, the same for all its connections.

    :param ledger_url: SQLAlchemy URL of the ledger's database.
    :param ledger_keys: Fernet keys; the first encrypts, all decrypt.
    :param collector: ``embedded``: triggers start the collector; ``external``: it runs as a service.
    :param reconcile_interval: How often a waiting group is reconciled with the API (seconds).
    :param retention_days: Days after which ``outbound ledger purge`` deletes a job group's rows; ``None`` to keep them,
        since ``max_calls_per_contact`` does not count deleted calls.
    """

    ledger_url: str = attrs.field(repr=False)
    ledger_keys: tuple[str, ...] = attrs.field(repr=False)
    collector: str = "embedded"
    reconcile_interval: float = DEFAULT_RECONCILE_INTERVAL
    retention_days: int | None = None


def load() -> Settings:
    """
    Read the section.

    :raises OutboundBotConfigError: an option cannot be used; the message names it, its value unless that is a secret,
        and the fix. This includes a ledger that depends on the working directory, and a ledger that only this machine
        can reach if tasks run on others too.
    """
    settings = Settings(
        ledger_url=_ledger_url(_get("ledger_url")),
        ledger_keys=_ledger_keys(),
        collector=_collector(_get("collector")),
        reconcile_interval=_reconcile_interval(_get("reconcile_interval")),
        retention_days=_retention_days(_get("retention_days")),
    )
    check_shared_ledger(settings.ledger_url, executor())
    return settings


def load_ledger_url() -> str:
    """
    Read which ledger to use, and no other option: stopping calls must work in spite of a mistake in one.

    :raises OutboundBotConfigError: as :func:`load`.
    """
    url = _ledger_url(_get("ledger_url"))
    check_shared_ledger(url, executor())
    return url


def load_ledger_keys() -> tuple[str, ...]:
    """
    Read the ledger's keys, and no other option.

    :raises OutboundBotConfigError: as :func:`load`.
    """
    return _ledger_keys()


def page_enabled() -> bool:
    """
    Return ``[outbound] page``: whether Airflow's UI shows campaigns.

    :raises OutboundBotConfigError: it is neither true nor false.
    """
    return _flag("page")


def run_tab_enabled() -> bool:
    """
    Return ``[outbound] run_tab``: whether each DAG run has a tab with its campaigns.

    :raises OutboundBotConfigError: it is neither true nor false.
    """
    return _flag("run_tab")


def page_root() -> str:
    """Return the path of ``[api] base_url``, to which addresses inside Airflow's UI are relative; empty for none."""
    return urlsplit(_get("base_url", "api")).path.rstrip("/")


def default_ledger_url() -> str:
    """Return the URL of the default ledger, a file in AIRFLOW_HOME."""
    return f"sqlite:///{airflow_home()}/outbound_ledger.db"


def airflow_home() -> Path:
    """Return Airflow's home folder."""
    return Path(os.environ.get("AIRFLOW_HOME", "~/airflow")).expanduser()


def executor() -> str:
    """Return ``[core] executor``, which determines where tasks may run."""
    return _get("executor", "core") or "LocalExecutor"


def check_shared_ledger(ledger_url: str, executor: str) -> None:
    """
    Refuse a ledger in a SQLite file if tasks may run on several machines: each machine would have its own ledger,
    without the calls of the others. A network file system is no exception, because SQLite's locks are unreliable there.

    :param executor: Value of ``[core] executor``, as :func:`remote_executor` reads it.
    :raises OutboundBotConfigError: an executor is not local and the ledger is a SQLite file.
    """
    if not ledger_url.startswith("sqlite"):
        return
    if name := remote_executor(executor):
        raise OutboundBotConfigError(
            f"[outbound] ledger_url is a SQLite file, which is on one machine, and [core] executor {name} runs"
            " tasks on others too, which could call people twice; set it to a shared database, e.g. "
            "postgresql+psycopg://user:password@host/database. A new one does not know whom this ledger called, or who"
            " refused: outbound ledger copy takes the rows of an existing ledger along"
        )


def remote_executor(executor: str) -> str | None:
    """
    Find an executor that runs tasks on other machines.

    :param executor: Value of ``[core] executor``: one or more, separated by commas, optionally with an alias or a team.
    :return: Its name; ``None`` if all run tasks on this machine.
    """
    # "LocalExecutor", "alias:module.Class", "Class;team=Class,alias:Class"
    names = [re.split("[=:.]", part)[-1].strip() for part in re.split("[,;]", executor)]
    return next((name for name in names if name and name not in _LOCAL_EXECUTORS), None)


def check_ledger_url(value: str, name: str = "[outbound] ledger_url") -> str:
    """
    Refuse a URL that does not name the same database in every working directory.

    :param name: Name of the setting in errors.
    :return: The URL.
    :raises OutboundBotConfigError: it is not a supported database, is in memory, or is a relative path.
    """
    scheme, found, rest = value.partition("://")
    if not found or scheme.partition("+")[0] not in _DATABASES or (not rest and not scheme.startswith("sqlite")):
        # The URL may hold a password, so it is not repeated.
        raise OutboundBotConfigError(
            f"{name} is not the URL of a database the ledger can use; give one such as "
            "sqlite:////var/lib/airflow/outbound_ledger.db or postgresql+psycopg://user:password@host/database"
        )
    if not scheme.startswith("sqlite"):
        return value
    path, _, query = rest.removeprefix("/").partition("?")
    file = path.removeprefix("file:")
    if file in ("", ":memory:") or "mode=memory" in query:
        raise OutboundBotConfigError(
            f"{name} is a database in memory, which forgets who was called; give the path of a file, "
            "e.g. sqlite:////var/lib/airflow/outbound_ledger.db"
        )
    if not rest.startswith("/") or not file.startswith("/"):
        absolute = Path(os.path.expanduser(file)).absolute()  # noqa: PTH111 - leaves an unknown user as it is
        fix = f"write an absolute path, with four slashes: {scheme}:///{absolute}"
        if name == "AIRFLOW_HOME":
            fix = f"set it to an absolute path, e.g. {absolute.parent}"
        raise OutboundBotConfigError(
            f"{name} is a relative path: each working directory would have its own ledger, and call people again; {fix}"
        )
    return value


def _get(option: str, section: str = SECTION) -> str:
    # Imported late: reading the configuration at import would slow down every DAG file.
    from airflow.sdk.configuration import conf

    value: Any = conf.get(section, option, fallback=None)
    # A value read from a command ends with a newline.
    return "" if value is None else str(value).strip()


def _ledger_url(value: str) -> str:
    return check_ledger_url(value) if value else check_ledger_url(default_ledger_url(), "AIRFLOW_HOME")


def _ledger_keys() -> tuple[str, ...]:
    source = "[outbound] ledger_key"
    keys = _split(_get("ledger_key"))
    if not keys:
        source = "[core] fernet_key"
        keys = _split(_get("fernet_key", "core"))
        if keys == (_NO_KEY_YET,):
            raise OutboundBotConfigError(
                f"Airflow is not configured here: there is no airflow.cfg in {airflow_home()}, and so no key; set"
                " AIRFLOW_HOME to its folder, or create it with: airflow db migrate. A machine that only collects does"
                " not need it: set OUTBOUND_LEDGER_URL and OUTBOUND_LEDGER_KEY to the same values as on all other"
                " machines"
            )
    if not keys:
        raise OutboundBotConfigError(
            f"[outbound] ledger_key and [core] fernet_key are both empty, but the ledger must encrypt phone numbers; "
            f"set ledger_key to the key of this ledger, or for a new one to the output of: {_MAKE_KEY}"
        )
    for number, key in enumerate(keys, start=1):
        if not _is_fernet_key(key):
            raise OutboundBotConfigError(
                f"{source}: key {number} of {len(keys)} is not a Fernet key; correct it, or for a new ledger generate"
                f" one with: {_MAKE_KEY}"
            )
    return keys


def _split(value: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in value.split(",") if part.strip())


def _is_fernet_key(key: str) -> bool:
    try:
        return len(base64.urlsafe_b64decode(key.encode())) == 32
    except (ValueError, binascii.Error):
        return False


def _collector(value: str) -> str:
    value = value.lower() or "embedded"
    if value not in COLLECTORS:
        raise OutboundBotConfigError(f"[outbound] collector: {value!r} is not one of {', '.join(COLLECTORS)}")
    return value


def _reconcile_interval(value: str) -> float:
    try:
        seconds = float(value) if value else DEFAULT_RECONCILE_INTERVAL
    except ValueError:
        seconds = 0.0
    if not 1 <= seconds <= 86400:
        raise OutboundBotConfigError(
            f"[outbound] reconcile_interval is {value!r}; give seconds from 1 to 86400, e.g. 300"
        )
    return seconds


def _flag(option: str) -> bool:
    value = _get(option).lower()
    if value not in ("", "true", "false"):
        raise OutboundBotConfigError(f"[outbound] {option} is {value!r}; give true or false")
    return value != "false"


def _retention_days(value: str) -> int | None:
    if not value:
        return None
    if not value.isdecimal() or int(value) > 36_500:
        raise OutboundBotConfigError(
            f"[outbound] retention_days is {value!r}; give a whole number of days, or 0 or nothing to keep everything"
        )
    return int(value) or None

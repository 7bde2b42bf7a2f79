"""``outbound doctor``: checks from this machine whether everything that a campaign needs is available."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

import attrs

from airflow_provider_outbound.cli import collectors
from airflow_provider_outbound.cli.options import quiet_logs, read_airflow_connections
from airflow_provider_outbound.cli.output import print_json
from airflow_provider_outbound.cli.page_roles import check_roles
from airflow_provider_outbound.cli.place import Finding, State, look_around
from airflow_provider_outbound.core.models.words import count_of
from airflow_provider_outbound.exceptions import OutboundBotConfigError, OutboundBotError

if TYPE_CHECKING:
    from airflow_provider_outbound.config import Settings
    from airflow_provider_outbound.core.ledger import Collecting, Ledger
    from airflow_provider_outbound.hooks.outboundbot import OutboundBotHook

_DESCRIPTION = """\
Check versions, configuration, ledger, collectors, both connections and Airflow's triggerer from this machine, and
report what is wrong and how to fix it. The first line names Airflow's home, its database and the ledger. Nobody is
called and no message is consumed. A ledger with an older schema is migrated, as whenever it is opened.

Exit code 0: nothing is wrong, though there may be warnings. 1: something is wrong."""

#: A larger difference to the database's clock is reported (seconds).
_MAX_SKEW = 5.0
#: Packages whose versions belong in a problem report.
_PACKAGES = (
    "airflow-provider-outbound",
    "apache-airflow",
    "aliyun-python-sdk-core",
    "aliyun-python-sdk-outboundbot",
    "rocketmq-python-client",
    "rocketmq-client-python",
)


def configure(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "doctor",
        help="check whether everything that a campaign needs is available",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--outboundbot-conn-id", default="outboundbot_default", metavar="ID", help="Airflow connection")
    messages = parser.add_mutually_exclusive_group()
    messages.add_argument("--rocketmq-conn-id", default="rocketmq_default", metavar="ID", help="Airflow connection")
    messages.add_argument(
        "--no-rocketmq", action="store_true", help="tasks wait with the API only (rocketmq_conn_id=None)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON list")
    parser.set_defaults(run=_examine)


def _examine(arguments: argparse.Namespace) -> int:
    read_airflow_connections()
    findings = []
    with quiet_logs():
        for finding in _findings(arguments):
            findings.append(finding)
            if not arguments.json:
                _show(finding)
    if arguments.json:
        print_json([attrs.asdict(finding) for finding in findings])
    wrong = [finding.name for finding in findings if finding.state is State.WRONG]
    if wrong:
        is_elsewhere = findings[0].state is State.WRONG
        hint = "" if is_elsewhere else _other_home()
        print(f"outbound: wrong: {', '.join(dict.fromkeys(wrong))}{hint}", file=sys.stderr)
    return 1 if wrong else 0


def _other_home() -> str:
    """A hint that may explain all errors."""
    from airflow_provider_outbound import config

    if "AIRFLOW_HOME" in os.environ:
        return ""
    return (
        f". AIRFLOW_HOME is not set: if your Airflow's home is not {config.airflow_home()}, set it and run this again"
    )


def _show(finding: Finding) -> None:
    from rich.console import Console
    from rich.text import Text

    style = {State.GOOD: "green", State.WARNING: "yellow", State.WRONG: "bold red"}[finding.state]
    line = Text.assemble((f"{finding.state:<8}", style), f"{finding.name}: {finding.text}")
    Console().print(line, soft_wrap=True)


def _findings(arguments: argparse.Namespace) -> Iterator[Finding]:
    """Run the checks one after the other."""
    from airflow_provider_outbound import config

    place = look_around()
    yield place
    yield _versions()
    if place.state is State.WRONG:
        # All other checks would be about an Airflow that does not exist.
        return
    try:
        settings = config.load()
    except OutboundBotError as error:
        yield Finding("configuration", State.WRONG, str(error))
    else:
        yield _configuration(settings)
        yield from _ledger(settings, None if arguments.no_rocketmq else arguments.rocketmq_conn_id)
    yield from _outboundbot(arguments.outboundbot_conn_id)
    if arguments.no_rocketmq:
        yield Finding("messages", State.GOOD, "none are expected; tasks get results from the API only")
    else:
        yield _rocketmq(arguments.rocketmq_conn_id)
        yield from _instances(arguments.outboundbot_conn_id, arguments.rocketmq_conn_id)
    yield _triggerer()
    yield from check_roles()


def _versions() -> Finding:
    found = []
    for package in _PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            found.append(f"{package} is not installed")
    return Finding("versions", State.GOOD, ", ".join((f"Python {platform.python_version()}", *found)))


def _configuration(settings: Settings) -> Finding:
    from airflow_provider_outbound import config
    from airflow_provider_outbound.core.ledger.cipher import FieldCipher

    # Identifiers, which reveal nothing about the keys: they show at a glance whether two machines differ.
    keys = ", ".join(FieldCipher(settings.ledger_keys).key_ids)
    collector = {
        "embedded": "the first trigger of a triggerer starts the collector",
        "external": "this must run as a service: outbound collect --rocketmq-conn-id ID",
    }[settings.collector]
    kept = (
        "everything"
        if settings.retention_days is None
        else f"{settings.retention_days} days (with: outbound ledger purge)"
    )
    text = f"executor {config.executor()}; ledger key {keys}, which all machines must have"
    return Finding("configuration", State.GOOD, f"{text}; collector {settings.collector}: {collector}; kept: {kept}")


def _ledger(settings: Settings, rocketmq_conn_id: str | None) -> Iterator[Finding]:
    from airflow_provider_outbound import config
    from airflow_provider_outbound.cli.ledger.opening import missing_file
    from airflow_provider_outbound.cli.ledger.status import errors_of, warnings_of
    from airflow_provider_outbound.core.ledger import examine, open_ledger, shown_url
    from airflow_provider_outbound.core.tls import is_own_machine

    name = "ledger"
    if missing := missing_file(settings.ledger_url):
        text = f"{missing} does not exist yet; the first task that needs it creates it. If there was one, restore it"
        yield Finding(name, State.WARNING, f"{text} first: a new one does not know who was called")
        return
    try:
        with open_ledger(settings.ledger_url, settings.ledger_keys, require_keys=False) as ledger:
            url = ledger.engine.url
            shown = f"{shown_url(url)} (id {ledger.ledger_id[:8]})"
            skew = abs((ledger.now() - datetime.now(UTC)).total_seconds())
            health = examine(ledger)
            encryption = list(_encryption(ledger))
    except OutboundBotError as error:
        yield Finding(name, State.WRONG, str(error))
        return
    last = max((topic.last_event_at for topic in health.topics if topic.last_event_at), default=None)
    told = "no message yet" if last is None else f"last message at {last:%Y-%m-%d %H:%M:%S} UTC"
    rows = health.rows
    yield Finding(name, State.GOOD, f"{shown}: {rows['job_groups']} job groups, {rows['jobs']} jobs; {told}")
    if not rows["job_groups"]:
        text = "it has never had a job group. If tasks have called people, this is another ledger than theirs, or a new"
        yield Finding(name, State.WARNING, f"{text} one in place of a lost one, and it does not know who was called")
    for text in errors_of(health):
        yield Finding(name, State.WRONG, text)
    for warning in warnings_of(health):
        yield Finding(name, State.WARNING, warning)
    yield from encryption
    executor = config.remote_executor(config.executor())
    if executor and is_own_machine(url.host or url.query.get("host")):
        text = f"{executor} runs tasks on other machines, but ledger_url names the database of this one: use a host"
        yield Finding(name, State.WARNING, f"{text} name that all machines can resolve")
    if skew > _MAX_SKEW:
        text = f"this machine and the ledger's database differ by {skew:.0f} s: synchronise both with a time server"
        yield Finding("clock", State.WARNING, f"{text}; windows depend on the former, leases on the latter")
    if rocketmq_conn_id is not None:
        yield from _collectors(health.collecting, rocketmq_conn_id if settings.collector == "external" else None)


def _collectors(collecting: Collecting, external: str | None) -> Iterator[Finding]:
    """Each collector in the ledger, and why no messages come."""
    name = "collector"
    if why := collecting.why_nothing_comes(external):
        yield Finding(name, State.WRONG, f"no messages come: {why}")
    for one in collecting.collectors:
        # No embedded collector runs between two campaigns.
        may_have_ended = external is None or collecting.is_running(one)
        state = State.GOOD if may_have_ended and not one.trouble else State.WARNING
        yield Finding(name, state, collectors.describe(collecting, one))


def _encryption(ledger: Ledger) -> Iterator[Finding]:
    """Whether others can read what the ledger's database sends, or pretend to be that database."""
    from airflow_provider_outbound.core.tls import is_readable, is_unchecked

    fix = "set sslmode=verify-full, and sslrootcert to its authority's certificate, in ledger_url"
    with ledger.read() as connection:
        readable = is_readable(connection)
    if readable:
        text = (
            "the connection to it crosses a network without encryption. Contacts are encrypted in the ledger, but"
            " reference ids, job ids and outcomes are not"
        )
        yield Finding("ledger", State.WARNING, f"{text}: {fix}")
    elif is_unchecked(ledger.engine.url):
        text = (
            "the connection to it is encrypted, but the server's certificate is not checked, so another machine could"
            " pretend to be the server"
        )
        yield Finding("ledger", State.WARNING, f"{text}: {fix}")


def _outboundbot(conn_id: str) -> Iterator[Finding]:
    from airflow_provider_outbound.hooks.outboundbot import OutboundBotHook

    with OutboundBotHook(conn_id) as hook:
        is_well, text = hook.test_connection()
        yield Finding(conn_id, State.GOOD if is_well else State.WRONG, text)
        if is_well:
            yield from _limits(conn_id, hook)
            yield from _preflight(conn_id, hook)


def _limits(conn_id: str, hook: OutboundBotHook) -> Iterator[Finding]:
    """Restrictions that the connection imposes on tasks."""
    if hook.dry_run:
        yield Finding(conn_id, State.WARNING, "dry_run: nothing is sent, nobody is called")
    if hook.allowed_phone_numbers is not None:
        count = len(hook.allowed_phone_numbers)
        yield Finding(conn_id, State.WARNING, f"allowed_phone_numbers: only {count_of(count, 'number')} may be called")
    if hook.calling_hours is None:
        yield Finding(
            conn_id, State.WARNING, "no calling_hours: only a job group's own window limits when people are called"
        )
        return
    hours = hook.calling_hours
    windows = f"{', '.join(map(str, hours.windows))} ({hours.timezone.key})"
    try:
        hours.check_now(datetime.now(UTC))
    except OutboundBotError:
        yield Finding(conn_id, State.GOOD, f"calling_hours {windows}; the current time is outside")
    else:
        yield Finding(conn_id, State.GOOD, f"calling_hours {windows}; the current time is inside")


def _preflight(conn_id: str, hook: OutboundBotHook) -> Iterator[Finding]:
    """What would only fail when the service dials."""
    from airflow_provider_outbound.core.preflight import Checks

    checks = Checks(client=hook.client)
    if hook.script_id:
        try:
            yield Finding(conn_id, State.GOOD, checks.check_script(hook.script_id))
        except OutboundBotConfigError as error:
            yield Finding(conn_id, State.WRONG, str(error))
        except OutboundBotError as error:
            yield Finding(conn_id, State.WARNING, f"whether the script is published could not be checked: {error}")
    try:
        lines = hook.client.max_concurrent_calls()
    except OutboundBotError as error:
        yield Finding(conn_id, State.WARNING, f"the number of lines could not be read: {error}")
        return
    known = "does not name its number of lines" if lines is None else f"has {count_of(lines, 'line')}"
    yield Finding(conn_id, State.GOOD, f"instance {hook.instance_id!r} {known}")


def _rocketmq(conn_id: str) -> Finding:
    from airflow_provider_outbound.hooks.rocketmq import RocketMQHook

    is_well, text = RocketMQHook(conn_id).test_connection()
    return Finding(conn_id, State.GOOD if is_well else State.WRONG, text)


def _instances(outboundbot_conn_id: str, rocketmq_conn_id: str) -> Iterator[Finding]:
    """Whether the events of the bot instance that calls are stored."""
    from airflow_provider_outbound.hooks.outboundbot import OutboundBotHook
    from airflow_provider_outbound.hooks.rocketmq import RocketMQHook

    try:
        named = RocketMQHook(rocketmq_conn_id).settings().instance_ids
        own = OutboundBotHook(outboundbot_conn_id).settings.client.instance_id
    except OutboundBotError:  # reported above
        return
    if named and own and own not in named:
        text = f"instance_id does not name bot instance {own} of {outboundbot_conn_id}: add it"
        yield Finding(rocketmq_conn_id, State.WARNING, text)


def _triggerer() -> Finding:
    from airflow.api.common.airflow_health import get_airflow_health

    name = "triggerer"
    health = get_airflow_health()
    if health["metadatabase"]["status"] != "healthy":
        return Finding(name, State.WARNING, "Airflow's database cannot be read from here to check whether one runs")
    found = health[name]
    beat = found["latest_triggerer_heartbeat"]
    if found["status"] == "healthy":
        return Finding(name, State.GOOD, f"running; last heartbeat {beat}")
    text = "none has run yet" if beat is None else f"the last heartbeat was at {beat}"
    return Finding(
        name,
        State.WRONG,
        f"{text}: deferred sensors wait for it; start one (airflow triggerer), or use deferrable=False",
    )

"""``outbound groups`` and the kill switch: ``outbound suspend``, ``resume`` and ``cancel``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_provider_outbound import config
from airflow_provider_outbound.cli.connections import (
    Connections,
    add_connection,
    is_under_way,
    is_unused,
    waited_for,
)
from airflow_provider_outbound.cli.gone import describe_gone, does_not_exist
from airflow_provider_outbound.cli.groups_at_service import list_at_service
from airflow_provider_outbound.cli.options import confirmed, quiet_logs
from airflow_provider_outbound.cli.output import in_minutes, print_json, print_table
from airflow_provider_outbound.cli.sweep import Sweep, undisturbed, words_of
from airflow_provider_outbound.core.models.words import count_of
from airflow_provider_outbound.exceptions import LedgerError, OutboundBotConfigError, OutboundBotError

if TYPE_CHECKING:
    from airflow_provider_outbound.core.ledger import JobGroupRecord
    from airflow_provider_outbound.core.models.job import JobGroup
    from airflow_provider_outbound.hooks.outboundbot import OutboundBotHook

_ACTIONS = {
    "suspend": ("suspend", "suspend jobs until they are resumed"),
    "resume": ("resume", "resume suspended jobs"),
    "cancel": ("cancel", "cancel jobs for good"),
}
_EACH = """\
Every job group is tried, even if another one fails, the output cannot be written or the terminal is closed. Exit code 0
means that all are done; after Ctrl-C, those that are not done are listed.
"""
_STOP = f"""\
--all means every job group of this ledger that has not ended. Calls on the line are not cut off. Tasks of this ledger
that assign to the job group fail: within seconds, or as soon as they begin. A DAG run that creates its job group later
calls its contacts: pause the DAGs first (airflow dags pause DAG).
{_EACH}With --all, job groups that no longer exist at the service are reported in one line, and are no error.
No key of the ledger is needed. Job groups that are named are stopped even if the ledger cannot be used. Exit code 1
then says that tasks do not learn of it.
"""
_RESUME = f"""\
--all means every job group of this ledger that has not ended, also those that somebody else suspended. Jobs are resumed
within the connection's calling_hours. Cancelled jobs cannot be resumed: a cancelled job group that is named is an
error, and --all leaves it out.
{_EACH}"""
_DETAILS = {"suspend": _STOP, "resume": _RESUME, "cancel": _STOP}
#: Counts that the API returns.
_COUNTS = ("total", "scheduling", "executing", "paused", "failed", "cancelled", "completed")

#: The status of a job group that no longer exists at the service.
_GONE = "NotExist"


def configure(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the commands."""
    parser = subparsers.add_parser(
        "groups",
        help="list job groups and their progress",
        description="Lists the job groups that tasks of this ledger created or assigned contacts to, newest first. The"
        " API is asked about those that have not ended. With --at-service, lists those that the service has in the bot"
        " instance of one connection, whoever created them: after the ledger was lost, for example.",
    )
    parser.add_argument("--at-service", action="store_true", help="list what the service has, not what the ledger has")
    parser.add_argument("--json", action="store_true", help="print one JSON list")
    parser.add_argument("--limit", type=_count, default=50, help="maximum number of job groups (default: %(default)s)")
    add_connection(parser)
    parser.set_defaults(run=_list)
    for action, (_, what) in _ACTIONS.items():
        parser = subparsers.add_parser(
            action,
            help=f"{what}, in some job groups or in all",
            description=f"{what[0].upper()}{what[1:]}: all jobs of the given job groups.\n{_DETAILS[action]}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        chosen = parser.add_mutually_exclusive_group(required=True)
        chosen.add_argument("groups", nargs="*", default=[], metavar="GROUP", help="ids of job groups")
        chosen.add_argument("--all", action="store_true", help="every job group of this ledger that has not ended")
        parser.add_argument("--yes", action="store_true", help="do not ask for confirmation of --all")
        add_connection(parser)
        parser.set_defaults(run=_steer, action=action)


def _count(value: str) -> int:
    if not value.isdecimal() or int(value) < 1:
        raise argparse.ArgumentTypeError(f"{value!r} is not a whole number of 1 or more")
    return int(value)


def _list(arguments: argparse.Namespace) -> int:
    if arguments.at_service:
        return list_at_service(arguments)
    with quiet_logs(), Connections(arguments.outboundbot_conn_id, arguments.command) as connections:
        ledger = connections.ledger
        records = ledger.groups.list_all()
        rows = [_row(connections, record) for record in records[: arguments.limit]]
        no_messages = ledger.collectors.read().why_nothing_comes("ID" if _is_collector_external() else None)
    if arguments.json:
        print_json(rows)
    else:
        _print_table(rows)
    if not records:
        is_unused(ledger, consequence="")
    if len(rows) < len(records):
        print(f"outbound: {len(records) - len(rows)} older job groups are not listed; see --limit", file=sys.stderr)
    if no_messages and any(row["api"] or row["error"] for row in rows):
        print(f"outbound: no messages come: {no_messages}", file=sys.stderr)
    for why, count in connections.unusable.items():
        print(f"outbound: the API was not asked about {count_of(count, 'job group')}: {why}", file=sys.stderr)
    if gone := [row["job_group_id"] for row in rows if row["status"] == _GONE]:
        print(f"outbound: {describe_gone(gone)}", file=sys.stderr)
    failed = [row for row in rows if row["error"]]
    for row in failed:
        if row["error"] not in connections.unusable:
            print(f"outbound: {row['job_group_id']}: {row['error']}", file=sys.stderr)
    return 1 if failed else 0


def _is_collector_external() -> bool:
    try:
        return config.load().collector == "external"
    except OutboundBotConfigError as error:
        # The job groups are listed nevertheless: who stops calls needs their ids.
        print(f"outbound: {error}", file=sys.stderr)
        return False


def _row(connections: Connections, record: JobGroupRecord) -> dict[str, Any]:
    """One job group; ``api`` is ``None`` if the API was not asked, or did not answer."""
    from airflow_provider_outbound.core.control import is_over

    key = record.task_key
    ledger = connections.ledger
    state, counted = ledger.groups.state(record.job_group_id), ledger.results.summary(record.job_group_id)
    row: dict[str, Any] = {
        "job_group_id": record.job_group_id,
        "name": record.name,
        "dag_id": key.dag_id if key else None,
        "run_id": key.run_id if key else None,
        "task_id": key.task_id if key else None,
        "map_index": key.map_index if key else None,
        "created_at": record.created_at.isoformat() if record.created_at else None,
        "status": None,
        "ledger": {name: counted[name] for name in ("total", "completed", "answered", "unanswered", "not_dialled")},
        "api": None,
        "error": None,
    }
    if is_over(state):
        return {**row, "status": "Cancelled" if state.reconcile_state.cancelled else "Completed"}
    try:
        group = _describe(connections.of(record), record)
    except Exception as error:  # noqa: BLE001 - the other groups must still be listed
        if does_not_exist(error) and connections.is_own(record):
            return {**row, "status": _GONE}
        return {**row, "error": words_of(error)}
    return {**row, "status": str(group.status) if group.status else None, "api": _counts(group)}


def _print_table(rows: list[dict[str, Any]]) -> None:
    lines = []
    for row in rows:
        counted, api = row["ledger"], row["api"] or {}
        total = max(counted["total"], api.get("total", 0))
        numbers = (total, counted["completed"], counted["answered"])
        numbers += tuple(api.get(name, "") for name in ("scheduling", "executing", "paused"))
        created = in_minutes(row["created_at"])
        words = (row["job_group_id"], row["name"], row["dag_id"], row["run_id"], created, row["status"] or "?")
        lines.append((*words, *numbers))
    print_table(
        ("job group", "name", "DAG", "run", "created (UTC)", "status"),
        ("jobs", "complete", "answered", "waiting", "on the line", "paused"),
        lines,
    )


def _steer(arguments: argparse.Namespace) -> int:
    with undisturbed(), Connections(arguments.outboundbot_conn_id, arguments.command) as connections:
        records = {record.job_group_id: record for record in _chosen(connections, arguments)}
        if not records:
            return _nothing_under_way(connections, arguments)
        if arguments.all and not arguments.yes and not _agrees(arguments.action, len(records)):
            print("nothing was done")
            return 1
        # A job group that does not exist calls nobody. One that was named may be misspelt, and another one calls.
        sweep = Sweep(
            action=arguments.action,
            group_ids=list(records),
            may_be_gone=lambda group_id: arguments.all and _may_be_gone(connections, arguments, records[group_id]),
            may_be_cancelled=arguments.all,
        )
        code = sweep.run(lambda group_id: _act(connections, arguments.action, records[group_id]))
        _tell_of_waited_for(connections, arguments)
        return code


def _may_be_gone(connections: Connections, arguments: argparse.Namespace, record: JobGroupRecord) -> bool:
    """Whether it is no failure of ``--all`` if a job group does not exist at the service: there is nobody to resume."""
    is_stopped = arguments.action != "resume" or connections.ledger.groups.state(record.job_group_id).is_cancelled
    return is_stopped and connections.is_own(record)


def _nothing_under_way(connections: Connections, arguments: argparse.Namespace) -> int:
    """Return the exit code of ``--all`` where nothing is under way."""
    from airflow_provider_outbound.core.ledger import shown_url

    ledger = connections.ledger
    if is_unused(ledger):
        return 1
    print(f"no job group of ledger {shown_url(ledger.engine.url)} is under way")
    _tell_of_waited_for(connections, arguments)
    return 0


def _chosen(connections: Connections, arguments: argparse.Namespace) -> Iterator[JobGroupRecord]:
    if not arguments.all:
        yield from map(connections.record_of, arguments.groups)
        return
    try:
        records = connections.ledger.groups.list_all()
    except (LedgerError, OutboundBotConfigError) as error:
        if arguments.action == "resume":
            raise
        raise LedgerError(
            f"{error}. --all takes the job groups from the ledger, so nothing was sent. Name them instead: outbound"
            f" {arguments.action} GROUP …; the log of each task that created or assigned shows the id, and so does the"
            " service's console"
        ) from error
    for record in records:
        if is_under_way(connections.ledger, record):
            yield record


def _tell_of_waited_for(connections: Connections, arguments: argparse.Namespace) -> None:
    """Name groups that may call and that ``--all`` leaves alone: others may have created them."""
    if not arguments.all:
        return
    if others := waited_for(connections.ledger):
        print(
            f"outbound: {count_of(len(others), 'job group')} not included, because tasks only wait for them: others"
            f" created them, or the ledger was restored since. If they shall be, too: outbound {arguments.action}"
            f" {' '.join(others)}",
            file=sys.stderr,
        )


def _agrees(action: str, count: int) -> bool:
    words, _ = _ACTIONS[action]
    whoever = ", whoever suspended them" if action == "resume" else ""
    return confirmed(f"{words[0].upper()}{words[1:]} all jobs of {count_of(count, 'job group')}{whoever}?")


def _act(connections: Connections, action: str, record: JobGroupRecord) -> dict[str, int]:
    from airflow_provider_outbound.core.control import Action, JobCommand

    hook = connections.of(record)
    command = JobCommand(
        action=Action(action), job_group_id=record.job_group_id, instance_id=record.instance_id, all_jobs=True
    )

    def check(group: JobGroup) -> None:
        if command.action is Action.RESUME:
            from airflow_provider_outbound.core.rules import check_resume

            strategies = connections.ledger.assignments.strategies(group.job_group_id)
            check_resume(hook.calling_hours, group, strategies, datetime.now(UTC))
            command.check_allowed(hook.client, hook.allowed_phone_numbers)

    command.send(hook.client, lambda: connections.ledger, check)
    if record.created_at is None and command.action is not Action.RESUME:
        error = LedgerError(
            f"the service accepted {action}, but the ledger does not know this job group: tasks with another ledger, or"
            " with one that was lost, go on assigning to it. Stop them, then repeat the command"
        )
        error.is_sent = True
        raise error
    try:
        return _counts(command.describe(hook.client, urgent=action != "resume"))
    except Exception as error:
        raise OutboundBotError(
            f"{action} was sent, but its result cannot be read: {words_of(error)}; check it with: outbound groups"
        ) from error


def _describe(hook: OutboundBotHook, record: JobGroupRecord) -> JobGroup:
    return hook.client.describe_job_group(job_group_id=record.job_group_id, instance_id=record.instance_id)


def _counts(group: JobGroup) -> dict[str, int]:
    return {name: getattr(group.progress, name, 0) for name in _COUNTS}

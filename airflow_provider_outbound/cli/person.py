"""``outbound person``: what the ledger knows about one person, stopping their calls, and erasing it."""

from __future__ import annotations

import argparse
import sys
from datetime import datetime
from typing import TYPE_CHECKING, Any

import attrs

from airflow_provider_outbound.cli.cancel_person import cancel_jobs, open_jobs
from airflow_provider_outbound.cli.connections import add_connection
from airflow_provider_outbound.cli.ledger.opening import add_parser, open_named
from airflow_provider_outbound.cli.options import confirmed
from airflow_provider_outbound.cli.output import print_json
from airflow_provider_outbound.core.models.words import count_of
from airflow_provider_outbound.exceptions import OutboundBotContactsError

if TYPE_CHECKING:
    from airflow_provider_outbound.core.ledger import Forgotten, Ledger, PersonJob
    from airflow_provider_outbound.core.models.phone import PhoneNumber

_DESCRIPTION = """\
Shows one person's contacts, calls and results in all job groups of the ledger. The number is asked for without being
shown, or read from standard input. It is never an argument, so no process list or shell history contains it.

With --cancel, all jobs of this person that have not ended are cancelled for good, in every job group, through the
connection that its task used. At a terminal, it asks first; a number from standard input is cancelled without a
question. A call on the line is not cut off. Exit code 0 means that no job group of this ledger
dials this person any more. While tasks are assigning, they may add the person again: the command then names their job
groups, and ends with 1. The ledger remembers the refusal, so second rounds and follow-ups leave the person out until
"outbound ledger allow". Later tasks that read a list call the person unless their do-not-call list has the number.

With --forget, the person's number, name, extras, message bodies, details and recording links are erased from every
table. What stays are keyed hashes, times and outcomes, so that nobody is called twice and call caps and refusals keep
their effect. The command refuses while the person has a job that has not ended: cancel it first."""
_SERVICE = """\
Not erased, because the ledger does not hold it: the service keeps its own jobs, call details, transcripts and
recordings of this person, in the job groups {groups}; delete them in its console. The same goes for files and tables
that tasks exported, for downloaded recordings, for the source of the contacts, and for backups of the ledger."""


def configure(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    parser = add_parser(
        subparsers, "person", brief="show or erase what the ledger knows about one person", description=_DESCRIPTION
    )
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--cancel", action="store_true", help="cancel the person's jobs that have not ended")
    action.add_argument("--forget", action="store_true", help="erase the person's data")
    parser.add_argument("--yes", action="store_true", help="do not ask for confirmation of --cancel and --forget")
    parser.add_argument("--json", action="store_true", help="print one JSON object; has no effect on --cancel")
    add_connection(parser, "Airflow connection for --cancel")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    from airflow_provider_outbound.core.models.phone import mask

    number = _read()
    with open_named(args) as ledger:
        if args.cancel:
            return _cancel(args, ledger, number)
        if args.forget:
            question = "Erase everything about this person? It cannot be undone."
            if not _agrees(args, question):
                print("nothing was erased")
                return 1
            return _print_forgotten(ledger.persons.forget(number.e164), as_json=args.json)
        jobs = ledger.persons.jobs(number.e164)
        is_refused = ledger.persons.is_refused(number.e164)
    shown = {"person": mask(number.e164), "is_refused": is_refused, "jobs": [_row(job) for job in jobs]}
    if args.json:
        print_json(shown)
    else:
        _print(shown)
    return 0


def _read() -> PhoneNumber:
    """The number, typed without echo or from standard input."""
    from airflow_provider_outbound.core.models.phone import mask, normalise

    if sys.stdin.isatty():
        import getpass

        lines = [getpass.getpass("Phone number (not shown): ")]
    else:
        lines = [line for line in sys.stdin.read().splitlines() if line.strip()]
    if len(lines) != 1:
        raise OutboundBotContactsError(
            f"standard input: {len(lines)} numbers were given; give exactly one. Nothing was done"
        )
    try:
        return normalise(lines[0].strip())
    except ValueError as error:
        raise OutboundBotContactsError(
            f"standard input: {mask(lines[0])!r}: {error}; give one phone number. Nothing was done"
        ) from None


def _cancel(args: argparse.Namespace, ledger: Ledger, number: PhoneNumber) -> int:
    from airflow_provider_outbound.core.models.phone import mask

    jobs = open_jobs(ledger, number.e164)
    if count := sum(map(len, jobs.values())):
        question = f"Cancel {count_of(count, 'job')} of {mask(number.e164)}? It cannot be undone."
    else:
        question = f"No job of {mask(number.e164)} is under way. Record that this person refuses to be called?"
    if not _agrees(args, question):
        print("nothing was done")
        return 1
    return cancel_jobs(ledger, number.e164, jobs, args.outboundbot_conn_id)


def _agrees(args: argparse.Namespace, question: str) -> bool:
    """Whether a person at the terminal confirms; without a terminal, nobody is asked."""
    return args.yes or not sys.stdin.isatty() or confirmed(question)


def _row(job: PersonJob) -> dict[str, Any]:
    from airflow_provider_outbound.core.models.phone import holds_number, redact

    result = job.result
    reference = result.reference_id
    row: dict[str, Any] = {
        "job_group_id": result.job_group_id,
        "dag_id": job.dag_id,
        "run_id": job.run_id,
        "reference_id": redact(reference) if holds_number(reference) else reference,
        "job_id": result.job_id,
        "state": str(job.state),
        "sent_at": _iso(job.sent_at),
        "status": result.status and str(result.status),
        "outcome": str(result.outcome) if result.has_ended else None,
        "failure_reason": result.failure_reason and str(result.failure_reason),
        "answered": result.answered,
        "attempts": result.attempts,
        "started_at": _iso(result.started_at),
        "ended_at": _iso(result.ended_at),
        "assigned_by_others": result.is_foreign,
        "forgotten": result.is_forgotten,
        "unreadable": not result.decrypted,
    }
    # The person's own data. Free text may repeat the number, which this command does not show.
    row |= {name: _shown(getattr(result, name)) for name in ("name", "honorific", "role")}
    row["extras"] = {redact(name): redact(value) for name, value in result.extras.items()}
    row["tags"] = {
        redact(name): redact(value) for name, value in (result.details.tags if result.details else {}).items()
    }
    row["calls"] = [
        {name: _iso(value) if isinstance(value, datetime) else value for name, value in attrs.asdict(call).items()}
        for call in job.calls
    ]
    return row


def _shown(text: str | None) -> str | None:
    from airflow_provider_outbound.core.models.phone import redact

    return None if text is None else redact(text)


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="seconds")


def _print(shown: dict[str, Any]) -> None:
    print(
        f"{shown['person']}: {len(shown['jobs'])} job{'s' * (len(shown['jobs']) != 1)}"
        + ("; refused further contact" * shown["is_refused"])
    )
    for job in shown["jobs"]:
        where = f" (DAG {job['dag_id']}, run {job['run_id']})" if job["dag_id"] else ""
        print(f"\njob group {job['job_group_id']}{where}")
        for name, value in job.items():
            if name not in ("job_group_id", "dag_id", "run_id", "calls") and value not in (None, {}, False):
                print(f"  {name}: {_words(value)}")
        for call in job["calls"]:
            times = ", ".join(f"{name} {call[name]}" for name in ("planned_at", "started_at", "ended_at") if call[name])
            print(f"  call {call['task_id']}: {call['status'] or 'unknown'}{', ' * bool(times)}{times}")


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{name}={text}" for name, text in value.items())
    return "yes" if value is True else str(value)


def _print_forgotten(forgotten: Forgotten, *, as_json: bool) -> int:
    """Print what was erased. Returns the exit code: an error if something could not be searched."""
    counts = attrs.asdict(forgotten)
    if as_json:
        print_json(counts)
        return 1 if forgotten.unreadable else 0
    erased = ", ".join(f"{name} {counts[name]}" for name in ("jobs", "calls", "events", "recordings", "quarantined"))
    print(f"erased: {erased}")
    if forgotten.references:
        print(
            f"{count_of(forgotten.references, 'job keeps', 'jobs keep')} the reference id that a list gave, because a"
            " repeated task recognises contacts by it"
        )
    if forgotten.unreadable:
        print(
            f"outbound: {count_of(forgotten.unreadable, 'message')} in quarantine cannot be decrypted, so they were not"
            " searched; add their key to [outbound] ledger_key and run this again, or drop them",
            file=sys.stderr,
        )
    if forgotten.job_groups:
        print(_SERVICE.format(groups=", ".join(forgotten.job_groups)))
    return 1 if forgotten.unreadable else 0

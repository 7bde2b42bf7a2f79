"""``outbound ledger`` as an administrator meets it, on both databases."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest
from cryptography.fernet import Fernet
from sqlalchemy import func, make_url, select, text, update
from support import messages
from support.ledgers import REPORT
from support.messages import encoded, job_complete

from airflow_provider_outbound.cli import main
from airflow_provider_outbound.core.follow_up import follow_up
from airflow_provider_outbound.core.ledger import Incoming, JobGroupRecord, Ledger, open_ledger, schema
from airflow_provider_outbound.core.ledger.reconcile_state import ReconcileState
from airflow_provider_outbound.core.models.enums import JobStatus
from airflow_provider_outbound.core.models.job import Job

NUMBER = "13900001234"


def message(group: str = "g1", job: int = 1, **more: Any) -> bytes:
    return encoded(job_complete(group, f"{group}-{job}", f"1390000{job:04d}", f"ref-{job}", **more))


store = partial(messages.store, topic="calls")


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> str:
    made = Fernet.generate_key().decode()
    monkeypatch.setenv("OUTBOUND_LEDGER_KEY", made)
    monkeypatch.setenv("COLUMNS", "200")  # tables are not broken into lines
    return made


@pytest.fixture
def ledger(ledger_url: str, key: str) -> Iterator[Ledger]:
    with open_ledger(ledger_url, [key]) as opened:
        yield opened


@pytest.fixture
def outbound(ledger_url: str, key: str, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Runs a subcommand; returns its exit code, and what it wrote."""

    def run(*arguments: str) -> tuple[int, str]:
        code = main(["ledger", *arguments, "--ledger-url", ledger_url])
        captured = capsys.readouterr()
        return code, captured.out + captured.err

    return run


@pytest.fixture
def status(outbound: Callable[..., tuple[int, str]]) -> Callable[[], dict[str, Any]]:
    def read() -> dict[str, Any]:
        code, out = outbound("status", "--json")
        assert code == 0, out
        parsed: dict[str, Any] = json.loads(out)
        return parsed

    return read


def age(ledger: Ledger, group: str, days: int) -> None:
    """Move a group that messages told of, and its events, into the past."""
    with ledger.write() as connection:
        moment = ledger.time(connection) - timedelta(days=days)
        connection.execute(
            update(schema.job_groups).where(schema.job_groups.c.job_group_id == group).values(created_at=moment)
        )
        connection.execute(
            update(schema.events).where(schema.events.c.job_group_id == group).values(recorded_at=moment)
        )


def test_status_counts_rows_and_names_topics_and_readers(
    ledger: Ledger, status: Callable[[], dict[str, Any]], outbound: Callable[..., tuple[int, str]]
) -> None:
    store(ledger, message(job=1), message(job=2))
    store(ledger, message("g2", 1), topic="other")
    with ledger.write() as connection:
        connection.execute(schema.cursors.insert().values(name="crm", sequence=1, moved_at=ledger.time(connection)))

    found = status()

    assert found["ledger_id"] == ledger.ledger_id
    assert found["schema"] == schema.REVISION
    assert found["size_bytes"] > 0
    assert {name: found["rows"][name] for name in ("job_groups", "jobs", "events", "cursors")} == {
        "job_groups": 2,
        "jobs": 3,
        "events": 3,
        "cursors": 1,
    }
    assert [(topic["topic"], topic["events"]) for topic in found["topics"]] == [("calls", 2), ("other", 1)]
    assert [(lag["name"], lag["unread"]) for lag in found["cursors"]] == [("crm", 2)]
    assert found["oldest_unread_at"] == found["cursors"][0]["oldest_unread_at"] is not None
    assert found["warnings"] == []
    code, shown = outbound("status")
    assert code == 0
    assert {"crm", "calls", "other", ledger.ledger_id} <= set(shown.replace("(", " ").replace(")", " ").split())


def test_status_warns_of_a_topic_that_several_bots_share_and_counts_what_is_not_stored(
    ledger: Ledger, status: Callable[[], dict[str, Any]], outbound: Callable[..., tuple[int, str]]
) -> None:
    store(ledger, message(job=1, instanceId="bot-1"), message("g2", 2, instanceId="bot-2"))

    (warning,) = status()["warnings"]
    assert "topic calls carries events of 2 bot instances (bot-1, bot-2)" in warning
    assert "instance_id in the extra of the rocketmq connection" in warning

    body = message("g3", 3, instanceId="bot-2")
    ours = message("g1", 4, instanceId="bot-1")
    lot = [Incoming(body=one, message_id="m", topic="calls") for one in (body, ours)]
    ledger.inbox.record(lot, instance_ids=["bot-1"])

    found = status()
    assert found["warnings"] == []
    assert [(one["instance_id"], one["is_named"], one["stored"], one["skipped"]) for one in found["instances"]] == [
        ("bot-1", True, 2, 0),
        ("bot-2", False, 1, 1),
    ]
    code, shown = outbound("status")
    assert code == 0
    assert "not stored" in shown
    assert {"bot-1", "bot-2"} <= set(shown.split())


def test_a_message_whose_head_alone_is_kept_shows_as_such(
    ledger: Ledger, outbound: Callable[..., tuple[int, str]]
) -> None:
    body = message()
    ledger.inbox.record([Incoming(body=body, message_id="m", topic="calls", fault="unpacks to too much", head_of=9999)])

    assert f"{len(body)} of 9999" in outbound("quarantine", "list")[1]
    code, said = outbound("quarantine", "replay", "--all")
    assert (code, said.strip()) == (0, "0 read and stored in the ledger, 1 still unreadable")


def test_status_tells_how_each_collector_is_and_what_keeps_messages_from_coming(
    ledger: Ledger, status: Callable[[], dict[str, Any]], outbound: Callable[..., tuple[int, str]]
) -> None:
    ledger.collectors.report(REPORT)
    well = status()
    ledger.collectors.report(attrs.evolve(REPORT, contact_ago=90.0, trouble="no such group", trouble_ago=0.0))
    found = status()

    assert well["warnings"] == []
    (one,) = found["collectors"]
    assert (one["host"], one["pid"], one["topic"], one["consumer_group"]) == ("alpha", 7, "calls", "GID_ours")
    assert (one["running"], one["last_trouble"], one["last_message_at"]) == (True, "no such group", None)
    assert found["warnings"] == ["no messages come: no such group"]
    shown = " ".join(outbound("status")[1].split())
    assert "collector on alpha (process 7), topic 'calls' as consumer group 'GID_ours'; last answer" in shown
    assert "; no such group (" in shown


def test_results_from_the_api_are_not_blamed_on_another_consumer_where_the_cause_is_known(
    ledger: Ledger, status: Callable[[], dict[str, Any]]
) -> None:
    store(ledger, *(message(job=job) for job in range(25)))
    listed = [Job(job_id=f"listed-{one}", job_group_id="g1", status=JobStatus.SUCCEEDED) for one in range(5)]
    ledger.results.record_listing("g1", listed)
    ledger.collectors.report(attrs.evolve(REPORT, trouble="the broker was away", trouble_ago=0.5, contact_ago=0.0))
    with ledger.write() as connection:
        connection.execute(update(schema.job_groups).values(created_at=ledger.time(connection) - timedelta(hours=1)))

    (warning,) = status()["warnings"]

    assert warning.startswith("5 of 30 results came from the API and not from a message: the broker was away (at ")


@pytest.mark.parametrize(
    ("from_api", "by_message", "warns"),
    [
        pytest.param(5, 25, True, id="some-messages-were-taken"),
        pytest.param(1, 25, False, id="a-straggler"),
        pytest.param(3, 3, False, id="too-few-to-tell"),
        pytest.param(30, 0, False, id="waited-for-by-the-api-alone"),
    ],
)
def test_many_results_that_no_message_told_hint_at_another_consumer(
    ledger: Ledger, status: Callable[[], dict[str, Any]], from_api: int, by_message: int, warns: bool
) -> None:
    store(ledger, *(message(job=job) for job in range(by_message)))
    listed = [Job(job_id=f"listed-{one}", job_group_id="g1", status=JobStatus.SUCCEEDED) for one in range(from_api)]
    ledger.results.record_listing("g1", listed)

    found = status()

    assert any("another consumer" in warning for warning in found["warnings"]) == warns
    if by_message:
        assert (found["results"], found["results_from_api"]) == (from_api + by_message, from_api)


def test_a_group_of_which_no_message_came_is_counted_and_named(
    ledger: Ledger, status: Callable[[], dict[str, Any]], outbound: Callable[..., tuple[int, str]]
) -> None:
    for group in ("silent", "waited-for-by-the-api-alone"):
        listed = [
            Job(job_id=f"{group}-{one}", job_group_id=group, status=JobStatus.SUCCEEDED, reference_id=f"{group}-{one}")
            for one in range(30)
        ]
        ledger.results.record_listing(group, listed)
    store(ledger, *(message(job=job) for job in range(50)))
    # As a wait that expects messages does.
    ledger.groups.save_reconcile_state("silent", ReconcileState(expects_messages=True))

    found = status()

    assert (found["results"], found["results_from_api"], found["groups_without_messages"]) == (80, 30, ["silent"])
    (warning,) = found["warnings"]
    assert "no message brought any of the 30 results of 1 of the latest job groups (silent)" in warning
    assert "another consumer" not in warning
    assert "results from the API: 30 of 80" in outbound("status")[1]


def test_status_counts_rows_that_no_key_opens(
    ledger: Ledger,
    ledger_url: str,
    key: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store(ledger, message(job=1))
    newer = Fernet.generate_key().decode()
    with open_ledger(ledger_url, [newer, key]) as rotated:
        rotated.encrypt_identity()
        store(rotated, message(job=2))
    monkeypatch.setenv("OUTBOUND_LEDGER_KEY", newer)

    code = main(["ledger", "status", "--json", "--ledger-url", ledger_url])

    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert (found["undecryptable"], found["tried_to_decrypt"]) == (2, 4)  # a contact and an event of two each
    assert any("none of the keys" in error for error in found["errors"])
    assert (code, "none of the keys" in captured.err) == (1, True)


@pytest.mark.parametrize("arguments", [pytest.param([], id="tables"), pytest.param(["--json"], id="json")])
def test_no_password_is_shown(
    ledger: Ledger, ledger_url: str, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    url = make_url(ledger_url)
    if not ledger.is_sqlite:  # a file has none; a server may or may not ask for it
        url = url.set(password="s3cret")

    main(["ledger", "status", *arguments, "--ledger-url", url.render_as_string(hide_password=False)])

    captured = capsys.readouterr()
    assert (url.database or "")[-10:] in captured.out + captured.err
    assert "s3cret" not in captured.out + captured.err


def test_a_ledger_named_by_airflows_configuration_is_one_json_object(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AIRFLOW__OUTBOUND__LEDGER_URL", f"sqlite:///{tmp_path}/ledger.db")
    program = [sys.executable, "-W", "ignore", "-c", "from airflow_provider_outbound.cli import main; main()"]

    assert main(["ledger", "migrate"]) == 0
    # A process of its own: what Airflow prints when it is first imported must not be part of it.
    shown = subprocess.run(
        [*program, "ledger", "status", "--json"], capture_output=True, text=True, timeout=120, check=True
    )

    assert capsys.readouterr().out == f"schema: none → {schema.REVISION}\n"
    assert json.loads(shown.stdout)["ledger"] == f"sqlite:///{tmp_path}/ledger.db"


def test_migrate_says_from_where_to_where(outbound: Callable[..., tuple[int, str]]) -> None:
    first, second = outbound("migrate"), outbound("migrate")

    assert first == (0, f"schema: none → {schema.REVISION}\n")
    assert second == (0, f"schema: {schema.REVISION} → {schema.REVISION}\n")


def test_migrate_encrypts_the_identity_with_the_new_key_and_after_a_rekey_the_old_one_may_go(
    ledger: Ledger,
    ledger_url: str,
    key: str,
    outbound: Callable[..., tuple[int, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known_as = ledger.identity.phone_key(f"+86{NUMBER}")
    newer = Fernet.generate_key().decode()
    monkeypatch.setenv("OUTBOUND_LEDGER_KEY", f"{newer},{key}")

    code, out = outbound("migrate")

    assert (code, "encrypted again with the first key" in out) == (0, True)
    assert outbound("rekey")[0] == 0
    with open_ledger(ledger_url, [newer]) as opened:
        assert opened.identity.phone_key(f"+86{NUMBER}") == known_as


def test_purge_deletes_what_is_old_and_keeps_the_rest(
    ledger: Ledger, status: Callable[[], dict[str, Any]], outbound: Callable[..., tuple[int, str]]
) -> None:
    store(ledger, message("old", 1), message("new", 1), message("waited", 1))
    for group in ("old", "waited"):
        age(ledger, group, 40)
    ledger.groups.claim_reconcile("waited", 300)

    dry_code, dry = outbound("purge", "--older-than-days", "30", "--dry-run")
    assert (dry_code, status()["rows"]["jobs"]) == (0, 3)
    code, out = outbound("purge", "--older-than-days", "30")

    assert code == 0
    assert "1 job group would be purged, 1 kept" in dry
    assert "1 job group purged, 1 kept" in out
    assert "may have a waiting task" in out
    store(ledger, message("old", 1))
    found = status()
    assert (found["rows"]["jobs"], found["purged_groups"], found["late_messages"]) == (2, 1, 1)


def test_purge_takes_its_days_from_the_configuration(
    ledger: Ledger, outbound: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    store(ledger, message("old", 1))
    age(ledger, "old", 40)

    assert outbound("purge") == (
        1,
        "outbound: purge: no age given; set --older-than-days N or [outbound] retention_days. Nothing was purged\n",
    )
    monkeypatch.setenv("AIRFLOW__OUTBOUND__RETENTION_DAYS", "30")
    assert "1 job group purged" in outbound("purge")[1]


def test_the_cursor_of_a_subscription_that_is_gone_keeps_events_no_longer(
    ledger: Ledger, status: Callable[[], dict[str, Any]], outbound: Callable[..., tuple[int, str]]
) -> None:
    for name in ("gone", "read"):
        ledger.events.open_cursor(name)
    store(ledger, message("old", 1), message("old", 2))
    ledger.events.move_cursor("read", 2)
    age(ledger, "old", 40)
    code, out = outbound("purge", "--group", "old")
    assert (code, "cursor gone" in out) == (1, True)

    dry = outbound("purge", "--cursor", "gone", "--dry-run")
    assert [lag["name"] for lag in status()["cursors"]] == ["gone", "read"]
    dropped = outbound("purge", "--cursor", "gone")

    assert dry == (0, "cursor gone: would be dropped; 2 events unread\n")
    assert dropped == (0, "cursor gone: dropped; 2 events unread\n")
    assert [lag["name"] for lag in status()["cursors"]] == ["read"]
    assert outbound("purge", "--group", "old")[0] == 0
    code, out = outbound("purge", "--cursor", "gone")
    assert (code, "no such cursor" in out) == (1, True)


def test_one_group_is_purged_by_name_however_young(ledger: Ledger, outbound: Callable[..., tuple[int, str]]) -> None:
    store(ledger, message("g1", 1), message("g2", 1))

    code, out = outbound("purge", "--group", "g1")

    assert (code, "1 job group purged, 0 kept, 0 other events" in out) == (0, True)
    assert ledger.results.summary("g2")["total"] == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["purge", "--group", "nine"], "the ledger does not know it", id="unknown"),
        pytest.param(["purge", "--group", "g1"], "its window ends at", id="in-use"),
        pytest.param(["quarantine", "show", "abc"], "no message's hash begins with abc", id="unknown-hash"),
        pytest.param(["quarantine", "drop", "%"], "is not a hash", id="no-hash"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    ledger: Ledger, outbound: Callable[..., tuple[int, str]], arguments: list[str], words: str
) -> None:
    ledger.groups.record(JobGroupRecord(job_group_id="g1", ends_at=ledger.now() + timedelta(days=1)))

    code, out = outbound(*arguments)

    assert code == 1
    assert words in out
    assert out.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param([], id="no-subcommand"),
        pytest.param(["purge", "--older-than-days", "-1"], id="negative"),
        pytest.param(["purge", "--older-than-days", "soon"], id="words"),
        pytest.param(["purge", "--older-than-days", "99999999"], id="ages"),
        pytest.param(["quarantine"], id="no-act"),
        pytest.param(["quarantine", "replay"], id="replay-what"),
        pytest.param(["quarantine", "replay", "abc", "--all"], id="replay-both"),
        pytest.param(["quarantine", "drop"], id="drop-what"),
    ],
)
def test_wrong_usage_is_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["ledger", *arguments])

    assert end.value.code == 2
    assert "usage: outbound ledger" in capsys.readouterr().err


@pytest.mark.parametrize("subcommand", ["status", "purge"])
def test_a_mistyped_path_makes_no_ledger(
    subcommand: str, tmp_path: Path, key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "ledgre.db"

    assert main(["ledger", subcommand, *_days(subcommand), "--ledger-url", f"sqlite:///{path}"]) == 1

    assert "there is no such file" in capsys.readouterr().err
    assert not path.exists()


def _days(subcommand: str) -> list[str]:
    return ["--older-than-days", "1"] if subcommand == "purge" else []


UNREADABLE = {
    "text": f'{{"note": "call {NUMBER} or +86 139-0000-1234"'.encode(),
    "utf-16": f"call {NUMBER}".encode("utf-16"),
    "gbk": f"请拨打{NUMBER}".encode("gb18030"),
    "control": f"\x1b]0;{NUMBER}\x07\x1b[2J{NUMBER}".encode(),
}


@pytest.mark.parametrize("body", [pytest.param(body, id=name) for name, body in UNREADABLE.items()])
def test_a_message_is_shown_without_its_numbers_and_without_orders_to_the_terminal(
    ledger: Ledger, outbound: Callable[..., tuple[int, str]], body: bytes
) -> None:
    store(ledger, body)
    name = hashlib.sha256(body).hexdigest()

    listed, shown = outbound("quarantine", "list"), outbound("quarantine", "show", name[:12])

    assert (listed[0], shown[0]) == (0, 0)
    assert name[:12] in listed[1]
    assert str(len(body)) in listed[1]
    assert name in shown[1]
    assert "calls" in shown[1]
    for hidden in (NUMBER, "0000-1234", "\x1b", "00001234"):
        assert hidden not in listed[1] + shown[1]
    assert "139******34" in shown[1]


def test_a_long_message_is_cut(ledger: Ledger, outbound: Callable[..., tuple[int, str]]) -> None:
    store(ledger, b"x" * 4_000_000)

    code, shown = outbound("quarantine", "show", hashlib.sha256(b"x" * 4_000_000).hexdigest())

    assert code == 0
    assert "3990000 more characters" in shown


def quarantined_by_an_older_version(ledger: Ledger, body: bytes) -> str:
    """Put a message into quarantine that this version can read."""
    store(ledger, b"?")
    name = hashlib.sha256(body).hexdigest()
    with ledger.write() as connection:
        connection.execute(
            update(schema.quarantine)
            .where(schema.quarantine.c.hash == hashlib.sha256(b"?").hexdigest())
            .values(hash=name, body=ledger.cipher.encrypt(body))
        )
    return name


def test_replay_takes_in_what_can_be_read_now(ledger: Ledger, outbound: Callable[..., tuple[int, str]]) -> None:
    name = quarantined_by_an_older_version(ledger, message(job=7))
    store(ledger, b"hopeless")

    code, out = outbound("quarantine", "replay", "--all")

    assert (code, out) == (0, "1 read and stored in the ledger, 1 still unreadable\n")
    assert [result.job_id for result in ledger.results.iter_results("g1")] == ["g1-7"]
    assert [kept.body for kept in ledger.quarantine.iter_messages()] == [b"hopeless"]
    assert outbound("quarantine", "show", name)[0] == 1


def test_replay_of_one_that_still_cannot_be_read_keeps_it(
    ledger: Ledger, outbound: Callable[..., tuple[int, str]]
) -> None:
    store(ledger, b"hopeless")
    before = list(ledger.quarantine.iter_messages())

    code, out = outbound("quarantine", "replay", hashlib.sha256(b"hopeless").hexdigest())

    assert code == 1
    assert "not JSON: the message stays in quarantine" in out
    assert list(ledger.quarantine.iter_messages()) == before


def test_a_replayed_message_of_a_purged_group_recreates_nothing(
    ledger: Ledger, outbound: Callable[..., tuple[int, str]]
) -> None:
    store(ledger, message("old", 1))
    age(ledger, "old", 40)
    name = quarantined_by_an_older_version(ledger, message("old", 7))
    outbound("purge", "--older-than-days", "30")

    code, out = outbound("quarantine", "replay", name)

    assert (code, "its job group was purged" in out) == (0, True)
    assert ledger.results.counts("old").total == 0
    assert list(ledger.quarantine.iter_messages()) == []


def test_a_message_under_a_lost_key_is_listed_and_waits_for_its_key(
    ledger: Ledger, outbound: Callable[..., tuple[int, str]]
) -> None:
    name = quarantined_by_an_older_version(ledger, message(job=7))
    with ledger.write() as connection:
        connection.execute(update(schema.quarantine).values(body=Fernet(Fernet.generate_key()).encrypt(b"x")))

    assert "no key opens it" in outbound("quarantine", "list")[1]
    assert "none of the keys opens it" in outbound("quarantine", "show", name)[1]
    assert outbound("quarantine", "replay", name)[0] == 1
    assert outbound("quarantine", "replay", "--all") == (
        0,
        "0 read and stored in the ledger, 1 still unreadable\n",
    )
    assert len(list(ledger.quarantine.iter_messages())) == 1


def test_drop_forgets_exactly_one(ledger: Ledger, outbound: Callable[..., tuple[int, str]]) -> None:
    store(ledger, b"one", b"two")
    name = hashlib.sha256(b"one").hexdigest()

    code, out = outbound("quarantine", "drop", name[:10])

    assert (code, out) == (0, f"dropped {name}\n")
    assert [kept.body for kept in ledger.quarantine.iter_messages()] == [b"two"]


def test_an_ambiguous_beginning_names_nothing(ledger: Ledger, outbound: Callable[..., tuple[int, str]]) -> None:
    bodies = [str(index).encode() for index in range(17)]
    store(ledger, *bodies)
    first = [hashlib.sha256(body).hexdigest()[0] for body in bodies]
    twice = next(digit for digit in first if first.count(digit) > 1)

    code, out = outbound("quarantine", "drop", twice)

    assert (code, "several hashes begin with" in out) == (1, True)
    assert len(list(ledger.quarantine.iter_messages())) == 17


def test_an_empty_quarantine_says_so(ledger: Ledger, outbound: Callable[..., tuple[int, str]]) -> None:
    assert outbound("quarantine", "list") == (0, "no message is in quarantine\n")


def test_a_newer_ledger_is_left_alone(ledger: Ledger, outbound: Callable[..., tuple[int, str]]) -> None:
    with ledger.write() as connection:
        connection.execute(text("UPDATE outbound_version SET version_num = '9999'"))

    code, out = outbound("migrate")

    assert (code, "9999 is newer" in out) == (1, True)


def test_a_group_that_dials_is_not_purged_by_name(ledger: Ledger, outbound: Callable[..., tuple[int, str]]) -> None:
    store(ledger, message("g1", 1), message("g1", 2, eventType="Dialing", status="Executing"))

    code, out = outbound("purge", "--group", "g1")

    assert code == 1
    assert "job group g1 has jobs that have not ended and may still be dialled" in out
    assert ledger.results.summary("g1")["total"] == 2


def test_a_purge_that_finishes_an_interrupted_one_says_so(
    ledger: Ledger, outbound: Callable[..., tuple[int, str]]
) -> None:
    store(ledger, message("g1", 1), message("g1", 2))
    # As a killed purge leaves it: the tombstone is made, and no row is deleted yet.
    with ledger.write() as connection:
        connection.execute(update(schema.job_groups).values(purged_at=ledger.time(connection)))

    dry = outbound("purge", "--group", "g1", "--dry-run")
    done = outbound("purge", "--group", "g1")

    assert (dry[0], "4 rows of 1 job group whose purge was interrupted would be purged: g1" in dry[1]) == (0, True)
    assert (done[0], "4 rows of 1 job group whose purge was interrupted purged: g1" in done[1]) == (0, True)
    code, out = outbound("purge", "--group", "g1")
    assert (code, "was already purged at" in out) == (1, True)


def allow(outbound: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch, text: str) -> tuple[int, str]:
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))
    return outbound("allow")


def test_a_refusal_is_taken_back_by_the_number_on_standard_input(
    ledger: Ledger, outbound: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for job in (1, 2):
        refused = {"status": "Failed", "failureReason": "ContactBlockList"}
        unanswered = {"status": "Failed", "tasks": [{"id": f"call-{job}", "status": "NoAnswer"}]}
        store(ledger, message("g1", job, **unanswered), message("g2", job, **refused))

    def given() -> list[str | None]:
        return [row.reference_id for row in follow_up(ledger, "g1", uuid.uuid4().hex)]

    assert given() == []

    code, out = allow(outbound, monkeypatch, "139 0000 0001\n\n13911112222\n")

    assert (code, out) == (0, "1 of 2 people may be contacted again; the others were not excluded\n")
    assert given() == ["ref-1"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("", "no number was given", id="nothing"),
        pytest.param("13900000001\n13900000002 13900000003\n", "standard input, line 2: ", id="two"),
        pytest.param("13900000001\nnobody\n", "standard input, line 2: ", id="text"),
    ],
)
def test_nobody_is_allowed_by_what_is_not_a_list_of_numbers(
    ledger: Ledger, outbound: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch, text: str, words: str
) -> None:
    store(ledger, message("g2", 1, status="Failed", failureReason="ContactBlockList"))

    code, out = allow(outbound, monkeypatch, text)

    assert (code, words in out, "Nobody was allowed" in out) == (1, True, True)
    assert "139000" not in out
    with ledger.read() as connection:
        assert connection.execute(select(func.count()).select_from(schema.handled)).scalar_one() == 0

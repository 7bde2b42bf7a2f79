from __future__ import annotations

import json
import pickle
import random

import phonenumbers
import pytest

from airflow_provider_outbound.core.models.contact import Contact
from airflow_provider_outbound.core.models.enums import (
    CallStatus,
    EventType,
    FailureReason,
    JobStatus,
    Outcome,
    outcome,
)
from airflow_provider_outbound.core.models.event import Event
from airflow_provider_outbound.core.models.phone import looks_like_number, mask, normalise, redact

JOB_COMPLETE = {
    "eventType": "JobComplete",
    "eventTime": 1588850490334,
    "instanceId": "08a4c460",
    "groupId": "8869f35d",
    "id": "job-1",
    "status": "Failed",
    "failureReason": "NoAnswer",
    "extras": [{"key": "custom", "value": "aaa"}],
    "contacts": [{"id": "c", "honorific": "test", "name": "test", "phoneNumber": "13800000000", "referenceId": "ref"}],
    "tasks": [
        {
            "id": "task-1",
            "callId": "call-1",
            "planedTime": 1588850490334,
            "actualTime": 1588850490334,
            "endTime": 1588850490334,
            "callingNumber": "123456",
            "calledNumber": "13800000000",
            "status": "NoAnswer",
        }
    ],
}
RECORDING = {
    **{key: JOB_COMPLETE[key] for key in ("eventTime", "instanceId", "groupId", "id", "extras", "contacts")},
    "eventType": "RecordingReady",
    "recording": {"taskId": "t", "callId": "c", "duration": 5, "fileName": "a.wav", "mkvUrl": "u", "url": "u"},
}


def parse(message: dict[str, object]) -> Event:
    return Event.from_message(json.dumps(message).encode())


def test_a_job_complete_message_is_read_whole() -> None:
    event = parse(JOB_COMPLETE)

    assert (event.event_type, event.status, event.failure_reason) == (
        EventType.JOB_COMPLETE,
        JobStatus.FAILED,
        FailureReason.NO_ANSWER,
    )
    assert (event.reference_id, event.extras, event.completes_job) == ("ref", {"custom": "aaa"}, True)
    assert [(call.task_id, call.status) for call in event.calls] == [("task-1", CallStatus.NO_ANSWER)]
    assert event.raw == JOB_COMPLETE


@pytest.mark.parametrize("kind", ["Dialing", "CallAnswered", "CallFinished"])
def test_a_call_message_completes_no_job(kind: str) -> None:
    assert not parse({**JOB_COMPLETE, "eventType": kind}).completes_job


def test_a_recording_message_is_read() -> None:
    recording = parse(RECORDING).recording

    assert recording is not None
    assert (recording.task_id, recording.file_name, recording.duration) == ("t", "a.wav", 5.0)


def test_what_the_cloud_adds_later_is_kept() -> None:
    event = parse({**JOB_COMPLETE, "eventType": "JobDreamt", "status": "Asleep", "novel": [1]})

    assert (str(event.event_type), event.event_type.is_known) == ("JobDreamt", False)
    assert event.status == "Asleep"
    assert event.raw["novel"] == [1]


def test_unknown_is_a_real_failure_reason() -> None:
    assert FailureReason("Unknown").is_known
    assert not FailureReason("Unheard").is_known
    assert pickle.loads(pickle.dumps(FailureReason.UNKNOWN)) is FailureReason.UNKNOWN


def test_a_body_is_itself_whatever_the_order_of_its_fields() -> None:
    assert parse(JOB_COMPLETE).hash == parse(dict(reversed(JOB_COMPLETE.items()))).hash
    assert parse(JOB_COMPLETE).hash != parse({**JOB_COMPLETE, "eventTime": 1}).hash
    assert parse(JOB_COMPLETE).completion == parse({**JOB_COMPLETE, "eventTime": 1}).completion


def test_an_event_and_a_contact_show_no_number_and_no_name() -> None:
    contact = Contact(phone=normalise("13812345678"), name="张三", extras={"note": "secret"})

    for shown in (repr(parse(JOB_COMPLETE)), repr(contact), str(contact)):
        assert "13812345678" not in shown
        assert "13800000000" not in shown
        assert "张三" not in shown
        assert "secret" not in shown


def test_one_job_is_one_contact_in_compact_json() -> None:
    contact = Contact(phone=normalise("138 0000 0000"), name="张三", honorific="张先生", extras={"k": "v"})

    assert contact.job_json("ref") == (
        '{"contacts":[{"phoneNumber":"13800000000","referenceId":"ref","name":"张三","honorific":"张先生"}],'
        '"extras":[{"key":"k","value":"v"}]}'
    )


@pytest.mark.parametrize(
    ("written", "e164", "wire"),
    [
        pytest.param("13800000000", "+8613800000000", "13800000000", id="mobile"),
        pytest.param(" +86 138-0000-0000 ", "+8613800000000", "13800000000", id="spaces"),
        pytest.param("0086 13800000000", "+8613800000000", "13800000000", id="00"),
        pytest.param(13800000000, "+8613800000000", "13800000000", id="integer"),
        pytest.param(13800000000.0, "+8613800000000", "13800000000", id="float-of-a-frame"),
        pytest.param("010-65529988", "+861065529988", "01065529988", id="landline"),
        pytest.param("4008123123", "+864008123123", "4008123123", id="service"),
        pytest.param("+1 415 555 2671", "+14155552671", "+14155552671", id="abroad"),
    ],
)
def test_a_number_has_one_normal_form(written: object, e164: str, wire: str) -> None:
    number = normalise(written)

    assert (number.e164, number.wire) == (e164, wire)


@pytest.mark.parametrize("written", ["", None, "abc", "12345", "138000000001", "+86138", 1.5, "13800000000 ext. 5"])
def test_what_is_no_number_is_refused_without_quoting_it(written: object) -> None:
    with pytest.raises(ValueError, match=r"^[^0-9]*(country code \d+)?$"):
        normalise(written)


def test_masking_and_redaction_leave_nothing_to_dial() -> None:
    assert mask("+8613812345678") == "+86138******78"
    assert mask("13812345678") == "138******78"
    assert mask("12345") == "*****"
    assert "12345678" not in redact('{"phoneNumber": "138 1234 5678", "called": "+8613812345678"}').replace(" ", "")
    assert looks_like_number("138-1234-5678")
    assert looks_like_number("+1 415 555 2671")
    assert not looks_like_number("f00d13812345678")
    assert not looks_like_number("10002345"), "a customer's id"


@pytest.mark.parametrize(
    ("status", "reason", "call", "answered", "meaning"),
    [
        pytest.param("Succeeded", None, "SucceededFinish", True, Outcome.ANSWERED, id="answered"),
        pytest.param("Succeeded", None, "SucceededNovel", False, Outcome.ANSWERED, id="future-success"),
        pytest.param("Failed", "NoAnswer", "NoAnswer", False, Outcome.UNANSWERED, id="no-answer"),
        pytest.param("Failed", "TimeUp", "Busy", False, Outcome.UNANSWERED, id="busy-then-time-up"),
        pytest.param("Failed", "TimeUp", None, False, Outcome.NOT_DIALLED, id="time-up"),
        pytest.param("Failed", "JobPerDayCallCountLimit", "NoAnswer", False, Outcome.UNANSWERED, id="limit-after-call"),
        pytest.param("Failed", "ContactBlockList", "NoAnswer", False, Outcome.NOT_DIALLED, id="blocked-after-call"),
        pytest.param("Failed", "ContactSuspended", "NoAnswer", False, Outcome.NOT_DIALLED, id="suspended"),
        pytest.param("Failed", "EmptyNumber", "EmptyNumber", False, Outcome.NOT_DIALLED, id="empty-number"),
        pytest.param("Failed", "CallFailed", "Failed", False, Outcome.OTHER, id="call-failed"),
        pytest.param("Cancelled", None, None, False, Outcome.NOT_DIALLED, id="cancelled"),
        pytest.param("Failed", "Novel", "Novel", False, Outcome.OTHER, id="unknown"),
    ],
)
def test_an_outcome_says_whom_one_may_text(
    status: str, reason: str | None, call: str | None, answered: bool, meaning: Outcome
) -> None:
    assert (
        outcome(JobStatus.parse(status), FailureReason.parse(reason), CallStatus.parse(call), answered=answered)
        is meaning
    )


def _by_the_library(text: str) -> str | None:
    try:
        parsed = phonenumbers.parse(text, "CN")
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_valid_number(parsed):
        return None
    if phonenumbers.number_type(parsed) == phonenumbers.PhoneNumberType.FIXED_LINE and not text.startswith("+"):
        # A landline without the 0 of its area code may as well be somebody else's number that lost a digit.
        return None
    if text.removeprefix("+86") != str(parsed.national_number):
        # It drops what looks like a carrier's code: 11831 27967735.
        return None
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)


def test_the_quick_way_for_mainland_mobiles_agrees_with_the_library() -> None:
    """On random digits, of which some are mobiles and most are not."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    mobiles = 0
    for _ in range(5_000):
        length = 11 if rng.random() < 0.8 else rng.randint(5, 13)
        number = "1" + "".join(rng.choices("0123456789", k=length - 1))
        for text in (number, f"+86{number}"):
            try:
                found = normalise(text)
            except ValueError:
                assert _by_the_library(text) is None, text
            else:
                assert found.e164 == _by_the_library(text), text
                mobiles += found.wire == number
    assert mobiles > 1_000

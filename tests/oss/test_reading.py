"""Objects are read whole and as they were, or reading them fails: no list of people is cut short or left out."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.examples import examples
from support.oss_server import KEY_ID, SECRET, OssServer

from airflow_provider_outbound.core.contacts import from_path
from airflow_provider_outbound.core.models.contact import Contact
from airflow_provider_outbound.exceptions import ContactsNotFoundError, OutboundBotContactsError

CSV = b"phone\n13800000000\n13800000001\n"
#: Names of objects that can be paths.
_NAME = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/"), min_size=1, max_size=6)
NAMES = st.lists(_NAME.filter(lambda name: name not in (".", "..")), min_size=1, max_size=3).map("/".join)


def numbers(path: Any) -> list[str]:
    return [contact.phone.wire for contact in from_path(path) if isinstance(contact, Contact)]


@given(
    body=st.binary(max_size=300),
    block=st.integers(1, 64),
    reads=st.lists(st.tuples(st.integers(0, 300), st.integers(0, 99))),
)
@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_range_is_what_the_object_holds(
    oss: OssServer, at: Callable[..., Any], body: Any, block: Any, reads: Any
) -> None:
    oss.put("campaigns/a", body)

    with at("a").open("rb", buffering=block) as file:
        for start, count in reads:
            file.seek(start)
            assert file.read(count) == body[start : start + count]
        file.seek(0)
        assert file.read() == body


@given(names=st.sets(NAMES, min_size=1, max_size=6), page=st.integers(1, 3))
@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_folder_lists_every_object_whatever_its_name(
    oss: OssServer, at: Callable[..., Any], names: Any, page: Any
) -> None:
    names = {name for name in names if not any(other.startswith(f"{name}/") for other in names)}
    oss.reset("campaigns")
    oss.page = page
    for name in names:
        oss.put(f"campaigns/in/{name}", name.encode())
    oss.put("campaigns/beside", b"")
    filesystem = at("in").fs

    found = filesystem.find("campaigns/in")

    assert found == sorted(f"campaigns/in/{name}" for name in names)
    assert [filesystem.cat_file(name) for name in found] == [
        name.removeprefix("campaigns/in/").encode() for name in found
    ]
    assert {name for _, _, files in filesystem.walk("campaigns/in") for name in files} == {
        name.rpartition("/")[2] for name in names
    }


def test_contacts_come_from_a_file_a_folder_and_a_pattern(oss: OssServer, at: Callable[..., Any]) -> None:
    oss.page = 2
    for day in (1, 2, 3):
        oss.put(f"campaigns/day={day}/people.csv", f"phone\n1380000000{day}\n".encode())
    oss.put("campaigns/day=1/", b"")
    oss.put("campaigns/day=1/_SUCCESS", b"")
    oss.put("campaigns/day=1/.hidden/people.csv", CSV)

    assert numbers(at("day=1/people.csv")) == ["13800000001"]
    assert numbers(at("day=1")) == ["13800000001"]
    assert numbers(at("")) == numbers(at("day=*/*.csv")) == [f"1380000000{day}" for day in (1, 2, 3)]
    with pytest.raises(ContactsNotFoundError):
        numbers(at("nothing.csv"))


def test_an_object_that_is_replaced_while_it_is_read_is_refused(
    oss: OssServer, at: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_provider_outbound.oss.files.BLOCK", 16)
    # Longer than what is looked at to recognise the encoding.
    oss.put("campaigns/people.csv", b"phone\n" + b"13800000000\n" * 20_000)
    gets = iter(range(9))

    def replace(operation: str) -> None:
        if operation == "GetObject" and next(gets) == 1:
            oss.put("campaigns/people.csv", b"phone\n" + b"13900000000\n" * 2000)

    oss.before = replace
    with pytest.raises(
        OutboundBotContactsError, match=r"people\.csv cannot be read: it was replaced while it was read"
    ):
        numbers(at("people.csv"))


def test_an_answer_that_breaks_off_is_asked_for_again(oss: OssServer, at: Callable[..., Any]) -> None:
    oss.put("campaigns/people.csv", CSV)

    oss.breaks = 2
    assert numbers(at("people.csv")) == ["13800000000", "13800000001"]

    oss.breaks = 3
    with pytest.raises(OutboundBotContactsError, match=r"people\.csv cannot be read: the answer of OSS broke off"):
        numbers(at("people.csv"))


@pytest.mark.parametrize(
    "ask",
    [
        pytest.param(lambda at: at("folder").exists(), id="exists"),
        pytest.param(lambda at: at("folder").is_dir(), id="is-dir"),
        pytest.param(lambda at: at("folder").is_file(), id="is-file"),
        pytest.param(lambda at: at("folder").stat(), id="stat"),
        pytest.param(lambda at: list(at("folder").iterdir()), id="iterdir"),
        pytest.param(lambda at: list(at("folder").glob("*.csv")), id="glob"),
        pytest.param(lambda at: list(at("folder").rglob("*")), id="rglob"),
        pytest.param(lambda at: list(at("").fs.walk("campaigns/folder")), id="walk"),
        pytest.param(lambda at: at("folder").open("rb"), id="open"),
    ],
)
def test_a_refused_listing_is_no_empty_folder(oss: OssServer, at: Callable[..., Any], ask: Callable[..., Any]) -> None:
    oss.put("campaigns/folder/people.csv", CSV)
    oss.denied = {"ListObjects"}

    with pytest.raises(PermissionError, match="OSS refuses access"):
        ask(at)


@pytest.mark.parametrize("key", ["folder", "day=*/*.csv", "*.csv", "people.csv"])
def test_a_wrong_key_is_said_and_not_shown(
    oss: OssServer, at: Callable[..., Any], key: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("AIRFLOW_CONN_OSS_WRONG", oss.connection(access_key_secret="anotherSecret"))
    oss.put("campaigns/day=1/people.csv", CSV)

    with pytest.raises(OutboundBotContactsError, match=r"SignatureDoesNotMatch.*check the AccessKey") as caught:
        numbers(at(key, "oss_wrong"))

    shown = "".join(traceback.format_exception(caught.value)) + caplog.text
    assert not [secret for secret in (KEY_ID, SECRET, "anotherSecret", "StringToSign") if secret in shown]
    error: BaseException | None = caught.value.__context__
    while error is not None:
        assert not [secret for secret in (KEY_ID, "StringToSign") if secret in repr(error)]
        error = error.__context__


@pytest.mark.parametrize("key", ["in//people.csv", "in/./people.csv", "in/../people.csv", "in/people.csv/"])
def test_an_object_that_cannot_be_a_path_is_refused(oss: OssServer, at: Callable[..., Any], key: str) -> None:
    oss.put("campaigns/in/others.csv", CSV)
    oss.put(f"campaigns/{key}", CSV)

    with pytest.raises(OutboundBotContactsError, match="cannot be a file; rename or move it"):
        numbers(at("in"))


def test_an_object_with_a_content_encoding_is_refused(oss: OssServer, at: Callable[..., Any]) -> None:
    oss.put("campaigns/people.csv", CSV, **{"Content-Encoding": "gzip"})

    with pytest.raises(OutboundBotContactsError, match="upload it without that header"):
        numbers(at("people.csv"))


@pytest.mark.parametrize(
    ("bucket", "reason"), [("other-bucket", "no such bucket"), ("UPPER", "bucket's name is invalid")]
)
def test_a_bucket_that_is_none_is_said(oss: OssServer, bucket: str, reason: str) -> None:
    from airflow.sdk import ObjectStoragePath

    with pytest.raises(OutboundBotContactsError, match=reason):
        numbers(ObjectStoragePath(f"oss://oss_test@{bucket}/people.csv"))

"""Collectors, topics, quarantine and the ledger: what belongs to no single campaign. And who the user is."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Path, Request
from fastapi.responses import Response

from airflow_provider_outbound import __version__, config
from airflow_provider_outbound.core.ledger import CollectorRecord, Ledger, Quarantined, open_ledger, schema
from airflow_provider_outbound.core.models.phone import redact
from airflow_provider_outbound.exceptions import LedgerError
from airflow_provider_outbound.page import views
from airflow_provider_outbound.page.answers import answer, iso, refusal
from airflow_provider_outbound.page.ledger import shared
from airflow_provider_outbound.page.rights import Reader, ReaderDep, same_origin
from airflow_provider_outbound.page.routes.actions import Nothing

log = logging.getLogger(__name__)

router = APIRouter()

#: Messages in one answer, and characters of each.
_PAGE, _MAX_BODY = 20, 4000
#: A complete hash, so that no prefix can name another message.
MessageHash = Annotated[str, Path(pattern="^[0-9a-f]{64}$")]


def health_reader(user: ReaderDep) -> Reader:
    """
    Dependency: a user who may read connections.

    :raises HTTPException: 404.
    """
    if not user.may_use_connection("GET"):
        raise HTTPException(404, "There is no such page, or you may not see it")
    return user


def health_editor(user: ReaderDep) -> Reader:
    """
    Dependency: a user who may edit connections.

    :raises HTTPException: 403, or 404 if they may not see the page either.
    """
    if not health_reader(user).may_use_connection("PUT"):
        raise HTTPException(403, "You may not edit connections, which changing quarantine requires")
    return user


HealthReader = Annotated[Reader, Depends(health_reader)]
HealthEditor = Annotated[Reader, Depends(health_editor)]


@router.get("/me")
def read_me(request: Request, user: ReaderDep) -> Response:
    """Who the user is, and which parts of the page they may see."""
    return answer(
        request,
        {
            "user": user.name,
            "version": __version__,
            "can_see_health": user.may_use_connection("GET"),
            "language": None,
        },
    )


@router.get("/health")
def read_health(request: Request, user: HealthReader) -> Response:
    """The state of everything that belongs to no single campaign."""
    ledger, status = shared.get(), views.status()
    collecting = status.collecting
    topics: dict[str, Any] = {}
    for topic in status.topics:
        topics[topic.topic] = max(topic.last_at, topics.get(topic.topic, topic.last_at))
    external = "ID" if config.load().collector == "external" else None
    return answer(
        request,
        {
            "ledger": {
                "url_kind": "sqlite" if ledger.is_sqlite else "postgresql",
                "size_bytes": status.size_bytes,
                "schema": ledger.found_revision,
                "head": schema.REVISION,
            },
            "collectors": [
                {**_collector(one), "is_running": collecting.is_running(one), "lag_seconds": _lag(one)}
                for one in collecting.collectors
            ],
            "no_messages": redact(collecting.why_nothing_comes(external)) or None,
            "topics": [{"topic": topic, "last_message": iso(last)} for topic, last in sorted(topics.items())],
            "recovered": {
                "results": status.recovery.results,
                "from_api": status.recovery.from_api,
                "share": round(status.recovery.share, 4),
                "is_high": status.recovery.is_high,
            },
            "throttled": [
                {"connection": name, "delay_seconds": round(delay, 1)} for name, delay in status.delays.items() if delay
            ],
            "quarantine": status.quarantined,
            "can_edit": user.may_use_connection("PUT"),
            "now": iso(collecting.now),
        },
    )


@router.get("/quarantine")
def list_quarantine(request: Request, _user: HealthReader, after: str = "") -> Response:
    """Messages that could not be read, ordered by hash, with numbers masked."""
    found = list(islice(shared.get().quarantine.iter_messages(after), _PAGE + 1))
    return answer(
        request,
        {
            "messages": [_message(one) for one in found[:_PAGE]],
            "next": found[_PAGE - 1].hash if len(found) > _PAGE else None,
        },
    )


@router.post("/quarantine/{name}/replay", dependencies=[Depends(same_origin)], response_model=None)
def replay(user: HealthEditor, name: MessageHash, _: Nothing) -> dict[str, Any] | Response:
    """Try to read a message again."""
    with _writable() as ledger:
        recorded = ledger.quarantine.replay(name)
        reason = ledger.quarantine.get(name).reason if recorded.quarantined else ""
    shared.cache.clear()
    log.warning("%s replayed quarantined message %s: %s", user.name, name, "unreadable" if reason else "read")
    if reason:
        return refusal(409, f"The message still cannot be read: {redact(reason)}")
    return {"ok": True}


@router.post("/quarantine/{name}/drop", dependencies=[Depends(same_origin)])
def drop(user: HealthEditor, name: MessageHash, _: Nothing) -> dict[str, Any]:
    """Delete a message for good."""
    with _writable() as ledger:
        ledger.quarantine.drop(name)
    shared.cache.clear()
    log.warning("%s dropped quarantined message %s", user.name, name)
    return {"ok": True}


@contextmanager
def _writable() -> Iterator[Ledger]:
    """The ledger, open for writing. The page's own has shown that its schema is this package's, so none is migrated."""
    shared.get()
    settings = config.load()
    with open_ledger(settings.ledger_url, settings.ledger_keys, require_keys=False) as ledger:
        try:
            yield ledger
        except LedgerError as error:
            if type(error) is LedgerError:
                raise HTTPException(404, "There is no such message in quarantine") from None
            raise


def _collector(one: CollectorRecord) -> dict[str, Any]:
    return {
        "host": one.host,
        "process": one.pid,
        "subscription": f"{one.topic} / {one.consumer_group}",
        "since": iso(one.started_at),
        "last_answer": iso(one.last_contact_at),
        "last_message": iso(one.last_message_at),
        "trouble": redact(one.trouble) or None,
    }


def _lag(one: CollectorRecord) -> float | None:
    """Seconds between the broker's last answer and the collector's last report."""
    if one.last_contact_at is None:
        return None
    return round(max(0.0, (one.seen_at - one.last_contact_at).total_seconds()), 1)


def _message(one: Quarantined) -> dict[str, Any]:
    body = None if one.body is None else redact(_printable(one.body.decode("utf-8", "replace")))[:_MAX_BODY]
    return {
        "name": one.hash,
        "topic": redact(_printable(one.topic or "")) or None,
        "reason": redact(_printable(one.reason)),
        "received": iso(one.recorded_at),
        "size": one.head_of or (None if one.body is None else len(one.body)),
        "body": body,
    }


def _printable(text: str) -> str:
    """
    Untrusted text, without characters that are not printed.

    They are removed, not replaced: only adjacent digits are masked, and UTF-16 has a NUL between any two.
    """
    return "".join(one for one in text if one.isprintable() or one in "\n\t")

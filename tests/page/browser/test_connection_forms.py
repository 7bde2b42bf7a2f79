"""The forms of connections: what the documentation says to enter becomes what the hooks read."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs
import pytest
from page.browser.conftest import MARKS
from page.browser.connection_forms import FORMS, LANGUAGES, fill_in, fill_in_extra

from airflow_provider_outbound.hooks.outboundbot import OutboundBotHook
from airflow_provider_outbound.hooks.rocketmq import RocketMQHook

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = MARKS


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", FORMS)
def test_what_is_entered_into_the_form_is_what_the_hook_reads(
    visit: Callable[..., Page], monkeypatch: pytest.MonkeyPatch, name: str, language: str
) -> None:
    # A connection of its own, because all tests share the api-server.
    form = attrs.evolve(FORMS[name], connection_id=f"{FORMS[name].connection_id}_{LANGUAGES[language]}")
    page = visit("/connections", whole=True, language=language)

    with page.expect_response(lambda answer: answer.request.method == "POST" and "/connections" in answer.url) as saved:
        dialog = fill_in(page, form, language)
        fill_in_extra(page, dialog, form, language)
        dialog.get_by_role("button").last.click()
    entered = json.loads(str(saved.value.request.post_data))
    extra = json.loads(entered["extra"])
    connection = {key: entered[key] for key in ("conn_type", *form.standard)} | {"extra": extra}
    monkeypatch.setenv(f"AIRFLOW_CONN_{form.connection_id.upper()}", json.dumps(connection))

    assert saved.value.status == 201
    assert {key: extra[key] for key in form.extra} == {**form.extra, **form.stored}
    if name == "rocketmq":
        settings = RocketMQHook(form.connection_id).settings()
        assert settings.endpoints == ("rmq-cn-example.cn-shanghai.rmq.aliyuncs.com:8080",)
        assert (settings.topic, settings.consumer_group) == ("outbound", "airflow")
    else:
        assert OutboundBotHook(form.connection_id).allowed_phone_numbers == frozenset({"+8613800000000"})

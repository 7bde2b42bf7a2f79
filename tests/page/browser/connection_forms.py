"""
The forms of both connections in Airflow's UI, filled in, and their pictures in the documentation.

Take them with ``OUTBOUND_TEST_CHROMIUM=/usr/bin/chromium python tests/page/browser/connection_forms.py docs/images``.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))

from page.browser.stack import Site
from page.browser.visits import Visitor

from airflow_provider_outbound.cli.processes import ServiceError, wait_until
from airflow_provider_outbound.cli.services import AirflowStack

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

#: Languages of Airflow's UI, and what the names of the pictures end with.
LANGUAGES = {"en": "en", "zh-CN": "zh"}
_ADD = {"en": "Add Connection", "zh-CN": "添加连接"}
_EXTRA = {"en": "Extra Fields", "zh-CN": "额外字段"}
#: As wide as the form is in a browser of usual size, and so high that nothing is hidden.
_WIDTH, _HEIGHT = 700, 2400


@attrs.frozen(kw_only=True)
class Form:
    """What a person enters for a connection."""

    connection_id: str
    connection_type: str
    #: Fields that each connection of Airflow has.
    standard: Mapping[str, str]
    #: Fields of this type of connection, as they are typed.
    extra: Mapping[str, str]
    #: The same as they are stored, where that is something else.
    stored: Mapping[str, Any] = attrs.field(factory=dict)


FORMS = {
    "outboundbot": Form(
        connection_id="outboundbot_default",
        connection_type="Alibaba Cloud OutboundBot",
        standard={"login": "LTAI5tExampleKeyId", "password": "ExampleKeySecret"},
        extra={
            "instance_id": "af81a389-91f0-4157-8d82-720edd02b66a",
            "script_id": "10f9dee6-b506-4c8f-9b2f-6ab01a5b1b54",
            "calling_hours": '{\n  "timezone": "Asia/Shanghai",\n  "windows": [["09:00", "20:00"]]\n}',
            "allowed_phone_numbers": "+8613800000000",
        },
        stored={
            "calling_hours": {"timezone": "Asia/Shanghai", "windows": [["09:00", "20:00"]]},
            "allowed_phone_numbers": ["+8613800000000"],
        },
    ),
    "rocketmq": Form(
        connection_id="rocketmq_default",
        connection_type="RocketMQ",
        standard={
            "host": "rmq-cn-example.cn-shanghai.rmq.aliyuncs.com",
            "port": "8080",
            "login": "exampleUser",
            "password": "examplePassword",
        },
        extra={"topic": "outbound", "consumer_group": "airflow"},
    ),
}


def fill_in(page: Page, form: Form, language: str = "en") -> Locator:
    """Open the form on the page of all connections, fill in its standard fields, and return the dialog."""
    page.get_by_role("button", name=_ADD[language]).first.click()
    dialog = page.get_by_role("dialog")
    dialog.locator("[name=connection_id]").fill(form.connection_id)
    dialog.get_by_role("combobox").first.fill(form.connection_type)
    page.get_by_role("option", name=form.connection_type, exact=True).click()
    for name, value in form.standard.items():
        dialog.locator(f"[name={name}]").fill(value)
    return dialog


def fill_in_extra(page: Page, dialog: Locator, form: Form, language: str = "en") -> None:
    """Open the extra fields, which closes the standard ones, and fill them in."""
    dialog.get_by_role("button", name=_EXTRA[language], exact=True).click()
    for name, value in form.extra.items():
        field = dialog.locator(f"#element_{name}")
        if value.startswith("{"):  # an editor, which adds a bracket to each one that is typed, but not to pasted text
            page.context.grant_permissions(["clipboard-read", "clipboard-write"])
            page.evaluate("text => navigator.clipboard.writeText(text)", value)
            field.locator(".view-lines").click()
            page.keyboard.press("ControlOrMeta+A")
            page.keyboard.press("ControlOrMeta+V")
        else:
            field.fill(value)


def take(visitor: Visitor, folder: Path) -> None:
    """Take all pictures: of each form the standard fields (1) and the extra fields that are filled in (2)."""
    for language, suffix in LANGUAGES.items():
        for name, form in FORMS.items():
            page = visitor.open("/connections", whole=True, language=language, width=_WIDTH).page
            page.set_viewport_size({"width": _WIDTH, "height": _HEIGHT})
            dialog = fill_in(page, form, language)
            section = dialog.get_by_role("button", name=_EXTRA[language], exact=True)
            _photograph(page, dialog, section, folder / f"connection-{name}-1-{suffix}.png")
            fill_in_extra(page, dialog, form, language)
            last = dialog.locator(f"#element_{[*form.extra][-1]}").locator("xpath=../..")
            _photograph(page, section, last, folder / f"connection-{name}-2-{suffix}.png")
            page.close()


def _photograph(page: Page, first: Locator, last: Locator, path: Path) -> None:
    """Take a picture from the top of one element to the end of another, without a cursor."""
    page.evaluate("() => document.activeElement.blur()")
    page.wait_for_timeout(700)  # sections open slowly
    top, bottom = first.bounding_box(), last.bounding_box()
    assert top is not None
    assert bottom is not None
    height = bottom["y"] + bottom["height"] - top["y"] + 12
    page.screenshot(path=path, clip={"x": 0, "y": top["y"], "width": _WIDTH, "height": height})


@contextmanager
def api_server(folder: Path) -> Iterator[Site]:
    """Start an api-server without campaigns, which is all that a form needs, and end it afterwards."""
    with AirflowStack(folder, dags=[]) as stack:
        stack.prepare()
        stack.start_service("api-server")

        def answers() -> bool:
            try:
                return bool(stack.get("/api/v2/connections"))
            except ServiceError:
                return False

        wait_until(answers, seconds=300, what="the api-server", every=1)
        yield Site(stack=stack, running_id="", run_id="", ledger_path=folder / "ledger.db")


def main() -> None:
    """Start everything, and write the pictures into the folder that was named."""
    from playwright.sync_api import sync_playwright

    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    chromium = os.environ.get("OUTBOUND_TEST_CHROMIUM", "/usr/bin/chromium")
    with tempfile.TemporaryDirectory() as scratch, api_server(Path(scratch)) as site, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        take(Visitor(browser, site), folder)
        browser.close()


if __name__ == "__main__":
    main()

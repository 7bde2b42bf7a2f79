"""The page of an Airflow whose address has a path, as behind a proxy that serves other things too."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from page.browser.conftest import MARKS
from page.browser.visits import Visitor

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = MARKS


def test_the_page_its_requests_and_its_actions_keep_to_the_path(
    tmp_path_factory: pytest.TempPathFactory, chromium: Browser
) -> None:
    from page.browser.stack import RUNNING, site

    with site(tmp_path_factory.mktemp("path"), path="/airflow") as below:
        visit = Visitor(chromium, below).open()
        page = visit.page
        asked: list[str] = []
        page.on("request", lambda request: asked.append(urlsplit(request.url).path))
        page.reload()
        page.get_by_role("link", name=RUNNING).click()
        page.get_by_role("button", name="Suspend", exact=True).click()
        page.get_by_role("alertdialog").get_by_role("button", name="Suspend").click()
        page.get_by_text(f"“{RUNNING}” is suspended.").wait_for()

        assert "Paused" in {job["status"] for job in below.jobs()}
        assert urlsplit(page.url).path == f"/airflow/plugin/outbound/campaign/{below.running_id}"
        own = [path for path in asked if "/outbound/" in path]
        for part in ("/outbound/static/", "/outbound/api/campaigns", f"/{below.running_id}/suspend"):
            assert any(part in path for path in own), part
        assert [path for path in own if not path.startswith("/airflow/")] == []
        assert (visit.foreign, visit.errors) == ([], [])

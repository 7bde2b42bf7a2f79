"""
Screenshots of the page, to be looked at: ``python tests/page/browser/screenshots.py FOLDER``.

It needs Chromium: ``OUTBOUND_TEST_CHROMIUM=/usr/bin/chromium``.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))

from page.browser.stack import DAG_ID, RUNNING, Site, site
from page.browser.visits import Visitor, settled

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

#: Languages, colours and widths in which everything is shown.
LOOKS: dict[str, dict[str, Any]] = {
    "en-light": {},
    "zh-dark": {"language": "zh-CN", "dark": True},
    "en-390": {"width": 390},
}
#: A height of the window at which nothing of the longest page is hidden.
_TALL = 4000


def scenes(site: Site) -> Iterator[tuple[str, str, Callable[[Page], Any]]]:
    """Name, path below Airflow, and what is done before the picture is taken."""
    running = f"/plugin/outbound/campaign/{site.running_id}"

    def open_dialog(page: Page) -> None:
        page.get_by_role("button").filter(has_text=_either("Suspend", "暂停")).first.click()
        page.get_by_role("alertdialog").wait_for()
        page.wait_for_timeout(500)

    def ask_for_person(page: Page) -> None:
        page.get_by_role("button").filter(has_text=_either("Find a person", "查找联系人")).click()
        page.get_by_role("dialog").get_by_role("textbox").fill("+86 138 0000 0000")
        page.keyboard.press("Enter")
        page.get_by_role("dialog").get_by_role("link").first.wait_for()

    yield "list", "/plugin/outbound", settled
    yield "empty", "/plugin/outbound?text=nothing-has-this-name", settled
    yield "person", "/plugin/outbound", ask_for_person
    yield "campaign-running", running, settled
    yield "campaign-ended", "/plugin/outbound/campaign/winter", settled
    yield "dialog", running, open_dialog
    yield "jobs", f"{running}?tab=jobs", settled
    yield "job", f"{running}?tab=jobs&job={site.running_id}-0002", settled
    yield "health", "/plugin/outbound/health", settled
    yield (
        "run-tab",
        f"/dags/{DAG_ID}/runs/{site.run_id}/plugin/campaigns",
        lambda page: page.get_by_text(RUNNING).first.wait_for(),
    )


def _either(*texts: str) -> Any:
    import re

    return re.compile("|".join(f"^{text}$" for text in texts))


def take(browser: Browser, site: Site, folder: Path) -> None:
    """Take all pictures."""
    visitor = Visitor(browser, site)
    for look, how in LOOKS.items():
        for name, path, prepare in scenes(site):
            page = visitor.open(path, whole=True, **how).page
            prepare(page)
            page.wait_for_timeout(300)
            if name not in ("dialog", "person"):
                height = page.evaluate(
                    "() => Math.max(...[...document.querySelectorAll('*')].map(one => one.scrollHeight))"
                )
                page.set_viewport_size({"width": how.get("width", 1400), "height": min(_TALL, max(900, height))})
                page.wait_for_timeout(300)
            page.screenshot(path=folder / f"{look}-{name}.png")
            page.close()


def main() -> None:
    """Start everything, and write the pictures into the folder that was named."""
    from playwright.sync_api import sync_playwright

    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch, site(Path(scratch)) as running, sync_playwright() as playwright:
        chromium = os.environ.get("OUTBOUND_TEST_CHROMIUM", "/usr/bin/chromium")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        take(browser, running, folder)
        browser.close()


if __name__ == "__main__":
    main()

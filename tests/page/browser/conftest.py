"""A real browser on a real api-server, one of each for all tests."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from page.browser.stack import Site
    from page.browser.visits import Visitor
    from playwright.sync_api import Browser, Page

CHROMIUM = os.environ.get("OUTBOUND_TEST_CHROMIUM")
#: The marks of each module that opens a browser.
MARKS = [
    pytest.mark.browser,
    pytest.mark.xdist_group("browser"),
    pytest.mark.skipif(CHROMIUM is None, reason="OUTBOUND_TEST_CHROMIUM names no browser"),
    # Chromium's own driver leaves a loop to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The api-server with campaigns."""
    from page.browser.stack import site

    with site(tmp_path_factory.mktemp("page")) as running:
        yield running


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """The browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def visitor(site: Site, chromium: Browser) -> Visitor:
    """Who opens the pages."""
    from page.browser.visits import Visitor

    return Visitor(chromium, site)


@pytest.fixture
def visit(visitor: Visitor) -> Iterator[Callable[..., Page]]:
    """Opens a path as a user. Afterwards, no request may have left for another host, and no error been thrown."""
    opened: list[Any] = []

    def visit(path: str = "", **how: Any) -> Page:
        visited = visitor.open(path, **how)
        opened.append(visited)
        return visited.page

    yield visit
    for one in opened:
        one.page.close()
    assert [host for one in opened for host in one.foreign] == []
    assert [error for one in opened for error in one.errors] == []

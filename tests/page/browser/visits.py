"""Opening the page in a browser, with what it must not do on record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import attrs

if TYPE_CHECKING:
    from page.browser.stack import Site
    from playwright.sync_api import Browser, BrowserContext, Error, Page

PAGE = "/plugin/outbound"
#: Milliseconds; two cores may be shared by all suites.
PATIENCE = 60_000


@attrs.define
class Visit:
    """A page, the hosts that were asked although they are not Airflow, and errors that nothing caught."""

    page: Page
    foreign: list[str] = attrs.Factory(list)
    errors: list[str] = attrs.Factory(list)


@attrs.define
class Visitor:
    """Opens pages. Those of the same user, language and look share a cache, as the tabs of one browser do."""

    browser: Browser
    site: Site
    _contexts: dict[tuple[Any, ...], BrowserContext] = attrs.Factory(dict)

    def open(
        self,
        path: str = "",
        *,
        user: str = "admin",
        language: str = "en",
        dark: bool = False,
        width: int = 1400,
        whole: bool = False,
    ) -> Visit:
        """
        Open a path of the page as a user.

        :param path: Below the page; with ``whole``, below Airflow.
        """
        kind = (user, language, dark, width)
        if kind not in self._contexts:
            self._contexts[kind] = self._context(*kind)
        visit = Visit(self._contexts[kind].new_page())
        own = urlsplit(self.site.address).netloc

        def note(url: str) -> None:
            if url.startswith(("http", "ws")) and urlsplit(url).netloc != own:
                visit.foreign.append(url)

        visit.page.on("request", lambda request: note(request.url))
        visit.page.on("pageerror", lambda error: None if _is_airflows(error) else visit.errors.append(str(error)))
        visit.page.goto(f"{self.site.address}{'' if whole else PAGE}{path}")
        return visit

    def _context(self, user: str, language: str, dark: bool, width: int) -> BrowserContext:
        context = self.browser.new_context(
            viewport={"width": width, "height": 900}, locale=language, color_scheme="dark" if dark else "light"
        )
        context.set_default_timeout(PATIENCE)
        context.add_cookies([{"name": "_token", "value": self.site.token(user), "url": self.site.address}])
        colours = "dark" if dark else "light"
        context.add_init_script(f"localStorage.i18nextLng = '{language}'; localStorage.theme = '{colours}'")
        return context


def _is_airflows(error: Error) -> bool:
    """Whether Airflow's own scripts ended a request because somebody left its page, and caught nothing."""
    return "aborted without reason" in str(error) and "/outbound/" not in (error.stack or "")


def settled(page: Page) -> None:
    """Wait until the page shows what it read."""
    page.locator("[data-page=outbound]").get_by_role("heading").first.wait_for()
    page.locator("[data-page=outbound] [role=status]").first.wait_for(state="detached")


def overflow(page: Page) -> int:
    """By how many pixels the page is wider than its window."""
    return int(page.evaluate("() => document.documentElement.scrollWidth - window.innerWidth"))

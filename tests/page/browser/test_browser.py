"""The page in a real browser: what a campaign's owner does, in each language, colour, width and with the keyboard."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from page.browser.conftest import MARKS
from page.browser.visits import PATIENCE, overflow, settled
from playwright.sync_api import expect

if TYPE_CHECKING:
    from page.browser.stack import Site
    from playwright.sync_api import Page

pytestmark = MARKS
expect.set_options(timeout=PATIENCE)

Visit = Callable[..., "Page"]
RUNNING = "Spring renewal, east"


@pytest.fixture
def running(site: Site) -> str:
    """Path of the running campaign."""
    return f"/campaign/{site.running_id}"


def test_from_the_list_to_a_campaign_a_job_and_an_action(site: Site, visit: Visit) -> None:
    page = visit()
    page.get_by_role("link", name=RUNNING).click()
    page.get_by_role("heading", name=RUNNING).wait_for()
    page.get_by_role("tab", name="Jobs").click()
    page.get_by_role("link", name=f"{site.running_id}-0002").click()
    page.get_by_role("heading", name=f"Job {site.running_id}-0002").wait_for()
    expect(page.get_by_role("region", name="Calls").get_by_role("row")).to_have_count(3)
    assert "13800000002" not in page.content()

    page.get_by_role("button", name="Suspend", exact=True).click()
    dialog = page.get_by_role("alertdialog")
    dialog.get_by_text("80 people are not done").wait_for()
    dialog.get_by_role("button", name="Suspend").click()
    page.get_by_text(f"“{RUNNING}” is suspended.").wait_for()
    page.get_by_role("button", name="Resume").wait_for()

    assert {"Paused", "Scheduling"} & {job["status"] for job in site.jobs()} == {"Paused"}
    page.get_by_role("button", name="Resume").click()
    page.get_by_role("alertdialog").get_by_role("button", name="Resume").click()
    page.get_by_text(f"“{RUNNING}” is resumed.").wait_for()
    assert {"Paused", "Scheduling"} & {job["status"] for job in site.jobs()} == {"Scheduling"}


def test_the_numbers_are_those_of_the_ledger(visit: Visit, running: str) -> None:
    page = visit(running)
    # While its parts load, Airflow shows a progress bar of its own, with another name.
    bar = page.get_by_role("progressbar", name="Progress")

    # Eight ways in which a job may stand, twenty times each; eighty people are open.
    expect(bar).to_have_attribute(
        "aria-valuetext", "160 of 240 done: 60 answered, 60 not answered, 20 not dialled, 20 other"
    )
    expect(bar).to_have_attribute("aria-valuenow", "160")


def test_what_needs_attention_stands_first_and_says_what_to_do(visit: Visit, running: str) -> None:
    page = visit()
    page.get_by_role("link", name=RUNNING).wait_for()
    names = page.get_by_role("row").locator("td:first-child a").all_inner_texts()
    assert set(names[:3]) == {RUNNING, "春季续约 华东", "Winter check"}

    page = visit(running)
    page.get_by_text("This campaign will not finish within its window.").wait_for()
    page = visit("/campaign/winter")
    page.get_by_text("The service may or may not have accepted these people: 3.").wait_for()


def test_pages_of_the_list_meet_each_campaign_once(visit: Visit) -> None:
    page = visit()
    page.get_by_role("link", name=RUNNING).wait_for()
    links = page.get_by_role("row").locator("td:first-child a")
    first = links.all_inner_texts()
    page.get_by_role("button", name="Next page").click()
    page.get_by_role("link", name="Renewal wave 1", exact=True).wait_for()
    second = links.all_inner_texts()

    assert len(first) == 50
    assert len({*first, *second}) == len(first) + len(second) == 58
    page.go_back()
    page.get_by_role("link", name=RUNNING).wait_for()


def test_filters_are_part_of_the_address(visit: Visit) -> None:
    page = visit()
    page.get_by_role("searchbox", name="Name contains").fill("winter")
    page.wait_for_url(re.compile("text=winter"))
    page.get_by_role("link", name=RUNNING).wait_for(state="detached")
    page.get_by_role("link", name="Winter check").wait_for()
    expect(page.get_by_role("row")).to_have_count(2)

    page.reload()
    page.get_by_role("link", name="Winter check").wait_for()
    expect(page.get_by_role("row")).to_have_count(2)
    page.get_by_label("State").select_option("suspended")
    page.get_by_text("No campaign matches the filters.").wait_for()
    page.get_by_role("button", name="Clear filters").click()
    page.get_by_role("link", name=RUNNING).wait_for()


def test_jobs_are_filtered_by_the_server(visit: Visit, running: str) -> None:
    page = visit(f"{running}?tab=jobs")
    page.get_by_text("240 jobs").wait_for()
    page.get_by_label("Outcome").select_option("not_dialled")
    page.get_by_text("20 jobs", exact=True).wait_for()

    expect(page.get_by_role("row")).to_have_count(21)
    expect(page.get_by_role("cell", name="On a block list")).to_have_count(20)


def test_a_person_is_found_by_the_whole_number_which_is_in_no_address(visit: Visit) -> None:
    page = visit()
    addresses: list[str] = []
    page.on("request", lambda request: addresses.append(request.url))
    page.get_by_role("button", name="Find a person").click()
    page.get_by_role("textbox", name="Phone number").fill("+86 138 0000 0004")
    page.keyboard.press("Enter")
    page.get_by_role("dialog").get_by_role("link", name=RUNNING).wait_for()

    page.get_by_role("dialog").get_by_role("link", name=RUNNING).click()
    page.get_by_role("heading", name="Job").wait_for()
    assert "13800000004" not in page.content()
    assert not [address for address in [*addresses, page.url] if "0000004" in address.replace("-0004", "")]


def test_a_link_of_a_task_opens_its_campaign(site: Site, visit: Visit) -> None:
    page = visit(f"?dag_id=spring_renewal&run_id={site.run_id.replace('+', '%2B')}&task_id=create&map_index=-1")
    page.get_by_role("heading", name=RUNNING).wait_for()
    assert page.url.endswith(site.running_id)


def test_the_tab_of_a_run_shows_its_campaigns(site: Site, visit: Visit) -> None:
    page = visit(f"/dags/spring_renewal/runs/{site.run_id}/plugin/campaigns", whole=True)
    page.get_by_role("link", name=RUNNING).wait_for()
    expect(page.get_by_role("link", name="Winter check")).to_have_count(0)


def test_health_shows_the_quarantine_with_masked_numbers(visit: Visit) -> None:
    page = visit("/health")
    page.get_by_text("not JSON, from").wait_for()
    assert "13800000007" not in page.content()
    page.get_by_role("button", name=re.compile("^Replay ")).click()
    page.get_by_role("alertdialog").get_by_role("button", name="Replay").click()
    page.get_by_text("The message still cannot be read").wait_for()
    page.get_by_role("button", name="Do nothing").click()
    page.get_by_role("alertdialog").wait_for(state="hidden")


def test_a_viewer_has_no_buttons_and_no_health(visit: Visit, running: str) -> None:
    page = visit(running, user="viewer")
    page.get_by_role("heading", name=RUNNING).wait_for()
    expect(page.get_by_role("button", name="Suspend")).to_have_count(0)
    page = visit("/health", user="viewer")
    page.get_by_text("You may not see the health").wait_for()


def test_the_keyboard_alone_is_enough(visit: Visit, running: str) -> None:
    page = visit(running)
    button = page.get_by_role("button", name="Suspend", exact=True)
    button.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("alertdialog")
    dialog.get_by_text("people are not done").wait_for()
    inside = "() => document.activeElement.closest('[role=alertdialog]') !== null"
    page.wait_for_function(inside)
    for _ in range(6):
        page.keyboard.press("Tab")
        assert page.evaluate(inside)
    page.keyboard.press("Escape")
    dialog.wait_for(state="hidden")
    page.wait_for_function("() => document.activeElement.textContent === 'Suspend'")

    chart = page.get_by_role("group", name=re.compile("^Calls over time"))
    chart.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(chart).to_contain_text(re.compile(r"\d+ of \d+ calls answered"))


def test_the_page_speaks_chinese_and_follows_a_change(visit: Visit, running: str) -> None:
    page = visit(running, language="zh-CN")
    page.get_by_text("此任务组无法在外呼时段内完成。").wait_for()
    expect(page.get_by_role("tab", name="作业")).to_have_count(1)
    # Airflow may miss writing its first language to the document.
    page.evaluate("() => { document.documentElement.lang = 'en' }")
    page.wait_for_timeout(300)
    expect(page.get_by_role("tab", name="作业")).to_have_count(1)
    page.evaluate("() => { localStorage.i18nextLng = 'en'; document.documentElement.lang = 'en' }")
    page.get_by_text("This campaign will not finish within its window.").wait_for()


def test_a_phone_needs_no_horizontal_scrolling(visit: Visit, running: str) -> None:
    scrollers = """() => [...document.querySelectorAll("[data-page], [data-page] *")].filter((one) =>
        one.scrollWidth > one.clientWidth + 1 && ["auto", "scroll"].includes(getComputedStyle(one).overflowX))"""
    for path in ("", "/campaign/winter", running, f"{running}?tab=jobs", "/health"):
        page = visit(path, width=390)
        settled(page)
        assert overflow(page) <= 0, path
        assert page.evaluate(f"() => ({scrollers})().map(one => one.outerHTML.slice(0, 150))") == [], path


@pytest.mark.parametrize("dark", [pytest.param(False, id="light"), pytest.param(True, id="dark")])
def test_axe_has_no_serious_finding(visit: Visit, running: str, dark: bool) -> None:
    for path in ("", running, f"{running}?tab=jobs", f"{running}?tab=jobs&job=none", "/health"):
        page = visit(path, dark=dark)
        settled(page)
        assert _serious(page, "[data-page=outbound]") == [], path

    page.goto(page.url.replace("/health", running))
    page.get_by_role("button", name="Suspend", exact=True).click()
    page.get_by_role("alertdialog").get_by_text("people are not done").wait_for()
    page.wait_for_timeout(500)  # the dialog fades in, and half of it has half the contrast
    assert _serious(page, "[role=alertdialog]") == []


def _serious(page: Page, within: str) -> list[tuple[str, list[str]]]:
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page, context=within).response["violations"]
    return [_finding(one) for one in found if one["impact"] in ("serious", "critical")]


def _finding(violation: dict[str, Any]) -> tuple[str, list[str]]:
    return violation["id"], [node["html"][:200] + " " + node["failureSummary"] for node in violation["nodes"][:3]]

"""What can be done with a row stands at its end and is seen by everybody: without a mouse above it, on a telephone, by keyboard, without
JavaScript."""

from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.pictures import picture
from tests.browser.test_pages import VIEWS, Site, running

SEEN = """(cells) => cells.flatMap((cell) => [...cell.querySelectorAll("a, button, summary")]
    .filter((one) => !one.closest("details:not([open]) > :not(summary)"))
    .map((one) => {
        one.scrollIntoView({block: "center"});
        const box = one.getBoundingClientRect();
        const shown = one.checkVisibility({opacityProperty: true, visibilityProperty: true});
        const hit = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
        const inside = box.left >= 0 && box.right <= innerWidth && box.width >= 24 && box.height >= 24;
        return [one.textContent.trim().replace(/\\s+/g, " "), shown && inside && one.contains(hit)];
    }))"""
"""Of every control at the ends of rows its words, and whether it is seen and can be pressed where it stands."""

PAGES = {
    "/scenarios": ["Edit Spring sale", "⋯More for Spring sale"],
    "/numbers": ["Move +14155550120", "⋯More for +14155550120"],
    "/settings/people": ["Remove"],
    "/settings/tokens": ["Revoke"],
    "/settings/install": ["Allow"],
    "/deliveries": ["Send again"],
    "/samples": ["Edit", "⋯More for this call"],
    "/projects": ["Suspend"],
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running(tmp_path_factory.mktemp("actions")) as site:
        site.settle()
        yield site


@pytest.fixture(params=[1280, 1024, 760, 390])
def context(site: Site, browser: Browser, request: pytest.FixtureRequest) -> Iterator[BrowserContext]:
    """Of somebody whose mouse rests elsewhere, or who has none."""
    context = site.context(browser, "alice")
    context.new_page().set_viewport_size({"width": request.param, "height": 844})
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext) -> Page:
    return context.pages[0]


@pytest.mark.parametrize("path", [path for path in PAGES if path != "/projects"])
def test_actions_are_seen_without_a_mouse_above_the_row(site: Site, page: Page, path: str) -> None:
    page.goto(site.address + path)
    all_are_seen(page, path)


@pytest.mark.parametrize("width", [1280, 1024, 760, 390])
def test_an_operators_actions_are_seen_too(site: Site, browser: Browser, width: int) -> None:
    context = site.context(browser, "olivia")
    page = context.new_page()
    page.set_viewport_size({"width": width, "height": 844})
    page.goto(site.address + "/projects")
    all_are_seen(page, "/projects")
    context.close()


def all_are_seen(page: Page, path: str) -> None:
    found = page.locator("td.actions").evaluate_all(SEEN)
    assert set(PAGES[path]) <= {words for words, _ in found}
    assert [words for words, seen in found if not seen] == []


def test_every_scenario_can_be_edited_from_its_row(site: Site, page: Page) -> None:
    page.goto(site.address + "/scenarios")
    rows = page.locator(".scenario-row")
    assert rows.count() == page.get_by_role("link", name="Edit").count() > 1
    page.get_by_role("link", name="Edit Spring sale").click()
    expect(page.locator("[name=title]")).to_have_value("Spring sale")


def test_what_is_rarer_opens_and_closes_by_keyboard_and_by_a_click_elsewhere(site: Site, page: Page) -> None:
    page.goto(site.address + "/scenarios")
    first, second = (page.locator("summary", has_text=f"More for {title}") for title in ("Spring sale", "Shop window"))
    delete = page.get_by_role("link", name="Delete Spring sale")
    expect(delete).not_to_be_visible()
    first.focus()
    page.keyboard.press("Enter")
    expect(delete).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Duplicate Spring sale")).to_be_focused()
    page.keyboard.press("Escape")
    expect(delete).not_to_be_visible()
    expect(first).to_be_focused()
    first.click()
    second.click()
    expect(delete).not_to_be_visible()
    expect(page.get_by_role("link", name="Delete Shop window")).to_be_visible()
    page.locator("h1").click()
    expect(page.locator(".rarer[open]")).to_have_count(0)


@pytest.mark.parametrize("path", ["/scenarios", "/numbers", "/samples"])
def test_what_is_open_is_readable_for_all_and_fits(site: Site, browser: Browser, path: str) -> None:
    context = site.context(browser, "alice")
    page = context.new_page()
    for width, height, scheme in VIEWS:
        page.set_viewport_size({"width": width, "height": height})
        page.emulate_media(color_scheme=scheme)
        page.goto(site.address + path)
        page.locator(".rarer > summary").last.click()
        for inner in page.locator(".rarer[open] .confirm > summary").all():
            inner.click()
        box = page.locator(".rarer[open] > div").bounding_box()
        assert box
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        picture(page, f"{path}-rarer", scheme, width)
        if scheme == "dark" or path == "/samples":
            found = Axe().run(page, context={"exclude": ["option"]})
            assert found.violations_count == 0, found.generate_report()
    context.close()


def test_an_own_number_is_removed_behind_its_question(site: Site, page: Page) -> None:
    page.goto(site.address + "/numbers?use=free")
    row = page.get_by_role("row", name="+1 415-555-0126")
    row.locator("summary", has_text="More for +14155550126").click()
    row.locator("summary", has_text="Remove").click()
    expect(row.get_by_text("is taken off the list.")).to_be_visible()
    page.keyboard.press("Escape")
    expect(row.get_by_text("is taken off the list.")).not_to_be_visible()
    expect(row.locator("summary", has_text="Remove")).to_be_visible()


def test_without_javascript_everything_is_there(site: Site, browser: Browser) -> None:
    context = site.context(browser, "alice")
    cookies = context.cookies()
    context.close()
    plain = browser.new_context(java_script_enabled=False, viewport={"width": 390, "height": 844})
    plain.add_cookies(cookies)  # type: ignore[arg-type]  # what the browser gave it takes
    page = plain.new_page()
    page.goto(site.address + "/scenarios")
    expect(page.get_by_role("link", name="Edit Spring sale")).to_be_visible()
    page.locator("summary", has_text="More for Spring sale").click()
    page.get_by_role("link", name="Delete Spring sale").click()
    expect(page.locator("h1")).to_contain_text("Delete Spring sale")
    plain.close()

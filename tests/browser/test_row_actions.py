"""What can be done with a row stands at its end and is seen by everybody: without a mouse above it, on a telephone, by keyboard, without
JavaScript."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.accessibility import bring_axe, judge
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


OPEN = ".rarer[open], .confirm[open]"
WIDTHS = (1280, 1024, 760, 390)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running(tmp_path_factory.mktemp("actions")) as site:
        site.settle()
        yield site


@pytest.fixture(scope="module")
def windows(site: Site, browser: Browser) -> Iterator[dict[str, Page]]:
    """Of people whose mouse rests elsewhere, or who have none."""
    contexts = {who: site.context(browser, who) for who in ("alice", "olivia")}
    bring_axe(contexts["alice"])
    yield {who: context.new_page() for who, context in contexts.items()}
    for context in contexts.values():
        context.close()


@pytest.fixture
def page(windows: dict[str, Page]) -> Page:
    return windows["alice"]


def at_every_width(page: Page) -> Iterator[int]:
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 844})
        yield width


@pytest.mark.parametrize("path", [path for path in PAGES if path != "/projects"])
def test_actions_are_seen_without_a_mouse_above_the_row(site: Site, page: Page, path: str) -> None:
    page.goto(site.address + path)
    for width in at_every_width(page):
        all_are_seen(page, path, width)


def test_an_operators_actions_are_seen_too(site: Site, windows: dict[str, Page]) -> None:
    page = windows["olivia"]
    page.goto(site.address + "/projects")
    for width in at_every_width(page):
        all_are_seen(page, "/projects", width)


def all_are_seen(page: Page, path: str, width: int) -> None:
    found = page.locator("td.actions").evaluate_all(SEEN)
    assert set(PAGES[path]) <= {words for words, _ in found}, width
    assert [words for words, seen in found if not seen] == [], width


def test_every_scenario_can_be_edited_from_its_row(site: Site, page: Page) -> None:
    for width in at_every_width(page):
        page.goto(site.address + "/scenarios")
        rows = page.locator(".scenario-row")
        assert rows.count() == page.get_by_role("link", name="Edit").count() > 1, width
        page.get_by_role("link", name="Edit Spring sale").click()
        expect(page.locator("[name=title]"), f"{width} wide").to_have_value("Spring sale")


def test_what_is_rarer_opens_and_closes_by_keyboard_and_by_a_click_elsewhere(site: Site, page: Page) -> None:
    page.goto(site.address + "/scenarios")
    first, second = (page.locator("summary", has_text=f"More for {title}") for title in ("Spring sale", "Shop window"))
    delete = page.get_by_role("link", name="Delete Spring sale")
    for width in at_every_width(page):
        expect(delete, f"{width} wide").not_to_be_visible()
        first.focus()
        page.keyboard.press("Enter")
        expect(delete, f"{width} wide").to_be_visible()
        page.keyboard.press("Tab")
        expect(page.get_by_role("button", name="Duplicate Spring sale"), f"{width} wide").to_be_focused()
        page.keyboard.press("Escape")
        expect(delete, f"{width} wide").not_to_be_visible()
        expect(first, f"{width} wide").to_be_focused()
        first.click()
        second.click()
        expect(delete, f"{width} wide").not_to_be_visible()
        expect(page.get_by_role("link", name="Delete Shop window"), f"{width} wide").to_be_visible()
        page.locator("h1").click()
        expect(page.locator(".rarer[open]"), f"{width} wide").to_have_count(0)


@pytest.mark.parametrize("path", ["/scenarios", "/numbers", "/samples"])
def test_what_is_open_is_readable_for_all_and_fits(site: Site, page: Page, path: str) -> None:
    """The rest of these pages is judged where each page is."""
    page.goto(site.address + path)
    for width, height, scheme in VIEWS:
        page.set_viewport_size({"width": width, "height": height})
        page.emulate_media(color_scheme=scheme)
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
            judge(page, ".rarer[open]")
        page.locator("h1").click()
        expect(page.locator(OPEN)).to_have_count(0)


def test_an_own_number_is_removed_behind_its_question(site: Site, page: Page) -> None:
    page.goto(site.address + "/numbers?use=free")
    row = page.get_by_role("row", name="+1 415-555-0126")
    for width in at_every_width(page):
        row.locator("summary", has_text="More for +14155550126").click()
        row.locator("summary", has_text="Remove").click()
        expect(row.get_by_text("is taken off the list."), f"{width} wide").to_be_visible()
        page.keyboard.press("Escape")
        expect(row.get_by_text("is taken off the list."), f"{width} wide").not_to_be_visible()
        expect(row.locator("summary", has_text="Remove"), f"{width} wide").to_be_visible()
        page.locator("h1").click()
        expect(page.locator(OPEN)).to_have_count(0)


def test_without_javascript_everything_is_there(site: Site, browser: Browser) -> None:
    plain = site.context(browser, "alice", runs_scripts=False)
    page = plain.new_page()
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(site.address + "/scenarios")
    expect(page.get_by_role("link", name="Edit Spring sale")).to_be_visible()
    page.locator("summary", has_text="More for Spring sale").click()
    page.get_by_role("link", name="Delete Spring sale").click()
    expect(page.locator("h1")).to_contain_text("Delete Spring sale")
    plain.close()

"""R13 in a browser: send the old settings, look at the plan, mend the file, apply; at a desk and on a telephone."""

from pathlib import Path

from playwright.sync_api import Browser, Page
from sqlalchemy import update

from router.accounts.models import Project
from tests.browser.accessibility import bring_axe, judge
from tests.browser.pictures import picture
from tests.browser.test_pages import VIEWS, running

HEAD = "number;destination;prefix;selectors;format;type;channel\n"
GOOD = [
    *(f"+1415555200{index};+14155550111;;.phone;(XXX) XXX-XXXX;dynamic;" for index in range(5)),
    *(f"+1415555201{index};+14155550111;;.phone-{index};;static;flyer/print/may" for index in range(2)),
    "+14155552020;sip:sales@pbx.example.com;;.header-phone, .footer-phone;;dynamic;google/cpc",
]
BAD = ["1.4155E+10;+14155550111;;;;;", "+14155552000;+14155550111;;;;;"]


def send(page: Page, lines: list[str]) -> None:
    data = (HEAD + "\n".join(lines)).encode("utf-16")
    page.get_by_label("Table of the old settings").set_input_files(
        files=[{"name": "old numbers.csv", "mimeType": "text/csv", "buffer": data}]
    )
    page.get_by_role("button", name="Show the plan").click()


def look(page: Page, name: str) -> None:
    """Fits at a desk and on a telephone, where it is judged."""
    for width, height, scheme in VIEWS:
        page.set_viewport_size({"width": width, "height": height})
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        picture(page, name, scheme, width)
    judge(page)
    page.set_viewport_size({"width": 1280, "height": 900})


def test_r13_old_settings_are_planned_mended_and_applied_in_a_browser(tmp_path: Path, browser: Browser) -> None:
    with running(tmp_path) as site:
        site.settle()
        context = site.context(browser, "alice")
        bring_axe(context)
        page = context.new_page()
        page.goto(site.address + "/settings/old-settings")
        send(page, GOOD + BAD)
        page.get_by_text("2 lines of old numbers.csv cannot be used").wait_for()
        assert not page.get_by_role("button", name="Apply").is_visible()
        look(page, "/old-settings-refused")
        send(page, GOOD)
        page.locator("summary", has_text="Lines 2 to 6").click()
        look(page, "/old-settings-plan")
        page.get_by_role("button", name="Apply").click()
        page.get_by_text("4 scenarios made, 8 numbers put in.").wait_for()
        look(page, "/old-settings-done")
        page.get_by_role("link", name="flyer/print/may").first.click()
        page.get_by_role("heading", name="flyer/print/may").first.wait_for()
        context.close()


def test_r13_numbers_of_two_readings_are_asked_about_in_a_browser(tmp_path: Path, browser: Browser) -> None:
    with running(tmp_path) as site:
        site.settle()
        with site.server.database.writing() as session:
            session.execute(update(Project).values(country="DE"))
        context = site.context(browser, "alice")
        bring_axe(context)
        page = context.new_page()
        page.goto(site.address + "/settings/old-settings")
        send(page, ["493090182011;436641234567;;.phone;;;", "33612345678;436641234567;;.phone;;;"])
        page.get_by_text("Say first how numbers of old numbers.csv are to be read.").wait_for()
        look(page, "/old-settings-two-readings")
        number = page.get_by_role("group", name="1 number of the column “number”")
        number.get_by_label("They begin with a country code").check()
        destination = page.get_by_role("group", name="2 numbers of the column “destination”")
        destination.get_by_label("They begin with a country code").check()
        page.get_by_role("button", name="Show the plan with this").click()
        page.get_by_role("button", name="Apply").wait_for()
        look(page, "/old-settings-readings-chosen")
        page.get_by_role("button", name="Apply").click()
        page.get_by_text("1 scenario made, 2 numbers put in.").wait_for()
        context.close()

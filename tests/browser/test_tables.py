"""The tables in a real browser: switches that act at once, sorting, filters, and what happens to numbers. Without JavaScript too."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import select, update

from router.accounts.models import Project
from router.scenarios.models import Scenario, TrackingNumber
from tests.browser.accessibility import judge
from tests.browser.pictures import picture
from tests.browser.test_pages import Site, running
from tests.factories import make_rented_number, make_scenario
from tests.people import NOW


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running(tmp_path_factory.mktemp("tables")) as site:
        site.settle()
        yield site


@pytest.fixture(scope="module")
def window(site: Site, browser: Browser) -> Iterator[Page]:
    context = site.context(browser, "alice")
    yield context.new_page()
    context.close()


@pytest.fixture
def page(window: Page) -> Iterator[Page]:
    """The same window for all tests, as wide as a desk."""
    window.set_viewport_size({"width": 1280, "height": 720})
    yield window
    window.unroute_all()


def scenario(site: Site, title: str) -> Scenario:
    with site.server.database.reading() as session:
        return session.scalars(select(Scenario).where(Scenario.title == title)).one()


def number(site: Site, e164: str) -> TrackingNumber:
    with site.server.database.reading() as session:
        return session.scalars(select(TrackingNumber).where(TrackingNumber.e164 == e164)).one()


def change(site: Site, model: Any, condition: Any, **values: Any) -> None:
    with site.server.database.writing() as session:
        session.execute(update(model).where(condition).values(**values))


def test_r3_both_switches_act_at_once_by_keyboard_and_say_what_happened(site: Site, page: Page) -> None:
    change(site, Scenario, Scenario.title == "Spring sale", upkeep_on=False)
    spring, paid = scenario(site, "Spring sale").id, site.server.now() + timedelta(days=4)
    change(site, TrackingNumber, TrackingNumber.scenario_id == spring, paid_until=paid)
    page.goto(site.address + "/scenarios?sort=name")
    status = page.get_by_role("switch", name="Status of Spring sale")
    status.focus()
    page.keyboard.press("Space")
    expect(status).to_have_attribute("aria-checked", "false")
    expect(page.get_by_text("Spring sale is off: nobody is shown its numbers")).to_be_visible()
    assert not scenario(site, "Spring sale").enabled
    page.keyboard.press("Enter")
    expect(page.get_by_text("Spring sale is on: visitors are shown its numbers")).to_be_visible()
    expect(status).to_have_attribute("aria-checked", "true")
    expect(status).to_be_focused()
    upkeep = page.get_by_role("switch", name="Upkeep of Spring sale")
    upkeep.click()
    expect(page.get_by_text("Upkeep of Spring sale is on")).to_be_visible()
    assert (scenario(site, "Spring sale").upkeep_on, scenario(site, "Spring sale").upkeep_began_with) == (True, 4)
    assert page.url.endswith("/scenarios?sort=name"), "nothing was loaded anew"
    judge(page, but="option")
    picture(page, "/switched", "light", 1280)


def test_r4_a_refused_switch_goes_back_with_its_sentence(site: Site, page: Page) -> None:
    with site.server.database.reading() as session:
        balance = session.scalars(select(Project.balance_minor).where(Project.name == "Alice's Shop")).one()
    change(site, Project, Project.name == "Alice's Shop", number_price_minor=balance + 400)
    autumn = Scenario.title == "Autumn, not ready yet"
    change(site, Scenario, autumn, to_buy={"numbers": ["+12015550123"]})
    try:
        for width in (1280, 390):
            page.set_viewport_size({"width": width, "height": 844})
            page.goto(site.address + "/scenarios")
            status = page.get_by_role("switch", name="Status of Autumn, not ready yet")
            status.click()
            expect(page.get_by_role("alert")).to_contain_text("4.00 EUR are missing: top up, then switch on.")
            expect(status).to_have_attribute("aria-checked", "false")
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            picture(page, "/refused", "light", width)
        page.get_by_role("switch", name="Upkeep of Shop window").evaluate("button => button.click()")
        page.route("**/upkeep-switch", lambda route: route.abort())
        upkeep = page.get_by_role("switch", name="Upkeep of Spring sale")
        before = upkeep.get_attribute("aria-checked")
        upkeep.click()
        expect(page.get_by_text("The server did not answer: nothing is changed.")).to_be_visible()
        assert upkeep.get_attribute("aria-checked") == before
    finally:
        change(site, Project, Project.name == "Alice's Shop", number_price_minor=None)
        change(site, Scenario, autumn, to_buy={})


def test_r3_the_table_is_sorted_and_filtered_by_links_that_keep_each_other(site: Site, page: Page) -> None:
    page.goto(site.address + "/scenarios?status=on")
    page.get_by_role("link", name="Calls", exact=True).last.click()
    assert "status=on" in page.url
    assert "sort=-calls" in page.url
    expect(page.get_by_role("columnheader", name="Calls")).to_have_attribute("aria-sort", "descending")
    assert page.locator("tbody .stretched-link").first.inner_text() == "Spring sale"
    page.get_by_role("link", name="Calls", exact=True).last.click()
    expect(page.get_by_role("columnheader", name="Calls")).to_have_attribute("aria-sort", "ascending")
    page.get_by_role("searchbox", name="Name").fill("flyers")
    page.keyboard.press("Enter")
    expect(page.locator("tbody .stretched-link")).to_have_text(["Shop window and flyers"])
    assert "sort=calls" in page.url, "the filter keeps the order"
    page.get_by_role("link", name="2 numbers of Shop window").click()
    assert "Numbers of Shop window and flyers" in page.locator("h1").inner_text()


def test_r5_a_number_is_pinned_at_once_and_ticked_ones_are_moved(site: Site, page: Page) -> None:
    page.goto(site.address + "/numbers?use=free")
    pin = page.get_by_role("switch", name="Pin +14155550127")
    pin.click()
    expect(page.get_by_text("is pinned: the server never gives it back.")).to_be_visible()
    assert number(site, "+14155550127").pinned
    move = page.locator("[data-chosen]").get_by_role("button", name="Move")
    expect(move).to_be_disabled()
    page.get_by_label("+1 415-555-0126").check()
    page.get_by_label("+1 415-555-0127").focus()
    page.keyboard.press("Space")
    expect(page.get_by_text("2 numbers chosen")).to_be_visible()
    picture(page, "/ticked", "light", 1280)
    move.click()
    assert "Move 2 numbers" in page.locator("h1").inner_text()
    page.get_by_label("Where to").select_option("Spring sale")
    page.get_by_role("button", name="Move").click()
    expect(page.get_by_text("2 numbers moved to Spring sale.")).to_be_visible()
    assert number(site, "+14155550126").scenario_id == scenario(site, "Spring sale").id
    page.get_by_role("link", name="Move +14155550126").click()
    page.get_by_role("button", name="Move").click()
    expect(page.get_by_text("1 number taken out")).to_be_visible()
    assert number(site, "+14155550126").scenario_id is None


def test_r5_a_number_is_bought_without_a_scenario_and_its_progress_shown(site: Site, page: Page) -> None:
    page.goto(site.address + "/numbers/buy")
    page.get_by_label("Begins with").fill("201")
    page.get_by_role("button", name="Search").click()
    page.locator("[data-tick]").first.check()
    page.get_by_role("button", name="Buy").click()
    expect(page.get_by_role("heading", name="Buying 1 number")).to_be_visible()
    from router.scenarios.numbers.purchase import advance_due

    while advance_due(site.server, site.server.now()):
        pass
    expect(page.get_by_role("heading", name="1 number bought")).to_be_visible()
    picture(page, "/bought", "light", 1280)
    page.get_by_role("link", name="See the free numbers").click()
    expect(page.get_by_text("+1 201-555-0123")).to_be_visible()


def test_r3_a_duplicate_opens_for_editing(site: Site, page: Page) -> None:
    page.goto(site.address + "/scenarios")
    row = page.get_by_role("row", name="Spring sale")
    row.locator("summary", has_text="More for Spring sale").click()
    row.get_by_role("button", name="Duplicate Spring sale").click()
    expect(page.get_by_text("Spring sale (copy) is made and off.")).to_be_visible()
    with site.server.database.writing() as session:
        copy = session.scalars(select(Scenario).where(Scenario.title == "Spring sale (copy)")).one()
        copy.deleted_at = NOW


@pytest.mark.parametrize("choice", ["Back to the project", "Give"])
def test_r3_delete_asks_what_becomes_of_the_numbers(site: Site, page: Page, choice: str) -> None:
    title, e164 = f"Winter {choice}", "+14155550297" if choice == "Give" else "+14155550298"
    with site.server.database.writing() as session:
        project = session.scalars(select(Project).where(Project.name == "Alice's Shop")).one()
        winter = make_scenario(session, project, 0, title=title)
        make_rented_number(session, project, e164, site.server.now() + timedelta(days=4), winter)
    page.goto(site.address + "/scenarios")
    row = page.get_by_role("row", name=title)
    row.locator("summary", has_text=f"More for {title}").click()
    row.get_by_role("link", name="Delete").click()
    page.get_by_label(choice).check()
    picture(page, f"/delete-{choice[:4]}", "light", 1280)
    page.get_by_role("button", name="Delete the scenario").click()
    gone = "1 number is being given back." if choice == "Give" else "1 number is free again."
    expect(page.get_by_text(f"{title} is deleted. {gone}")).to_be_visible()
    assert (number(site, e164).releasing_at is not None) == (choice == "Give")


def test_switches_pins_and_ticks_work_without_javascript(site: Site, browser: Browser) -> None:
    plain = site.context(browser, "alice", runs_scripts=False)
    page = plain.new_page()
    page.goto(site.address + "/scenarios?sort=name")
    was = scenario(site, "Shop window and flyers").enabled
    page.get_by_role("switch", name="Status of Shop window and flyers").click()
    assert page.url.endswith("/scenarios?sort=name"), "back to the same order"
    assert scenario(site, "Shop window and flyers").enabled is not was
    page.goto(site.address + "/numbers")
    page.get_by_role("switch", name="Pin +14155550124").click()
    assert number(site, "+14155550124").pinned
    page.get_by_label("+1 415-555-0125").check()
    page.locator("[data-chosen]").get_by_role("button", name="Give back").click()
    assert "None of these can be given back." in page.locator("main").inner_text()
    plain.close()


def test_empty_tables_say_what_will_stand_there(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> None:
    from tests.people import create_cast

    with running(tmp_path_factory.mktemp("empty")) as site:
        cast = create_cast(site.server.database)
        site.people = {"alice": cast.alice}
        context = site.context(browser, "alice", "dark")
        page = context.new_page()
        for path, said in (("/scenarios", "Make the first scenario"), ("/numbers", "Buy numbers")):
            page.goto(site.address + path)
            expect(page.get_by_role("link", name=said).last).to_be_visible()
            judge(page)
            picture(page, path + "-empty", "dark", 1280)
        context.close()

"""R13 in the browser: the old page variables and classes, with the tag and the real server together."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page

from router.accounts.models import Project
from router.config import Settings
from router.db import Database
from tests.application import Applications
from tests.browser.real import RealShop, real_shop
from tests.browser.tag_pages import wait_until
from tests.factories import make_number, make_scenario

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)

MOSCOW, SPB, NEW_YORK = "+74951230001", "+78121230002", "+12125550001"
PREFIX = '<script>window.roistatPhonePrefix = {}</script><script async src="{{tag}}"></script>'
BIND = '<script>window.roistatPhonePrefixBind = {"7495": "msk", "+7812": "1", "49": "de"}</script><script async src="{tag}"></script>'
FORMS = """
<p class="roistat-phone">8 (800) 555-35-35</p>
<p class="roistat-phone empty"></p>
<p class="roistat-phone waits">Loading…</p>
<p><a class="roistat-phone roistat-phone-tel" href="tel:+78005553535">+7 800 555-35-35</a></p>
<p><a class="roistat-phone-tel" href="#contact">Call us</a></p>
<p class="apart">+<span class="roistat-phone-country">7</span> (<span class="roistat-phone-region">800</span>)
  <b class="roistat-phone-number">555-35-35</b></p>
<p class="roistat-phone nested"><b class="roistat-phone-country">+7</b> <i class="roistat-phone-number">800 555-35-35</i></p>
<p class="roistat-phonebook">8 (800) 555-35-35</p>
<p class="pages">6 <b>7</b> <i>495</i></p>
<p class="other">8 (800) 555-35-35 <a href="tel:+78005553535">call</a></p>
"""


@pytest.fixture
def shop(applications: Applications, settings: Settings, database: Database) -> Iterator[RealShop]:
    """A project without scenarios."""
    with real_shop(applications, settings, database) as shop:
        with database.writing() as session:
            project = session.get_one(Project, shop.project_id)
            project.country = "RU"
            for e164 in (MOSCOW, SPB, NEW_YORK):
                make_number(session, project, e164)
        yield shop


def when_changed(page: Page, selector: str, text: str) -> None:
    wait_until(page, f"document.querySelector('{selector}').textContent !== '{text}'")


def texts(page: Page, selector: str) -> list[str]:
    return [" ".join(text.split()) for text in page.locator(selector).all_text_contents()]


def test_r13_the_old_classes_show_the_number_and_its_parts(
    shop: RealShop, quick_page: Page, console: list[str]
) -> None:
    before = FORMS
    quick_page.goto(shop.site.put(before, head=PREFIX.format('"7495"')))
    when_changed(quick_page, ".roistat-phone", "8 (800) 555-35-35")
    assert texts(quick_page, "p") == [
        "8 (495) 123-00-01",
        "8 (495) 123-00-01",
        "8 (495) 123-00-01",
        "+7 495 123-00-01",
        "Call us",
        "+7 (495) 123-00-01",
        "+7 495 123-00-01",
        "8 (800) 555-35-35",
        "6 7 495",
        "8 (800) 555-35-35 call",
    ]
    links = quick_page.eval_on_selector_all("a", "links => links.map((link) => link.getAttribute('href'))")
    assert links == [f"tel:{MOSCOW}", f"tel:{MOSCOW}", "tel:+78005553535"]
    quick_page.evaluate("routerTag.restore()")
    wait_until(quick_page, "document.querySelector('.roistat-phone').textContent === '8 (800) 555-35-35'")
    assert texts(quick_page, ".empty, .waits, .apart") == ["", "Loading…", "+7 (800) 555-35-35"]
    links = quick_page.eval_on_selector_all("a", "links => links.map((link) => link.getAttribute('href'))")
    assert links == ["tel:+78005553535", "#contact", "tel:+78005553535"]
    assert console == []


@pytest.mark.parametrize(("prefix", "shown"), [("['49', '1212']", "+1 212-555-0001"), ("7812", "8 (812) 123-00-02")])
def test_r13_the_prefix_of_the_page_limits_the_pool(shop: RealShop, quick_page: Page, prefix: str, shown: str) -> None:
    quick_page.goto(shop.site.put('<p class="roistat-phone-x"></p>', head=PREFIX.format(prefix)))
    when_changed(quick_page, "p", "")
    assert texts(quick_page, "p") == [shown]


def test_r13_a_bound_prefix_fills_the_elements_with_its_suffix(
    shop: RealShop, quick_page: Page, console: list[str]
) -> None:
    classes = ("msk", "1", "de", "other", "number-msk", "region-1", "tel-1")
    own = "+7 800 555-35-35"
    body = "".join(f'<p><a href="tel:+78005553535" class="roistat-phone-{name}">{own}</a></p>' for name in classes)
    quick_page.goto(shop.site.put(body + f'<p class="roistat-phone">{own}</p>', head=BIND))
    when_changed(quick_page, ".roistat-phone", own)
    moscow, spb = "+7 495 123-00-01", "+7 812 123-00-02"
    assert texts(quick_page, "p") == [moscow, spb, own, moscow, "+123-00-01", "+812", own, moscow]
    links = quick_page.eval_on_selector_all("a", "links => links.map((link) => link.getAttribute('href').slice(4))")
    assert links == [MOSCOW, SPB, "+78005553535", MOSCOW, MOSCOW, SPB, SPB]
    with quick_page.expect_response("**/alive") as answer:
        quick_page.wait_for_timeout(550)
        quick_page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    assert answer.value.status == 204
    assert texts(quick_page, "p")[0] == moscow
    assert console == []


def test_r13_junk_in_the_old_variables_costs_no_page_its_number(shop: RealShop, quick_page: Page) -> None:
    for junk in ("null", "{}", "[[], {}]", "() => 1", "Symbol()", "[1n]"):
        head = PREFIX.format(f"{junk}; window.roistatPhonePrefixBind = {{1: {junk}, x: 'y'}}")
        quick_page.goto(shop.site.put('<p class="roistat-phone"></p>', head=head))
        when_changed(quick_page, "p", "")


def test_r13_with_a_scenario_in_the_project_the_old_classes_are_silent(
    shop: RealShop, database: Database, quick_page: Page, console: list[str]
) -> None:
    with database.writing() as session:
        project = session.get_one(Project, shop.project_id)
        make_scenario(session, project, ["+12125550009"], tagging={"selectors": [".phone"]})
    own = "8 (800) 555-35-35"
    quick_page.goto(shop.site.put(f'<p class="roistat-phone">{own}</p><p class="phone">{own}</p>', head=BIND))
    when_changed(quick_page, ".phone", own)
    assert texts(quick_page, "p") == [own, "+1 212-555-0009"]
    assert console == []

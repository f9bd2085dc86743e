"""What the tag says about where numbers really stand, and what happens to those that stand nowhere (R6, R8)."""

from playwright.sync_api import Page

from tests.browser.stub import Site, Stub, number
from tests.browser.tag_pages import (
    LENT,
    PAGE,
    alive_within,
    open_page,
    seconds_pass,
    settle,
    text_of,
    wait_until,
    wait_until_shown,
)

MODAL = "document.body.append(Object.assign(document.createElement('p'), {{id: '{}', textContent: '212-555-0000'}}))"


def two_numbers(stub: Stub) -> None:
    stub.numbers = [number(1, selectors=["#p"]), number(2, "+12125550199", selectors=["#modal"])]


def test_r8_what_stands_on_the_page_is_told_with_the_next_sign_of_life(
    timed_page: Page, stub: Stub, site: Site
) -> None:
    stub.numbers = [number(1, selectors=["#p"]), number(2, "+12125550199", replace=["2125550000"])]
    timed_page.goto(site.put(PAGE + '<a href="tel:2125550000">Call us</a>'))
    wait_until_shown(timed_page, LENT)
    seconds_pass(timed_page, 40)
    assert stub.of("/alive") == []
    assert alive_within(timed_page, 6) == {"shown": [1, 2]}
    assert alive_within(timed_page, 46) == {}


def test_r8_a_page_that_is_left_early_tells_it_on_leaving(quick_page: Page, stub: Stub, site: Site) -> None:
    quick_page.goto(site.put(PAGE))
    wait_until_shown(quick_page, LENT)
    quick_page.goto(site.put("<p>next</p>", "/next", head=""))
    assert stub.wait_for("/left")[0].body == {"shown": [1]}


def test_r8_a_page_that_is_left_before_a_number_found_its_place_says_what_it_showed(
    quick_page: Page, stub: Stub, site: Site
) -> None:
    two_numbers(stub)
    quick_page.goto(site.put(PAGE))
    wait_until_shown(quick_page, LENT)
    quick_page.goto(site.put("<p>next</p>", "/next", head=""))
    assert stub.of("/alive") == []
    assert stub.wait_for("/left")[0].body == {"shown": [1]}


def test_r6_a_number_without_a_place_is_given_back_soon_and_asked_for_when_its_place_appears(
    timed_page: Page, stub: Stub, site: Site, console: list[str]
) -> None:
    two_numbers(stub)
    open_page(timed_page, site)
    stub.alive_numbers, stub.alive_withdrawn = [], [2]
    assert alive_within(timed_page, 4) == {"shown": [1]}
    wait_until(timed_page, "routerTag.numbers.map((one) => one.scenario).join() === '1'")
    assert len(stub.of("/visits")) == 1
    stub.numbers[1] = number(2, "+12125550188", selectors=["#modal"])  # the other one may be somebody else's by now
    timed_page.evaluate(MODAL.format("modal"))
    wait_until(timed_page, "document.querySelector('#modal').textContent === '212-555-0188'")
    assert len(stub.of("/visits")) == 2
    assert text_of(timed_page) == LENT
    stub.alive_numbers, stub.alive_withdrawn = None, None
    assert alive_within(timed_page, 50) == {"shown": [1, 2]}
    assert console == []


def test_r6_a_number_that_was_given_back_is_never_shown(timed_page: Page, stub: Stub, site: Site) -> None:
    two_numbers(stub)
    open_page(timed_page, site)
    stub.alive_numbers, stub.alive_withdrawn = [], [2]
    alive_within(timed_page, 4)
    wait_until(timed_page, "routerTag.numbers.length === 1")
    stub.numbers = stub.numbers[:1]  # there is none for it any more
    timed_page.evaluate(MODAL.format("modal"))
    stub.wait_for("/visits", 2)
    timed_page.wait_for_timeout(60)
    assert text_of(timed_page, "#modal") == "212-555-0000"
    timed_page.evaluate("document.querySelector('#modal').textContent = 'Call 212-555-0000'")
    timed_page.wait_for_timeout(60)
    assert len(stub.of("/visits")) == 2


def test_r6_a_page_without_a_place_for_a_number_that_its_visit_keeps_says_so_once(
    timed_page: Page, stub: Stub, site: Site
) -> None:
    """Another page of the visit shows it."""
    two_numbers(stub)
    open_page(timed_page, site)
    assert alive_within(timed_page, 4) == {"shown": [1]}
    said = len(stub.of("/alive"))
    for _ in range(10):
        seconds_pass(timed_page, 3)
        settle(timed_page)
    assert len(stub.of("/alive")) <= said + 1  # the clock ran on before the first one was answered

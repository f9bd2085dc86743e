"""The tag and the real server, all the way: consent that comes later, numbers that stand nowhere, the site's own address."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route
from sqlalchemy import select

from router.accounts.models import Project
from router.attribution.models import Lease, PoolNumber, Visit
from router.config import Settings
from router.db import LONG_AGO, Database
from tests.application import Applications
from tests.browser.real import RealShop, real_shop
from tests.browser.tag_pages import text_of, wait_until
from tests.factories import make_scenario

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)

OWN = "+1 (415) 555-2671"
PAGE = f'<p class="phone">{OWN}</p>'


@pytest.fixture
def shop(applications: Applications, settings: Settings, database: Database) -> Iterator[RealShop]:
    """A company's page with two tracking numbers, and a third one for pages that have a place for it."""
    with real_shop(applications, settings, database) as shop:
        with database.writing() as session:
            project = session.get_one(Project, shop.project_id)
            make_scenario(session, project, ["+12125550001", "+12125550002"], tagging={"selectors": [".phone"]})
            make_scenario(session, project, ["+12125550009"], tagging={"selectors": [".sales"]})
        yield shop


def change(shop: RealShop, **values: Any) -> None:
    with shop.database.writing() as session:
        project = session.get_one(Project, shop.project_id)
        for name, value in values.items():
            setattr(project, name, value)


def shown(page: Page, selector: str = ".phone") -> str:
    wait_until(page, f"document.querySelector('{selector}').textContent !== '{OWN}'")
    return text_of(page, selector)


def until(found: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 8
    while not (value := found()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return value


def visits(shop: RealShop) -> list[Visit]:
    with shop.database.reading() as session:
        return list(session.scalars(select(Visit).order_by(Visit.number)))


def leases(shop: RealShop) -> dict[int, Lease]:
    """The newest of each number's."""
    with shop.database.reading() as session:
        return {one.number_id: one for one in session.scalars(select(Lease).order_by(Lease.turn))}


def test_r14_consent_given_later_makes_the_same_visit_whole_and_keeps_its_number(
    shop: RealShop, quick_page: Page, console: list[str]
) -> None:
    change(shop, consent="limited")
    quick_page.goto(shop.site.put(PAGE) + "?gclid=Cj0K&utm_campaign=spring")
    number = shown(quick_page)
    [visit] = visits(shop)
    assert (visit.limited, visit.source, visit.medium, visit.click_ids) == (True, "google", "cpc", {})
    assert "Cj0K" not in visit.page
    assert quick_page.context.cookies() == []
    quick_page.evaluate("routerTag.consent('full')")
    assert until(lambda: visits(shop)[0].click_ids) == {"gclid": "Cj0K"}
    [visit] = visits(shop)
    assert (visit.limited, visit.number, text_of(quick_page, ".phone")) == (
        False,
        quick_page.evaluate("routerTag.visit"),
        number,
    )
    wait_until(quick_page, "document.cookie")
    quick_page.reload()
    assert shown(quick_page) == number
    quick_page.wait_for_timeout(100)
    assert len(visits(shop)) == 1
    quick_page.evaluate("routerTag.consent('limited')")
    assert until(lambda: visits(shop)[0].limited) is True
    assert (visits(shop)[0].click_ids, quick_page.context.cookies()) == ({}, [])
    assert console == []


def test_r6_r8_a_number_that_stands_nowhere_is_free_again_and_comes_back_when_there_is_a_place(
    shop: RealShop, quick_page: Page, console: list[str]
) -> None:
    quick_page.goto(shop.site.put(PAGE))
    shown(quick_page)
    returned = until(lambda: [one for one in leases(shop).values() if one.returned_at])
    assert [one.scenario_id for one in returned] == [max(one.scenario_id for one in leases(shop).values())]
    assert [one.shown_at is not None for one in leases(shop).values() if not one.returned_at] == [True]
    with shop.database.reading() as session:
        row = session.get_one(PoolNumber, returned[0].number_id)
        assert (row.last_sign_at, row.visitor) == (LONG_AGO, "")
    quick_page.evaluate(
        "document.body.append(Object.assign(document.createElement('b'), {className: 'sales', textContent: '+1 (415) 555-2671'}))"
    )
    assert shown(quick_page, ".sales") == "+1 (212) 555-0009"
    assert len(visits(shop)) == 1
    assert console == []


def test_from_the_sites_own_address_the_server_sets_the_cookie_and_no_script_does(
    shop: RealShop, browser: Browser
) -> None:
    port = shop.site.tag.split(":")[2].split("/")[0]
    own = f"http://calls.shop.example:{port}"
    change(shop, site=[f"shop.example:{shop.site.port}"], tag_address=own)
    shop.site.put(PAGE, head=f'<script async src="{own}/tag/k-shop.js"></script>')
    with browser.new_context() as context:
        page = context.new_page()
        page.add_init_script(
            "const own = Object.getOwnPropertyDescriptor(Document.prototype, 'cookie');"
            "Object.defineProperty(Document.prototype, 'cookie', {get: own.get, set() { window.written = true; }});"
        )
        page.goto(f"http://www.shop.example:{shop.site.port}/")
        number = shown(page)
        [cookie] = context.cookies()
        assert (cookie["name"], cookie["domain"]) == ("router_visitor_k-shop", ".shop.example")
        assert (cookie["sameSite"], cookie["httpOnly"]) == ("Lax", False)
        assert 399 < (cookie["expires"] - time.time()) / 86400 <= 400
        assert page.evaluate("window.written") is None
        page.evaluate("localStorage.clear()")
        page.reload()
        assert shown(page) == number
    assert [one.visitor for one in visits(shop)] == [cookie["value"]]


def test_through_a_path_of_the_site_page_tag_and_cookie_are_of_one_origin(shop: RealShop, page: Page) -> None:
    """As nginx hands `/calls/tag/` on to this server."""
    server = shop.site.tag.partition("/tag/")[0]
    own = f"http://www.shop.example:{shop.site.port}/calls"
    change(shop, site=[f"shop.example:{shop.site.port}"], tag_address=own)
    shop.site.put(PAGE, head=f'<script async src="{own}/tag/k-shop.js"></script>')
    passed: list[str] = []

    def hand_on(route: Route) -> None:
        path = route.request.url.partition("/calls")[2]
        passed.append(path.split("/")[-1])
        route.fulfill(response=route.fetch(url=server + path))

    page.route("**/calls/tag/**", hand_on)
    page.goto(f"http://www.shop.example:{shop.site.port}/")
    assert shown(page).startswith("+1 (212) 555-000")
    assert page.context.cookies()[0]["domain"] == ".shop.example"
    page.goto("about:blank")
    page.unroute_all(behavior="wait")  # the page says that it was left
    assert passed[:2] == ["k-shop.js", "visits"]
    [visit] = visits(shop)
    assert visit.page == f"http://www.shop.example:{shop.site.port}/"

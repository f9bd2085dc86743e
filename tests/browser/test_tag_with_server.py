"""The tag and the real server together: what one asks is what the other answers."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page
from sqlalchemy import select

from router.accounts.models import Project
from router.attribution.models import Lease, Visit
from router.config import Settings
from router.db import Database
from tests.application import Applications
from tests.browser.real import RealShop, real_shop
from tests.browser.tag_pages import text_of, wait_until
from tests.factories import make_scenario

OWN = "+1 (415) 555-2671"


@pytest.fixture
def shop(applications: Applications, settings: Settings, database: Database) -> Iterator[RealShop]:
    """A company's page on one origin, the application on another, with two tracking numbers."""
    with real_shop(applications, settings, database) as shop:
        with database.writing() as session:
            project = session.get_one(Project, shop.project_id)
            make_scenario(session, project, ["+12125550001", "+12125550002"], tagging={"selectors": [".phone"]})
        yield shop


def shown_number(page: Page) -> str:
    wait_until(page, f"document.querySelector('.phone').textContent !== '{OWN}'")
    return text_of(page, ".phone")


def test_each_visitor_is_shown_a_number_of_his_own_and_keeps_it(
    shop: RealShop, quick_page: Page, browser: Browser, console: list[str]
) -> None:
    shop.site.headers |= {
        "Cache-Control": "public, max-age=86400",
        "Age": "80000",
    }  # out of a cache, the same for everybody
    address = shop.site.put(f'<p class="phone">{OWN}</p>') + "?utm_source=google&utm_medium=cpc&utm_campaign=spring"
    quick_page.context.add_cookies([{"name": "_ga", "value": "GA1.1.11.22", "url": address}])
    quick_page.goto(address)
    first = shown_number(quick_page)
    assert first in ("+1 (212) 555-0001", "+1 (212) 555-0002")
    with quick_page.expect_response("**/alive") as answer:
        quick_page.wait_for_timeout(500)
        quick_page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    assert answer.value.status == 204
    quick_page.reload()
    assert shown_number(quick_page) == first
    other = browser.new_context()
    other_page = other.new_page()
    other_page.goto(address)
    assert shown_number(other_page) not in (first, OWN)
    other.close()
    with shop.database.reading() as session:
        visits = session.scalars(select(Visit).order_by(Visit.number)).all()
        leases = session.scalars(select(Lease)).all()
    assert [(visit.number, visit.source, visit.campaign) for visit in visits] == [
        (10001, "google", "spring"),
        (10002, "google", "spring"),
    ]
    assert visits[0].ga == {"client_id": "11.22"}
    assert len(leases) == 2
    assert console == []

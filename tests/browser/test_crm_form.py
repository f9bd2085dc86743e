"""Connecting a CRM in a real browser: address and key, *Check connection*, what there is to choose from, a filled preview, a test lead."""

import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from wsgiref.simple_server import WSGIServer, make_server

import pytest
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import delete

from router.demo.odoo import OdooFake
from router.scenarios.models import ScenarioDraft
from tests.browser.accessibility import judge
from tests.browser.pictures import picture
from tests.browser.test_pages import Site, running
from tests.integrations.odoo import LOOPBACK, Quiet


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running(tmp_path_factory.mktemp("crm")) as site:
        site.settle()
        site.server.settings = site.server.settings.model_copy(update={"allow_private": LOOPBACK})
        yield site


@pytest.fixture(scope="module")
def odoo() -> Iterator[tuple[OdooFake, str]]:
    fake = OdooFake("crmtest", "the-key")
    with make_server("127.0.0.1", 0, fake, WSGIServer, Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield fake, f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def no_drafts_before(site: Site) -> None:
    with site.server.database.writing() as session:
        session.execute(delete(ScenarioDraft))


def press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_r2_a_crm_is_connected_with_what_it_has_to_choose_from(
    site: Site, browser: Browser, odoo: tuple[OdooFake, str], scheme: Any, width: int
) -> None:
    fake, address = odoo
    with closing(site.context(browser, "alice", scheme)) as context:
        page = context.new_page()
        page.set_viewport_size({"width": width, "height": 900})
        page.goto(f"{site.address}/scenarios/{site.ids['scenario_id']}/integrations")
        slot = page.locator("details.slot", has_text="CRM").last
        if slot.get_attribute("open") is None:
            slot.locator("summary").click()

        def typed(label: str, value: str) -> None:
            slot.get_by_label(label).first.fill(value)

        typed("Address", address)
        typed("Database", "crmtest")
        typed("API key", "wrong")
        press(page, "Check connection")
        expect(page.locator("#summary")).to_contain_text("Invalid apikey")
        typed("API key", "the-key")
        press(page, "Check connection")
        expect(page.get_by_text("Connected to crmtest")).to_be_visible()
        expect(slot.get_by_text("Nobody and no team is chosen")).to_be_visible()
        page.get_by_label("Responsible for new leads").select_option("admin")
        page.get_by_label("Sales team").select_option(label="Sales")
        typed("Fields of the lead", "contact_name = Caller from {utmSource}\nwebsite = {landingPage}")
        press(page, "Check connection")
        expect(page.get_by_text("This key may do all that a call needs")).to_be_visible()
        expect(page.locator("dl.facts", has_text="contact_name")).to_contain_text("Caller from")
        judge(page)
        picture(page, "crm-form", scheme, width)
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, "no horizontal scroll bar"
        before = len(fake.leads())
        press(page, "Send a test lead")
        expect(page.get_by_text("A test lead was made")).to_be_visible()
        assert len(fake.leads()) == before + 1
        press(page, "Make fields in the CRM")
        expect(page.get_by_text("This key may not make fields")).to_be_visible()
        picture(page, "crm-form-fields", scheme, width)

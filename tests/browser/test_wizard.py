"""The wizard in a real browser (R2): from an empty name to a scenario that is on, and nothing typed is ever lost on the way."""

import re
from collections.abc import Iterator
from contextlib import closing
from typing import Literal

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect
from sqlalchemy import select

from router.accounts.ledger import Post, post
from router.accounts.models import Person, Project
from router.scenarios.models import Scenario, ScenarioDraft, TrackingNumber
from router.scenarios.numbers.purchase import advance_due
from tests.browser.accessibility import judge
from tests.browser.console import complaints_of
from tests.browser.pictures import picture
from tests.browser.test_pages import Site, running
from tests.factories import make_member
from tests.people import NOW

NAME, LINE = "Winter tyres", "+1 212 555 0188"
SAMPLE = '<a class="phone" href="tel:+14155550100">(415) 555-0100</a><script>window.ran = 1</script><img src=x onerror="window.ran = 1">'


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running(tmp_path_factory.mktemp("wizard")) as site:
        site.settle()
        with site.server.database.writing() as session:
            session.delete(session.get_one(ScenarioDraft, site.ids["draft_id"]))
            project = session.get_one(Project, site.ids["project_id"])
            project.number_price_minor = 150
            post(session, project.id, Post(-project.balance_minor, "spent", "olivia@example.net"), NOW)
        yield site


@pytest.fixture(scope="module")
def window(site: Site, browser: Browser) -> Iterator[Page]:
    with closing(site.context(browser, "alice")) as context:
        yield context.new_page()


@pytest.fixture
def alice(window: Page) -> Iterator[Page]:
    """The same window for all tests, as wide as a desk; it is empty at the end, so that nothing of one reaches the next."""
    window.set_viewport_size({"width": 1280, "height": 720})
    window.emulate_media(color_scheme="light", reduced_motion="reduce")
    with complaints_of(window) as complaints:
        yield window
        window.goto("about:blank")
    assert [one for one in complaints if "409" not in one and "422" not in one] == []


@pytest.fixture(autouse=True)
def no_drafts_before(site: Site) -> None:
    with site.server.database.writing() as session:
        for draft in session.scalars(select(ScenarioDraft)):
            session.delete(draft)


def press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def jump(page: Page, step: str) -> None:
    page.locator("#steps").get_by_role("button", name=step).click()


def heading(page: Page, step: str) -> None:
    expect(page.locator("h2").first).to_contain_text(step)


def begin(site: Site, page: Page) -> None:
    page.goto(f"{site.address}/scenarios")
    page.get_by_role("link", name="New scenario").click()
    heading(page, "Step 1 of 6 Numbers")


def readable(page: Page) -> None:
    judge(page, but="option")


def balance(site: Site, minor: int, reason: str) -> None:
    with site.server.database.writing() as session:
        post(session, site.ids["project_id"], Post(minor, reason, "olivia@example.net"), site.server.now())


def scenario(site: Site, title: str) -> Scenario:
    with site.server.database.reading() as session:
        return session.scalars(select(Scenario).where(Scenario.title == title)).one()


def the_carrier_works(site: Site) -> None:
    for _ in range(5):
        advance_due(site.server, site.server.now())


def test_r2_the_wizard_from_start_to_finish(site: Site, alice: Page) -> None:
    page = alice
    begin(site, page)
    page.get_by_label("Name").fill(NAME)
    page.locator("#numbers input").first.check()
    page.get_by_label("Area code").fill("415")
    page.get_by_label("Area code").press("Enter")
    offers = page.locator("#offers input[type=checkbox]")
    expect(offers.nth(1)).to_be_visible()
    offers.nth(0).check()
    offers.nth(1).check()
    expect(page.locator("#preview")).to_contain_text("3.00 EUR")
    expect(page.locator("#kept")).to_contain_text("Draft kept today")
    press(page, "Continue")

    heading(page, "Forwarding")
    page.get_by_label("First ring").fill(LINE)
    press(page, "Add a destination")
    page.get_by_label("Then ring").last.fill("sip:desk@pbx.example.com")
    expect(page.locator("#preview")).to_contain_text("sip:desk@pbx.example.com rings for 20 s")
    press(page, "Continue")

    heading(page, "Tagging")
    page.get_by_label("Elements to fill").fill(".phone\n.absent")
    page.get_by_label("Display format").fill("(XXX) XXX-XXXX")
    page.get_by_label("Try it on your page").fill(SAMPLE)
    expect(page.locator("#preview output").first).to_have_text("(415) 555-0126")
    expect(page.locator("#trial")).to_contain_text("(415) 555-0100 → (415) 555-0126")
    expect(page.locator("#trial")).to_contain_text("matches nothing")
    assert page.evaluate("window.ran") is None, "what was pasted is read and never run"
    press(page, "Continue")

    heading(page, "Channels")
    page.get_by_label("Source").first.fill("flyer")
    page.get_by_label("gets").first.select_option(label="+1 415-555-0126")
    expect(page.locator("#preview")).to_contain_text("always +1 415-555-0126")
    press(page, "Continue")
    heading(page, "Integrations")
    press(page, "Back")
    expect(page.get_by_label("Source").first).to_have_value("flyer")
    jump(page, "Forwarding")
    expect(page.get_by_label("First ring")).to_have_value(LINE)
    expect(page.get_by_label("Then ring").last).to_have_value("sip:desk@pbx.example.com")
    jump(page, "Integrations")
    page.get_by_text("Webhook at the end of a call").click()
    page.locator("[id='integrations.webhook_end.url']").fill("https://hooks.example.com/calls")
    page.locator("[id='integrations.webhook_end.secret']").fill("whsec_" + "c2VjcmV0" * 6)
    press(page, "Continue")
    heading(page, "Terms")
    page.get_by_label("Not on these pages").fill("/jobs/*")
    expect(page.locator("#preview")).to_contain_text("no visits that begin on /jobs/*")
    press(page, "Save and enable")

    expect(page.locator("h1")).to_have_text(f"Enable {NAME}")
    expect(page.get_by_label("What it costs")).to_contain_text("3.00 EUR")
    expect(page.get_by_text("3.00 EUR are missing")).to_be_visible()
    assert page.get_by_role("button", name="Connect").count() == 0, "too little money: it is not offered"
    assert not scenario(site, NAME).enabled
    readable(page)
    picture(page, "/review-too-little", "light", 1280)
    balance(site, 1000, "topup:wizard")
    page.reload()
    expect(page.get_by_label("What it costs")).to_contain_text("7.00 EUR")
    picture(page, "/review", "light", 1280)
    press(page, "Connect")

    expect(page.locator("h1")).to_contain_text("Buying 2 numbers")
    page.reload()
    expect(page.locator("h1")).to_contain_text("Buying 2 numbers")
    the_carrier_works(site)
    expect(page.locator("h1")).to_have_text("2 numbers bought")
    picture(page, "/bought", "light", 1280)
    made = scenario(site, NAME)
    assert made.enabled
    with site.server.database.reading() as session:
        numbers = session.scalars(select(TrackingNumber).where(TrackingNumber.scenario_id == made.id)).all()
    assert sorted(one.owned_elsewhere for one in numbers) == [False, False, True]
    assert made.terms["excluded_landing_pages"] == ["/jobs/*"]


def test_r2_a_closed_browser_loses_nothing(site: Site, browser: Browser) -> None:
    first = site.context(browser, "alice")
    page = first.new_page()
    begin(site, page)
    page.get_by_label("Name").fill("Left alone")
    page.get_by_text("Bring your own numbers").click()
    page.get_by_label("Numbers that you rent elsewhere").fill("+44 20 7946 0777")
    press(page, "Continue")
    page.get_by_label("First ring").fill("+1 415 555 01")  # half a number
    expect(page.locator("#kept")).to_contain_text("Draft kept")
    expect(page.locator("#preview")).to_contain_text("is not a valid phone number")
    first.close()

    second = site.context(browser, "alice")
    page = second.new_page()
    page.goto(f"{site.address}/scenarios")
    expect(page.get_by_label("Unfinished")).to_contain_text("Left alone, step 2 of 6")
    page.get_by_label("Unfinished").get_by_role("link", name="Continue").click()
    expect(page.get_by_label("First ring")).to_have_value("+1 415 555 01")
    jump(page, "Numbers")
    expect(page.get_by_label("Numbers that you rent elsewhere")).to_have_value("+44 20 7946 0777")
    page.get_by_label("Name").fill("Left at once")
    page.goto(f"{site.address}/scenarios")  # nothing was pressed, and not half a second went by
    for _ in range(20):
        if "Left at once" in page.content():
            break
        page.reload()
    expect(page.get_by_label("Unfinished")).to_contain_text("Left at once")
    page.get_by_label("Unfinished").get_by_text("Discard", exact=True).click()
    press(page, "Discard it")
    expect(page.get_by_text("The draft Left at once is discarded.")).to_be_visible()
    second.close()


def admin(site: Site, browser: Browser) -> BrowserContext:
    """Bob as an admin."""
    with site.server.database.writing() as session:
        bob = session.scalars(select(Person).where(Person.email == "bob@example.com")).one()
        make_member(session, session.get_one(Project, site.ids["project_id"]), bob, "admin")
    site.people["bob"] = bob
    return site.context(browser, "bob")


def test_r2_two_admins_edit_one_scenario_at_once_and_the_second_is_told(
    site: Site, alice: Page, browser: Browser
) -> None:
    context = admin(site, browser)
    bob = context.new_page()
    address = f"{site.address}/scenarios/{site.ids['scenario_id']}/tagging"
    alice.goto(address)
    bob.goto(address)
    bob.get_by_label("Display format").fill("(XXX) XXX-XXXX")
    press(bob, "Apply")
    expect(bob.get_by_text("is stored as you see it")).to_be_visible()
    alice.get_by_label("Elements to fill").fill(".alice")
    press(alice, "Apply")
    expect(alice.get_by_text("bob@example.com changed this scenario")).to_be_visible()
    expect(alice.get_by_label("Elements to fill")).to_have_value(".alice")
    readable(alice)
    picture(alice, "/conflict", "light", 1280)
    alice.get_by_role("link", name="See what is stored").click()
    expect(alice.get_by_label("Display format")).to_have_value("(XXX) XXX-XXXX")
    alice.get_by_role("link", name="Back to your draft").click()
    press(alice, "Apply mine over it")
    expect(alice.get_by_text("is stored as you see it")).to_be_visible()
    assert scenario(site, "Spring sale").tagging["selectors"] == [".alice"]
    context.close()


def test_r2_errors_stand_at_their_fields_and_the_first_has_the_focus(site: Site, alice: Page) -> None:
    page = alice
    begin(site, page)
    page.get_by_label("Name").fill("Wrong")
    press(page, "Continue")
    page.get_by_label("First ring").fill("nowhere")
    press(page, "Continue")
    field = page.get_by_label("First ring")
    expect(field).to_be_focused()
    expect(field).to_have_attribute("aria-invalid", "true")
    described = field.get_attribute("aria-describedby")
    expect(page.locator(f"[id='{described}']")).to_contain_text("is not a phone number")
    page.locator("#summary").get_by_role("link").click()
    expect(field).to_be_focused()
    readable(page)
    picture(page, "/error", "light", 1280)


# From the element on that is looked for, Tab leads no further: many can be pressed before the page is asked.
HALT = """(name) => {
    window.halt?.abort();
    window.halt = new AbortController();
    window.reached = false;
    const said = (one) => [one.labels?.[0]?.textContent, one.getAttribute('aria-label'), one.textContent].filter(Boolean).join('|');
    const {signal} = halt;
    addEventListener('focusin', ({target}) => { reached = said(target).includes(name); }, {signal});
    addEventListener('keydown', (event) => { if (event.key === 'Tab' && reached) event.preventDefault(); }, {capture: true, signal});
}"""


def reach(page: Page, name: str) -> None:
    """Tab until the element with this accessible name or label has the focus."""
    page.evaluate(HALT, name)
    for _ in range(24):
        for _ in range(5):
            page.keyboard.press("Tab")
        if page.evaluate("reached"):
            return
    raise AssertionError(f"the keyboard does not reach {name}")


def test_r2_the_keyboard_alone_walks_the_wizard(site: Site, alice: Page) -> None:
    page = alice
    page.goto(f"{site.address}/scenarios")
    reach(page, "New scenario")
    page.keyboard.press("Enter")
    page.wait_for_url("**/numbers")
    reach(page, "Name")
    page.keyboard.type("By keys")
    reach(page, "415-555-0127")
    page.keyboard.press("Space")
    reach(page, "Continue")
    page.keyboard.press("Enter")
    page.wait_for_url("**/forwarding")
    reach(page, "First ring")
    page.keyboard.type(LINE)
    reach(page, "Add a destination")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Then ring").last).to_be_focused()
    page.keyboard.type("+1 212 555 0189")
    reach(page, "Continue")
    page.keyboard.press("Enter")
    page.wait_for_url("**/tagging")
    reach(page, "Elements to fill")
    page.keyboard.type(".phone")
    for following in ("channels", "integrations", "terms"):
        reach(page, "Continue")
        page.keyboard.press("Enter")
        page.wait_for_url(f"**/{following}")
    reach(page, "Save")
    page.keyboard.press("Enter")
    page.wait_for_url("**/scenarios")
    expect(page.get_by_text("By keys is stored and off")).to_be_visible()


def test_r2_the_keyboard_alone_composes_a_flow_on_a_telephone_and_plays_it(site: Site, alice: Page) -> None:
    page = alice
    page.emulate_media(color_scheme="dark")
    page.set_viewport_size({"width": 390, "height": 844})
    begin(site, page)
    page.get_by_label("Name").fill("By keys")
    press(page, "Continue")
    page.wait_for_url("**/forwarding")
    reach(page, "First ring")
    page.keyboard.type(LINE)
    reach(page, "Add a step to the flow")
    page.keyboard.press("Enter")
    reach(page, "Opening hours")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Mon", exact=True)).to_be_focused()
    expect(page.get_by_label("Line, row 1")).to_have_value(LINE)
    reach(page, "Add a step when any other time")
    page.keyboard.press("Enter")
    reach(page, "Voicemail")
    page.keyboard.press("Enter")
    expect(page.get_by_label("What callers hear before the tone")).to_be_focused()
    page.keyboard.type("We are closed.")
    expect(page.get_by_role("img", name="Picture of the call flow")).to_contain_text("“We are closed.”")
    readable(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    picture(page, "/forwarding-flow", "dark", 390)
    reach(page, "Mail the message to")
    page.keyboard.type("nobody")
    reach(page, "Continue")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Mail the message to")).to_be_focused()
    expect(page.locator("#summary")).to_contain_text("is not an e-mail address")
    page.keyboard.press("End")
    page.keyboard.type("@example.com")
    reach(page, "Play this flow")
    page.keyboard.press("Enter")
    page.get_by_label("Time").fill("2026-06-01T10:00")
    reach(page, "Play")
    page.keyboard.press("Enter")
    expect(page.get_by_role("list").filter(has_text="dials")).to_contain_text("rings for 20 s")
    reach(page, "answers")
    page.keyboard.press("Enter")
    expect(page.get_by_text("They talk.")).to_be_visible()
    readable(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    picture(page, "/play", "dark", 390)


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_r2_the_keyboard_alone_confirms_a_destination_that_costs_more(
    site: Site, alice: Page, scheme: Literal["light", "dark"], width: int
) -> None:
    page = alice
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 844})
    begin(site, page)
    page.get_by_label("Name").fill("Dear")
    press(page, "Continue")
    page.wait_for_url("**/forwarding")
    box = page.get_by_label("Forward calls there all the same, row 1")
    reach(page, "First ring")
    page.keyboard.type("+1 900 234 5678")
    expect(box).to_be_visible()
    reach(page, "for seconds")
    page.keyboard.type("35")
    expect(page.locator("#preview")).to_contain_text("the line's own voicemail may answer before anybody does")
    reach(page, "Continue")
    page.keyboard.press("Enter")
    expect(page.locator("#summary")).to_contain_text("Tick the box")
    expect(box).to_be_focused()
    expect(box).to_have_accessible_description(
        re.compile("is a premium-rate number: .* Calls to this number cost more. Tick the box")
    )
    expect(box).to_have_attribute("aria-invalid", "true")
    readable(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    picture(page, "/forwarding-dear", scheme, width)
    page.keyboard.press("Space")
    expect(page.locator("#kept")).to_contain_text("Draft kept today")
    reach(page, "Continue")
    page.keyboard.press("Enter")
    page.wait_for_url("**/tagging")
    page.goto(page.url.replace("/tagging", "/forwarding"))
    expect(box).to_be_checked()
    readable(page)
    picture(page, "/forwarding-confirmed", scheme, width)
    page.get_by_label("First ring").fill("+1 900 234 5679")
    expect(box).not_to_be_checked()
    page.get_by_label("First ring").fill(LINE)
    expect(box).to_have_count(0)


def test_r2_the_wizard_works_without_javascript(site: Site, browser: Browser) -> None:
    context = site.context(browser, "alice", runs_scripts=False)
    page = context.new_page()
    begin(site, page)
    page.get_by_label("Name").fill("Plain")
    page.get_by_label("Area code").fill("415")
    press(page, "Search")
    page.locator("#offers input").first.check()
    press(page, "Continue")
    page.get_by_label("First ring").fill(LINE)
    page.get_by_role("button", name="Add a destination").press("Enter")
    expect(page.get_by_label("Then ring").last).to_be_focused()
    page.keyboard.type("+1 212 555 0189")
    page.get_by_role("button", name="Up destination 3").press("Enter")
    expect(page.get_by_label("Then ring").first).to_be_focused()
    expect(page.get_by_label("Then ring").first).to_have_value("+1 212 555 0189")
    page.locator(".add-step summary").press("Enter")
    page.get_by_role("button", name="Say A text").press("Enter")
    expect(page.get_by_label("What callers hear")).to_be_focused()
    page.get_by_role("button", name="Remove step 1", exact=True).press("Enter")
    press(page, "Continue")
    jump(page, "Numbers")
    expect(page.locator("#offers input").first).to_be_checked()
    jump(page, "Tagging")
    press(page, "Save and enable")
    expect(page.locator("h1")).to_have_text("Enable Plain")
    expect(page.get_by_text("Nobody is told about its calls.").first).to_be_visible()
    page.get_by_role("link", name="Integrations Nobody is told").click()
    heading(page, "Integrations")
    balance(site, 1000, "topup:plain")
    page.goto(f"{site.address}/scenarios/{scenario(site, 'Plain').id}/review")
    press(page, "Connect")
    the_carrier_works(site)
    page.reload()
    expect(page.locator("h1")).to_have_text("1 number bought")
    assert scenario(site, "Plain").enabled
    context.close()

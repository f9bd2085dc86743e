"""What the tag asks, where it keeps the visitor, and what a page shows when the server is slow, gone or lying."""

import json
import threading
from functools import partial

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from router.attribution.tag import TagOptions, tag_script
from tests.browser.lies import answered, nonsense, visit
from tests.browser.stub import KEY, Site, Stub, number
from tests.browser.tag_pages import LENT, OWN, PAGE, become, seconds_pass, settle, text_of, wait_until, wait_until_shown
from tests.waiting import eventually


def test_a_page_view_says_where_it_came_from_without_a_preflight(
    quick_page: Page, stub: Stub, site: Site, console: list[str]
) -> None:
    clicks = {name: f"id-{name}" for name in ("gclid", "gbraid", "wbraid", "yclid", "msclkid", "fbclid", "ttclid")}
    query = "?utm_source=google&" + "&".join(f"{name}={value}" for name, value in clicks.items())
    address = site.put(PAGE) + query
    quick_page.goto(address + "#part", referer="https://www.google.com/")
    wait_until_shown(quick_page, LENT)
    (view,) = stub.requests
    assert view.method == "POST"
    assert view.path == f"/tag/{KEY}/visits"
    assert view.body == {
        "page": address,
        "referrer": "https://www.google.com/",
    }  # the server reads UTM and click ids out of it
    assert view.headers["Content-Type"].startswith("text/plain")
    assert view.headers["Origin"] == site.origin
    assert "Cookie" not in view.headers
    assert console == []


def test_a_browser_that_a_program_drives_is_silent_where_the_project_says_so(
    quick_page: Page, stub: Stub, site: Site
) -> None:
    stub.options = TagOptions(ignore_automation=True)
    address = site.put(
        PAGE,
        head="<script>routerTag = {ready: (tag) => (told = tag.numbers)}</script><script async src='{tag}'></script>",
    )
    assert quick_page.evaluate("navigator.webdriver")
    quick_page.goto(address)
    wait_until(quick_page, "window.told")
    assert (quick_page.evaluate("told"), text_of(quick_page), stub.requests) == ([], OWN, [])
    quick_page.add_init_script("Object.defineProperty(navigator, 'webdriver', {get: () => false})")
    quick_page.goto(address)
    wait_until_shown(quick_page, LENT)


def test_the_visitor_is_remembered_in_a_cookie_of_the_site_and_in_its_storage(
    quick_page: Page, stub: Stub, site: Site
) -> None:
    address = site.put(PAGE)
    quick_page.goto(address)
    wait_until_shown(quick_page, LENT)
    (cookie,) = quick_page.context.cookies(address)
    assert (cookie["name"], cookie["value"], cookie["path"], cookie["sameSite"]) == (
        f"router_visitor_{KEY}",
        "v1sitor",
        "/",
        "Lax",
    )
    assert 399 * 86400 < cookie["expires"] - quick_page.evaluate("Date.now() / 1000") <= 400 * 86400
    quick_page.context.clear_cookies()
    quick_page.reload()
    wait_until_shown(quick_page, LENT)
    assert stub.wait_for("/visits", 2)[1].body["visitor"] == "v1sitor"


@pytest.mark.parametrize(
    ("host", "domain"),
    [
        ("www.shop.example.co.uk", ".example.co.uk"),
        ("example.com", ".example.com"),
        ("shop.github.io", ".shop.github.io"),
        ("localhost", "localhost"),
    ],
)
def test_the_cookie_stands_on_the_registrable_domain(
    quick_page: Page, stub: Stub, site: Site, host: str, domain: str
) -> None:
    site.put(PAGE)
    quick_page.goto(f"http://{host}:{site.port}/")
    wait_until_shown(quick_page, LENT)
    assert [(cookie["name"], cookie["domain"]) for cookie in quick_page.context.cookies()] == [
        (f"router_visitor_{KEY}", domain)
    ]


def test_the_script_elements_attributes_and_address_are_read(quick_page: Page, stub: Stub, site: Site) -> None:
    """All ways to say something to the tag are in tests/attribution/test_tag_visits.py."""
    quick_page.goto(site.put(PAGE, head='<script async src="{tag}?consent=limited" data-scenarios="14, 13"></script>'))
    wait_until_shown(quick_page, LENT)
    assert (stub.requests[0].body["scenarios"], stub.requests[0].body["consent"]) == ([14, 13], "limited")


def test_on_https_the_cookie_is_secure(page: Page, context: BrowserContext) -> None:
    script = tag_script("https://calls.example.net", KEY).body.decode()
    answer = visit(number(selectors=["#p"])) | {"visitor": "v1sitor"}
    allowed = {"Access-Control-Allow-Origin": "https://www.example.com"}
    page.route(
        "https://www.example.com/",
        lambda route: route.fulfill(body=f"<p id=p>{OWN}</p><script>{script}</script>", content_type="text/html"),
    )
    page.route("https://calls.example.net/**", lambda route: route.fulfill(status=201, json=answer, headers=allowed))
    page.goto("https://www.example.com/")
    wait_until_shown(page, LENT)
    (cookie,) = context.cookies()
    assert (cookie["secure"], cookie["sameSite"], cookie["domain"]) == (True, "Lax", ".example.com")


def test_it_works_under_a_strict_content_security_policy(
    quick_page: Page, stub: Stub, site: Site, console: list[str]
) -> None:
    site.headers["Content-Security-Policy"] = (
        f"default-src 'none'; img-src data:; script-src {stub.base}; connect-src {stub.base}"
    )
    quick_page.goto(site.put(PAGE))
    expect(quick_page.locator("#p")).to_have_text(LENT)  # a function to wait for would be code that the policy forbids
    assert console == []


@pytest.mark.parametrize(
    "head",
    [
        "",
        '<script defer src="{tag}"></script>',
        '<script src="{tag}"></script>',
        '<script async src="{tag}?debug"></script>',
    ],
)
def test_it_may_be_included_early_late_or_readable(quick_page: Page, stub: Stub, site: Site, head: str) -> None:
    quick_page.goto(site.put(PAGE, head=head))
    if not head:
        quick_page.evaluate(
            "(address) => document.body.append(Object.assign(document.createElement('script'), {src: address}))",
            site.tag,
        )
    wait_until_shown(quick_page, LENT)


def test_included_twice_it_asks_once(quick_page: Page, stub: Stub, site: Site) -> None:
    quick_page.goto(site.put(PAGE, head='<script src="{tag}"></script><script src="{tag}?again"></script>'))
    wait_until_shown(quick_page, LENT)
    assert len(stub.requests) == 1


BROKEN_STORAGE = """
    const refuse = {get() { throw new Error('no'); }, set() { throw new Error('no'); }};
    Object.defineProperty(Document.prototype, 'cookie', refuse);
    Object.defineProperty(window, 'localStorage', refuse);
"""


def test_storage_that_throws_is_survived(page: Page, stub: Stub, site: Site, console: list[str]) -> None:
    page.add_init_script(BROKEN_STORAGE)
    page.goto(site.put(PAGE))
    wait_until_shown(page, LENT)
    assert console == []


GIVEN = number(selectors=["#p"])


def test_a_lying_server_changes_nothing(quick_page: Page, stub: Stub, site: Site, console: list[str]) -> None:
    """Each lie is the answer to another question of the same page; tests/browser/test_fixtures.py has them on other pages."""
    lies = nonsense(GIVEN)
    stub.visit_answer = partial(tuple[int, bytes], lies[0])
    quick_page.goto(site.put(PAGE))
    for count, answer in enumerate(lies, start=1):
        stub.visit_answer = partial(tuple[int, bytes], answer)
        if count > 1:
            quick_page.evaluate("routerTag.refresh()")
        stub.wait_for("/visits", count)
        settle(quick_page)
        assert text_of(quick_page) == OWN, answer
    stub.visit_answer = lambda: answered(visit(GIVEN))
    quick_page.evaluate("routerTag.refresh()")
    wait_until_shown(quick_page, LENT)
    assert [line for line in console if "500" not in line] == []


def test_a_visit_that_an_older_tag_has_kept_is_asked_for_anew(
    quick_page: Page, stub: Stub, site: Site, console: list[str]
) -> None:
    """Its numbers do not say in which form they stand where."""
    address = site.put(PAGE)
    quick_page.goto(address)
    wait_until_shown(quick_page, LENT)
    quick_page.evaluate("""() => {
        const name = Object.keys(localStorage)[0];
        const [at, kept] = JSON.parse(localStorage[name]);
        kept.numbers.map((one) => delete one.written);
        delete kept.rules;
        localStorage[name] = JSON.stringify([at, kept]);
    }""")
    stub.slow = threading.Event()
    quick_page.reload()
    stub.wait_for("/visits", 2)
    assert text_of(quick_page) == OWN
    stub.slow.set()
    wait_until_shown(quick_page, LENT)
    assert stub.of("/visits")[1].body["visitor"] == "v1sitor"
    assert console == []


def test_a_crawler_is_left_alone(timed_page: Page, stub: Stub, site: Site) -> None:
    stub.visit_answer = lambda: (204, b"")
    timed_page.goto(site.put(PAGE))
    stub.wait_for("/visits")
    timed_page.wait_for_timeout(50)
    seconds_pass(timed_page, 600)
    assert text_of(timed_page) == OWN
    assert len(stub.requests) == 1


def test_a_dead_server_leaves_the_pages_number_and_is_asked_only_a_few_times(
    timed_page: Page, stub: Stub, site: Site
) -> None:
    errors: list[str] = []
    timed_page.on("pageerror", lambda error: errors.append(str(error)))
    begun, broken = [], []
    timed_page.on("request", lambda request: begun.append(request) if request.url.endswith("/visits") else None)
    timed_page.on("requestfailed", lambda request: broken.append(request))
    stub.hanging_up = True
    timed_page.goto(site.put(PAGE))
    stub.wait_for("/visits")
    for _ in range(12):
        settle(timed_page)
        eventually(lambda: len(broken) == len(begun) or timed_page.wait_for_timeout(10))
        settle(timed_page)
        seconds_pass(timed_page, 20)
    assert text_of(timed_page) == OWN
    assert len({json.dumps(one.body) for one in stub.of("/visits")}) == 1
    assert 4 <= len(stub.of("/visits")) <= 9  # Chromium itself repeats a request whose connection broke
    stub.hanging_up = False
    become(timed_page, "visible")
    wait_until_shown(timed_page, LENT)
    assert errors == []


def test_a_slow_server_leaves_the_pages_number(timed_page: Page, stub: Stub, site: Site, console: list[str]) -> None:
    stub.slow = threading.Event()
    timed_page.goto(site.put(PAGE))
    stub.wait_for("/visits")
    seconds_pass(timed_page, 6)
    stub.slow.set()
    timed_page.wait_for_timeout(100)
    assert text_of(timed_page) == OWN
    assert console == []


LINKS = (
    '<p id="p">415-555-2671</p><a id="ours" href="tel:+14155552671"><b id="inside">Call us</b></a>'
    '<a id="theirs" href="tel:+4930901820">Another company</a><a id="away" href="/next">Next</a>'
)


def test_a_tap_on_a_number_of_ours_is_told_and_no_other_one(
    quick_page: Page, stub: Stub, site: Site, console: list[str]
) -> None:
    stub.numbers = [number(selectors=["#p", "#ours"])]
    quick_page.goto(site.put(LINKS))
    wait_until_shown(quick_page, LENT)
    quick_page.evaluate("document.body.addEventListener('click', (event) => event.stopPropagation(), true)")
    quick_page.click("#theirs")
    quick_page.click("#inside")
    found = stub.wait_for("/tap")
    assert (found[0].path, found[0].body) == (f"/tag/{KEY}/visits/t1/tap", {"e164": "+14155550123"})
    assert found[0].headers["Content-Type"].startswith("text/plain")
    quick_page.evaluate("routerTag.restore()")
    quick_page.click("#ours")
    quick_page.wait_for_timeout(50)
    assert len(stub.of("/tap")) == 1
    assert console == []


def test_a_tap_on_a_touch_screen_is_told_also_by_a_page_that_goes_away(
    browser: Browser, stub: Stub, site: Site
) -> None:
    site.put("<p>next</p>", "/next", head="")
    stub.numbers = [number(selectors=["#p", "#ours"])]
    with browser.new_context(has_touch=True, is_mobile=True) as context:
        page = context.new_page()
        page.goto(site.put(LINKS))
        wait_until_shown(page, LENT)
        page.evaluate(
            "() => { document.querySelector('#ours').onclick = () => { location.href = '/next'; return false; }; }"
        )
        page.tap("#inside")
        page.wait_for_url("**/next")
    assert [one.body for one in stub.wait_for("/tap")] == [{"e164": "+14155550123"}]

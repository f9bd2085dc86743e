"""A visit as the tag sees it: what it asks, how it stays alive, and what it shows when the server is slow, gone or lying."""

import json
import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from router.attribution.script import tag_script
from tests.browser.conftest import ARGUMENTS, CHROMIUM
from tests.browser.stub import KEY, Site, Stub, number, running_site, running_stub

OWN = "415-555-2671"
LENT = "415-555-0123"
OTHER = "415-555-0177"
PAGE = f'<p id="p">{OWN}</p>'
SHOWN = "document.querySelector('#p').textContent === '{}'"


@pytest.fixture
def stub() -> Iterator[Stub]:
    with running_stub() as stub:
        stub.numbers = [number(selectors=["#p"])]
        yield stub


@pytest.fixture
def site(stub: Stub) -> Iterator[Site]:
    with running_site(f"{stub.base}/tag/{KEY}.js") as site:
        yield site


@pytest.fixture(scope="module")
def shared_context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context()
    context.set_default_timeout(5000)
    yield context
    context.close()


@pytest.fixture
def quick_page(shared_context: BrowserContext) -> Iterator[Page]:
    """For tables of cases that need no clock: a page without cookies, much sooner there than a context."""
    shared_context.clear_cookies()
    page = shared_context.new_page()
    yield page
    page.close()


def wait_until_shown(page: Page, text: str) -> None:
    page.wait_for_function(SHOWN.format(text))


def open_page(page: Page, site: Site, query: str = "", shown: str = LENT) -> None:
    """With a clock that the test turns."""
    page.clock.install()
    page.goto(site.put(PAGE) + query)
    wait_until_shown(page, shown)


def seconds_pass(page: Page, seconds: float) -> None:
    page.clock.run_for(int(seconds * 1000))


def alive_within(page: Page, seconds: float) -> Any:
    """The body of the sign of life that goes out within these seconds, once it is answered."""
    with page.expect_response("**/alive") as found:
        seconds_pass(page, seconds)
    page.wait_for_timeout(30)
    return json.loads(found.value.request.post_data or "null")


def become(page: Page, state: str) -> None:
    """Half a second after whatever was before."""
    seconds_pass(page, 0.5)
    page.evaluate(
        "(state) => { Object.defineProperty(document, 'visibilityState', {value: state, configurable: true});"
        " document.dispatchEvent(new Event('visibilitychange')); }",
        state,
    )


def test_a_page_view_says_where_it_came_from_without_a_preflight(
    page: Page, stub: Stub, site: Site, console: list[str]
) -> None:
    clicks = {name: f"id-{name}" for name in ("gclid", "gbraid", "wbraid", "yclid", "msclkid", "fbclid", "ttclid")}
    query = "?utm_source=google&" + "&".join(f"{name}={value}" for name, value in clicks.items())
    address = site.put(PAGE) + query
    page.goto(address + "#part", referer="https://www.google.com/")
    wait_until_shown(page, LENT)
    (view,) = stub.requests
    assert view.method == "POST"
    assert view.path == f"/tag/{KEY}/visits"
    assert view.body == {"page": address, "referrer": "https://www.google.com/", "click_ids": clicks}
    assert view.headers["Content-Type"].startswith("text/plain")
    assert view.headers["Origin"] == site.origin
    assert "Cookie" not in view.headers
    assert console == []


def test_the_visitor_is_remembered_in_a_cookie_of_the_site_and_in_its_storage(
    page: Page, context: BrowserContext, stub: Stub, site: Site
) -> None:
    address = site.put(PAGE)
    page.goto(address)
    wait_until_shown(page, LENT)
    (cookie,) = context.cookies(address)
    assert (cookie["name"], cookie["value"], cookie["path"], cookie["sameSite"]) == (
        "router_visitor",
        "v1sitor",
        "/",
        "Lax",
    )
    assert 399 * 86400 < cookie["expires"] - page.evaluate("Date.now() / 1000") <= 400 * 86400
    context.clear_cookies()
    page.reload()
    wait_until_shown(page, LENT)
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
        ("router_visitor", domain)
    ]


OPTIONS = [
    ('<script async src="{tag}" data-scenarios="14, 13"></script>', [14, 13]),
    ('<script async src="{tag}?scenarios=14,13"></script>', [14, 13]),
    ('<script>window.routerTag = {scenarios: [14, 13]}</script><script async src="{tag}"></script>', [14, 13]),
    ('<script>window.roistatCalltrackingScripts = [14, 13]</script><script async src="{tag}"></script>', [14, 13]),
    (
        '<script>routerTag = {measurement: 7, scenarios: " 14,13 "}</script><script async src="{tag}"></script>',
        [14, 13],
    ),
    (
        '<script>roistatCalltrackingScripts = [7]</script><script async src="{tag}?scenarios=8" data-scenarios="9"></script>',
        [9],
    ),
    ('<script async src="{tag}?scenarios=x" data-scenarios=""></script>', []),
    ('<script async src="{tag}" data-scenarios=""></script>', None),
]


@pytest.mark.parametrize(("head", "scenarios"), OPTIONS)
def test_options_come_as_attributes_in_the_address_or_as_a_page_variable(
    quick_page: Page, stub: Stub, site: Site, head: str, scenarios: list[int] | None
) -> None:
    quick_page.goto(site.put(PAGE, head=head))
    wait_until_shown(quick_page, LENT)
    assert stub.requests[0].body.get("scenarios") == scenarios


def test_on_https_the_cookie_is_secure(page: Page, context: BrowserContext) -> None:
    script = tag_script("https://calls.example.net", KEY).body.decode()
    answer = {"visit": 1, "visitor": "v1sitor", "token": "t", "alive_every": 45, "numbers": [number(selectors=["#p"])]}
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
    page: Page, stub: Stub, site: Site, console: list[str]
) -> None:
    site.headers["Content-Security-Policy"] = (
        f"default-src 'none'; img-src data:; script-src {stub.base}; connect-src {stub.base}"
    )
    page.goto(site.put(PAGE))
    wait_until_shown(page, LENT)
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


def test_included_twice_it_asks_once(page: Page, stub: Stub, site: Site) -> None:
    page.goto(site.put(PAGE, head='<script src="{tag}"></script><script src="{tag}?again"></script>'))
    wait_until_shown(page, LENT)
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


def answered(value: object, status: int = 201) -> tuple[int, bytes]:
    return status, value if isinstance(value, bytes) else json.dumps(value).encode()


GOOD = {"visit": 1, "visitor": "v", "token": "t", "alive_every": 45, "numbers": [number(selectors=["#p"])]}
NONSENSE = [
    answered(b"<html>Welcome to our hotel's network</html>"),
    answered(b""),
    answered([1]),
    answered({}),
    answered(GOOD, 200),
    answered(GOOD | {"token": "../../x"}),
    answered(GOOD | {"token": None}),
    answered({name: value for name, value in GOOD.items() if name != "token"}),
    answered(GOOD | {"visitor": "a; path=/"}),
    answered(GOOD | {"numbers": {"0": "x"}}),
    *(
        answered(GOOD | {"numbers": [number(**({"selectors": ["#p"]} | wrong))]})
        for wrong in (
            {"e164": "4155550123"},
            {"e164": None},
            {"selectors": "#p"},
            {"selectors": [7]},
            {"replace": None},
            {"display": ""},
            {"display": {"x": 1}},
            {"scenario": "1"},
        )
    ),
    answered(GOOD | {"numbers": [None]}),
    answered({"type": "about:blank"}, 500),
]


def test_a_lying_server_changes_nothing(page: Page, stub: Stub, site: Site) -> None:
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    address = site.put(PAGE)
    for count, answer in enumerate(NONSENSE, start=1):
        stub.visit_answer = partial(tuple[int, bytes], answer)
        page.goto(address)
        stub.wait_for("/visits", count)
        page.wait_for_timeout(20)
        assert page.inner_text("#p") == OWN, answer
    stub.visit_answer = lambda: answered(GOOD)
    page.goto(address)
    wait_until_shown(page, LENT)
    assert errors == []


def test_a_crawler_is_left_alone(page: Page, stub: Stub, site: Site) -> None:
    stub.visit_answer = lambda: (204, b"")
    page.clock.install()
    page.goto(site.put(PAGE))
    stub.wait_for("/visits")
    page.wait_for_timeout(50)
    seconds_pass(page, 600)
    assert page.inner_text("#p") == OWN
    assert len(stub.requests) == 1


def test_a_dead_server_leaves_the_pages_number_and_is_asked_only_a_few_times(
    page: Page, stub: Stub, site: Site
) -> None:
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    stub.hanging_up = True
    page.clock.install()
    page.goto(site.put(PAGE))
    stub.wait_for("/visits")
    for _ in range(12):
        page.wait_for_timeout(30)
        seconds_pass(page, 20)
    assert page.inner_text("#p") == OWN
    assert len({json.dumps(one.body) for one in stub.of("/visits")}) == 1
    assert 4 <= len(stub.of("/visits")) <= 9  # Chromium itself repeats a request whose connection broke
    stub.hanging_up = False
    become(page, "visible")
    wait_until_shown(page, LENT)
    assert errors == []


def test_a_slow_server_leaves_the_pages_number(page: Page, stub: Stub, site: Site, console: list[str]) -> None:
    stub.slow = threading.Event()
    page.clock.install()
    page.goto(site.put(PAGE))
    stub.wait_for("/visits")
    seconds_pass(page, 6)
    stub.slow.set()
    page.wait_for_timeout(100)
    assert page.inner_text("#p") == OWN
    assert console == []


def test_signs_of_life_go_out_every_45_seconds_also_from_a_hidden_page(
    page: Page, stub: Stub, site: Site, console: list[str]
) -> None:
    open_page(page, site)
    become(page, "hidden")
    seconds_pass(page, 1)
    for count in range(5):
        seconds_pass(page, 39)
        assert len(stub.of("/alive")) == count
        assert alive_within(page, 6) == {}
    assert {one.method for one in stub.requests} == {"POST"}
    assert stub.of("/alive")[0].headers["Content-Type"].startswith("text/plain")
    assert len(stub.of("/alive")) == 5
    assert page.inner_text("#p") == LENT
    assert console == []


def test_a_sign_of_life_goes_out_at_once_on_becoming_visible_and_when_the_page_comes_back(
    page: Page, stub: Stub, site: Site
) -> None:
    open_page(page, site)
    become(page, "hidden")
    assert stub.of("/alive") == []
    become(page, "visible")
    stub.wait_for("/alive", 1)
    page.wait_for_timeout(50)
    seconds_pass(page, 0.5)
    page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', {persisted: true}))")
    stub.wait_for("/alive", 2)


def test_left_is_said_on_pagehide_only_and_a_page_that_comes_back_revives_the_visit(
    page: Page, stub: Stub, site: Site, console: list[str]
) -> None:
    open_page(page, site)
    become(page, "hidden")
    page.evaluate("dispatchEvent(new Event('blur'))")
    page.wait_for_timeout(50)
    assert stub.of("/left") == []
    page.goto(site.put("<p>next</p>", "/next", head=""))
    assert stub.wait_for("/left")[0].path == f"/tag/{KEY}/visits/t1/left"
    assert len(stub.of("/left")) == 1
    assert {one.method for one in stub.requests} == {"POST"}
    assert console == []


def test_a_page_out_of_the_back_forward_cache_speaks_up_once_and_keeps_its_number(
    browser: Browser, stub: Stub, site: Site
) -> None:
    caching = browser.browser_type.launch(
        executable_path=CHROMIUM, args=ARGUMENTS, ignore_default_args=["--disable-back-forward-cache"]
    )
    page = caching.new_page()
    page.goto(site.put(PAGE))
    wait_until_shown(page, LENT)
    page.evaluate("window.sameDocument = true")
    page.wait_for_timeout(500)
    page.goto(site.put("<p>next</p>", "/next", head=""))
    stub.wait_for("/left")
    page.go_back(wait_until="commit")
    stub.wait_for("/alive")
    page.wait_for_timeout(100)
    assert page.evaluate("window.sameDocument") is True
    assert page.inner_text("#p") == LENT
    assert [len(stub.of(ending)) for ending in ("/visits", "/left", "/alive")] == [1, 1, 1]
    caching.close()


def test_a_number_that_was_given_away_is_swapped_again(page: Page, stub: Stub, site: Site) -> None:
    open_page(page, site)
    stub.alive_numbers = [number(e164="+14155550177", selectors=["#p"])]
    become(page, "visible")
    wait_until_shown(page, OTHER)


def test_only_the_number_that_changed_is_named_and_the_others_stay(page: Page, stub: Stub, site: Site) -> None:
    stub.numbers = [number(5, selectors=["#p"]), number(9, "+12125550199", selectors=["#q"])]
    page.clock.install()
    page.goto(site.put(PAGE + '<p id="q">212-555-0000</p>'))
    wait_until_shown(page, LENT)
    stub.alive_numbers = [number(5, "+14155550177", selectors=["#p"])]
    become(page, "visible")
    wait_until_shown(page, OTHER)
    assert page.inner_text("#q") == "212-555-0199"


def test_an_unknown_token_makes_the_tag_ask_anew(page: Page, stub: Stub, site: Site) -> None:
    open_page(page, site, "?utm_source=google")
    stub.alive_status = 404
    stub.numbers = [number(e164="+14155550177", selectors=["#p"])]
    become(page, "visible")
    wait_until_shown(page, OTHER)
    first, second = stub.of("/visits")
    assert second.body == first.body | {"visitor": "v1sitor"}
    stub.alive_status = 204
    become(page, "visible")
    assert stub.wait_for("/alive", 2)[1].path.endswith("/t2/alive")


def test_a_number_is_shown_only_while_the_server_confirms_it(page: Page, stub: Stub, site: Site) -> None:
    open_page(page, site)
    stub.alive_status = 500
    seconds_pass(page, 100)
    page.wait_for_timeout(50)
    assert page.inner_text("#p") == LENT
    seconds_pass(page, 51)
    wait_until_shown(page, OWN)
    stub.alive_status = 204
    become(page, "visible")
    wait_until_shown(page, LENT)


def test_a_laptop_that_wakes_shows_its_own_number_until_the_server_has_answered(
    page: Page, stub: Stub, site: Site
) -> None:
    open_page(page, site)
    stub.slow = threading.Event()
    page.clock.fast_forward(3 * 3600 * 1000)
    assert page.inner_text("#p") == OWN
    stub.slow.set()
    become(page, "visible")
    wait_until_shown(page, LENT)


def test_another_path_or_query_is_another_page_view(page: Page, stub: Stub, site: Site) -> None:
    page.goto(site.put(PAGE))
    wait_until_shown(page, LENT)
    assert page.evaluate("history.pushState({}, '', '/contacts')") is None
    page.evaluate("history.pushState({}, '', '/contacts#map')")
    page.evaluate("history.replaceState({}, '', '/contacts?utm_source=mail')")
    page.evaluate("history.go(-2)")
    views = stub.wait_for("/visits", 4)
    page.wait_for_timeout(50)
    paths = ["/", "/contacts", "/contacts?utm_source=mail", "/"]
    assert [view.body["page"] for view in stub.of("/visits")] == [site.origin + path for path in paths]
    assert [view.body["referrer"] for view in views[1:]] == [site.origin + path for path in paths[:3]]
    assert views[1].body["visitor"] == "v1sitor"


GA_COOKIES = [
    ({"_ga": "GA1.1.1162820436.1749482504"}, {"client_id": "1162820436.1749482504"}),
    (
        {"_ga": "GA1.2-2.11.22", "_ga_ABC123": "GS1.1.1795416000.3.1.1795416100.0.0.0"},
        {"client_id": "11.22", "session_id": "1795416000"},
    ),
    (
        {"_ga": "GA1.1.11.22", "_ga_ABC123": "GS2.1.s1795416000$o3$g1$t1795416100"},
        {"client_id": "11.22", "session_id": "1795416000"},
    ),
    ({"_ga_ABC123": "GS2.1.t1795416100$o3$s1795416000"}, {"session_id": "1795416000"}),
    ({"_ga": "GA1.1.11.22", "_ga_ABC123": "GS3.1.x1795416000"}, {"client_id": "11.22"}),
    ({"_ga": "junk"}, None),
]


@pytest.mark.parametrize(("cookies", "ga"), GA_COOKIES)
def test_ga_is_read_from_its_cookies(
    quick_page: Page, stub: Stub, site: Site, cookies: dict[str, str], ga: dict[str, str] | None
) -> None:
    address = site.put(PAGE)
    quick_page.context.add_cookies([{"name": name, "value": value, "url": address} for name, value in cookies.items()])
    quick_page.goto(address)
    wait_until_shown(quick_page, LENT)
    assert stub.requests[0].body.get("ga") == ga


def test_ga_that_appears_late_is_sent_at_once(page: Page, stub: Stub, site: Site) -> None:
    open_page(page, site)
    assert "ga" not in stub.requests[0].body
    page.evaluate("document.cookie = '_ga=GA1.1.11.22'")
    assert alive_within(page, 1) == {"ga": {"client_id": "11.22"}}
    page.evaluate("document.cookie = '_ga_ABC=GS2.1.s77$o1'")
    assert alive_within(page, 1) == {"ga": {"client_id": "11.22", "session_id": "77"}}
    assert alive_within(page, 45) == {}


GTAG = """<script>
    function gtag(command, id, field, answer) {
        setTimeout(() => answer({client_id: '33.44', session_id: 55}[field] + (id === 'G-ABC' ? '' : 'x')), 500);
    }
</script><script async src="{tag}" data-measurement="G-ABC"></script>"""


def test_gtag_is_asked_when_it_is_there(page: Page, stub: Stub, site: Site) -> None:
    page.clock.install()
    page.goto(site.put(PAGE, head=GTAG))
    wait_until_shown(page, LENT)
    assert alive_within(page, 2) == {"ga": {"client_id": "33.44", "session_id": "55"}}

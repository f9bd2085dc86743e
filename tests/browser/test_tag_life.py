"""How a visit stays alive, and what the tag reads of Google Analytics on the way."""

import threading

from playwright.sync_api import Browser, Page

from tests.browser.conftest import ARGUMENTS, CHROMIUM
from tests.browser.stub import KEY, Site, Stub, number
from tests.browser.tag_pages import (
    LENT,
    OTHER,
    OWN,
    PAGE,
    alive_within,
    become,
    open_page,
    seconds_pass,
    settle,
    text_of,
    wait_until_shown,
)


def test_signs_of_life_go_out_every_45_seconds_also_from_a_hidden_page(
    page: Page, stub: Stub, site: Site, console: list[str]
) -> None:
    open_page(page, site)
    become(page, "hidden")
    seconds_pass(page, 1)
    for count in range(5):
        seconds_pass(page, 39)
        assert len(stub.of("/alive")) == count
        assert alive_within(page, 6) == ({} if count else {"shown": [1]})
    assert {one.method for one in stub.requests} == {"POST"}
    assert stub.of("/alive")[0].headers["Content-Type"].startswith("text/plain")
    assert len(stub.of("/alive")) == 5
    assert text_of(page) == LENT
    assert console == []


def test_a_sign_of_life_goes_out_at_once_on_becoming_visible_and_when_the_page_comes_back(
    page: Page, stub: Stub, site: Site
) -> None:
    open_page(page, site)
    become(page, "hidden")
    assert stub.of("/alive") == []
    with page.expect_response("**/alive") as answered:
        become(page, "visible")
    answered.value.finished()
    settle(page)
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
    assert text_of(page) == LENT
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
    assert text_of(page, "#q") == "212-555-0199"


def test_r6_a_number_that_was_given_away_is_taken_back_when_there_is_none_for_the_page(
    page: Page, stub: Stub, site: Site
) -> None:
    stub.numbers = [number(5, selectors=["#p"]), number(9, "+12125550199", selectors=["#q"])]
    page.clock.install()
    page.goto(site.put(PAGE + '<p id="q">212-555-0000</p>'))
    wait_until_shown(page, LENT)
    stub.alive_numbers, stub.alive_withdrawn = [], [5]
    become(page, "visible")
    wait_until_shown(page, OWN)
    assert text_of(page, "#q") == "212-555-0199"
    stub.alive_numbers, stub.alive_withdrawn = [number(5, selectors=["#p"])], None
    become(page, "visible")
    wait_until_shown(page, LENT)


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
    assert text_of(page) == LENT
    seconds_pass(page, 51)
    wait_until_shown(page, OWN)
    stub.alive_status = 204
    become(page, "visible")
    wait_until_shown(page, LENT)


def test_r6_the_hold_that_the_server_names_counts(page: Page, stub: Stub, site: Site) -> None:
    stub.hold = 60
    open_page(page, site)
    alive_within(page, 31)
    stub.alive_status = 500
    seconds_pass(page, 55)
    assert text_of(page) == LENT
    seconds_pass(page, 6)
    wait_until_shown(page, OWN)


def test_r6_a_clock_that_is_set_back_keeps_no_unconfirmed_number_and_does_not_silence_the_page(
    page: Page, stub: Stub, site: Site
) -> None:
    open_page(page, site)
    alive_within(page, 46)
    page.clock.set_system_time("2001-01-01T00:00:00Z")
    alive_within(page, 46)
    page.clock.set_system_time("2000-01-01T00:00:00Z")
    stub.alive_status = 500
    seconds_pass(page, 151)
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
    assert text_of(page) == OWN
    stub.slow.set()
    become(page, "visible")
    wait_until_shown(page, LENT)


def test_another_path_or_query_is_another_page_view(quick_page: Page, stub: Stub, site: Site) -> None:
    quick_page.goto(site.put(PAGE))
    wait_until_shown(quick_page, LENT)
    assert quick_page.evaluate("history.pushState({}, '', '/contacts')") is None
    quick_page.evaluate("history.pushState({}, '', '/contacts#map')")
    quick_page.evaluate("history.replaceState({}, '', '/contacts?utm_source=mail')")
    quick_page.evaluate("history.go(-2)")
    views = stub.wait_for("/visits", 4)
    quick_page.wait_for_timeout(50)
    paths = ["/", "/contacts", "/contacts?utm_source=mail", "/"]
    assert [view.body["page"] for view in stub.of("/visits")] == [site.origin + path for path in paths]
    assert [view.body["referrer"] for view in views[1:]] == [site.origin + path for path in paths[:3]]
    assert views[1].body["visitor"] == "v1sitor"


def test_ga_that_appears_late_is_sent_at_once(page: Page, stub: Stub, site: Site) -> None:
    open_page(page, site)
    assert "ga" not in stub.requests[0].body
    page.evaluate("document.cookie = '_ga=GA1.1.11.22'")
    assert alive_within(page, 1) == {"ga": {"client_id": "11.22"}, "shown": [1]}
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
    assert alive_within(page, 2) == {"ga": {"client_id": "33.44", "session_id": "55"}, "shown": [1]}

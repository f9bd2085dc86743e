"""How a visit stays alive, and what the tag reads of Google Analytics on the way."""

import threading

from playwright.sync_api import Browser, Page

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
    timed_page: Page, stub: Stub, site: Site, console: list[str]
) -> None:
    open_page(timed_page, site)
    become(timed_page, "hidden")
    seconds_pass(timed_page, 1)
    for count in range(5):
        seconds_pass(timed_page, 39)
        assert len(stub.of("/alive")) == count
        assert alive_within(timed_page, 6) == ({} if count else {"shown": [1]})
    assert {one.method for one in stub.requests} == {"POST"}
    assert stub.of("/alive")[0].headers["Content-Type"].startswith("text/plain")
    assert len(stub.of("/alive")) == 5
    assert text_of(timed_page) == LENT
    assert console == []


def test_a_sign_of_life_goes_out_at_once_on_becoming_visible_and_when_the_page_comes_back(
    timed_page: Page, stub: Stub, site: Site
) -> None:
    open_page(timed_page, site)
    become(timed_page, "hidden")
    assert stub.of("/alive") == []
    with timed_page.expect_response("**/alive") as answered:
        become(timed_page, "visible")
    answered.value.finished()
    settle(timed_page)
    seconds_pass(timed_page, 0.5)
    timed_page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', {persisted: true}))")
    stub.wait_for("/alive", 2)


def test_left_is_said_on_pagehide_only_and_a_page_that_comes_back_revives_the_visit(
    timed_page: Page, stub: Stub, site: Site, console: list[str]
) -> None:
    open_page(timed_page, site)
    become(timed_page, "hidden")
    timed_page.evaluate("dispatchEvent(new Event('blur'))")
    timed_page.wait_for_timeout(50)
    assert stub.of("/left") == []
    timed_page.goto(site.put("<p>next</p>", "/next", head=""))
    assert stub.wait_for("/left")[0].path == f"/tag/{KEY}/visits/t1/left"
    assert len(stub.of("/left")) == 1
    assert {one.method for one in stub.requests} == {"POST"}
    assert console == []


def test_a_page_out_of_the_back_forward_cache_speaks_up_once_and_keeps_its_number(
    whole_browser: Browser, stub: Stub, site: Site
) -> None:
    page = whole_browser.new_page()
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
    page.close()


def test_a_number_that_was_given_away_is_swapped_again(timed_page: Page, stub: Stub, site: Site) -> None:
    open_page(timed_page, site)
    stub.alive_numbers = [number(e164="+14155550177", selectors=["#p"])]
    become(timed_page, "visible")
    wait_until_shown(timed_page, OTHER)


def test_only_the_number_that_changed_is_named_and_the_others_stay(timed_page: Page, stub: Stub, site: Site) -> None:
    stub.numbers = [number(5, selectors=["#p"]), number(9, "+12125550199", selectors=["#q"])]
    timed_page.goto(site.put(PAGE + '<p id="q">212-555-0000</p>'))
    wait_until_shown(timed_page, LENT)
    stub.alive_numbers = [number(5, "+14155550177", selectors=["#p"])]
    become(timed_page, "visible")
    wait_until_shown(timed_page, OTHER)
    assert text_of(timed_page, "#q") == "212-555-0199"


def test_r6_a_number_that_was_given_away_is_taken_back_when_there_is_none_for_the_page(
    timed_page: Page, stub: Stub, site: Site
) -> None:
    stub.numbers = [number(5, selectors=["#p"]), number(9, "+12125550199", selectors=["#q"])]
    timed_page.goto(site.put(PAGE + '<p id="q">212-555-0000</p>'))
    wait_until_shown(timed_page, LENT)
    stub.alive_numbers, stub.alive_withdrawn = [], [5]
    become(timed_page, "visible")
    wait_until_shown(timed_page, OWN)
    assert text_of(timed_page, "#q") == "212-555-0199"
    stub.alive_numbers, stub.alive_withdrawn = [number(5, selectors=["#p"])], None
    become(timed_page, "visible")
    wait_until_shown(timed_page, LENT)


def test_an_unknown_token_makes_the_tag_ask_anew(timed_page: Page, stub: Stub, site: Site) -> None:
    open_page(timed_page, site, "?utm_source=google")
    stub.alive_status = 404
    stub.numbers = [number(e164="+14155550177", selectors=["#p"])]
    become(timed_page, "visible")
    wait_until_shown(timed_page, OTHER)
    first, second = stub.of("/visits")
    assert second.body == first.body | {"visitor": "v1sitor"}
    stub.alive_status = 204
    become(timed_page, "visible")
    assert stub.wait_for("/alive", 2)[1].path.endswith("/t2/alive")


def test_a_number_is_shown_only_while_the_server_confirms_it(timed_page: Page, stub: Stub, site: Site) -> None:
    open_page(timed_page, site)
    stub.alive_status = 500
    seconds_pass(timed_page, 100)
    timed_page.wait_for_timeout(50)
    assert text_of(timed_page) == LENT
    seconds_pass(timed_page, 51)
    wait_until_shown(timed_page, OWN)
    stub.alive_status = 204
    become(timed_page, "visible")
    wait_until_shown(timed_page, LENT)


def test_r6_the_hold_that_the_server_names_counts(timed_page: Page, stub: Stub, site: Site) -> None:
    stub.hold = 60
    open_page(timed_page, site)
    alive_within(timed_page, 31)
    stub.alive_status = 500
    seconds_pass(timed_page, 55)
    assert text_of(timed_page) == LENT
    seconds_pass(timed_page, 6)
    wait_until_shown(timed_page, OWN)


def test_r6_a_clock_that_is_set_back_keeps_no_unconfirmed_number_and_does_not_silence_the_page(
    page: Page, stub: Stub, site: Site
) -> None:
    page.clock.install()
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
    timed_page: Page, stub: Stub, site: Site
) -> None:
    open_page(timed_page, site)
    stub.slow = threading.Event()
    timed_page.clock.fast_forward(3 * 3600 * 1000)
    assert text_of(timed_page) == OWN
    stub.slow.set()
    become(timed_page, "visible")
    wait_until_shown(timed_page, LENT)


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


def test_ga_that_appears_late_is_sent_at_once(timed_page: Page, stub: Stub, site: Site) -> None:
    open_page(timed_page, site)
    assert "ga" not in stub.requests[0].body
    timed_page.evaluate("document.cookie = '_ga=GA1.1.11.22'")
    assert alive_within(timed_page, 1) == {"ga": {"client_id": "GA1.1.11.22"}, "shown": [1]}
    timed_page.evaluate("document.cookie = '_ga_ABC=GS2.1.s77$o1$t88'")
    assert alive_within(timed_page, 1) == {"ga": {"client_id": "GA1.1.11.22", "G-ABC": "77"}}
    timed_page.evaluate("document.cookie = '_ga_ABC=GS2.1.s77$o1$t99'")
    assert alive_within(timed_page, 45) == {}
    timed_page.evaluate("document.cookie = '_ga_ABC=GS2.1.s111$o2$t111'")
    assert alive_within(timed_page, 46) == {"ga": {"client_id": "GA1.1.11.22", "G-ABC": "111"}}


GTAG = """<script>
    function gtag(command, id, field, answer) {
        setTimeout(() => answer({client_id: '33.44', session_id: 55}[field] + (id === 'G-ABC' ? '' : 'x')), 500);
    }
</script><script async src="{tag}" data-measurement="G-ABC"></script>"""


def test_gtag_is_asked_when_it_is_there(timed_page: Page, stub: Stub, site: Site) -> None:
    timed_page.goto(site.put(PAGE, head=GTAG))
    wait_until_shown(timed_page, LENT)
    assert alive_within(timed_page, 2) == {"ga": {"client_id": "33.44", "G-ABC": "55"}, "shown": [1]}

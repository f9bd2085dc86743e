"""One visitor keeps one number: from page to page, in two tabs, behind caches, blockers and prerendering."""

import threading
import time
from typing import Any

from playwright.sync_api import Browser, Page

from tests.browser.stub import Site, Stub, number
from tests.browser.tag_pages import LENT, OTHER, OWN, PAGE, seconds_pass, text_of, wait_until, wait_until_shown

NEXT = PAGE.replace("<p", "<h1>Next</h1><p")

# What each frame that is painted shows, from the first one on.
WATCHED = """<script>
    window.frames_ = [];
    (function watch() {
        const text = document.querySelector('#p')?.textContent;
        if (text && text !== frames_[frames_.length - 1]) frames_.push(text);
        requestAnimationFrame(watch);
    })();
</script>"""


def test_the_next_page_shows_the_number_at_once_though_the_server_takes_its_time(
    quick_page: Page, stub: Stub, site: Site, console: list[str]
) -> None:
    quick_page.goto(site.put(PAGE))
    wait_until_shown(quick_page, LENT)
    stub.slow = threading.Event()
    quick_page.goto(site.put(NEXT, "/next", head=WATCHED + '<script src="{tag}"></script>'))
    wait_until_shown(quick_page, LENT)
    assert quick_page.evaluate("routerTag.visit") == 10001
    stub.slow.set()
    stub.wait_for("/visits", 2)
    quick_page.wait_for_timeout(60)
    assert quick_page.evaluate("frames_") in (
        [LENT],
        [OWN, LENT],
    )  # a frame may be painted before the page has been read
    assert console == []


def test_a_number_that_changed_meanwhile_is_swapped_once_the_server_says_so(
    quick_page: Page, stub: Stub, site: Site
) -> None:
    quick_page.goto(site.put(PAGE))
    wait_until_shown(quick_page, LENT)
    stub.numbers = [number(e164="+14155550177", selectors=["#p"])]
    quick_page.goto(site.put(NEXT, "/next", head=WATCHED + '<script src="{tag}"></script>'))
    wait_until(quick_page, f"frames_[frames_.length - 1] === '{OTHER}'")
    changes = quick_page.evaluate("frames_")
    assert changes in ([LENT, OTHER], [OTHER]) or (changes[0] == OWN and changes[1:] in ([LENT, OTHER], [OTHER]))


def test_a_page_shows_no_number_of_the_page_before_that_nobody_has_confirmed_for_long(
    timed_page: Page, stub: Stub, site: Site
) -> None:
    timed_page.goto(site.put(PAGE))
    wait_until_shown(timed_page, LENT)
    timed_page.goto(site.put("<p>without the tag</p>", "/plain", head=""))
    seconds_pass(timed_page, 151)
    stub.slow = threading.Event()
    timed_page.goto(site.put(NEXT, "/next"))
    stub.wait_for("/visits", 2)
    assert text_of(timed_page) == OWN
    stub.slow.set()
    wait_until_shown(timed_page, LENT)


def test_a_page_that_is_limited_to_other_scenarios_does_not_show_the_number_of_the_page_before(
    quick_page: Page, stub: Stub, site: Site
) -> None:
    quick_page.goto(site.put(PAGE))
    wait_until_shown(quick_page, LENT)
    stub.slow = threading.Event()
    quick_page.goto(site.put(NEXT, "/next", head='<script src="{tag}" data-scenarios="7"></script>'))
    stub.wait_for("/visits", 2)
    assert text_of(quick_page) == OWN
    stub.slow.set()


def test_two_tabs_of_a_visitor_speak_of_one_visit_and_show_one_number(quick_page: Page, stub: Stub, site: Site) -> None:
    address = site.put(PAGE)
    quick_page.goto(address)
    wait_until_shown(quick_page, LENT)
    stub.slow = threading.Event()
    tab = quick_page.context.new_page()
    tab.goto(address)
    wait_until_shown(tab, LENT)
    stub.slow.set()
    assert stub.wait_for("/visits", 2)[1].body["visitor"] == "v1sitor"
    tab.close()


def test_a_blocker_that_lets_nothing_through_leaves_the_page_as_it_is(page: Page, stub: Stub, site: Site) -> None:
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.route("**/visits", lambda route: route.abort("blockedbyclient"))
    page.goto(site.put(PAGE))
    wait_until(page, "window.routerTag")
    assert page.evaluate("new Promise((ready) => routerTag.ready((tag) => ready(tag.visit)))") is None
    assert text_of(page) == OWN
    page.route("**/tag/**", lambda route: route.abort("blockedbyclient"))
    page.reload()
    assert text_of(page) == OWN
    assert errors == []


def test_a_sign_that_a_blocker_stops_keeps_the_number_until_its_hold_is_over(
    page: Page, stub: Stub, site: Site
) -> None:
    page.clock.install()
    page.route("**/alive", lambda route: route.abort("blockedbyclient"))
    page.add_init_script("navigator.sendBeacon = () => { throw new Error('blocked'); };")
    page.goto(site.put(PAGE + '<a id="call" href="tel:+14155552671">Call</a>'))
    wait_until_shown(page, LENT)
    seconds_pass(page, 100)
    assert text_of(page) == LENT
    seconds_pass(page, 60)
    wait_until_shown(page, OWN)


PRERENDERED = "<script>Object.defineProperty(document, 'prerendering', {value: true, configurable: true});</script>"
ACTIVATED = "delete document.prerendering; document.dispatchEvent(new Event('prerenderingchange'));"


def test_a_page_that_is_prerendered_asks_for_a_number_only_when_somebody_looks_at_it(
    quick_page: Page, stub: Stub, site: Site, console: list[str]
) -> None:
    quick_page.goto(site.put(PAGE, head=PRERENDERED + '<script async src="{tag}"></script>'))
    wait_until(quick_page, "!!(window.routerTag && routerTag.ready)")
    quick_page.wait_for_timeout(60)
    assert stub.requests == []
    quick_page.evaluate(ACTIVATED)
    wait_until_shown(quick_page, LENT)
    assert len(stub.of("/visits")) == 1
    assert console == []


SPECULATE = """<script type="speculationrules">{"prerender": [{"source": "list", "urls": ["/next"], "eagerness": "immediate"}]}</script>"""


def test_chromium_itself_prerenders_a_page_without_taking_a_number(
    whole_browser: Browser, stub: Stub, site: Site
) -> None:
    page = whole_browser.new_page()
    site.put(NEXT, "/next")
    page.goto(site.put(PAGE, head='<script async src="{tag}"></script>' + SPECULATE))
    wait_until_shown(page, LENT)
    deadline = time.monotonic() + 5
    while not site.prerendered and time.monotonic() < deadline:
        page.wait_for_timeout(20)
    page.wait_for_timeout(300)
    views: list[Any] = [one.body["page"] for one in stub.of("/visits")]
    page.close()
    assert site.prerendered == ["/next"]
    assert views == [site.origin + "/"]

"""The one global name: what pages may ask of the tag, and the switches in an address."""

import json
from typing import Any

import pytest
from playwright.sync_api import Page

from router.lib.phones import page_rules
from tests.browser.stub import Site, Stub, number
from tests.browser.tag_pages import (
    LENT,
    OTHER,
    OWN,
    PAGE,
    open_page,
    seconds_pass,
    settle,
    text_of,
    wait_until,
    wait_until_shown,
)

TAG = '<script async src="{tag}"></script>'
SEEN = "[routerTag.visit, routerTag.numbers.map(({scenario, e164, display}) => [scenario, e164, display])]"
READY = "new Promise((resolve) => routerTag.ready(resolve)).then(() => " + SEEN + ")"


def test_ready_calls_back_with_the_visit_and_its_numbers(quick_page: Page, stub: Stub, site: Site) -> None:
    early = "<script>window.routerTag = {ready: (tag) => { window.early = [tag === routerTag, tag.visit]; }}</script>"
    quick_page.goto(site.put(PAGE, head=early + TAG))
    wait_until(quick_page, "window.early")
    assert quick_page.evaluate("early") == [True, 10001]
    assert quick_page.evaluate(READY) == [10001, [[1, "+14155550123", "(415) 555-0123"]]]
    assert (
        quick_page.evaluate("new Promise((resolve) => routerTag.ready(resolve)).then((tag) => tag === routerTag)")
        is True
    )


@pytest.mark.parametrize("answer", [(204, b""), (500, b""), (201, b"nonsense")])
def test_ready_calls_back_also_when_there_are_no_numbers(
    quick_page: Page, stub: Stub, site: Site, answer: tuple[int, bytes]
) -> None:
    stub.visit_answer = lambda: answer
    quick_page.goto(site.put(PAGE))
    wait_until(quick_page, "window.routerTag")
    assert quick_page.evaluate(READY) == [None, []]


def test_a_callback_that_fails_is_the_pages_own_error_and_harms_no_other(
    quick_page: Page, stub: Stub, site: Site
) -> None:
    errors: list[str] = []
    quick_page.on("pageerror", lambda error: errors.append(str(error)))
    quick_page.goto(site.put(PAGE, head="<script>routerTag = {ready: 'alert(1)'}</script>" + TAG))
    wait_until(quick_page, "!!(window.routerTag && routerTag.ready.call)")
    quick_page.evaluate(
        "routerTag.ready(() => { throw new Error('ours'); }), routerTag.ready(null), routerTag.ready(7)"
    )
    assert quick_page.evaluate(READY)[0] == 10001
    wait_until_shown(quick_page, LENT)
    assert errors == ["ours"]


OWN_FIELDS = """<script>
    window.roistat_param1 = 'gold'; window.roistat_param3 = 0; window.roistat_param6 = 'no'; window.roistat_param2 = null;
    window.routerTag = {params: {plan: 'yearly', items: 3, empty: null}};
</script>"""


def test_own_fields_go_out_with_the_page_view_and_changes_of_them_at_once(
    timed_page: Page, stub: Stub, site: Site
) -> None:
    timed_page.goto(site.put(PAGE, head=OWN_FIELDS + TAG))
    wait_until_shown(timed_page, LENT)
    first = {"plan": "yearly", "items": "3", "roistat_param1": "gold", "roistat_param3": "0"}
    assert stub.requests[0].body["params"] == first
    with timed_page.expect_response("**/alive") as answered:
        timed_page.evaluate("routerTag.params({items: 4, toString: 'x'})")
    assert stub.wait_for("/alive")[0].body["params"] == first | {"items": "4", "toString": "x"}
    answered.value.finished()
    settle(timed_page)
    seconds_pass(timed_page, 46)
    assert "params" not in stub.wait_for("/alive", 2)[1].body


def test_refresh_asks_anew_and_takes_a_restored_page_up_again(quick_page: Page, stub: Stub, site: Site) -> None:
    quick_page.goto(site.put(PAGE))
    wait_until_shown(quick_page, LENT)
    quick_page.evaluate("routerTag.restore()")
    assert text_of(quick_page) == OWN
    stub.numbers = [number(e164="+14155550177", selectors=["#p"])]
    quick_page.evaluate("routerTag.refresh()")
    wait_until_shown(quick_page, OTHER)
    assert [one.body.get("visitor") for one in stub.of("/visits")] == [None, "v1sitor"]


def test_a_trial_shows_the_numbers_and_leaves_no_trace(timed_page: Page, stub: Stub, site: Site) -> None:
    def trial() -> tuple[int, bytes]:
        shown: dict[str, Any] = {"visit": None, "visitor": "test", "token": "test", "alive_every": 600, "hold": 86400}
        return 201, json.dumps(shown | {"numbers": stub.numbers, "rules": page_rules(None)}).encode()

    stub.visit_answer = trial
    open_page(timed_page, site, "?router_test=1")
    assert stub.requests[0].body["test"] is True
    timed_page.click("#p")
    seconds_pass(timed_page, 3600)
    timed_page.goto(site.put("<p>next</p>", "/next", head=""))
    timed_page.wait_for_timeout(50)
    assert len(stub.requests) == 1
    assert timed_page.evaluate("[document.cookie, localStorage.length]") == ["", 0]


def test_an_opt_out_link_keeps_a_browser_out_until_it_is_taken_back(
    quick_page: Page, stub: Stub, site: Site, console: list[str]
) -> None:
    address = site.put(PAGE)
    quick_page.goto(address)
    wait_until_shown(quick_page, LENT)
    asked = len(stub.of("/visits"))
    for query in ("?router_off=1", "", "?utm_source=google"):
        quick_page.goto(address + query)
        wait_until(quick_page, "window.routerTag")
        quick_page.evaluate("routerTag.refresh()")
        quick_page.wait_for_timeout(60)
        assert text_of(quick_page) == OWN
    assert len(stub.of("/visits")) == asked
    quick_page.goto(address + "?router_off=0")
    wait_until_shown(quick_page, LENT)
    stub.wait_for("/visits", asked + 1)
    settle(quick_page)
    assert {cookie["name"] for cookie in quick_page.context.cookies()} == {"router_visitor_k3y"}
    assert console == []

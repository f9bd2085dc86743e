"""A page with the tag beside a stub of our server: what the browser tests of the tag share."""

import json
import time
from typing import Any

from playwright.sync_api import Page

from tests.browser.stub import Site

OWN = "415-555-2671"
LENT = "415-555-0123"
OTHER = "415-555-0177"
PAGE = f'<p id="p">{OWN}</p>'
SHOWN = "document.querySelector('#p').textContent === '{}'"


def wait_until(page: Page, condition: str) -> None:
    """As `page.wait_for_function`, without all that Playwright brings into each new page for that: as much work as to load the page."""
    deadline = time.monotonic() + 20
    while not page.evaluate(f"!!({condition})"):
        assert time.monotonic() < deadline, condition
        page.wait_for_timeout(5)


def wait_until_shown(page: Page, text: str) -> None:
    wait_until(page, SHOWN.format(text))


def text_of(page: Page, selector: str = "#p") -> str:
    """What a reader sees of the first such element."""
    return str(page.evaluate("(selector) => document.querySelector(selector).innerText", selector))


def open_page(page: Page, site: Site, query: str = "", shown: str = LENT) -> None:
    page.goto(site.put(PAGE) + query)
    wait_until_shown(page, shown)


def seconds_pass(page: Page, seconds: float) -> None:
    page.clock.run_for(int(seconds * 1000))


def settle(page: Page) -> None:
    """Another request of the page has gone there and back: what was answered before is worked by now."""
    page.evaluate("fetch(location.href).then((answer) => answer.text())")


def alive_within(page: Page, seconds: float) -> Any:
    """The body of the sign of life that goes out within these seconds, once it is answered."""
    with page.expect_response("**/alive") as found:
        seconds_pass(page, seconds)
    found.value.finished()
    settle(page)
    return json.loads(found.value.request.post_data or "null")


def become(page: Page, state: str) -> None:
    """Half a second after whatever was before."""
    seconds_pass(page, 0.5)
    page.evaluate(
        "(state) => { Object.defineProperty(document, 'visibilityState', {value: state, configurable: true});"
        " Object.defineProperty(document, 'hidden', {value: state === 'hidden', configurable: true});"
        " document.dispatchEvent(new Event('visibilitychange')); }",
        state,
    )

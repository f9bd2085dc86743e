"""Every page of the folder `fixtures` with the server well, slow, dead and lying: what it showed before, what it shows after."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial

import pytest
from playwright.sync_api import Browser, Error, Page, Request

from tests.browser.fixture_pages import FOLDER, FRAMES_PASS, Fixture, changes, fixture, given, snapshot
from tests.browser.lies import nonsense
from tests.browser.stub import KEY, Site, Stub, running_site, running_stub
from tests.browser.tag_pages import seconds_pass, wait_until
from tests.waiting import eventually

NAMES = sorted(file.stem for file in FOLDER.glob("*.html"))
Own = Callable[[str], list[list[str]]]
every_fixture = pytest.mark.parametrize("name", NAMES)
SHIFTS = """
    window.shift = 0;
    window.shifts = new PerformanceObserver((list) => list.getEntries().forEach((one) => { window.shift += one.value; }));
    shifts.observe({type: 'layout-shift', buffered: true});
"""
SHIFT = "shifts.takeRecords().reduce((sum, one) => sum + one.value, window.shift)"


@pytest.fixture(scope="module")
def stub() -> Iterator[Stub]:
    with running_stub() as stub:
        yield stub


@pytest.fixture(scope="module")
def site(stub: Stub) -> Iterator[Site]:
    with running_site(f"{stub.base}/tag/{KEY}.js") as site:
        yield site


@pytest.fixture(autouse=True)
def a_new_server(stub: Stub, site: Site) -> Iterator[None]:
    """Well, and asked nothing yet."""
    yield
    vars(stub).update(vars(Stub(stub.base)))


@pytest.fixture(scope="module")
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context()
    context.set_default_timeout(20_000)
    page = context.new_page()
    page.add_init_script(SHIFTS)
    yield page
    context.close()


@pytest.fixture(scope="module")
def timed_page(browser: Browser) -> Iterator[Page]:
    """With a clock that the test turns."""
    context = browser.new_context()
    page = context.new_page()
    page.clock.install()
    yield page
    context.close()


@contextmanager
def nothing_thrown(page: Page, site: Site) -> Iterator[None]:
    """A page of a visitor whom nobody knows, on which all is caught; it is left afterwards, so that no late request of it is taken for
    another's."""
    thrown: list[str] = []

    def note(error: Error) -> None:
        thrown.append(str(error))

    forget(page, site)
    page.on("pageerror", note)
    yield
    page.remove_listener("pageerror", note)
    page.goto("about:blank")
    assert thrown == []


def forget(page: Page, site: Site) -> None:
    page.context.clear_cookies()
    browser = page.context.new_cdp_session(page)
    browser.send("Storage.clearDataForOrigin", {"origin": site.origin, "storageTypes": "local_storage"})
    browser.detach()


@pytest.fixture(scope="module")
def own(page: Page, stub: Stub, site: Site) -> Own:
    """What a page says without the tag: at first, and after each of its steps."""
    return cache(lambda name: without_the_tag(page, fixture(name).put(site, stub, tagged=False), fixture(name)))


def without_the_tag(page: Page, address: str, told: Fixture) -> list[list[str]]:
    page.goto(address)
    wait_until(page, "window.ready !== false")
    said = [snapshot(page)]
    for step in told.all_steps:
        if step.do and "routerTag" not in step.do:
            page.evaluate(step.do)
            page.evaluate(FRAMES_PASS)
        said.append(snapshot(page))
    return said


def until_changed(page: Page, before: list[str], expected: list[list[str]]) -> None:
    wait_until(page, "window.ready !== false")
    deadline = time.monotonic() + 20
    while changes(before, snapshot(page)) != expected and time.monotonic() < deadline:
        page.wait_for_timeout(10)
    page.evaluate(FRAMES_PASS)
    assert changes(before, snapshot(page)) == expected


def asked(stub: Stub, told: Fixture) -> None:
    views = stub.wait_for("/visits", len(told.requests)) if told.requests else []
    for found, expected in zip(views, told.requests, strict=False):
        assert found.body | expected == found.body
    assert {one.method for one in stub.requests} <= {"POST"}
    assert len(stub.of("/visits")) == len(told.requests)


@every_fixture
def test_a_page_shows_our_numbers_where_it_should_and_nothing_else_changes(
    page: Page, stub: Stub, site: Site, own: Own, name: str
) -> None:
    told = fixture(name)
    before = own(name)
    stub.numbers = told.given
    if told.refused:
        stub.visit_answer = lambda: (403, b"{}")
    with nothing_thrown(page, site):
        page.goto(told.put(site, stub))
        until_changed(page, before[0], told.changes)
        asked(stub, told)
        if told.still:
            assert page.evaluate(SHIFT) == 0
        for said, step in zip(before[1:], told.all_steps, strict=True):
            if step.numbers:
                stub.alive_numbers = [given(one) for one in step.numbers]
                page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
            if step.do:
                page.evaluate(step.do)
            until_changed(page, said, step.changes)
        for frame in page.frames:
            frame.evaluate("window.routerTag?.restore?.()")
        until_changed(page, before[-1], [])


class Views:
    """The page views that a page asks for, as the browser tells of them."""

    def __init__(self, page: Page) -> None:
        self.page, self.begun, self.over = page, 0, 0
        self.listeners = {"request": self.begin, "requestfinished": self.end, "requestfailed": self.end}

    def __enter__(self) -> "Views":
        for event, listener in self.listeners.items():
            self.page.on(event, listener)  # type: ignore[call-overload]  # its options are chosen at run time
        return self

    def __exit__(self, *_: object) -> None:
        for event, listener in self.listeners.items():
            self.page.remove_listener(event, listener)

    def begin(self, request: Request) -> None:
        self.begun += request.url.endswith("/visits")

    def end(self, request: Request) -> None:
        self.over += request.url.endswith("/visits")

    def wait_until_over(self) -> None:
        """And until the tag has heard of it."""
        eventually(lambda: self.over == self.begun or self.page.wait_for_timeout(5))
        self.page.wait_for_timeout(30)

    def wait_for_another(self, seconds: float) -> None:
        """The one that the tag asks for after a failure, so many seconds later."""
        before = self.begun
        seconds_pass(self.page, seconds)
        eventually(lambda: self.begun > before or seconds_pass(self.page, 1))


PAUSES = (12, 24)
"""Seconds that the tag waits after its first and second failure."""


@every_fixture
def test_with_a_slow_a_dead_and_a_lying_server_a_page_stays_as_it_is(
    timed_page: Page, stub: Stub, site: Site, own: Own, name: str
) -> None:
    """It answers after ten seconds, hangs up when it is asked again, and lies when it is asked once more. The lies are dealt out in turn,
    one for each page."""
    told, page = fixture(name), timed_page
    before = own(name)[0]
    lies = nonsense(told.given[0])
    stub.numbers, stub.slow = told.given, threading.Event()
    with nothing_thrown(page, site), Views(page) as views:
        page.goto(told.put(site, stub))
        stub.wait_for("/visits", min(len(told.requests), 1))
        seconds_pass(page, 10)
        stub.slow.set()
        views.wait_until_over()
        assert changes(before, snapshot(page)) == [], "slow"
        if not told.requests:
            return
        stub.hanging_up = True
        views.wait_for_another(PAUSES[0])
        views.wait_until_over()
        assert changes(before, snapshot(page)) == [], "dead"
        stub.hanging_up, stub.visit_answer = False, partial(tuple[int, bytes], lies[NAMES.index(name) % len(lies)])
        views.wait_for_another(PAUSES[1])
        views.wait_until_over()
        assert changes(before, snapshot(page)) == [], "lying"

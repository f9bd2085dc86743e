"""The tag on pages made with real React and Vue: a page from a server is theirs until they took it over, and what they render again is
swapped before anybody sees it."""

import pytest
from playwright.sync_api import Page

from router.lib.phones import spellings
from tests.browser.frameworks import LENT, OWN, WATCH, Frameworks, built, noted, wait_until_hydrated, wait_until_swapped
from tests.browser.stub import Site, Stub, number
from tests.browser.tag_pages import wait_until

UNTOUCHED = {"early": [], "flashes": [], "lost": []}
ROOT, APP, NEXT = '<div id="root">{}</div>', '<div id="app">{}</div>', '<div id="__next">{}</div>'
UNUSUAL = '<div id="shop-7f3" class="page">{}</div>'
BOTH = ["react-production", "vue-production"]


@pytest.fixture(scope="session")
def frameworks(tmp_path_factory: pytest.TempPathFactory) -> Frameworks:
    return built(tmp_path_factory.mktemp("frameworks"))


@pytest.fixture(scope="module", autouse=True)
def watched(shared_page: Page) -> None:
    shared_page.add_init_script(WATCH)


@pytest.fixture
def page(quick_page: Page) -> Page:
    return quick_page


@pytest.fixture(autouse=True)
def numbers(stub: Stub) -> None:
    stub.numbers = [number(replace=spellings([OWN], "US"), selectors=[".phone"])]


def text(page: Page, selector: str) -> str:
    return page.locator(selector).text_content() or ""


def test_the_pages_themselves_are_taken_over_without_a_complaint_and_a_foreign_change_is_complained_of(
    page: Page, site: Site, console: list[str], frameworks: Frameworks
) -> None:
    for build, name in [("react-development", "shop"), ("react-production", "boundary"), ("vue-development", "shop")]:
        page.goto(frameworks.put(site, build, name, start="asked", tagged=False))
        page.evaluate("begin()")
        wait_until_hydrated(page)
    assert console == []
    for build in (*BOTH, "react-development", "vue-development"):
        page.goto(frameworks.put(site, build, "shop", start="asked", tagged=False))
        page.evaluate(f"document.querySelector('#plain').firstChild.data = '{LENT}'; begin()")
        wait_until_hydrated(page)
        assert console, build
        console.clear()


TAKEN_OVER = [
    ("react-production", ROOT, ""),
    ("react-production", NEXT, "transition"),
    ("react-production", UNUSUAL, "800"),
    ("react-development", NEXT, "asked"),
    ("react-development", UNUSUAL, ""),
    ("vue-production", APP, ""),
    ("vue-production", UNUSUAL, "asked"),
    ("vue-development", APP, "800"),
]


@pytest.mark.parametrize(("build", "container", "start"), TAKEN_OVER)
def test_a_page_from_a_server_is_swapped_in_place_once_it_was_taken_over(
    page: Page,
    stub: Stub,
    site: Site,
    console: list[str],
    frameworks: Frameworks,
    build: str,
    container: str,
    start: str,
) -> None:
    page.goto(frameworks.put(site, build, "shop", container, start))
    if start == "asked":
        stub.wait_for("/visits")
        page.wait_for_timeout(100)
        assert text(page, "#plain") == OWN
        page.evaluate("begin()")
    wait_until_swapped(page)
    found = noted(page)
    assert set(found.pop("lost")) <= {"again", "ticking"}  # which the page itself may have thrown away
    assert found | {"lost": []} == UNTOUCHED
    assert console == []


@pytest.mark.parametrize("build", BOTH)
def test_what_is_rendered_again_is_swapped_before_it_is_painted(
    page: Page, site: Site, console: list[str], frameworks: Frameworks, build: str
) -> None:
    page.goto(frameworks.put(site, build, "shop"))
    wait_until_swapped(page)
    for _ in range(3):
        page.click("main button")
    wait_until(page, "document.querySelector('#ticks').textContent >= 3")
    assert [text(page, selector) for selector in ("main button", "#counting", "li:first-child")] == [
        "Clicked 3",
        f"3 people called {LENT}",
        f"reno: {LENT}",
    ]
    wait_until_swapped(page)
    assert noted(page)["flashes"] == []
    assert console == []


@pytest.mark.parametrize("build", ["react-production", "react-development"])
def test_a_part_that_is_taken_over_late_keeps_its_text_until_then(
    page: Page, site: Site, console: list[str], frameworks: Frameworks, build: str
) -> None:
    page.clock.install()
    page.add_init_script("window.panelArrives = new Promise((arrive) => { window.arrive = arrive; })")
    page.goto(frameworks.put(site, build, "boundary"))
    wait_until_swapped(page, "outside")
    page.clock.run_for(10_000)
    assert text(page, "#inside") == OWN
    page.evaluate("arrive()")
    wait_until(page, "window.panelHydrated")
    page.clock.run_for(3_000)
    wait_until_swapped(page, "outside", "inside")
    assert noted(page) == UNTOUCHED
    assert console == []


# A click on what is not taken over yet makes React begin again, and compare once more what it has compared already.
INTERRUPT = """() => {
    const waiting = setInterval(() => {
        if (!Object.keys(document.querySelector('#line30')).some((key) => key.startsWith('__reactFiber$'))) return;
        clearInterval(waiting);
        document.querySelector('#line59').click();
    }, 1);
}"""


@pytest.mark.parametrize("name", ["long", "longBoundary"])
def test_a_page_that_is_taken_over_in_slices_is_not_swapped_between_them(
    page: Page, stub: Stub, site: Site, console: list[str], frameworks: Frameworks, name: str
) -> None:
    page.add_init_script("window.panelArrives = new Promise((arrive) => { window.arrive = arrive; })")
    page.goto(frameworks.put(site, "react-production", name, NEXT, "asked transition"))
    stub.wait_for("/visits")
    page.evaluate("begin()")
    if name == "longBoundary":
        wait_until_swapped(page, "outside")
    page.evaluate(INTERRUPT)
    page.evaluate("arrive()")
    wait_until(page, "window.panelHydrated")
    wait_until_swapped(page)
    page.click("main button")
    assert text(page, "main button") == "Clicked 1"
    assert noted(page) == UNTOUCHED
    assert console == []


@pytest.mark.parametrize("build", BOTH)
def test_text_that_the_framework_does_not_look_into_is_swapped_as_well(
    page: Page, site: Site, console: list[str], frameworks: Frameworks, build: str
) -> None:
    page.clock.install()
    page.goto(frameworks.put(site, build, "article"))
    wait_until_swapped(page, "plain")
    page.clock.run_for(3_000)
    wait_until_swapped(page, "plain", "raw")
    assert noted(page)["early"] == []
    assert console == []


@pytest.mark.parametrize("build", BOTH)
def test_an_application_without_a_server_shows_our_number_on_every_route(
    page: Page, stub: Stub, site: Site, console: list[str], frameworks: Frameworks, build: str
) -> None:
    page.goto(frameworks.put(site, build, "routes", start="client"))
    wait_until_swapped(page, "home")
    page.evaluate("watch.strict = true")
    page.click("#to-contact")
    wait_until_swapped(page, "contact", "call")
    wait_until(page, "document.querySelector('#ticks').textContent >= 2")
    page.click("#to-home")
    wait_until_swapped(page, "home")
    page.go_back()
    wait_until_swapped(page, "contact", "call")
    assert noted(page)["flashes"] == []
    assert [one.body["page"].removeprefix(site.origin) for one in stub.wait_for("/visits", 4)] == [
        "/",
        "/contact",
        "/",
        "/contact",
    ]
    assert console == []

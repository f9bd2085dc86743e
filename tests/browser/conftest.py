"""One headless Chromium for the whole run; every test gets a context of its own. No name but 127.0.0.1 resolves."""

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.browser.stub import KEY, Site, Stub, number, running_site, running_stub

WHOLE = ("chromium", "chromium-browser", "google-chrome")
SHELL = ("chromium-headless-shell", "chrome-headless-shell")
"""The same Chromium without its own windows and tabs: most tests take a third of the time in it."""


def found(names: tuple[str, ...]) -> str | None:
    return next((path for name in names if (path := shutil.which(name))), None)


CHROMIUM = found(WHOLE)
"""For what the shell has not: pages kept for going back, pages rendered before they are opened."""
ARGUMENTS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--host-resolver-rules=MAP * 127.0.0.1",
]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    assert CHROMIUM, "The browser tests need Chromium: apt-get install chromium chromium-headless-shell"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found(SHELL) or CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context()
    context.set_default_timeout(20_000)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext) -> Page:
    return context.new_page()


@pytest.fixture
def console(page: Page) -> list[str]:
    """What the page complained about so far: errors and warnings of its console, and exceptions that nobody caught."""
    complaints: list[str] = []
    page.on(
        "console", lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None
    )
    page.on("pageerror", lambda error: complaints.append(str(error)))
    return complaints


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
    context.set_default_timeout(20_000)
    yield context
    context.close()


@pytest.fixture
def quick_page(shared_context: BrowserContext) -> Iterator[Page]:
    """For tables of cases that need no clock: a page without cookies, much sooner there than a context."""
    shared_context.clear_cookies()
    page = shared_context.new_page()
    yield page
    page.close()

"""One headless Chromium for the whole run; every test gets a context of its own. No name but 127.0.0.1 resolves."""

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.browser.console import complaints_of
from tests.browser.stub import KEY, Site, Stub, number, running_site, running_stub

WHOLE = ("chromium", "chromium-browser", "google-chrome")
SHELL = ("chromium-headless-shell", "chrome-headless-shell")
"""The same Chromium without its own windows and tabs: most tests take a third of the time in it."""


def found(names: tuple[str, ...]) -> str | None:
    return next((path for name in names if (path := shutil.which(name))), None)


CHROMIUM = found(WHOLE)
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
FEATURES = (
    "AvoidUnnecessaryBeforeUnloadCheckSync,DestroyProfileOnBrowserClose,HttpsUpgrades,HttpsFirstBalancedModeAutoEnable,LensOverlay,"
    "MediaRouter,PaintHolding,ThirdPartyStoragePartitioning,AvoidCorsURLLoaderRestartOnRedirect,OptimizationHints,PreconnectToSearch"
)
"""What Playwright itself switches off; the last list counts."""
QUICKER = [f"--disable-features={FEATURES},RenderDocument", "--js-flags=--max-opt=1"]
"""A page that follows another one of its site takes over its frame, where Chromium would make a new one: no page can tell. And scripts are
not optimised, which costs more than it gains where pages live as shortly as here."""


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    assert CHROMIUM, "The browser tests need Chromium: apt-get install chromium chromium-headless-shell"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found(SHELL) or CHROMIUM, args=ARGUMENTS + QUICKER)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def whole_browser(browser: Browser) -> Iterator[Browser]:
    """Chromium itself, which keeps pages for going back to them, and renders pages before they are opened."""
    kept = ["--disable-back-forward-cache"]
    whole = browser.browser_type.launch(executable_path=CHROMIUM, args=ARGUMENTS, ignore_default_args=kept)
    yield whole
    whole.close()


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
def console(request: pytest.FixtureRequest) -> Iterator[list[str]]:
    """What the page complained about so far: errors and warnings of its console, and exceptions that nobody caught."""
    kinds = ("quick_page", "timed_page", "page")
    page: Page = request.getfixturevalue(next(name for name in kinds if name in request.fixturenames))
    with complaints_of(page) as complaints:
        yield complaints


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


@pytest.fixture(scope="module")
def shared_page(shared_context: BrowserContext) -> Page:
    return shared_context.new_page()


@pytest.fixture
def quick_page(shared_page: Page) -> Iterator[Page]:
    """For tests that need no clock, and no script in each page: the same page for all of them, of a visitor whom nobody knows. A new one
    costs more than most tests."""
    shared_page.context.clear_cookies()
    yield shared_page
    shared_page.evaluate("try { localStorage.clear(); } catch (refused) {}")
    shared_page.goto("about:blank")


@pytest.fixture(scope="module")
def shared_timed_page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context()
    context.set_default_timeout(20_000)
    yield context.new_page()
    context.close()


@pytest.fixture
def timed_page(shared_timed_page: Page) -> Iterator[Page]:
    """As `quick_page`, with a clock that the test turns, and that shows the right time when it begins."""
    shared_timed_page.context.clear_cookies()
    shared_timed_page.clock.install()
    yield shared_timed_page
    shared_timed_page.evaluate("try { localStorage.clear(); } catch (refused) {}")
    shared_timed_page.goto("about:blank")

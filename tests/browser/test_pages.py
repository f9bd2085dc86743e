"""Every page in a real browser: readable for all in light and dark, and never wider than a telephone."""

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, ClassVar, Literal
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import pytest
from flask import Flask
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Locator, Page
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.wsgi import ClosingIterator

from router.accounts import audit
from router.accounts.audit import Actor
from router.accounts.members import setup_link
from router.accounts.models import Person
from router.app import create_app
from router.carriers.simulator.call_book import silence
from router.config import Settings
from router.db import Database, migrate
from router.lib.file_store import FolderStore
from router.scenarios.models import ScenarioDraft
from router.scenarios.wizard.drafts import keep
from router.server import Server
from router.voice.models import CallRecording
from router.web.stored_files import LARGEST_PIECE
from tests.browser.accessibility import bring_axe, judge
from tests.browser.pages import PAGES, PageToSee
from tests.browser.pictures import picture
from tests.browser.samples import samples
from tests.factories import PASSWORD
from tests.furnished import TYPED, furnish
from tests.people import NOW, create_cast, sign_in
from tests.waiting import PATIENCE_SECONDS

SECRET = "secret-of-the-browser-tests"
Scheme = Literal["light", "dark"]
VIEWS: tuple[tuple[int, int, Scheme], ...] = ((1280, 900, "light"), (390, 844, "dark"))
"""Width, height and colours: a desk and a telephone."""


DATABASES: dict[str, bytes] = {}
"""Files of databases that were made once in this process."""


def use_database(name: str, database: Database, make: Callable[[], None]) -> None:
    """Makes this database, or takes the one of this name that was made before."""
    path = Path(database.engine.url.database or "")
    if name in DATABASES:
        database.dispose()
        for ending in ("-wal", "-shm"):
            path.with_name(path.name + ending).unlink(missing_ok=True)
        path.write_bytes(DATABASES[name])
        return
    make()
    with database.engine.connect() as connection:
        connection.exec_driver_sql("COMMIT")
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    DATABASES[name] = path.read_bytes()


class Site:
    """A running server, and the browsers of its people, who are signed in."""

    settled: ClassVar[dict[str, Any]] = {}
    """The people and the ids in the database that is made for `settle`."""

    def __init__(self, app: Flask, port: int) -> None:
        self.app, self.address = app, f"http://127.0.0.1:{port}"
        self.server: Server = app.extensions["router"]
        self.people: dict[str, Person] = {}
        self.ids: dict[str, Any] = {}

    def settle(self) -> None:
        """Alice's project with one object of each kind."""
        use_database("settled", self.server.database, self.make_settled)
        self.people, self.ids = dict(self.settled["people"]), dict(self.settled["ids"])

    def make_settled(self) -> None:
        cast = create_cast(self.server.database)
        furnish(self.server.database, cast)
        with self.server.database.writing() as session:
            keep(self.server.keys, session.get_one(ScenarioDraft, cast.ids["draft_id"]), TYPED, 6, NOW)
            actor = Actor("alice@example.com")
            audit.record(
                session, actor, NOW, "project changed", "Alice's Shop", cast.project.id, name=["Shop", "Alice's Shop"]
            )
        self.settled.update(people={"alice": cast.alice, "olivia": cast.olivia}, ids=cast.ids)

    def context(
        self, browser: Browser, who: str, scheme: Scheme = "light", *, runs_scripts: bool = True
    ) -> BrowserContext:
        context = browser.new_context(color_scheme=scheme, reduced_motion="reduce", java_script_enabled=runs_scripts)
        context.set_default_timeout(20_000)
        if who in self.people:
            cookie = sign_in(self.app.test_client(), self.people[who]).get_cookie("router_session")
            assert cookie is not None
            context.add_cookies([{"name": "router_session", "value": cookie.value, "url": self.address}])
        return context

    def open(self, page: Page, seen: PageToSee) -> None:
        page.goto(self.address + seen.path.format(**self.ids))
        [heading] = page.evaluate("[...document.querySelectorAll('h1')].map(({innerText}) => innerText)")
        assert seen.heading in heading


def whole(app: Flask) -> WSGIApplication:
    """Answers with all of a file at once: werkzeug's server leaves one open when a browser goes away."""

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        with closing(ClosingIterator(app(environ, start_response))) as body:
            return [b"".join(body)]

    return answer


class KeptConnections(WSGIRequestHandler):
    """As in production: a browser asks for all files of a page on a few connections, not each on its own."""

    protocol_version = "HTTP/1.1"


@contextmanager
def running(folder: Path) -> Iterator[Site]:
    app = create_app(Settings(data_dir=folder, secret_key=SECRET))
    app.register_blueprint(samples)
    server: Server = app.extensions["router"]
    use_database("migrated", server.database, lambda: migrate(server.database))
    http = make_server("127.0.0.1", 0, whole(app), threaded=True, request_handler=KeptConnections)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield Site(app, http.port)
    finally:
        http.shutdown()
        thread.join()
        http.server_close()
        server.database.dispose()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running(tmp_path_factory.mktemp("site")) as site:
        site.settle()
        yield site


@pytest.fixture(scope="module")
def windows(site: Site, browser: Browser) -> Iterator[dict[str, Page]]:
    """One window for each person, who walks through all pages in it: a new one for each page costs more than all that is done in it."""
    contexts = {who: site.context(browser, who) for who in ("alice", "olivia", "nobody")}
    for context in contexts.values():
        bring_axe(context)
    yield {who: context.new_page() for who, context in contexts.items()}
    for context in contexts.values():
        context.close()


@contextmanager
def no_complaints(page: Page) -> Iterator[None]:
    """What the page's console says in the block; it may miss what is not there."""
    complaints: list[str] = []

    def hear(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and "404" not in message.text:
            complaints.append(message.text)

    page.on("console", hear)
    yield
    page.remove_listener("console", hear)
    assert complaints == []


@pytest.mark.parametrize("seen", PAGES, ids=lambda seen: seen.path)
def test_a_page_is_readable_for_all_and_fits_a_telephone(site: Site, windows: dict[str, Page], seen: PageToSee) -> None:
    """Shown at a desk in the light, and on a telephone in the dark, where each page is judged; at the desk as well are the page of samples,
    which shows every component in each of its colours, and the pages whose parts are others there. It is opened where the page before
    was shown last: every second page on the telephone."""
    page = windows[seen.who]
    is_on_a_telephone = page.viewport_size == {"width": VIEWS[1][0], "height": VIEWS[1][1]}
    with no_complaints(page):
        for index, (width, height, scheme) in enumerate(VIEWS[::-1] if is_on_a_telephone else VIEWS):
            page.set_viewport_size({"width": width, "height": height})
            page.emulate_media(color_scheme=scheme)
            if index == 0:
                site.open(page, seen)
            picture(page, seen.name, scheme, width)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            if scheme == "dark" or seen.is_another_at_a_desk:
                judge(page, but="option")


READABLE = "<p>Call us</p>" * 10
UNREADABLE = {
    "pale": '<p id="pale" style="color: #bbb">Call us</p>',
    "grounded": '<div style="background: #333"><p id="grounded">Call us</p></div>',
    "faded": '<div style="opacity: 0.3"><p id="faded">Call us</p></div>',
    "typed": '<label>Name <input id="typed" value="Ada" style="color: #bbb"></label>',
}


@pytest.mark.parametrize("is_brought", [True, False], ids=["axe brought before", "axe brought for it"])
def test_a_text_that_cannot_be_read_is_found_among_many_that_can(browser: Browser, is_brought: bool) -> None:
    context = browser.new_context()
    if is_brought:
        bring_axe(context)
    page = context.new_page()
    page.set_content(f'<!doctype html><html lang="en"><title>Texts</title><main><h1>Texts</h1>{READABLE}</main>')
    assert page.evaluate("'makeAxe' in window") == is_brought
    judge(page)
    texts = READABLE + READABLE.join(UNREADABLE.values()) + READABLE
    page.set_content(f'<!doctype html><html lang="en"><title>Texts</title><main><h1>Texts</h1>{texts}</main>')
    with pytest.raises(AssertionError, match="color-contrast") as failure:
        judge(page)
    assert set(re.findall(r"#\w+(?=\W*$)", str(failure.value), re.MULTILINE)) == {f"#{name}" for name in UNREADABLE}
    context.close()


def test_what_the_install_page_folds_away_is_readable_too(site: Site, windows: dict[str, Page]) -> None:
    page = windows["alice"]
    site.open(page, PageToSee("/settings/install", "Settings"))
    page.evaluate("document.querySelectorAll('main details').forEach((one) => { one.open = true; })")
    for width, height, scheme in VIEWS:
        page.set_viewport_size({"width": width, "height": height})
        page.emulate_media(color_scheme=scheme)
        picture(page, "/settings/install-open", scheme, width)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    judge(page)


def test_an_operator_goes_from_the_set_up_link_to_a_project(tmp_path: Path, browser: Browser) -> None:
    with running(tmp_path) as site:
        link = setup_link(site.server, site.server.now())
        assert link is not None
        context = site.context(browser, "nobody")
        page = context.new_page()
        page.goto(site.address + "/set-up/" + link.rpartition("/")[2])
        judge(page)
        picture(page, "/set-up", "light", 1280)
        page.get_by_label("E-mail").fill("olivia@example.net")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Set up").click()
        page.get_by_role("link", name="Make the first project").click()
        page.get_by_label("Name").fill("Shop")
        page.get_by_label("Web site").fill("https://shop.example.com/")
        page.get_by_label("Fallback destination").fill("+14155550100")
        page.get_by_label("E-mail").fill("office@example.com")
        page.get_by_role("button", name="Make the project").click()
        page.get_by_text("Shop is ready.").wait_for()
        context.close()


def test_signing_in_out_and_through_the_menu_of_a_telephone(site: Site, browser: Browser) -> None:
    context = site.context(browser, "nobody")
    page = context.new_page()
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(site.address + "/settings/people")
    page.get_by_label("E-mail").fill("alice@example.com")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    assert page.url == site.address + "/settings/people"
    page.locator(".top summary").first.click()
    judge(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    picture(page, "/menu", "light", 390)
    page.locator(".top").get_by_role("button", name="Sign out").click()
    assert page.url == site.address + "/sign-in"
    context.close()


def test_the_theme_switch_is_remembered(site: Site, browser: Browser) -> None:
    context = site.context(browser, "alice")
    page = context.new_page()
    page.goto(site.address + "/settings")
    paper = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(paper) == "rgb(255, 255, 255)"
    page.locator(".side").get_by_role("button", name="Dark").click()
    assert page.evaluate(paper) == "rgb(18, 22, 20)"
    page.reload()
    assert page.evaluate(paper) == "rgb(18, 22, 20)"
    context.close()


def test_pages_are_dark_and_usable_without_javascript(site: Site, browser: Browser) -> None:
    context = browser.new_context(java_script_enabled=False, color_scheme="dark")
    page = context.new_page()
    page.goto(site.address + "/sign-in")
    page.get_by_label("E-mail").fill("alice@example.com")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.goto(site.address + "/settings/people")
    page.get_by_text("Remove").first.click()
    assert page.get_by_text("will not see Alice's Shop any more").first.is_visible()
    picture(page, "/no-script", "dark", 1280)
    context.close()


def test_a_recording_is_played_by_keyboard_piece_by_piece(site: Site, windows: dict[str, Page], tmp_path: Path) -> None:
    """As far as the place that a person jumps to, and no further than is listened to."""
    sound, page = silence(300, 1), windows["alice"]
    (tmp_path / "sound").write_bytes(sound)
    with site.server.database.writing() as session:
        recording = session.get_one(CallRecording, site.ids["recording_id"])
        store = FolderStore(site.server.settings.data_dir / "recordings")
        recording.size = store.put(recording.file, tmp_path / "sound")
    answers: list[tuple[int, str]] = []
    page.on("response", lambda answer: answers.append((answer.status, answer.headers.get("content-range", ""))))
    page.goto(site.address + f"/calls/{site.ids['call_id']}")
    player = page.get_by_label("Recording of the talk")
    for jump_to in (0, 280):
        player.evaluate("(player, seconds) => { player.currentTime = seconds }", jump_to)
        player.focus()
        page.keyboard.press("Space")
        expect_played(player, jump_to + 0.1)
        page.keyboard.press("Space")
    assert player.evaluate("player => player.duration") == 300
    pieces = {answer for answer in answers if answer[1]}
    assert (206, f"bytes 0-{LARGEST_PIECE - 1}/{len(sound)}") in pieces
    assert len(pieces) > 1


def expect_played(player: Locator, seconds: float) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while player.evaluate("player => player.currentTime") < seconds:
        assert time.monotonic() < deadline
        player.page.wait_for_timeout(50)

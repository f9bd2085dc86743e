"""`router demo` as a newcomer meets it: a real process, a slow machine, a real browser, from the advertisement to the lead in the inbox."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from router.supervisor import PortTaken, claim_port
from tests.browser.accessibility import judge

PICTURES = os.environ.get("PICTURES")
ADVERTISEMENT = "/demo/?utm_source=google&utm_medium=cpc&utm_campaign=spring"
COMPANY, BILLBOARD = "(415) 555-0142", "(415) 555-0160"
TALK_SECONDS = 48 if PICTURES else 1
"""A picture shows a talk that somebody could have had."""
DEMO_PAGES = ("/demo/", "/demo/contact", "/demo/bikes/ridge", "/demo/phone", "/demo/inbox")
GREETING_LINES = 11
VIEWS: tuple[tuple[int, int, Literal["light", "dark"]], ...] = ((1280, 900, "light"), (390, 844, "dark"))


SLOW_SECONDS = 3
SITECUSTOMIZE = f"""
import sys, time
if any(word in sys.orig_argv for word in ("gunicorn", "worker", "router.demo.outside")):
    time.sleep({SLOW_SECONDS})
else:
    import router.demo.people
    router.demo.people.DAYS = 3
"""
"""What every Python of the demo reads when it starts: it is on a slow machine, and its past is of three days instead of three weeks."""


@dataclass(frozen=True)
class Demo:
    """What the greeting says, and what was to be seen at the start."""

    address: str
    email: str
    password: str
    said: list[str]
    """All lines up to the one that said that it was ready."""
    early_status: int
    """Of the answer to somebody who opened the address at once."""
    password_on_disk: str


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    with running_demo(tmp_path_factory.mktemp("demo")) as demo:
        yield demo


@contextmanager
def running_demo(folder: Path) -> Iterator[Demo]:
    """The whole demo at its first start, which ends by Ctrl-C without a process left, and had nothing to complain about."""
    (folder / "sitecustomize.py").write_text(SITECUSTOMIZE)
    given = {name: value for name, value in os.environ.items() if not name.startswith(("ROUTER_", "TWILIO_"))}
    port = free_port()
    environ = given | {"ROUTER_PORT": str(port), "PYTHONUNBUFFERED": "1"}
    environ |= {"PYTHONPATH": f"{folder}:{Path(__file__).parents[2]}", "ROUTER_DATA_DIR": str(folder / "data")}
    command = [sys.executable, "-m", "router", "demo"]
    options = {"cwd": folder, "env": environ, "text": True, "start_new_session": True}
    with (folder / "complaints").open("w+") as complaints:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=complaints, **options)  # type: ignore[call-overload]  # its options are chosen at run time
        with process:
            try:
                yield watch_the_start(process, port, folder)
            finally:
                os.killpg(process.pid, signal.SIGINT)
                rest = process.stdout.read()
                assert process.wait(60) == 0
        claim_port("127.0.0.1", port).close()
        complaints.seek(0)
        assert (rest, complaints.read()) == ("", "")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def watch_the_start(process: "subprocess.Popen[str]", port: int, folder: Path) -> Demo:
    assert process.stdout
    said = [process.stdout.readline() for _ in range(GREETING_LINES)]
    with pytest.raises(PortTaken):  # it is the demo that has it, and it does not answer yet
        claim_port("127.0.0.1", port)
    early = httpx.get(f"http://127.0.0.1:{port}/demo/", timeout=300, trust_env=False)
    while "Ready." not in said[-1]:
        said.append(process.stdout.readline())
        assert said[-1], f"The demo ended before it was ready: {said}"
    patterns = (r"(http://\S+?)/demo/\?", r"e-mail +(\S+)", r"password +(\S+)")
    address, email, password = (re.search(pattern, "".join(said)) for pattern in patterns)
    assert address
    assert email
    assert password
    on_disk = (folder / "data" / "demo" / "password").read_text()
    return Demo(address[1], email[1], password[1], said, early.status_code, on_disk)


@pytest.fixture
def context(browser: Browser, demo: Demo) -> Iterator[BrowserContext]:
    context = browser.new_context(base_url=demo.address, viewport={"width": 1280, "height": 900})
    context.set_default_timeout(20_000)
    yield context
    context.close()


def sign_in(page: Page, demo: Demo, then: str) -> None:
    """By the door that asks whoever opens a page without having signed in."""
    page.goto(then)
    page.get_by_label("E-mail").fill(demo.email)
    page.get_by_label("Password").fill(demo.password)
    page.get_by_role("button", name="Sign in").click()
    assert page.url == demo.address + then


def dial(page: Page, number: str, caller: str) -> None:
    """`caller` "" is withheld."""
    page.get_by_label("Number to call").fill(number)
    page.get_by_label("Caller", exact=True).fill(caller)
    page.get_by_role("button", name="Call", exact=True).click()


def hang_up(page: Page) -> None:
    page.locator("[data-hang-up]").click()


def test_addresses_and_password_come_first_and_ready_when_it_is(demo: Demo) -> None:
    greeting, then = demo.said[:GREETING_LINES], demo.said[GREETING_LINES:]
    assert f"{demo.address}/demo/?utm_source=google" in greeting[1]
    assert greeting[6].endswith(f"password {demo.password_on_disk}\n")
    assert greeting[10].startswith("  Starting …"), "and nothing of it waited for a process that slept"
    assert demo.early_status == 200, "who opened the address at once gets the page"
    assert all(line.startswith("  Still starting, after ") for line in then[:-1])
    assert then[-1] == "  Ready.\n"


def test_a_call_is_followed_from_the_advertisement_to_the_inbox(
    demo: Demo, page: Page, console: list[str], tmp_path: Path
) -> None:
    page.goto(ADVERTISEMENT)
    shown = page.locator(".head-call b")
    expect(shown).not_to_have_text(COMPANY)
    number = shown.inner_text()
    assert re.fullmatch(r"\(415\) 555-010\d", number)
    assert COMPANY not in page.locator("main").inner_text()
    expect(page.locator("[data-decided]")).to_contain_text(f"from google / cpc / spring was lent {number}")
    visit = page.locator("[data-decided] b").first.inner_text()
    page.get_by_role("link", name="Call it on the telephone").click()

    dial(page, page.get_by_label("Number to call").input_value(), "(628) 555-0117")
    progress = page.locator("[data-progress]")
    expect(progress).to_contain_text("Ringing")
    expect(progress).to_contain_text("Counter")
    page.get_by_role("button", name="No answer").click()
    expect(progress).to_contain_text("did not answer")
    page.get_by_role("button", name="Answer", exact=True).click()
    expect(progress).to_contain_text("Talking with the workshop")
    time.sleep(TALK_SECONDS)
    hang_up(page)
    expect(progress).to_contain_text("Talked for")
    receipt = page.get_by_role("link", name="Open the receipt of this call").get_attribute("href")

    sign_in(page, demo, "/calls")
    row = page.locator("tbody tr").first
    expect(row).to_contain_text("+1 628-555-0117")
    expect(row).to_contain_text("google / cpc / spring")
    row.get_by_role("link").click()
    assert page.url == f"{demo.address}{receipt}"
    expect(page.locator(".lead-sentence")).to_contain_text(
        re.compile(r"talked for\s+\d+ s\.\s+Came from\s+google / cpc / spring, (\d\d|100) % sure\.")
    )
    assert f"sure that it was visit {visit}" in page.locator(".steps .decided").inner_text()
    until_delivered(page)
    if PICTURES:
        page.set_viewport_size({"width": 1280, "height": 1140})
        page.screenshot(path=f"{PICTURES}/receipt.png")

    page.goto("/deliveries")
    newest = page.locator("tbody tr").filter(has_text="+1 628-555-0117")
    for name, when in (
        ("Webhook", "as the call began"),
        ("Webhook", "as the call ended"),
        ("Google Analytics", ""),
        ("Odoo", ""),
    ):
        expect(newest.filter(has_text=name).filter(has_text=when).first).to_contain_text("delivered")

    page.goto("/demo/inbox")
    messages = page.locator("[data-messages]")
    for message in ("call.started", "call.ended", "event Call", "lead “Call from +16285550117”", "campaign “spring”"):
        expect(messages).to_contain_text(message)
    assert console == []


def until_delivered(page: Page) -> None:
    """A receipt is a page as of now: it is opened again until all four receivers have been told."""
    until = time.monotonic() + 10
    while page.locator(".told").get_by_text("delivered").count() < 4:
        assert time.monotonic() < until, page.locator(".told").inner_text()
        time.sleep(0.3)
        page.reload()


def test_repeat_withheld_and_printed_numbers_tell_how_they_were_decided(demo: Demo, page: Page) -> None:
    page.goto(ADVERTISEMENT)
    expect(page.locator(".head-call b")).not_to_have_text(COMPANY)
    number = page.locator(".head-call b").inner_text()
    page.goto("/demo/phone")
    calls = [(number, "(628) 555-0119"), (number, "(628) 555-0119"), (number, ""), (BILLBOARD, "(628) 555-0118")]
    for to, caller in calls:
        dial(page, to, caller)
        expect(page.locator("[data-progress]")).to_contain_text("Ringing")
        hang_up(page)
        expect(page.locator("[data-progress]")).to_contain_text("hung up before anybody answered")
    sign_in(page, demo, "/calls")
    printed, withheld, repeated, _ = (page.locator("tbody tr").nth(index) for index in range(4))
    expect(printed).to_contain_text("billboard / offline / bay-bridge")
    expect(printed).to_contain_text("100 %")
    expect(withheld).to_contain_text("withheld")
    expect(withheld).to_contain_text("google / cpc / spring")
    assert "new" not in withheld.inner_text()
    assert "new" not in repeated.inner_text()
    repeated.get_by_role("link").click()
    expect(page.locator(".lead-sentence")).to_contain_text("as on this caller's first call")


def test_the_demos_pages_are_readable_for_all_and_fit_a_telephone(page: Page) -> None:
    for path in DEMO_PAGES:
        page.goto(path)
        for width, height, scheme in VIEWS:
            page.set_viewport_size({"width": width, "height": height})
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            assert page.evaluate("document.documentElement.scrollWidth") <= width, path
            judge(page)

"""R13 in a browser: send a call log, answer what nobody can tell, look at the plan, bring the readable lines over."""

from pathlib import Path

from playwright.sync_api import Browser, Page
from sqlalchemy import update

from router.accounts.audit import Change
from router.accounts.models import Project
from router.scenarios.numbers.inventory import add_numbers
from tests.browser.accessibility import bring_axe
from tests.browser.test_old_settings import look
from tests.browser.test_pages import running
from tests.people import NOW
from tests.scenarios.names import ALICE

OURS = "+493090182011"
HEAD = "All calls of November\n\nTracking Number\tPhone Number\tStart Time\tSource\tDuration (seconds)\n"
LINES = [
    *(
        f'{OURS}\t="+4915112345{index}"\t11/0{index % 9 + 1}/2025 2:0{index % 10} PM\tGoogle Ads\t35'
        for index in range(600, 640)
    ),
    f"{OURS}\t436641234567\t11/09/2025 3:05 PM\tDirect\t12",
    f"{OURS}\t33612345678\t11/09/2025 4:05 PM\tNewsletter\t60",
    f"{OURS}\tNo Caller ID\t11/09/2025 5:05 PM\tDirect\t0",
]
BAD = [
    f"{OURS}\t4,91512E+12\t11/09/2025 6:05 PM\tDirect\t0",
    "+493090189999\t+4915112345678\t11/09/2025 6:05 PM\tDirect\t0",
]


def send(page: Page, lines: list[str]) -> None:
    data = (HEAD + "\n".join(lines)).encode("utf-16")
    page.get_by_label("Call log").set_input_files(
        files=[{"name": "calls.txt", "mimeType": "text/plain", "buffer": data}]
    )
    page.get_by_role("button", name="Show the plan", exact=True).click()


def test_r13_a_call_log_is_planned_asked_about_and_brought_over_in_a_browser(tmp_path: Path, browser: Browser) -> None:
    with running(tmp_path) as site:
        site.settle()
        with site.server.database.writing() as session:
            session.execute(update(Project).values(country="DE"))
            project = session.get_one(Project, site.ids["project_id"])
            add_numbers(Change(session, site.server, project, ALICE, NOW), [OURS])
        context = site.context(browser, "alice")
        bring_axe(context)
        page = context.new_page()
        page.goto(site.address + "/settings/call-history")
        look(page, "/call-history")
        send(page, LINES + BAD)
        page.get_by_text("Say first how calls.txt is to be read.").wait_for()
        look(page, "/call-history-questions")
        page.get_by_label("The month stands first: 7 November 2025").check()
        page.get_by_label("They begin with a country code").check()
        page.get_by_role("button", name="Show the plan with this").click()
        page.get_by_text("2 lines cannot be used").wait_for()
        look(page, "/call-history-plan")
        page.get_by_text("Read it otherwise").click()
        look(page, "/call-history-otherwise")
        page.get_by_role("button", name="Import the 42 readable lines").click()
        page.get_by_text("42 calls brought over.").wait_for()
        look(page, "/call-history-done")
        context.close()

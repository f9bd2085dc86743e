"""The page about numbers that ring although nobody was shown them."""

from flask import Blueprint, render_template

from router.accounts.access import Audience, current_project, guard
from router.accounts.sessions import require_person
from router.phones import international, national
from router.reports.leaks import DAYS, LEAST_CALLERS, LEAST_CALLS, read_leaks
from router.reports.report_pages import address
from router.scenarios.number_table import titles_of
from router.server import current_server
from router.voice.models import EXTERNAL

leak_pages = guard(Blueprint("leaks", __name__, url_prefix="/numbers/leaks"), Audience.PEOPLE, require_person)


@leak_pages.get("")
def show() -> str:
    server, project = current_server(), current_project()
    with server.database.reading() as session:
        leaks = read_leaks(session, project.id, server.now())
        titles = titles_of(session, project.id)
    return render_template(
        "reports/leaks.html",
        leaks=leaks,
        titles=titles,
        calls_of=lambda leak: address("reports.calls", {"q": leak.e164, "kind": EXTERNAL}),
        written=lambda leak: "\n".join(dict.fromkeys((international(leak.e164), national(leak.e164), leak.e164[1:]))),
        days=DAYS,
        least_calls=LEAST_CALLS,
        least_callers=LEAST_CALLERS,
    )

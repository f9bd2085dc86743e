"""Pages of money: the balance and until when it lasts, its entries, topping it up, and the e-mails that were written; and the ledger for
programs."""

import re
import secrets
from collections.abc import Mapping
from typing import Any, ClassVar

from flask import Blueprint, flash, redirect, render_template, request, url_for
from pydantic import BaseModel
from sqlalchemy import select
from werkzeug.wrappers import Response

from router.accounts.audit import changing
from router.accounts.ledger import EntryValues, change_balance
from router.accounts.mail import send_again
from router.accounts.models import LedgerEntry, Mail
from router.accounts.sessions import require_person, require_token
from router.lib.formats import format_change, format_money
from router.scenarios.billing.statement import (
    FOR_GOOD,
    KINDS,
    EntryDocument,
    entries_of,
    entry_document,
    export_entries,
    project_forecast,
    say_note,
    say_reason,
    scenario_costs,
)
from router.scenarios.numbers.search import carrier_price
from router.scenarios.service import scenario_titles
from router.server import current_server
from router.web.access import Audience, current_project, guard, needs
from router.web.api import Paging, described, page_of, parse, rows_of
from router.web.errors import Problem, iso, read_json
from router.web.forms import Form, TextField, amount_of

balance_pages = guard(Blueprint("balance", __name__, url_prefix="/balance"), Audience.PEOPLE, require_person)

FORM_ID = re.compile(r"[0-9a-f]{16}")
MOST_COSTS = 10


@balance_pages.get("")
def show() -> str:
    server, project = current_server(), current_project()
    now = server.now()
    entries = entries_of(project.id, request.args.get("kind", ""))
    with server.database.reading() as session:
        rows, following = rows_of(session, entries, LedgerEntry.id, request.args)
        costs = scenario_costs(session, project, now)
        return render_template(
            "scenarios/balance.html",
            forecast=project_forecast(session, server, project, now),
            for_good=FOR_GOOD,
            now=now,
            carrier=carrier_price(session, project.country),
            costs=costs[:MOST_COSTS],
            other_costs=costs[MOST_COSTS:],
            rows=rows,
            following=following,
            titles=scenario_titles(session, project.id),
            kinds=KINDS,
            say_reason=lambda entry: say_reason(entry, project.timezone),
            say_note=say_note,
        )


@balance_pages.get("/entries.csv")
def entries() -> Response:
    server, project = current_server(), current_project()
    lines = export_entries(server, project, request.args.get("kind", ""))
    name = f"balance-{project.key}-{server.now():%Y-%m-%d}.csv"
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    return Response(lines, content_type="text/csv; charset=utf-8", headers=headers)


class TopUpForm(Form):
    PATHS: ClassVar[Mapping[str, str]] = {"amount": "amount_minor"}
    form = TextField()
    """The form's own id is the reason, so that one sent twice counts once."""
    amount = TextField()
    note = TextField()


@balance_pages.get("/top-up")
@needs("operator")
def top_up() -> str:
    return render_template("scenarios/top_up.html", form=TopUpForm(data={"form": secrets.token_hex(8)}))


@balance_pages.post("/top-up")
@needs("operator")
def try_top_up() -> Response | tuple[str, int]:
    project, form = current_project(), TopUpForm(request.form)
    form_id = form["form"].data if FORM_ID.fullmatch(form["form"].data) else secrets.token_hex(8)
    try:
        minor = amount_of(form.amount, project.currency, "amount_minor")
        values = parse(EntryValues, {"amount_minor": minor, "note": form.note.data, "reason": f"form:{form_id}"})
        with changing() as top_up:
            entry, is_new = change_balance(top_up, values)
    except Problem as problem:
        form.refuse(problem)
        return render_template("scenarios/top_up.html", form=form), problem.status
    change, balance = (
        format_change(entry.amount_minor, project.currency),
        format_money(entry.balance_minor, project.currency),
    )
    flash(f"{change}: the balance is {balance}." if is_new else f"This was counted before: {change}. Nothing changed.")
    return redirect(url_for("balance.show"))


@balance_pages.get("/mails")
def mails() -> str:
    server = current_server()
    with server.database.reading() as session:
        mails_of_project = select(Mail).where(Mail.project_id == current_project().id)
        rows, following = rows_of(session, mails_of_project, Mail.id, request.args)
    return render_template(
        "scenarios/mails.html", rows=rows, following=following, has_server=server.settings.mail_server is not None
    )


@balance_pages.post("/mails/<int:mail_id>/again")
def again(mail_id: int) -> Response:
    with changing() as change:
        send_again(change, mail_id)
    flash("The e-mail is sent in a moment.")
    return redirect(url_for("balance.mails"))


ledger_api = guard(
    Blueprint("ledger_api", __name__, url_prefix="/api/v1/projects/<int:project_id>/ledger"),
    Audience.PROGRAMS,
    require_token,
)


class LedgerDocument(BaseModel):
    """The balance, until when it lasts (null: nothing is to be paid), the price of a number for 7 days, and a page of entries."""

    balance_minor: int
    currency: str
    lasts_until: str | None
    number_price_minor: int
    items: list[EntryDocument]
    next: str | None


@ledger_api.get("")
@described(answer=LedgerDocument, query=Paging)
def show_ledger(project_id: int) -> dict[str, Any]:
    """The balance and its entries, newest first."""
    server, project = current_server(), current_project()
    with server.database.reading() as session:
        page = page_of(session, entries_of(project_id), LedgerEntry.id, request.args, entry_document)
        forecast = project_forecast(session, server, project, server.now())
    return {
        "balance_minor": forecast.balance_minor,
        "currency": project.currency,
        "lasts_until": iso(forecast.lasts_until) if forecast.lasts_until else None,
        "number_price_minor": forecast.price_minor,
    } | page


@ledger_api.post("")
@needs("operator")
@described(body=EntryValues, answer=EntryDocument, status=201, also={200: EntryDocument})
def add_entry(project_id: int) -> tuple[dict[str, Any], int]:
    """Top up or correct the balance; only the operator's tokens may. A repeated reason answers the entry that counted with 200."""
    values = parse(EntryValues, read_json(request))
    with changing() as change:
        entry, is_new = change_balance(change, values)
        return entry_document(entry), 201 if is_new else 200

"""A project's balance and its entries, for programs."""

from typing import Any

from flask import Blueprint, request
from pydantic import BaseModel

from router.accounts.access import Audience, current_actor, current_project, guard, needs
from router.accounts.api_habits import page_of, parse
from router.accounts.models import LedgerEntry
from router.accounts.openapi import described
from router.accounts.tokens import require_token
from router.accounts.top_up import EntryValues, change_balance
from router.scenarios.money.entries import entries_of, entry_document
from router.scenarios.money.forecast import project_forecast
from router.server import current_server
from router.web import iso, read_json

ledger_api = guard(
    Blueprint("ledger_api", __name__, url_prefix="/api/v1/projects/<int:project_id>/ledger"),
    Audience.PROGRAMS,
    require_token,
)


class EntryDocument(BaseModel):
    """One change of the balance; charges are negative. `number` and `scenario` are null when it was for none."""

    id: int
    at: str
    amount_minor: int
    balance_minor: int
    reason: str
    note: str
    actor: str
    number: str | None
    scenario: int | None


class LedgerDocument(BaseModel):
    """The balance, until when it lasts (null: nothing is to be paid), the price of a number for 7 days, and a page of entries."""

    balance_minor: int
    currency: str
    lasts_until: str | None
    number_price_minor: int
    items: list[EntryDocument]
    next: str | None


@ledger_api.get("")
@described(answer=LedgerDocument, query=("limit", "next"))
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
    values, server = parse(EntryValues, read_json(request)), current_server()
    with server.database.writing() as session:
        entry, is_new = change_balance(
            session, server.settings, current_project(), current_actor(), values, server.now()
        )
        return entry_document(entry), 201 if is_new else 200

"""What a project's numbers cost: the entries of its ledger for people, for programs and as a CSV file, the costs of scenarios, and how
long the balance lasts when every rented number is renewed for 7 days where its paid time ends (R4)."""

import csv
import io
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import Any

from pydantic import BaseModel
from sqlalchemy import BigInteger, Select, cast, func, or_, select
from sqlalchemy.orm import Session

from router.accounts.ledger import BOUGHT, RENEWED, price_of
from router.accounts.models import LedgerEntry, Project
from router.lib.formats import format_day, plain_money
from router.scenarios.models import PAID_TIME, RENTED, Scenario, TrackingNumber
from router.scenarios.service import scenario_titles
from router.server import Server
from router.web.errors import iso

KINDS = {"rent": "Rents", "refund": "Refunds", "top-up": "Top-ups and corrections"}
COST_DAYS = 30

_RENTS, _REFUNDS = LedgerEntry.reason.startswith("rent:"), LedgerEntry.reason.startswith("refund:")


def kind_of(entry: LedgerEntry) -> str:
    """One of KINDS, by its reason."""
    word = entry.reason.partition(":")[0]
    return word if word in ("rent", "refund") else "top-up"


def entries_of(project_id: int, kind: str = "") -> Select[LedgerEntry]:
    """SELECT of the entries of a project; what is no kind is passed over."""
    entries = select(LedgerEntry).where(LedgerEntry.project_id == project_id)
    conditions = {"rent": _RENTS, "refund": _REFUNDS, "top-up": ~or_(_RENTS, _REFUNDS)}
    return entries.where(conditions[kind]) if kind in conditions else entries


def say_reason(entry: LedgerEntry, zone: str) -> str:
    """`Renewed for 7 days from 23 Nov`, `Refund of 7 days from 2 Jan 2027`, `Top-up`, `Correction`."""
    kind = kind_of(entry)
    if kind == "top-up":
        return "Top-up" if entry.amount_minor > 0 else "Correction"
    start = None
    with suppress(ValueError):  # `rent:<number>:<start>`
        start = datetime.fromisoformat(entry.reason.removeprefix("refund:").removeprefix("rent:").partition(":")[2])
    word = entry.note if entry.note in (BOUGHT, RENEWED) else "Rent"
    named = "Refund of 7 days" if kind == "refund" else f"{word} for 7 days"
    if start is None or start.tzinfo is None:
        return named
    day = format_day(start, zone)
    return f"{named} from {day.removesuffix(f' {entry.at.year}')}"


def say_note(entry: LedgerEntry) -> str:
    """The note, unless the reason in words says the same."""
    return "" if entry.note in (BOUGHT, RENEWED) else entry.note


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


def entry_document(entry: LedgerEntry) -> dict[str, Any]:
    document = {name: getattr(entry, name, None) for name in EntryDocument.model_fields}
    return document | {"at": iso(entry.at), "number": entry.number or None, "scenario": entry.scenario_id}


def scenario_costs(session: Session, project: Project, now: datetime) -> Sequence[Any]:
    """Rents less refunds of the last 30 days, by the scenario that the number was in, the dearest first: `scenario_id`, `title`,
    `is_deleted`, `cost_minor` and `numbers`."""
    cost = cast(-func.sum(LedgerEntry.amount_minor), BigInteger)
    columns = (
        LedgerEntry.scenario_id,
        func.coalesce(Scenario.title, "In no scenario").label("title"),
        Scenario.deleted_at.is_not(None).label("is_deleted"),
        cost.label("cost_minor"),
        func.count(LedgerEntry.number.distinct()).label("numbers"),
    )
    recent = LedgerEntry.at >= now - timedelta(days=COST_DAYS)
    costs = (
        select(*columns)
        .outerjoin(Scenario, Scenario.id == LedgerEntry.scenario_id)
        .where(LedgerEntry.project_id == project.id, recent, or_(_RENTS, _REFUNDS))
        .group_by(LedgerEntry.scenario_id, Scenario.title, Scenario.deleted_at)
        .having(cost != 0)
        .order_by(cost.desc(), LedgerEntry.scenario_id)
    )
    return session.execute(costs).all()


PIECE = 500
COLUMNS = (
    "id", "at", "kind", "amount_minor", "amount", "balance_minor", "balance", "currency", "reason", "note", "number",
    "scenario", "scenario_title", "actor",
)  # fmt: skip
FORMULA = ("=", "+", "-", "@", "\t", "\r")


def export_entries(server: Server, project: Project, kind: str = "") -> Iterator[str]:
    """The lines of all entries, newest first. Each piece is one short read; what is added meanwhile is not in it."""
    yield _lines([dict(zip(COLUMNS, COLUMNS, strict=True))])
    before: int | None = None
    while True:
        with server.database.reading() as session:
            older = entries_of(project.id, kind)
            if before is not None:
                older = older.where(LedgerEntry.id < before)
            entries = session.scalars(older.order_by(LedgerEntry.id.desc()).limit(PIECE)).all()
            titles = scenario_titles(session, project.id)
        rows: list[dict[str, object]] = []
        for entry in entries:
            title, _ = titles.get(entry.scenario_id or 0, ("", False))
            texts = {"reason": entry.reason, "note": entry.note, "actor": entry.actor, "scenario_title": title}
            amounts = {"amount": entry.amount_minor, "balance": entry.balance_minor}
            rows.append(
                entry_document(entry)
                | {"kind": kind_of(entry), "currency": project.currency}
                | {name: harmless(text) for name, text in texts.items()}
                | {name: plain_money(minor, project.currency) for name, minor in amounts.items()}
            )
        if rows:
            yield _lines(rows)
        if len(entries) < PIECE:
            return
        before = entries[-1].id


def harmless(text: str) -> str:
    """The text as no spreadsheet takes it for a formula."""
    return f"'{text}" if text.startswith(FORMULA) else text


def _lines(rows: Sequence[Mapping[str, object]]) -> str:
    piece = io.StringIO()
    csv.DictWriter(piece, COLUMNS).writerows(rows)
    return piece.getvalue()


AHEAD = timedelta(days=7)
"""A balance that will last less is low."""
FOR_GOOD = datetime(9000, 1, 1, tzinfo=UTC)
"""Nobody looks further ahead, and a time zone can still be applied to it."""

Renewal = tuple[datetime, int]
"""When the paid time ends, and what the next 7 days cost in minor units."""


def lasts_until(balance_minor: int, renewals: Sequence[Renewal], now: datetime) -> datetime | None:
    """When the first renewal cannot be paid, not before `now` and at most FOR_GOOD; None when nothing costs anything."""
    costing = [(paid_until, price) for paid_until, price in renewals if price > 0]
    if not costing:
        return None
    left = balance_minor - sum(price * _due(paid_until, now) for paid_until, price in costing)
    if left < 0:
        return now
    coming = [(paid_until + _due(paid_until, now) * PAID_TIME, price) for paid_until, price in costing]
    begins = max(at for at, _ in coming) - PAID_TIME  # from then on every week costs the same
    before = sorted((at + week * PAID_TIME, price) for at, price in coming for week in range(_due(at, begins)))
    for at, price in before:
        left -= price
        if left < 0:
            return at
    week = sorted((at + _due(at, begins) * PAID_TIME, price) for at, price in coming)
    spent = list(accumulate(price for _, price in week))
    weeks, rest = divmod(left, spent[-1])
    first = week[bisect_right(spent, rest)][0]
    return FOR_GOOD if weeks > (FOR_GOOD - first) // PAID_TIME else first + weeks * PAID_TIME


def _due(paid_until: datetime, now: datetime) -> int:
    return max(0, (now - paid_until) // PAID_TIME + 1)


def weekly_cost(renewals: Sequence[Renewal]) -> int:
    return sum(price for _, price in renewals)


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a project's rented numbers cost, and until when its balance covers them."""

    balance_minor: int
    price_minor: int
    """For one number and 7 days."""
    rented: int
    weekly_minor: int
    lasts_until: datetime | None
    """None: numbers cost nothing, or none is rented."""
    is_low: bool
    """It lasts less than 7 days."""


def project_forecast(session: Session, server: Server, project: Project, now: datetime) -> Forecast:
    """Two statements, whatever the number of numbers. Numbers that are being given back are not renewed."""
    price = price_of(server.settings, project)
    balance = session.execute(select(Project.balance_minor).where(Project.id == project.id)).scalar_one()
    rows = session.execute(
        select(TrackingNumber.paid_until, func.count().label("numbers"))
        .where(TrackingNumber.project_id == project.id, RENTED, TrackingNumber.paid_until.is_not(None))
        .group_by(TrackingNumber.paid_until)
    ).all()
    renewals = [(row.paid_until, row.numbers * price) for row in rows if row.paid_until is not None]
    end = lasts_until(balance, renewals, now)
    return Forecast(
        balance_minor=balance,
        price_minor=price,
        rented=sum(row.numbers for row in rows),
        weekly_minor=weekly_cost(renewals),
        lasts_until=end,
        is_low=end is not None and end < now + AHEAD,
    )

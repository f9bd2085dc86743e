"""Entries of a ledger as people and programs read them: their kind, what they were for, and what scenarios cost."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, func, or_, select
from sqlalchemy.orm import Session

from router.accounts.ledger import BOUGHT, RENEWED
from router.accounts.models import LedgerEntry, Project
from router.formats import say_day
from router.scenarios.models import Scenario
from router.web import iso

KINDS = {"rent": "Rents", "refund": "Refunds", "top-up": "Top-ups and corrections"}
COST_DAYS = 30

_RENTS, _REFUNDS = LedgerEntry.reason.startswith("rent:"), LedgerEntry.reason.startswith("refund:")


def kind_of(entry: LedgerEntry) -> str:
    """One of KINDS, by its reason."""
    word = entry.reason.partition(":")[0]
    return word if word in ("rent", "refund") else "top-up"


def entries_of(project_id: int, kind: str = "") -> Select[LedgerEntry]:
    """SELECT of the entries of a project; what is no kind is passed over."""
    found = select(LedgerEntry).where(LedgerEntry.project_id == project_id)
    conditions = {"rent": _RENTS, "refund": _REFUNDS, "top-up": ~or_(_RENTS, _REFUNDS)}
    return found.where(conditions[kind]) if kind in conditions else found


def say_reason(entry: LedgerEntry, zone: str) -> str:
    """`Renewed for 7 days from 23 Nov`, `Refund of 7 days from 2 Jan 2027`, `Top-up`, `Correction`."""
    kind = kind_of(entry)
    if kind == "top-up":
        return "Top-up" if entry.amount_minor > 0 else "Correction"
    start = _start(entry.reason)
    word = entry.note if entry.note in (BOUGHT, RENEWED) else "Rent"
    named = "Refund of 7 days" if kind == "refund" else f"{word} for 7 days"
    if start is None:
        return named
    day = say_day(start, zone)
    return f"{named} from {day.removesuffix(f' {entry.at.year}')}"


def say_note(entry: LedgerEntry) -> str:
    """The note, unless the reason in words says the same."""
    return "" if entry.note in (BOUGHT, RENEWED) else entry.note


def _start(reason: str) -> datetime | None:
    """The moment at the end of `rent:<number>:<start>`."""
    _, _, text = reason.removeprefix("refund:").removeprefix("rent:").partition(":")
    try:
        start = datetime.fromisoformat(text)
    except ValueError:
        return None
    return start if start.tzinfo else None


def entry_document(entry: LedgerEntry) -> dict[str, Any]:
    """An entry as programs see it."""
    return {
        "id": entry.id,
        "at": iso(entry.at),
        "amount_minor": entry.amount_minor,
        "balance_minor": entry.balance_minor,
        "reason": entry.reason,
        "note": entry.note,
        "actor": entry.actor,
        "number": entry.number or None,
        "scenario": entry.scenario_id,
    }


@dataclass(frozen=True, slots=True)
class ScenarioCost:
    """What the numbers of a scenario cost; `scenario_id` is None for numbers that were in none."""

    scenario_id: int | None
    title: str
    is_deleted: bool
    cost_minor: int
    numbers: int


def scenario_costs(session: Session, project: Project, now: datetime) -> list[ScenarioCost]:
    """Rents less refunds of the last 30 days, by the scenario that the number was in, the dearest first."""
    cost = -func.sum(LedgerEntry.amount_minor)
    rows = session.execute(
        select(LedgerEntry.scenario_id, cost, func.count(LedgerEntry.number.distinct()))
        .where(
            LedgerEntry.project_id == project.id,
            LedgerEntry.at >= now - timedelta(days=COST_DAYS),
            or_(_RENTS, _REFUNDS),
        )
        .group_by(LedgerEntry.scenario_id)
        .order_by(cost.desc(), LedgerEntry.scenario_id)
    ).all()
    titles = titles_of(session, project.id, [scenario_id for scenario_id, _, _ in rows])
    return [
        ScenarioCost(scenario_id, *titles.get(scenario_id or 0, ("In no scenario", False)), int(minor), numbers)
        for scenario_id, minor, numbers in rows
        if minor
    ]


def titles_of(session: Session, project_id: int, scenario_ids: Sequence[int | None]) -> dict[int, tuple[str, bool]]:
    """Title and whether it is deleted, by id."""
    rows = session.execute(
        select(Scenario.id, Scenario.title, Scenario.deleted_at).where(
            Scenario.project_id == project_id, Scenario.id.in_({one for one in scenario_ids if one})
        )
    )
    return {row.id: (row.title, row.deleted_at is not None) for row in rows}

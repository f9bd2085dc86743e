"""The ledger as a CSV file, written in pieces."""

import csv
import io
from collections.abc import Iterator, Sequence

from sqlalchemy.orm import Session

from router.accounts.models import LedgerEntry, Project
from router.money import plain_money
from router.scenarios.money.entries import entries_of, kind_of, titles_of
from router.server import Server
from router.web import iso

PIECE = 500
COLUMNS = (
    "id", "at", "kind", "amount_minor", "amount", "balance_minor", "balance", "currency", "reason", "note", "number",
    "scenario", "scenario_title", "actor",
)  # fmt: skip
FORMULA = ("=", "+", "-", "@", "\t", "\r")


def export_entries(server: Server, project: Project, kind: str = "") -> Iterator[str]:
    """The lines of all entries, newest first. Each piece is one short read; what is added meanwhile is not in it."""
    yield _lines([COLUMNS])
    before: int | None = None
    while True:
        with server.database.reading() as session:
            found = entries_of(project.id, kind)
            if before is not None:
                found = found.where(LedgerEntry.id < before)
            entries = session.scalars(found.order_by(LedgerEntry.id.desc()).limit(PIECE)).all()
            rows = _rows(session, project, entries)
        if rows:
            yield _lines(rows)
        if len(entries) < PIECE:
            return
        before = entries[-1].id


def _rows(session: Session, project: Project, entries: Sequence[LedgerEntry]) -> list[Sequence[object]]:
    titles = titles_of(session, project.id, [entry.scenario_id for entry in entries])
    return [
        (
            entry.id,
            iso(entry.at),
            kind_of(entry),
            entry.amount_minor,
            plain_money(entry.amount_minor, project.currency),
            entry.balance_minor,
            plain_money(entry.balance_minor, project.currency),
            project.currency,
            harmless(entry.reason),
            harmless(entry.note),
            entry.number,
            entry.scenario_id or "",
            harmless(titles.get(entry.scenario_id or 0, ("", False))[0]),
            harmless(entry.actor),
        )
        for entry in entries
    ]


def harmless(text: str) -> str:
    """No spreadsheet takes it for a formula."""
    return f"'{text}" if text.startswith(FORMULA) else text


def _lines(rows: Sequence[Sequence[object]]) -> str:
    piece = io.StringIO()
    csv.writer(piece).writerows(rows)
    return piece.getvalue()

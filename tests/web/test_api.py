"""Habits of the API: cursors, merge patches, fields that are named."""

import base64
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import case, func, select

from router.accounts.models import AuditEntry
from router.db import Database
from router.web.api import make_cursor, merged, page_by_keys, page_of, parse, parse_cursor, take_version
from router.web.errors import Problem
from tests.people import NOW


class Ring(BaseModel):
    model_config = ConfigDict(extra="forbid")
    seconds: int = Field(ge=5)


class Flow(BaseModel):
    model_config = ConfigDict(extra="forbid")
    title: str
    rings: list[Ring]


@pytest.mark.parametrize(
    ("body", "field", "detail"),
    [
        ({"rings": []}, "title", "This is required."),
        ({"title": "x", "rings": [], "colour": 1}, "colour", "There is no such field."),
        ({"title": "x", "rings": [{"seconds": 1}]}, "rings.0.seconds", "greater than or equal to 5"),
        ({"title": 1, "rings": [{"seconds": 9, "x": 0}]}, "title", "valid string"),
    ],
)
def test_a_bad_field_is_named_by_its_path(body: dict[str, Any], field: str, detail: str) -> None:
    with pytest.raises(Problem) as refusal:
        parse(Flow, body)
    assert (refusal.value.status, refusal.value.field) == (422, field)
    assert detail in refusal.value.detail
    assert field in refusal.value.more["errors"]


def test_a_merge_patch_replaces_removes_and_merges() -> None:
    stored = {"a": 1, "b": {"c": 2, "d": [1, 2]}, "e": 5}
    assert merged(stored, {"a": None, "b": {"d": [3]}, "f": {"g": None, "h": 1}}) == {
        "b": {"c": 2, "d": [3]}, "e": 5, "f": {"h": 1}
    }  # fmt: skip
    assert stored == {"a": 1, "b": {"c": 2, "d": [1, 2]}, "e": 5}


@pytest.mark.parametrize("version", [None, "1", True, 1.0, -1, 2**31])
def test_a_patch_needs_the_version_that_was_read(version: Any) -> None:
    with pytest.raises(Problem) as refusal:
        take_version({"version": version})
    assert (refusal.value.status, refusal.value.field) == (422, "version")


@given(st.integers(min_value=0, max_value=2**63 - 1))
def test_a_cursor_comes_back_as_it_went(last: int) -> None:
    assert parse_cursor(make_cursor([last]), [AuditEntry.id]) == [last]


@given(st.text(max_size=40))
def test_a_foreign_cursor_is_refused_or_a_number(cursor: str) -> None:
    try:
        (last,) = parse_cursor(cursor, [AuditEntry.id])
    except Problem:
        return
    assert 0 <= last < 2**63


@pytest.mark.parametrize(
    "text",
    [
        "", "7", "{}", "[]", "[1,2,3]", "[[1],2]", '["2026-11-23T12:00:00",1]', '["0001-01-01T00:00:00+14:00",1]', '["soon",1]', "[1,1]",
        "[null,1]", '["2026-11-23T12:00:00+00:00",null]', '["2026-11-23T12:00:00+00:00",true]', '["2026-11-23T12:00:00+00:00",-1]',
        '["2026-11-23T12:00:00+00:00",9223372036854775808]', '["2026-11-23T12:00:00+00:00","1"]', "[" * 10_000, "[NaN,1]",
    ],
)  # fmt: skip
def test_a_cursor_of_another_list_is_refused(text: str) -> None:
    cursor = base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")
    with pytest.raises(Problem, match="next") as refusal:
        parse_cursor(cursor or "x", [AuditEntry.at, AuditEntry.id])
    assert (refusal.value.status, refusal.value.field) == (422, "next")


@pytest.mark.parametrize("text", ['["\\u0000",1]', '["\\ud800",1]', "[7,1]"])
def test_a_cursor_holds_only_text_that_a_database_takes(text: str) -> None:
    with pytest.raises(Problem, match="next"):
        parse_cursor(base64.urlsafe_b64encode(text.encode()).decode(), [AuditEntry.action, AuditEntry.id])


def test_a_list_by_keys_shows_every_row_once_in_either_direction(database: Database) -> None:
    """Rows with the same key, and rows without one, which come last; each page is asked for after a row more has come."""
    with database.writing() as session:
        session.add_all(
            AuditEntry(
                actor="x",
                at=NOW + timedelta(hours=number // 3),
                action=f"{number % 4}",
                subject="",
                detail={},
                project_id=None,
            )
            for number in range(11)
        )
    dated = case((AuditEntry.action != "3", AuditEntry.at))
    for falls in (True, False):
        for key in (dated, AuditEntry.at, AuditEntry.action, func.coalesce(AuditEntry.action, "")):
            with database.reading() as session:
                every, after = page_by_keys(
                    session, select(AuditEntry.id), [(key, falls), (AuditEntry.id, True)], "", 50
                )
                assert after is None
                pages, cursor = [], ""
                while cursor is not None:
                    rows, cursor = page_by_keys(
                        session, select(AuditEntry.id), [(key, falls), (AuditEntry.id, True)], cursor, 2
                    )
                    pages += [row.id for row in rows]
            assert pages == [row.id for row in every]
            assert len(set(pages)) == 11


def test_a_list_is_read_page_by_page_newest_first(database: Database) -> None:
    with database.writing() as session:
        session.add_all(
            AuditEntry(actor="x", at=NOW, action=str(number), subject="", detail={}, project_id=None)
            for number in range(5)
        )
    found, args = [], {"limit": "2"}
    with database.reading() as session:
        while True:
            page = page_of(session, select(AuditEntry), AuditEntry.id, args, lambda entry: int(entry.action))
            found.append(page["items"])
            if page["next"] is None:
                break
            args["next"] = page["next"]
        assert found == [[4, 3], [2, 1], [0]]
        for limit in ("0", "201", "-1", "x", "1.5", "９", "9" * 30):
            with pytest.raises(Problem, match="limit"):
                page_of(session, select(AuditEntry), AuditEntry.id, {"limit": limit})

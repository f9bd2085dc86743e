"""A project's own telephones as people type them, in the settings and by the API, and what the audit trail says of them."""

from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter
from sqlalchemy import select

from router.accounts.models import AuditEntry, Project
from router.accounts.projects import (
    LONGEST_REMARK,
    MOST_NUMBERS,
    OwnNumber,
    OwnNumbers,
    parse_own_numbers,
    written_numbers,
)
from router.db import Database
from tests.people import Cast, bearer, sign_in

LINES: list[tuple[str, str, str]] = [
    ("+49 30 7664398, Anna", "+49307664398", "Anna"),
    ("030 7664398", "+49307664398", ""),
    ("030/7664398 Zentrale", "+49307664398", "Zentrale"),
    ("+49 (0)30 7664398 (Herr Meier)", "+49307664398", "Herr Meier"),
    ("(030) 7664398 - Anna, 2nd floor", "+49307664398", "Anna, 2nd floor"),
    ("030 7664398, 2nd floor (desk)", "+49307664398", "2nd floor (desk)"),
    ("0151 23460002\tmobile of Bob", "+4915123460002", "mobile of Bob"),
    ("0151 23460002: Bob", "+4915123460002", "Bob"),
    ("+1 (415) 555-2671 # the agency", "+14155552671", "the agency"),
    ("0043 664 1234567 – Wien", "+436641234567", "Wien"),
    ("  +49 30 7664398  ,   Anna   Berg ", "+49307664398", "Anna Berg"),
    ("4915123460002; Анна", "+4915123460002", "Анна"),
]
"""A line as somebody in Germany types it, the number and the remark."""


def read(typed: Any, country: str = "DE") -> list[OwnNumber]:
    adapter: TypeAdapter[list[OwnNumber]] = TypeAdapter(OwnNumbers)
    return parse_own_numbers(adapter.validate_python(typed), country)


@pytest.mark.parametrize(("line", "number", "remark"), LINES)
def test_a_line_is_a_number_and_its_remark(line: str, number: str, remark: str) -> None:
    assert read(line) == [OwnNumber(number=number, remark=remark)]


@pytest.mark.parametrize(("line", "number", "remark"), LINES)
def test_what_is_shown_again_is_read_as_the_same(line: str, number: str, remark: str) -> None:
    assert read(written_numbers([one.model_dump() for one in read(line)])) == [OwnNumber(number=number, remark=remark)]


def test_two_spellings_of_one_line_are_one_telephone() -> None:
    twice = "+52 1 55 1234 5678, Ana\n\n+52 55 1234 5678, Ana again\n+52 55 1234 5678"
    assert read(twice) == [OwnNumber(number="+525512345678", remark="Ana")]


def test_a_program_gives_objects_or_lines() -> None:
    given = [{"number": "030 7664398", "remark": "Anna"}, "0151 23460002, Bob", {"number": "+14155552671"}]
    assert [(one.number, one.remark) for one in read(given)] == [
        ("+49307664398", "Anna"),
        ("+4915123460002", "Bob"),
        ("+14155552671", ""),
    ]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("Anna +49 30 7664398", "write the number first"),
        ("12", "is not a valid phone number"),
        ("+49 30 12345678901234567, Anna", "is not a"),
        ("sip:anna@pbx.example.com", "write the number first"),
        ("436641234567, Anna", "can be read as"),
    ],
)
def test_a_line_that_is_no_number_is_refused_with_what_to_do(line: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read(line)


def test_there_may_be_so_many_and_no_more() -> None:
    many = [f"+1415555{index:04d}" for index in range(MOST_NUMBERS + 1)]
    with pytest.raises(ValueError, match="at most 200"):
        read(many, "US")
    assert len(read(many[:-1], "US")) == MOST_NUMBERS


@given(
    st.text(max_size=60) | st.lists(st.text(max_size=30) | st.dictionaries(st.text(max_size=8), st.text()), max_size=4)
)
def test_whatever_is_typed_is_read_or_refused_with_a_sentence(typed: Any) -> None:
    try:
        found = read(typed)
    except ValueError:
        return
    assert all(one.number.startswith("+") and len(one.remark) <= LONGEST_REMARK for one in found)


@pytest.fixture
def alice(client: FlaskClient, cast: Cast) -> FlaskClient:
    return sign_in(client, cast.alice, cast.project)


def form(project: Project, **more: Any) -> dict[str, Any]:
    """The settings form as the page has it."""
    names = ("name", "country", "timezone", "currency", "email", "fallback_destination", "visit_gap_seconds")
    return {name: getattr(project, name) for name in names} | {
        "site": ", ".join(project.site), "source_days": 30, "repeat_credit": "first_call", "version": project.version,
        "own_numbers": "", "tell_internal": "nobody",
    } | more  # fmt: skip


def test_an_admin_types_them_and_finds_them_again_in_page_api_and_audit(
    alice: FlaskClient, cast: Cast, database: Database
) -> None:
    typed = form(
        cast.project, country="DE", own_numbers="030 7664398 Anna\r\n\r\n+1 415 555 2671", tell_internal="webhooks"
    )
    assert alice.post("/settings", data=typed).status_code == 302
    page = alice.get("/settings").text
    assert "+49 30 7664398, Anna\n+1 415-555-2671</textarea>" in page
    assert '<option value="webhooks" selected>' in page
    assert "Calls that came before stay what they were." in page
    with database.reading() as session:
        entry = session.scalars(select(AuditEntry).where(AuditEntry.action == "project changed")).one()
        wanted = [{"number": "+49307664398", "remark": "Anna"}, {"number": "+14155552671", "remark": ""}]
        assert entry.detail["own_numbers"] == [[], wanted]
        assert entry.detail["tell_internal"] == ["nobody", "webhooks"]
    assert "own numbers: – → +49307664398 Anna, +14155552671" in " ".join(alice.get("/settings/audit").text.split())
    answer = alice.get(f"/api/v1/projects/{cast.project.id}", headers=bearer(cast.alice_token)).get_json()
    assert (answer["own_numbers"], answer["tell_internal"]) == (wanted, "webhooks")


def test_a_bad_line_is_shown_beside_the_field_and_nothing_is_lost(alice: FlaskClient, cast: Cast) -> None:
    answer = alice.post("/settings", data=form(cast.project, own_numbers="+1 415 555 2671, Anna\nthe office"))
    assert answer.status_code == 422
    assert "“the office” has no number: write the number first, then its remark." in answer.text
    assert "+1 415 555 2671, Anna\nthe office</textarea>" in answer.text
    assert 'id="own_numbers-error"' in answer.text


def test_a_page_of_before_that_does_not_have_the_fields_changes_nothing_of_them(
    alice: FlaskClient, cast: Cast, database: Database
) -> None:
    alice.post("/settings", data=form(cast.project, own_numbers="+14155552671", tell_internal="all"))
    old = form(cast.project, version=cast.project.version + 1)
    del old["own_numbers"], old["tell_internal"]
    assert alice.post("/settings", data=old).status_code == 302
    with database.reading() as session:
        project = session.get_one(Project, cast.project.id)
        assert project.own_numbers == [{"number": "+14155552671", "remark": ""}]
        assert project.tell_internal == "all"


def test_lines_that_calls_are_forwarded_to_are_named_as_known(
    alice: FlaskClient, cast: Cast, database: Database
) -> None:
    with database.writing() as session:
        session.get_one(Project, cast.project.id).destination_numbers = ["+14155550123"]
    page = alice.get("/settings").text
    known = page.partition("Known without being typed")[2].partition("</p>")[0]
    assert "+1 415-555-0123" in known
    assert "because calls are forwarded there" in known


def test_a_program_patches_them_and_a_bad_one_names_the_field(client: FlaskClient, cast: Cast) -> None:
    address, headers = f"/api/v1/projects/{cast.project.id}", bearer(cast.alice_token)
    body = {"version": cast.project.version, "own_numbers": [{"number": "+1 415 555 2671", "remark": "Bob"}]}
    changed = client.patch(address, json=body, headers=headers)
    assert changed.get_json()["own_numbers"] == [{"number": "+14155552671", "remark": "Bob"}]
    for bad in (["nobody"], [{"number": "1"}], 7, [7], [{"number": "+14155552671", "name": "Bob"}]):
        refused = client.patch(address, json={"version": body["version"] + 1, "own_numbers": bad}, headers=headers)
        assert refused.status_code == 422
        assert refused.get_json()["field"].startswith("own_numbers")
    gone = client.patch(address, json={"version": body["version"] + 1, "own_numbers": None}, headers=headers)
    assert gone.get_json()["own_numbers"] == []

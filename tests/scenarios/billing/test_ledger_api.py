"""The ledger through the API (R4)."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select
from werkzeug.test import TestResponse

from router.accounts.ledger import Post, post
from router.accounts.models import AuditEntry, LedgerEntry, Mail, Project
from router.db import Database
from router.server import Server
from tests.factories import make_ledger_entry, make_rented_number
from tests.people import NOW, Cast, bearer
from tests.properties import examples

Ask = Callable[..., TestResponse]


@pytest.fixture
def server(app: Flask) -> Server:
    """The server that answers, at noon."""
    found: Server = app.extensions["router"]
    found.now = lambda: NOW
    return found


@pytest.fixture
def top_up(client: FlaskClient, cast: Cast) -> Ask:
    """Posts an entry as the operator."""

    def ask(amount: Any, token: str = "", **values: Any) -> TestResponse:
        body = {"amount_minor": amount, "note": "Bank transfer"} | values
        address = f"/api/v1/projects/{cast.project.id}/ledger"
        return client.post(address, json=body, headers=bearer(token or cast.operator_token))

    return ask


@pytest.fixture
def ledger(client: FlaskClient, cast: Cast) -> Callable[..., dict[str, Any]]:
    def ask(**query: str) -> dict[str, Any]:
        address = f"/api/v1/projects/{cast.project.id}/ledger"
        answer = client.get(address, query_string=query, headers=bearer(cast.bob_token))
        assert answer.status_code == 200
        return dict(answer.get_json())

    return ask


def entries(database: Database) -> int:
    with database.reading() as session:
        return session.scalar(select(func.count()).select_from(LedgerEntry)) or 0


def test_r4_the_operator_tops_up_and_everybody_of_the_project_reads_it(
    top_up: Ask, ledger: Any, database: Database
) -> None:
    answer = top_up(5000, note=" Bank\n transfer ", reason="invoice 7")
    assert answer.status_code == 201
    entry = answer.get_json()
    assert entry == {
        "id": entry["id"], "at": entry["at"], "amount_minor": 5000, "balance_minor": 5000, "reason": "invoice 7",
        "note": "Bank transfer", "actor": "token test", "number": None, "scenario": None,
    }  # fmt: skip
    assert ledger() == {
        "items": [entry], "next": None, "balance_minor": 5000, "currency": "EUR", "lasts_until": None,
        "number_price_minor": 0,
    }  # fmt: skip
    with database.reading() as session:
        audited = session.scalars(select(AuditEntry)).one()
    assert (audited.action, audited.subject) == ("balance top-up", "+50.00 EUR")


def test_r4_a_repeated_reason_counts_once_and_answers_the_entry_that_counted(top_up: Ask, database: Database) -> None:
    first = top_up(5000, reason="invoice 7")
    again = top_up(9999, reason=" invoice  7 ")
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.get_json() == first.get_json()
    assert entries(database) == 1
    with database.reading() as session:
        assert session.scalar(select(func.count()).select_from(AuditEntry)) == 1


def test_r4_without_a_reason_each_counts(top_up: Ask, database: Database) -> None:
    for reason in ({}, {"reason": None}, {"reason": " "}):
        assert top_up(10, **reason).status_code == 201
    assert entries(database) == 3


def test_r4_only_the_operator_writes(top_up: Ask, cast: Cast, database: Database) -> None:
    assert top_up(10, cast.alice_token).status_code == 403
    assert top_up(10, cast.bob_token).status_code == 403
    assert top_up(10, cast.charlie_token).status_code == 404
    assert entries(database) == 0


def test_r4_a_correction_does_not_take_the_balance_below_zero(top_up: Ask, ledger: Any) -> None:
    top_up(100)
    refused = top_up(-150)
    assert (refused.status_code, refused.get_json()["missing_minor"]) == (409, 50)
    assert "0.50 EUR" in refused.get_json()["detail"]
    assert top_up(-100, note="").status_code == 201
    assert ledger()["balance_minor"] == 0
    assert [one["amount_minor"] for one in ledger()["items"]] == [-100, 100]


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"amount_minor": 0}, "amount_minor"),
        ({"amount_minor": 10**15 + 1}, "amount_minor"),
        ({"amount_minor": -(10**30)}, "amount_minor"),
        ({"amount_minor": 1.5}, "amount_minor"),
        ({"amount_minor": "5"}, "amount_minor"),
        ({"amount_minor": True}, "amount_minor"),
        ({"amount_minor": None}, "amount_minor"),
        ({"reason": "rent:+14155550121:2026-11-23T12:00:00+00:00"}, "reason"),
        ({"reason": " Refund:x"}, "reason"),
        ({"reason": "x" * 121}, "reason"),
        ({"reason": 7}, "reason"),
        ({"note": "x" * 301}, "note"),
        ({"balance_minor": 5}, "balance_minor"),
    ],
)
def test_r4_what_cannot_be_used_names_its_field_and_leaves_nothing(
    top_up: Ask, database: Database, values: dict[str, Any], field: str
) -> None:
    answer = top_up(**({"amount": values.get("amount_minor", 10)} | values))
    assert (answer.status_code, answer.get_json()["field"]) == (422, field)
    assert entries(database) == 0


def test_r4_a_balance_beyond_all_sense_is_refused(top_up: Ask, ledger: Any) -> None:
    assert top_up(10**15).status_code == 201
    answer = top_up(1)
    assert (answer.status_code, answer.get_json()["field"]) == (422, "amount_minor")
    assert ledger()["balance_minor"] == 10**15


@settings(max_examples=examples(25), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "amount_minor": st.integers()
            | st.floats(allow_nan=False, allow_infinity=False)
            | st.text(max_size=5)
            | st.none(),
            "note": st.text(max_size=400) | st.integers(),
            "reason": st.text(max_size=200) | st.none() | st.lists(st.text(max_size=3), max_size=2),
        },
    )
)
def test_no_body_breaks_the_ledger(app: Flask, cast: Cast, database: Database, body: dict[str, Any]) -> None:
    address = f"/api/v1/projects/{cast.project.id}/ledger"
    answer = app.test_client().post(address, json=body, headers=bearer(cast.operator_token))
    assert answer.status_code in (200, 201, 409, 422)
    with database.reading() as session:
        total = session.scalar(
            select(func.coalesce(func.sum(LedgerEntry.amount_minor), 0)).where(
                LedgerEntry.project_id == cast.project.id
            )
        )
        assert session.get_one(Project, cast.project.id).balance_minor == total


def test_r4_the_newest_come_first_page_by_page(top_up: Ask, ledger: Any) -> None:
    for amount in (1, 2, 3):
        top_up(amount)
    first = ledger(limit="2")
    assert [one["amount_minor"] for one in first["items"]] == [3, 2]
    second = ledger(limit="2", next=first["next"])
    assert ([one["amount_minor"] for one in second["items"]], second["next"]) == ([1], None)
    assert second["balance_minor"] == 6


def test_r4_charges_are_negative_and_name_number_and_scenario_and_the_forecast_is_told(
    server: Server, cast: Cast, ledger: Any
) -> None:
    with server.database.writing() as session:
        session.get_one(Project, cast.project.id).number_price_minor = 100
        make_rented_number(session, cast.project, "+14155550121", NOW + timedelta(days=7))
        make_ledger_entry(session, cast.project, 250, "gift")
        rent = Post(-100, "rent:+14155550121:x", "the server", number="+14155550121", scenario_id=77)
        post(session, cast.project.id, rent, NOW)
    told = ledger()
    assert (told["items"][0]["amount_minor"], told["items"][0]["number"], told["items"][0]["scenario"]) == (
        -100, "+14155550121", 77,
    )  # fmt: skip
    assert told["lasts_until"] == "2026-12-07T12:00:00.000Z"
    assert told["number_price_minor"] == 100


@pytest.mark.parametrize(("price", "mails"), [(0, 0), (100, 1)])
def test_r4_where_numbers_cost_nothing_a_correction_to_zero_writes_no_email(
    top_up: Ask, database: Database, cast: Cast, price: int, mails: int
) -> None:
    with database.writing() as session:
        session.get_one(Project, cast.project.id).number_price_minor = price
    top_up(100)
    top_up(-100)
    with database.reading() as session:
        assert session.scalar(select(func.count()).select_from(Mail)) == mails


def test_r4_a_projects_price_is_set_by_the_operator_alone(client: FlaskClient, cast: Cast) -> None:
    address = f"/api/v1/projects/{cast.project.id}"

    def patch(token: str, version: int, **values: Any) -> TestResponse:
        return client.patch(address, json={"version": version} | values, headers=bearer(token))

    assert patch(cast.alice_token, 1, number_price_minor=5).status_code == 403
    assert patch(cast.operator_token, 1, number_price_minor=150).status_code == 200
    told = patch(cast.alice_token, 2, name="Shop", number_price_minor=150).get_json()
    assert (told["name"], told["number_price_minor"], told["balance_minor"]) == ("Shop", 150, 0)
    assert patch(cast.alice_token, 3, number_price_minor=None).status_code == 403
    for bad in (-1, 10**12 + 1, "5", True, 1.5):
        refused = patch(cast.operator_token, 3, number_price_minor=bad)
        assert (refused.status_code, refused.get_json()["field"]) == (422, "number_price_minor")
    assert patch(cast.operator_token, 3, number_price_minor=None).get_json()["number_price_minor"] is None


def test_r4_the_currency_stays_once_there_are_entries(client: FlaskClient, cast: Cast, top_up: Ask) -> None:
    address, alice = f"/api/v1/projects/{cast.project.id}", bearer(cast.alice_token)
    assert client.patch(address, json={"version": 1, "currency": "USD"}, headers=alice).status_code == 200
    top_up(100)
    refused = client.patch(address, json={"version": 2, "currency": "JPY"}, headers=alice)
    assert (refused.status_code, refused.get_json()["field"]) == (422, "currency")

"""The pages of money (R4): the balance and until when it lasts, entries, top-ups, a file to take along, and e-mails."""

import csv
import io
from dataclasses import replace
from datetime import timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select

from router.accounts.ledger import Post, post, post_all
from router.accounts.models import AuditEntry, LedgerEntry, Mail, Project
from router.carriers.base import CarrierPrice, TryLater
from router.db import Database
from router.lib.formats import format_change, parse_money
from router.scenarios.models import Scenario
from router.scenarios.numbers.search import KNOWN_FOR, UNKNOWN_FOR, carrier_price, refresh_carrier_prices
from router.server import Server
from tests.busy_project import PRICE, make_month_of_rent
from tests.counting import count_statements
from tests.factories import make_ledger_entry, make_scenario
from tests.people import NOW, PROJECT_VALUES, Cast, sign_in

pytestmark = pytest.mark.one_database


@pytest.fixture
def server(app: Flask) -> Server:
    """The server that answers, at noon."""
    found: Server = app.extensions["router"]
    found.now = lambda: NOW
    return found


@pytest.fixture
def rich(server: Server, cast: Cast) -> Cast:
    """Alice's project in the middle of its life."""
    with server.database.writing() as session:
        project = session.get_one(Project, cast.project.id)
        make_scenario(session, project, 4, title="Spring sale")
        cast.ids |= make_month_of_rent(session, project, NOW)
    return cast


@pytest.fixture
def alice(client: FlaskClient, rich: Cast) -> FlaskClient:
    return sign_in(client, rich.alice, rich.project)


def text_of(client: FlaskClient, path: str) -> str:
    answer = client.get(path)
    assert answer.status_code == 200
    return " ".join(answer.text.split())


def test_r4_the_first_glance_is_the_balance_and_until_when_it_lasts(alice: FlaskClient) -> None:
    page = text_of(alice, "/balance")
    assert "It lasts until <time" in page
    assert '<div class="stat-figure"><span class="nowrap">15.00 EUR</span></div>' in page
    assert '<div class="stat-figure"><span class="nowrap">6.00 EUR</span></div>' in page
    assert "4 rented numbers" in page
    assert "The carrier itself charges 1.15 USD a month for one." in page
    assert "Bought for 7 days from 23 Nov</td>" in page
    assert "Renewed for 7 days from 19 Nov</td>" in page
    assert "Refund of 7 days from 23 Nov<br>" in page
    assert "Bank transfer of 20 October" in page
    assert "−1.50 EUR" in page
    assert '<a href="/scenarios/' in page
    assert "Top up</a>" not in page


def test_r4_a_low_balance_says_what_to_do(alice: FlaskClient, rich: Cast, database: Database) -> None:
    with database.writing() as session:
        make_ledger_entry(session, rich.project, -1200, "form:x")
    low = text_of(alice, "/balance")
    assert "</time>, less than 7 days." in low
    assert "Ask the operator to top it up in time." in low
    assert "stat-warn" in low
    assert "enough for 2 days" in low
    with database.writing() as session:
        make_ledger_entry(session, rich.project, -250, "form:y")
    too_low = text_of(alice, "/balance")
    assert "It does not cover the renewals that are due." in too_low
    assert "Ask the operator to top it up now." in too_low
    assert "stat-bad" in too_low


def test_r4_with_a_price_of_zero_the_page_is_calm_and_still_names_the_carriers_price(
    alice: FlaskClient, rich: Cast, database: Database
) -> None:
    with database.writing() as session:
        session.get_one(Project, rich.project.id).number_price_minor = 0
    page = text_of(alice, "/balance")
    assert "Numbers cost nothing here, so no balance is needed." in page
    assert "The carrier itself charges 1.15 USD a month for one." in page
    assert "note-warn" not in page


def test_an_empty_ledger_says_what_will_stand_there(client: FlaskClient, cast: Cast) -> None:
    page = text_of(sign_in(client, cast.bob, cast.project), "/balance")
    assert "Numbers cost nothing here. Were there a price" in page
    assert "the carrier was not asked yet" in page


def test_entries_are_filtered_by_kind(alice: FlaskClient) -> None:
    page = text_of(alice, "/balance?kind=refund")
    assert "Refund of 7 days" in page
    assert "Renewed for 7 days" not in page
    page = text_of(alice, "/balance?kind=top-up")
    assert "Correction" in page
    assert "Refund of 7 days" not in page
    assert "No entry" not in text_of(alice, "/balance?kind=nonsense")


def test_a_long_ledger_costs_no_more_statements_than_a_short_one(
    alice: FlaskClient, rich: Cast, database: Database, server: Server
) -> None:
    with count_statements(server.database) as few:
        text_of(alice, "/balance")
    with database.writing() as session:
        scenario = session.scalars(select(Scenario)).first()
        for index in range(60):
            rent = Post(
                -1, f"rent:+1:{index}", "the server", number="+14155550120", scenario_id=scenario and scenario.id
            )
            post(session, rich.project.id, rent, NOW)
    with count_statements(server.database) as many:
        page = text_of(alice, "/balance")
    assert len(many) == len(few)
    assert 'rel="next"' in page


def test_r4_the_operator_tops_up_in_the_currencys_own_digits(
    client: FlaskClient, cast: Cast, database: Database
) -> None:
    olivia = sign_in(client, cast.olivia, cast.project)
    assert "Top up</a>" in text_of(olivia, "/balance")
    assert 'name="form" value="' in text_of(olivia, "/balance/top-up")
    form = {"form": "0123456789abcdef", "amount": "12,50", "note": "Cash"}
    sent = olivia.post("/balance/top-up", data=form, follow_redirects=True)
    assert "+12.50 EUR: the balance is 12.50 EUR." in sent.text
    twice = olivia.post("/balance/top-up", data=form, follow_redirects=True)
    assert "This was counted before" in twice.text
    with database.reading() as session:
        assert [entry.amount_minor for entry in session.scalars(select(LedgerEntry))] == [1250]
        assert [entry.action for entry in session.scalars(select(AuditEntry))] == ["balance top-up"]


@pytest.mark.parametrize(
    ("amount", "said"),
    [
        ("", "Write an amount like 12.50."),
        ("12.345", "Write an amount like 12.50."),
        ("1,000.00", "Write an amount like 12.50."),
        ("0", "An amount of zero changes nothing."),
        ("-1", "The balance cannot fall below zero: 1.00 EUR too much would be taken away."),
        ("9999999999999", "The balance would be larger than anybody"),
        ("99999999999999", "Write an amount like 12.50."),
    ],
)
def test_a_bad_amount_is_said_beside_its_field(client: FlaskClient, cast: Cast, amount: str, said: str) -> None:
    olivia = sign_in(client, cast.olivia, cast.project)
    olivia.post("/balance/top-up", data={"form": "0123456789abcdef", "amount": "900000000000", "note": ""})
    if amount == "-1":
        olivia.post("/balance/top-up", data={"form": "0123456789abcdee", "amount": "-900000000000", "note": ""})
    form = {"form": "x", "amount": amount, "note": "Kept"}
    answer = olivia.post("/balance/top-up", data=form)
    assert answer.status_code in (409, 422)
    assert said in answer.text
    assert 'id="amount-error"' in answer.text
    assert 'value="Kept"' in answer.text


def test_r4_nobody_but_the_operator_tops_up(alice: FlaskClient) -> None:
    assert alice.get("/balance/top-up").status_code == 403
    assert alice.post("/balance/top-up", data={"amount": "5"}).status_code == 403


def test_the_file_has_all_entries_and_no_formula(alice: FlaskClient, rich: Cast, database: Database) -> None:
    with database.writing() as session:
        for index, note in enumerate(("=HYPERLINK(1)", "+1", "-1", "@x", 'Zoë, "A"\nB')):
            post(session, rich.project.id, Post(1, f"=odd:{index}", "olivia", note), NOW + timedelta(hours=1))
        post_all(session, rich.project.id, [Post(1, f"gift:{index}", "olivia") for index in range(600)], NOW)
    answer = alice.get("/balance/entries.csv")
    assert answer.content_type == "text/csv; charset=utf-8"
    assert answer.headers["Content-Disposition"].endswith('-2026-11-23.csv"')
    rows = list(csv.DictReader(io.StringIO(answer.data.decode(), newline="")))
    with database.reading() as session:
        entries = session.scalars(
            select(LedgerEntry).where(LedgerEntry.project_id == rich.project.id).order_by(LedgerEntry.id.desc())
        ).all()
    assert [int(row["id"]) for row in rows] == [entry.id for entry in entries]
    assert sum(int(row["amount_minor"]) for row in rows) == entries[0].balance_minor
    odd = {row["note"] for row in rows if row["reason"].startswith("'=odd")}
    assert odd == {"'=HYPERLINK(1)", "'+1", "'-1", "'@x", 'Zoë, "A"\nB'}
    rent = next(row for row in rows if row["kind"] == "rent" and row["scenario"])
    assert (rent["amount_minor"], rent["amount"], rent["currency"]) == (str(-PRICE), "-1.50", "EUR")
    assert rent["at"].endswith("Z")
    assert rent["number"].startswith("+1212")
    assert rent["scenario_title"] == "Spring sale"
    few = list(csv.DictReader(io.StringIO(alice.get("/balance/entries.csv?kind=refund").data.decode(), newline="")))
    assert [row["kind"] for row in few] == ["refund"]


def test_r4_emails_are_shown_with_what_became_of_them(alice: FlaskClient) -> None:
    page = text_of(alice, "/balance/mails")
    assert "No mail server is set" in page
    for said in ("sent</span>", "given up</span>", "550 No such mailbox", "not sent</span>", "next try", "on its way"):
        assert said in page
    assert "Send again" not in page


def test_r4_an_email_that_was_given_up_can_be_sent_again(
    alice: FlaskClient, rich: Cast, server: Server, database: Database
) -> None:
    address = f"/balance/mails/{rich.ids['mail_id']}/again"
    assert alice.post(address).status_code == 409
    changed = server.settings.model_copy(update={"mail_url": "smtp://127.0.0.1:1"})
    server.settings = changed
    assert text_of(alice, "/balance/mails").count("Send again") == 2
    assert "sent in a moment" in alice.post(address, follow_redirects=True).text
    assert alice.post(address).status_code == 409
    with database.reading() as session:
        mail = session.get_one(Mail, rich.ids["mail_id"])
        assert (mail.next_at, mail.attempts) == (NOW, 0)
        assert session.scalar(select(func.count()).where(AuditEntry.action == "e-mail sent again")) == 1


def test_r4_the_operator_sets_a_projects_price_in_its_settings(
    client: FlaskClient, cast: Cast, database: Database
) -> None:
    def save(person: str, version: int, **values: str) -> str:
        signed_in = sign_in(client, getattr(cast, person), cast.project)
        form = {**PROJECT_VALUES, "visit_gap_seconds": "1800", "version": str(version), **values}
        return signed_in.post("/settings", data=form, follow_redirects=True).text

    def price() -> int | None:
        with database.reading() as session:
            return session.get_one(Project, cast.project.id).number_price_minor

    save("olivia", 1, number_price="1.50")
    assert price() == 150
    assert 'value="1.50"' in text_of(sign_in(client, cast.olivia, cast.project), "/settings")
    save("alice", 2, number_price="0", name="Shop")
    assert price() == 150
    assert "The operator sets the price." in text_of(sign_in(client, cast.alice, cast.project), "/settings")
    refused = save("olivia", 3, number_price="a lot")
    assert "Write an amount like 12.50." in refused
    assert 'value="a lot"' in refused
    assert "greater than or equal to 0" in save("olivia", 3, number_price="-1")
    save("olivia", 3, number_price="")
    assert price() is None


class Shop:
    """A carrier that tells its price, or does not."""

    def __init__(self) -> None:
        self.answers: dict[str, CarrierPrice | Exception | None] = {}
        self.asked: list[str] = []

    def price(self, country: str) -> CarrierPrice | None:
        self.asked.append(country)
        answer = self.answers.get(country)
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_the_carriers_own_price_is_asked_by_the_worker_and_remembered(server: Server, cast: Cast) -> None:
    shop = Shop()
    server.shop = shop
    shop.answers["US"] = TryLater("busy")

    def ask(now: object, expected: int) -> tuple[CarrierPrice | None, str]:
        assert refresh_carrier_prices(replace(server), now) == expected  # type: ignore[arg-type]  # a stand-in
        with server.database.reading() as session:
            known = carrier_price(session, "US")
        return known.price, known.reason

    assert ask(NOW, 1) == (None, "the carrier did not tell its price")
    assert ask(NOW + timedelta(minutes=1), 0)[0] is None
    shop.answers["US"] = price = CarrierPrice("1.15", "USD")
    assert ask(NOW + UNKNOWN_FOR, 1) == (price, "")
    assert ask(NOW + UNKNOWN_FOR + KNOWN_FOR - timedelta(seconds=1), 0) == (price, "")
    shop.answers["US"] = None
    assert ask(NOW + UNKNOWN_FOR + KNOWN_FOR, 1) == (None, "the carrier has no price for this country")
    assert shop.asked == ["US"] * 3
    with server.database.reading() as session:
        assert carrier_price(session, "").reason == "the project has no country"


def test_amounts_are_read_as_people_write_them() -> None:
    assert [parse_money(text, "EUR") for text in ("12", " 12.5", "12,50", "-3", "−3", "+0.01", "1 000")] == [
        1200, 1250, 1250, -300, -300, 1, 100000,
    ]  # fmt: skip
    assert parse_money("500", "JPY") == 500
    assert parse_money("1.234", "KWD") == 1234
    for text, currency in (("1.5", "JPY"), ("1,234", "KWD"), ("1e5", "EUR"), ("٣", "EUR"), ("1.", "EUR"), ("", "EUR")):
        with pytest.raises(ValueError, match="Write an amount like"):
            parse_money(text, currency)
    assert [format_change(minor, "EUR") for minor in (-150, 0, 5)] == ["−1.50 EUR", "+0.00 EUR", "+0.05 EUR"]

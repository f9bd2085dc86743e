"""The e-mail ahead of time (R4): once when the balance will last less than 7 days, and nothing of it where numbers cost nothing."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from sqlalchemy import select

from router.accounts.ledger import Post, post
from router.accounts.models import Mail, Project
from router.scenarios.billing.rent import watch_balances
from router.scenarios.models import TrackingNumber
from router.server import Server
from tests.people import NOW

DAY = timedelta(days=1)


@pytest.fixture
def office(server: Server) -> Server:
    return replace(server, settings=server.settings.model_copy(update={"number_price": 100}))


def rent(server: Server, project: Project, *paid_until: datetime) -> None:
    """The project's first numbers are rented numbers, paid until then."""
    with server.database.writing() as session:
        numbers = session.scalars(select(TrackingNumber).where(TrackingNumber.project_id == project.id)).all()
        for number, end in zip(numbers, paid_until, strict=False):
            number.owned_elsewhere, number.paid_until = False, end


def move(server: Server, project: Project, amount: int) -> None:
    with server.database.writing() as session:
        post(session, project.id, Post(amount, f"move:{amount}:{len(mails(server))}", "test"), NOW)


def mails(server: Server) -> list[Mail]:
    with server.database.reading() as session:
        return list(session.scalars(select(Mail).order_by(Mail.id)))


def test_r4_one_email_when_the_balance_will_last_less_than_7_days(office: Server, project: Project) -> None:
    rent(office, project, NOW + 2 * DAY, NOW + 4 * DAY)
    move(office, project, 250)
    assert watch_balances(office, NOW) == 0  # until the ninth day
    move(office, project, -150)
    assert watch_balances(office, NOW) == 1
    assert watch_balances(office, NOW + timedelta(hours=1)) == 0
    (mail,) = mails(office)
    assert mail.recipient == "office@shop.example.com"
    assert mail.subject == "The balance of Alpine Bikes lasts less than 7 days"
    assert "1.00 EUR" in mail.body
    assert "2.00 EUR for 7 days" in mail.body
    assert "Fri 27 Nov, 13:00 (Europe/Berlin)" in mail.body


def test_r4_again_only_after_it_lasted_longer_in_between(office: Server, project: Project) -> None:
    rent(office, project, NOW + DAY)
    assert watch_balances(office, NOW) == 1
    move(office, project, 1000)
    assert watch_balances(office, NOW + timedelta(hours=1)) == 0
    move(office, project, -950)
    assert watch_balances(office, NOW + timedelta(hours=2)) == 1
    assert len(mails(office)) == 2


def test_r4_two_workers_write_one_email(office: Server, project: Project) -> None:
    rent(office, project, NOW + DAY)
    assert sum(watch_balances(one, NOW) for one in (office, replace(office))) == 1
    assert len(mails(office)) == 1


def test_r4_with_a_price_of_zero_nobody_is_written_to(server: Server, project: Project) -> None:
    rent(server, project, NOW + DAY, NOW - DAY)
    assert watch_balances(server, NOW) == 0
    assert mails(server) == []


def test_r4_a_project_with_its_own_price_of_zero_is_left_alone(office: Server, project: Project) -> None:
    rent(office, project, NOW + DAY)
    with office.database.writing() as session:
        session.get_one(Project, project.id).number_price_minor = 0
    assert watch_balances(office, NOW) == 0


def test_r4_numbers_owned_elsewhere_cost_nothing(office: Server, project: Project) -> None:
    assert watch_balances(office, NOW) == 0
    rent(office, project, NOW + DAY)
    with office.database.writing() as session:
        for number in session.scalars(select(TrackingNumber)):
            number.owned_elsewhere = True
    assert watch_balances(office, NOW) == 0

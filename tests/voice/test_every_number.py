"""R12: whatever becomes of a number, who calls it is connected, and to the right line. R7: and known again."""

from collections.abc import Callable
from datetime import timedelta
from xml.etree import ElementTree

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from router.accounts.audit import Actor, Change
from router.accounts.models import Project
from router.scenarios.billing.rent import renew_due
from router.scenarios.models import Scenario, TrackingNumber
from router.scenarios.numbers.inventory import move_numbers
from router.scenarios.numbers.purchase import buy_now, order_numbers
from router.scenarios.numbers.release import advance_releases, begin_release
from router.scenarios.service import delete_with_numbers
from router.server import Server
from router.voice.models import Call
from tests.factories import COMPANY_LINE, make_ledger_entry, make_project, make_scenario
from tests.scenarios.shop import FakeShop
from tests.voice.carrier import CarrierClient

NUMBER, OTHER_LINE, FALLBACK, SERVERS = "+12125550190", "+14155550133", "+14155550111", "+14155550199"
ALICE = Actor("alice@example.com", roles={})
WEEK = timedelta(days=7)


class World:
    """A project whose number was bought for a scenario, and what can happen to it."""

    def __init__(self, server: Server) -> None:
        self.server, self.now = server, server.now() - timedelta(days=60)
        self.shop = server.shop = FakeShop([NUMBER])
        with server.database.writing() as session:
            self.project = make_project(session, number_price_minor=100)
            make_ledger_entry(session, self.project, 100, at=self.now)
            self.scenario = make_scenario(session, self.project, 0)
            self.other = make_scenario(session, self.project, 0, destinations=[OTHER_LINE])

    def order(self) -> None:
        with self.server.database.writing() as session:
            order_numbers(
                Change(session, self.server, self.project, Actor("alice"), self.now),
                [NUMBER],
                scenario_id=self.scenario.id,
            )

    def buy(self, scenario_id: int | None = None) -> None:
        buy_now(self.server, self.project, "alice", NUMBER, self.now, scenario_id)

    def in_grace(self) -> None:
        self.bought()
        renew_due(self.server, self.now + WEEK + timedelta(days=3))

    def after_grace(self) -> None:
        self.bought()
        self.change(lambda number: setattr(number, "static_source", {"source": "print"}))
        renew_due(self.server, self.now + 3 * WEEK)

    def given_up(self) -> None:
        self.bought()
        renew_due(self.server, self.now + 3 * WEEK)
        with self.server.database.reading() as session:
            assert number(session).releasing_at is not None

    def bought(self) -> None:
        self.buy(self.scenario.id)

    def free(self) -> None:
        self.buy()

    def change(self, edit: Callable[[TrackingNumber], None]) -> None:
        with self.server.database.writing() as session:
            edit(number(session))

    def releasing(self) -> None:
        self.bought()
        with self.server.database.writing() as session:
            begin_release(Change(session, self.server, self.project, Actor("alice"), self.now), number(session))

    def released(self) -> None:
        self.releasing()
        advance_releases(self.server, self.now)
        assert not self.shop.account

    def bought_again(self) -> None:
        self.released()
        self.pay("top-up:2")
        self.bought()

    def free_again(self) -> None:
        self.released()
        self.pay("top-up:2")
        self.buy()

    def pay(self, reason: str) -> None:
        with self.server.database.writing() as session:
            make_ledger_entry(session, self.project, 100, reason, at=self.now)

    def moved(self) -> None:
        self.bought()
        with self.server.database.writing() as session:
            move_numbers(
                Change(session, self.server, self.project, ALICE, self.now), [number(session).id], self.other.id
            )

    def static(self) -> None:
        self.bought()
        self.change(lambda number: setattr(number, "static_source", {}))

    def deleted(self) -> None:
        self.bought()
        self.delete(give_back=False)

    def deleted_and_given_back(self) -> None:
        self.bought()
        self.delete(give_back=True)

    def delete(self, give_back: bool) -> None:
        with self.server.database.writing() as session:
            change = Change(session, self.server, self.project, ALICE, self.now)
            delete_with_numbers(change, self.scenario.id, give_back)

    def deleted_while_bought(self) -> None:
        self.order()
        self.delete(give_back=False)

    def disabled(self) -> None:
        self.bought()
        with self.server.database.writing() as session:
            session.get_one(Scenario, self.scenario.id).enabled = False

    def suspended(self) -> None:
        self.bought()
        with self.server.database.writing() as session:
            session.get_one(Project, self.project.id).suspended_at = self.now


def number(session: Session) -> TrackingNumber:
    return session.scalars(select(TrackingNumber).where(TrackingNumber.e164 == NUMBER)).one()


FATES = {
    "order": SERVERS, "bought": COMPANY_LINE, "free": FALLBACK, "in_grace": COMPANY_LINE, "after_grace": COMPANY_LINE,
    "given_up": COMPANY_LINE, "releasing": COMPANY_LINE, "released": COMPANY_LINE, "bought_again": COMPANY_LINE,
    "free_again": COMPANY_LINE, "moved": OTHER_LINE, "static": COMPANY_LINE, "deleted": COMPANY_LINE,
    "deleted_and_given_back": COMPANY_LINE, "deleted_while_bought": SERVERS, "disabled": COMPANY_LINE,
    "suspended": COMPANY_LINE,
}  # fmt: skip
"""What became of the number, and where a call to it goes."""


@pytest.mark.parametrize(("fate", "line"), FATES.items(), ids=FATES)
def test_r12_who_calls_a_number_is_connected_whatever_became_of_it(
    server: Server, client: FlaskClient, fate: str, line: str
) -> None:
    getattr(World(server), fate)()
    answer = CarrierClient(client, server).dial(NUMBER)
    assert (answer.status_code, answer.mimetype) == (200, "text/xml")
    dialled = [one.text for one in ElementTree.fromstring(answer.data).iter("Number")]
    assert dialled == [line]


def test_r7_who_called_a_number_before_it_was_given_back_is_known_when_its_project_has_it_again(
    server: Server, client: FlaskClient
) -> None:
    world, carrier = World(server), CarrierClient(client, server)
    world.bought()
    world.change(lambda number: setattr(number, "static_source", {"source": "print"}))
    carrier.dial(NUMBER, sid="CA1")
    with server.database.writing() as session:
        begin_release(Change(session, server, world.project, Actor("alice"), world.now), number(session))
    advance_releases(server, world.now + timedelta(days=2))
    world.pay("top-up:2")
    world.bought()
    carrier.dial(NUMBER, sid="CA2")
    with server.database.reading() as session:
        first, second = session.scalars(select(Call).order_by(Call.id))
        assert (first.rule, first.first_call, second.rule, second.first_call) == ("static", True, "repeat", False)
        assert second.source == first.source

"""What the tests of the outbox and of its claims share."""

from typing import Any

from sqlalchemy import select

from router.db import Database
from router.integrations.models import Delivery
from router.integrations.outbox import fan_out
from router.integrations.queue import DeliveryClaim, Outcome, claim, finish, take_back_lost
from router.scenarios.models import Scenario
from tests.factories import make_call, make_integration
from tests.integrations.conftest import Office
from tests.people import NOW

DONE = Outcome("done", status=200)
FAILED = Outcome("retry", "The receiver answered 500.", status=500)


def ended_call(office: Office, **more: Any) -> int:
    with office.database.writing() as session:
        call = make_call(session, session.get_one(Scenario, office.scenario_id), **more)
        fan_out(session, call, "call.ended", NOW)
        return call.id


def add(office: Office, slot: str, kind: str, receiver: str = "one", scenario_id: int | None = None) -> int:
    with office.database.writing() as session:
        scenario = session.get_one(Scenario, scenario_id or office.scenario_id)
        return make_integration(session, scenario, slot, kind, receiver=receiver).id


def deliveries(database: Database) -> list[Delivery]:
    with database.reading() as session:
        return list(session.scalars(select(Delivery).order_by(Delivery.id)))


def claims(
    database: Database, now: Any = NOW, room: int = 50, failing: int = 50, at_once: int = 1
) -> list[DeliveryClaim]:
    """As a worker claims that may have `at_once` more under way at each receiver."""
    with database.writing() as session:
        take_back_lost(session, now)
        return claim(session, now, room, failing, lambda receiver: at_once)


def end(database: Database, one: DeliveryClaim, outcome: Outcome, now: Any = NOW) -> bool:
    with database.writing() as session:
        return finish(session, one, outcome, now, 0.5)

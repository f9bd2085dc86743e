"""Scenarios, balance and numbers are locked in one order by everybody: an admin and the worker never stop each other (R4)."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import event, func, select

from router.accounts.audit import Change
from router.accounts.models import Project
from router.config import Settings
from router.db import Database
from router.lib.crypto import KeyRing
from router.scenarios.billing.rent import renew_due
from router.scenarios.models import NumberOrder, Scenario
from router.scenarios.service import change_scenario, create_scenario
from router.server import Server
from tests.factories import NOON, make_ledger_entry, make_project, make_rented_number
from tests.scenarios.names import ALICE, LINE, WEEK, balance_of
from tests.scenarios.shop import FakeShop
from tests.secret import SECRET
from tests.waiting import eventually

RENTED = [f"+141555502{number:02d}" for number in range(10)]
FOR_SALE = ["+12125550190", "+12125550191"]
MOMENT = 0.3
"""Seconds that one waits for the other to come as far as it should not."""


@pytest.fixture
def server(settings: Settings, database: Database) -> Server:
    server = Server(settings, database, KeyRing((SECRET,)), now=lambda: NOON)
    server.shop = FakeShop(list(FOR_SALE))
    return server


@pytest.fixture
def project(database: Database) -> Project:
    with database.writing() as session:
        project = make_project(session, number_price_minor=1)
        make_ledger_entry(session, project, 100)
        for e164 in RENTED:
            make_rented_number(session, project, e164, NOON + WEEK)
        return project


def document(**more: Any) -> dict[str, Any]:
    flow = {"destinations": [{"to": LINE}]}
    return {"title": "Spring", "numbers": RENTED, "flow": flow, "to_buy": {"numbers": FOR_SALE}} | more


@pytest.mark.parametrize("new", [True, False], ids=["made", "changed"])
def test_r4_one_who_enables_a_scenario_and_the_renewal_of_its_numbers_never_stop_each_other(
    server: Server, project: Project, new: bool
) -> None:
    with server.database.writing() as session:
        there = None if new else create_scenario(Change(session, server, project, ALICE, NOON), document())[0].id
    placed, charging = threading.Event(), threading.Event()

    def meet(_: Any, __: Any, statement: str, *___: Any) -> None:
        """The admin has his numbers and waits for the worker to have the balance, if he can."""
        if "FOR UPDATE" in statement and "FROM tracking_number" in statement and placing.is_alive():
            if threading.current_thread() is placing and not placed.is_set():
                placed.set()
                charging.wait(MOMENT)
        elif "FOR NO KEY UPDATE" in statement and threading.current_thread() is not placing:
            charging.set()

    failed: list[Exception] = []

    def enable() -> None:
        try:
            with server.database.writing() as session:
                if there is None:
                    create_scenario(Change(session, server, project, ALICE, NOON), document(enabled=True))
                else:
                    on = {"enabled": True}
                    change_scenario(
                        Change(session, server, project, ALICE, NOON), there, lambda present: present | on, None
                    )
        except Exception as error:
            failed.append(error)

    event.listen(server.database.engine, "after_cursor_execute", meet)
    placing = threading.Thread(target=enable)
    with ThreadPoolExecutor(1) as worker:
        placing.start()
        eventually(lambda: placed.is_set() or not placing.is_alive() or server.database.is_sqlite)
        renewed = worker.submit(renew_due, server, NOON + WEEK)
        placing.join()
        assert (failed, renewed.result()) == ([], len(RENTED))
    with server.database.reading() as session:
        assert session.scalar(select(func.count(NumberOrder.id))) == len(FOR_SALE)
        assert session.scalars(select(Scenario.enabled)).all() == [True]
        assert balance_of(session, project) == 100 - len(RENTED) - len(FOR_SALE)

"""R9: the daily run of upkeep: once for each scenario and day, whole or not at all, before the day's renewals."""

import threading
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from router.accounts.ledger import Post, post
from router.accounts.models import LedgerEntry, Mail, Project
from router.attribution.models import PoolNumber, UpkeepRun
from router.attribution.upkeep.service import due_scenarios, keep_pools, plan_upkeep, run_upkeep
from router.carriers.base import ComplianceMissing, TryLater
from router.db import Database
from router.lib.formats import day_of
from router.scenarios.models import NumberBatch, NumberOrder, Scenario, TrackingNumber, numbers_changed
from router.scenarios.numbers.purchase import advance_due
from router.server import Server
from router.worker import renewal_jobs
from tests.factories import (
    NOON,
    make_leased_visits,
    make_ledger_entry,
    make_project,
    make_rented_numbers,
    make_scenario,
)
from tests.scenarios.shop import FakeShop

FOR_SALE = [f"+1212555{index:04}" for index in range(5000, 5040)]
MIDNIGHT = datetime.fromisoformat("2026-11-23T05:00:00+00:00")
"""The project's day begins: it is in New York."""
LATER = MIDNIGHT + timedelta(hours=2)


@pytest.fixture
def shop(server: Server) -> FakeShop:
    shop = FakeShop(list(FOR_SALE))
    server.shop = shop
    return shop


@pytest.fixture
def project(database: Database, shop: FakeShop) -> Project:
    with database.writing() as session:
        return make_project(session, country="US", number_price_minor=0)


def make_pool(
    session: Session, project: Project, numbers: int, accuracy: int | None, needed: int = 30, **values: Any
) -> Scenario:
    """A scenario with upkeep, whose rented numbers are paid for one more hour, and visits that need so many."""
    given = {"upkeep_on": True, "upkeep_began_with": numbers, "accuracy": accuracy}
    scenario = make_scenario(session, project, 0, **given | values)
    rented = [f"+1212555{scenario.id % 10}{index:03}" for index in range(numbers)]
    make_rented_numbers(session, project, rented, MIDNIGHT + timedelta(hours=1), scenario)
    visits = {6: 2, 30: 20, 20: 12}[needed]
    make_leased_visits(session, scenario, [{"started_at": MIDNIGHT - timedelta(days=2)}] * visits)
    return scenario


def pool_of(database: Database, scenario: Scenario) -> list[TrackingNumber]:
    with database.reading() as session:
        return list(session.scalars(select(TrackingNumber).where(TrackingNumber.scenario_id == scenario.id)))


def runs(database: Database) -> list[UpkeepRun]:
    with database.reading() as session:
        return list(session.scalars(select(UpkeepRun).order_by(UpkeepRun.id)))


def test_r9_seventeen_numbers_at_84_per_cent_become_eighteen(
    server: Server, database: Database, project: Project, shop: FakeShop
) -> None:
    with database.writing() as session:
        scenario = make_pool(session, project, 17, 84)
    assert keep_pools(server, LATER) == 1
    while advance_due(server, LATER):
        pass
    (run,) = runs(database)
    assert (run.day, run.accuracy, run.numbers, run.action, run.wanted, run.count) == (
        "2026-11-23",
        84,
        17,
        "buy",
        1,
        1,
    )
    assert run.needed is not None
    assert run.needed > 17
    pool = pool_of(database, scenario)
    assert len(pool) == 18
    assert {one.e164 for one in pool} & set(FOR_SALE) == {FOR_SALE[0]}, "of the area that the pool has"
    with database.reading() as session:
        batch = session.get_one(NumberBatch, run.batch_id)
    assert (batch.actor, batch.search) == ("upkeep", {"country": "US", "area_code": "212", "contains": ""})


def test_r9_twenty_two_numbers_at_100_per_cent_become_twenty(
    server: Server, database: Database, project: Project
) -> None:
    with database.writing() as session:
        scenario = make_pool(session, project, 22, 100, 6)
    keep_pools(server, LATER - timedelta(hours=2))
    (run,) = runs(database)
    assert (run.action, run.count) == ("release", 2)
    assert len(pool_of(database, scenario)) == 20
    with database.reading() as session:
        assert (
            session.scalar(select(func.count(TrackingNumber.id)).where(TrackingNumber.releasing_at.is_not(None))) == 2
        )


def test_r9_a_day_is_decided_once_and_the_next_one_again(server: Server, database: Database, project: Project) -> None:
    with database.writing() as session:
        scenario = make_pool(session, project, 17, 84)
    assert keep_pools(server, MIDNIGHT) == 1
    assert keep_pools(server, MIDNIGHT + timedelta(hours=23, minutes=59)) == 0
    assert run_upkeep(server, scenario.id, MIDNIGHT + timedelta(hours=9)) is None
    assert keep_pools(server, MIDNIGHT + timedelta(hours=24)) == 1
    assert [one.day for one in runs(database)] == ["2026-11-23", "2026-11-24"]
    assert runs(database)[1].numbers == 18, "what is being bought counts"


def test_r9_two_workers_at_once_decide_a_day_once(server: Server, database: Database, project: Project) -> None:
    with database.writing() as session:
        scenario = make_pool(session, project, 17, 84)
        spare = make_pool(session, project, 21, 100, 6)
    start, done = threading.Barrier(6), []

    def work(scenario_id: int) -> None:
        start.wait()
        done.append(run_upkeep(server, scenario_id, LATER))

    threads = [threading.Thread(target=work, args=(one.id,)) for one in (scenario, spare) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(one.action for one in done if one) == ["buy", "release"]
    with database.reading() as session:
        assert session.scalar(select(func.count(NumberOrder.id))) == 1
        assert (
            session.scalar(select(func.count(TrackingNumber.id)).where(TrackingNumber.releasing_at.is_not(None))) == 2
        )


def test_r9_a_crash_in_the_middle_leaves_nothing_half_done(
    server: Server, database: Database, project: Project
) -> None:
    with database.writing() as session:
        scenario = make_pool(session, project, 22, 100, 6)
    heard: list[Any] = []

    def crash(_: Any, **facts: Any) -> None:
        heard.append(facts)
        if len(heard) == 2:
            raise RuntimeError("power cut")

    with numbers_changed.connected_to(crash):
        assert keep_pools(server, LATER) == 0
    assert (runs(database), len(pool_of(database, scenario))) == ([], 22)
    assert keep_pools(server, LATER) == 1
    assert len(pool_of(database, scenario)) == 20


@pytest.mark.parametrize(
    "values", [{"upkeep_on": False}, {"enabled": False}, {"deleted_at": NOON}, {"accuracy": None}, {"accuracy": 95}]
)
def test_r9_only_enabled_scenarios_with_upkeep_whose_accuracy_is_known_are_touched(
    server: Server, database: Database, project: Project, values: dict[str, Any]
) -> None:
    with database.writing() as session:
        scenario = make_pool(session, project, 17, **{"accuracy": 84} | values)
    keep_pools(server, LATER)
    assert len(pool_of(database, scenario)) == 17
    assert [one.action for one in runs(database)] == ["nothing"] * ("accuracy" in values)


def test_r9_a_suspended_project_is_left_alone(server: Server, database: Database, project: Project) -> None:
    with database.writing() as session:
        make_pool(session, project, 17, 84)
        session.get_one(Project, project.id).suspended_at = NOON
    assert due_scenarios(server, LATER) == []


def test_r9_a_number_that_a_visitor_sees_now_stays(server: Server, database: Database, project: Project) -> None:
    with database.writing() as session:
        scenario = make_pool(session, project, 22, 100, 6)
        kept = pool_of_session(session, scenario)[:21]
        for row in session.scalars(select(PoolNumber).where(PoolNumber.number_id.in_([one.id for one in kept]))):
            row.last_sign_at = LATER - timedelta(seconds=150)
    keep_pools(server, LATER)
    (run,) = runs(database)
    assert (run.wanted, run.count) == (2, 1)
    assert {one.id for one in kept} <= {one.id for one in pool_of(database, scenario)}


def pool_of_session(session: Session, scenario: Scenario) -> list[TrackingNumber]:
    found = select(TrackingNumber).where(TrackingNumber.scenario_id == scenario.id).order_by(TrackingNumber.id)
    return list(session.scalars(found))


def test_r9_reaching_the_limit_of_numbers_sends_one_email(server: Server, database: Database, project: Project) -> None:
    with database.writing() as session:
        scenario = make_pool(session, project, 17, 84, upkeep_max_numbers=18)
    for day in range(3):
        keep_pools(server, LATER + timedelta(days=day))
    assert [(one.action, one.count) for one in runs(database)] == [("buy", 1), ("nothing", 0), ("nothing", 0)]
    with database.reading() as session:
        (mail,) = session.scalars(select(Mail)).all()
    assert "Main line" in mail.subject
    assert "18 numbers at most" in mail.body
    with database.writing() as session:
        session.get_one(Scenario, scenario.id).upkeep_max_numbers = 19
    for day in range(3, 5):
        keep_pools(server, LATER + timedelta(days=day))
    with database.reading() as session:
        assert session.scalar(select(func.count(Mail.id))) == 2, "a limit that was raised is another one"


def test_r9_the_limit_of_numbers_is_twice_the_pool_when_upkeep_was_switched_on(
    server: Server, database: Database, project: Project
) -> None:
    with database.writing() as session:
        make_pool(session, project, 18, 84, upkeep_began_with=9)
    keep_pools(server, LATER)
    assert [(one.wanted, one.count) for one in runs(database)] == [(1, 0)]
    assert "The limit of 18 numbers is reached." in runs(database)[0].why


def test_r9_the_spending_limit_counts_what_upkeep_bought_in_any_seven_days(
    server: Server, database: Database, project: Project
) -> None:
    with database.writing() as session:
        make_pool(session, project, 17, 84, upkeep_spending_limit_minor=700)
        session.get_one(Project, project.id).number_price_minor = 300
        make_ledger_entry(session, project, 5000, "top-up")
        post(session, project.id, Post(-4000, "rent:+12125550000:x", "alice", number="+12125550000"), NOON)
    for day in range(9):
        keep_pools(server, LATER + timedelta(days=day))
        while advance_due(server, LATER + timedelta(days=day)):
            pass
    assert [one.count for one in runs(database)] == [1, 1, *[0] * 7], "the two that it bought cost 6.00 in any 7 days"
    with database.reading() as session:
        assert session.scalar(select(func.count(Mail.id)).where(Mail.key.contains("spending"))) == 1
        spent = select(func.sum(LedgerEntry.amount_minor)).where(LedgerEntry.number.in_(FOR_SALE))
        assert session.scalar(spent) == -600


def test_r9_with_a_balance_too_low_nothing_is_bought_and_the_page_says_so(
    server: Server, database: Database, project: Project, shop: FakeShop
) -> None:
    with database.writing() as session:
        make_pool(session, project, 17, 84)
        session.get_one(Project, project.id).number_price_minor = 300
        make_ledger_entry(session, project, 299, "top-up")
    keep_pools(server, LATER)
    (run,) = runs(database)
    assert (run.action, run.wanted, run.count) == ("nothing", 1, 0)
    assert "the balance is too low by 0.01 USD" in run.why
    assert shop.asked == []


def test_r9_a_carrier_that_is_away_is_asked_again_and_after_an_hour_the_day_is_over(
    server: Server, database: Database, project: Project, shop: FakeShop
) -> None:
    with database.writing() as session:
        make_pool(session, project, 17, 84)
    shop.fail("search", *[TryLater("It is asleep.")] * 2)
    assert keep_pools(server, MIDNIGHT + timedelta(minutes=59)) == 0
    assert runs(database) == []
    assert keep_pools(server, MIDNIGHT + timedelta(minutes=61)) == 1
    (run,) = runs(database)
    assert (run.action, run.count) == ("nothing", 0)
    assert run.why.endswith("The carrier could not be asked: It is asleep.")


def test_r9_what_has_to_be_chosen_first_is_said_at_once(
    server: Server, database: Database, project: Project, shop: FakeShop
) -> None:
    with database.writing() as session:
        make_pool(session, project, 17, 84)
    shop.fail("search", ComplianceMissing("The carrier wants an address. Choose one.", "US", "local"))
    assert keep_pools(server, MIDNIGHT + timedelta(minutes=1)) == 1
    (run,) = runs(database)
    assert (run.action, run.count) == ("nothing", 0)
    assert run.why.endswith("for 7 days. The carrier wants an address. Choose one.")


def test_r9_a_carrier_without_such_numbers_sells_others_of_the_country_or_none(
    server: Server, database: Database, project: Project, shop: FakeShop
) -> None:
    with database.writing() as session:
        make_pool(session, project, 17, 84)
    shop.stock[:] = ["+14155550150"]
    keep_pools(server, LATER)
    shop.stock[:] = []
    keep_pools(server, LATER + timedelta(days=1))
    assert [one.count for one in runs(database)] == [1, 0]
    assert "The carrier has no such number for sale." in runs(database)[1].why


def test_r9_a_dry_run_decides_the_same_and_writes_nothing(
    server: Server, database: Database, project: Project, shop: FakeShop
) -> None:
    with database.writing() as session:
        scenario = make_pool(session, project, 17, 84)
    with database.reading() as session:
        planned = plan_upkeep(session, server, project, session.get_one(Scenario, scenario.id), LATER)
    assert (runs(database), shop.asked) == ([], [])
    keep_pools(server, LATER)
    (run,) = runs(database)
    assert {name: getattr(run, name) for name in planned.values()} == planned.values()


def test_r9_upkeep_goes_before_the_days_renewals(server: Server, database: Database, project: Project) -> None:
    assert [one.name for one in renewal_jobs()] == ["keep_pools", "renew_due"]
    with database.writing() as session:
        scenario = make_pool(session, project, 22, 100, 6)
        session.get_one(Project, project.id).number_price_minor = 300
        make_ledger_entry(session, project, 100_000, "top-up")
    now = MIDNIGHT + timedelta(hours=1)
    for job in renewal_jobs():
        job.do(server, now)
    assert len(pool_of(database, scenario)) == 20
    with database.reading() as session:
        rents = select(func.count(LedgerEntry.id)).where(LedgerEntry.amount_minor < 0)
        assert session.scalar(rents) == 20, "what went back was not renewed"


def test_r9_the_day_is_the_projects() -> None:
    assert day_of(MIDNIGHT - timedelta(seconds=1), "America/New_York") == "2026-11-22"
    assert day_of(MIDNIGHT, "Asia/Tokyo") == "2026-11-23"

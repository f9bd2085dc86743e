"""How long a balance lasts (R4): the closed form against renewing one number after the other."""

import heapq
import time
from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import insert

from router.accounts.ledger import Post, post
from router.accounts.models import Project
from router.db import Database, table_of
from router.scenarios.billing.statement import (
    FOR_GOOD,
    Renewal,
    lasts_until,
    project_forecast,
    scenario_costs,
    weekly_cost,
)
from router.scenarios.models import PAID_TIME, TrackingNumber
from router.server import Server
from tests.counting import count_statements
from tests.factories import make_scenario
from tests.people import NOW, Cast

HOUR = timedelta(hours=1)


def one_by_one(balance: int, renewals: list[Renewal], now: datetime) -> datetime | None:
    """Renews whatever is due next until the money is gone."""
    waiting = [(paid_until, price) for paid_until, price in renewals if price]
    if not waiting:
        return None
    heapq.heapify(waiting)
    while True:
        at, price = waiting[0]
        balance -= price
        if balance < 0:
            return max(at, now)
        heapq.heapreplace(waiting, (at + PAID_TIME, price))


moments = st.integers(-24 * 30, 24 * 30).map(lambda hours: NOW + hours * HOUR)


@given(st.integers(0, 400), st.lists(st.tuples(moments, st.integers(0, 9)), max_size=8))
def test_r4_the_forecast_is_what_renewing_one_by_one_comes_to(balance: int, renewals: list[Renewal]) -> None:
    assert lasts_until(balance, renewals, NOW) == one_by_one(balance, renewals, NOW)


def test_r4_a_balance_lasts_until_the_first_renewal_that_it_does_not_cover() -> None:
    renewals = [(NOW + timedelta(days=1), 100), (NOW + timedelta(days=3), 100)]
    assert weekly_cost(renewals) == 200
    assert lasts_until(0, renewals, NOW) == NOW + timedelta(days=1)
    assert lasts_until(199, renewals, NOW) == NOW + timedelta(days=3)
    assert lasts_until(200, renewals, NOW) == NOW + timedelta(days=8)
    assert lasts_until(399, renewals, NOW) == NOW + timedelta(days=10)


def test_r4_what_is_in_grace_is_owed_now() -> None:
    renewals = [(NOW - timedelta(days=2), 100)]
    assert lasts_until(99, renewals, NOW) == NOW
    assert lasts_until(100, renewals, NOW) == NOW + timedelta(days=5)


def test_r4_nothing_rented_or_nothing_to_pay_has_no_end() -> None:
    assert lasts_until(0, [], NOW) is None
    assert lasts_until(0, [(NOW, 0)], NOW) is None


def test_r4_a_balance_for_a_thousand_years_is_still_a_date() -> None:
    assert lasts_until(10**15, [(NOW, 1)], NOW) == FOR_GOOD


def test_r4_five_thousand_numbers_take_two_statements(server: Server, project: Project) -> None:
    rows = [
        {
            "project_id": project.id,
            "e164": f"+1212{index:07d}",
            "owned_elsewhere": index % 2 == 0,
            "paid_until": NOW + index * timedelta(minutes=2),
            "releasing_at": NOW if index % 5 == 1 else None,
            "created_at": NOW,
        }
        for index in range(10_000)
    ]
    with server.database.writing() as session:
        session.execute(insert(table_of(TrackingNumber)), rows)
        found = session.get_one(Project, project.id)
        found.number_price_minor = 50
        found.balance_minor = 3 * 4000 * 50
    with server.database.reading() as session, count_statements(server.database) as statements:
        forecast = project_forecast(session, server, project=session.get_one(Project, project.id), now=NOW)
    assert (forecast.rented, forecast.weekly_minor, forecast.price_minor) == (4000, 200_000, 50)
    assert forecast.lasts_until is not None
    assert forecast.lasts_until >= NOW + timedelta(days=21)
    assert not forecast.is_low
    assert sum(one.startswith("SELECT") for one in statements) == 3  # the project itself is one of them


def test_r4_ten_times_as_many_numbers_take_about_ten_times_as_long() -> None:
    """They take turns, so that a busy machine is busy for both, and the quickest turns count."""

    def seconds(count: int) -> float:
        renewals = [(NOW + index * timedelta(minutes=2), 50) for index in range(count)]
        began = time.process_time()
        lasts_until(3 * count * 50, renewals, NOW)
        return time.process_time() - began

    turns = [(seconds(1000), seconds(10_000)) for _ in range(7)]
    few, many = (min(column) for column in zip(*turns, strict=True))
    assert many < 40 * few, f"{few * 1000:.1f} ms for 1,000, {many * 1000:.1f} ms for 10,000"


def test_r4_a_scenarios_cost_is_its_rents_less_refunds_of_the_last_30_days(database: Database, cast: Cast) -> None:
    kept, lost, old = ("+14155550121", "+14155550122", "+14155550123")
    with database.writing() as session:
        scenario = make_scenario(session, session.get_one(Project, cast.project.id), 1, title="Spring sale").id
        for amount, reason, number, place, age in (
            (9000, "top-up:1", "", None, 40),
            (-150, f"rent:{old}:x", old, scenario, 31),
            (-150, f"rent:{kept}:x", kept, scenario, 9),
            (-150, f"rent:{kept}:y", kept, scenario, 2),
            (-150, f"rent:{lost}:x", lost, scenario, 1),
            (150, f"refund:rent:{lost}:x", lost, scenario, 1),
            (-100, f"rent:{old}:z", old, None, 1),
            (-700, "correction:1", "", None, 1),
        ):
            entry = Post(amount, reason, "server", number=number, scenario_id=place)
            post(session, cast.project.id, entry, NOW - timedelta(days=age))
        costs = scenario_costs(session, cast.project, NOW)
        assert [(one.scenario_id, one.cost_minor) for one in costs] == [(scenario, 300), (None, 100)]
        assert costs[0].title == "Spring sale"

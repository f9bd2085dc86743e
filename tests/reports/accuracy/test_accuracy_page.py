"""R8 for people and programs: how much of a scenario's attribution can be trusted, day by day, and R6's learned curve."""

from datetime import timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import update

from router.attribution.models import AccuracyDay
from router.attribution.pool.choice import learn
from router.db import Database
from router.lib.formats import last_days, span_of
from router.reports.accuracy.figures import Figures
from router.scenarios.models import Scenario
from tests.factories import NOON, make_scenario
from tests.people import Cast, bearer

pytestmark = pytest.mark.one_database

TODAY = {"visits": 40, "shared": 5, "mixed": 3, "overflowed": 1, "calls": 4, "sure_calls": 3, "confidence_sum": 2.4}
LAST_WEEK = {"visits": 100, "shared": 90, "mixed": 90, "calls": 1}


@pytest.fixture
def scenario_id(cast: Cast, database: Database) -> int:
    with database.writing() as session:
        return make_scenario(session, cast.project, 3, title="Spring sale").id


@pytest.fixture
def days(database: Database, cast: Cast, scenario_id: int, app: Any) -> None:
    """Today, and a bad day a week before."""
    here = last_days(app.extensions["router"].now(), cast.project.timezone, 8)
    with database.writing() as session:
        session.add(AccuracyDay(scenario_id=scenario_id, day=here[-1], **TODAY))
        session.add(AccuracyDay(scenario_id=scenario_id, day=here[0], **LAST_WEEK))


def change(database: Database, scenario_id: int, **values: Any) -> None:
    with database.writing() as session:
        session.execute(update(Scenario).where(Scenario.id == scenario_id).values(**values))


def page(alice: FlaskClient, scenario_id: int) -> str:
    answer = alice.get(f"/scenarios/{scenario_id}/accuracy")
    assert answer.status_code == 200
    return " ".join(answer.text.split())


@pytest.mark.usefixtures("days")
def test_r8_the_page_says_the_accuracy_of_the_last_seven_days_in_words(
    alice: FlaskClient, database: Database, scenario_id: int
) -> None:
    assert "Of 40 visits in the last 7 days, 85 % had their number to themselves." in page(alice, scenario_id)
    change(database, scenario_id, aim="source")
    found = page(alice, scenario_id)
    assert "90 % had a number that no other source&#39;s visitor was shown at the same time" in found
    assert "On average we are 80 % sure which visit a call came from." in found


@pytest.mark.usefixtures("days")
def test_r8_low_accuracy_leads_to_the_planner_and_to_upkeep(
    alice: FlaskClient, database: Database, scenario_id: int
) -> None:
    found = page(alice, scenario_id)
    assert "See what more numbers would do" in found
    assert f'href="/scenarios/{scenario_id}/upkeep"' in found
    change(database, scenario_id, aim="source")
    assert "See what more numbers would do" not in page(alice, scenario_id)


@pytest.mark.usefixtures("days")
def test_r8_a_day_without_calls_that_have_a_confidence_shows_a_dash_that_says_so(
    alice: FlaskClient, scenario_id: int
) -> None:
    assert "no call has a confidence" in page(alice, scenario_id)


def test_r8_before_the_first_visit_the_page_says_what_will_stand_there(alice: FlaskClient, scenario_id: int) -> None:
    found = page(alice, scenario_id)
    assert "there is nothing to measure yet" in found
    assert "no visit was shown a number in the last 7 days" in found
    assert "0 of 1,000 calls so far" in found


def test_r6_the_learned_curve_is_drawn_beside_the_default(
    alice: FlaskClient, database: Database, scenario_id: int
) -> None:
    assert "learned from calls" not in page(alice, scenario_id)
    change(database, scenario_id, survival=learn([900.0] * 1500))
    assert "learned from calls" in page(alice, scenario_id)


@pytest.mark.usefixtures("days")
def test_r8_programs_read_the_same(client: FlaskClient, cast: Cast, database: Database, scenario_id: int) -> None:
    change(database, scenario_id, aim="source", survival=learn([]))
    address = f"/api/v1/projects/{cast.project.id}/scenarios/{scenario_id}/accuracy"
    found = client.get(address, headers=bearer(cast.alice_token)).json
    assert found is not None
    assert (found["aim"], found["accuracy"], found["confidence"]) == ("source", 90, 0.8)
    assert len(found["days"]) == 30
    today = found["days"][0]
    assert (today["visits"], today["alone"], today["shared_within_source"]) == (40, 34, 2)
    assert (today["shared_with_other_source"], today["overflowed"], today["kept"]) == (3, 1, 0)
    assert (found["days"][7]["accuracy"], found["days"][7]["confidence"]) == (10, None)
    assert found["days"][1] == {"day": found["days"][1]["day"], "accuracy": None, "confidence": None} | dict.fromkeys(
        ("visits", "alone", "shared_within_source", "shared_with_other_source", "overflowed", "kept", "calls"), 0
    ) | {"calls_with_confidence": 0}
    assert found["survival"]["points"] == learn([])
    assert (found["survival"]["calls"], found["survival"]["calls_needed"]) == (0, 1000)


@pytest.mark.parametrize(
    ("figures", "by_visit", "by_source"),
    [
        (Figures(visits=200, shared=1), 99, 100),
        (Figures(visits=200, shared=1, mixed=1), 99, 99),
        (Figures(visits=3, overflowed=1), 66, 66),
        (Figures(visits=3, shared=1, kept=1), 33, 66),
        (Figures(), None, None),
    ],
)
def test_r8_accuracy_of_each_aim_is_rounded_down(figures: Figures, by_visit: int | None, by_source: int | None) -> None:
    assert (figures.accuracy("visit"), figures.accuracy("source")) == (by_visit, by_source)


def test_a_day_is_as_long_as_the_clock_makes_it() -> None:
    begin, end = span_of("2026-03-08", "America/New_York")
    assert end.timestamp() - begin.timestamp() == timedelta(hours=23).total_seconds()
    assert last_days(NOON, "Pacific/Auckland", 2) == ["2026-11-23", "2026-11-24"]

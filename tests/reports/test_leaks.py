"""Numbers that ring although nobody was shown them (R7, rule 4), and what they cost the accuracy that R8 speaks of."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete

from router.attribution.decision import OVERFLOW
from router.db import Database
from router.reports.leaks import (
    LEAST_CALLERS,
    LEAST_CALLS,
    LeakDocument,
    leaking,
    read_leaks,
    refresh_leaking,
)
from router.scenarios.models import TrackingNumber
from router.server import Server
from router.voice.models import Call
from tests.counting import count_statements
from tests.factories import make_call, make_number
from tests.pages import words_of
from tests.people import NOW, Cast, bearer

ANNA, BERTA, CARL = "+442079460101", "+442079460102", "+442079460103"
E164 = "+14155550140"
Called = Callable[..., None]

lonely = st.builds(
    Call, number_id=st.integers(1, 3), caller=st.sampled_from([None, ANNA, BERTA, CARL]), started_at=st.just(NOW)
)


@given(st.lists(lonely, max_size=30))
def test_r7_a_leak_needs_three_calls_of_two_known_callers(calls: list[Call]) -> None:
    found = leaking(calls)
    for number in {call.number_id for call in calls}:
        own = [call for call in calls if call.number_id == number]
        callers = {call.caller for call in own if call.caller}
        assert (number in found) == (len(own) >= LEAST_CALLS and len(callers) >= LEAST_CALLERS)


@pytest.fixture
def number(database: Database, cast: Cast) -> int:
    with database.writing() as session:
        return make_number(session, cast.project, E164, created_at=NOW - timedelta(days=90)).id


@pytest.fixture
def called(database: Database, cast: Cast, number: int) -> Called:
    def call(*callers: str | None, days: float = 1, **values: Any) -> None:
        with database.writing() as session:
            for index, caller in enumerate(callers):
                at = NOW - timedelta(days=days, minutes=index)
                given = {"number_id": number, "caller": caller, "first_call": False}
                make_call(session, cast.project, E164, at, **(given | values))

    return call


def leaks(database: Database, cast: Cast) -> list[LeakDocument]:
    with database.reading() as session:
        return read_leaks(session, cast.project.id, NOW)


def test_r7_a_number_that_rings_without_a_visit_is_a_leak_since_its_first_such_call(
    database: Database, cast: Cast, number: int, called: Called
) -> None:
    called(ANNA, BERTA)
    assert leaks(database, cast) == []
    called(ANNA, days=40)
    assert leaks(database, cast) == [], "within 30 days there are still two"
    called(ANNA, days=20)
    [leak] = leaks(database, cast)
    assert (leak.number, leak.e164, leak.calls, leak.callers) == (number, E164, 3, 2)
    assert leak.since == NOW - timedelta(days=40)
    assert leak.last_call_at == NOW - timedelta(days=1)


def test_r7_a_leak_does_not_begin_with_a_call_that_is_none(database: Database, cast: Cast, called: Called) -> None:
    """Many visits may have made it, or the number was the overflow number then."""
    called(ANNA, days=60, rule="lease", confidence=0.04, shares=[[1, 0.5, 1]])
    called(BERTA, days=50, decision={"steps": [{"rule": "lease", "applies": False, "because": OVERFLOW}]})
    called(ANNA, BERTA, CARL, days=2)
    [leak] = leaks(database, cast)
    assert leak.since == NOW - timedelta(days=2, minutes=2)


def test_r7_calls_that_a_visit_may_have_made_are_no_leak(database: Database, cast: Cast, called: Called) -> None:
    called(ANNA, BERTA, CARL, rule="lease", confidence=0.6, shares=[[1, 0.6, 1]])
    called(ANNA, BERTA, CARL, days=2, rule="lease", confidence=0.04, shares=[[1, 0.5, 1]])
    called(ANNA, BERTA, CARL, days=3, rule="repeat")
    assert leaks(database, cast) == []
    called(ANNA, BERTA, CARL, days=4, rule="lease", confidence=0.01, shares=[[1, 0.02, 1]])
    assert [leak.calls for leak in leaks(database, cast)] == [3]


def test_r6_calls_of_an_overflow_number_are_no_leak(database: Database, cast: Cast, called: Called) -> None:
    steps = [{"rule": "lease", "applies": False, "because": OVERFLOW}, {"rule": "none", "applies": True}]
    called(ANNA, BERTA, CARL, decision={"steps": steps})
    assert leaks(database, cast) == []


@pytest.mark.parametrize(
    "change",
    [
        {"static_source": {"source": "flyer", "medium": "print", "campaign": ""}},
        {"overflow": True},
        {"released_at": NOW},
    ],
)
def test_r8_a_number_that_is_not_dynamic_any_more_leaks_no_more(
    database: Database, cast: Cast, number: int, called: Called, change: dict[str, Any]
) -> None:
    called(ANNA, BERTA, CARL)
    assert len(leaks(database, cast)) == 1
    with database.writing() as session:
        for name, value in change.items():
            setattr(session.get_one(TrackingNumber, number), name, value)
    assert leaks(database, cast) == []


def test_the_page_says_which_since_when_and_what_to_do(alice: FlaskClient, called: Called) -> None:
    assert "No number rings without a visit." in alice.get("/numbers/leaks").text
    called(ANNA, BERTA, CARL)
    page = alice.get("/numbers/leaks").text
    assert "+1 415-555-0140" in page
    assert "22 Nov 2026" in page
    assert "Make static" in page
    assert "rings again and again" in words_of(alice.get("/reports"))
    assert "None" not in page


def test_a_scenario_with_a_leak_says_so_in_its_row_until_it_has_none(
    server: Server, database: Database, alice: FlaskClient, life: dict[str, int]
) -> None:
    said = "1 number rings although nobody was shown it"
    refresh_leaking(server, NOW)
    assert said in alice.get("/scenarios").text
    with database.writing() as session:
        session.execute(delete(Call))
    assert said in alice.get("/scenarios").text, "the table reads what the worker found, not the calls"
    refresh_leaking(server, NOW)
    assert said not in alice.get("/scenarios").text


def test_programs_read_the_leaks_of_their_own_project(
    client: FlaskClient, cast: Cast, number: int, called: Called
) -> None:
    called(ANNA, BERTA, CARL)
    own = client.get(f"/api/v1/projects/{cast.project.id}/leaks", headers=bearer(cast.alice_token)).json or {}
    assert [(one["number"], one["calls"], one["scenario"]) for one in own["items"]] == [(number, 3, None)]
    others = f"/api/v1/projects/{cast.other_project.id}/leaks"
    assert (client.get(others, headers=bearer(cast.charlie_token)).json or {})["items"] == []
    assert client.get(others, headers=bearer(cast.alice_token)).status_code == 404


def test_leaks_take_three_statements(database: Database, cast: Cast, called: Called) -> None:
    called(ANNA, BERTA, CARL)
    with count_statements(database) as heard:
        leaks(database, cast)
    assert len([one for one in heard if one.startswith("SELECT")]) <= 3

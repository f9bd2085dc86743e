"""R7: a tap on a number is evidence of a call that comes, and a sign of life; what was tapped has to be what was shown."""

from datetime import datetime, timedelta
from math import ceil
from typing import Any

import pytest
import time_machine
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select

from router.attribution.decision import Decision, decide, weighed_candidates
from router.attribution.models import Tap, Visit
from router.attribution.tracking.visitors import record_tap
from router.scenarios.models import TrackingNumber
from router.server import Server
from tests.attribution.asking import sign, view
from tests.factories import NOON, make_number, make_project, make_scenario
from tests.properties import examples

STATIC, SPARE = "+12125550444", "+12125550555"


@pytest.fixture
def shop(server: Server) -> Server:
    with server.database.writing() as session:
        project = make_project(session)
        scenario = make_scenario(session, project, 3)
        make_number(session, project, STATIC, scenario, static={"source": "flyer", "medium": "print"})
        make_number(session, project, SPARE, scenario)
    return server


def taps(server: Server) -> list[tuple[str, Any]]:
    with server.database.reading() as session:
        rows = session.execute(
            select(TrackingNumber.e164, Tap.at).join(Tap, Tap.number_id == TrackingNumber.id).order_by(Tap.at, Tap.id)
        )
        return [(e164, at) for e164, at in rows]


def test_r7_taps_of_a_lent_number_are_written_once_a_second(
    shop: Server, client: FlaskClient, clock: time_machine.Traveller
) -> None:
    seen = view(client).get_json()
    e164 = seen["numbers"][0]["e164"]
    for pause in (0.1, 0.1, 0.8, 0.1, 5):
        clock.shift(timedelta(seconds=pause))
        answer = sign(client, seen["token"], "tap", e164=e164)
        assert (answer.status_code, answer.data) == (204, b"")
    assert taps(shop) == [(e164, NOON + timedelta(seconds=at)) for at in (1, 2, 7)]


def test_r7_a_tap_is_a_sign_of_life(shop: Server, client: FlaskClient, clock: time_machine.Traveller) -> None:
    seen = view(client).get_json()
    sign(client, seen["token"], "left")
    clock.shift(timedelta(seconds=9))
    sign(client, seen["token"], "tap", e164=seen["numbers"][0]["e164"])
    with shop.database.reading() as session:
        visit = session.scalars(select(Visit)).one()
    assert (visit.last_sign_at, visit.left) == (NOON + timedelta(seconds=9), False)


def test_r7_a_tap_after_the_call_does_not_hide_the_one_before_it(
    shop: Server, client: FlaskClient, clock: time_machine.Traveller
) -> None:
    seen = view(client).get_json()
    e164 = seen["numbers"][0]["e164"]

    def tap_in_five_seconds() -> None:
        clock.shift(timedelta(seconds=5))
        sign(client, seen["token"], "tap", e164=e164)

    def decided_about(at: datetime) -> Decision:
        with shop.database.reading() as session:
            number = session.scalars(select(TrackingNumber.id).where(TrackingNumber.e164 == e164)).one()
            return decide(None, None, *weighed_candidates(session, number, timedelta(seconds=150), at))

    tap_in_five_seconds()
    called_at = shop.now() + timedelta(seconds=2)
    live = decided_about(called_at)
    assert [one["tapped_seconds"] for one in live.candidates] == [2]
    tap_in_five_seconds()
    assert decided_about(called_at) == live


def test_r7_static_numbers_count_and_numbers_that_were_not_shown_do_not(
    shop: Server, client: FlaskClient, clock: Any
) -> None:
    with shop.database.writing() as session:
        other = make_project(session, key="k-other", site=["other.example"])
        make_number(session, other, "+12125559999", static={"source": "flyer"})
    first, second = (view(client).get_json() for _ in range(2))
    lent = [one["numbers"][0]["e164"] for one in (first, second)]
    for e164 in (STATIC, lent[1], "+12125559999", "+14155550000"):
        assert sign(client, first["token"], "tap", e164=e164).status_code == 204
    assert [e164 for e164, _ in taps(shop)] == [STATIC]
    sign(client, second["token"], "tap", e164=lent[1])
    assert [e164 for e164, _ in taps(shop)] == [STATIC, lent[1]]


@pytest.mark.parametrize(
    "e164",
    [
        None,
        5,
        "",
        "4155552671",
        "+0155552671",
        "+1415",
        "+1415555267a",
        ["+14155552671"],
        "+1" + "5" * 15,
        "+１４１５５５５２６７１",
    ],
)
def test_what_is_no_number_is_refused_by_name(shop: Server, client: FlaskClient, clock: Any, e164: Any) -> None:
    seen = view(client).get_json()
    answer = sign(client, seen["token"], "tap", e164=e164)
    assert (answer.status_code, answer.get_json()["field"]) == (422, "e164")
    assert taps(shop) == []


def test_a_tap_of_an_unknown_visit_is_404(shop: Server, client: FlaskClient) -> None:
    assert sign(client, "nonsense", "tap", e164=STATIC).status_code == 404
    assert client.post("/tag/k-shop/visits/x/tap", data=b"no json").status_code == 400


@settings(max_examples=examples(25), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(taps_at=st.lists(st.floats(0, 9).map(lambda second: round(second, 3)), max_size=8), data=st.data())
def test_r7_taps_in_any_order_and_any_number_of_times_are_the_same_facts_at_every_past_moment(
    shop: Server, taps_at: list[float], data: st.DataObject
) -> None:
    moment = data.draw(st.floats(0, 9))
    with shop.database.writing() as session:
        session.execute(delete(Tap))
        project = session.scalars(select(TrackingNumber.project_id).where(TrackingNumber.e164 == STATIC)).one()
        for second in data.draw(st.permutations(taps_at + taps_at[:3])):
            record_tap(session, project, 1, STATIC, NOON + timedelta(seconds=second))
    found = [at for _, at in taps(shop)]
    assert found == sorted({NOON + timedelta(seconds=ceil(second)) for second in taps_at})
    live = {NOON + timedelta(seconds=ceil(second)) for second in taps_at if second <= moment}
    known = NOON + timedelta(seconds=moment)
    assert {at for at in found if at <= known} == {at for at in live if at <= known}, "a later tap changes nothing"

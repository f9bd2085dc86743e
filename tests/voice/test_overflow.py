"""R7 (4): an overflow number rings through its scenario's flow, and no visit is known by it; who called it before is known all the same."""

from datetime import timedelta

from flask.testing import FlaskClient
from sqlalchemy import select

from router.attribution.models import Lease, Visit
from router.attribution.pool.numbers import follow_numbers
from router.reports.call_detail import steps_of
from router.scenarios.models import TrackingNumber
from router.server import Server
from router.voice.models import Call
from tests.factories import COMPANY_LINE, make_project, make_scenario
from tests.voice.carrier import CarrierClient

NUMBER = "+12125550190"
CALLER = "+14155550171"


def overflowing(server: Server, on: bool) -> None:
    with server.database.writing() as session:
        number = session.scalars(select(TrackingNumber)).one()
        number.overflow = on
        follow_numbers(session, [number.id])


def last_call(server: Server) -> Call:
    with server.database.reading() as session:
        return session.scalars(select(Call).order_by(Call.id.desc()).limit(1)).one()


def shop(server: Server, client: FlaskClient) -> CarrierClient:
    """A number that was lent a minute ago, and shows from now on when all others are taken."""
    with server.database.writing() as session:
        make_scenario(session, make_project(session), [NUMBER], exhausted="overflow")
    answer = client.post(
        "/tag/k-shop/visits",
        json={"page": "https://shop.example/?utm_source=google"},
        headers={"Origin": "https://shop.example", "User-Agent": "Mozilla/5.0"},
    )
    assert [one["e164"] for one in answer.json["numbers"]] == [NUMBER]
    with server.database.writing() as session:
        for row in (*session.scalars(select(Lease)), *session.scalars(select(Visit))):
            row.started_at -= timedelta(minutes=1)
    return CarrierClient(client, server)


def test_r7_a_call_to_an_overflow_number_is_nobodys_and_its_page_says_why(server: Server, client: FlaskClient) -> None:
    carrier = shop(server, client)
    overflowing(server, True)
    assert COMPANY_LINE in carrier.dial(NUMBER, CALLER, "CA1").text
    call = last_call(server)
    assert (call.rule, call.visit_id, call.source, call.confidence, call.source_confidence) == (
        "none",
        None,
        None,
        None,
        None,
    )
    assert call.candidates == []
    assert call.scenario_id is not None
    said = " ".join(step.answer for step in steps_of(call))
    assert "when all others are taken" in said


def test_r7_who_called_the_number_when_it_was_lent_stays_known(server: Server, client: FlaskClient) -> None:
    carrier = shop(server, client)
    carrier.dial(NUMBER, CALLER, "CA1")
    assert last_call(server).rule == "lease"
    overflowing(server, True)
    carrier.dial(NUMBER, CALLER, "CA2")
    call = last_call(server)
    assert (call.sid, call.rule, call.source["source"] if call.source else None) == ("CA2", "repeat", "google")

"""A project in the middle of its life: scenarios, visits, calls of every kind, deliveries that went out and some that did not."""

from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from router.accounts.audit import Actor
from router.accounts.models import Project
from router.attribution.models import Lease, Tap, Visit, VisitSpan
from router.attribution.tracking.sources import named_source
from router.integrations.models import ReceiverHealth
from router.scenarios.models import Scenario, TrackingNumber
from router.scenarios.numbers.inventory import add_numbers
from router.scenarios.service import create_scenario
from router.server import Server
from router.voice.models import Call, CallEvent, CallLeg
from tests.factories import lease_decision, make_call, make_delivery, make_integration, make_visit

ALICE = Actor("alice@example.com")
LINE = "+14155550111"
NUMBERS = [f"+1415555012{index}" for index in range(8)]
TO_LINE = {"destination": LINE, "flow": {"destinations": [{"to": LINE, "ring_seconds": 20}]}}
"""Fields of a call."""


def make_legs(session: Session, call: Call) -> None:
    """The desk did not answer, the mobile did."""
    at = call.started_at
    session.add_all(
        [
            CallLeg(
                call_sid=call.sid,
                sid="CA-desk",
                destination="+14155550112",
                status="no_answer",
                ringing_at=at + timedelta(seconds=1),
                ended_at=at + timedelta(seconds=21),
            ),
            CallLeg(
                call_sid=call.sid,
                sid="CA-mobile",
                destination=LINE,
                status="completed",
                ringing_at=at + timedelta(seconds=22),
                answered_at=at + timedelta(seconds=29),
                ended_at=call.ended_at,
                seconds=call.talk_seconds,
            ),
            CallEvent(
                call_sid=call.sid, key="recording", kind="recording", at=at + timedelta(minutes=5), facts={"sid": "RE1"}
            ),
        ]
    )


def make_life(session: Session, server: Server, project: Project, now: datetime) -> dict[str, int]:
    """Fills the project; returns the ids of its first scenario, a decided call, and a visit's number."""
    add_numbers(session, project, ALICE, [*NUMBERS, "+442079460991"], now)
    spring = _scenarios(session, server, project, now)
    visits = [make_visit(session, project, 10001 + index, now - timedelta(minutes=9 * index + 3)) for index in range(4)]
    visits[1].source, visits[1].campaign, visits[1].source_key = "bing", "", named_source("bing", "cpc").key
    session.add(
        VisitSpan(visit_id=visits[0].id, started_at=now - timedelta(hours=1), last_at=now - timedelta(minutes=50))
    )
    number = session.query(TrackingNumber).filter_by(e164=NUMBERS[0]).one()
    _leases(session, spring, number, visits)
    _leak(session, project, spring, now)
    call = _calls(session, project, spring, visits, now)
    _deliveries(session, spring, call, now)
    return {
        "scenario_id": spring.id,
        "number_id": number.id,
        "e164": number.e164,
        "call_id": call.id,
        "number": visits[0].number,
    }


def _leases(session: Session, scenario: Scenario, number: TrackingNumber, visits: list[Visit]) -> None:
    """The number went from visit to visit; the last one tapped it, the one before was left."""
    for turn, visit in enumerate(reversed(visits), start=1):
        session.add(
            Lease(
                scenario_id=scenario.id,
                number_id=number.id,
                visit_id=visit.id,
                turn=turn,
                started_at=visit.started_at,
            )
        )
    visits[1].left = True
    visits[2].source_at = visits[2].started_at - timedelta(days=4)
    session.add(Tap(visit_id=visits[0].id, number_id=number.id, at=visits[0].started_at + timedelta(seconds=52)))


def _leak(session: Session, project: Project, scenario: Scenario, now: datetime) -> None:
    """A number that somebody wrote into a page."""
    number = session.query(TrackingNumber).filter_by(e164=NUMBERS[2]).one()
    for turn, caller in enumerate(("+14155550201", "+14155550202", "+14155550201", "+14155550203")):
        at = now - timedelta(days=25 - 3 * turn, hours=2)
        make_call(
            session,
            project,
            number.e164,
            at,
            caller=caller,
            number_id=number.id,
            scenario_id=scenario.id,
            first_call=False,
            **TO_LINE,
        )


def _scenarios(session: Session, server: Server, project: Project, now: datetime) -> Scenario:
    flow = {"destinations": [{"to": "+14155550112", "ring_seconds": 20}, {"to": LINE, "ring_seconds": 30}]}
    tagging = {"selectors": [".phone", "#header a"], "replace": ["(415) 555-0100"], "format": "+1 (XXX) XXX-XXXX"}
    spring, _ = create_scenario(
        session,
        server,
        project,
        ALICE,
        {"title": "Spring sale", "enabled": True, "numbers": NUMBERS[:4], "flow": flow, "tagging": tagging},
        now - timedelta(days=40),
    )
    spring.accuracy, spring.calls = 94, 132
    flyer = {"source": "flyer", "medium": "print", "campaign": "may"}
    shop, _ = create_scenario(
        session,
        server,
        project,
        ALICE,
        {"title": "Shop window and flyers", "numbers": NUMBERS[4:6], "static": {NUMBERS[4]: flyer}, "flow": flow},
        now - timedelta(days=12),
    )
    shop.enabled, shop.accuracy, shop.calls = True, 81, 27
    create_scenario(session, server, project, ALICE, {"title": "Autumn, not ready yet"}, now - timedelta(days=1))
    for number in session.query(TrackingNumber).filter(TrackingNumber.scenario_id == spring.id):
        number.calls, number.last_shown_at = 33, now - timedelta(minutes=number.id)
    return spring


def _calls(session: Session, project: Project, spring: Scenario, visits: list[Visit], now: datetime) -> Call:
    """Two weeks of calls, some of them lost; returns the one that a lease decided."""
    for day in range(13, 0, -1):
        for index in range((day * 5) % 4 + 1, -1, -1):
            status = "missed" if (day + index) % 4 == 0 else "answered"
            make_call(
                session,
                project,
                NUMBERS[index],
                now - timedelta(days=day, hours=index),
                scenario_id=spring.id,
                caller=f"+4420794601{day:02}",
                status=status,
                talk_seconds=None if status == "missed" else 40 + 31 * index,
                **TO_LINE,
                **lease_decision(visits[index % 4], visits[(index + 1) % 4]),
            )
    here = {"scenario_id": spring.id, **TO_LINE}
    make_call(session, project, NUMBERS[1], now - timedelta(hours=3), caller=None, first_call=False, **here)
    lost = {"status": "missed", "talk_seconds": None, "answered_at": None}
    make_call(session, project, NUMBERS[2], now - timedelta(hours=2), caller="+4915112345678", **lost, **here)
    call = make_call(
        session,
        project,
        NUMBERS[0],
        now - timedelta(minutes=2),
        caller="+14155550190",
        number_id=session.query(TrackingNumber.id).filter_by(e164=NUMBERS[0]).scalar(),
        recording_url="https://recordings.example.com/RE1",
        recording_seconds=95,
        talk_seconds=95,
        **here,
        **lease_decision(*visits),
    )
    make_legs(session, call)
    busy = {"status": "in_progress", "talk_seconds": None, "ended_at": None, "ring_seconds": None}
    make_call(session, project, NUMBERS[3], now - timedelta(seconds=20), **busy, **here, **lease_decision(visits[3]))
    return call


def _deliveries(session: Session, spring: Scenario, call: Call, now: datetime) -> None:
    webhook = make_integration(session, spring, "webhook_end", "webhook")
    ga4 = make_integration(session, spring, "ga4", "ga4")
    crm = make_integration(session, spring, "crm", "odoo")
    make_delivery(session, call, webhook, now)
    make_delivery(session, call, ga4, now, state="skipped", reason="The visit has no GA client id.", done_at=None)
    make_delivery(session, call, crm, now, state="dead", reason="The CRM refused the key.", attempts=10, done_at=None)
    session.add(
        ReceiverHealth(
            receiver=crm.receiver,
            failures=10,
            failing_since=now - timedelta(hours=5),
            last_error="The CRM refused the key.",
        )
    )

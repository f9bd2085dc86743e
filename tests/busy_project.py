"""A project in the middle of its life: scenarios, visits, calls of every kind, deliveries that went out and some that did not."""

import json
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from router.accounts.audit import Actor, Change
from router.accounts.ledger import BOUGHT, RENEWED
from router.accounts.mail import NO_SERVER
from router.accounts.models import Mail, Project, remember_fact
from router.attribution.models import Visit
from router.attribution.tracking.sources import named_source
from router.integrations.models import ReceiverHealth
from router.scenarios.models import Scenario, TrackingNumber
from router.scenarios.numbers.inventory import add_numbers
from router.scenarios.service import create_scenario
from router.server import Server
from router.voice.models import Call, CallEvent, CallLeg, CallRecording
from tests.factories import (
    lease_decision,
    make_call,
    make_delivery,
    make_integration,
    make_lease,
    make_ledger_entry,
    make_mail,
    make_recording,
    make_span,
    make_tap,
    make_visit,
)

ALICE = Actor("alice@example.com")
LINE = "+14155550111"
NUMBERS = [f"+1415555012{index}" for index in range(8)]
TO_LINE = {"destination": LINE, "flow": {"destinations": [{"to": LINE, "ring_seconds": 20}]}}
"""Fields of a call."""
PRICE = 150
WEEK, HOUR = timedelta(weeks=1), timedelta(hours=1)


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


def make_busy_project(session: Session, server: Server, project: Project, now: datetime) -> dict[str, Any]:
    """Fills the project; returns the ids of its first scenario, a decided call, and a visit's number."""
    add_numbers(Change(session, server, project, ALICE, now), [*NUMBERS, "+442079460991"])
    spring = _scenarios(session, server, project, now)
    visits = [make_visit(session, project, 10001 + index, now - timedelta(minutes=9 * index + 3)) for index in range(4)]
    visits[1].source, visits[1].campaign, visits[1].source_key = "bing", "", named_source("bing", "cpc").key
    make_span(session, visits[0], now - timedelta(hours=1), now - timedelta(minutes=50))
    number = session.query(TrackingNumber).filter_by(e164=NUMBERS[0]).one()
    _leases(session, number, visits)
    _leak(session, project, spring, now)
    call = _calls(session, project, spring, visits, now)
    _deliveries(session, spring, call, now)
    return {
        "scenario_id": spring.id,
        "number_id": number.id,
        "e164": number.e164,
        "call_id": call.id,
        "recording_id": session.scalars(select(CallRecording.id)).one(),
        "number": visits[0].number,
    }


def _leases(session: Session, number: TrackingNumber, visits: list[Visit]) -> None:
    """The number went from visit to visit; the last one tapped it, the one before was left."""
    for visit in reversed(visits):
        make_lease(session, visit, number)
    visits[1].left = True
    visits[2].source_at = visits[2].started_at - timedelta(days=4)
    make_tap(session, visits[0], number, visits[0].started_at + timedelta(seconds=52))


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
        Change(session, server, project, ALICE, now - timedelta(days=40)),
        {"title": "Spring sale", "enabled": True, "numbers": NUMBERS[:4], "flow": flow, "tagging": tagging},
    )
    spring.accuracy, spring.calls = 94, 132
    flyer = {"source": "flyer", "medium": "print", "campaign": "may"}
    shop, _ = create_scenario(
        Change(session, server, project, ALICE, now - timedelta(days=12)),
        {"title": "Shop window and flyers", "numbers": NUMBERS[4:6], "static": {NUMBERS[4]: flyer}, "flow": flow},
    )
    shop.enabled, shop.accuracy, shop.calls = True, 81, 27
    create_scenario(
        Change(session, server, project, ALICE, now - timedelta(days=1)), {"title": "Autumn, not ready yet"}
    )
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
        talk_seconds=95,
        **here,
        **lease_decision(*visits),
    )
    make_legs(session, call)
    kept = {
        "state": "kept",
        "file": "0" * 40,
        "size": 1_520_044,
        "kept_at": now,
        "is_at_carrier": False,
        "next_at": None,
    }
    make_recording(session, call, sid="RE1", seconds=95, store="folder", content_type="audio/wav", **kept)
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


def make_month_of_rent(session: Session, project: Project, now: datetime) -> dict[str, Any]:
    """Entries of every kind of a month, e-mails of every state, and the carrier's price; returns the id of an e-mail."""
    project.number_price_minor = PRICE
    by_olivia: dict[str, Any] = {"actor": "olivia@example.net"}
    note = "Bank transfer of 20 October"
    make_ledger_entry(session, project, 4000, "form:5f0e", at=now - 5 * WEEK, note=note, **by_olivia)
    numbers = session.scalars(
        select(TrackingNumber).where(TrackingNumber.project_id == project.id).order_by(TrackingNumber.id).limit(4)
    ).all()
    for weeks in (4, 3, 2, 1):
        for index, number in enumerate(numbers):
            start = now - weeks * WEEK + timedelta(days=index)
            number.owned_elsewhere, number.paid_until = False, start + WEEK
            reason = f"rent:{number.e164}:{start.isoformat()}"
            renewed: dict[str, Any] = {"note": RENEWED, "number": number.e164, "scenario_id": number.scenario_id}
            make_ledger_entry(session, project, -PRICE, reason, "server", start, **renewed)
    gone = f"rent:+14155550188:{(now - 3 * HOUR).isoformat()}"
    lost: dict[str, Any] = {"number": "+14155550188"}
    make_ledger_entry(session, project, -PRICE, gone, "alice@example.com", now - 3 * HOUR, note=BOUGHT, **lost)
    note = "Somebody else has bought it meanwhile."
    make_ledger_entry(session, project, PRICE, f"refund:{gone}", "server", now - 2 * HOUR, note=note, **lost)
    make_ledger_entry(session, project, -100, "form:5f0f", at=now, note="Typed wrongly in October", **by_olivia)
    _mails(session, project, now)
    price = {"amount": "1.15", "currency": "USD", "period": "month"}
    remember_fact(session, f"carrier_price:{project.country}", json.dumps({"price": price, "reason": ""}), now)
    return {"mail_id": session.scalars(select(Mail.id).order_by(Mail.id).limit(1)).one()}


def _mails(session: Session, project: Project, now: datetime) -> None:
    states: list[dict[str, Any]] = [
        {"attempts": 9, "error": "The mail server refused the recipient (550 No such mailbox).", "next_at": None},
        {"error": NO_SERVER, "next_at": None},
        {"attempts": 2, "error": "The mail server did not answer in time.", "next_at": now + timedelta(minutes=15)},
        {"attempts": 1, "sent_at": now, "next_at": None},
        {},
    ]
    for index, state in enumerate(states):
        written_at = now - (len(states) - index) * 3 * HOUR
        make_mail(session, project, f"low:{index}", **({"created_at": written_at, "next_at": written_at} | state))

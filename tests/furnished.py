"""Alice's project with one object of each kind that the product has, so that a walk finds something at every address.

Each function returns `{name in a URL: id}` of what it made.
"""

from datetime import timedelta
from math import exp
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from sqlalchemy.orm import Session

from router.attribution.models import AccuracyDay, PoolPlan, RefusedOrigin, UpkeepRun
from router.attribution.planner.plan import Point, ladder, spread, trials
from router.attribution.pool.choice import learn
from router.attribution.upkeep.service import Limits, Pool, decide
from router.config import Settings
from router.db import Database
from router.integrations.models import DeliveryAttempt
from router.lib.crypto import KeyRing
from router.scenarios.models import Holiday, Scenario, TrackingNumber
from router.server import Server
from tests.busy_project import make_busy_project, make_month_of_rent
from tests.factories import (
    make_batch,
    make_blocked_caller,
    make_call,
    make_delivery,
    make_draft,
    make_integration,
    make_order,
    make_rented_number,
    make_scenario,
    make_sound,
    make_text_message,
    make_token,
)
from tests.people import NOW, Cast
from tests.secret import SECRET

CALLS = 412


PAGE = """<header><a class="phone" href="tel:+14155550100">(415) 555-0100</a></header>
<p>Call us: <b id="line">415-555-0100</b> or write.</p>"""

TYPED: dict[str, Any] = {
    "title": "Summer tyres",
    "numbers": {
        "numbers": ["+14155550126"],
        "own": "+44 20 7946 0992",
        "aim": "visit",
        "exhausted": "overflow",
        "overflow": "+14155550127",
        "hold_seconds": "90",
        "to_buy": {
            "numbers": ["+14155557731", "+14155557732"],
            "count": "3",
            "country": "US",
            "area_code": "415",
            "contains": "77",
        },
        "upkeep": {"on": True, "spending_limit": "25.00", "max_numbers": "12"},
    },
    "forwarding": {
        "destinations": [
            {"to": "+1 415 555 0111", "ring_seconds": "20"},
            {"to": "sip:desk@pbx.example.com", "ring_seconds": "30"},
        ]
    },
    "tagging": {
        "selectors": ".phone\n#line\n.missing",
        "replace": "(415) 555-0100",
        "format": "+1 (XXX) XXX-XXXX",
        "sample": PAGE,
    },
    "channels": {
        "channels": [
            {"source": "google", "medium": "cpc", "campaign": "", "gets": "dynamic"},
            {"source": "flyer", "medium": "print", "campaign": "may", "gets": "+14155550126"},
            {"source": "", "medium": "", "campaign": "", "gets": "+442079460992"},
        ]
    },
    "integrations": {
        "manager": "anna@example.com",
        "parts": {
            "integrations": {
                "webhook_end": {"url": "https://hooks.example.com/calls", "secret": "whsec_" + "c2VjcmV0" * 6},
                "crm": {"url": "https://crm.example.com", "database": "main", "key": "k", "kind": "odoo", "fields": ""},
            }
        },
    },
    "terms": {
        "only_sources": "google/cpc\nbing",
        "excluded_sources": "spam*",
        "only_landing_pages": "/tyres/*",
        "excluded_landing_pages": "",
        "only_regions": "",
        "excluded_regions": "",
    },
}


def a_person_and_a_token(session: Session, actors: Cast) -> dict[str, Any]:
    token, _ = make_token(session, actors.project, name="furniture")
    return {"person_id": actors.bob.id, "token_id": token.id}


def scenarios_numbers_and_calls(session: Session, actors: Cast) -> dict[str, Any]:
    settings = Settings(data_dir=Path("nowhere"), secret_key=SECRET)
    server = cast(
        Server, SimpleNamespace(scenario_parts=[], settings=settings)
    )  # all that a scenario without parts asks for
    return make_busy_project(session, server, actors.project, NOW)


def money_and_emails(session: Session, actors: Cast) -> dict[str, Any]:
    return make_month_of_rent(session, actors.project, NOW)


def a_draft(session: Session, actors: Cast) -> dict[str, Any]:
    """Sealed under a key that no server has; a test that opens it seals it again."""
    draft = make_draft(session, KeyRing(("a-key-of-the-furniture",)), actors.project, actors.alice, TYPED)
    return {"draft_id": draft.id, "step": "numbers"}


def a_site_that_asked(session: Session, actors: Cast) -> dict[str, Any]:
    refused = RefusedOrigin(project_id=actors.project.id, origin="https://staging.shop.example:8443", last_at=NOW)
    session.add(refused)
    session.flush()
    return {"origin_id": refused.id}


def rented_numbers_and_an_order(session: Session, actors: Cast) -> dict[str, Any]:
    """Rented numbers that are paid, in grace, pinned and being given back; and an order that is under way."""
    paid, over = NOW + timedelta(days=5), NOW - timedelta(days=2)
    for e164, paid_until, fields in (
        ("+14155550171", paid, {"pinned": True}),
        ("+14155550172", over, {"calls": 3}),
        ("+14155550173", paid, {"releasing_at": NOW}),
        ("+14155550174", over, {"released_at": NOW, "releasing_at": NOW}),
    ):
        make_rented_number(session, actors.project, e164, paid_until, bought_at=NOW, created_at=NOW, **fields)
    batch = make_batch(session, actors.project)
    for index, state in enumerate(["bought"] * 5 + ["refused"] + ["intent"] * 6):
        error = "The carrier does not sell numbers of this kind to us." if state == "refused" else ""
        e164 = f"+1415555018{index}" if index < 10 else f"+141555501{index + 80}"
        make_order(session, batch, e164, state=state, error=error)
    rented = session.query(TrackingNumber).filter_by(e164="+14155550172").one()
    return {"batch_id": batch.id, "rented_id": rented.id}


def days_of_accuracy(session: Session, actors: Cast) -> dict[str, Any]:
    """Three weeks of the same scenario, one day of them without visits, and what it learned about late callers."""
    scenario = session.get_one(Scenario, actors.ids["scenario_id"])
    for back in range(21):
        visits = 0 if back == 9 else 180 + 17 * (back % 7)
        shared = visits * (21 + 3 * (back % 5)) // 200
        row = AccuracyDay(
            scenario_id=scenario.id,
            day=(NOW - timedelta(days=back)).date().isoformat(),
            visits=visits,
            shared=shared,
            mixed=shared // 2,
            overflowed=visits // 90,
            kept=0,
            calls=0 if back == 4 else 9 + back % 4,
            sure_calls=0 if back == 4 else 8,
            confidence_sum=0.0 if back == 4 else 8 * (0.71 + 0.02 * (back % 9)),
        )
        session.add(row)
    scenario.survival = learn([600.0 * (1 + index % 17) ** 2 for index in range(1204)])
    return {}


def days_of_upkeep(session: Session, actors: Cast) -> dict[str, Any]:
    """A week of decisions about the scenario with upkeep."""
    scenario = session.get_one(Scenario, actors.ids["scenario_id"])
    scenario.upkeep_on, scenario.upkeep_began_with, scenario.needed = True, 4, 6
    days = [(100, 9, 6), (97, 8, 7), (84, 8, 11), (96, 8, 8), (100, 8, 8), (None, 8, None)]
    for back, (accuracy, numbers, needed) in reversed(list(enumerate(days))):
        decision = decide(Pool(numbers, accuracy, needed, Limits(max_numbers=9)), NOW)
        at = NOW - timedelta(days=back)
        session.add(
            UpkeepRun(
                project_id=actors.project.id,
                scenario_id=scenario.id,
                day=at.date().isoformat(),
                at=at,
                **decision.values(),
            )
        )
    return {}


def made_points(numbers: int) -> list[Point]:
    """Shares that rise with the pool as they do: sooner for sources where visitors of one source share."""
    found = []
    for size, aim in trials(numbers):
        scale, slower = (3.4, 4.5) if aim == "visit" else (2.1, 5.5)
        sources, visits = 0.99 - 0.7 * exp(-size / scale), 0.94 - 0.8 * exp(-size / slower)
        errors = [spread(share, CALLS) for share in (sources, visits)]
        found.append(
            Point(
                numbers=size,
                aim=aim,
                right_source=sources,
                source_error=errors[0],
                right_visit=visits,
                visit_error=errors[1],
                alone=visits,
            )
        )
    return found


def make_plan(scenario: Scenario, numbers: int, done: int | None = None, **values: Any) -> PoolPlan:
    facts = {"numbers": numbers, "aim": scenario.aim, "sizes": ladder(numbers), "visits": 9120, "calls": CALLS}
    facts |= {"first_at": (NOW - timedelta(days=29)).isoformat(), "cut": False, "drawn": 31, "left_out": 4}
    facts["seconds"] = 3.0
    given: dict[str, Any] = {"asked_at": NOW - timedelta(minutes=3), "inputs": {}, "facts": facts}
    given["points"] = [point.model_dump() for point in made_points(numbers)[:done]]
    given["made_at"] = NOW - timedelta(minutes=2) if done is None else None
    return PoolPlan(scenario_id=scenario.id, **(given | values))


def plans(session: Session, actors: Cast) -> dict[str, Any]:
    spring = session.get_one(Scenario, actors.ids["scenario_id"])
    others = session.query(Scenario).filter(Scenario.project_id == spring.project_id, Scenario.id != spring.id)
    going, failed = others.order_by(Scenario.id).limit(2)
    session.add(make_plan(spring, 8))
    session.add(make_plan(going, 4, 8))
    few = "The last 30 days had 12 visits and 3 calls to go by, which is too few: describe the traffic that you expect."
    session.add(make_plan(failed, 1, 0, made_at=NOW, error=few))
    session.flush()
    return {"planning_id": going.id, "unplanned_id": failed.id}


def a_dead_delivery(session: Session, actors: Cast) -> dict[str, Any]:
    scenario = make_scenario(session, actors.project, 0, title="Site")
    config = {"url": "https://hooks.example.com/calls"}
    webhook = make_integration(session, scenario, receiver="webhook:1:hooks.example.com", config=config)
    dead: dict[str, Any] = {"state": "dead", "reason": "The receiver answered 410.", "done_at": None}
    delivery = make_delivery(session, make_call(session, scenario), webhook, **dead)
    said = {"message": "The receiver answered 410. Gone.", "answer": "Gone. This address is not used any more."}
    session.add(DeliveryAttempt(delivery_id=delivery.id, at=NOW, milliseconds=41, status=410, outcome="dead", **said))
    return {"delivery_id": delivery.id, "slot": webhook.slot}


def blocked_callers(session: Session, actors: Cast) -> dict[str, Any]:
    """One of each kind, and a call that was not put through."""
    project = actors.project
    make_blocked_caller(session, project, "+882*", reason="Satellite telephones: never a customer")
    reason = "14 calls within 23 minutes, none of which was longer than 2 s"
    guess = make_blocked_caller(session, project, "+14155550199", reason=reason, is_guess=True, created_by="worker")
    make_blocked_caller(session, project, "+14155550198", reason=reason, is_guess=True, taken_back_at=NOW)
    flow = {"destinations": [], "blocked": {"because": "listed", "pattern": "+882*", "answer": "busy"}}
    call = make_call(
        session,
        project,
        kind="blocked",
        caller="+88216000001",
        status="failed",
        destination="",
        first_call=False,
        flow=flow,
        talk_seconds=0,
    )
    return {"entry_id": guess.id, "blocked_call_id": call.id}


def holidays(session: Session, actors: Cast) -> dict[str, Any]:
    for day, name in (("2026-11-01", "All Saints"), ("2026-12-25", "Christmas Day"), ("2026-12-26", "Boxing Day")):
        holiday = Holiday(project_id=actors.project.id, day=day, name=name)
        session.add(holiday)
    session.flush()
    return {"holiday_id": holiday.id}


def sounds(session: Session, actors: Cast) -> dict[str, Any]:
    """One that nobody plays; its file is nowhere."""
    make_sound(session, actors.project, "Closed on Sundays", seconds=74.2)
    return {"sound_id": make_sound(session, actors.project, "welcome").id}


def text_messages(session: Session, actors: Cast) -> dict[str, Any]:
    """From a customer, from a colleague, and from a blocked caller."""
    make_text_message(
        session, actors.project, "Do you open on Sunday? We would come with six people, two of them children."
    )
    make_text_message(
        session, actors.project, "Test", sender="+14155550144", kind="internal", media=["https://a.example/1"]
    )
    make_text_message(session, actors.project, "Cheap watches", sender="+14155550199", kind="blocked")
    return {}


def furnish(database: Database, actors: Cast) -> None:
    """Fills Alice's project, and `actors.ids` with the ids."""
    with database.writing() as session:
        for make in (
            a_person_and_a_token,
            scenarios_numbers_and_calls,
            money_and_emails,
            a_draft,
            a_site_that_asked,
            rented_numbers_and_an_order,
            days_of_accuracy,
            days_of_upkeep,
            plans,
            a_dead_delivery,
            blocked_callers,
            text_messages,
            holidays,
            sounds,
        ):
            actors.ids.update(make(session, actors))

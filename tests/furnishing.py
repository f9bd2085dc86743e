"""One object of each kind in Alice's project, for the walk over all addresses."""

from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

from sqlalchemy.orm import Session

from router.attribution.models import AccuracyDay, RefusedOrigin, UpkeepRun
from router.attribution.pool.choice import learn
from router.attribution.upkeep.rules import Limits, decide
from router.lib.crypto import KeyRing
from router.scenarios.models import NumberBatch, NumberOrder, Scenario, TrackingNumber
from router.server import Server
from tests.people import NOW, Cast, furnishes
from tests.reports.making import make_life
from tests.scenarios.balances import make_money
from tests.scenarios.drafting import make_draft


@furnishes
def scenarios_numbers_and_calls(session: Session, actors: Cast) -> dict[str, Any]:
    settings = SimpleNamespace(geoip=None)
    server = cast(
        Server, SimpleNamespace(scenario_parts=[], settings=settings)
    )  # all that a scenario without parts asks for
    return dict(make_life(session, server, actors.project, NOW))


@furnishes
def money_and_emails(session: Session, actors: Cast) -> dict[str, Any]:
    return make_money(session, actors.project.id, NOW)


@furnishes
def a_draft(session: Session, actors: Cast) -> dict[str, Any]:
    """Sealed under a key that no server has; a test that opens it seals it again."""
    draft = make_draft(session, KeyRing(("a-key-of-the-furniture",)), actors.project, actors.alice)
    return {"draft_id": draft.id, "step": "numbers"}


@furnishes
def a_site_that_asked(session: Session, actors: Cast) -> dict[str, Any]:
    refused = RefusedOrigin(project_id=actors.project.id, origin="https://staging.shop.example:8443", last_at=NOW)
    session.add(refused)
    session.flush()
    return {"origin_id": refused.id}


@furnishes
def rented_numbers_and_an_order(session: Session, actors: Cast) -> dict[str, Any]:
    """Rented numbers that are paid, in grace, pinned and being given back; and an order that is under way."""
    here = {"project_id": actors.project.id, "owned_elsewhere": False, "created_at": NOW, "bought_at": NOW}
    paid, over = NOW + timedelta(days=5), NOW - timedelta(days=2)
    for e164, values in {
        "+14155550171": {"paid_until": paid, "pinned": True},
        "+14155550172": {"paid_until": over, "calls": 3},
        "+14155550173": {"paid_until": paid, "releasing_at": NOW},
        "+14155550174": {"paid_until": over, "released_at": NOW, "releasing_at": NOW},
    }.items():
        session.add(TrackingNumber(e164=e164, carrier_sid=f"PN{e164}", **here, **values))
    batch = NumberBatch(project_id=actors.project.id, search={}, actor="alice@example.com", created_at=NOW)
    session.add(batch)
    session.flush()
    for index, state in enumerate(["bought"] * 5 + ["refused"] + ["intent"] * 6):
        error = "The carrier does not sell numbers of this kind to us." if state == "refused" else ""
        session.add(
            NumberOrder(
                batch_id=batch.id,
                project_id=actors.project.id,
                e164=f"+1415555018{index}" if index < 10 else f"+141555501{index + 80}",
                state=state,
                price_minor=100,
                charged_from=NOW,
                next_at=NOW,
                created_at=NOW,
                error=error,
            )
        )
    session.flush()
    rented = session.query(TrackingNumber).filter_by(e164="+14155550172").one()
    return {"batch_id": batch.id, "rented_id": rented.id}


@furnishes
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


@furnishes
def days_of_upkeep(session: Session, actors: Cast) -> dict[str, Any]:
    """A week of decisions about the scenario with upkeep."""
    scenario = session.get_one(Scenario, actors.ids["scenario_id"])
    scenario.upkeep_on, scenario.upkeep_began_with, scenario.needed = True, 4, 6
    days = [(100, 9, 6), (97, 8, 7), (84, 8, 11), (96, 8, 8), (100, 8, 8), (None, 8, None)]
    for back, (accuracy, numbers, needed) in reversed(list(enumerate(days))):
        decision = decide(numbers, accuracy, needed, Limits(max_numbers=9), [], NOW)
        at = NOW - timedelta(days=back)
        session.add(
            UpkeepRun(
                project_id=actors.project.id,
                scenario_id=scenario.id,
                day=at.date().isoformat(),
                at=at,
                accuracy=accuracy,
                numbers=numbers,
                needed=needed,
                action=decision.action,
                wanted=decision.wanted,
                count=decision.count,
                why=decision.why,
            )
        )
    return {}

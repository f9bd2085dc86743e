"""Fills the demo at its first start, up to the moment of `now`: the same three weeks of visits, calls, deliveries and rent every time."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from random import Random

from sqlalchemy import BigInteger, cast, insert, select, update
from sqlalchemy.orm import Session

from router.accounts.ledger import Post, post
from router.accounts.models import Project
from router.attribution.models import Lease, PoolNumber, Visit
from router.attribution.planner.jobs import ask_plan
from router.attribution.tracking.visitors import new_visitor
from router.carriers import SIMULATOR_FILE
from router.carriers.simulator.account import Account
from router.db import Database, dialect_name, next_visit_number, visit_number
from router.demo import shop
from router.demo.company import Company, Places, Room, found_company
from router.demo.outside import deliveries_of
from router.demo.people import DAYS, PastCall, Stay, decide_calls, three_weeks, three_weeks_of_calls
from router.integrations.models import Delivery, DeliveryAttempt, Lead
from router.lib.crypto import KeyRing
from router.scenarios.models import Scenario
from router.voice.models import Call, CallLeg

PRICE_MINOR = 150
TOP_UP_MINOR = 40_00
WEEK = timedelta(days=7)


def rent_numbers(session: Session, project: Project, web: Room, sids: dict[str, str], now: datetime) -> None:
    """The balance and its entries since the numbers were bought, week by week, up to `now`."""
    project.number_price_minor = PRICE_MINOR
    began = min(number.created_at for number in web.numbers.values())
    top_up = Post(TOP_UP_MINOR, "top-up:demo", "operator", "Transfer, the first month")
    post(session, project.id, top_up, began)
    for number in web.numbers.values():
        number.owned_elsewhere = False
        number.carrier_sid = sids[number.e164]
        number.bought_at = number.paid_until = began
    paid = began
    while paid <= now:
        for number in web.numbers.values():
            reason = f"rent:{number.e164}:{paid.isoformat()}"
            charge = Post(-PRICE_MINOR, reason, "renewal" if paid > began else project.email, "", number.e164, web.id)
            post(session, project.id, charge, paid)
            number.paid_until = paid + WEEK
        paid += WEEK
    session.flush()


def switch_upkeep_on(session: Session, web: Room) -> None:
    """So that the worker's first day shows a decision; the pool may grow to twice its numbers."""
    scenario = session.get_one(Scenario, web.id)
    scenario.upkeep_on = True
    scenario.upkeep_began_with = len(web.numbers)
    scenario.upkeep_spending_limit_minor = 10_00


def bought_at_the_carrier(data_dir: Path, e164s: Iterable[str]) -> dict[str, str]:
    """The carrier's ids of the numbers, which are bought there unless they are ours already."""
    account = Account(data_dir / SIMULATOR_FILE)
    sids = {number["e164"]: str(number["sid"]) for number in account.numbers()}
    return {e164: sids.get(e164) or account.buy(e164, {"FriendlyName": "demo"})["sid"] for e164 in e164s}


def ring_here(data_dir: Path) -> None:
    """Rented numbers forget their voice addresses: they ring wherever this run of the demo listens."""
    Account(data_dir / SIMULATOR_FILE).forget_addresses()


SEED = 1817
"""The year of the first bicycle."""


def is_alive(database: Database) -> bool:
    with database.reading() as session:
        return session.scalar(select(Project.id).limit(1)) is not None


def bring_to_life(
    database: Database,
    keys: KeyRing,
    places: Places,
    base_url: str,
    site: list[str],
    password_hash: str,
    sids: dict[str, str],
    now: datetime,
) -> None:
    """Writes the company, its owner, its money, its visitors, their calls and what was delivered, in one transaction.

    `sids`: the carrier's ids of the pool's numbers.
    """
    random = Random(SEED)  # noqa: S311 - a story, not a secret
    with database.writing() as session:
        began = now - timedelta(days=DAYS + 1)
        company = found_company(session, keys, places, site, password_hash, began)
        rent_numbers(session, company.project, company.web, sids, now)
        switch_upkeep_on(session, company.web)
        stays = three_weeks(random, base_url, company.project.timezone, now)
        calls = three_weeks_of_calls(random, stays, now)
        write_visits(session, keys, company, stays)
        decide_calls(calls, stays)
        write_calls(session, company, calls)
        write_deliveries(session, random, company, calls)
        write_counts(session, company, stays, calls)
        ask_plan(session, session.get_one(Scenario, company.web.id), None, now)


def write_visits(session: Session, keys: KeyRing, company: Company, stays: list[Stay]) -> None:
    project_id = company.project.id
    visitors = {stay.visitor: new_visitor(keys, project_id) for stay in stays}
    number = select(cast(visit_number(dialect_name(session)), BigInteger))
    for stay in stays:
        stay.visit_number = session.scalar(number, next_visit_number(session, project_id)) or 0
    rows = [
        stay.evidence.source.as_dict()
        | {
            "project_id": project_id,
            "number": stay.visit_number,
            "visitor": visitors[stay.visitor],
            "started_at": stay.started_at,
            "span_started_at": stay.started_at,
            "last_sign_at": stay.last_sign_at,
            "page": stay.page,
            "referrer": stay.referrer,
            "source_key": stay.evidence.source.key,
            "click_ids": dict(stay.evidence.click_ids),
            "ga": stay.ga,
            "address": f"192.0.2.{stay.visitor % 250}"[:-1] + "0",
        }
        for stay in stays
    ]
    session.execute(insert(Visit), rows)
    known = session.execute(select(Visit.number, Visit.id).where(Visit.project_id == project_id))
    ids = {row.number: row.id for row in known}
    for stay in stays:
        stay.visit_id = ids[stay.visit_number]
    leases = [
        {
            "scenario_id": company.web.id,
            "number_id": company.web.numbers[stay.number].id,
            "visit_id": stay.visit_id,
            "turn": stay.turn,
            "shared": stay.shared,
            "mixed": stay.mixed,
            "started_at": stay.started_at,
        }
        for stay in stays
    ]
    session.execute(insert(Lease), leases)
    for rented in company.web.numbers.values():
        last = next((stay for stay in reversed(stays) if stay.number == rented.e164), None)
        if last is not None:
            values = {
                "turn": last.turn,
                "group_turn": last.turn,
                "visitor": visitors[last.visitor],
                "source_key": last.evidence.source.key,
                "lease_started_at": last.started_at,
                "last_sign_at": last.last_sign_at,
            }
            session.execute(update(PoolNumber).where(PoolNumber.number_id == rented.id).values(values))


def write_calls(session: Session, company: Company, calls: list[PastCall]) -> None:
    rows = []
    for call in calls:
        room, answered, decision = room_of(company, call), call.answered, call.decision
        rows.append(
            {
                "sid": _sid(call),
                "project_id": company.project.id,
                "number_id": room.numbers[call.number].id,
                "number": call.number,
                "scenario_id": room.id,
                "scenario_enabled": True,
                "flow": {"destinations": [{"to": line.to, "ring_seconds": shop.RING_SECONDS} for line in call.lines]},
                "caller": call.caller,
                "caller_raw": call.caller or "anonymous",
                "started_at": call.started_at,
                "last_event_at": _moment(call, call.ended_after),
                "status": call.status,
                "first_call": call.first,
                "destination": (answered or call.lines[-1]).to,
                "answered_at": _moment(call, answered.answered_at) if answered else None,
                "ended_at": _moment(call, call.ended_after),
                "ring_seconds": round(answered.answered_at or 0) if answered else round(call.ended_after),
                "talk_seconds": round(answered.ended_at - (answered.answered_at or 0)) if answered else None,
                **decision.values(),
                "source_key": decision.source_key,
            }
        )
    session.execute(insert(Call), rows)
    ids = {row.sid: row.id for row in session.execute(select(Call.sid, Call.id))}
    for call in calls:
        call.id = ids[_sid(call)]
        if call.earlier is not None:
            steps = call.decision.steps
            steps[0]["first_call_id"] = call.earlier.id
            session.execute(update(Call).where(Call.id == call.id).values(decision={"steps": steps}))
    legs = [
        {
            "call_sid": _sid(call),
            "sid": f"{_sid(call)[:-1]}{turn}L",
            "destination": line.to,
            "status": line.status,
            "ringing_at": _moment(call, line.rang_at) if line.status != "failed" else None,
            "answered_at": _moment(call, line.answered_at),
            "ended_at": _moment(call, line.ended_at),
            "seconds": round(line.ended_at - line.answered_at) if line.answered_at is not None else 0,
        }
        for call in calls
        for turn, line in enumerate(call.lines)
    ]
    session.execute(insert(CallLeg), legs)


def room_of(company: Company, call: PastCall) -> Room:
    return company.web if call.number in company.web.numbers else company.print


def _sid(call: PastCall) -> str:
    return f"CA{int(call.started_at.timestamp() * 1000):032x}"


def _moment(call: PastCall, seconds: float | None) -> datetime | None:
    return None if seconds is None else call.started_at + timedelta(seconds=seconds)


def write_deliveries(session: Session, random: Random, company: Company, calls: list[PastCall]) -> None:
    sent = [delivery for call in calls for delivery in deliveries_of(random, call, room_of(company, call))]
    session.execute(insert(Delivery), [delivery.row for delivery in sent])
    ids = {row.message_id: row.id for row in session.execute(select(Delivery.message_id, Delivery.id))}
    attempts = [
        attempt | {"delivery_id": ids[delivery.row["message_id"]]} for delivery in sent for attempt in delivery.attempts
    ]
    session.execute(insert(DeliveryAttempt), attempts)
    # the first call of each caller
    leads = {delivery.lead["caller"]: delivery.lead for delivery in reversed(sent) if delivery.lead}
    session.execute(insert(Lead), list(leads.values()))


def write_counts(session: Session, company: Company, stays: list[Stay], calls: list[PastCall]) -> None:
    """What the worker would have counted."""
    recent = [stay for stay in stays if stay.started_at > stays[-1].started_at - timedelta(days=7)]
    for room in (company.web, company.print):
        scenario = session.get_one(Scenario, room.id)
        scenario.calls = sum(call.number in room.numbers for call in calls)
        for number in room.numbers.values():
            number.calls = sum(call.number == number.e164 for call in calls)
            number.last_shown_at = max((stay.started_at for stay in stays if stay.number == number.e164), default=None)
        if room is company.web:
            scenario.accuracy = int(100 * sum(not stay.shared for stay in recent) / len(recent))
            scenario.first_shown_at = stays[0].started_at

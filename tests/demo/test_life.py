"""The demo's past is the same at every first start, and looks like a real company's."""

import time
from datetime import UTC, datetime, timedelta
from random import Random

from sqlalchemy import func, select

from router.accounts.models import LedgerEntry, Mail, Project
from router.attribution.models import AccuracyDay, Lease, PoolNumber, Visit
from router.config import Settings
from router.db import Database
from router.demo import shop
from router.demo.company import Places
from router.demo.life import SEED, bring_to_life, is_alive
from router.demo.people import three_weeks, three_weeks_of_calls
from router.integrations.models import Delivery, DeliveryAttempt, Lead
from router.lib.crypto import KeyRing
from router.reports.accuracy.jobs import refresh_accuracy
from router.scenarios.models import Scenario, TrackingNumber
from router.server import Server
from router.voice.models import Call, CallLeg

NOW = datetime(2026, 11, 23, 18, 30, tzinfo=UTC)
PLACES = Places(9999, "key", "crm-key", "whsec_" + "A" * 32)
SIDS = {e164: f"PN{e164[1:]}" for e164 in shop.POOL}
BASE_URL = "http://127.0.0.1:8000"


def live(database: Database, keys: KeyRing) -> None:
    bring_to_life(database, keys, PLACES, BASE_URL, ["127.0.0.1:8000"], "hash", SIDS, NOW)


def three_weeks_are_there(database: Database) -> None:
    assert is_alive(database)
    with database.reading() as session:
        counts = {table: session.scalar(select(func.count()).select_from(table)) or 0 for table in (Visit, Call, Lease)}
    assert counts[Visit] == counts[Lease] > 700
    assert counts[Call] > 100


def every_row_fits_the_others(database: Database) -> None:
    with database.reading() as session:
        numbers = {number.id: number for number in session.scalars(select(TrackingNumber))}
        visits = {visit.id: visit for visit in session.scalars(select(Visit))}
        legs = {leg.call_sid for leg in session.scalars(select(CallLeg))}
        calls = list(session.scalars(select(Call).order_by(Call.started_at)))
        assert {number.e164 for number in numbers.values()} == {*shop.POOL, shop.BILLBOARD, shop.FLYER}
        for call in calls:
            assert numbers[call.number_id].e164 == call.number
            assert call.sid in legs
            assert call.visit_id is None or call.visit_id in visits
            assert call.ended_at is not None
            assert call.started_at < call.ended_at < NOW
            assert (call.status == "answered") == (call.answered_at is not None) == (call.talk_seconds is not None)
            assert sum(one["probability"] for one in call.candidates) <= 1.0001


def calls_come_from_plausible_sources_and_end_in_every_way(database: Database) -> None:
    """R7: a static number is certain, a repeat keeps the source of the first call, a lease has a confidence."""
    with database.reading() as session:
        calls = list(session.scalars(select(Call).order_by(Call.started_at)))
    assert {call.rule for call in calls} >= {"repeat", "static", "lease"}
    assert {call.status for call in calls} >= {"answered", "missed", "abandoned", "busy"}
    assert any(call.caller is None for call in calls)
    for call in calls:
        if call.rule == "static":
            assert (call.confidence, call.visit_id) == (1.0, None)
        if call.rule == "repeat":
            first = next(one for one in calls if (one.caller, one.number) == (call.caller, call.number))
            assert (first.source, first.id) == (call.source, call.decision["steps"][0]["first_call_id"])
        if call.rule == "lease":
            assert call.candidates[0]["visit_id"] == call.visit_id
            assert 0 < (call.confidence or 0) <= (call.source_confidence or 0) + 0.0001 <= 1.0002


def a_call_of_a_withheld_caller_is_nobodys_first_and_makes_no_lead(database: Database) -> None:
    with database.reading() as session:
        withheld = list(session.scalars(select(Call).where(Call.caller.is_(None))))
        assert not any(call.first_call for call in withheld)
        leads = session.scalar(select(func.count()).select_from(Lead)) or 0
        firsts = session.scalar(select(func.count()).select_from(Call).where(Call.first_call)) or 0
    assert 0 < leads <= firsts


def every_delivery_is_over_and_tells_how(database: Database) -> None:
    """R11: nothing of the past is sent again when the worker starts."""
    with database.reading() as session:
        deliveries = list(session.scalars(select(Delivery)))
        tried = set(session.scalars(select(DeliveryAttempt.delivery_id)))
    assert {"done", "skipped"} <= {delivery.state for delivery in deliveries} <= {"done", "skipped", "dead"}
    for delivery in deliveries:
        assert delivery.id in tried
        assert (delivery.state == "done") == (delivery.done_at is not None)
        assert (delivery.state == "done") != bool(delivery.reason)


def the_next_visitor_gets_a_number_and_the_next_visit_number(database: Database) -> None:
    """R6: the pool stands as the last leases left it."""
    with database.reading() as session:
        pool = list(session.scalars(select(PoolNumber)))
        turns = dict(session.execute(select(Lease.number_id, func.max(Lease.turn)).group_by(Lease.number_id)).all())
        assert {row.number_id: row.turn for row in pool} == turns
        assert len(pool) == len(shop.POOL)
        assert all(row.last_sign_at < NOW - timedelta(seconds=150) for row in pool)


def the_tables_show_counts(database: Database) -> None:
    with database.reading() as session:
        scenarios = list(session.scalars(select(Scenario).order_by(Scenario.id)))
        calls = session.scalar(select(func.count()).select_from(Call))
    assert sum(scenario.calls for scenario in scenarios) == calls
    assert scenarios[0].accuracy is not None
    assert 80 <= scenarios[0].accuracy <= 100
    assert scenarios[1].accuracy is None


def the_worker_finds_every_day_of_accuracy(database: Database, keys: KeyRing) -> None:
    """R8: the page of a scenario's accuracy is full of life a moment after the start."""
    server = Server(Settings(), database, keys)
    refresh_accuracy(server, NOW)
    with database.reading() as session:
        web = session.scalars(select(Scenario).order_by(Scenario.id)).first()
        assert web is not None
        days = list(session.scalars(select(AccuracyDay).where(AccuracyDay.scenario_id == web.id)))
        visits = session.scalar(select(func.count()).select_from(Visit))
    assert len(days) >= 21
    assert sum(day.visits for day in days) == visits
    assert sum(day.mixed for day in days) > 0
    assert 80 <= (web.accuracy or 0) <= 100
    assert web.confidence is not None


def the_money_adds_up_and_the_numbers_are_paid(database: Database) -> None:
    """R4"""
    with database.reading() as session:
        project = session.scalars(select(Project)).one()
        entries = session.scalars(select(LedgerEntry).order_by(LedgerEntry.id)).all()
        rented = session.scalars(select(TrackingNumber).where(TrackingNumber.owned_elsewhere.is_(False))).all()
        mails = session.scalars(select(func.count()).select_from(Mail)).one()
    assert sum(entry.amount_minor for entry in entries) == project.balance_minor == entries[-1].balance_minor > 0
    assert {number.e164 for number in rented} == set(shop.POOL)
    assert all(NOW < (number.paid_until or NOW) <= NOW + timedelta(days=7) for number in rented)
    assert mails == 0


def test_r4_r6_r7_r8_the_past_is_written_in_seconds_and_looks_like_a_real_companys(
    database: Database, keys: KeyRing
) -> None:
    assert not is_alive(database)
    began = time.process_time()
    live(database, keys)
    assert time.process_time() - began < 5
    three_weeks_are_there(database)
    the_money_adds_up_and_the_numbers_are_paid(database)
    every_row_fits_the_others(database)
    calls_come_from_plausible_sources_and_end_in_every_way(database)
    a_call_of_a_withheld_caller_is_nobodys_first_and_makes_no_lead(database)
    every_delivery_is_over_and_tells_how(database)
    the_next_visitor_gets_a_number_and_the_next_visit_number(database)
    the_tables_show_counts(database)
    the_worker_finds_every_day_of_accuracy(database, keys)


def test_it_is_the_same_past_at_every_first_start() -> None:
    def past() -> list[tuple[str | None, str]]:
        random = Random(SEED)
        stays = three_weeks(random, BASE_URL, "UTC", NOW)
        return [(call.caller, call.status) for call in three_weeks_of_calls(random, stays, NOW)]

    assert past() == past()

"""Renewal, grace and what is given back after it (R4)."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from router.accounts.audit import Change
from router.accounts.ledger import BalanceTooLow, Post, post_all
from router.accounts.models import LedgerEntry, Mail, Project
from router.db import Database
from router.scenarios.billing.rent import renew_due, renew_some
from router.scenarios.models import Scenario, TrackingNumber
from router.scenarios.numbers.inventory import place_numbers
from router.scenarios.service import create_scenario
from router.server import Server
from tests.factories import NOON, make_ledger_entry, make_project, make_rented_number
from tests.scenarios.names import ALICE, DAY, FIRST, LINE, SECOND, THIRD, WEEK, balance_of, number

PRICE = 150
SECOND_LATE = timedelta(seconds=1)


@pytest.fixture
def project(database: Database) -> Project:
    with database.writing() as session:
        return make_project(session, name="Alpine Bikes", currency="EUR", number_price_minor=PRICE)


def rented(server: Server, project: Project, *e164s: str, **values: Any) -> None:
    """Numbers whose paid time ends at noon."""
    with server.database.writing() as session:
        for e164 in e164s:
            make_rented_number(session, project, e164, NOON, **values)


def money(server: Server, project: Project, amount: int, reason: str = "top-up:1") -> None:
    with server.database.writing() as session:
        make_ledger_entry(session, project, amount, reason)


def paid_until(server: Server, e164: str) -> datetime | None:
    with server.database.reading() as session:
        return number(session, e164).paid_until


def reasons(server: Server) -> list[str]:
    with server.database.reading() as session:
        return list(session.scalars(select(LedgerEntry.reason).order_by(LedgerEntry.id)))[1:]


def subjects(server: Server) -> list[str]:
    with server.database.reading() as session:
        return list(session.scalars(select(Mail.subject).where(Mail.key.contains("grace")).order_by(Mail.id)))


def test_r4_a_number_is_renewed_when_its_paid_time_ends_and_not_before(server: Server, project: Project) -> None:
    rented(server, project, FIRST)
    money(server, project, 1000)
    assert renew_due(server, NOON - SECOND_LATE) == 0
    assert renew_due(server, NOON) == 1
    assert renew_due(server, NOON) == 0
    assert paid_until(server, FIRST) == NOON + WEEK
    assert reasons(server) == [f"rent:{FIRST}:2026-11-23T12:00:00+00:00"]
    with server.database.reading() as session:
        assert balance_of(session, project) == 1000 - PRICE


def test_r4_it_is_renewed_from_where_the_paid_time_ended_also_after_weeks_without_a_worker(
    server: Server, project: Project
) -> None:
    rented(server, project, FIRST)
    money(server, project, 1000)
    assert renew_due(server, NOON + 2 * WEEK + 3 * DAY) == 3
    assert paid_until(server, FIRST) == NOON + 3 * WEEK
    assert reasons(server) == [f"rent:{FIRST}:{(NOON + weeks * WEEK).isoformat()}" for weeks in range(3)]


def test_r4_it_is_renewed_also_while_its_scenario_is_disabled_and_its_project_suspended(
    server: Server, project: Project
) -> None:
    rented(server, project, FIRST)
    money(server, project, 1000)
    with server.database.writing() as session:
        wanted = {"title": "Spring", "numbers": [FIRST], "enabled": False}
        scenario, _ = create_scenario(Change(session, server, project, ALICE, NOON), wanted)
        session.get_one(Project, project.id).suspended_at = NOON
    assert renew_due(server, NOON) == 1
    with server.database.reading() as session:
        entry = session.scalars(select(LedgerEntry).order_by(LedgerEntry.id.desc())).first()
        assert entry is not None
        assert (entry.scenario_id, entry.number) == (scenario.id, FIRST)


def test_r4_the_earliest_are_renewed_first_and_the_balance_never_falls_below_zero(
    server: Server, project: Project
) -> None:
    with server.database.writing() as session:
        make_rented_number(session, project, SECOND, NOON)
        make_rented_number(session, project, FIRST, NOON - DAY)
        make_rented_number(session, project, THIRD, NOON + DAY)
    money(server, project, PRICE + PRICE // 2)
    assert renew_due(server, NOON) == 1
    assert paid_until(server, FIRST) == NOON - DAY + WEEK
    assert paid_until(server, SECOND) == NOON
    with server.database.reading() as session:
        assert balance_of(session, project) == PRICE // 2


def test_r4_with_a_price_of_zero_the_paid_time_moves_on_without_entries_or_letters(
    server: Server, project: Project
) -> None:
    rented(server, project, FIRST, SECOND)
    with server.database.writing() as session:
        session.get_one(Project, project.id).number_price_minor = 0
    assert renew_due(server, NOON + WEEK) == 4
    assert paid_until(server, FIRST) == NOON + 2 * WEEK
    with server.database.reading() as session:
        assert not session.scalars(select(LedgerEntry)).all()
        assert not session.scalars(select(Mail)).all()


def test_r4_numbers_owned_elsewhere_or_being_given_back_are_not_renewed(server: Server, project: Project) -> None:
    rented(server, project, FIRST, releasing_at=NOON)
    rented(server, project, SECOND, released_at=NOON)
    with server.database.writing() as session:
        make_project(session, name="Other", numbers=(THIRD,))
    money(server, project, 1000)
    assert renew_due(server, NOON) == 0


def test_r4_what_a_renewal_counted_before_is_not_charged_again(server: Server, project: Project) -> None:
    rented(server, project, FIRST)
    money(server, project, 1000)
    renew_some(server, project.id, NOON)
    with server.database.writing() as session:
        number(session, FIRST).paid_until = NOON  # as if somebody had written an old row back
    renew_due(server, NOON)
    assert len(reasons(server)) == 1
    with server.database.reading() as session:
        assert balance_of(session, project) == 1000 - PRICE


def test_r4_numbers_that_cannot_be_renewed_stay_seven_days_with_one_letter_for_each_stage(
    server: Server, project: Project
) -> None:
    rented(server, project, FIRST, SECOND)
    for hours in range(0, 7 * 24, 2):
        renew_due(server, NOON + timedelta(hours=hours))
    assert subjects(server) == [
        "2 numbers of Alpine Bikes could not be renewed",
        "2 numbers of Alpine Bikes still wait for the balance",
        "The last day for 2 numbers of Alpine Bikes",
    ]
    with server.database.reading() as session:
        first = session.scalars(select(Mail).where(Mail.key.contains("grace:began"))).one()
        assert "3.00 EUR are missing" in first.body
        assert "30 Nov" in first.body
        assert number(session, FIRST).releasing_at is None


def test_r4_a_renewal_that_becomes_possible_within_grace_begins_where_the_paid_time_ended(
    server: Server, project: Project
) -> None:
    rented(server, project, FIRST)
    renew_due(server, NOON + 5 * DAY)
    money(server, project, 1000)
    renew_due(server, NOON + 5 * DAY)
    assert paid_until(server, FIRST) == NOON + WEEK
    assert reasons(server) == [f"rent:{FIRST}:{NOON.isoformat()}"]


def test_r4_after_grace_only_dynamic_numbers_without_a_call_in_30_days_are_given_back(
    server: Server, project: Project
) -> None:
    quiet, called, lately, pinned, static, seen = (f"+1415555016{digit}" for digit in range(6))
    with server.database.writing() as session:
        make_rented_number(session, project, quiet, NOON, last_call_at=NOON - 24 * DAY)
        make_rented_number(session, project, called, NOON, last_call_at=NOON - 22 * DAY)
        make_rented_number(session, project, pinned, NOON, pinned=True)
        for other in (lately, static, seen):
            make_rented_number(session, project, other, NOON)
        wanted = {"title": "Spring", "flow": {"destinations": [{"to": LINE}]}}
        scenario, _ = create_scenario(Change(session, server, project, ALICE, NOON), wanted)
        source = {"source": "google", "medium": "", "campaign": ""}
        place_numbers(session, server, scenario, {quiet: None, static: source})
        ids = {e164: number(session, e164).id for e164 in (lately, seen)}
    server.numbers_called = lambda session, asked, since: (
        {ids[lately]} & set(asked)
    )  # a worker's turn ahead of the column
    server.numbers_shown = lambda session, asked, now: {ids[seen]} & set(asked)
    renew_due(server, NOON + WEEK - SECOND_LATE)
    with server.database.reading() as session:
        assert not session.scalars(select(TrackingNumber).where(TrackingNumber.releasing_at.is_not(None))).all()
    renew_due(server, NOON + WEEK)
    with server.database.reading() as session:
        leaving = session.scalars(select(TrackingNumber.e164).where(TrackingNumber.releasing_at.is_not(None))).all()
        assert leaving == [quiet]
        assert number(session, quiet).scenario_id is None
        assert number(session, quiet).last_flow_id == session.get_one(Scenario, scenario.id).call_flow_id
        kept = session.scalars(select(TrackingNumber.e164).where(TrackingNumber.releasing_at.is_(None))).all()
    assert sorted(kept) == sorted([called, lately, pinned, static, seen])
    assert subjects(server)[-1] == "5 numbers of Alpine Bikes are not paid any more: please decide"


def test_r4_numbers_that_are_seen_or_called_just_now_keep_no_others_waiting(server: Server, project: Project) -> None:
    """Whatever their place: the longest unpaid ones come first."""
    e164s = [f"+14155550{100 + place}" for place in range(25)]
    rented(server, project, *e164s)
    with server.database.reading() as session:
        ids = [number(session, e164).id for e164 in e164s]
    busy = {*ids[:12], *ids[13:23]}
    server.numbers_called = lambda session, asked, since: {one for one in asked if one in busy and one % 2}
    server.numbers_shown = lambda session, asked, now: busy & set(asked)
    renew_due(server, NOON + WEEK)
    with server.database.reading() as session:
        leaving = (
            select(TrackingNumber.e164).where(TrackingNumber.releasing_at.is_not(None)).order_by(TrackingNumber.id)
        )
        assert session.scalars(leaving).all() == [e164s[12], *e164s[23:]]


def test_r4_a_top_up_in_time_gives_nothing_back(server: Server, project: Project) -> None:
    rented(server, project, FIRST)
    money(server, project, 10 * PRICE)
    renew_due(server, NOON + WEEK + DAY)
    with server.database.reading() as session:
        assert number(session, FIRST).releasing_at is None
        assert number(session, FIRST).paid_until == NOON + 2 * WEEK


def test_r4_many_charges_at_once_are_all_covered_or_none_is_written(server: Server, project: Project) -> None:
    money(server, project, 100)
    charges = [Post(-60, f"rent:{e164}:x", "server", number=e164) for e164 in (FIRST, SECOND)]
    with pytest.raises(BalanceTooLow) as refusal, server.database.writing() as session:
        post_all(session, project.id, charges, NOON)
    assert refusal.value.missing_minor == 20
    with server.database.writing() as session:
        post_all(session, project.id, charges[:1], NOON)
        post_all(session, project.id, charges[:1], NOON)
        assert balance_of(session, project) == 40

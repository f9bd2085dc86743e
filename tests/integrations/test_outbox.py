"""R11: written with the call event, claimed by one at a time, retried, dead, replayable."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event, func, select

from router.database import Database
from router.integrations.claims import LEASE, Claim, Outcome, anything_due, claim, finish, remember
from router.integrations.models import Delivery, DeliveryAttempt, DestinationHealth, Integration, Lead
from router.integrations.outbox import fan_out, replay, replay_dead
from router.integrations.pauses import PAUSES
from router.scenarios.models import Scenario
from router.voice.models import Call
from tests.integrations.conftest import Office
from tests.integrations.factories import CALLER, NOW, facts, make_call, make_integration

DONE = Outcome("done", status=200)
FAILED = Outcome("retry", "The receiver answered 500.", status=500)


def ended_call(office: Office, **more: Any) -> int:
    with office.database.writing() as session:
        call = make_call(session, session.get_one(Scenario, office.scenario_id), **more)
        fan_out(session, facts(call), "call.ended", NOW)
        return call.id


def add(office: Office, slot: str, kind: str, destination: str = "one", scenario_id: int | None = None) -> int:
    with office.database.writing() as session:
        scenario = session.get_one(Scenario, scenario_id or office.scenario_id)
        return make_integration(session, scenario, office.server.keys, slot, kind, "", destination=destination).id


def deliveries(database: Database) -> list[Delivery]:
    with database.reading() as session:
        return list(session.scalars(select(Delivery).order_by(Delivery.id)))


def claims(database: Database, now: Any = NOW, room: int = 50, failing: int = 50) -> list[Claim]:
    with database.writing() as session:
        return claim(session, now, room, failing)


def end(database: Database, one: Claim, outcome: Outcome, now: Any = NOW) -> bool:
    with database.writing() as session:
        return finish(session, one, outcome, now, 0.5)


def test_each_slot_hears_of_its_own_event(office: Office) -> None:
    for slot, kind in (("webhook_start", "webhook"), ("webhook_end", "webhook"), ("ga4", "ga4"), ("crm", "odoo")):
        add(office, slot, kind)
    with office.database.writing() as session:
        call = make_call(session, session.get_one(Scenario, office.scenario_id))
        fan_out(session, facts(call), "call.started", NOW)
        fan_out(session, facts(call), "call.ended", NOW)
    with office.database.reading() as session:
        rows = session.execute(
            select(Delivery.event, Integration.slot).join(Integration, Integration.id == Delivery.integration_id)
        )
        told = sorted(tuple(row) for row in rows)
    assert told == [
        ("call.ended", "crm"),
        ("call.ended", "ga4"),
        ("call.ended", "webhook_end"),
        ("call.started", "webhook_start"),
    ]


def test_fan_out_costs_the_hot_path_one_statement(office: Office) -> None:
    add(office, "webhook_end", "webhook")
    add(office, "crm", "odoo")
    statements: list[str] = []
    with office.database.writing() as session:
        call = make_call(session, session.get_one(Scenario, office.scenario_id))
        engine = office.database.engine
        listener = lambda *args: statements.append(args[2])  # noqa: E731
        event.listen(engine, "before_cursor_execute", listener)
        fan_out(session, facts(call), "call.ended", NOW)
        event.remove(engine, "before_cursor_execute", listener)
    assert len(statements) == 1
    assert len(deliveries(office.database)) == 2


def test_a_repeated_event_adds_nothing(office: Office) -> None:
    add(office, "webhook_end", "webhook")
    ended_call(office)
    before = deliveries(office.database)
    with office.database.writing() as session:
        fan_out(session, facts(session.scalars(select(Call)).one()), "call.ended", NOW + timedelta(seconds=9))
    after = deliveries(office.database)
    assert [(row.id, row.message_id, row.next_at) for row in after] == [
        (row.id, row.message_id, row.next_at) for row in before
    ]


def test_a_transaction_that_rolls_back_leaves_no_delivery(office: Office) -> None:
    add(office, "webhook_end", "webhook")
    with office.database.writing() as session:
        call = make_call(session, session.get_one(Scenario, office.scenario_id))
        fan_out(session, facts(call), "call.ended", NOW)
        session.rollback()
    assert deliveries(office.database) == []


def test_a_disabled_scenario_leaves_skipped_deliveries_that_can_be_replayed(office: Office) -> None:
    add(office, "webhook_end", "webhook")
    ended_call(office, scenario_enabled=False)
    (row,) = deliveries(office.database)
    assert (row.state, row.reason) == ("skipped", "scenario disabled")
    assert claims(office.database) == []
    with office.database.writing() as session:
        replay(session, office.project_id, row.id, NOW)
    assert len(claims(office.database)) == 1


def test_a_removed_integration_gets_no_new_deliveries(office: Office) -> None:
    integration = add(office, "webhook_end", "webhook")
    with office.database.writing() as session:
        session.get_one(Integration, integration).removed_at = NOW
    ended_call(office)
    assert deliveries(office.database) == []


def test_a_call_outside_any_scenario_tells_nobody(office: Office) -> None:
    add(office, "webhook_end", "webhook")
    ended_call(office, scenario_id=None)
    assert deliveries(office.database) == []


def test_what_is_lent_is_lent_to_one_worker(office: Office) -> None:
    add(office, "webhook_end", "webhook")
    ended_call(office)
    assert len(claims(office.database)) == 1
    assert claims(office.database) == []


def test_a_delivery_that_fails_is_tried_on_schedule_and_then_dead(office: Office) -> None:
    add(office, "webhook_end", "webhook")
    ended_call(office)
    now = NOW
    pauses = []
    for _ in PAUSES:
        (one,) = claims(office.database, now)
        end(office.database, one, FAILED, now)
        (row,) = deliveries(office.database)
        pauses.append(row.next_at - now)
        with office.database.reading() as session:
            opened = session.scalars(select(DestinationHealth.open_until)).one()
        now = max(row.next_at, opened or row.next_at)
    assert row.state == "dead"
    assert row.reason == "The receiver answered 500."
    assert pauses[:9] == list(PAUSES[1:])
    assert claims(office.database, now + timedelta(days=9)) == []
    with office.database.reading() as session:
        assert session.scalar(select(func.count()).select_from(DeliveryAttempt)) == len(PAUSES)


def test_a_permanent_error_is_dead_at_once(office: Office) -> None:
    add(office, "webhook_end", "webhook")
    ended_call(office)
    (one,) = claims(office.database)
    end(office.database, one, Outcome("dead", "Gone.", status=410))
    assert [(row.state, row.attempts) for row in deliveries(office.database)] == [("dead", 1)]


def test_a_worker_that_died_loses_its_lease_and_nothing_is_lost(office: Office) -> None:
    add(office, "webhook_end", "webhook")
    ended_call(office)
    (dead,) = claims(office.database)
    assert claims(office.database, NOW + LEASE - timedelta(seconds=1)) == []
    (heir,) = claims(office.database, NOW + LEASE)
    assert (heir.id, heir.attempt) == (dead.id, 2)


def test_a_stale_owner_is_refused_by_the_fence(office: Office) -> None:
    add(office, "webhook_end", "webhook")
    ended_call(office)
    (stale,) = claims(office.database)
    (heir,) = claims(office.database, NOW + LEASE)
    with office.database.writing() as session:
        assert not remember(session, stale, {"lead_id": 1}, NOW)
    assert not end(office.database, stale, Outcome("dead", "late"))
    assert end(office.database, heir, DONE)
    assert not end(office.database, heir, FAILED)
    (row,) = deliveries(office.database)
    assert (row.state, row.reference) == ("done", {})


def test_an_attempt_that_kills_every_worker_ends_as_dead(office: Office) -> None:
    add(office, "webhook_end", "webhook")
    ended_call(office)
    now = NOW
    for _ in PAUSES:
        assert len(claims(office.database, now)) == 1
        now += LEASE
    assert claims(office.database, now) == []
    assert [row.state for row in deliveries(office.database)] == ["dead"]


def test_no_more_than_two_go_to_one_destination_and_others_are_not_kept_waiting(office: Office) -> None:
    add(office, "webhook_end", "webhook", destination="slow")
    add(office, "ga4", "ga4", destination="quick")
    for _ in range(4):
        ended_call(office)
    taken = [one.destination for _ in range(6) for one in claims(office.database)]
    assert sorted(taken) == ["quick", "quick", "slow", "slow"]


def test_a_failing_destination_gets_one_at_a_time_and_few_threads(office: Office) -> None:
    add(office, "webhook_end", "webhook", destination="slow")
    for _ in range(3):
        ended_call(office)
    (one,) = claims(office.database)
    end(office.database, one, FAILED)
    assert claims(office.database, failing=0) == []
    (one,) = claims(office.database)
    assert one.failing
    assert claims(office.database) == []


def test_after_five_failures_in_a_row_a_destination_is_left_alone_for_a_minute(office: Office) -> None:
    add(office, "webhook_end", "webhook")
    for _ in range(6):
        ended_call(office)
    for _ in range(5):
        (one,) = claims(office.database)
        end(office.database, one, FAILED)
    assert claims(office.database) == []
    assert not any(row.attempts for row in deliveries(office.database)[5:])
    (half_open,) = claims(office.database, NOW + timedelta(seconds=60))
    assert claims(office.database, NOW + timedelta(seconds=60)) == []
    end(office.database, half_open, DONE)
    with office.database.reading() as session:
        assert session.scalars(select(DestinationHealth)).all() == []


def test_a_refused_account_costs_no_attempt_and_waits(office: Office) -> None:
    add(office, "crm", "odoo")
    ended_call(office)
    now = NOW
    for _ in range(20):
        (one,) = claims(office.database, now)
        end(office.database, one, Outcome("retry", "Invalid key", status=401, refused_account=True), now)
        now += timedelta(minutes=30)
    (row,) = deliveries(office.database)
    assert (row.state, row.attempts, row.reason) == ("pending", 0, "Invalid key")


def test_retry_after_is_honoured_without_counting_as_failure(office: Office) -> None:
    add(office, "webhook_end", "webhook")
    ended_call(office)
    (one,) = claims(office.database)
    end(office.database, one, Outcome("retry", "Slow down.", status=429, retry_after=90))
    assert claims(office.database, NOW + timedelta(seconds=89)) == []
    assert len(claims(office.database, NOW + timedelta(seconds=90))) == 1
    with office.database.reading() as session:
        assert session.scalars(select(DestinationHealth.failures)).one() == 0


def test_a_crm_hears_of_one_callers_calls_one_after_the_other(office: Office) -> None:
    add(office, "crm", "odoo")
    first = ended_call(office)
    second = ended_call(office)
    other = ended_call(office, caller="+14155552672")
    taken = [one for _ in range(3) for one in claims(office.database)]
    by_call = {row.call_id: row for row in deliveries(office.database)}
    assert [one.id for one in taken] == [by_call[first].id, by_call[other].id]
    end(office.database, taken[0], FAILED)
    end(office.database, taken[1], DONE)
    assert claims(office.database) == []  # the first one waits for its next try, and the second for the first
    (again,) = claims(office.database, NOW + timedelta(seconds=6))
    end(office.database, again, DONE)
    (last,) = claims(office.database, NOW + timedelta(seconds=6))
    assert last.id == by_call[second].id


def test_a_replay_waits_for_a_later_call_of_the_same_caller_that_is_under_way(office: Office) -> None:
    add(office, "crm", "odoo")
    ended_call(office)
    (first,) = claims(office.database)
    end(office.database, first, DONE)
    ended_call(office)
    (second,) = claims(office.database)
    with office.database.writing() as session:
        replay(session, office.project_id, first.id, NOW)
    assert claims(office.database) == []
    end(office.database, second, DONE)
    assert [one.id for one in claims(office.database)] == [first.id]


def test_a_delivery_is_not_tried_beyond_its_last_moment(office: Office) -> None:
    add(office, "ga4", "ga4")
    ended_call(office)
    (row,) = deliveries(office.database)
    assert row.not_after == NOW + timedelta(hours=72)
    late = NOW + timedelta(hours=72)
    (one,) = claims(office.database, late)
    end(office.database, one, FAILED, late)
    assert deliveries(office.database)[0].state == "expired"


@pytest.mark.parametrize("outcome", ["done", "dead", "skipped", "expired"])
def test_a_replay_is_the_same_message_with_all_its_attempts_before_it(office: Office, outcome: str) -> None:
    add(office, "webhook_end", "webhook")
    ended_call(office)
    (one,) = claims(office.database)
    end(office.database, one, Outcome(outcome, "so it ended"))
    (before,) = deliveries(office.database)
    with office.database.writing() as session:
        assert replay(session, office.project_id, before.id, NOW) is not None
    (after,) = deliveries(office.database)
    assert (after.state, after.attempts, after.message_id) == ("pending", 0, before.message_id)


def test_what_waits_or_is_under_way_is_not_replayed(office: Office) -> None:
    add(office, "webhook_end", "webhook")
    ended_call(office)
    (one,) = claims(office.database)
    with office.database.writing() as session:
        replay(session, office.project_id, one.id, NOW)
    assert deliveries(office.database)[0].state == "leased"


def test_another_projects_delivery_cannot_be_replayed(office: Office) -> None:
    add(office, "webhook_end", "webhook")
    ended_call(office, scenario_enabled=False)
    with office.database.writing() as session:
        assert replay(session, office.project_id + 1, deliveries(office.database)[0].id, NOW) is None
    assert deliveries(office.database)[0].state == "skipped"


def test_all_dead_deliveries_of_a_destination_are_replayed_together(office: Office) -> None:
    add(office, "webhook_end", "webhook")
    for _ in range(3):
        ended_call(office)
    for _ in range(3):
        (one,) = claims(office.database)
        end(office.database, one, Outcome("dead", "410", status=410))
    with office.database.writing() as session:
        assert replay_dead(session, office.project_id, "one", NOW) == 3
    assert {row.state for row in deliveries(office.database)} == {"pending"}


def test_a_call_that_changes_while_it_is_being_sent_is_sent_once_more(office: Office) -> None:
    add(office, "crm", "odoo")
    with office.database.writing() as session:
        call = make_call(session, session.get_one(Scenario, office.scenario_id))
        fan_out(session, facts(call), "call.updated", NOW)
    (one,) = claims(office.database)
    with office.database.writing() as session:
        fan_out(session, facts(call), "call.updated", NOW)
    end(office.database, one, DONE)
    (again,) = claims(office.database)
    end(office.database, again, DONE)
    assert claims(office.database) == []
    with office.database.writing() as session:
        fan_out(session, facts(call), "call.updated", NOW)
    assert len(claims(office.database)) == 1


def test_an_update_that_changed_nothing_does_not_stand_in_the_way_of_the_next(office: Office) -> None:
    add(office, "crm", "odoo")
    with office.database.writing() as session:
        call = make_call(session, session.get_one(Scenario, office.scenario_id))
        fan_out(session, facts(call), "call.updated", NOW)
    (one,) = claims(office.database)
    end(office.database, one, Outcome("skipped", "nothing that the CRM shows has changed"))
    with office.database.writing() as session:
        fan_out(session, facts(call), "call.updated", NOW)
    assert [(row.state, row.reason) for row in deliveries(office.database)] == [("pending", "")]


def test_an_update_of_a_disabled_scenarios_call_stays_skipped(office: Office) -> None:
    add(office, "crm", "odoo")
    with office.database.writing() as session:
        call = make_call(session, session.get_one(Scenario, office.scenario_id), scenario_enabled=False)
        for _ in range(2):
            fan_out(session, facts(call), "call.updated", NOW)
    assert [(row.state, row.reason) for row in deliveries(office.database)] == [("skipped", "scenario disabled")]


def test_a_step_that_made_a_lead_is_kept_for_the_callers_next_calls(office: Office) -> None:
    add(office, "crm", "odoo")
    ended_call(office)
    (one,) = claims(office.database)
    with office.database.writing() as session:
        assert remember(session, one, {"lead_id": 7}, NOW)
        assert remember(session, one, {"lead_id": 8}, NOW)
    with office.database.reading() as session:
        lead = session.scalars(select(Lead)).one()
    assert (lead.caller, lead.external_id) == (CALLER, "8")


def test_looking_for_work_finds_ended_leases_too(office: Office) -> None:
    add(office, "webhook_end", "webhook")
    with office.database.reading() as session:
        assert not anything_due(session, NOW)
    ended_call(office)
    claims(office.database)
    with office.database.reading() as session:
        assert not anything_due(session, NOW)
        assert anything_due(session, NOW + LEASE)

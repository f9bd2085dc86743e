"""R11: written with the call event, claimed by one at a time, retried, dead, replayable."""

from datetime import timedelta

import pytest
from sqlalchemy import delete, event, select

from router.integrations.models import Delivery, Integration
from router.integrations.outbox import fan_out, replay, replay_dead
from router.integrations.queue import Outcome
from router.scenarios.models import Scenario
from router.voice.models import Call
from tests.factories import make_call
from tests.integrations.conftest import Office
from tests.integrations.outbox import DONE, add, claims, deliveries, end, ended_call
from tests.people import NOW


def test_each_slot_hears_of_its_own_event(office: Office) -> None:
    for slot, kind in (("webhook_start", "webhook"), ("webhook_end", "webhook"), ("ga4", "ga4"), ("crm", "odoo")):
        add(office, slot, kind)
    with office.database.writing() as session:
        call = make_call(session, session.get_one(Scenario, office.scenario_id))
        fan_out(session, call, "call.started", NOW)
        fan_out(session, call, "call.ended", NOW)
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
        listener = lambda *args: statements.append(args[2])  # noqa: E731 - it reads as a table does
        event.listen(engine, "before_cursor_execute", listener)
        fan_out(session, call, "call.ended", NOW)
        event.remove(engine, "before_cursor_execute", listener)
    assert len(statements) == 1
    assert len(deliveries(office.database)) == 2


def test_a_repeated_event_adds_nothing(office: Office) -> None:
    add(office, "webhook_end", "webhook")
    ended_call(office)
    before = deliveries(office.database)
    with office.database.writing() as session:
        fan_out(session, session.scalars(select(Call)).one(), "call.ended", NOW + timedelta(seconds=9))
    after = deliveries(office.database)
    assert [(row.id, row.message_id, row.next_at) for row in after] == [
        (row.id, row.message_id, row.next_at) for row in before
    ]


def test_a_database_that_fell_back_to_an_earlier_state_makes_the_same_messages_again(office: Office) -> None:
    add(office, "webhook_start", "webhook")
    add(office, "webhook_end", "webhook")
    told: list[set[str]] = []
    for _ in range(2):
        with office.database.writing() as session:
            session.execute(delete(Delivery))
            session.execute(delete(Call))
        for sid in ("CA1", "CA2"):
            with office.database.writing() as session:
                call = make_call(session, session.get_one(Scenario, office.scenario_id), sid=sid)
                fan_out(session, call, "call.started", NOW)
                fan_out(session, call, "call.ended", NOW)
        told.append({row.message_id for row in deliveries(office.database)})
    assert told[0] == told[1]
    assert len(told[0]) == 4


def test_a_transaction_that_rolls_back_leaves_no_delivery(office: Office) -> None:
    add(office, "webhook_end", "webhook")
    with office.database.writing() as session:
        call = make_call(session, session.get_one(Scenario, office.scenario_id))
        fan_out(session, call, "call.ended", NOW)
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


@pytest.mark.parametrize("outcome", ["done", "dead", "skipped", "expired", "unconfirmed"])
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
        fan_out(session, call, "call.updated", NOW)
    (one,) = claims(office.database)
    with office.database.writing() as session:
        fan_out(session, call, "call.updated", NOW)
    end(office.database, one, DONE)
    (again,) = claims(office.database)
    end(office.database, again, DONE)
    assert claims(office.database) == []
    with office.database.writing() as session:
        fan_out(session, call, "call.updated", NOW)
    assert len(claims(office.database)) == 1


def test_an_update_that_changed_nothing_does_not_stand_in_the_way_of_the_next(office: Office) -> None:
    add(office, "crm", "odoo")
    with office.database.writing() as session:
        call = make_call(session, session.get_one(Scenario, office.scenario_id))
        fan_out(session, call, "call.updated", NOW)
    (one,) = claims(office.database)
    end(office.database, one, Outcome("skipped", "nothing that the CRM shows has changed"))
    with office.database.writing() as session:
        fan_out(session, call, "call.updated", NOW)
    assert [(row.state, row.reason) for row in deliveries(office.database)] == [("pending", "")]


def test_an_update_of_a_disabled_scenarios_call_stays_skipped(office: Office) -> None:
    add(office, "crm", "odoo")
    with office.database.writing() as session:
        call = make_call(session, session.get_one(Scenario, office.scenario_id), scenario_enabled=False)
        for _ in range(2):
            fan_out(session, call, "call.updated", NOW)
    assert [(row.state, row.reason) for row in deliveries(office.database)] == [("skipped", "scenario disabled")]

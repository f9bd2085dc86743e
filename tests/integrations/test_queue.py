"""Claims: who sends what and when, on both databases; nothing is lost and nothing sent by two."""

from datetime import timedelta

from sqlalchemy import func, select

from router.integrations.models import DeliveryAttempt, Lead, ReceiverHealth
from router.integrations.outbox import replay
from router.integrations.queue import LEASE, PAUSES, Outcome, anything_due, claim, finish_all, remember
from router.integrations.receivers import FIRST_PAUSE
from router.integrations.worker import Pace
from tests.factories import CALLER
from tests.integrations.conftest import Office
from tests.integrations.outbox import DONE, FAILED, add, claims, deliveries, end, ended_call
from tests.people import NOW


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
            opened = session.scalars(select(ReceiverHealth.open_until)).one()
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
    assert (heir.id, heir.job.attempts) == (dead.id, 2)


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


def test_a_receiver_gets_no_more_than_it_may_and_others_are_not_kept_waiting(office: Office) -> None:
    add(office, "webhook_end", "webhook", receiver="slow")
    add(office, "ga4", "ga4", receiver="quick")
    for _ in range(4):
        ended_call(office)
    with office.database.writing() as session:
        taken = [one.job.receiver for one in claim(session, NOW, 50, 50, {"slow": 0, "quick": 3}.__getitem__)]
    assert taken == ["quick"] * 3
    assert sorted(one.job.receiver for one in claims(office.database, room=2, at_once=9)) == ["quick", "slow"]


def test_a_failing_receiver_gets_one_at_a_time_and_few_threads(office: Office) -> None:
    add(office, "webhook_end", "webhook", receiver="slow")
    for _ in range(3):
        ended_call(office)
    (one,) = claims(office.database)
    end(office.database, one, FAILED)
    assert claims(office.database, failing=0) == []
    (one,) = claims(office.database, at_once=9)
    assert (one.failing, one.is_probe) == (True, False)


def test_a_receiver_that_fails_gets_what_it_has_refused_before_anything_new(office: Office) -> None:
    """It may only fail the first try of each message: then new ones would say for ever that it fails."""
    add(office, "webhook_end", "webhook")
    for _ in range(3):
        ended_call(office)
    first, second = (claims(office.database)[0] for _ in range(2))
    end(office.database, second, FAILED)
    end(office.database, first, FAILED, NOW + timedelta(seconds=1))
    later = NOW + timedelta(seconds=7)
    (again,) = claims(office.database, later, at_once=9)
    assert again.id == second.id, "which failed the longest ago"


def test_after_five_failures_in_a_row_one_attempt_of_all_workers_tries_whether_it_works(office: Office) -> None:
    add(office, "webhook_end", "webhook")
    for _ in range(7):
        ended_call(office)
    first = claims(office.database)[0]
    end(office.database, first, FAILED)
    for _ in range(4):
        (one,) = claims(office.database)
        end(office.database, one, FAILED)
    assert claims(office.database) == []
    assert not any(row.attempts for row in deliveries(office.database)[5:])
    (probe,) = claims(office.database, NOW + FIRST_PAUSE, at_once=9)
    assert (probe.id, probe.is_probe) == (first.id, True), "the one that failed the longest ago"
    assert claims(office.database, NOW + FIRST_PAUSE) == []
    end(office.database, probe, FAILED, NOW + FIRST_PAUSE)
    assert claims(office.database, NOW + 3 * FIRST_PAUSE - timedelta(seconds=1)) == []
    (probe,) = claims(office.database, NOW + 3 * FIRST_PAUSE)
    end(office.database, probe, DONE, NOW + 3 * FIRST_PAUSE)
    with office.database.reading() as session:
        assert session.scalars(select(ReceiverHealth)).all() == []
    assert len(claims(office.database, NOW + 3 * FIRST_PAUSE, at_once=9)) == 5


def test_a_worker_that_dies_while_it_tries_a_receiver_holds_it_up_for_its_lease_only(office: Office) -> None:
    add(office, "webhook_end", "webhook")
    for _ in range(6):
        ended_call(office)
    for _ in range(5):
        end(office.database, claims(office.database)[0], FAILED)
    (dead,) = claims(office.database, NOW + FIRST_PAUSE)
    assert claims(office.database, NOW + FIRST_PAUSE + LEASE - timedelta(seconds=1)) == []
    (heir,) = claims(office.database, NOW + FIRST_PAUSE + LEASE)
    assert heir.is_probe
    assert heir.id != dead.id, "which is due again only now"


def test_failures_of_what_was_under_way_together_count_as_few(office: Office) -> None:
    add(office, "webhook_end", "webhook")
    for _ in range(16):
        ended_call(office)
    together = claims(office.database, at_once=16)
    assert len(together) == 16
    for one in together:
        end(office.database, one, FAILED)
    assert claims(office.database, NOW + FIRST_PAUSE - timedelta(seconds=1)) == []
    assert len(claims(office.database, NOW + FIRST_PAUSE)) == 1


def test_a_success_of_an_attempt_from_before_ends_no_pause(office: Office) -> None:
    add(office, "webhook_end", "webhook")
    for _ in range(3):
        ended_call(office)
    early, late, _ = claims(office.database, at_once=3)
    end(office.database, late, Outcome("retry", "Slow down.", status=429, retry_after=90))
    end(office.database, early, DONE)
    with office.database.reading() as session:
        assert session.scalars(select(ReceiverHealth.open_until)).one() == NOW + timedelta(seconds=90)


def test_a_message_that_the_receiver_refuses_for_good_lets_the_next_one_try_it(office: Office) -> None:
    add(office, "webhook_end", "webhook")
    for _ in range(6):
        ended_call(office)
    for _ in range(5):
        end(office.database, claims(office.database)[0], FAILED)
    (probe,) = claims(office.database, NOW + FIRST_PAUSE)
    end(office.database, probe, Outcome("dead", "Bad request", status=400), NOW + FIRST_PAUSE)
    (following,) = claims(office.database, NOW + FIRST_PAUSE)
    assert following.is_probe


def test_r11_of_messages_whose_first_try_always_fails_all_arrive_within_minutes(office: Office) -> None:
    """Simulated second by second: 193 of them, one worker with slots for sixteen."""
    add(office, "webhook_end", "webhook")
    for _ in range(193):
        ended_call(office)
    tried: set[int] = set()
    arrived: set[int] = set()
    pace = Pace()
    for second in range(600):
        now = NOW + timedelta(seconds=second)
        for _ in range(8):
            taken = claims(office.database, now, at_once=int(pace.limit))
            ends = [(one, DONE if one.id in tried else FAILED) for one in taken]
            with office.database.writing() as session:
                finish_all(session, ends, now, lambda: 0.5)
            for one, outcome in ends:
                pace.take(outcome)
                assert one.id not in arrived
                (arrived if one.id in tried else tried).add(one.id)
            if not taken:
                break
        if len(arrived) == 193:
            break
    assert len(arrived) == 193
    assert second < 300


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
        assert session.scalars(select(ReceiverHealth.failures)).one() == 0


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

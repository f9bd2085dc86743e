"""R11 with real threads and real processes: nothing lost, nothing sent by two, nobody waits for a hanging receiver."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select, text

from router.accounts.models import Project
from router.db import DATABASE_FAULTS
from router.integrations.base import DeliveryError, Message
from router.integrations.models import Delivery, DeliveryAttempt, Integration, ReceiverHealth
from router.integrations.outbox import connect_receivers, fan_out, replay
from router.integrations.queue import (
    DATABASE_PAUSE,
    LEASE,
    MOST_OF_ONE,
    PAUSES,
    DeliveryClaim,
    Outcome,
    claim,
    finish,
    mark_sending,
    next_attempt,
    remember,
    take_back_lost,
)
from router.integrations.receivers import FAILURES_TO_OPEN
from router.integrations.worker import DeliveryWorker
from router.scenarios.models import Scenario
from router.voice.calls import CALL_EVENTS, announce
from router.voice.models import Call
from tests.factories import make_call, make_integration, make_scenario
from tests.integrations.conftest import Office, make_webhook
from tests.integrations.receiver import Receiver
from tests.people import NOW
from tests.properties import examples


def add_calls(office: Office, count: int, scenario_id: int | None = None) -> None:
    with office.database.writing() as session:
        scenario = session.get_one(Scenario, scenario_id or office.scenario_id)
        for _ in range(count):
            fan_out(session, make_call(session, scenario), "call.ended", office.server.now())


def counted_states(office: Office) -> Counter[str]:
    with office.database.reading() as session:
        return Counter(session.scalars(select(Delivery.state)))


def wait_until(condition: Any, seconds: float = 8.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def test_a_call_event_writes_its_deliveries_in_the_same_transaction_once(
    office: Office, webhook: Integration, inbox: Receiver
) -> None:
    connect_receivers()
    connect_receivers()  # several apps in one process
    with office.database.writing() as session:
        call = make_call(session, session.get_one(Scenario, office.scenario_id))
        announce(office.server, session, [("started", call), ("ended", call)], NOW)
    assert counted_states(office) == {"pending": 1}
    for event in CALL_EVENTS.values():
        assert event.has_receivers_for(office.server)


def test_a_hanging_receiver_delays_nobody_else(office: Office, webhook: Integration, inbox: Receiver) -> None:
    released = threading.Event()
    quick: list[str] = []

    def answer(request: Any) -> Any:
        if request.path == "/hook":
            released.wait(8)
        else:
            quick.append(request.path)
        return 200, {}, b""

    inbox.answer = answer
    with office.database.writing() as session:
        other = make_scenario(session, _project(session), 0)
        make_webhook(session, other, office.server.keys, inbox.url + "/quick")
        other_id = other.id
    add_calls(office, 12)
    add_calls(office, 5, other_id)
    stop = threading.Event()
    worker = office.worker()
    runner = threading.Thread(target=worker.run, args=(stop,))
    runner.start()
    try:
        wait_until(lambda: len(quick) == 5)
        assert inbox.most_under_way <= 2 + MOST_OF_ONE  # it has shown nothing yet by which it would get more than two
    finally:
        released.set()
        stop.set()
        runner.join()
    assert "leased" not in counted_states(office)


def _project(session: Any) -> Any:
    return session.scalars(select(Project)).one()


def test_a_worker_that_is_told_to_stop_finishes_what_is_under_way(
    office: Office, webhook: Integration, inbox: Receiver
) -> None:
    began = threading.Event()

    def slow(request: Any) -> Any:
        began.set()
        time.sleep(0.3)
        return 200, {}, b""

    inbox.answer = slow
    add_calls(office, 1)
    stop = threading.Event()
    runner = threading.Thread(target=office.worker().run, args=(stop,))
    runner.start()
    assert began.wait(5)
    stop.set()
    runner.join()
    assert counted_states(office) == {"done": 1}


def test_a_poisonous_row_is_moved_on_before_its_exception_goes_up(office: Office, webhook: Integration) -> None:
    class Broken:
        def deliver(self, message: Message) -> dict[str, Any]:
            raise ZeroDivisionError("a bug of ours")

    add_calls(office, 1)
    worker = DeliveryWorker(office.server, senders={"webhook": Broken()}, threads=2)
    with pytest.raises(ZeroDivisionError):
        worker.run_once(NOW + timedelta(days=3650))
    with office.database.reading() as session:
        row = session.scalars(select(Delivery)).one()
        attempt = session.scalars(select(DeliveryAttempt)).one()
    assert (row.state, row.attempts) == ("pending", 1)
    assert attempt.message == "Our mistake: ZeroDivisionError. The log has more."


def test_a_failure_of_our_own_database_is_no_attempt_and_no_failure_of_the_receiver(
    office: Office, webhook: Integration, inbox: Receiver
) -> None:
    later = NOW + timedelta(days=3650)
    add_calls(office, 1)
    with office.database.writing() as session:
        session.execute(text("ALTER TABLE scenario RENAME COLUMN manager TO missing"))
    for turn in range(len(PAUSES) + 2):  # more often than a receiver is tried
        with pytest.raises(DATABASE_FAULTS):
            office.worker().run_once(later + turn * DATABASE_PAUSE)
    with office.database.reading() as session:
        row = session.scalars(select(Delivery)).one()
        assert not session.scalars(select(DeliveryAttempt)).all()
        assert not session.scalars(select(ReceiverHealth)).all()
    assert (row.state, row.attempts) == ("pending", 0)
    assert row.reason.startswith("Our database failed: ")
    with office.database.writing() as session:
        session.execute(text("ALTER TABLE scenario RENAME COLUMN missing TO manager"))
    office.worker().run_once(later + timedelta(days=1))
    assert counted_states(office) == {"done": 1}


def test_several_workers_send_each_message_once(office: Office, webhook: Integration, inbox: Receiver) -> None:
    add_calls(office, 20)
    stop = threading.Event()
    runners = [threading.Thread(target=office.worker().run, args=(stop,)) for _ in range(3)]
    for runner in runners:
        runner.start()
    try:
        wait_until(lambda: counted_states(office) == {"done": 20}, 20)
    finally:
        stop.set()
        for runner in runners:
            runner.join()
    ids = Counter(request.headers["webhook-id"] for request in inbox.requests)
    assert len(ids) == 20
    assert set(ids.values()) == {1}


KILLED = """
import sys
from router.db import Database
from router.integrations.queue import claim
from datetime import datetime
import time
database = Database(sys.argv[1])
with database.writing() as session:
    taken = len(claim(session, datetime.fromisoformat(sys.argv[2]), 9, 9, lambda receiver: 2))
print(taken, flush=True)
time.sleep(60)
"""


def test_a_worker_killed_between_claim_and_send_loses_nothing(
    office: Office, webhook: Integration, inbox: Receiver
) -> None:
    add_calls(office, 3)
    later = office.server.now() + timedelta(seconds=1)
    command = [sys.executable, "-c", KILLED, office.database.url, later.isoformat()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "2\n"
        os.kill(process.pid, signal.SIGKILL)
    assert counted_states(office) == {"leased": 2, "pending": 1}
    worker = office.worker()
    worker.run_once(later + LEASE - timedelta(seconds=1))
    assert len(inbox.requests) == 1  # the other two are lent until their leases end
    worker.run_once(later + LEASE)
    assert counted_states(office) == {"done": 3}
    ids = Counter(request.headers["webhook-id"] for request in inbox.requests)
    assert sorted(ids.values()) == [1, 1, 1]


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_r11_a_receiver_that_refuses_each_messages_first_try_gets_all_of_them(
    office: Office, webhook: Integration, inbox: Receiver
) -> None:
    """Over HTTP; another path of the same host, which works, waits for nothing meanwhile. Both databases: test_queue.py."""
    seen: Counter[str] = Counter()

    def answer(request: Any) -> Any:
        seen[request.headers["webhook-id"]] += 1
        return 500 if request.path == "/hook" and seen[request.headers["webhook-id"]] == 1 else 200, {}, b""

    inbox.answer = answer
    with office.database.writing() as session:
        other = make_scenario(session, _project(session), 0)
        make_webhook(session, other, office.server.keys, inbox.url + "/works")
        other_id = other.id
    add_calls(office, 193)
    add_calls(office, 20, other_id)
    worker, began = office.worker(), office.server.now()
    worker.run_once(began)
    assert sum(request.path == "/works" for request in inbox.requests) == 20
    for second in range(0, 300, 6):
        worker.run_once(began + timedelta(seconds=second))
        if counted_states(office) == {"done": 213}:
            break
    assert counted_states(office) == {"done": 213}
    assert max(seen.values()) == 2


def test_what_was_claimed_ahead_of_a_receiver_that_begins_to_fail_is_given_back(office: Office) -> None:
    """It answers at once until sixteen go to it side by side, and refuses all from then on."""
    with office.database.writing() as session:
        make_integration(session, session.get_one(Scenario, office.scenario_id), receiver="hook")
    told: list[str] = []

    class Hook:
        def deliver(self, message: Message) -> dict[str, Any]:
            told.append(message.id)
            if len(told) > 60:
                raise DeliveryError("It answered 500.", status=500)
            return {"status": 200}

    add_calls(office, 200)
    worker = DeliveryWorker(office.server, senders={"webhook": Hook()}, threads=16, chance=lambda: 0.5)
    worker.run_once(NOW + timedelta(days=3650))
    with office.database.reading() as session:
        rows = Counter(session.execute(select(Delivery.state, Delivery.attempts)).all())
    assert rows["done", 1] == 60
    assert rows["pending", 1] <= 16 + FAILURES_TO_OPEN, "those that were under way, and no more"
    assert rows["pending", 0] >= 200 - 60 - 16 - FAILURES_TO_OPEN


@given(
    attempts=st.integers(0, 12),
    chance=st.floats(0, 1),
    wish=st.one_of(st.none(), st.floats(allow_nan=False)),
)
def test_pauses_spread_by_a_tenth_and_never_get_shorter_than_asked(
    attempts: int, chance: float, wish: float | None
) -> None:
    following = next_attempt(attempts, NOW, chance, wish)
    if attempts >= len(PAUSES):
        assert following is None
        return
    assert following is not None
    assert following - NOW >= PAUSES[attempts] * 0.9
    assert following - NOW >= timedelta(seconds=min(max(wish or 0, 0), 86400))
    assert following - NOW <= max(PAUSES[attempts] * 1.1, timedelta(hours=24))


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["claim", "finish", "fail", "die", "replay", "pass", "late"]),
        st.integers(0, 5),
    ),
    max_size=25,
)


@settings(max_examples=examples(25), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_r11_nothing_is_sent_by_two_at_once_or_out_of_order_or_lost(
    office: Office, steps: list[tuple[str, int]]
) -> None:
    """Whatever workers do, and die of: at most one valid lease for each delivery and each order key, which goes by its deliveries in their
    order; who has lost a lease writes nothing; and all end as done."""
    _start_anew(office)
    now = NOW
    held: list[DeliveryClaim] = []
    lost: list[DeliveryClaim] = []
    ends: dict[DeliveryClaim, datetime] = {}
    replayed: set[int] = set()
    with office.database.reading() as session:
        keys = {row.id: row.order_key for row in session.scalars(select(Delivery))}
    for what, which in steps:
        one = held[which % len(held)] if held else None
        with office.database.writing() as session:
            if what == "claim":
                take_back_lost(session, now)
                for fresh in claim(session, now, 9, 9, lambda receiver, room=which + 1: room):
                    valid = [old for old in ends if ends[old] > now]
                    assert fresh.id not in {old.id for old in valid}, "lent to two at once"
                    key = keys[fresh.id]
                    assert not key or key not in {keys[old.id] for old in valid}, "two of one order at once"
                    earlier = [each for each in keys if keys[each] == key and each < fresh.id and each not in replayed]
                    states = {row.id: row.state for row in session.execute(select(Delivery.id, Delivery.state))}
                    assert not key or not {states[each] for each in earlier} & {"pending", "leased"}, "out of order"
                    lost += [old for old in held if old.id == fresh.id]
                    held = [old for old in held if old.id != fresh.id]
                    held.append(fresh)
                    ends[fresh] = now + LEASE
            elif what in ("finish", "fail") and one:
                finish(session, one, Outcome("done" if what == "finish" else "retry", "x"), now, 0.5)
                held.remove(one)
                del ends[one]
            elif what == "late" and lost:
                stale = lost[which % len(lost)]
                assert not finish(session, stale, Outcome("dead", "late"), now, 0.5), "it has lost its lease"
                assert not remember(session, stale, {"lead_id": 1}, now)
                assert mark_sending(session, [stale], now) == set()
            elif what == "die" and one:
                held.remove(one)
            elif what == "replay":
                first = min(keys)
                replay(session, office.project_id, first, now)
                replayed.add(first)
            elif what == "pass":
                now += timedelta(seconds=30 * (which + 1))
    _run_to_the_end(office, now)
    assert set(counted_states(office)) <= {"done", "dead"}
    with office.database.reading() as session:
        assert not session.scalars(select(Delivery.id).where(Delivery.state == "dead", Delivery.attempts < 10)).all()


def _start_anew(office: Office) -> None:
    with office.database.writing() as session:
        for table in (DeliveryAttempt, Delivery, ReceiverHealth, Integration, Call):
            session.execute(delete(table))
        scenario = session.get_one(Scenario, office.scenario_id)
        make_integration(session, scenario, "crm", "odoo", receiver="crm")
        make_integration(session, scenario, receiver="hook")
        for _ in range(3):
            fan_out(session, make_call(session, scenario), "call.ended", NOW)


def _run_to_the_end(office: Office, now: Any) -> None:
    for _ in range(400):
        now += timedelta(hours=30)
        with office.database.writing() as session:
            take_back_lost(session, now)
            claims = claim(session, now, 9, 9)
            for one in claims:
                assert finish(session, one, Outcome("done", status=200), now, 0.5)
            if not claims:
                return
    raise AssertionError("it never ends")

"""R11: what may have arrived at a receiver that cannot tell a repeat is not sent again, and what was answered is not forgotten."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import OperationalError

from router.integrations import worker as worker_module
from router.integrations.base import DeliveryError, Message, Skipped
from router.integrations.models import Delivery, DeliveryAttempt
from router.integrations.outbox import doubles
from router.integrations.queue import DATABASE_PAUSE, LEASE, LOST, PAUSES, mark_sending
from router.integrations.worker import DeliveryWorker
from tests.integrations.conftest import Office
from tests.integrations.outbox import DONE, add, claims, deliveries, end, ended_call
from tests.people import NOW


class Fake:
    """A receiver that counts what it was told, by id, and then does as it was told itself."""

    def __init__(self, then: Callable[[Message], dict[str, Any]] = lambda message: {"status": 204}) -> None:
        self.told: list[str] = []
        self.messages: list[Message] = []
        self.then = then

    def deliver(self, message: Message) -> dict[str, Any]:
        self.told.append(message.id)
        self.messages.append(message)
        return self.then(message)


def raising(error: Exception) -> Callable[[Message], dict[str, Any]]:
    def then(message: Message) -> dict[str, Any]:
        raise error

    return then


def worker(office: Office, **senders: Fake) -> DeliveryWorker:
    return DeliveryWorker(office.server, senders=senders, threads=4, chance=lambda: 0.5)


def only(office: Office) -> Delivery:
    (row,) = deliveries(office.database)
    return row


def test_a_worker_that_dies_after_the_mark_leaves_it_unconfirmed(office: Office) -> None:
    add(office, "ga4", "ga4")
    ended_call(office)
    (dead,) = claims(office.database)
    with office.database.writing() as session:
        assert mark_sending(session, [dead], NOW) == {dead.id}
    google = Fake()
    assert worker(office, ga4=google).run_once(NOW + LEASE) == 0
    assert google.told == []
    assert (only(office).state, only(office).reason, only(office).sending_at) == ("unconfirmed", LOST, None)


def test_a_worker_that_dies_before_the_mark_loses_nothing(office: Office) -> None:
    add(office, "ga4", "ga4")
    ended_call(office)
    claims(office.database)
    google = Fake()
    worker(office, ga4=google).run_once(NOW + LEASE)
    assert len(google.told) == 1
    assert (only(office).state, only(office).sending_at) == ("done", None)


def test_the_mark_is_there_before_the_request(office: Office) -> None:
    add(office, "ga4", "ga4")
    add(office, "webhook_end", "webhook")
    ended_call(office)
    seen: dict[str, Any] = {}

    def look(message: Message) -> dict[str, Any]:
        with office.database.reading() as session:
            seen[message.id] = session.scalar(select(Delivery.sending_at).where(Delivery.message_id == message.id))
        return {"status": 204}

    worker(office, ga4=Fake(look), webhook=Fake(look)).run_once(NOW)
    kinds = {row.message_id: row.integration_id for row in deliveries(office.database)}
    assert {kinds[message]: sending_at is not None for message, sending_at in seen.items()} == {1: True, 2: False}


def test_what_waits_for_its_turn_is_not_marked_yet(office: Office) -> None:
    """A worker that dies leaves it to another one: it never left."""
    add(office, "ga4", "ga4")
    for number in range(5):
        ended_call(office, sid=f"CA{number}")
    marked = []

    def look(message: Message) -> dict[str, Any]:
        with office.database.reading() as session:
            found = session.scalars(select(Delivery.message_id).where(Delivery.sending_at.is_not(None)))
            marked.append(set(found) - set(google.told))
        return {"status": 204}

    google = Fake(look)
    DeliveryWorker(office.server, senders={"ga4": google}, threads=1).run_once(NOW)
    assert marked == [set()] * 5


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (DeliveryError("No connection: refused."), "pending"),
        (DeliveryError("It answered 503.", status=503, ambiguous=True), "pending"),
        (DeliveryError("No answer came in time.", ambiguous=True), "unconfirmed"),
        (ZeroDivisionError("a bug of ours, before a byte went out"), "pending"),
        (Skipped("no client_id"), "skipped"),
    ],
)
def test_only_what_may_have_arrived_is_unconfirmed(office: Office, error: Exception, state: str) -> None:
    add(office, "ga4", "ga4")
    ended_call(office)
    google = Fake(raising(error))
    if isinstance(error, ZeroDivisionError):
        with pytest.raises(ZeroDivisionError):
            worker(office, ga4=google).run_once(NOW)
    else:
        worker(office, ga4=google).run_once(NOW)
    assert (only(office).state, only(office).sending_at) == (state, None)
    google.then = lambda message: {"status": 204}
    worker(office, ga4=google).run_once(NOW + timedelta(hours=1))
    assert len(google.told) == (2 if state == "pending" else 1)


def test_a_mistake_of_ours_after_something_was_sent_is_not_repeated(office: Office) -> None:
    add(office, "ga4", "ga4")
    ended_call(office)
    google = Fake()
    sending = worker(office, ga4=google)

    def fail(message: Message) -> dict[str, Any]:
        sending.outgoing._thread.has_sent = True  # as a request leaves it
        raise ZeroDivisionError("a bug of ours, in reading the answer")

    google.then = fail
    with pytest.raises(ZeroDivisionError):
        sending.run_once(NOW)
    assert only(office).state == "unconfirmed"


def test_what_was_found_marked_by_an_earlier_build_is_not_sent(office: Office) -> None:
    """It gives a lease back without looking at the mark."""
    add(office, "ga4", "ga4")
    ended_call(office)
    with office.database.writing() as session:
        session.scalars(select(Delivery)).one().sending_at = NOW
    google = Fake()
    worker(office, ga4=google).run_once(NOW)
    assert google.told == []
    assert only(office).state == "unconfirmed"


@contextmanager
def database_away(monkeypatch: pytest.MonkeyPatch, *names: str) -> Iterator[None]:
    """What the worker would write fails as if the database had gone."""

    def fail(*_: Any, **__: Any) -> Any:
        raise OperationalError("the server closed the connection", None, Exception())

    with monkeypatch.context() as patched:
        for name in names:
            patched.setattr(worker_module, name, fail)
        yield


def test_what_was_answered_while_the_database_was_away_is_written_down_when_it_is_back(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    for slot, kind in (("ga4", "ga4"), ("webhook_end", "webhook")):
        add(office, slot, kind, receiver=kind)
    ended_call(office)
    google, webhook = Fake(), Fake(lambda message: {"status": 200})
    sending = worker(office, ga4=google, webhook=webhook)
    with database_away(monkeypatch, "finish_all"), pytest.raises(OperationalError):
        sending.run_once(NOW)
    assert {row.state for row in deliveries(office.database)} == {"leased"}
    sending._write_ended(lambda: NOW + timedelta(seconds=50))
    assert {row.state for row in deliveries(office.database)} == {"done"}
    worker(office, ga4=google, webhook=webhook).run_once(NOW + timedelta(hours=1))
    assert (len(google.told), len(webhook.told)) == (1, 1)


def test_nothing_is_claimed_while_something_waits_to_be_written_down(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(office, "webhook_end", "webhook")
    ended_call(office)
    sending = worker(office, webhook=Fake(lambda message: {"status": 200}))
    with database_away(monkeypatch, "finish_all"), pytest.raises(OperationalError):
        sending.run_once(NOW)
    ended_call(office)
    with database_away(monkeypatch, "finish_all"):
        assert not sending._write_safely()
    assert [row.state for row in deliveries(office.database)] == ["leased", "pending"]
    assert sending._write_safely()
    assert [row.state for row in deliveries(office.database)] == ["done", "pending"]


def test_a_step_that_the_database_did_not_take_is_written_with_the_end_of_its_attempt(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(office, "crm", "odoo")
    ended_call(office)
    seen: list[Any] = []

    def work(message: Message) -> dict[str, Any]:
        seen.append(message.reference.get("lead_id"))
        message.remember({"lead_id": 7})
        return {"status": 200}

    sending = worker(office, odoo=Fake(work))
    with database_away(monkeypatch, "remember"):
        sending.run_once(NOW)
    assert (only(office).state, only(office).attempts, only(office).reference) == ("pending", 0, {"lead_id": 7})
    sending.run_once(NOW + DATABASE_PAUSE)
    assert seen == [None, 7]
    assert only(office).state == "done"


def test_an_end_that_the_database_never_takes_as_it_is_spoils_no_other(office: Office) -> None:
    for receiver, slot in (("one", "webhook_start"), ("two", "webhook_end")):
        add(office, slot, "webhook", receiver=receiver)
    ended_call(office)
    add(office, "ga4", "ga4", receiver="three")
    ended_call(office)
    poison = Fake(lambda message: {"status": 204, "odd": object()})  # what no database keeps
    good = Fake(lambda message: {"status": 200})
    with pytest.raises(TypeError):
        worker(office, ga4=poison, webhook=good).run_once(NOW)
    assert {row.state for row in deliveries(office.database)} == {"done"}


@pytest.mark.parametrize("status", [None, 503])
def test_an_ambiguous_attempt_is_told_to_the_next_one_which_waits_until_it_is_settled(
    office: Office, status: int | None
) -> None:
    add(office, "crm", "odoo")
    ended_call(office)
    crm = Fake(raising(DeliveryError("No answer came in time.", status=status, ambiguous=True)))
    sending = worker(office, odoo=crm)
    sending.run_once(NOW)
    assert only(office).next_at == NOW + timedelta(seconds=120)
    assert (only(office).state, only(office).uncertain_at) == ("pending", NOW)
    crm.then = raising(DeliveryError("No connection: refused."))
    sending.run_once(NOW + timedelta(seconds=120))
    assert only(office).uncertain_at == NOW, "of the first attempt nothing more is known"
    crm.then = lambda message: {"status": 200}
    sending.run_once(NOW + timedelta(hours=1))
    assert [message.uncertain_at for message in crm.messages] == [None, NOW, NOW]
    assert (only(office).state, only(office).uncertain_at) == ("done", None)


def test_a_webhook_whose_answer_got_lost_is_sent_again_after_the_usual_pause(office: Office) -> None:
    add(office, "webhook_end", "webhook")
    ended_call(office)
    hook = Fake(raising(DeliveryError("No answer came in time.", ambiguous=True)))
    worker(office, webhook=hook).run_once(NOW)
    assert only(office).next_at == NOW + PAUSES[1]


def test_a_replay_of_what_arrived_or_may_have_says_what_could_double(office: Office) -> None:
    for slot, kind in (("ga4", "ga4"), ("webhook_end", "webhook")):
        add(office, slot, kind)
    ended_call(office)
    rows = deliveries(office.database)
    for one in claims(office.database, at_once=2):
        end(office.database, one, DONE)
    done = {row.integration_id: row for row in deliveries(office.database)}
    assert doubles(rows[0], "ga4") == "", "it waits"
    assert "counted twice" in doubles(done[1], "ga4")
    assert "the same id" in doubles(done[2], "webhook")


def test_an_attempt_that_waited_too_long_for_its_turn_is_not_made(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lease would end while it is under way: a machine that slept, or has no processor to spare."""
    add(office, "webhook_end", "webhook")
    ended_call(office)
    hook = Fake(lambda message: {"status": 200})
    sending = worker(office, webhook=hook)
    (one,) = claims(office.database)
    sending._paces[one.job.receiver] = worker_module.Pace(under_way=1)
    claimed = time.monotonic() - worker_module.LONGEST_WAIT - 1
    sending._attempt(worker_module.Attempt(one, Skipped("never looked at"), claimed, lambda: NOW))
    sending._write_ended(lambda: NOW)
    assert hook.told == []
    assert (only(office).state, only(office).attempts) == ("pending", 0)
    with office.database.reading() as session:
        assert session.scalars(select(DeliveryAttempt)).all() == []
        assert session.execute(text("SELECT count(*) FROM destination_health")).scalar() == 0

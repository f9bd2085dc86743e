"""R12: the same calls in two machines' journals, in any order, doubled and lost: one call each, as it happened, told once."""

import threading
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, text

from router.server import Server
from router.voice.applier import Applier, adopt_unknown_calls, apply_records
from router.voice.calls import call_ended, call_updated
from router.voice.events import machine_is_waiting, state_of_journals
from router.voice.models import Call, CallEvent, JournalPosition, SetAsideRecord, UnknownCall
from router.voice.records import FALLBACK, Record, event_record
from router.voice.state import Event
from tests.factories import COMPANY_LINE, NOON
from tests.properties import examples
from tests.voice.carrier import CarrierClient
from tests.voice.journals import (
    Heard,
    Machines,
    applier,
    calls,
    count,
    inbound_at,
    status_at,
    stored,
    visit,
    whole_call,
)


def test_r12_the_end_may_be_applied_before_the_beginning(shop: Server, machines: Machines, heard: Heard) -> None:
    machines.append(0, status_at("CA1", NOON + timedelta(seconds=40)))
    machines.append(1, inbound_at(shop, "CA1", NOON))
    machines.apply(0)
    assert calls(shop) == {}
    machines.apply(1)
    call = calls(shop)["CA1"]
    assert (call.started_at, call.status, call.talk_seconds) == (NOON, "answered", 30)
    assert heard.events == [("CA1", "started"), ("CA1", "ended")]
    shop_now = NOON + timedelta(minutes=5)
    assert adopt_unknown_calls(shop, shop_now) == 1, "it is looked at, and known already"
    assert heard.events == [("CA1", "started"), ("CA1", "ended")]
    assert count(shop, UnknownCall) == 0


def test_r12_a_receiver_that_fails_at_a_later_call_costs_an_earlier_one_nothing(
    shop: Server, machines: Machines
) -> None:
    machines.append(0, inbound_at(shop, "CA2", NOON + timedelta(seconds=30)))
    machines.append(0, status_at("CA2", NOON + timedelta(seconds=60)))
    machines.append(1, inbound_at(shop, "CA1", NOON))
    machines.apply(0)

    def fail(sender: Server, **_: Any) -> None:
        raise RuntimeError("down")

    with call_updated.connected_to(fail):
        machines.apply(1)
    known = calls(shop)
    assert {sid: (call.first_call, call.fan_out_due) for sid, call in known.items()} == {
        "CA1": (True, "started"),
        "CA2": (False, "updated"),
    }
    assert count(shop, SetAsideRecord) == 0


def test_r12_receivers_are_told_of_a_later_call_as_it_is_decided_now(
    shop: Server, machines: Machines, client: FlaskClient, clock: Any
) -> None:
    visit(client, "utm_source=mail&utm_medium=email")
    clock.shift(timedelta(seconds=10))
    machines.append(0, inbound_at(shop, "CA1", shop.now()))
    clock.shift(timedelta(hours=2))
    visit(client, "utm_source=poster&utm_medium=print")
    clock.shift(timedelta(seconds=10))
    machines.append(1, inbound_at(shop, "CA2", shop.now()))
    machines.append(1, status_at("CA2", shop.now() + timedelta(seconds=30)))
    machines.apply(1)
    before, told = stored(calls(shop)["CA2"]), []

    def hear(sender: Server, call: Call, **_: Any) -> None:
        told.append((call.sid, stored(call)))

    with call_updated.connected_to(hear):
        machines.apply(0)
    after = stored(calls(shop)["CA2"])
    assert (after["rule"], after["first_call"]) == ("repeat", False)
    assert after["source"] != before["source"]
    assert told == [("CA2", after)]


def test_r12_a_receiver_that_fails_at_every_change_of_a_call_costs_it_nothing(
    shop: Server, carrier: CarrierClient, clock: Any
) -> None:
    def fail(sender: Server, **_: Any) -> None:
        raise RuntimeError("down")

    with call_ended.connected_to(fail), call_updated.connected_to(fail):
        whole_call(carrier, clock)
        applier(shop).apply_all()
        ended_at = calls(shop)["CA1"].ended_at
        for seconds, status in enumerate(("busy", "failed", "canceled", "no-answer"), 1):
            before = ended_at - timedelta(seconds=seconds)
            carrier.status(status, Timestamp=format_datetime(before))
            applier(shop).apply_all()
    call = calls(shop)["CA1"]
    assert (call.ended_at, call.fan_out_due) == (before, "ended,updated")
    assert count(shop, SetAsideRecord) == 0


def test_r12_the_first_request_corrects_a_call_also_when_its_fallback_stands_beside_it(
    shop: Server, machines: Machines
) -> None:
    machines.append(0, inbound_at(shop, "CA1", NOON + timedelta(seconds=30)))
    machines.apply(0)
    machines.append(1, inbound_at(shop, "CA1", NOON))
    machines.append(1, {**inbound_at(shop, "CA1", NOON + timedelta(seconds=5)), "kind": FALLBACK})
    machines.apply(1)
    assert calls(shop)["CA1"].started_at == NOON


def test_r12_beginning_and_end_that_two_machines_apply_at_the_same_time_meet(shop: Server, machines: Machines) -> None:
    machines.append(1, status_at("CA1", NOON + timedelta(seconds=40)))
    other = threading.Thread(target=machines.apply, args=(1,))
    with shop.database.writing() as session:
        apply_records(shop, session, [inbound_at(shop, "CA1", NOON)], shop.now(), announcing=True)
        other.start()
        other.join(1.0)
    other.join()
    assert calls(shop)["CA1"].status == "answered"
    assert count(shop, UnknownCall) == 0


def test_r12_two_calls_of_one_caller_that_two_machines_apply_at_the_same_time_see_each_other(
    shop: Server, machines: Machines
) -> None:
    machines.append(1, inbound_at(shop, "CA2", NOON + timedelta(seconds=1)))
    other = threading.Thread(target=machines.apply, args=(1,))
    with shop.database.writing() as session:
        apply_records(shop, session, [inbound_at(shop, "CA1", NOON)], shop.now(), announcing=True)
        other.start()
        other.join(1.0)
    other.join()
    assert {sid: call.first_call for sid, call in calls(shop).items()} == {"CA1": True, "CA2": False}


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_r12_of_one_call_in_two_journals_the_earliest_record_gives_the_start(
    shop: Server, machines: Machines, heard: Heard, order: tuple[int, int]
) -> None:
    machines.append(0, inbound_at(shop, "CA1", NOON))
    machines.append(1, inbound_at(shop, "CA1", NOON + timedelta(seconds=4)))
    for machine in order:
        machines.apply(machine)
    assert calls(shop)["CA1"].started_at == NOON
    assert heard.events == [("CA1", "started")]


def test_r12_the_first_request_of_an_adopted_call_corrects_it_and_nobody_is_told_of_a_second(
    shop: Server, machines: Machines, heard: Heard, clock: Any
) -> None:
    machines.append(0, inbound_at(shop, "CA2", NOON + timedelta(minutes=2)))
    machines.append(0, status_at("CA1", NOON + timedelta(seconds=70)))
    machines.apply(0)
    clock.shift(timedelta(minutes=10))
    assert adopt_unknown_calls(shop, shop.now()) == 1
    adopted = calls(shop)["CA1"]
    assert adopted.started_at == NOON + timedelta(seconds=40), "as long before its end as it lasted"
    assert calls(shop)["CA2"].first_call is False
    machines.append(1, inbound_at(shop, "CA1", NOON, caller="+14155550178"))
    machines.apply(1)
    call = calls(shop)["CA1"]
    assert (call.started_at, call.caller, call.first_call) == (NOON, "+14155550178", True)
    assert calls(shop)["CA2"].first_call is True, "it was another caller"
    told = [event for sid, event in heard.events if sid == "CA1"]
    assert told == ["started", "ended", "updated"]
    machines.append(1, inbound_at(shop, "CA1", NOON, caller="+14155550178"))
    machines.apply(1)
    assert [event for sid, event in heard.events if sid == "CA1"] == told


def test_r12_an_adopted_call_is_corrected_by_its_first_request_also_where_the_carrier_fell_back_after_it(
    shop: Server, machines: Machines, clock: Any
) -> None:
    machines.append(0, status_at("CA1", NOON + timedelta(seconds=70)))
    machines.apply(0)
    clock.shift(timedelta(minutes=10))
    assert adopt_unknown_calls(shop, shop.now()) == 1
    first = inbound_at(shop, "CA1", NOON, caller="+14155550178")
    machines.append(1, first)
    machines.append(1, dict(first) | {"kind": "fallback", "start": (NOON + timedelta(seconds=3)).isoformat()})
    machines.apply(1)
    call = calls(shop)["CA1"]
    assert (call.started_at, call.caller) == (NOON, "+14155550178")


def test_r12_while_a_machine_is_silent_nothing_is_concluded_from_what_is_missing(
    shop: Server, machines: Machines, clock: Any
) -> None:
    resident = Applier(shop, machines.folders[1])
    machines.append(1, inbound_at(shop, "CA9", NOON))
    resident.apply_all()
    machines.append(0, status_at("CA1", NOON))
    machines.apply(0)
    clock.shift(timedelta(minutes=5))
    assert adopt_unknown_calls(shop, shop.now()) == 0
    with shop.database.reading() as session:
        assert machine_is_waiting(session, shop.now())
        assert "is silent since" in state_of_journals(session, shop.now())
    stop = threading.Event()
    stop.set()
    machines.appliers[1] = Applier(shop, machines.folders[1])
    machines.appliers[1].run(stop)  # it comes back, has nothing left to do, and ends
    assert adopt_unknown_calls(shop, shop.now()) == 1


TALKS = st.tuples(st.sampled_from(["answered", "missed", "busy", "abandoned"]), st.integers(1, 30), st.integers(1, 300))


def story(server: Server, sid: str, at: datetime, end: str, rings: int, talks: int) -> tuple[list[Record], Record]:
    """All that a carrier tells of a call to one destination; the last request, which nobody loses, apart."""
    begin = inbound_at(server, sid, at)
    began = {"start": begin["start"], "flow": begin["flow"]}
    leg = f"CL{sid}"

    def event(kind: str, key: str, after: float, **facts: Any) -> dict[str, Any]:
        moment = at + timedelta(seconds=after)
        record = event_record(sid, key, Event(kind, moment, facts), moment)
        return dict(record) | ({"began": began, "call": begin["call"]} if kind == "dial" else {})

    def of_leg(status: str, after: float, talk: int | None = None) -> dict[str, Any]:
        return event("leg", f"leg:{leg}:{status}", after, leg_sid=leg, to=COMPANY_LINE, status=status, seconds=talk)

    def of_dial(step: int, status: str, after: float, **more: Any) -> dict[str, Any]:
        facts = {"step": step, "leg_sid": leg, "status": status, "bridged": False, "seconds": None, "call_status": None}
        return event("dial", f"dial:{step}", after, **facts | more)

    rung = [of_leg("initiated", 0.1), of_leg("ringing", 0.5)]
    if end == "answered":
        done = rings + talks
        last = of_dial(1, "completed", done, bridged=True, seconds=talks, call_status="completed")
        return [begin, *rung, of_leg("answered", rings), of_leg("completed", done, talks)], last
    if end == "abandoned":
        return [begin, *rung, of_leg("canceled", rings)], of_dial(1, "canceled", rings, call_status="completed")
    status = "no_answer" if end == "missed" else "busy"
    first = of_dial(1, status, rings, call_status="ringing")
    return [begin, *rung, of_leg(status, rings), first], of_dial(2, status, rings + 5, call_status="ringing")


@given(data=st.data())
@settings(max_examples=examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_r12_in_whatever_order_and_in_whichever_journals_the_story_is_what_happened(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory, in_order: Server
) -> None:
    server, heard = in_order, Heard()
    with server.database.writing() as session:
        for model in (Call, CallEvent, UnknownCall, JournalPosition):
            session.execute(delete(model))
        session.execute(text("DELETE FROM call_leg"))
    machines = Machines(server, tmp_path_factory.mktemp("journals"))
    truth, records = {}, []
    for index, (end, rings, talks) in enumerate(data.draw(st.lists(TALKS, min_size=1, max_size=3))):
        sid = f"CA{index}"
        truth[sid] = (end, talks if end == "answered" else 0, NOON + timedelta(hours=index))
        early, last = story(server, sid, truth[sid][2], end, rings, talks)
        kept = [early[0], *(record for record in early[1:] if data.draw(st.integers(0, 4), "lost"))]
        records += [*kept, *data.draw(st.lists(st.sampled_from(early)), "doubled"), last]
    for record in data.draw(st.permutations(records), "order"):
        machine = data.draw(st.integers(0, 1), "machine")
        machines.append(machine, record)
        if data.draw(st.booleans(), "applied"):
            machines.apply(machine)
    for machine in data.draw(st.permutations([0, 1])):
        machines.apply(machine)
    stories = {sid: (call.status, call.talk_seconds, call.started_at) for sid, call in calls(server).items()}
    assert stories == truth
    for sid in truth:
        told = [event for who, event in heard.events if who == sid]
        assert told.count("started") == told.count("ended") == 1
        assert told[0] == "started"
    firsts = [call.first_call for call in calls(server).values()]
    assert firsts == [True] + [False] * (len(truth) - 1)


@pytest.fixture
def in_order(shop_with_two_lines: int, server: Server) -> Server:
    return server

"""Callbacks beside each other and beside the call's own requests, doubled, late, in any order, and lost."""

import threading
import time
from typing import Any

import pytest

from router.carriers.simulator import CallerScript, Chance, Faults, Line, RealClock, Simulator, VirtualClock
from tests.carriers.simulator.conftest import (
    CALLER,
    NUMBER,
    OFFICE,
    SALES,
    START,
    Exchanges,
    TwimlServer,
    dial,
    number,
    response,
)
from tests.waiting import PATIENCE_SECONDS, eventually

INBOUND, STATUS = "/voice/inbound", "/voice/status"
EVENTS = "initiated ringing answered completed"
REPORTED = {"statusCallback": "/leg", "statusCallbackEvent": EVENTS}
HANGUP = response("<Hangup/>")
PARALLEL = Faults(parallel=True)


@pytest.fixture
def forwarding(twiml: TwimlServer) -> TwimlServer:
    """Forwards, reports every step of the leg to /leg, records, and asks /next how to go on."""
    recorded = {"record": "record-from-answer", "recordingStatusCallback": "/recording"}
    twiml.pages[INBOUND] = response(dial(number(SALES, **REPORTED), action="/next", **recorded))
    twiml.pages["/next"] = HANGUP
    return twiml


def leg_states(twiml: TwimlServer) -> list[str]:
    return [values["CallStatus"] for values in twiml.values("/leg")]


def meeting(count: int, answer: Any) -> Any:
    """A page that answers once so many requests are here at the same time."""
    barrier = threading.Barrier(count)

    def page(values: dict[str, str]) -> Any:
        barrier.wait(PATIENCE_SECONDS)
        return answer

    return page


def test_the_last_callback_of_a_leg_is_under_way_while_the_action_is_asked(
    forwarding: TwimlServer, exchange: Exchanges
) -> None:
    together = meeting(2, HANGUP)
    forwarding.pages["/next"] = together
    forwarding.pages["/leg"] = lambda values: together(values) if values["CallStatus"] == "completed" else HANGUP
    call = exchange(faults=PARALLEL).call(CALLER, NUMBER)
    assert (call.errors, sorted(leg_states(forwarding))) == ([], ["completed", "in-progress", "initiated", "ringing"])


def test_legs_that_ring_at_once_report_at_once(twiml: TwimlServer, exchange: Exchanges) -> None:
    first = number(SALES, statusCallback="/leg", statusCallbackEvent="initiated ringing answered")
    twiml.pages[INBOUND] = response(dial(first, number(OFFICE, **REPORTED)))
    twiml.pages["/leg"] = meeting(2, HANGUP)
    assert exchange(faults=PARALLEL).call(CALLER, NUMBER).errors == []
    assert sorted(leg_states(twiml)) == sorted(["initiated", "ringing"] * 2 + ["in-progress", "canceled"])


def test_both_copies_of_a_callback_are_under_way_at_once(forwarding: TwimlServer, exchange: Exchanges) -> None:
    forwarding.pages[STATUS] = meeting(2, HANGUP)
    call = exchange(faults=Faults(parallel=True, twice=True)).call(CALLER, NUMBER)
    assert (call.errors, len(forwarding.values(STATUS))) == ([], 2)


def test_no_virtual_time_passes_while_a_callback_is_answered(forwarding: TwimlServer, exchange: Exchanges) -> None:
    clock, seen = VirtualClock(START), []

    def look(values: dict[str, str]) -> str:
        time.sleep(0.02)
        seen.append((values["CallStatus"], (clock.now() - START).total_seconds()))
        return HANGUP

    forwarding.pages["/leg"] = look
    exchange(faults=PARALLEL, clock=clock).call(CALLER, NUMBER)
    assert seen == [("initiated", 0), ("ringing", 1), ("in-progress", 5), ("completed", 65)]


def test_a_callback_may_be_lost(forwarding: TwimlServer, exchange: Exchanges) -> None:
    def plan(call: int, kind: str, turn: int) -> tuple[float, ...]:
        return () if (kind, turn) in (("leg", 3), ("status", 0)) else (0.0,)

    exchange(faults=Faults(plan=plan)).call(CALLER, NUMBER)
    assert leg_states(forwarding) == ["initiated", "ringing", "in-progress"]
    assert (forwarding.values(STATUS), len(forwarding.values("/recording"))) == ([], 1)


def test_a_callback_may_come_twice_with_another_one_between(forwarding: TwimlServer, exchange: Exchanges) -> None:
    def plan(call: int, kind: str, turn: int) -> tuple[float, ...]:
        return (0.0, 30.0) if (kind, turn) == ("leg", 1) else (0.0,)

    exchange(faults=Faults(plan=plan)).call(CALLER, NUMBER)
    assert leg_states(forwarding) == ["initiated", "ringing", "in-progress", "ringing", "completed"]


def test_a_late_callback_may_be_the_last_of_the_call(forwarding: TwimlServer, exchange: Exchanges) -> None:
    def plan(call: int, kind: str, turn: int) -> tuple[float, ...]:
        return (600.0,) if (kind, turn) == ("leg", 2) else (0.0,)

    exchange(faults=Faults(plan=plan)).call(CALLER, NUMBER)
    assert forwarding.paths()[-2:] == [STATUS, "/leg"]
    assert leg_states(forwarding)[-1] == "in-progress"


def test_a_plan_may_choose_the_call(forwarding: TwimlServer, exchange: Exchanges) -> None:
    simulator = exchange(faults=Faults(plan=lambda call, kind, turn: () if call == 1 else (0.0,)))
    first, second = (simulator.call(CALLER, NUMBER) for _ in range(2))
    told = {values["CallSid"] for values in forwarding.values(STATUS)}
    assert (first.sid in told, second.sid in told) == (True, False)


def story(twiml: TwimlServer, simulator: Simulator, calls: int) -> list[list[tuple[str, str]]]:
    """Of each call, what was asked in which order."""
    stories = []
    for _ in range(calls):
        began = len(twiml.asked)
        simulator.call(CALLER, NUMBER)
        stories.append([(path, values.get("SequenceNumber", "")) for path, values in twiml.asked[began:]])
    return stories


def test_the_same_seed_gives_the_same_story(forwarding: TwimlServer, exchange: Exchanges) -> None:
    def play(seed: int) -> list[list[tuple[str, str]]]:
        chance = Chance(seed, lost=0.2, doubled=0.3, late=0.5)
        return story(forwarding, exchange(faults=Faults(plan=chance)), 5)

    assert play(7) == play(7) != play(8)


def test_by_chance_callbacks_are_lost_doubled_and_out_of_order(forwarding: TwimlServer, exchange: Exchanges) -> None:
    chance = Chance(1, lost=0.2, doubled=0.2, late=0.5, latest=90)
    stories = story(forwarding, exchange(faults=Faults(plan=chance)), 12)
    legs = [[turn for path, turn in asked if path == "/leg"] for asked in stories]
    assert any(set(turns) != set("0123") for turns in legs), "lost"
    assert any(len(turns) != len(set(turns)) for turns in legs), "doubled"
    assert any(turns != sorted(turns) for turns in legs), "out of order"
    for asked in stories:
        assert [path for path, _ in asked if path in (INBOUND, "/next")] == [INBOUND, "/next"], (
            "what steers is never lost"
        )


@pytest.mark.parametrize(("chance", "copies"), [(Chance(1, lost=1.0), 0), (Chance(1), 1), (Chance(1, doubled=1.0), 2)])
def test_a_chance_of_one_is_certainty(
    forwarding: TwimlServer, exchange: Exchanges, chance: Chance, copies: int
) -> None:
    exchange(faults=Faults(plan=chance)).call(CALLER, NUMBER)
    assert [len(forwarding.values(path)) for path in ("/leg", "/recording", STATUS)] == [4 * copies, copies, copies]


def test_calls_and_callbacks_at_once_lose_nothing(forwarding: TwimlServer, exchange: Exchanges) -> None:
    chance = Chance(3, doubled=0.5, late=0.5)
    simulator = exchange(faults=Faults(parallel=True, plan=chance))
    placed = [simulator.start(CALLER, NUMBER, CallerScript(talks=3)) for _ in range(12)]
    for call, played in placed:
        played.result(PATIENCE_SECONDS)
        assert call.errors == []
        events = {
            values["SequenceNumber"] for values in forwarding.values("/leg") if values["ParentCallSid"] == call.sid
        }
        assert events == set("0123")


def test_an_exchange_that_closes_waits_for_no_late_callback(forwarding: TwimlServer, exchange: Exchanges) -> None:
    faults = Faults(plan=lambda call, kind, turn: (3600.0,))
    simulator = exchange(faults=faults, clock=RealClock(), lines={"*": Line.is_busy(after=0)})
    call, _ = simulator.start(CALLER, NUMBER)
    eventually(lambda: call.ended_at)
    simulator.close()
    assert len(forwarding.values(STATUS)) == 1

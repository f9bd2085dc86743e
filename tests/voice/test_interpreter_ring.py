"""Who rings in a call flow, in which order, what he hears before he is connected, and when he counts as the one who answered."""

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from router.carriers.base import Forward, Gather, HangUp, Play, Say
from router.voice.call_so_far import Known, Place, Visit, Wanted
from router.voice.interpreter import (
    ACCEPT,
    is_answered,
    needs_acceptance,
    next_plan,
    whisper_plan,
)
from tests.voice.flow_calls import (
    ANNA,
    AROUND,
    BASE,
    GOOGLE,
    MONDAY,
    NUMBER,
    OFFICE,
    PBX,
    SHOP,
    arriving_at,
    beginning,
    ended,
    forward_in,
    inbound,
    plan_of,
    ring,
    rung,
    say,
    steps,
)


def test_destinations_ring_in_turn_until_somebody_answers() -> None:
    program = steps(ring(OFFICE, SHOP), say("Nobody is there."))
    first = plan_of(program, beginning())
    assert rung(first) == [OFFICE]
    second = arriving_at(forward_in(first).next_address, beginning(), result=ended("no_answer"))
    assert rung(plan_of(program, second)) == [SHOP]
    assert plan_of(program, replace(second, result=ended("completed", True))) == (HangUp(),)
    third = arriving_at(forward_in(plan_of(program, second)).next_address, beginning(), result=ended("busy"))
    assert plan_of(program, third) == (Say("Nobody is there."), HangUp())


def test_all_ring_at_once_for_the_longest_of_their_times() -> None:
    lines = [{"to": OFFICE, "ring_seconds": 15}, {"to": SHOP, "ring_seconds": 25}, {"to": PBX}]
    program = steps({"type": "ring", "order": "at_once", "destinations": lines})
    forward = forward_in(plan_of(program, beginning()))
    assert [target.to for target in forward.targets] == [OFFICE, SHOP, PBX]
    assert forward.ring_seconds == 25
    after = arriving_at(forward.next_address, beginning(), result=ended("no_answer"))
    assert plan_of(program, after) == (HangUp(),)


def weighted(*weights: int) -> dict[str, Any]:
    lines = [{"to": f"+49301234{index:03}", "weight": weight} for index, weight in enumerate(weights)]
    return {"type": "ring", "order": "round_robin", "destinations": lines}


def drawn(program: Any, sid: str, flow_id: int = 7) -> list[str]:
    """Who rings in turn."""
    so_far, order = beginning(inbound(sid=sid), flow_id=flow_id), []
    while isinstance(forward := next_plan(program, AROUND, so_far)[0], Forward):  # type: ignore[index]  # nothing is looked up
        order += rung([forward])
        so_far = arriving_at(forward.next_address, so_far, result=ended("no_answer"))
    return order


def test_a_round_robin_gives_each_line_its_share_of_the_calls() -> None:
    program, calls = steps(weighted(1, 2, 5)), 8000
    first = Counter(
        rung(next_plan(program, AROUND, beginning(inbound(sid=f"CA{number:032x}"))))[0]  # type: ignore[arg-type]  # nothing is looked up
        for number in range(calls)
    )
    for index, weight in enumerate((1, 2, 5)):
        share = weight / 8
        deviation = (share * (1 - share) / calls) ** 0.5
        assert abs(first[f"+49301234{index:03}"] / calls - share) < 4 * deviation


def test_a_round_robin_shares_what_the_first_line_does_not_take_by_weight_too() -> None:
    program, calls = steps(weighted(1, 2, 5)), 2000
    orders = [drawn(program, f"CA{number:032x}") for number in range(calls)]
    assert all(sorted(order) == sorted(orders[0]) for order in orders)
    after_the_greatest = [order[1] for order in orders if order[0].endswith("002")]
    share, count = 2 / 3, len(after_the_greatest)
    deviation = (share * (1 - share) / count) ** 0.5
    assert abs(after_the_greatest.count("+49301234001") / count - share) < 4 * deviation


def test_lines_of_equal_weight_ring_in_every_order_alike() -> None:
    program, calls = steps(weighted(1, 1, 1, 1)), 2400
    orders = Counter(tuple(drawn(program, f"CA{number:032x}")) for number in range(calls))
    deviation = (calls * 23) ** 0.5 / 24
    assert len(orders) == 24
    assert all(abs(count - calls / 24) < 4 * deviation for count in orders.values())


def test_a_call_keeps_its_order_and_another_version_draws_anew() -> None:
    program = steps(weighted(1, 1, 1, 1, 1, 1))
    assert drawn(program, "CA1") == drawn(program, "CA1")
    assert len({tuple(drawn(program, "CA1", flow_id)) for flow_id in range(20)}) > 10


def test_who_talked_to_the_caller_last_rings_first() -> None:
    program = steps(ring(OFFICE, SHOP, PBX, returning_first=True))
    assert next_plan(program, AROUND, beginning()) == Wanted("answerer", "s1")
    known = Known().with_outcome(Wanted("answerer", "s1"), SHOP)
    so_far, order = beginning(known=known), []
    for _ in range(3):
        plan = plan_of(program, so_far)
        order += rung(plan)
        so_far = arriving_at(forward_in(plan).next_address, so_far, result=ended("no_answer"))
    assert order == [SHOP, OFFICE, PBX]
    at_once = steps(ring(OFFICE, SHOP, PBX, returning_first=True, order="at_once"))
    first = plan_of(at_once, beginning(known=known))
    assert rung(first) == [SHOP]
    second = arriving_at(forward_in(first).next_address, beginning(), result=ended("no_answer"))
    assert rung(plan_of(at_once, second)) == [OFFICE, PBX]


def test_a_sip_address_is_the_one_that_answered_whatever_its_parameters() -> None:
    known = Known().with_outcome(Wanted("answerer", "s1"), f"{PBX};transport=tls")
    assert rung(plan_of(steps(ring(OFFICE, PBX, returning_first=True)), beginning(known=known))) == [PBX]


@pytest.mark.parametrize("outcome", [None, "", "+4917612345678"])
def test_an_answerer_who_is_not_there_is_passed_over(outcome: str | None) -> None:
    known = Known().with_outcome(Wanted("answerer", "s1"), outcome)
    program = steps(ring(OFFICE, SHOP, returning_first=True))
    assert rung(plan_of(program, beginning(known=known))) == [OFFICE]


def test_nobody_is_looked_up_for_a_withheld_caller_or_a_single_line() -> None:
    assert rung(plan_of(steps(ring(OFFICE, SHOP, returning_first=True)), beginning(inbound(None)))) == [OFFICE]
    assert rung(plan_of(steps(ring(OFFICE, returning_first=True)), beginning())) == [OFFICE]


def test_a_sip_address_is_told_the_visit_in_its_headers() -> None:
    line = {"to": PBX, "headers": {"X-Visit": "{visit}", "X-Source": "{source}/{campaign}"}, "transport": "tls"}
    program = steps({"type": "ring", "destinations": [line, {"to": SHOP, "extension": "ww12"}]})
    assert next_plan(program, AROUND, beginning()) == Wanted("visit", "s1")
    first = plan_of(program, beginning(known=Known(visit=GOOGLE)))
    target = forward_in(first).targets[0]
    assert target.headers == (("X-Visit", "10001"), ("X-Source", "google/Spring sale"))
    assert target.transport == "tls"
    second = arriving_at(forward_in(first).next_address, beginning(), result=ended("failed"))
    assert second.known.visit == GOOGLE
    assert forward_in(plan_of(program, second)).targets[0].extension == "ww12"
    unknown = Known().with_outcome(Wanted("visit", "s1"), None)
    assert forward_in(plan_of(program, beginning(known=unknown))).targets[0].headers == (
        ("X-Visit", ""),
        ("X-Source", "/"),
    )


def accepting(**members: Any) -> dict[str, Any]:
    return ring(OFFICE, accept=True, **members)


def test_with_accept_a_line_is_connected_only_after_1_was_pressed() -> None:
    program = steps(accepting(whisper={"text": "A call from  {source}. Press 1."}))
    assert next_plan(program, AROUND, beginning()) == Wanted("visit", "s1"), "before anybody is rung"
    target = forward_in(plan_of(program, beginning(known=Known(visit=GOOGLE)))).targets[0]
    assert target.leg_address.endswith("&screen=accept")
    asked = arriving_at(target.whisper_address, beginning())
    gather, otherwise = whisper_plan(program, AROUND, asked)
    assert isinstance(gather, Gather)
    assert otherwise == HangUp()
    assert gather.prompt == (Say("A call from google. Press 1."),)
    for digits, connected in (("1", True), ("2", False), ("", False)):
        pressed = arriving_at(gather.next_address, beginning(), digits=digits)
        assert whisper_plan(program, AROUND, pressed) == (() if connected else (HangUp(),))


@pytest.mark.parametrize(("sound", "heard"), [("welcome", Play(AROUND.sounds["welcome"])), ("lost", Say(ACCEPT))])
def test_a_whisper_may_be_a_sound_and_where_it_is_lost_the_line_hears_what_to_press(sound: str, heard: Any) -> None:
    program = steps(accepting(whisper={"sound": sound}))
    asked = arriving_at(forward_in(plan_of(program, beginning())).targets[0].whisper_address, beginning())
    gather, _ = whisper_plan(program, AROUND, asked)
    assert isinstance(gather, Gather)
    assert gather.prompt == (heard,)


def test_a_talk_whose_announcement_is_a_lost_sound_is_not_recorded() -> None:
    def plan(sound: str) -> Any:
        return plan_of(steps(ring(OFFICE, recording={"announcement": {"sound": sound}})), beginning())

    assert plan("welcome")[0] == Play(AROUND.sounds["welcome"])
    assert [forward_in(plan(sound)).recorded for sound in ("welcome", "lost")] == ["dual", "off"]
    assert forward_in(plan("lost")).recording_address == ""


def test_without_a_whisper_the_line_still_hears_what_to_press() -> None:
    program = steps(accepting())
    asked = arriving_at(forward_in(plan_of(program, beginning())).targets[0].whisper_address, beginning())
    gather, otherwise = whisper_plan(program, AROUND, asked)
    assert isinstance(gather, Gather)
    assert otherwise == HangUp()
    assert gather.prompt == (Say(ACCEPT),)


def test_a_whisper_alone_is_heard_and_connects() -> None:
    program = steps(ring(OFFICE, whisper={"text": "From {source}{visit}."}))
    nobody = beginning(known=Known(visit=Visit()))
    asked = arriving_at(forward_in(plan_of(program, nobody)).targets[0].whisper_address, beginning())
    assert whisper_plan(program, AROUND, asked) == (Say("From ."),)
    assert forward_in(plan_of(steps(ring(OFFICE)), beginning())).targets[0].whisper_address == ""


def test_a_machine_that_answers_is_not_connected_where_they_are_listened_for() -> None:
    program = steps(ring(OFFICE, detect_machines=True))
    target = forward_in(plan_of(program, beginning())).targets[0]
    assert target.machine_address == f"{BASE}/voice/machine/CA1?flow=7&step=s1.0", "nothing follows"
    asked = arriving_at(target.whisper_address, beginning())
    assert whisper_plan(program, AROUND, asked) == ()
    assert whisper_plan(program, AROUND, replace(asked, is_machine=True)) == (HangUp(),)


def test_where_something_follows_the_address_of_a_machine_says_by_what_the_call_is_led_on() -> None:
    known = Known(visit=Visit.of(7, "google", "cpc", ""))
    asking = ring(OFFICE, SHOP, detect_machines=True, whisper={"text": "{source}"})
    for program, led_on in ((steps(asking), [True, False]), (steps(asking, say("Sorry.")), [True, True])):
        for turn, goes_on in enumerate(led_on):
            at = beginning(known=known, place=Place("s1", turn) if turn else None)
            address = forward_in(plan_of(program, at)).targets[0].machine_address
            start = round(MONDAY.timestamp() * 1000)
            more = f"&on=1&start={start}&visit=7&source=google&medium=cpc" if goes_on else ""
            assert address == f"{BASE}/voice/machine/CA1?flow=7&step=s1.{turn}{more}"


@pytest.mark.parametrize(
    ("step", "result", "accepted", "answered"),
    [
        (ring(OFFICE), ended("completed", True), False, True),
        (ring(OFFICE), ended("completed", None), False, True),
        (ring(OFFICE), ended("completed", False), False, False),
        (ring(OFFICE), ended("no_answer", None), False, False),
        (accepting(), ended("completed", True), False, True),
        (accepting(), ended("completed", False), True, False),
        (accepting(), ended("completed", None), False, False),
        (accepting(), ended("completed", None), True, True),
    ],
)
def test_an_answer_counts_when_it_was_accepted(step: Any, result: Any, accepted: bool, answered: bool) -> None:
    program = steps(step, say("Nobody took the call."))
    assert is_answered(program.first, result, accepted) == answered
    assert needs_acceptance(program.first) == step.get("accept", False)
    after = beginning(place=Place("s1", 1), result=result, accepted=accepted)
    expected = (HangUp(),) if answered else (Say("Nobody took the call."), HangUp())
    assert plan_of(program, after) == expected


def test_a_talk_is_recorded_after_its_announcement_which_is_heard_once() -> None:
    recording = {"channels": "mixed", "announcement": {"text": "This call is recorded.", "language": "en"}}
    program = steps(ring(OFFICE, SHOP, recording=recording))
    first = plan_of(program, beginning())
    assert first[0] == Say("This call is recorded.", "en")
    assert forward_in(first).recorded == "mixed"
    assert forward_in(first).recording_address == f"{BASE}/voice/recording?flow=7&step=s1.0"
    second = plan_of(program, arriving_at(forward_in(first).next_address, beginning(), result=ended("busy")))
    assert isinstance(second[0], Forward)
    assert second[0].recorded == "mixed"
    doubtful = beginning(inbound(caller_id="doubtful"))
    failed = arriving_at(forward_in(plan_of(program, doubtful)).next_address, doubtful, result=ended("failed"))
    (again,) = plan_of(program, failed)
    assert rung([again]) == [OFFICE]


def test_a_number_over_which_the_carrier_may_fail_is_shown_once_and_then_ours() -> None:
    program, call = steps(ring(OFFICE, SHOP)), inbound(caller_id="doubtful")
    first = forward_in(plan_of(program, beginning(call)))
    assert first.caller_id == ANNA
    again = arriving_at(first.next_address, beginning(call), result=ended("failed"))
    retried = forward_in(plan_of(program, again))
    assert (rung([retried]), retried.caller_id) == ([OFFICE], NUMBER)
    after = arriving_at(retried.next_address, beginning(call), result=ended("failed"))
    assert rung(plan_of(program, after)) == [SHOP]
    busy = arriving_at(first.next_address, beginning(call), result=ended("busy"))
    assert rung(plan_of(program, busy)) == [SHOP]

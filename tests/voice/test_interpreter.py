"""Each step of a call flow does what its admin expects; what an answer goes by comes back in addresses, and nothing is counted."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest

from router.carriers.base import Gather, GoOn, HangUp, Play, Record, Reject, Say
from router.lib.phones import Caller
from router.voice.call_so_far import Known, Place, Visit, Wanted, read_known, read_place
from router.voice.interpreter import (
    CALLER_IS_LINE,
    COMES_BACK,
    IN_A_CIRCLE,
    SORRY,
    next_plan,
)
from tests.voice.flow_calls import (
    ANNA,
    AROUND,
    BASE,
    FORWARDING,
    GOOGLE,
    MONDAY,
    NUMBER,
    OFFICE,
    OTHER_NUMBER,
    PBX,
    SHOP,
    arriving_at,
    beginning,
    ended,
    forward_in,
    inbound,
    plan_of,
    program_of,
    ring,
    rung,
    say,
    sentences,
    steps,
)

MENU: dict[str, Any] = {
    "type": "menu",
    "prompt": {"text": "1 for sales, * for the shop."},
    "keys": {"1": [ring(OFFICE)], "*": [ring(SHOP)], "3": []},
    "no_input": [say("You pressed nothing.")],
    "wrong_key": [say("That is no key of ours.")],
    "tries": 2,
}


def pressed(program: Any, *keys: str) -> tuple[Any, ...]:
    """The plan after these keys, one at each prompt."""
    so_far = beginning()
    plan = plan_of(program, so_far)
    for key in keys:
        so_far = arriving_at(next(each.next_address for each in plan if isinstance(each, Gather)), so_far, digits=key)
        plan = plan_of(program, so_far)
    return plan


@pytest.mark.parametrize(
    ("keys", "heard", "lines"),
    [
        ((), ["Hello.", "1 for sales, * for the shop."], []),
        (("1",), [], [OFFICE]),
        (("*",), [], [SHOP]),
        (("3",), ["Goodbye."], []),
        (("",), ["1 for sales, * for the shop."], []),
        (("", "1"), [], [OFFICE]),
        (("9", "*"), [], [SHOP]),
        (("", ""), ["You pressed nothing.", "Goodbye."], []),
        (("9", "9"), ["That is no key of ours.", "Goodbye."], []),
        (("9", ""), ["You pressed nothing.", "Goodbye."], []),
    ],
)
def test_a_menu_goes_by_its_keys_and_is_repeated(keys: tuple[str, ...], heard: list[str], lines: list[str]) -> None:
    plan = pressed(steps(say("Hello."), MENU, say("Goodbye.")), *keys)
    assert (sentences(plan), rung(plan)) == (heard, lines)


def test_who_presses_no_key_is_not_connected() -> None:
    press = {"type": "press_key", "prompt": {"text": "Press 5."}, "key": "5", "otherwise": [say("Goodbye.")]}
    program = steps(press, ring(OFFICE))
    assert rung(pressed(program, "5")) == [OFFICE]
    assert rung(pressed(program, "1", "5")) == [OFFICE]
    assert pressed(program, "1", "") == (Say("Goodbye."), HangUp())
    assert pressed(steps(press | {"otherwise": []}, ring(OFFICE)), "", "") == (HangUp(),)


def test_a_caller_leaves_a_message_and_the_call_ends() -> None:
    program = steps({"type": "voicemail", "prompt": {"text": "After the tone."}, "longest_seconds": 60}, ring(OFFICE))
    prompt, record, silent = plan_of(program, beginning())
    assert isinstance(record, Record)
    assert (prompt, silent) == (Say("After the tone."), GoOn(record.next_address))
    assert record.recording_address == f"{BASE}/voice/recording?flow=7&step=s1.0"
    assert record.longest_seconds == 60
    assert plan_of(program, arriving_at(record.next_address, beginning(), digits="hangup")) == (HangUp(),)


HOURS: dict[str, Any] = {
    "type": "hours",
    "branches": [
        {"times": [{"days": ["mon"], "opens": "09:00", "closes": "12:00"}], "steps": [say("Morning.")]},
        {"times": [{"days": ["mon"], "opens": "11:00", "closes": "18:00"}], "steps": [say("Day.")]},
    ],
    "holidays": [say("Holiday.")],
    "otherwise": [say("Closed.")],
}


@pytest.mark.parametrize(
    ("moment", "heard"),
    [
        ("2026-06-01T06:59:59", "Closed."),
        ("2026-06-01T07:00:00", "Morning."),
        ("2026-06-01T09:59:59", "Morning."),
        ("2026-06-01T10:00:00", "Day."),
        ("2026-06-01T16:00:00", "Closed."),
        ("2026-06-02T08:00:00", "Closed."),
        ("2026-12-24T23:30:00", "Holiday."),
        ("2026-12-25T10:00:00", "Holiday."),
    ],
)
def test_opening_hours_go_by_the_beginning_of_the_call(moment: str, heard: str) -> None:
    so_far = beginning(started_at=datetime.fromisoformat(moment).replace(tzinfo=UTC))
    assert sentences(plan_of(steps(HOURS), so_far)) == [heard]


def test_a_holiday_is_a_day_like_others_where_a_flow_says_nothing_of_it() -> None:
    hours = {name: value for name, value in HOURS.items() if name != "holidays"}
    around = replace(AROUND, holidays={MONDAY.date()})
    assert sentences(plan_of(steps(hours), beginning(), around)) == ["Day."]
    assert sentences(plan_of(steps(HOURS), beginning(), around)) == ["Holiday."]
    assert plan_of(steps(HOURS | {"holidays": []}, ring(OFFICE)), beginning(), around)[0] == forward_in(
        plan_of(steps(HOURS | {"holidays": []}, ring(OFFICE)), beginning(), around)
    )


def test_a_call_that_crosses_closing_time_stays_in_its_branch() -> None:
    shop_hours = {
        "type": "hours",
        "branches": [{"times": HOURS["branches"][1]["times"], "steps": [ring(OFFICE, SHOP)]}],
    }
    program = steps(shop_hours, say("Closed."))
    last_second = datetime(2026, 6, 1, 15, 59, 59, tzinfo=UTC)
    first = plan_of(program, beginning(started_at=last_second))
    later = arriving_at(forward_in(first).next_address, beginning(), result=ended("no_answer"))
    assert later.started_at == last_second
    assert rung(plan_of(program, later)) == [SHOP]
    assert sentences(plan_of(program, beginning(started_at=last_second + timedelta(seconds=1)))) == ["Closed."]


SOURCES: dict[str, Any] = {
    "type": "by_source",
    "branches": [
        {"match": {"source": "google", "campaign": "spring*"}, "steps": [say("Spring.")]},
        {"match": {"source": "g*"}, "steps": [say("Google.")]},
        {"match": {}, "steps": [say("Some source.")]},
    ],
    "otherwise": [say("No visit.")],
}


@pytest.mark.parametrize(
    ("visit", "heard"),
    [
        (GOOGLE, "Spring."),
        (Visit(2, "google", "organic", ""), "Google."),
        (Visit(3, "direct", "", ""), "Some source."),
        (Visit(), "No visit."),
    ],
)
def test_calls_are_routed_by_the_source_of_their_visit(visit: Visit, heard: str) -> None:
    program = steps(SOURCES)
    assert next_plan(program, AROUND, beginning()) == Wanted("visit", "s1")
    assert sentences(plan_of(program, beginning(known=Known(visit=visit)))) == [heard]


@pytest.mark.parametrize(("outcome", "heard"), [("first", "Welcome."), ("repeat", "Again."), (None, "Hello.")])
def test_first_and_repeat_callers_go_apart(outcome: str | None, heard: str) -> None:
    step = {"type": "by_caller", "first": [say("Welcome.")], "repeat": [say("Again.")], "otherwise": [say("Hello.")]}
    program, wanted = steps(step), Wanted("caller", "s1")
    assert next_plan(program, AROUND, beginning()) == wanted
    assert sentences(plan_of(program, beginning(known=Known().with_outcome(wanted, outcome)))) == [heard]
    assert sentences(plan_of(program, beginning(inbound(None)))) == ["Hello."]


@pytest.mark.parametrize(
    ("caller", "heard"),
    [("+4930999", "Berlin."), ("+498912345", "Germany."), ("+14155550177", "Abroad."), (None, "Abroad.")],
)
def test_callers_are_told_apart_by_their_area(caller: str | None, heard: str) -> None:
    branches = [
        {"prefixes": ["+49 30"], "steps": [say("Berlin.")]},
        {"prefixes": ["+49"], "steps": [say("Germany.")]},
    ]
    program = steps({"type": "by_area", "branches": branches, "otherwise": [say("Abroad.")]})
    assert sentences(plan_of(program, beginning(inbound(caller)))) == [heard]


ASK: dict[str, Any] = {
    "type": "ask",
    "url": "https://crm.example.com/who",
    "answers": {"vip": [ring(OFFICE)]},
    "ring_seconds": 12,
    "otherwise": [say("Nobody knows.")],
}


@pytest.mark.parametrize(
    ("answer", "lines", "heard"),
    [
        ("vip", [OFFICE], []),
        (SHOP, [SHOP], []),
        (PBX, [PBX], []),
        ("other", [], ["Nobody knows."]),
        ("+49", [], ["Nobody knows."]),
        ("+19002345678", [], ["Nobody knows."]),  # costs more
        ("+33123456789", [], ["Nobody knows."]),  # of a country that the operator does not allow
        (ANNA, [], ["Nobody knows.", CALLER_IS_LINE]),
        (FORWARDING, [], ["Nobody knows.", COMES_BACK]),
        (None, [], ["Nobody knows."]),
        (OTHER_NUMBER, [], ["Nobody knows.", IN_A_CIRCLE]),
    ],
)
def test_an_address_answers_with_a_branch_or_a_line(answer: str | None, lines: list[str], heard: list[str]) -> None:
    program, around = steps(ASK), replace(AROUND, countries=("DE", "GB", "US"))
    began = beginning(inbound(forwarded_from=FORWARDING))
    wanted = next_plan(program, around, began)
    assert wanted == Wanted("answer", "s1", "https://crm.example.com/who")
    plan = plan_of(program, replace(began, known=Known().with_outcome(wanted, answer)), around)
    assert (rung(plan), sentences(plan)) == (lines, heard)


def test_after_the_line_that_an_address_named_the_call_goes_on() -> None:
    program = steps(ASK, say("Please hold on."), ASK | {"id": "again"})
    known = Known().with_outcome(Wanted("answer", "s1"), SHOP)
    forward = forward_in(plan_of(program, beginning(known=known)))
    assert forward.ring_seconds == 12
    after = arriving_at(forward.next_address, beginning(), result=ended("no_answer"))
    assert after.known.answers == (("s1", SHOP),)
    assert next_plan(program, AROUND, after) == Wanted("answer", "again", "https://crm.example.com/who")
    both = replace(after, known=after.known.with_outcome(Wanted("answer", "again"), "vip"))
    assert (sentences(plan_of(program, both)), rung(plan_of(program, both))) == (["Please hold on."], [OFFICE])


def test_a_call_ends_with_a_sentence_or_as_busy() -> None:
    assert plan_of(steps({"type": "hang_up"}), beginning()) == (HangUp(),)
    assert plan_of(steps({"type": "hang_up", "busy": True}), beginning()) == (Reject(),)
    assert plan_of(steps({"type": "hang_up", "busy": True, "prompt": {"text": "Bye."}}), beginning()) == (
        Say("Bye."),
        HangUp(),
    )
    assert plan_of(steps(say("Hi."), {"type": "hang_up", "busy": True}), beginning()) == (Say("Hi."), HangUp())


def test_texts_are_spoken_as_the_flow_says_and_sounds_that_are_gone_are_left_out() -> None:
    flow = {
        "language": "de-DE",
        "voice": "Polly.Vicki",
        "steps": [
            say("Guten Tag."),
            say("Hello.") | {"language": "en-GB", "voice": "woman"},
            {"type": "play", "sound": "welcome"},
            {"type": "play", "sound": "gone"},
        ],
    }
    assert plan_of(program_of(flow), beginning()) == (
        Say("Guten Tag.", "de-DE", "Polly.Vicki"),
        Say("Hello.", "en-GB", "woman"),
        Play(f"{BASE}/voice/sound/welcome"),
        HangUp(),
    )


def test_more_than_one_document_holds_is_said_in_several() -> None:
    texts = [f"{number} " + "&" * 990 for number in range(8)]
    program = steps(*map(say, texts), ring(OFFICE))
    heard, documents, so_far = [], 1, beginning()
    plan = plan_of(program, so_far)
    while isinstance(plan[-1], GoOn):
        heard += sentences(plan)
        so_far = arriving_at(plan[-1].next_address, so_far)
        plan = plan_of(program, so_far)
        documents += 1
    assert heard + sentences(plan) == texts
    assert rung(plan) == [OFFICE]
    assert documents == 3


@pytest.mark.parametrize(
    ("line", "call", "heard"),
    [
        (ANNA, inbound(), CALLER_IS_LINE),
        ("+5215512345678", inbound("+525512345678"), CALLER_IS_LINE),
        (
            "sip:anna@pbx.example.com",
            replace(inbound(), caller=Caller(None, "sip:anna@PBX.example.com:5061")),
            CALLER_IS_LINE,
        ),
        (FORWARDING, inbound(forwarded_from=FORWARDING), COMES_BACK),
        (NUMBER, inbound(), IN_A_CIRCLE),
        (OTHER_NUMBER, inbound(), IN_A_CIRCLE),
        ("+4930555", inbound(number_e164="+4930555"), IN_A_CIRCLE),
    ],
)
def test_a_flow_that_would_go_in_circles_says_what_happened(line: str, call: Any, heard: str) -> None:
    for document in ({"destinations": [{"to": line}]}, {"steps": [ring(line)]}):
        plan = plan_of(program_of(document), beginning(call))
        assert plan == (Say(heard), HangUp())
    assert rung(plan_of(steps(ring(line, OFFICE)), beginning(call))) == [OFFICE]
    assert sentences(plan_of(steps(ring(line), say("Leave us a note.")), beginning(call)))[0] == "Leave us a note."


def test_a_flow_in_which_nothing_happens_says_so() -> None:
    closed = HOURS | {"branches": HOURS["branches"][:1], "otherwise": []}
    assert plan_of(steps(closed), beginning()) == (Say(SORRY), HangUp())


def test_the_caller_of_an_internal_call_hears_its_announcement_first() -> None:
    announced = beginning(announcement="This is a test call.")
    plan = plan_of(steps(ring(OFFICE)), announced)
    assert (plan[0], rung(plan)) == (Say("This is a test call."), [OFFICE])
    assert plan_of(steps(ring(ANNA)), announced) == (Say("This is a test call."), HangUp())
    after = arriving_at(forward_in(plan).next_address, announced, result=ended("no_answer"))
    assert plan_of(steps(ring(OFFICE)), after) == (HangUp(),)


def test_a_version_that_lacks_the_step_begins_anew_rather_than_hanging_up() -> None:
    lost = beginning(place=Place("gone", 3), result=ended("no_answer"))
    assert rung(plan_of(steps(ring(OFFICE)), lost)) == [OFFICE]
    assert plan_of(steps(ring(OFFICE)), replace(lost, result=ended("completed", True))) == (HangUp(),)
    assert rung(plan_of(steps(ring(OFFICE)), beginning(place=Place("", 1), result=ended("busy")))) == [OFFICE]


def test_a_leg_of_the_full_form_names_its_step() -> None:
    assert forward_in(plan_of(steps(ring(OFFICE)), beginning())).targets[0].leg_address == (
        f"{BASE}/voice/leg/CA1?flow=7&step=s1.0"
    )
    short = program_of({"destinations": [{"to": OFFICE}]})
    assert forward_in(plan_of(short, beginning())).targets[0].leg_address == f"{BASE}/voice/leg/CA1"


@pytest.mark.parametrize(
    "text", ["", ".", "s1", "s1.", "S1.0", "s1.x", "s1.12345", "-1", "1.2.3", "a" * 17 + ".1", "٣"]
)
def test_an_address_that_holds_no_place_has_none(text: str) -> None:
    assert read_place(text) is None


def test_a_place_and_what_is_known_come_back_from_an_address() -> None:
    assert [read_place(str(place)) for place in (Place("s1", 3), Place("", 2))] == [Place("s1", 3), Place("", 2)]
    known = Known(Visit.of(10001, "Google & Co", "cpc", "Käse?"), "repeat", PBX, (("s1", "vip"), ("s2", "x")))
    assert read_known(known.query("s1"), Place("s1")) == replace(known, answers=(("s1", "vip"),))
    assert read_known(Known().query("s1"), Place("s1")) == Known()
    nothing = Known().with_outcome(Wanted("visit", "s1"), None).with_outcome(Wanted("caller", "s1"), "?")
    assert read_known(nothing.query("s1"), Place("s1")) == nothing == Known(Visit(), "")


def test_a_long_name_is_cut_once_and_stays_so() -> None:
    long = Visit.of(1, "😀" * 300, "x" * 300, "\ud800")
    assert Visit.of(1, long.source, long.medium, long.campaign) == long
    assert len(long.medium) == 100
    assert 0 < len(quote(long.source)) <= 400

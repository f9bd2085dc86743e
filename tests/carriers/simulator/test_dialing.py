"""<Dial>: who is rung, for how long, who wins, and what is reported about it."""

import threading
from dataclasses import replace
from email.utils import parsedate_to_datetime

import pytest

from router.carriers.simulator import AFTER_HANG_UP, AfterHangUp, CallerScript, Faults, Line
from router.carriers.simulator.call import Button
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
from tests.waiting import PATIENCE_SECONDS

INBOUND, FALLBACK, STATUS = "/voice/inbound", "/voice/fallback", "/voice/status"
EVENTS = "initiated ringing answered completed"
REPORTED = {"statusCallback": "/leg#rc=3&amp;rp=all", "statusCallbackEvent": EVENTS}


def forward(twiml: TwimlServer, *nouns: str, **attributes: str) -> None:
    """The usual document: forward, and ask /next how to go on."""
    twiml.pages[INBOUND] = response(dial(*nouns, action="/next", **attributes), "<Say>Unreachable</Say>")
    twiml.pages["/next"] = response("<Hangup/>")


def test_a_destination_answers_talks_and_hangs_up(twiml: TwimlServer, exchange: Exchanges) -> None:
    forward(twiml, number(SALES, **REPORTED), callerId=CALLER, timeout="20")
    call = exchange().call(CALLER, NUMBER)
    (leg,) = call.legs
    assert (leg.status, leg.seconds, leg.bridged, call.status) == ("completed", 60, True, "completed")
    assert call.seconds == 60, "with answerOnBridge the caller's leg is answered when somebody answers"
    (action,) = twiml.values("/next")
    assert (action["CallSid"], action["DialCallSid"]) == (call.sid, leg.sid)
    assert (action["DialCallStatus"], action["DialBridged"], action["DialCallDuration"]) == ("completed", "true", "60")
    assert "Unreachable" not in call.heard


def test_every_step_of_a_leg_is_reported_in_order(twiml: TwimlServer, exchange: Exchanges) -> None:
    forward(twiml, number(SALES, **REPORTED), callerId=CALLER)
    call = exchange().call(CALLER, NUMBER)
    events = twiml.values("/leg")
    assert [event["CallStatus"] for event in events] == ["initiated", "ringing", "in-progress", "completed"]
    assert [event["SequenceNumber"] for event in events] == ["0", "1", "2", "3"]
    assert {event["ParentCallSid"] for event in events} == {call.sid}
    assert {event["CallSid"] for event in events} == {call.legs[0].sid}
    assert {(event["To"], event["From"]) for event in events} == {(SALES, CALLER)}
    moments = [(parsedate_to_datetime(event["Timestamp"]) - START).total_seconds() for event in events]
    assert moments == [0, 1, 5, 65]
    assert [event.get("CallDuration") for event in events] == [None, None, None, "60"]
    assert twiml.paths() == [INBOUND, "/leg", "/leg", "/leg", "/leg", "/next", STATUS]


def test_only_the_events_that_were_asked_for_are_posted(twiml: TwimlServer, exchange: Exchanges) -> None:
    forward(twiml, number(SALES, statusCallback="/leg", statusCallbackEvent="answered"), number(OFFICE))
    exchange(lines={"*": Line.answers(after=2)}).call(CALLER, NUMBER)
    assert [event["CallStatus"] for event in twiml.values("/leg")] == ["in-progress"]


@pytest.mark.parametrize(
    ("line", "status", "seconds"),
    [(Line.is_busy(), "busy", 2), (Line.rings_out(), "no-answer", 25), (Line.fails(), "failed", 1)],
)
def test_a_destination_that_does_not_answer_says_why(
    twiml: TwimlServer, exchange: Exchanges, line: Line, status: str, seconds: int
) -> None:
    """Twilio rings about five seconds longer than it was told."""
    forward(twiml, number(SALES, **REPORTED), timeout="20")
    call = exchange(lines={SALES: line}).call(CALLER, NUMBER)
    (action,) = twiml.values("/next")
    assert (action["DialCallStatus"], action["DialBridged"]) == (status, "false")
    assert "DialCallDuration" not in action
    assert (twiml.values("/leg")[-1]["CallStatus"], twiml.values("/leg")[-1]["CallDuration"]) == (status, "0")
    assert call.ended_at is not None
    assert (call.ended_at - START).total_seconds() == seconds
    assert (call.answered_at, call.status) == (None, status)


def test_the_next_destination_is_rung_when_the_first_does_not_answer(twiml: TwimlServer, exchange: Exchanges) -> None:
    forward(twiml, SALES)
    twiml.pages["/next"] = response(dial(OFFICE, action="/last"))
    twiml.pages["/last"] = response("<Hangup/>")
    call = exchange(lines={SALES: Line.is_busy(), OFFICE: Line.answers()}).call(CALLER, NUMBER)
    assert [(leg.to, leg.status) for leg in call.legs] == [(SALES, "busy"), (OFFICE, "completed")]
    assert twiml.values("/last")[0]["DialCallStatus"] == "completed"


def test_several_ring_at_once_and_the_first_to_answer_wins(twiml: TwimlServer, exchange: Exchanges) -> None:
    forward(twiml, number(SALES, **REPORTED), number(OFFICE, **REPORTED))
    lines = {SALES: Line.answers(after=9), OFFICE: Line.answers(after=3, talks=10)}
    call = exchange(lines=lines).call(CALLER, NUMBER)
    assert [(leg.to, leg.status) for leg in call.legs] == [(SALES, "canceled"), (OFFICE, "completed")]
    (action,) = twiml.values("/next")
    assert (action["DialCallSid"], action["DialCallStatus"]) == (call.legs[1].sid, "completed")


def test_in_sequence_each_has_its_own_time(twiml: TwimlServer, exchange: Exchanges) -> None:
    forward(twiml, SALES, OFFICE, sequential="true", timeout="10")
    call = exchange(lines={SALES: Line.rings_out(), OFFICE: Line.answers(after=3)}).call(CALLER, NUMBER)
    assert [(leg.to, leg.status) for leg in call.legs] == [(SALES, "no-answer"), (OFFICE, "completed")]
    assert call.bridged_at is not None
    assert (call.bridged_at - START).total_seconds() == 18


def test_a_machine_that_answers_looks_like_a_person(twiml: TwimlServer, exchange: Exchanges) -> None:
    forward(twiml, SALES)
    exchange(lines={SALES: Line.voicemail(after=20, seconds=30)}).call(CALLER, NUMBER)
    assert twiml.values("/next")[0]["DialCallDuration"] == "30"


@pytest.mark.parametrize(
    ("line", "way", "answered_by", "duration"),
    [
        (Line.answers(), "Enable", "human", "2500"),
        (Line.voicemail(), "Enable", "machine_start", "4000"),
        (Line.voicemail(), "DetectMessageEnd", "machine_end_beep", "9000"),
        (Line.answers(talks=2), "Enable", "unknown", "2000"),
    ],
)
def test_who_answered_is_told_while_the_call_goes_on(
    twiml: TwimlServer, exchange: Exchanges, line: Line, way: str, answered_by: str, duration: str
) -> None:
    detection = {"machineDetection": way, "amdStatusCallback": "/detected#rc=2&amp;rp=all"}
    forward(twiml, number(SALES, **REPORTED, **detection))
    call = exchange(lines={SALES: line}).call(CALLER, NUMBER)
    (told,) = twiml.values("/detected")
    assert (told["CallSid"], told["AnsweredBy"], told["MachineDetectionDuration"]) == (
        call.legs[0].sid,
        answered_by,
        duration,
    )
    assert twiml.paths().index("/detected") == 4, "after the leg was answered, before it is completed"


def test_a_machine_that_is_not_detected_in_time_is_unknown(twiml: TwimlServer, exchange: Exchanges) -> None:
    forward(
        twiml, number(SALES, machineDetection="DetectMessageEnd", machineDetectionTimeout="5", amdStatusCallback="/d")
    )
    exchange(lines={SALES: Line.voicemail()}).call(CALLER, NUMBER)
    assert twiml.values("/d")[0]["AnsweredBy"] == "unknown"


def test_without_an_action_the_next_verb_is_played(twiml: TwimlServer, exchange: Exchanges) -> None:
    twiml.pages[INBOUND] = response(dial(SALES), "<Say>Nobody is here</Say>")
    assert exchange(lines={SALES: Line.is_busy()}).call(CALLER, NUMBER).heard == ["Nobody is here"]


def test_without_answer_on_bridge_the_caller_pays_for_ringing(twiml: TwimlServer, exchange: Exchanges) -> None:
    forward(twiml, SALES, answerOnBridge="false")
    call = exchange(lines={SALES: Line.answers(after=5, talks=10)}).call(CALLER, NUMBER)
    assert (call.seconds, call.legs[0].seconds) == (15, 10)


def test_a_caller_who_gives_up_while_it_rings_is_never_connected(twiml: TwimlServer, exchange: Exchanges) -> None:
    forward(twiml, number(SALES, **REPORTED))
    call = exchange(lines={SALES: Line.answers(after=12)}).call(CALLER, NUMBER, CallerScript(gives_up_after=8))
    assert (call.caller_hung_up, call.answered_at, call.status) == (True, None, "no-answer")
    assert twiml.values("/leg")[-1]["CallStatus"] == "canceled"
    (action,) = twiml.values("/next")
    assert (action["DialCallStatus"], action["DialBridged"]) == ("canceled", "false")
    (status,) = twiml.values(STATUS)
    assert (status["CallStatus"], status["CallDuration"]) == ("no-answer", "0")


def test_the_action_may_never_be_asked_after_a_caller_gave_up(twiml: TwimlServer, exchange: Exchanges) -> None:
    forward(twiml, SALES)
    faults = Faults(after_hang_up=AfterHangUp("canceled", asks_action=False))
    call = exchange(faults=faults).call(CALLER, NUMBER, CallerScript(gives_up_after=2))
    assert (call.status, twiml.paths()) == ("canceled", [INBOUND, STATUS])


@pytest.mark.parametrize("after", ["no-answer", "completed", "unasked"])
@pytest.mark.parametrize("status_first", [False, True])
def test_accounts_differ_in_what_follows_a_caller_who_gives_up(
    twiml: TwimlServer, exchange: Exchanges, after: str, status_first: bool
) -> None:
    forward(twiml, number(SALES, **REPORTED))
    faults = Faults(after_hang_up=replace(AFTER_HANG_UP[after], status_first=status_first))
    call = exchange(faults=faults).call(CALLER, NUMBER, CallerScript(gives_up_after=2))
    last = "completed" if after == "completed" else "no-answer"
    ends = [] if after == "unasked" else ["/next"]
    assert twiml.paths()[-1 - len(ends) :] == ([STATUS, *ends] if status_first else [*ends, STATUS])
    assert twiml.values("/leg")[-1]["CallStatus"] == "canceled"
    assert [action["DialCallStatus"] for action in twiml.values("/next")] == ["canceled"] * len(ends)
    told = twiml.values("/next") + twiml.values(STATUS)
    assert {request["CallStatus"] for request in told} == {last}
    assert (call.status, call.answered_at, twiml.values(STATUS)[0]["CallDuration"]) == (last, None, "0")


def test_the_status_callback_may_come_before_the_action_of_a_talk_too(twiml: TwimlServer, exchange: Exchanges) -> None:
    forward(twiml, SALES)
    faults = Faults(after_hang_up=AfterHangUp(status_first=True))
    exchange(faults=faults).call(CALLER, NUMBER, CallerScript(talks=20))
    assert twiml.paths() == [INBOUND, STATUS, "/next"]
    assert {request["CallStatus"] for _, request in twiml.asked[1:]} == {"completed"}
    assert twiml.values(STATUS)[0]["CallDuration"] == "20"


def test_in_parallel_the_status_callback_is_under_way_while_the_action_is_asked(
    twiml: TwimlServer, exchange: Exchanges
) -> None:
    forward(twiml, SALES)
    together = threading.Barrier(2)

    def meet(values: dict[str, str]) -> str:
        together.wait(PATIENCE_SECONDS)
        return response("<Hangup/>")

    twiml.pages |= {"/next": meet, STATUS: meet}
    call = exchange(faults=Faults(parallel=True)).call(CALLER, NUMBER, CallerScript(gives_up_after=2))
    assert call.errors == []


def test_a_caller_may_hang_up_in_the_second_step(twiml: TwimlServer, exchange: Exchanges) -> None:
    forward(twiml, SALES)
    twiml.pages["/next"] = response(dial(OFFICE, action="/last"))
    lines = {SALES: Line.is_busy(after=2), OFFICE: Line.rings_out()}
    call = exchange(lines=lines).call(CALLER, NUMBER, CallerScript(gives_up_after=8))
    assert call.ended_at is not None
    assert [(leg.to, leg.status) for leg in call.legs] == [(SALES, "busy"), (OFFICE, "canceled")]
    assert (call.ended_at - START).total_seconds() == 8


def test_a_caller_who_hangs_up_first_ends_the_talk(twiml: TwimlServer, exchange: Exchanges) -> None:
    forward(twiml, number(SALES, **REPORTED))
    call = exchange().call(CALLER, NUMBER, CallerScript(talks=25))
    assert (call.caller_hung_up, call.legs[0].seconds, call.status) == (True, 25, "completed")
    assert twiml.values("/next")[0]["DialBridged"] == "true"
    assert twiml.values("/leg")[-1]["CallDuration"] == "25"


@pytest.mark.parametrize(("star", "status"), [("ringing", "canceled"), ("in-progress", "completed")])
@pytest.mark.parametrize("hangup_on_star", ["true", "false"])
def test_a_star_leaves_the_dial_where_it_may(
    twiml: TwimlServer, exchange: Exchanges, star: str, status: str, hangup_on_star: str
) -> None:
    """The caller stays, and hears what comes next."""
    simulator = exchange(lines={SALES: Line.answers(after=5, talks=60)})
    forward(twiml, number(SALES, **REPORTED), OFFICE, hangupOnStar=hangup_on_star, sequential="true")
    twiml.pages["/next"] = response("<Say>Another one?</Say>")

    def press(values: dict[str, str]) -> str:
        call = simulator.find(values["ParentCallSid"])
        if call is not None and values["CallStatus"] == star:
            simulator.press(call, Button("press", digits="*"))
        return response()

    twiml.pages["/leg"] = press
    call = simulator.call(CALLER, NUMBER)
    if hangup_on_star == "false":
        assert (call.legs[0].status, call.legs[0].seconds) == ("completed", 60)
        return
    assert [leg.status for leg in call.legs] == [status]
    assert (call.legs[0].seconds, call.caller_hung_up, call.heard) == (0, False, ["Another one?"])
    assert twiml.values("/next")[0]["DialCallStatus"] == status


def test_a_talk_ends_at_its_time_limit(twiml: TwimlServer, exchange: Exchanges) -> None:
    forward(twiml, SALES, timeLimit="30")
    assert exchange(lines={SALES: Line.answers(talks=None)}).call(CALLER, NUMBER).legs[0].seconds == 30


def test_a_whisper_that_hangs_up_keeps_the_caller_away(twiml: TwimlServer, exchange: Exchanges) -> None:
    forward(twiml, number(SALES, url="/whisper", **REPORTED))
    twiml.pages["/whisper"] = response("<Say>Call from the shop</Say>", "<Hangup/>")
    call = exchange().call(CALLER, NUMBER)
    (whisper,) = twiml.values("/whisper")
    assert (whisper["CallSid"], whisper["ParentCallSid"]) == (call.legs[0].sid, call.sid)
    (action,) = twiml.values("/next")
    assert (action["DialCallStatus"], action["DialBridged"]) == ("completed", "false")
    assert call.answered_leg is None


def test_a_key_in_the_whisper_accepts_the_call(twiml: TwimlServer, exchange: Exchanges) -> None:
    forward(twiml, number(SALES, url="/whisper"))
    twiml.pages["/whisper"] = response('<Gather numDigits="1" action="/accept"/>', "<Hangup/>")
    twiml.pages["/accept"] = response("<Say>Connecting</Say>")
    assert exchange(lines={SALES: Line.answers(digits="1")}).call(CALLER, NUMBER).answered_leg is not None
    assert exchange(lines={SALES: Line.answers()}).call(CALLER, NUMBER).answered_leg is None
    assert twiml.values("/accept")[0]["Digits"] == "1"


def test_a_whisper_that_asks_for_a_key_goes_on_without_one_where_it_says_so(
    twiml: TwimlServer, exchange: Exchanges
) -> None:
    forward(twiml, number(SALES, url="/whisper"))
    twiml.pages["/whisper"] = response('<Gather action="/accept" actionOnEmptyResult="true"/>')
    twiml.pages["/accept"] = response("<Hangup/>")
    assert exchange(lines={SALES: Line.answers()}).call(CALLER, NUMBER).answered_leg is None
    assert twiml.values("/accept")[0]["Digits"] == ""


def test_a_dial_in_a_whisper_is_refused(twiml: TwimlServer, exchange: Exchanges) -> None:
    forward(twiml, number(SALES, url="/whisper"))
    twiml.pages["/whisper"] = response(dial(OFFICE))
    call = exchange().call(CALLER, NUMBER)
    assert call.errors[0].startswith("13201")
    assert call.answered_leg is None


@pytest.mark.parametrize("caller_id", ["anonymous", "+266696687", "+14155550777", "sip:a@b.example"])
def test_a_foreign_or_invalid_caller_id_fails_the_leg(twiml: TwimlServer, exchange: Exchanges, caller_id: str) -> None:
    forward(twiml, number(SALES, **REPORTED), callerId=caller_id)
    call = exchange().call(CALLER, NUMBER)
    assert (call.legs[0].status, call.errors[0].split(":")[0]) == ("failed", "13214")
    assert twiml.values("/next")[0]["DialCallStatus"] == "failed"
    assert twiml.values("/leg") == []


@pytest.mark.parametrize("caller_id", [CALLER, NUMBER, "+14155550777"])
def test_the_caller_the_number_and_owned_numbers_may_be_shown(
    twiml: TwimlServer, exchange: Exchanges, caller_id: str
) -> None:
    forward(twiml, SALES, callerId=caller_id)
    assert exchange(owned=["+14155550777"]).call(CALLER, NUMBER).errors == []


def test_a_withheld_caller_may_not_be_shown_under_his_own_word(twiml: TwimlServer, exchange: Exchanges) -> None:
    forward(twiml, SALES, callerId="anonymous")
    assert exchange().call("anonymous", NUMBER).legs[0].status == "failed"


@pytest.mark.parametrize(
    ("noun", "code"),
    [
        (number("sales"), "13223"),
        (number("+1415555"), "13224"),
        ("<Sip>sales@example</Sip>", "13254"),
    ],
)
def test_nobody_can_be_reached_at_an_invalid_address(
    twiml: TwimlServer, exchange: Exchanges, noun: str, code: str
) -> None:
    forward(twiml, noun)
    call = exchange().call(CALLER, NUMBER)
    assert call.errors[0].split(":")[0] == code
    assert twiml.values("/next")[0]["DialCallStatus"] == "failed"


def test_a_sip_address_is_rung(twiml: TwimlServer, exchange: Exchanges) -> None:
    forward(twiml, "<Sip>sip:desk@pbx.example.com</Sip>")
    assert exchange().call(CALLER, NUMBER).answered_leg is not None


def test_a_recorded_talk_is_reported_with_its_address(twiml: TwimlServer, exchange: Exchanges) -> None:
    track = {"recordingTrack": "inbound", "recordingStatusCallback": "/voice/recording"}
    forward(twiml, SALES, record="record-from-answer-dual", **track)
    call = exchange().call(CALLER, NUMBER)
    (recording,) = twiml.values("/voice/recording")
    assert (recording["RecordingTrack"], recording["RecordingChannels"]) == ("inbound", "2")
    assert (recording["CallSid"], recording["RecordingDuration"]) == (call.sid, "60")
    assert twiml.values("/next")[0]["RecordingUrl"] == recording["RecordingUrl"]


def test_callbacks_may_come_late(twiml: TwimlServer, exchange: Exchanges) -> None:
    forward(twiml, number(SALES, **REPORTED))
    exchange(faults=Faults(late=30)).call(CALLER, NUMBER)
    states = [(path, values.get("CallStatus")) for path, values in twiml.asked]
    assert states == [
        (INBOUND, "ringing"),
        ("/leg", "initiated"),
        ("/leg", "ringing"),
        ("/leg", "in-progress"),
        ("/next", "in-progress"),
        ("/leg", "completed"),
        (STATUS, "completed"),
    ]


def test_callbacks_may_come_twice(twiml: TwimlServer, exchange: Exchanges) -> None:
    forward(twiml, number(SALES, **REPORTED))
    exchange(faults=Faults(twice=True)).call(CALLER, NUMBER)
    assert [event["SequenceNumber"] for event in twiml.values("/leg")] == list("00112233")
    assert (len(twiml.values("/next")), len(twiml.values(STATUS))) == (2, 2)


def test_callbacks_may_come_in_disorder(twiml: TwimlServer, exchange: Exchanges) -> None:
    forward(twiml, number(SALES, **REPORTED))
    exchange(faults=Faults(disorder=True)).call(CALLER, NUMBER)
    assert twiml.paths() == [INBOUND, "/next", STATUS, "/leg", "/leg", "/leg", "/leg"]
    assert [event["SequenceNumber"] for event in twiml.values("/leg")] == list("3210")
    moments = [parsedate_to_datetime(event["Timestamp"]) for event in twiml.values("/leg")]
    assert moments == sorted(moments, reverse=True), "the carrier's clock tells the true order"

"""<Gather>, <Record>, <Enqueue>, <Start> and <Stop>: what the caller does in them, and what is told of it."""

import pytest

from router.carriers.simulator import CallerScript, Line
from router.carriers.simulator.call import Button
from tests.carriers.simulator.conftest import CALLER, NUMBER, SALES, Exchanges, TwimlServer, dial, response

INBOUND, FALLBACK, STATUS = "/voice/inbound", "/voice/fallback", "/voice/status"
HANGUP = response("<Hangup/>")
SORRY = "<Say>Nobody pressed a key</Say>"


@pytest.mark.parametrize(
    ("attributes", "typed", "told", "finished_on"),
    [
        ('numDigits="1"', "1", "1", ""),
        ('numDigits="4"', "12345", "1234", ""),
        ("", "1234#", "1234", "#"),
        ('finishOnKey="*"', "12#3*", "12#3", "*"),
        ('finishOnKey=""', "12#*", "12#*", ""),
        ('numDigits="5" timeout="2"', "12", "12", ""),
        ('actionOnEmptyResult="true"', "", "", ""),
        ('actionOnEmptyResult="true"', "#", "", "#"),
    ],
)
def test_keys_are_gathered_up_to_their_number_a_key_or_a_silence(
    twiml: TwimlServer, exchange: Exchanges, attributes: str, typed: str, told: str, finished_on: str
) -> None:
    twiml.pages |= {INBOUND: response(f'<Gather action="/menu" {attributes}/>', SORRY), "/menu": HANGUP}
    call = exchange().call(CALLER, NUMBER, CallerScript(digits=typed))
    (menu,) = twiml.values("/menu")
    assert (menu["Digits"], menu["FinishedOnKey"], menu["msg"]) == (told, finished_on, "Gather End")
    assert (menu["CallSid"], menu["CallStatus"], call.heard) == (call.sid, "in-progress", [])


@pytest.mark.parametrize(
    ("attributes", "typed", "seconds"),
    [("", "", 5), ('timeout="9"', "", 9), ("", "#", 0), ('input="speech" timeout="3"', "1", 3)],
)
def test_without_a_key_the_next_verb_is_played(
    twiml: TwimlServer, exchange: Exchanges, attributes: str, typed: str, seconds: int
) -> None:
    twiml.pages[INBOUND] = response(f"<Gather {attributes}/>")
    call = exchange().call(CALLER, NUMBER, CallerScript(digits=typed))
    assert (call.seconds, twiml.paths()) == (seconds, [INBOUND, STATUS])


def test_a_menu_without_an_action_asks_its_own_document(twiml: TwimlServer, exchange: Exchanges) -> None:
    answers = [response('<Gather numDigits="1"/>'), HANGUP]
    twiml.pages[INBOUND] = lambda values: answers.pop(0)
    exchange().call(CALLER, NUMBER, CallerScript(digits="7"))
    assert [values.get("Digits") for values in twiml.values(INBOUND)] == [None, "7"]


def test_two_menus_are_answered_one_after_the_other(twiml: TwimlServer, exchange: Exchanges) -> None:
    twiml.pages |= {
        INBOUND: response('<Gather numDigits="1" action="/second"/>'),
        "/second": response('<Gather numDigits="1" action="/third"/>'),
        "/third": HANGUP,
    }
    exchange().call(CALLER, NUMBER, CallerScript(digits="12"))
    assert (twiml.values("/second")[0]["Digits"], twiml.values("/third")[0]["Digits"]) == ("1", "2")


@pytest.mark.parametrize(
    ("barge_in", "heard", "seconds"), [("true", ["♪ /long.mp3"], 0), ("false", ["♪ /long.mp3", "Press one"], 6)]
)
def test_a_key_ends_what_is_said_unless_it_may_not(
    twiml: TwimlServer, exchange: Exchanges, barge_in: str, heard: list[str], seconds: int
) -> None:
    simulator = exchange()

    def pressing(values: dict[str, str]) -> str:
        call = simulator.find(values["CallSid"])
        assert call is not None
        simulator.press(call, Button("press", digits="3"))
        said = "<Play>/long.mp3</Play><Say>Press one</Say>"
        return response(f'<Gather numDigits="1" action="/menu" bargeIn="{barge_in}">{said}</Gather>')

    twiml.pages |= {INBOUND: pressing, "/menu": HANGUP}
    call = simulator.call(CALLER, NUMBER)
    assert (twiml.values("/menu")[0]["Digits"], call.heard, call.seconds) == ("3", heard, seconds)


def test_a_caller_may_hang_up_in_a_menu(twiml: TwimlServer, exchange: Exchanges) -> None:
    twiml.pages[INBOUND] = response('<Gather action="/menu" timeout="60"/>')
    call = exchange().call(CALLER, NUMBER, CallerScript(gives_up_after=4))
    assert (call.caller_hung_up, call.status, call.seconds, twiml.paths()) == (True, "completed", 4, [INBOUND, STATUS])


RECORD = '<Record action="/done" recordingStatusCallback="/recording" {}/>'


@pytest.mark.parametrize(
    ("attributes", "after", "digits", "seconds", "goes_on"),
    [
        ("", "hangup", "hangup", 12, False),
        ("", "#", "#", 12, True),
        ('finishOnKey="*"', "*", "*", 12, True),
        ('finishOnKey="*"', "#", None, 12, True),
        ("", "", None, 12, True),
        ('trim="do-not-trim" timeout="3"', "", None, 15, True),
        ('maxLength="8"', "hangup", None, 8, True),
    ],
)
def test_a_voicemail_ends_in_many_ways(
    twiml: TwimlServer,
    exchange: Exchanges,
    attributes: str,
    after: str,
    digits: str | None,
    seconds: int,
    goes_on: bool,
) -> None:
    twiml.pages |= {INBOUND: response(RECORD.format(attributes)), "/done": response("<Say>Thank you</Say>")}
    call = exchange().call(CALLER, NUMBER, CallerScript(message=12, after_message=after))
    (done,) = twiml.values("/done")
    assert (done.get("Digits"), done["RecordingDuration"]) == (digits, str(seconds))
    assert done["CallStatus"] == ("in-progress" if goes_on else "completed")
    (recording,) = twiml.values("/recording")
    assert (recording["RecordingSid"], recording["RecordingDuration"]) == (done["RecordingSid"], str(seconds))
    assert recording["RecordingUrl"] == done["RecordingUrl"]
    assert (recording["RecordingStatus"], recording["RecordingSource"]) == ("completed", "RecordVerb")
    assert (call.heard, call.caller_hung_up) == (["beep", "Thank you"] if goes_on else ["beep"], not goes_on)


def test_a_voicemail_to_which_nothing_is_said_is_none(twiml: TwimlServer, exchange: Exchanges) -> None:
    twiml.pages[INBOUND] = response(RECORD.format('playBeep="false" timeout="4"'), "<Say>Goodbye</Say>")
    call = exchange().call(CALLER, NUMBER, CallerScript(message=0))
    assert (call.heard, twiml.paths()) == (["Goodbye"], [INBOUND, STATUS])


def test_a_voicemail_begins_after_a_line_that_was_not_answered(twiml: TwimlServer, exchange: Exchanges) -> None:
    twiml.pages |= {
        INBOUND: response(dial(SALES, action="/next")),
        "/next": response("<Say>Please leave a message</Say>", RECORD.format("")),
        "/done": HANGUP,
    }
    call = exchange(lines={SALES: Line.is_busy()}).call(CALLER, NUMBER)
    assert twiml.paths()[:4] == [INBOUND, "/next", "/recording", "/done"]
    assert (call.status, twiml.values(STATUS)[0]["CallStatus"]) == ("completed", "completed")


QUEUE = '<Enqueue waitUrl="/wait" action="/left">sales</Enqueue>'


def test_who_waits_hears_the_same_again_until_he_is_let_out(twiml: TwimlServer, exchange: Exchanges) -> None:
    waits = [response("<Play>/music.mp3</Play>"), response("<Say>Soon</Say>"), response("<Leave/>", "<Say>No</Say>")]
    twiml.pages |= {INBOUND: response(QUEUE), "/wait": lambda values: waits.pop(0), "/left": HANGUP}
    call = exchange().call(CALLER, NUMBER)
    asked = twiml.values("/wait")
    assert [values["QueueTime"] for values in asked] == ["0", "5", "6"]
    assert {(values["QueuePosition"], values["CallStatus"]) for values in asked} == {("1", "in-progress")}
    (left,) = twiml.values("/left")
    assert (left["QueueResult"], left["QueueTime"], left["QueueSid"]) == ("leave", "6", asked[0]["QueueSid"])
    assert (call.heard, call.errors) == (["♪ /music.mp3", "Soon"], [])


def test_without_an_action_the_verb_behind_the_queue_is_played(twiml: TwimlServer, exchange: Exchanges) -> None:
    twiml.pages |= {
        INBOUND: response('<Enqueue waitUrl="/wait">sales</Enqueue>', "<Say>Closed</Say>"),
        "/wait": response("<Leave/>"),
    }
    assert exchange().call(CALLER, NUMBER).heard == ["Closed"]


def test_a_key_may_lead_out_of_a_queue(twiml: TwimlServer, exchange: Exchanges) -> None:
    twiml.pages |= {
        INBOUND: response(QUEUE),
        "/wait": response('<Gather numDigits="1" action="/key"><Say>Press one for a message</Say></Gather>'),
        "/key": response("<Leave/>"),
        "/left": HANGUP,
    }
    exchange().call(CALLER, NUMBER, CallerScript(digits="1"))
    assert twiml.paths() == [INBOUND, "/wait", "/key", "/left", STATUS]


def test_who_hangs_up_in_a_queue_is_reported(twiml: TwimlServer, exchange: Exchanges) -> None:
    twiml.pages |= {INBOUND: response(QUEUE), "/wait": response('<Play loop="0">/music.mp3</Play>'), "/left": HANGUP}
    call = exchange().call(CALLER, NUMBER, CallerScript(gives_up_after=30))
    (left,) = twiml.values("/left")
    assert (left["QueueResult"], left["QueueTime"], left["CallStatus"]) == ("hangup", "30", "completed")
    assert (call.caller_hung_up, call.seconds) == (True, 30)


@pytest.mark.parametrize(
    ("wait", "code"), [((500, "text/xml", ""), "11200"), (response(dial(SALES)), "12200"), (response(), "11215")]
)
def test_a_wait_that_cannot_be_played_goes_to_the_fallback_address(
    twiml: TwimlServer, exchange: Exchanges, wait: str, code: str
) -> None:
    """So does one that takes no time: it would be asked for for ever."""
    twiml.pages |= {INBOUND: response(QUEUE), "/wait": wait, FALLBACK: response("<Say>One moment</Say>")}
    call = exchange().call(CALLER, NUMBER)
    if code == "11215":
        assert call.errors[0].startswith(code)
        return
    (told,) = twiml.values(FALLBACK)
    assert (told["ErrorCode"], told["ErrorUrl"]) == (code, f"{twiml.url}/wait")
    assert call.heard == ["One moment"]


def test_a_recording_may_run_beside_the_call_until_it_is_stopped_or_the_call_ends(
    twiml: TwimlServer, exchange: Exchanges
) -> None:
    callback = f'recordingStatusCallback="{twiml.url}/recording"'
    twiml.pages |= {
        INBOUND: response(
            f'<Start><Recording name="menu" channels="mono" track="inbound" {callback}/></Start>',
            '<Pause length="4"/>',
            '<Stop><Recording name="menu"/></Stop>',
            f"<Start><Recording {callback}/></Start>",
            dial(SALES, action="/next"),
        ),
        "/next": HANGUP,
    }
    exchange(lines={SALES: Line.answers(after=5, talks=20)}).call(CALLER, NUMBER)
    menu, talk = twiml.values("/recording")
    assert (menu["RecordingDuration"], menu["RecordingChannels"], menu["RecordingTrack"]) == ("4", "1", "inbound")
    assert (talk["RecordingDuration"], talk["RecordingChannels"], talk["RecordingTrack"]) == ("25", "2", "both")
    assert talk["RecordingSource"] == "StartCallRecordingTwiML"
    assert twiml.paths() == [INBOUND, "/recording", "/next", "/recording", STATUS]


def test_a_stream_is_checked_and_not_sent(twiml: TwimlServer, exchange: Exchanges) -> None:
    start = '<Start><Stream url="wss://stream.example/s" name="s"/></Start><Stop><Stream name="s"/></Stop>'
    twiml.pages[INBOUND] = response(start, "<Say>Hello</Say>")
    call = exchange().call(CALLER, NUMBER)
    assert (call.errors, call.heard) == ([], ["Hello"])


def test_behind_another_verb_a_call_is_answered_before_anybody_answers(twiml: TwimlServer, exchange: Exchanges) -> None:
    """`answerOnBridge` counts when <Dial> is the first verb."""
    twiml.pages[INBOUND] = response('<Pause length="2"/>', dial(SALES))
    call = exchange(lines={SALES: Line.is_busy(after=3)}).call(CALLER, NUMBER)
    assert (call.status, call.seconds) == ("completed", 3)


def test_every_document_that_fails_goes_to_the_fallback_address(twiml: TwimlServer, exchange: Exchanges) -> None:
    """Also a later one than the first that failed: only a fallback that fails itself ends in an apology."""
    twiml.pages |= {
        INBOUND: (500, "text/xml", ""),
        FALLBACK: lambda values: response(
            dial(SALES, action="/next") if values["ErrorUrl"].endswith(INBOUND) else "<Say>Bye</Say>"
        ),
    }
    twiml.pages["/next"] = (500, "text/xml", "")
    call = exchange().call(CALLER, NUMBER)
    assert [values["ErrorUrl"] for values in twiml.values(FALLBACK)] == [f"{twiml.url}{INBOUND}", f"{twiml.url}/next"]
    assert call.heard == ["Bye"]

"""The simulator plays documents as Twilio does, and refuses what Twilio refuses."""

import threading
from typing import Any

import pytest

from router.carriers.simulator import CallerScript, Faults, Line, Signalling
from router.carriers.simulator.player import APOLOGY
from router.carriers.simulator.stage import split_overrides
from tests.carriers.simulator.conftest import (
    CALLER,
    NUMBER,
    SALES,
    Exchanges,
    Page,
    TwimlServer,
    dial,
    response,
)

INBOUND, FALLBACK, STATUS = "/voice/inbound", "/voice/fallback", "/voice/status"
HANGUP = response("<Hangup/>")


def test_an_inbound_call_says_who_calls_whom(twiml: TwimlServer, exchange: Exchanges) -> None:
    twiml.pages[INBOUND] = HANGUP
    call = exchange().call(CALLER, NUMBER)
    ((path, values), (_, status)) = twiml.asked
    assert path == INBOUND
    assert (values["From"], values["To"], values["CallStatus"]) == (CALLER, NUMBER, "ringing")
    assert (values["CallSid"], values["Direction"], values["FromCity"]) == (call.sid, "inbound", "")
    assert (status["CallStatus"], status["CallDuration"], status["CallSid"]) == ("completed", "0", call.sid)


def test_what_the_network_says_of_a_call_is_told_with_every_request(twiml: TwimlServer, exchange: Exchanges) -> None:
    twiml.pages[INBOUND] = response("<Redirect>/next</Redirect>")
    twiml.pages["/next"] = HANGUP
    said = Signalling("+4930901820", "TN-Validation-Passed-A", "<sip:+4930901820@192.0.2.1>;reason=unconditional")
    exchange().call(CALLER, NUMBER, signalling=said)
    assert twiml.paths() == [INBOUND, "/next", STATUS]
    for _, values in twiml.asked:
        assert (values["To"], values["ForwardedFrom"], values["StirVerstat"]) == (
            NUMBER,
            "+4930901820",
            said.stir_verstat,
        )
        assert values["SipHeader_Diversion"] == said.diversion


def test_what_the_network_does_not_say_is_left_out(twiml: TwimlServer, exchange: Exchanges) -> None:
    twiml.pages[INBOUND] = HANGUP
    exchange().call(CALLER, NUMBER)
    assert not {"ForwardedFrom", "StirVerstat", "SipHeader_Diversion"} & set(twiml.values(INBOUND)[0])


def test_what_is_said_and_played_is_heard_and_takes_time(twiml: TwimlServer, exchange: Exchanges) -> None:
    twiml.pages[INBOUND] = response('<Say language="de-DE">Guten Tag</Say><Play>/a.mp3</Play><Pause length="7"/>')
    call = exchange().call(CALLER, NUMBER)
    assert (call.heard, call.status) == (["Guten Tag", "♪ /a.mp3"], "completed")
    assert call.seconds == 13


def test_a_redirect_is_followed_relative_to_its_document(twiml: TwimlServer, exchange: Exchanges) -> None:
    twiml.pages |= {INBOUND: response("<Redirect>other/next</Redirect>"), "/voice/other/next": HANGUP}
    exchange().call(CALLER, NUMBER)
    assert twiml.paths()[:2] == [INBOUND, "/voice/other/next"]


def test_an_http_redirect_is_followed_and_relative_addresses_count_from_its_end(
    twiml: TwimlServer, exchange: Exchanges
) -> None:
    twiml.pages |= {
        INBOUND: (307, "Location:/moved/here", ""),
        "/moved/here": response('<Redirect method="GET">there</Redirect>'),
        "/moved/there": HANGUP,
    }
    exchange().call(CALLER, NUMBER)
    assert twiml.paths()[:3] == [INBOUND, "/moved/here", "/moved/there"]


@pytest.mark.parametrize(("reason", "status"), [("busy", "busy"), ("rejected", "no-answer")])
def test_a_rejected_call_is_never_answered(twiml: TwimlServer, exchange: Exchanges, reason: str, status: str) -> None:
    twiml.pages[INBOUND] = response(f'<Reject reason="{reason}"/>')
    call = exchange().call(CALLER, NUMBER)
    assert (call.status, call.answered_at) == (status, None)


def test_a_menu_tells_which_keys_were_pressed(twiml: TwimlServer, exchange: Exchanges) -> None:
    menu = '<Gather numDigits="1" action="/menu"><Say>Press one</Say></Gather><Say>No key</Say>'
    twiml.pages |= {INBOUND: response(menu), "/menu": response("<Say>Thank you</Say>")}
    call = exchange().call(CALLER, NUMBER, CallerScript(digits="12"))
    assert twiml.values("/menu")[0]["Digits"] == "1"
    assert call.heard == ["Press one", "Thank you"]
    silent = exchange().call(CALLER, NUMBER)
    assert silent.heard == ["Press one", "No key"]


def test_a_voicemail_is_recorded_and_its_address_told(twiml: TwimlServer, exchange: Exchanges) -> None:
    record = '<Record action="/done" maxLength="120" recordingStatusCallback="/voice/recording"/>'
    twiml.pages |= {INBOUND: response("<Say>After the tone</Say>", record), "/done": HANGUP}
    call = exchange().call(CALLER, NUMBER, CallerScript(message=12))
    (recording,) = twiml.values("/voice/recording")
    assert (recording["CallSid"], recording["RecordingDuration"]) == (call.sid, "12")
    assert recording["RecordingUrl"].startswith("https://")
    assert twiml.values("/done")[0]["Digits"] == "hangup"
    assert (call.caller_hung_up, call.status) == (True, "completed")


def test_a_recording_without_an_action_asks_its_own_document_again(twiml: TwimlServer, exchange: Exchanges) -> None:
    answers = [response('<Record maxLength="5"/>'), HANGUP]
    twiml.pages[INBOUND] = lambda values: answers.pop(0)
    exchange().call(CALLER, NUMBER, CallerScript(message=60))
    assert twiml.paths() == [INBOUND, INBOUND, STATUS]


def test_a_document_that_asks_itself_for_ever_comes_to_an_end(twiml: TwimlServer, exchange: Exchanges) -> None:
    twiml.pages[INBOUND] = response('<Record maxLength="5"/>')
    call = exchange().call(CALLER, NUMBER, CallerScript(message=60))
    assert call.heard[-1] == APOLOGY
    assert any(error.startswith("11215") for error in call.errors)


REFUSED: list[tuple[Page, int]] = [
    ((500, "text/xml", HANGUP), 11200),
    ((404, "text/html", "nothing here"), 11200),
    ((200, "application/json", "{}"), 12300),
    ((200, "", HANGUP), 12300),
    ((200, "text/xml", ""), 11770),
    ("<Response><Dial>", 12100),
    ("<!DOCTYPE x><Response/>", 12100),
    ("<response/>", 12200),
    (response("<Transfer/>"), 12200),
    (response("<say>hello</say>"), 12200),
    (response('<Dial answeronbridge="true">+14155550111</Dial>'), 12200),
    (response('<Dial timeout="soon">+14155550111</Dial>'), 12200),
    (response("<Dial><Number statusCallbackEvent=\"['ringing']\">+14155550111</Number></Dial>"), 12200),
    (response("<Dial>" + "<Number>+14155550111</Number>" * 11 + "</Dial>"), 13250),
    (response("<Say>" + "x" * 66000 + "</Say>"), 11750),
    ((307, "Location:/voice/inbound", ""), 11215),
]


@pytest.mark.parametrize(("page", "code"), REFUSED)
def test_what_twilio_refuses_goes_to_the_fallback_address(
    twiml: TwimlServer, exchange: Exchanges, page: Page, code: int
) -> None:
    twiml.pages |= {INBOUND: page, FALLBACK: response("<Say>One moment</Say>")}
    call = exchange().call(CALLER, NUMBER)
    (told,) = twiml.values(FALLBACK)
    assert (told["ErrorCode"], told["ErrorUrl"]) == (str(code), f"{twiml.url}/voice/inbound")
    assert (told["CallSid"], call.heard) == (call.sid, ["One moment"])


def test_without_a_usable_fallback_the_caller_hears_an_apology(twiml: TwimlServer, exchange: Exchanges) -> None:
    twiml.pages |= {INBOUND: (500, "text/xml", ""), FALLBACK: (500, "text/xml", "")}
    call = exchange().call(CALLER, NUMBER)
    assert (call.heard, call.status) == ([APOLOGY], "completed")
    assert twiml.paths() == [INBOUND, FALLBACK, STATUS]


def test_a_dead_server_leaves_the_caller_with_an_apology(exchange: Exchanges, twiml: TwimlServer) -> None:
    simulator = exchange()
    dead = "http://127.0.0.1:9"
    simulator.addresses = type(simulator.addresses)(f"{dead}/inbound", f"{dead}/fallback", f"{dead}/status")
    call = simulator.call(CALLER, NUMBER)
    assert call.heard == [APOLOGY]
    assert len(call.sent("inbound")) == 2, "a connection that fails is tried twice"
    assert call.exchanges[0].error.startswith("11200")


def test_a_server_that_hangs_is_left_after_the_time_limit(twiml: TwimlServer, exchange: Exchanges) -> None:
    release = threading.Event()

    def hang(values: dict[str, str]) -> str:
        release.wait(60)
        return HANGUP

    twiml.pages |= {INBOUND: hang, FALLBACK: HANGUP}
    call = exchange(longest_request=3.0).call(CALLER, NUMBER)
    release.set()
    assert call.errors[0].startswith("11205")
    assert twiml.values(FALLBACK)


def test_plain_text_is_read_aloud(twiml: TwimlServer, exchange: Exchanges) -> None:
    twiml.pages[INBOUND] = (200, "text/plain", "Internal Server Error")
    assert exchange().call(CALLER, NUMBER).heard == ["Internal Server Error"]


def test_plain_text_that_is_twiml_is_played(twiml: TwimlServer, exchange: Exchanges) -> None:
    twiml.pages[INBOUND] = (200, "text/plain", response("<Say>Hello</Say>"))
    assert exchange().call(CALLER, NUMBER).heard == ["Hello"]


def test_the_fragment_says_how_often_to_retry_and_is_never_sent(twiml: TwimlServer, exchange: Exchanges) -> None:
    answers: list[Page] = [(500, "", ""), (503, "", ""), (200, "text/xml", HANGUP)]
    twiml.pages |= {
        INBOUND: response("<Redirect>/next#rc=2&amp;rp=all</Redirect>"),
        "/next": lambda values: answers.pop(0),  # type: ignore[dict-item,return-value]  # replies of several shapes
    }
    call = exchange().call(CALLER, NUMBER)
    assert twiml.paths() == [INBOUND, "/next", "/next", "/next", STATUS]
    assert (call.errors, "#" in "".join(exchange.url for exchange in call.exchanges)) == ([], False)
    tokens = [headers["I-Twilio-Idempotency-Token"] for headers in twiml.headers]
    assert len(set(tokens[1:4])) == 1
    assert len(set(tokens)) == 3


@pytest.mark.parametrize(
    ("url", "count", "covered"),
    [
        ("https://h/p", 1, {"ct"}),
        ("https://h/p#rc=3&rp=all", 3, {"all"}),
        ("https://h/p#rp=5xx,rt", 1, {"5xx", "rt"}),
        ("https://h/p#rc=9", 1, {"ct"}),
        ("https://h/p#rc=0", 0, {"ct"}),
    ],
)
def test_retries_are_read_from_the_fragment(url: str, count: int, covered: set[str]) -> None:
    address, overrides = split_overrides(url)
    assert (address, overrides.count, set(overrides.after)) == ("https://h/p", count, covered)


@pytest.mark.parametrize(
    ("url", "times"),
    [
        ("https://h/p", (5.0, 15.0, 15.0)),
        ("https://h/p#ct=1000&rt=3500&tt=9000", (1.0, 3.5, 9.0)),
        ("https://h/p#ct=99&rt=15001&tt=ten", (5.0, 15.0, 15.0)),
        ("https://h/p#ct=10001&rt=100", (5.0, 0.1, 15.0)),
    ],
)
def test_times_are_read_from_the_fragment(url: str, times: tuple[float, float, float]) -> None:
    _, overrides = split_overrides(url)
    assert (overrides.connect, overrides.read, overrides.total) == times


def test_a_server_that_hangs_is_asked_again_only_when_the_address_leaves_time_for_it(
    twiml: TwimlServer, exchange: Exchanges
) -> None:
    """By default the first try may take all the time that there is."""
    release = threading.Event()
    answers: list[Any] = []

    def hang_once(values: dict[str, str]) -> str:
        answers.append(values)
        if len(answers) % 2:
            release.wait(60)
        return HANGUP

    for fragment, tries in (("#rc=2&amp;rp=all", 1), ("#rt=500&amp;rc=2&amp;rp=all", 2)):
        answers.clear()
        twiml.pages |= {
            INBOUND: response(f"<Redirect>/next{fragment}</Redirect>"),
            "/next": hang_once,
            FALLBACK: HANGUP,
        }
        call = exchange(longest_request=2.5).call(CALLER, NUMBER)
        assert (len(answers), len(call.errors)) == (tries, 2 - tries)
    release.set()


def test_without_asking_for_it_a_failing_callback_is_not_repeated(twiml: TwimlServer, exchange: Exchanges) -> None:
    twiml.pages |= {INBOUND: HANGUP, STATUS: (500, "", "")}
    call = exchange().call(CALLER, NUMBER)
    assert twiml.paths() == [INBOUND, STATUS]
    assert call.errors == ["11200: HTTP 500"]


def test_a_callback_answered_with_a_page_is_a_warning(twiml: TwimlServer, exchange: Exchanges) -> None:
    twiml.pages |= {INBOUND: HANGUP, STATUS: (200, "application/json", "{}")}
    assert exchange().call(CALLER, NUMBER).errors == ["12300: a status callback was answered with application/json"]


def test_a_document_asked_for_twice_must_be_the_same(twiml: TwimlServer, exchange: Exchanges) -> None:
    answers = [response("<Say>One</Say>"), response("<Say>Two</Say>")]
    twiml.pages[INBOUND] = lambda values: answers.pop(0)
    call = exchange(faults=Faults(twice=True)).call(CALLER, NUMBER)
    assert call.errors == ["0: the inbound request was answered differently the second time"]
    assert twiml.paths() == [INBOUND, INBOUND, STATUS, STATUS]


def test_the_same_call_can_come_again(twiml: TwimlServer, exchange: Exchanges) -> None:
    twiml.pages[INBOUND] = response(dial(SALES))
    simulator = exchange(lines={"*": Line.is_busy()})
    first = simulator.call(CALLER, NUMBER)
    again = simulator.call(CALLER, NUMBER, sid=first.sid)
    assert again.sid == first.sid

"""Plans become documents that Twilio plays as they stand, whatever stands in the plans."""

from unittest.mock import patch
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.carriers.base import (
    Forward,
    Gather,
    GoOn,
    HangUp,
    Pause,
    Plan,
    Play,
    Record,
    Reject,
    Say,
    Spoken,
    Target,
)
from router.carriers.simulator.twiml import read_document
from router.carriers.twilio import twiml
from router.carriers.twilio.twiml import render
from tests.carriers.twiml_checker import BadDocument, check_document
from tests.properties import examples

BASE = "https://calls.example.net"
NEXT, LEG = f"{BASE}/voice/dial/CA1/1?flow=7&start=1764493200000", f"{BASE}/voice/leg/CA1"
XML = '<?xml version="1.0" encoding="UTF-8"?>'
ACTION = (
    "https://calls.example.net/voice/dial/CA1/1?flow=7&amp;start=1764493200000#ct=1000&amp;rt=3500&amp;rc=2&amp;rp=all"
)
CALLED_BACK = (
    'statusCallback="https://calls.example.net/voice/leg/CA1#ct=1000&amp;rt=2500&amp;rc=3&amp;rp=all"'
    ' statusCallbackEvent="initiated ringing answered completed" statusCallbackMethod="POST"'
)


def rendered(
    *plan: Spoken | Gather | Forward | Record | GoOn | Reject | HangUp, whisper: bool = False
) -> ElementTree.Element:
    """The document of a plan, which Twilio and the simulated carrier would play."""
    document = render(plan)
    read_document(document.encode())
    return check_document(document, whisper=whisper)


@pytest.mark.parametrize(
    ("plan", "document"),
    [
        ((Say("Sorry & <bye>\x00"), HangUp()), "<Say>Sorry &amp; &lt;bye&gt;</Say><Hangup />"),
        (
            (Forward((Target("+14155550100", LEG),), 20, "+14155550177", NEXT),),
            (
                f'<Dial action="{ACTION}" answerOnBridge="true" callerId="+14155550177" method="POST" timeout="20">'
                f"<Number {CALLED_BACK}>+14155550100</Number></Dial>"
            ),
        ),
        (
            (Say("Test"), Forward((Target("sip:sales@pbx.example.com", LEG),), 35, None, NEXT)),
            (
                f'<Say>Test</Say><Dial action="{ACTION}" answerOnBridge="true" method="POST" timeout="35">'
                f"<Sip {CALLED_BACK}>sip:sales@pbx.example.com</Sip></Dial>"
            ),
        ),
        (
            (Forward((Target("+14155550100"),), 30, "+14155550177"),),
            '<Dial answerOnBridge="true" callerId="+14155550177" timeout="30"><Number>+14155550100</Number></Dial>',
        ),
    ],
)
def test_plans_of_one_destination_in_turn_are_rendered_byte_for_byte(plan: Plan, document: str) -> None:
    check_document(render(plan))
    assert render(plan) == f"{XML}<Response>{document}</Response>"


def test_an_empty_plan_connects_the_one_who_answered() -> None:
    assert render(()) == f"{XML}<Response />"


def test_several_ring_at_once_each_with_what_it_needs() -> None:
    root = rendered(
        Forward(
            (
                Target("+14155550100", LEG, whisper_address=f"{BASE}/voice/whisper/CA1/s1.0", extension="ww12#"),
                Target("+14155550101", LEG, machine_address=f"{BASE}/voice/machine/CA1/s1.0"),
                Target("sip:a@pbx.example.com", LEG, headers=(("X-Visit", "10001"), ("X-Source", "a&b = ü"))),
            ),
            25,
            "+14155550177",
            NEXT,
            recorded="dual",
            recording_address=f"{BASE}/voice/recording?step=s1",
        )
    )
    dial, (extension, machine, sip) = root[0], root[0]
    assert dial.get("record") == "record-from-answer-dual"
    assert (dial.get("recordingStatusCallback") or "").startswith(f"{BASE}/voice/recording?step=s1#")
    assert extension.get("sendDigits") == "ww12#"
    assert (extension.get("url") or "").startswith(f"{BASE}/voice/whisper/CA1/s1.0#")
    assert machine.get("machineDetection") == "Enable"
    assert (machine.get("amdStatusCallback") or "").startswith(f"{BASE}/voice/machine/CA1/s1.0#")
    assert sip.text == "sip:a@pbx.example.com?X-Visit=10001&X-Source=a%26b%20%3D%20%C3%BC"


def test_a_sip_address_has_its_parameters_once() -> None:
    target = Target("sip:a@pbx.example.com", transport="tls", region="ie1")
    assert rendered(Forward((target,), 20, None))[0][0].text == "sip:a@pbx.example.com;transport=tls;region=ie1"
    target = Target("sip:a@pbx.example.com;transport=udp", transport="tls")
    assert rendered(Forward((target,), 20, None))[0][0].text == "sip:a@pbx.example.com;transport=udp"


@pytest.mark.parametrize(
    ("headers", "kept"),
    [
        ([("From", "x"), ("X-A", "1")], "X-A=1"),
        ([("X-A\r\nVia", "x")], None),
        ([("X-A", "1\r\nVia: evil")], "X-A=1Via%3A%20evil"),
        ([("X-A", "1" * 1019)], "X-A=" + "1" * 1019),
        ([("X-A", "1" * 1020), ("X-B", "2")], "X-B=2"),
        ([("User-to-User", "a"), ("p-called-party-id", "b")], "User-to-User=a&p-called-party-id=b"),
        ([("X-Source", "")], None),
    ],
)
def test_only_allowed_headers_that_fit_go_to_a_sip_address(headers: list[tuple[str, str]], kept: str | None) -> None:
    text = rendered(Forward((Target("sip:a@b.example", headers=tuple(headers)),), 20, None))[0][0].text or ""
    assert text == "sip:a@b.example" + (f"?{kept}" if kept else "")


def test_machines_are_not_listened_for_where_digits_are_sent() -> None:
    number = rendered(Forward((Target("+14155550100", machine_address=LEG, extension="12"),), 20, None))[0][0]
    assert number.get("machineDetection") is None


def test_a_key_is_asked_for_and_every_key_is_one_like_others() -> None:
    prompt = (Say("Press one.", "de-DE", "Polly.Vicki"), Pause(2), Play(f"{BASE}/sound"))
    gather, otherwise = rendered(Gather(prompt, NEXT, 7), GoOn(NEXT))
    assert (gather.get("finishOnKey"), gather.get("numDigits"), otherwise.tag) == ("", "1", "Redirect")
    assert gather.get("timeout") == "7"
    assert [child.tag for child in gather] == ["Say", "Pause", "Play"]
    assert gather[0].attrib == {"language": "de-DE", "voice": "Polly.Vicki"}


def test_a_message_is_recorded_after_a_tone() -> None:
    record, goodbye, _ = rendered(Record(NEXT, f"{BASE}/voice/recording", 90, 4), Say("Nothing heard."), HangUp())
    assert (record.get("maxLength"), record.get("timeout"), record.get("playBeep")) == ("90", "4", "true")
    assert goodbye.text == "Nothing heard."


def test_a_call_is_rejected_or_sent_on() -> None:
    assert rendered(Reject())[0].get("reason") == "busy"
    assert rendered(Reject(busy=False))[0].get("reason") == "rejected"
    assert (rendered(GoOn(NEXT))[0].text or "").startswith(NEXT)


@pytest.mark.parametrize(
    ("say", "attributes"),
    [
        (Say("Hi", "de-DE"), {"language": "de-DE"}),
        (Say("Hi", "German", "woman"), {"voice": "woman"}),
        (Say("Hi", "", "Siri"), {}),
        (Say("Hi", "de_DE", 'x" loop="99'), {}),
    ],
)
def test_a_language_or_voice_that_nobody_has_is_left_out(say: Say, attributes: dict[str, str]) -> None:
    assert rendered(say)[0].attrib == attributes


numbers = st.integers(-10, 10**6)
texts = st.text(max_size=30) | st.sampled_from(["", "x" * 5000, "&" * 4096, "😀" * 40])
spoken = (
    st.builds(Say, texts, st.sampled_from(["", "de-DE", "xx yy"]) | texts, st.sampled_from(["", "man"]) | texts)
    | st.builds(Play, st.sampled_from([f"{BASE}/voice/sound/1", ""]))
    | st.builds(Pause, numbers)
)
headers = st.tuples(st.sampled_from(["X-A", "From", "User-to-User", "X-ü"]) | texts, texts | st.text(max_size=1200))
sip = st.sampled_from(["sip:a@pbx.example.com", "sips:+4930@trunk.example:5061;transport=tls"])
targets = st.builds(
    Target,
    to=st.sampled_from(["+14155550100", "+4930123456"]) | sip,
    leg_address=st.sampled_from(["", LEG]),
    whisper_address=st.sampled_from(["", f"{BASE}/voice/whisper/CA1/s1.0"]),
    machine_address=st.sampled_from(["", f"{BASE}/voice/machine/CA1/s1.0"]),
    extension=st.sampled_from(["", "ww1#", "abc"]) | texts,
    headers=st.lists(headers, max_size=4).map(tuple),
    transport=st.sampled_from(["", "tls", "http"]),
    region=st.sampled_from(["", "ie1", "x;y"]),
)
ends = (
    st.builds(
        Forward,
        targets=st.lists(targets, min_size=1, max_size=12).map(tuple),
        ring_seconds=numbers,
        caller_id=st.sampled_from([None, "+14155550177"]),
        next_address=st.sampled_from(["", NEXT]),
        recorded=st.sampled_from(["off", "mixed", "dual"]),
        recording_address=st.sampled_from(["", f"{BASE}/voice/recording"]),
    )
    | st.builds(Record, st.just(NEXT), st.just(LEG), numbers, numbers)
    | st.builds(GoOn, st.just(NEXT))
    | st.builds(HangUp)
)


gathers = st.builds(Gather, st.lists(spoken, max_size=3).map(tuple), st.just(NEXT), numbers)


@given(st.lists(spoken | gathers, max_size=3), ends)
@settings(max_examples=examples(400))
def test_whatever_a_plan_says_its_document_can_be_played(first: list[Spoken | Gather], end: Forward) -> None:
    assert rendered(*first, end)[-1].tag in ("Dial", "Record", "Redirect", "Hangup")


@given(st.lists(spoken | gathers, max_size=3), ends)
@settings(max_examples=examples(100))
def test_a_document_is_written_as_twilios_library_writes_it(first: list[Spoken | Gather], end: Forward) -> None:
    document = render((*first, end))
    with patch.object(twiml, "_text_of", lambda element: element.to_xml(xml_declaration=False)):
        assert document == render((*first, end))


@given(st.lists(spoken | gathers, max_size=3))
def test_a_whisper_holds_only_what_may_stand_there(plan: list[Spoken | Gather]) -> None:
    rendered(*plan, HangUp(), whisper=True)


@pytest.mark.parametrize(
    "body",
    [
        "<Dial><Number>0711 123</Number></Dial>",
        "<Dial/>",
        f"<Dial>{'<Number>+14155550100</Number>' * 11}</Dial>",
        '<Dial timeout="4"><Number>+14155550100</Number></Dial>',
        '<Dial timeout="601"><Number>+14155550100</Number></Dial>',
        '<Dial callerId="anonymous"><Number>+14155550100</Number></Dial>',
        '<Dial colour="red"><Number>+14155550100</Number></Dial>',
        "<Dial><Say>no</Say></Dial>",
        '<Dial><Number sendDigits="1" machineDetection="Enable">+14155550100</Number></Dial>',
        "<Dial><Sip>pbx.example.com</Sip></Dial>",
        "<Dial><Sip>sip:a@b.example?Via=x</Sip></Dial>",
        f"<Dial><Sip>sip:a@b.example?X-A={'1' * 1024}</Sip></Dial>",
        f"<Dial><Sip>sip:{'a' * 250}@b.example</Sip></Dial>",
        "<Dial><Sip>sip:a@b.example?X-A=%0D%0AVia</Sip></Dial>",
        f'<Dial action="{BASE}/a#ct=1000&amp;rt=3500&amp;rc=2"><Number>+14155550100</Number></Dial><Say>never</Say>',
        f'<Dial action="{BASE}/a"><Number>+14155550100</Number></Dial>',  # 2 x (5 s + 15 s)
        '<Dial action="/a"><Number>+14155550100</Number></Dial>',
        '<Dial action="https://a_b.example/a#ct=1000&amp;rt=3500&amp;rc=2"><Number>+14155550100</Number></Dial>',
        "<Hangup/><Say>never</Say>",
        "<Say>first</Say><Reject/>",
        "<Say></Say>",
        f"<Say>{'x' * 4097}</Say>",
        '<Say voice="Siri">x</Say>',
        "<Say>x</Say>text",
        "<Gather>text</Gather>",
        "<Gather><Say>no action</Say></Gather>",
        f'<Gather action="{BASE}/a#rc=0"><Say>Then the end.</Say></Gather>',
        "<Record/>",
        '<Pause length="0"/>',
        "<Play>file</Play>",
        "<Shout>x</Shout>",
        "<Say>x",
        f"<Say>{'x' * 4000}</Say>" * 17,
    ],
)
def test_the_checker_refuses(body: str) -> None:
    with pytest.raises(BadDocument):
        check_document(f"{XML}<Response>{body}</Response>")


def test_the_checker_refuses_a_forwarding_in_a_whisper() -> None:
    document = f"{XML}<Response><Dial><Number>+14155550100</Number></Dial></Response>"
    check_document(document)
    with pytest.raises(BadDocument):
        check_document(document, whisper=True)

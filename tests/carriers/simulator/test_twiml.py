"""TwiML is read as strictly as by Twilio: what its documentation lists is taken, everything else is refused with its numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twilio.twiml.voice_response import (  # type: ignore[import-untyped]  # twilio ships no types
    Dial,
    Enqueue,
    Gather,
    Start,
    Stop,
    VoiceResponse,
)

from router.carriers.simulator.twiml import CallError, read_document
from tests.carriers.simulator.conftest import dial, number, response

DETECTION = {
    "machineDetection": "DetectMessageEnd",
    "machineDetectionTimeout": "30",
    "machineDetectionSpeechThreshold": "2400",
    "machineDetectionSpeechEndThreshold": "1200",
    "machineDetectionSilenceTimeout": "5000",
    "amdStatusCallback": "/amd",
    "amdStatusCallbackMethod": "POST",
}


def test_what_twilios_own_library_writes_is_taken() -> None:
    written = VoiceResponse()
    start = Start()
    start.recording(name="r", channels="dual", track="both", recording_status_callback="https://h.example/r")
    start.stream(name="s", url="wss://h.example/s", track="both_tracks").parameter(name="call", value="1")
    written.append(start)
    stop = Stop()
    stop.stream(name="s")
    written.append(stop)
    menu = Gather(
        input="dtmf speech", num_digits=1, timeout=5, finish_on_key="#", action="/menu", action_on_empty_result=True
    )
    menu.say("Press one", language="en-GB", voice="Polly.Amy")
    menu.play("/menu.mp3")
    menu.pause(length=2)
    written.append(menu)
    written.record(max_length=120, play_beep=True, finish_on_key="#", timeout=4, trim="do-not-trim", transcribe=True)
    written.append(Enqueue("sales", wait_url="/wait", action="/left", max_queue_size=20))
    dialing = Dial(
        record="record-from-answer-dual",
        recording_track="both",
        recording_status_callback="/rec",
        recording_status_callback_event="in-progress completed absent",
        call_reason="Sales call",
        hangup_on_star=True,
        refer_url="/refer",
    )
    dialing.number("+14155550111", machine_detection="Enable", amd_status_callback="/amd", send_digits="ww12#")
    dialing.sip("sip:desk@pbx.example.com", username="a", password="b")
    written.append(dialing)
    names = [verb.name for verb in read_document(str(written).encode())]
    assert names == ["Start", "Stop", "Gather", "Record", "Enqueue", "Dial"]


ACCEPTED = [
    dial(number("+14155550111", **DETECTION)),
    '<Gather finishOnKey="" timeout="auto"/>',
    '<Play digits="1w2"/>',
    '<Start><Recording recordingStatusCallback="https://h.example/r"/></Start>',
    '<Stop><Recording name="r"/></Stop>',
    "<Enqueue/>",
    "<Leave/>",
    "<!-- a comment --><Hangup/>",
]


@pytest.mark.parametrize("verb", ACCEPTED)
def test_what_twilio_takes_is_taken(verb: str) -> None:
    assert len(read_document(response(verb).encode())) == 1


REFUSED = [
    dial(number("+14155550111", machineDetection="enable")),
    dial(number("+14155550111", machineDetectionTimeout="2")),
    dial(number("+14155550111", machineDetectionSpeechThreshold="6001")),
    dial(number("+14155550111", machineDetectionSilenceTimeout="soon")),
    dial(number("+14155550111", amdStatusCallback="https://under_score.example/amd")),
    dial(number("+14155550111", username="a")),
    dial("<Sip sendDigits='1'>sip:a@b.example</Sip>"),
    dial("+14155550111", recordingTrack="left"),
    dial("+14155550111", recordingStatusCallbackEvent="started"),
    dial("+14155550111", callReason="x" * 51),
    dial("<Dial>+14155550111</Dial>"),
    dial("<Say>One moment</Say>"),
    "<Dial>+14155550111<Number>+14155550112</Number></Dial>",
    '<Gather numDigits="0"/>',
    '<Gather finishOnKey="12"/>',
    '<Gather input="keys"/>',
    '<Gather timeout="-1"/>',
    "<Gather><Dial>+14155550111</Dial></Gather>",
    "<Gather><Gather/></Gather>",
    "<Gather>Press one</Gather>",
    '<Record maxLength="0"/>',
    '<Record finishOnKey="any"/>',
    '<Record playBeep="yes"/>',
    "<Record><Say>Speak</Say></Record>",
    "<Say><Play>/a.mp3</Play></Say>",
    "<Play/>",
    "<Start/>",
    '<Start><Stream url="https://h.example/s"/></Start>',
    '<Start><Recording recordingStatusCallback="/relative"/></Start>',
    "<Start><Say>Hello</Say></Start>",
    "<Recording/>",
    '<Start><Recording channels="2"/></Start>',
    '<Enqueue waitUrl="">sales</Enqueue>',
    f"<Enqueue>{'x' * 65}</Enqueue>",
    "<Hangup>now</Hangup>",
    "<Number>+14155550111</Number>",
    "Hello",
    "<Hangup/>Goodbye",
    "<hangup/>",
    '<Hangup reason="busy"/>',
    '<Reject reason="no"/>',
]


@pytest.mark.parametrize("verb", REFUSED)
def test_what_twilios_schema_does_not_have_is_refused(verb: str) -> None:
    with pytest.raises(CallError) as refused:
        read_document(response(verb).encode())
    assert refused.value.code == 12200


@pytest.mark.parametrize("encoding", ["foo", "euc-jp", "hex"])
def test_an_encoding_that_cannot_be_read_is_a_parse_failure(encoding: str) -> None:
    with pytest.raises(CallError) as refused:
        read_document(f'<?xml version="1.0" encoding="{encoding}"?><Response/>'.encode())
    assert refused.value.code == 12100


ELEMENTS = st.recursive(
    st.text(st.characters(codec="utf-8", exclude_characters="<&"), max_size=8),
    lambda inside: st.builds(
        lambda name, attributes, content: f"<{name}{''.join(attributes)}>{''.join(content)}</{name}>",
        st.sampled_from(["Response", "Dial", "Number", "Gather", "Say", "Record", "Start", "Stream", "Enqueue", "b"]),
        st.lists(
            st.sampled_from([' action="/a"', ' timeout="5"', ' url="wss://h"', ' loop="x"']), max_size=2, unique=True
        ),
        st.lists(inside, max_size=3),
    ),
    max_leaves=8,
)


@given(st.one_of(st.binary(max_size=80), ELEMENTS.map(str.encode), ELEMENTS.map(lambda one: response(one).encode())))
def test_whatever_comes_is_read_or_refused(body: bytes) -> None:
    code = 0
    try:
        read_document(body)
    except CallError as error:
        code = error.code
    assert code in (0, 11770, 12100, 12200, 13250)


@pytest.mark.parametrize("size", [64 * 1024, 64 * 1024 + 1])
def test_a_document_has_at_most_64_kilobytes(size: int) -> None:
    document = response(f"<Say>{'x' * (size - len(response('<Say></Say>')))}</Say>").encode()
    assert len(document) == size
    if size <= 64 * 1024:
        assert len(read_document(document)) == 1
        return
    with pytest.raises(CallError) as refused:
        read_document(document)
    assert refused.value.code == 11750

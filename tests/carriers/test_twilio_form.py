"""What the carrier says becomes plain values; junk becomes nothing, and never an error of ours."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.carriers.base import BadCarrierRequest, Form
from router.carriers.twilio.webhooks import (
    TO_LENGTH,
    read_dial_result,
    read_inbound,
    read_keys,
    read_leg_event,
    read_machine,
    read_recording,
    read_status,
)

READERS = [read_inbound, read_leg_event, read_dial_result, read_status, read_recording]
NAMES = ["CallSid", "ParentCallSid", "AccountSid", "From", "To", "CallStatus", "SequenceNumber", "CallDuration"]
NAMES += ["Timestamp", "DialCallStatus", "DialCallSid", "DialBridged", "DialCallDuration", "RecordingUrl"]
NAMES += [
    "RecordingSid",
    "RecordingStatus",
    "RecordingDuration",
    "ForwardedFrom",
    "SipHeader_Diversion",
    "Digits",
    "AnsweredBy",
]


def test_an_inbound_call_names_its_caller_and_its_number() -> None:
    call = read_inbound({"CallSid": "CA1", "AccountSid": "AC1", "From": "+14155552671", "To": "+14155550100"})
    assert (call.sid, call.account_sid, call.caller.e164) == ("CA1", "AC1", "+14155552671")
    assert (call.number_e164, call.to) == ("+14155550100", "+14155550100")


@pytest.mark.parametrize(
    ("said", "number"),
    [
        ({}, None),
        ({"ForwardedFrom": ""}, None),
        ({"ForwardedFrom": "+4930901820"}, "+4930901820"),
        ({"ForwardedFrom": "030 901820", "ToCountry": "DE"}, "+4930901820"),
        ({"ForwardedFrom": "sip:+4930901820@192.0.2.1"}, "+4930901820"),
        ({"ForwardedFrom": "anonymous"}, None),
        ({"ForwardedFrom": "+266696687"}, None),
        ({"ForwardedFrom": "sip:desk@pbx.example.com"}, None),
        ({"ForwardedFrom": "+493090182011"}, None),
        (
            {"SipHeader_Diversion": "<sip:+4930901820@192.0.2.1:5060;user=phone>;reason=unconditional;counter=1"},
            "+4930901820",
        ),
        (
            {"SipHeader_Diversion": '"Desk, 2nd floor" <tel:+4930901820>;reason=no-answer, <sip:+498912345678@x>'},
            "+4930901820",
        ),
        ({"SipHeader_Diversion": "<sip:desk@192.0.2.1>;reason=user-busy, <sip:+498912345678@x>"}, "+498912345678"),
        ({"SipHeader_Diversion": "sip:+4930901820@192.0.2.1;reason=unconditional"}, "+4930901820"),
        ({"ForwardedFrom": "Restricted", "SipHeader_Diversion": "<tel:+4930901820>"}, "+4930901820"),
        ({"ForwardedFrom": "<" * 500, "SipHeader_Diversion": ",;,<," * 900}, None),
    ],
)
def test_a_forwarded_call_names_the_number_that_was_dialled(said: dict[str, str], number: str | None) -> None:
    """The number that it was forwarded to is ours, and no news; nor is a withheld one."""
    assert read_inbound({"CallSid": "CA1", "To": "+493090182011"} | said).forwarded_from == number


@pytest.mark.parametrize("caller", ["", "anonymous", "Restricted", "+266696687", "266696687", "+8656696", "sip:a@b.c"])
def test_a_withheld_caller_is_nobody_and_keeps_what_the_carrier_said(caller: str) -> None:
    call = read_inbound({"CallSid": "CA1", "From": caller, "To": "+14155550100"})
    assert (call.caller.withheld, call.caller.raw) == (True, caller)


def test_everything_but_the_sid_may_be_missing() -> None:
    call = read_inbound({"CallSid": "CA1"})
    assert (call.account_sid, call.caller.e164, call.number_e164, call.to) == ("", None, None, "")


@pytest.mark.parametrize("sid", ["", " ", "CA 1", "CA1\0", "x" * 65, "CA/../1", "ÇA1", "-x"])
@pytest.mark.parametrize("read", READERS)
def test_a_request_without_a_usable_sid_is_one_clear_error(read: Callable[[Form], object], sid: str) -> None:
    with pytest.raises(BadCarrierRequest, match="CallSid"):
        read({"CallSid": sid, "CallStatus": "completed", "RecordingSid": "RE1"})


@pytest.mark.parametrize("sid", ["CA" + "0" * 32, "2f6f7f9e-4b1e-4d7e-8f0a-1b2c3d4e5f60", "v3:9X2v_-x.1"])
def test_ids_of_other_carriers_are_opaque(sid: str) -> None:
    assert read_inbound({"CallSid": sid}).sid == sid


def test_a_leg_event_belongs_to_the_parent_call() -> None:
    form = {"CallSid": "CAchild", "ParentCallSid": "CAparent", "To": "+4930901820", "CallStatus": "in-progress"}
    event = read_leg_event(form | {"SequenceNumber": "2", "Timestamp": "Mon, 23 Nov 2026 12:00:05 +0000"})
    assert (event.call_sid, event.leg_sid, event.status, event.sequence) == ("CAparent", "CAchild", "answered", 2)
    assert event.at == datetime(2026, 11, 23, 12, 0, 5, tzinfo=UTC)
    assert event.seconds is None


def test_headers_for_one_call_are_no_part_of_a_lines_address() -> None:
    address = "sip:sales@pbx.example.com;transport=tls"
    form = {"CallSid": "CA1", "To": f"{address}?X-Visit=10001&X-Source=google", "CallStatus": "ringing"}
    assert read_leg_event(form).to == address


def test_a_leg_event_without_a_parent_is_the_calls_own() -> None:
    assert read_leg_event({"CallSid": "CA1", "ParentCallSid": "", "CallStatus": "ringing"}).call_sid == "CA1"


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ("queued", "initiated"),
        ("initiated", "initiated"),
        ("ringing", "ringing"),
        ("in-progress", "answered"),
        ("answered", "answered"),
        ("completed", "completed"),
        ("busy", "busy"),
        ("no-answer", "no_answer"),
        ("failed", "failed"),
        ("canceled", "canceled"),
    ],
)
def test_every_state_of_a_leg_has_one_word(said: str, status: str) -> None:
    assert read_leg_event({"CallSid": "CA1", "CallStatus": said}).status == status


@pytest.mark.parametrize("read", [read_leg_event, read_status])
def test_an_unknown_state_is_one_clear_error(read: Callable[[Form], object]) -> None:
    with pytest.raises(BadCarrierRequest, match="CallStatus"):
        read({"CallSid": "CA1", "CallStatus": "levitating"})


@pytest.mark.parametrize("seconds", ["abc", "", "-1", "1.5", "٣", "9" * 30, "1e3", " "])
def test_a_nonsense_duration_is_unknown(seconds: str) -> None:
    assert read_status({"CallSid": "CA1", "CallStatus": "completed", "CallDuration": seconds}).seconds is None


@pytest.mark.parametrize("moment", ["", "yesterday", "Mon, 99 Nov 2026 12:00:05 +0000", "0", "\0", "1 Jan 99999 1:1:1"])
def test_a_nonsense_timestamp_is_unknown(moment: str) -> None:
    assert read_status({"CallSid": "CA1", "CallStatus": "completed", "Timestamp": moment}).at is None


def test_a_timestamp_without_a_zone_is_utc() -> None:
    status = read_status({"CallSid": "CA1", "CallStatus": "completed", "Timestamp": "Mon, 23 Nov 2026 12:00:05 -0000"})
    assert status.at == datetime(2026, 11, 23, 12, 0, 5, tzinfo=UTC)


def test_a_dial_result_tells_how_forwarding_ended() -> None:
    form = {"CallSid": "CA1", "DialCallSid": "CA2", "DialCallStatus": "completed", "DialBridged": "true"}
    result = read_dial_result(form | {"DialCallDuration": "61", "RecordingUrl": "https://r.example/RE1"})
    assert (result.leg_sid, result.status, result.bridged, result.seconds) == ("CA2", "completed", True, 61)
    assert result.recording_url == "https://r.example/RE1"


def test_all_of_a_dial_result_is_optional_and_an_unknown_state_lets_the_next_destination_ring() -> None:
    """R12: a word that we do not know must not stop the call."""
    result = read_dial_result({"CallSid": "CA1", "DialCallStatus": "levitating", "DialBridged": "maybe"})
    assert (result.leg_sid, result.status, result.bridged) == (None, "failed", None)
    assert (result.seconds, result.recording_url) == (None, None)


def test_a_recording_names_its_call_and_its_address() -> None:
    form = {"CallSid": "CA1", "RecordingSid": "RE1", "RecordingUrl": "https://r.example/RE1"}
    recording = read_recording(form | {"RecordingStatus": "completed", "RecordingDuration": "12"})
    assert (recording.recording_sid, recording.url, recording.seconds) == ("RE1", "https://r.example/RE1", 12)


@pytest.mark.parametrize(
    ("form", "keys"),
    [
        ({}, None),
        ({"Digits": ""}, ""),
        ({"Digits": "1"}, "1"),
        ({"Digits": " 4*#D"}, "4*#D"),
        ({"Digits": "hangup"}, ""),
    ],
)
def test_keys_are_what_was_pressed_and_nobody_asked_is_not_no_key(form: dict[str, str], keys: str | None) -> None:
    assert read_keys(form) == keys


@pytest.mark.parametrize(
    ("said", "machine"),
    [
        ("human", False),
        ("machine_start", True),
        ("machine_end_silence", True),
        ("fax", True),
        ("unknown", None),
        ("", None),
    ],
)
def test_who_answered_is_a_machine_a_person_or_unknown(said: str, machine: bool | None) -> None:
    assert read_machine({"AnsweredBy": said}) is machine
    assert read_machine({}) is None


@given(st.dictionaries(st.sampled_from(["Digits", "AnsweredBy"]), st.text(max_size=120)))
def test_keys_and_machines_are_read_out_of_any_form(form: dict[str, str]) -> None:
    assert read_machine(form) in (True, False, None)
    keys = read_keys(form)
    assert (keys is None) == ("Digits" not in form)
    assert set(keys or "") <= set("0123456789ABCD*#")


@given(st.dictionaries(st.sampled_from(NAMES), st.text(max_size=120)), st.sampled_from(READERS))
def test_no_form_makes_a_reader_fail_otherwise(form: dict[str, str], read: Callable[[Form], object]) -> None:
    for candidate in (form, form | {"CallSid": "CA1", "RecordingSid": "RE1", "CallStatus": "completed"}):
        try:
            values = vars(read(candidate))
        except BadCarrierRequest:
            continue
        assert all("\0" not in str(value) for value in values.values())


def test_texts_fit_their_columns() -> None:
    event = read_leg_event({"CallSid": "CA1", "CallStatus": "ringing", "To": "sip:" + "x" * 900})
    assert len(event.to) == TO_LENGTH

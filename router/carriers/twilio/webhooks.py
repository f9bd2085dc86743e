"""Twilio, and every carrier that signs and posts as Twilio does (the simulator among them).

Reads the forms that Twilio posts. Their values are signed, and still may be missing, empty or nonsense."""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar, get_args
from urllib.parse import urlsplit

from flask import Request
from twilio.request_validator import (  # type: ignore[import-untyped]  # twilio ships no types
    RequestValidator,
    add_port,
    compare,
    remove_port,
)
from werkzeug.exceptions import HTTPException

from router.carriers.base import (
    SID,
    BadCarrierRequest,
    CallerId,
    CallState,
    CallStatus,
    DialResult,
    DialState,
    Failure,
    Form,
    InboundCall,
    InboundText,
    LegEvent,
    LegState,
    Plan,
    Recording,
)
from router.carriers.twilio.twiml import render
from router.lib.phones import (
    country_of,
    is_valid,
    is_withheld,
    read_caller,
    read_dialled,
    read_dialled_anywhere,
    user_part,
)

LEG_STATES: dict[str, LegState] = {state: state for state in get_args(LegState)}
LEG_STATES |= {"queued": "initiated", "in_progress": "answered"}
DIAL_STATES: dict[str, DialState] = {state: state for state in get_args(DialState)}
CALL_STATES: dict[str, CallState] = {state: state for state in get_args(CallState)}
CALL_ENDED = ("completed", "busy", "no_answer", "failed", "canceled")
LEG_UNANSWERED = ("busy", "no_answer", "failed")

State = TypeVar("State", LegState, CallState)

TO_LENGTH = 200
MOST_DIVERSIONS = 10
MOST_KEYS = 32
URL_LENGTH = 2000


def read_inbound(form: Form) -> InboundCall:
    to = _text(form, "To", TO_LENGTH) or _text(form, "Called", TO_LENGTH)
    country = (_text(form, "ToCountry", 2) or _text(form, "CalledCountry", 2)).upper() or None
    number, *others = read_dialled(to, country) or (None,)
    country = country_of(number or "") or country
    caller = read_caller(_text(form, "From", 200) or _text(form, "Caller", 200), country)
    # Twilio shows a destination the From of a call from the telephone network, and fails the leg over one that it finds invalid (error
    # 13214). Of a call that came over SIP it shows neither From nor To as it is.
    caller_id: CallerId = "doubtful"
    if caller.e164 is None or user_part(caller.raw) != caller.raw:
        caller_id = "refused"
    elif caller.raw == caller.e164 and is_valid(caller.e164):
        caller_id = "accepted"
    return InboundCall(
        sid=_sid(form, "CallSid"),
        account_sid=_text(form, "AccountSid", 64),
        caller=caller,
        number_e164=number,
        to=to,
        other_readings=tuple(filter(None, others)),
        readings_anywhere=read_dialled_anywhere(to),
        caller_id=caller_id,
        forwarded_from=_forwarded_from(form, number, country),
        # TN-Validation-Failed, also with an attestation behind it (https://www.twilio.com/docs/voice/trusted-calling-with-shakenstir)
        failed_verification=_word(form, "StirVerstat").startswith("tn_validation_failed"),
    )


LONGEST_TEXT = 1600
"""Signs; Twilio puts the parts of a long message together up to that (https://www.twilio.com/docs/glossary/what-sms-character-limit)."""
MOST_MEDIA = 10


def read_text(form: Form) -> InboundText:
    """https://www.twilio.com/docs/messaging/guides/webhook-request"""
    sid = next((form[name] for name in ("MessageSid", "SmsSid", "SmsMessageSid") if form.get(name)), "")
    count = min(_count(form, "NumMedia") or 0, MOST_MEDIA)
    media = (_address(form, f"MediaUrl{place}") for place in range(count))
    body = form.get("Body", "").replace("\0", "")[:LONGEST_TEXT]
    return InboundText(read_inbound({**form, "CallSid": sid}), body, tuple(filter(None, media)))


def _forwarded_from(form: Form, number: str | None, country: str | None) -> str | None:
    """`ForwardedFrom`, else the newest entry of SIP's Diversion that is a phone number: it stands first
    (https://www.rfc-editor.org/rfc/rfc5806#section-4)."""
    diversions = _text(form, "SipHeader_Diversion", URL_LENGTH).split(",")
    for said in filter(None, (_text(form, "ForwardedFrom", TO_LENGTH), *diversions[:MOST_DIVERSIONS])):
        read = () if is_withheld(said) else read_dialled(said.partition(";")[0], country)
        if read and read[0] != number:
            return read[0]
    return None


def read_leg_event(form: Form) -> LegEvent:
    leg_sid = _sid(form, "CallSid")
    return LegEvent(
        call_sid=_sid(form, "ParentCallSid") if form.get("ParentCallSid") else leg_sid,
        leg_sid=leg_sid,
        to=_text(form, "To", TO_LENGTH).partition("?")[0],  # of a SIP address without the headers of this call
        status=_state(form, "CallStatus", LEG_STATES),
        sequence=_count(form, "SequenceNumber"),
        seconds=_count(form, "CallDuration"),
        at=_moment(form, "Timestamp"),
    )


def read_dial_result(form: Form) -> DialResult:
    leg_sid = _text(form, "DialCallSid", 64)
    return DialResult(
        call_sid=_sid(form, "CallSid"),
        leg_sid=leg_sid if SID.fullmatch(leg_sid) else None,
        status=DIAL_STATES.get(_word(form, "DialCallStatus"), "failed"),
        bridged={"true": True, "false": False}.get(_word(form, "DialBridged")),
        seconds=_count(form, "DialCallDuration"),
        recording_url=_address(form, "RecordingUrl"),
    )


def read_status(form: Form) -> CallStatus:
    return CallStatus(
        call_sid=_sid(form, "CallSid"),
        status=_state(form, "CallStatus", CALL_STATES),
        sequence=_count(form, "SequenceNumber"),
        seconds=_count(form, "CallDuration"),
        at=_moment(form, "Timestamp"),
    )


def read_recording(form: Form) -> Recording:
    return Recording(
        call_sid=_sid(form, "CallSid"),
        recording_sid=_sid(form, "RecordingSid"),
        url=_address(form, "RecordingUrl"),
        status=_word(form, "RecordingStatus") or "completed",
        seconds=_count(form, "RecordingDuration"),
        channels=2 if _count(form, "RecordingChannels") == 2 else 1,
        is_message=_word(form, "RecordingSource") == "recordverb",
    )


def read_failure(form: Form) -> Failure:
    """While nobody has answered, the call is still ringing: Dial answers on bridge. So an action that fails in a call that is in progress
    follows a talk (https://www.twilio.com/docs/voice/twiml/dial#answeronbridge)."""
    failed = ""
    with suppress(ValueError):  # it is no address
        failed = urlsplit(_text(form, "ErrorUrl", URL_LENGTH)).path
    call_status, dial_status = _word(form, "CallStatus"), _word(form, "DialCallStatus")
    talked = call_status == "in_progress" and "/voice/dial/" in failed and dial_status not in LEG_UNANSWERED
    is_over = talked or call_status in CALL_ENDED or dial_status in ("completed", "answered", "canceled")
    return Failure(_text(form, "ErrorCode", 10), failed, is_over)


def read_keys(form: Form) -> str | None:
    """Digits is `hangup` when the caller ended a message so (https://www.twilio.com/docs/voice/twiml/record#attributes-action)."""
    return re.sub("[^0-9A-D*#]", "", form["Digits"])[:MOST_KEYS] if "Digits" in form else None


def read_machine(form: Form) -> bool | None:
    """https://www.twilio.com/docs/voice/answering-machine-detection: human, unknown, fax, machine_start, machine_end_beep and others."""
    word = _word(form, "AnsweredBy")
    return True if word == "fax" or word.startswith("machine") else False if word == "human" else None


def _sid(form: Form, name: str) -> str:
    sid = form.get(name, "")
    if not SID.fullmatch(sid):
        raise BadCarrierRequest(f"{name} is missing or is no id: {sid[:80]!r}")
    return sid


def _state(form: Form, name: str, states: dict[str, State]) -> State:
    word = _word(form, name)
    if word not in states:
        raise BadCarrierRequest(f"{name} is no known state: {word[:40]!r}")
    return states[word]


def _word(form: Form, name: str) -> str:
    return form.get(name, "").replace("\0", "").strip().lower().replace("-", "_")[:40]


def _text(form: Form, name: str, length: int) -> str:
    """Without NUL, which no database stores, and not longer than its column."""
    return form.get(name, "").replace("\0", "").strip()[:length]


def _address(form: Form, name: str) -> str | None:
    """A web address, which pages show as a link; anything else is none."""
    text = _text(form, name, URL_LENGTH)
    return text if text.startswith(("https://", "http://")) else None


def _count(form: Form, name: str) -> int | None:
    text = form.get(name, "").strip()
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text) else None


def _moment(form: Form, name: str) -> datetime | None:
    return read_moment(form.get(name, ""))


def read_moment(text: str) -> datetime | None:
    """An RFC 2822 date; one without a zone is in UTC, as Twilio's are."""
    try:
        moment = parsedate_to_datetime(text.strip()[:60])
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


FORM = ("application/x-www-form-urlencoded", "multipart/form-data")


class TwilioAccount:
    """`tokens` are an account's auth tokens: the present one, and the next one while it is being rotated."""

    def __init__(self, tokens: Sequence[str]) -> None:
        self.validators: list[Any] = [RequestValidator(token) for token in tokens if token]


class Twilio:
    """`tokens` are those of the server's own account."""

    def __init__(self, base_url: str, tokens: list[str], name: str = "twilio") -> None:
        self.name = name
        self._base_url = base_url
        self._account = TwilioAccount(tokens)

    def verify(self, request: Request, account: TwilioAccount | None = None) -> bool:
        signature = request.headers.get("X-Twilio-Signature", "")
        validators = (account or self._account).validators
        if not signature or not validators:
            return False
        try:
            url = signed_url(self._base_url, request.environ, request.full_path)
            if request.method != "POST":
                values = _Values()  # a GET's are in its address
            elif not request.content_length or request.mimetype in FORM:
                values = _Values(request.form.lists())  # the whole form, with repeated names and untrimmed values
            else:
                return False  # a body that is no form is not covered by this signature
            bare = url.removesuffix("?")
            parts = urlsplit(bare)
            # as RequestValidator.validate does, with and without the port, and no further than the first that fits. A `?` behind which
            # nothing stands may have been signed or not: proxies add it and take it away
            ends = ("",) if "?" in bare else ("", "?")
            return any(
                compare(validator.compute_signature(f"{port(parts)}{end}", values), signature)
                for validator in validators
                for end in ends
                for port in (remove_port, add_port)
            )
        except (TypeError, ValueError, HTTPException):  # odd ports and types, bodies beyond the limit: not from Twilio
            return False

    def form_of(self, request: Request) -> Form:
        """A GET's values stand in its address alone, a POST's in its body alone.

        Of a repeated name the last value counts: what Twilio says comes behind the values that were configured in an address.
        """
        values = request.args if request.method == "GET" else request.form
        return {name: repeated[-1] for name, repeated in values.lists()}

    def account_of(self, form: Form) -> str:
        return form.get("AccountSid", "")

    read_inbound = staticmethod(read_inbound)
    read_text = staticmethod(read_text)
    read_leg_event = staticmethod(read_leg_event)
    read_dial_result = staticmethod(read_dial_result)
    read_status = staticmethod(read_status)
    read_recording = staticmethod(read_recording)
    read_keys = staticmethod(read_keys)
    read_machine = staticmethod(read_machine)

    def read_failure(self, form: Form) -> Failure:
        return read_failure(form)

    def render(self, plan: Plan) -> str:
        return render(plan)


def signature_of(token: str, url: str, form: Form) -> str:
    """The X-Twilio-Signature of a POST."""
    return str(RequestValidator(token).compute_signature(url, form))


def signed_url(base_url: str, environ: Mapping[str, Any], full_path: str) -> str:
    """The address as the carrier signed it: our public one from the settings, never from a header, and the path byte for byte."""
    raw = str(environ.get("RAW_URI") or environ.get("REQUEST_URI") or full_path.rstrip("?"))
    if not raw.startswith("/"):  # a request target in absolute form
        parts = urlsplit(raw)
        raw = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return base_url + raw


class _Values(dict[str, list[str]]):
    """All values of each name, as compute_signature asks for them first."""

    getall = dict.__getitem__

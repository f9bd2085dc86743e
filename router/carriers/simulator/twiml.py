"""TwiML, read as strictly as by Twilio."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from xml.etree import ElementTree

LARGEST_DOCUMENT = 64 * 1024
Check = Callable[[str], bool]


class CallError(Exception):
    """What Twilio reports with a number of its own, e.g. 12100 for a document that cannot be parsed."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


@dataclass(frozen=True)
class Element:
    """A verb or noun with its attributes, text and nested elements."""

    name: str
    attributes: dict[str, str] = field(default_factory=dict)
    text: str = ""
    children: tuple["Element", ...] = ()

    def seconds(self, name: str, default: int) -> int:
        return int(self.attributes.get(name) or default)

    def flag(self, name: str) -> bool:
        return self.attributes.get(name) == "true"


def _one_of(*words: str) -> Check:
    return lambda value: value in words


def _words_of(*words: str) -> Check:
    return lambda value: bool(value.split()) and set(value.split()) <= set(words)


def _any(value: str) -> bool:
    return True


def _count(value: str) -> bool:
    return re.fullmatch(r"[0-9]{1,6}", value) is not None


def _between(least: int, most: int) -> Check:
    return lambda value: _count(value) and least <= int(value) <= most


def _like(pattern: str) -> Check:
    return lambda value: re.fullmatch(pattern, value) is not None


def _at_most(length: int) -> Check:
    return lambda value: len(value) <= length


def _address(value: str) -> bool:
    """A URL, absolute or relative; hosts with an underscore are refused in callbacks."""
    host = re.match(r"https?://([^/:?#]*)", value)
    return bool(value.strip()) and not re.search(r"\s", value) and not (host and "_" in host.group(1))


def _absolute(value: str) -> bool:
    return value.startswith(("http://", "https://")) and _address(value)


METHOD = _one_of("GET", "POST")
FLAG = _one_of("true", "false")
LEG_EVENTS = _words_of("initiated", "ringing", "answered", "completed")
RECORDING_EVENTS = _words_of("in-progress", "completed", "absent")
RECORDS = (
    "do-not-record record-from-answer record-from-ringing record-from-answer-dual record-from-ringing-dual true false"
)

ACTION: dict[str, Check] = {"action": _address, "method": METHOD}
RECORDING: dict[str, Check] = {
    "recordingStatusCallback": _address,
    "recordingStatusCallbackMethod": METHOD,
    "recordingStatusCallbackEvent": RECORDING_EVENTS,
    "recordingConfigurationId": _any,
    "trim": _one_of("trim-silence", "do-not-trim"),
}
TRACKS = _one_of("inbound", "outbound", "both")
NOUN: dict[str, Check] = {
    "url": _address,
    "method": METHOD,
    "statusCallback": _address,
    "statusCallbackMethod": METHOD,
    "statusCallbackEvent": LEG_EVENTS,
    "machineDetection": _one_of("Enable", "DetectMessageEnd"),
    "machineDetectionTimeout": _between(3, 60),
    "machineDetectionSpeechThreshold": _between(1000, 6000),
    "machineDetectionSpeechEndThreshold": _between(500, 5000),
    "machineDetectionSilenceTimeout": _between(2000, 10000),
    "amdStatusCallback": _address,
    "amdStatusCallbackMethod": METHOD,
}
ATTRIBUTES: Mapping[str, dict[str, Check]] = {
    "Dial": ACTION
    | RECORDING
    | {
        "timeout": _count,
        "timeLimit": _count,
        "callerId": _any,
        "callReason": _at_most(50),
        "answerOnBridge": FLAG,
        "hangupOnStar": FLAG,
        "sequential": FLAG,
        "record": _one_of(*RECORDS.split()),
        "recordingTrack": TRACKS,
        "ringTone": _like(r"[a-z]{2}(-old)?"),
        "referUrl": _address,
        "referMethod": METHOD,
    },
    "Number": NOUN | {"sendDigits": _like(r"[0-9A-DwW#*]+"), "byoc": _any},
    "Sip": NOUN | {"username": _any, "password": _any},
    "Say": {"voice": _any, "language": _any, "loop": _count},
    "Play": {"loop": _count, "digits": _like(r"[0-9wW#*]+")},
    "Pause": {"length": _count},
    "Gather": ACTION
    | {
        "timeout": _like("auto|[0-9]{1,4}"),
        "numDigits": _between(1, 999_999),
        "finishOnKey": _like("[0-9#*]?"),
        "input": _words_of("dtmf", "speech"),
        "actionOnEmptyResult": FLAG,
        "bargeIn": FLAG,
        "language": _any,
        "hints": _any,
        "profanityFilter": FLAG,
        "speechTimeout": _like("auto|[0-9]{1,4}"),
        "maxSpeechTime": _count,
        "speechModel": _any,
        "enhanced": FLAG,
        "partialResultCallback": _address,
        "partialResultCallbackMethod": METHOD,
    },
    "Record": ACTION
    | RECORDING
    | {
        "timeout": _count,
        "maxLength": _between(1, 14_400),
        "finishOnKey": _like("[0-9#*]*"),
        "playBeep": FLAG,
        "transcribe": FLAG,
        "transcribeCallback": _address,
    },
    "Enqueue": ACTION
    | {"waitUrl": _address, "waitUrlMethod": METHOD, "maxQueueSize": _between(1, 5000), "workflowSid": _any},
    "Leave": {},
    "Start": {},
    "Stop": {},
    "Recording": RECORDING
    | {
        "recordingStatusCallback": _absolute,
        "name": _any,
        "track": TRACKS,
        "channels": _one_of("mono", "dual"),
    },
    "Stream": {
        "name": _any,
        "connectorName": _any,
        "url": _like(r"wss://[^\s?]+"),
        "track": _one_of("inbound_track", "outbound_track", "both_tracks"),
        "statusCallback": _absolute,
        "statusCallbackMethod": METHOD,
    },
    "Parameter": {"name": _any, "value": _at_most(500)},
    "Hangup": {},
    "Redirect": {"method": METHOD},
    "Reject": {"reason": _one_of("rejected", "busy")},
}
NESTED = {
    "Dial": {"Number", "Sip"},
    "Gather": {"Say", "Play", "Pause"},
    "Start": {"Recording", "Stream"},
    "Stop": {"Recording", "Stream"},
    "Stream": {"Parameter"},
}
VERBS = set(ATTRIBUTES) - {"Number", "Sip", "Recording", "Stream", "Parameter"}
TEXTLESS = {"Response", "Gather", "Start", "Stop", "Stream", "Hangup", "Leave", "Pause", "Record", "Reject"}
MOST_NOUNS = 10
LONGEST_QUEUE_NAME = 64


def read_document(body: bytes) -> tuple[Element, ...]:
    """The verbs of a TwiML document.

    Raises:
        CallError: with Twilio's number of the mistake.
    """
    if len(body) > LARGEST_DOCUMENT:
        raise CallError(11750, "the document is larger than 64 kB")
    if not body.strip():
        raise CallError(11770, "the answer has no body")
    if b"<!DOCTYPE" in body or b"<!ENTITY" in body:
        raise CallError(12100, "a document type is not allowed")
    try:
        root = ElementTree.fromstring(body)  # noqa: S314 - without a document type there is nothing to expand
    except (ElementTree.ParseError, LookupError, ValueError) as error:  # also of unknown encodings
        raise CallError(12100, f"the document cannot be parsed: {error}") from None
    if root.tag != "Response":
        raise CallError(12200, f"the root is <{root.tag}> and not <Response>")
    _check_text(root)
    return tuple(_element(child, VERBS) for child in root)


def _element(node: ElementTree.Element, allowed: set[str]) -> Element:
    if node.tag not in allowed:
        raise CallError(12200, f"<{node.tag}> is not known here")
    for name, value in node.attrib.items():
        check = ATTRIBUTES[node.tag].get(name)
        if check is None or not check(value):
            raise CallError(12200, f"<{node.tag} {name}={value!r}> is not allowed")
    _check_text(node)
    children = tuple(_element(child, NESTED.get(node.tag, set())) for child in node)
    if node.tag in ("Start", "Stop") and not children:
        raise CallError(12200, f"<{node.tag}> is empty")
    text = (node.text or "").strip()
    if node.tag == "Dial":
        if len(children) > MOST_NOUNS:
            raise CallError(13250, "<Dial> holds more than ten destinations")
        if text and children:
            raise CallError(12200, "<Dial> holds a text beside its destinations")
        if text:  # the short form of one <Number>
            children, text = (Element("Number", {}, text),), ""
    if node.tag == "Play" and not text and "digits" not in node.attrib:
        raise CallError(12200, "<Play> has neither an address nor digits")
    if node.tag == "Enqueue" and len(text) > LONGEST_QUEUE_NAME:
        raise CallError(12200, "the name of a queue has more than 64 letters")
    return Element(node.tag, dict(node.attrib), text, children)


def _check_text(node: ElementTree.Element) -> None:
    """
    Raises:
        CallError: a text stands where none is read: between elements, or in one that has none.
    """
    texts = [child.tail for child in node]
    if node.tag in TEXTLESS:
        texts.append(node.text)
    if any(text and text.strip() for text in texts):
        raise CallError(12200, f"<{node.tag}> holds a text that is not read")

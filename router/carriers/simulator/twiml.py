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


def _address(value: str) -> bool:
    """A URL, absolute or relative; hosts with an underscore are refused in callbacks."""
    host = re.match(r"https?://([^/:?#]*)", value)
    return bool(value.strip()) and not re.search(r"\s", value) and not (host and "_" in host.group(1))


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
    "trim": _one_of("trim-silence", "do-not-trim"),
}
NOUN: dict[str, Check] = {
    "url": _address,
    "method": METHOD,
    "statusCallback": _address,
    "statusCallbackMethod": METHOD,
    "statusCallbackEvent": LEG_EVENTS,
    "sendDigits": lambda value: re.fullmatch(r"[0-9A-DwW#*]+", value) is not None,
    "username": _any,
    "password": _any,
}
ATTRIBUTES: Mapping[str, dict[str, Check]] = {
    "Dial": ACTION
    | RECORDING
    | {
        "timeout": _count,
        "timeLimit": _count,
        "callerId": _any,
        "answerOnBridge": FLAG,
        "hangupOnStar": FLAG,
        "sequential": FLAG,
        "record": _one_of(*RECORDS.split()),
        "ringTone": lambda value: re.fullmatch(r"[a-z]{2}(-old)?", value) is not None,
    },
    "Number": {name: check for name, check in NOUN.items() if name not in ("username", "password")},
    "Sip": {name: check for name, check in NOUN.items() if name != "sendDigits"},
    "Say": {"voice": _any, "language": _any, "loop": _count},
    "Play": {"loop": _count, "digits": _any},
    "Pause": {"length": _count},
    "Gather": ACTION
    | {
        "timeout": _count,
        "numDigits": _count,
        "finishOnKey": _any,
        "input": _words_of("dtmf", "speech"),
        "actionOnEmptyResult": FLAG,
    },
    "Record": ACTION
    | RECORDING
    | {"timeout": _count, "maxLength": _count, "finishOnKey": _any, "playBeep": FLAG, "transcribe": FLAG},
    "Hangup": {},
    "Redirect": {"method": METHOD},
    "Reject": {"reason": _one_of("rejected", "busy")},
}
NESTED = {"Dial": {"Number", "Sip"}, "Gather": {"Say", "Play", "Pause"}}
VERBS = set(ATTRIBUTES) - {"Number", "Sip"}
MOST_NOUNS = 10


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
    except ElementTree.ParseError as error:
        raise CallError(12100, f"the document cannot be parsed: {error}") from None
    if root.tag != "Response":
        raise CallError(12200, f"the root is <{root.tag}> and not <Response>")
    return tuple(_element(child, VERBS) for child in root)


def _element(node: ElementTree.Element, allowed: set[str]) -> Element:
    if node.tag not in allowed:
        raise CallError(12200, f"<{node.tag}> is not known here")
    for name, value in node.attrib.items():
        check = ATTRIBUTES[node.tag].get(name)
        if check is None or not check(value):
            raise CallError(12200, f"<{node.tag} {name}={value!r}> is not allowed")
    children = tuple(_element(child, NESTED.get(node.tag, set())) for child in node)
    text = (node.text or "").strip()
    if node.tag == "Dial":
        if len(children) > MOST_NOUNS:
            raise CallError(13250, "<Dial> holds more than ten destinations")
        if text and not children:  # the short form of one <Number>
            children, text = (Element("Number", {}, text),), ""
    return Element(node.tag, dict(node.attrib), text, children)

"""Checks documents against what Twilio documents of its verbs, nouns and attributes, apart from the code that makes them.

https://www.twilio.com/docs/voice/twiml and the pages of the single verbs and nouns."""

import re
from collections.abc import Callable, Mapping
from urllib.parse import parse_qsl, urlsplit
from xml.etree import ElementTree

Check = Callable[[str], bool]

LARGEST = 64 * 1024
WHOLE_TIME = 15_000
"""Milliseconds that all tries of a request have together."""
OVERRIDES = {"ct": (100, 10_000), "rt": (100, 15_000), "tt": (100, 15_000), "rc": (0, 5)}
SIP_HEADERS = r"(?i:x-[a-z0-9-]+|user-to-user|remote-party-id|p-preferred-identity|p-called-party-id)"
SIP_ADDRESS = re.compile(
    r"sips?:[A-Za-z0-9._+\-]+@[A-Za-z0-9.\-]+(?::\d{1,5})?(?:;(?:transport=(?:udp|tcp|tls)|region=[a-z]{2}\d|[a-z]+(?:=[A-Za-z0-9.\-]+)?))*"
)


def like(pattern: str) -> Check:
    return lambda value: re.fullmatch(pattern, value) is not None


def between(least: int, most: int) -> Check:
    return lambda value: re.fullmatch(r"\d{1,6}", value) is not None and least <= int(value) <= most


def address(value: str) -> bool:
    """Whole, without blanks, on a host without underscores, and asked so often that all tries find time."""
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or "_" in parts.hostname:
        return False
    if re.search(r"[\s<>\"]", value) or not value.isascii() or not parts.path.startswith("/"):
        return False
    if not parts.fragment:
        return True
    overrides = dict(parse_qsl(parts.fragment, strict_parsing=True))
    for name, (least, most) in OVERRIDES.items():
        if name in overrides and not between(least, most)(overrides[name]):
            return False
    if overrides.keys() - OVERRIDES.keys() - {"rp", "sni", "e"}:
        return False
    tries = int(overrides.get("rc", "1")) + 1
    each = int(overrides.get("ct", "5000")) + int(overrides.get("rt", "15000"))
    return tries * each <= WHOLE_TIME


def steering(value: str) -> bool:
    """An address that says what happens next: the carrier has to repeat its request when nobody answers."""
    return address(value) and "rc=" in urlsplit(value).fragment


E164 = like(r"\+[1-9]\d{6,14}")
FLAG = like("true|false")
METHOD = like("GET|POST")
LANGUAGE = like(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8}){0,2}")
VOICE = like(r"man|woman|alice|(Polly|Google)\.[A-Za-z0-9]+(-[A-Za-z0-9]+)*")
RECORDING: dict[str, Check] = {
    "recordingStatusCallback": address,
    "recordingStatusCallbackMethod": METHOD,
    "recordingStatusCallbackEvent": like("(in-progress|completed|absent)( (in-progress|completed|absent))*"),
}
NOUN: dict[str, Check] = {
    "url": steering,
    "method": METHOD,
    "statusCallback": address,
    "statusCallbackMethod": METHOD,
    "statusCallbackEvent": like("(initiated|ringing|answered|completed)( (initiated|ringing|answered|completed))*"),
    "machineDetection": like("Enable|DetectMessageEnd"),
    "machineDetectionTimeout": between(3, 60),
    "amdStatusCallback": address,
    "amdStatusCallbackMethod": METHOD,
}
ATTRIBUTES: Mapping[str, Mapping[str, Check]] = {
    "Dial": {
        "action": steering,
        "method": METHOD,
        "answerOnBridge": FLAG,
        "callerId": like(r"[A-Za-z0-9+\-_.]+"),
        "timeout": between(5, 600),
        "timeLimit": between(1, 14_400),
        "record": like("do-not-record|record-from-(answer|ringing)(-dual)?"),
        **RECORDING,
    },
    "Number": {**NOUN, "sendDigits": like(r"[0-9A-DwW#*]{1,32}")},
    "Sip": NOUN,
    "Say": {"language": LANGUAGE, "voice": VOICE, "loop": between(1, 1000)},
    "Play": {"loop": between(1, 1000), "digits": like(r"[0-9wW#*]+")},
    "Pause": {"length": between(1, 600)},
    "Gather": {
        "action": steering,
        "method": METHOD,
        "input": like("dtmf"),
        "numDigits": between(1, 100),
        "timeout": between(1, 600),
        "finishOnKey": like("[0-9#*]?"),
    },
    "Record": {
        "action": steering,
        "method": METHOD,
        "maxLength": between(1, 14_400),
        "timeout": between(1, 600),
        "finishOnKey": like("[0-9#*]*"),
        "playBeep": FLAG,
        "trim": like("trim-silence|do-not-trim"),
        **RECORDING,
    },
    "Redirect": {"method": METHOD},
    "Reject": {"reason": like("rejected|busy")},
    "Hangup": {},
}
VERBS = ATTRIBUTES.keys() - {"Number", "Sip"}
WHISPER_VERBS = {"Say", "Play", "Pause", "Gather", "Hangup"}
"""Another verb in what the called side hears ends with error 13201."""
NESTED = {"Dial": {"Number", "Sip"}, "Gather": {"Say", "Play", "Pause"}}
NEEDED = {"Gather": {"action"}, "Record": {"action"}}
"""Without an action the carrier asks the same address again, and the call goes in circles."""


class BadDocument(AssertionError):
    """Twilio would not do what this document says."""


def check_document(document: str, *, whisper: bool = False) -> ElementTree.Element:
    """The root of a document that Twilio would play as it stands.

    Args:
        whisper: it is played to a destination that has answered.

    Raises:
        BadDocument: with what is wrong in it.
    """
    _need(len(document.encode()) <= LARGEST, "it is larger than 64 kB")
    try:
        root = ElementTree.fromstring(document.encode())
    except ElementTree.ParseError as error:
        raise BadDocument(f"it cannot be parsed: {error}") from None
    _need(root.tag == "Response" and not root.attrib, "its root is no plain <Response>")
    for place, verb in enumerate(root):
        _check_element(verb, WHISPER_VERBS if whisper else VERBS)
        _need(not _is_last(verb) or place == len(root) - 1, f"what follows <{verb.tag}> is never played")
        _need(verb.tag != "Gather" or place < len(root) - 1, "who presses no key is hung up")
        _need(verb.tag != "Reject" or place == 0, "<Reject> stands behind a verb that has answered the call")
    _check_text(root, may_have_text=False)
    return root


def _is_last(verb: ElementTree.Element) -> bool:
    return verb.tag in ("Hangup", "Redirect", "Reject") or (verb.tag == "Dial" and "action" in verb.attrib)


def _check_element(element: ElementTree.Element, allowed: set[str]) -> None:
    tag, text = element.tag, (element.text or "").strip()
    _need(tag in allowed, f"<{tag}> is not allowed here")
    for name, value in element.attrib.items():
        check = ATTRIBUTES[tag].get(name)
        _need(check is not None and check(value), f"<{tag} {name}={value!r}> is not allowed")
    missing = NEEDED.get(tag, set()) - element.attrib.keys()
    _need(not missing, f"<{tag}> lacks {missing}")
    for child in element:
        _check_element(child, NESTED.get(tag, set()))
    _check_text(element, may_have_text=tag in ("Say", "Play", "Number", "Sip", "Redirect"))
    match tag:
        case "Dial":
            _need(1 <= len(element) <= 10, f"<Dial> holds {len(element)} destinations")
            is_sip = all(noun.tag == "Sip" for noun in element)
            caller_id = element.get("callerId")
            _need(caller_id is None or is_sip or E164(caller_id), f"{caller_id!r} may not be shown as caller")
        case "Number":
            _need(E164(text), f"{text!r} is not in E.164")
            both = {"sendDigits", "machineDetection"} <= element.attrib.keys()
            _need(not both, "machines are not detected where digits are sent")
        case "Sip":
            _check_sip(text)
        case "Say":
            _need(1 <= len(text) <= 4096, f"a sentence of {len(text)} letters")
        case "Play":
            _need(address(text) or (not text and "digits" in element.attrib), f"{text!r} cannot be played")
        case "Redirect":
            _need(steering(text), f"{text!r} cannot be asked")
        case "Pause" | "Gather" | "Record" | "Reject" | "Hangup":
            pass


def _check_sip(text: str) -> None:
    uri, _, headers = text.partition("?")
    _need(len(uri) < 255 and SIP_ADDRESS.fullmatch(uri) is not None, f"{uri!r} is not a SIP address")
    _need(uri.count(";transport=") <= 1 and uri.count(";region=") <= 1, f"{uri!r} says a parameter twice")
    _need(len(headers) < 1024, f"headers of {len(headers)} letters")
    for header in headers.split("&") if headers else ():
        name, _, value = header.partition("=")
        _need(re.fullmatch(SIP_HEADERS, name) is not None, f"the header {name!r} is not allowed")
        _need(re.fullmatch(r"(?:[A-Za-z0-9._~-]|%[0-9A-F]{2})+", value) is not None, f"{value!r} in a header")
        _need(not re.search("%0[0-9A-F]|%1[0-9A-F]|%7F", value), f"a control character in {header!r}")


def _check_text(element: ElementTree.Element, *, may_have_text: bool) -> None:
    texts = [child.tail for child in element] + ([] if may_have_text else [element.text])
    _need(not any(text and text.strip() for text in texts), f"<{element.tag}> holds a text that is not read")


def _need(holds: bool, sentence: str) -> None:
    if not holds:
        raise BadDocument(sentence)

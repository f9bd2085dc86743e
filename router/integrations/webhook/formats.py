"""The forms in which a webhook brings a call: our own, with the field names of services that companies come from, or a template's.

Roistat's fields are those of https://help-en.roistat.com/features/calltracking/webhook. CallRail's are those of its post-call webhook
(https://apidocs.callrail.com/#webhooks), old names (`callernum`) beside the new ones. What is not known here is left out there and null at
Roistat, which always sends all names."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from router.integrations.base import Message
from router.integrations.crm.placeholders import fill, unknown_placeholder
from router.lib.phones import country_of, international
from router.voice.models import Status
from router.web.errors import iso

Document = dict[str, Any]
OWN = "own"
CHOICES = {
    OWN: "this server's own",
    "callrail": "as CallRail's post-call webhook",
    "roistat": "as Roistat's webhooks",
    "template": "a template of yours, below",
}
"""The formats, with their names for people."""


def document_of(message: Message) -> Document:
    """What is sent in the format of the settings; a text message has only our own."""
    name = str(message.config.get("format") or OWN)
    if not message.event.startswith("call.") or name not in FORMATS:
        return own(message)
    document = FORMATS[name](message)
    return document | {"test": True} if message.is_test else document


def own(message: Message) -> Document:
    event: Document = {"type": message.event, "timestamp": iso(message.event_at)}
    if message.is_test:
        event["test"] = True
    return event | {"data": message.call}


CALLRAIL_TYPES = {
    Status.VOICEMAIL: "voicemail",
    Status.ABANDONED: "abandoned",
    Status.ANSWERED: "answered",
}
CALLRAIL_EVENTS = {"call.started": "precall", "call.recorded": "callmodified", "call.updated": "callmodified"}


def callrail(message: Message) -> Document:
    call, values = message.call, message.placeholders
    source: Mapping[str, Any] = call["source"] or {}
    recording: Mapping[str, Any] = call["recording"] or {}
    clicks, caller = call["click_ids"] or {}, call["caller"]
    document: Document = {
        "resource_id": call["sid"],
        "type": CALLRAIL_EVENTS.get(message.event, "postcall"),
        "answered": call["status"] == Status.ANSWERED,
        "call_type": CALLRAIL_TYPES.get(call["status"], "missed"),
        "direction": "inbound",
        "duration": str(call["duration"] or 0),  # a text there
        "start_time": call["started_at"],
        "timestamp": iso(message.event_at),
        "voicemail": call["status"] == Status.VOICEMAIL,
        "recording": recording.get("url"),
        "recording_player": recording.get("page"),
        "recording_duration": recording.get("duration"),
        "customer_phone_number": caller,
        "customer_country": country_of(caller) if caller else None,
        "tracking_phone_number": call["number"],
        "business_phone_number": call["destination"],
        "formatted_customer_phone_number": international(caller) if caller else None,
        "formatted_tracking_phone_number": international(call["number"]),
        "first_call": bool(call["first_call"]),
        "source": source.get("source") or source.get("channel"),
        "medium": source.get("medium"),
        "campaign": source.get("campaign"),
        "keywords": source.get("term"),
        "referring_url": call["referrer"],
        "referrer_domain": urlsplit(call["referrer"] or "").hostname,
        "landing_page_url": call["landing_page"],
        **{f"utm_{name}": source.get(name) for name in ("source", "medium", "campaign", "term", "content")},
        "ga": values.get("googleClientId"),
        **{name: clicks.get(name) for name in ("gclid", "fbclid", "msclkid")},
        "callernum": caller,
        "trackingnum": call["number"],
        "destinationnum": call["destination"],
        "datetime": values.get("date"),
        "landingpage": call["landing_page"],
        "referrer": call["referrer"],
        "callsource": source.get("source") or source.get("channel"),
        "referrermedium": source.get("medium"),
    }
    return {name: value for name, value in document.items() if value not in (None, "")}


ROISTAT_STATUS = {
    Status.ANSWERED: "ANSWER",
    Status.BUSY: "BUSY",
    Status.ABANDONED: "CANCEL",
    Status.FAILED: "CONGESTION",
}


def roistat(message: Message) -> Document:
    call, values = message.call, message.placeholders
    recording: Mapping[str, Any] = call["recording"] or {}
    document: Document = {
        "id": call["sid"],
        "caller": (call["caller"] or "").removeprefix("+") or None,
        "callee": call["number"].removeprefix("+"),
        "visit_id": values.get("visit"),
        "marker": values.get("markerSource"),
        "order_id": None,
        "date": values.get("date"),
        "google_client_id": values.get("googleClientId"),
        "custom_fields": [],
        "landing_page": values.get("landingPage"),
        "domain": values.get("domain"),
        "city": None,
        "country": values.get("country"),
        "ip": values.get("ip"),
        "first_visit": None,
        "referrer": values.get("referrer"),
        **{
            f"utm_{name.lower()}": values.get(f"utm{name}")
            for name in ("Source", "Medium", "Campaign", "Term", "Content")
        },
        **{f"roistat_param_{place}": values.get(f"roistatParam{place}") for place in range(1, 6)},
        **{f"source_level_{level}": values.get(f"sourceLevel{level}") for level in range(1, 4)},
    }
    if message.event != "call.started":
        document |= {
            "status": ROISTAT_STATUS.get(call["status"], "NOANSWER"),
            "duration": call["duration"] or 0,
            "file_id": recording.get("id"),
            "link": recording.get("url"),
        }
    return {name: None if value == "" else value for name, value in document.items()}


MEMBERS = (
    *("event", "time", "id", "sid", "kind", "started_at", "caller", "number", "scenario", "destination", "status"),
    *("first_call", "ring_seconds", "duration", "visit", "landing_page", "referrer"),
    *(f"source.{name}" for name in ("channel", "source", "medium", "campaign", "term", "content")),
    *(f"attribution.{name}" for name in ("rule", "confidence", "source_confidence")),
    *("recording.url", "recording.page", "recording.duration", "recording.state", "ga.client_id", "ga.session_id"),
)
"""Of our own document, what a template may name beside the placeholders of CRM fields."""


def template(message: Message) -> Document:
    values = dict(message.placeholders)
    values |= {"event": message.event, "time": iso(message.event_at)}
    values |= {name: as_text(value) for name, value in flat(message.call).items()}
    # without a page's own fields and what is not known: they stay empty
    values = dict.fromkeys(MEMBERS, "") | values
    lines: Mapping[str, str] = message.config.get("template") or {}
    return {name: fill(text, values) for name, text in lines.items()}


def unknown_in(text: str) -> str | None:
    """The first placeholder of a template's line that does not exist."""
    for name in MEMBERS:
        text = text.replace(f"{{{name}}}", "")
    return unknown_placeholder(text)


def flat(document: Mapping[str, Any], before: str = "") -> Document:
    """Members of members by dotted names, `source.campaign`; without lists."""
    found: Document = {}
    for name, value in document.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{before}{name}.")
        elif not isinstance(value, list):
            found[f"{before}{name}"] = value
    return found


def as_text(value: Any) -> str:
    """As it stands in a query or in a template: nothing for null, `true` and `false`."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


FORMATS = {OWN: own, "callrail": callrail, "roistat": roistat, "template": template}

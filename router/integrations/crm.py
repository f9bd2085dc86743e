"""What every CRM has: its slot in a scenario, the settings that all share, whether a record in it is the caller's, whether a call makes a
lead or is added to one (R10), the placeholders of a lead's fields, and the notes about calls.

Search engines of CRMs find by digits; what they find counts only when one of the numbers in the text is the caller's line.
docs/crm.md tells it to people, with a table of cases that is a test."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from html import escape
from typing import Annotated, Any, ClassVar
from zoneinfo import ZoneInfo

import phonenumbers
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, field_validator

from router.accounts.models import Project
from router.attribution.models import Visit
from router.attribution.tracking.parameters import CLICK_IDS
from router.attribution.tracking.schema import FIELD_NAME
from router.integrations.base import Message, Slot
from router.lib.formats import format_duration, format_percent
from router.lib.phones import country_of, line_of, national, numbers_in, spellings_of_line
from router.voice.models import Call
from router.web.network import host_of

CRM = Slot(name="crm", title="CRM", heading="CRM", preview="The CRM gets a lead or a note", names_kind=True)

LEAD_FIELD = re.compile(r"[a-z][a-z0-9_]{0,62}")
MOST_FIELDS, LONGEST_TEMPLATE = 30, 2000


def _as_text(value: Any) -> Any:
    """A user's number in a CRM may come as a number."""
    return "" if value is None else str(value) if type(value) is int else value


Manager = Annotated[str, BeforeValidator(_as_text), StringConstraints(strip_whitespace=True, max_length=200)]


class CrmSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    reserved_fields: ClassVar[frozenset[str]] = frozenset()
    """Fields of a lead that the sender fills itself."""

    manager: Manager = Field(
        "",
        title="Responsible for new leads",
        description="A user of the CRM. Empty, or nobody of this name there: the lead belongs to nobody yet.",
    )
    only_new_customers: bool = Field(True, title="A lead only for a new customer")
    not_while_open: bool = Field(True, title="No new lead while a deal of the same number is open")
    fields: dict[str, str] = Field(
        default_factory=dict,
        max_length=MOST_FIELDS,
        title="Fields of the lead",
        description="One in each line: name = Call from {phone}, {utmCampaign}. A field that your pages tell is {param.NAME}, or"
        " {roistatParam1} to {roistatParam5}; an advertisement’s click id is {gclid}, {fbclid}, {yclid} and so on. Every call is also"
        " added as a note, whatever stands here.",
    )

    @field_validator("fields")
    @classmethod
    def _templates(cls, value: dict[str, str]) -> dict[str, str]:
        for name, template in value.items():
            if not LEAD_FIELD.fullmatch(name) or name in cls.reserved_fields:
                raise ValueError(f"“{name[:60]}” is not the name of a field that can be filled.")
            if (unknown := unknown_placeholder(template)) is not None:
                raise ValueError(f"There is no placeholder {{{unknown[:60]}}} (in “{name}”).")
            if len(template) > LONGEST_TEMPLATE:
                raise ValueError(f"“{name}” is longer than {LONGEST_TEMPLATE} characters.")
        return value


SCRIPTS = ("٠", "۰", "０")
"""The zeros of other scripts that people type numbers in: Arabic, Persian, full width."""
INTERNATIONAL = re.compile(r"\+[\d\s().\-–/]{6,30}", re.ASCII)
EXTENSION = re.compile(r"(?<=\d)\s?[-–/]\s?\d{1,4}(?=\s*(?:$|[,;/|])|\s+[^\W1-9]|\s+[+(])")
"""The last digits behind a dash or a slash: `-12` of `030 7664398-12`."""
EXTENSION_WORD = re.compile(
    r"(?<=\d)[\s,;(]*\b(?:dw|durchwahl|ext(?:ension)?|x|app(?:arat)?|nst|nebenstelle|poste|int|доб)\b[.:\s]*(?=\d{1,5}\b)",
    re.IGNORECASE,
)


class Match(IntEnum):
    """How a record was found, the surest first."""

    KNOWN = 0
    """The lead that already stood for this caller, or the CRM's own reading of its phone field."""
    TYPED = 1
    """One of the numbers in the text is the caller's."""
    EXTENSION = 2
    """The caller's line is that of a number with an extension, or its direct dial."""
    ABROAD = 3
    """A number without a country code, which is the caller's in the caller's own country."""


@lru_cache(maxsize=1024)
def digit_rows(caller: str) -> tuple[str, ...]:
    """The national digits of each spelling of the caller's line, in the scripts in which people type digits. Every usual way to write the
    number has the digits of at least one row in this order, with anything between them."""
    rows = {national_digits(spelling) for spelling in spellings_of_line(caller)}
    # without those that hold all digits of another one in its order
    least = sorted(row for row in rows if not any(row != other and re.search(".*".join(other), row) for other in rows))
    scripts = (str.maketrans("0123456789", "".join(chr(ord(zero) + digit) for digit in range(10))) for zero in SCRIPTS)
    return (*least, *(row.translate(script) for script in scripts for row in least))


def match(text: str, caller: str, countries: Iterable[str]) -> Match | None:
    """How the text of a phone field says that the record is the caller's; None: somebody else's.

    countries: in which a number without a country code is read: the record's own, its company's, the project's.
    """
    homes = tuple(dict.fromkeys(country for country in countries if country))
    line = line_of(caller)
    with_plus = ("+" + re.sub(r"\(0\)|\D", "", number) for number in INTERNATIONAL.findall(text))
    if _is_in(text, caller, homes) or any(line_of(number) == line for number in with_plus):
        return Match.TYPED  # with its plus, also when it is newer than the tables of numbering plans
    # the base numbers alone, and extensions in words as direct dials: `030 7664398 DW 12` is `030 766439812`
    variants = (EXTENSION.sub(" … ", text), EXTENSION_WORD.sub("", text))
    if any(_is_in(variant, caller, homes) for variant in variants if variant != text):
        return Match.EXTENSION
    # Without its country code, in its own country's form, digits alone say too little: `030 7664398` is a number in Berlin and in Brescia.
    # So no home country may have a number of these digits, or the area code has to stand there as the caller's country writes it and not
    # as home does: `0664 1234567` is a mobile number in Austria, in Germany it would be `06641 234567`.
    country = country_of(line)
    if country is None or country in homes or not _is_in(text, caller, [country]):
        return None
    ending = national_digits(line)[-6:]
    rivals = {number for home in homes for number in numbers_in(text, home) if number.endswith(ending)}
    is_abroad = not rivals or (_stands_so(text, line) and not any(_stands_so(text, rival) for rival in rivals))
    return Match.ABROAD if is_abroad else None


def national_digits(e164: str) -> str:
    """`307664398` of `+49307664398`."""
    try:
        return phonenumbers.national_significant_number(phonenumbers.parse(e164, None))
    except phonenumbers.NumberParseException:
        return e164.lstrip("+")


def _is_in(text: str, caller: str, countries: Iterable[str | None]) -> bool:
    line = line_of(caller)
    return any(line_of(number) == line for country in countries or (None,) for number in numbers_in(text, country))


def _stands_so(text: str, e164: str) -> bool:
    """Whether the first group of digits stands there as the number's country writes it."""
    first = re.findall(r"\d+", national(e164))[:1]
    return bool(first) and first[0] in re.findall(r"\d+", text)


@dataclass(frozen=True)
class FoundLead:
    """A lead or deal with the caller's number, as the CRM has it."""

    id: int
    is_open: bool
    match: Match = Match.KNOWN


def lead_to_add_to(
    leads: Sequence[FoundLead], known: int | None, is_customer: bool, only_new_customers: bool, not_while_open: bool
) -> FoundLead | str:
    """The lead that a call is added to; else `customer` (known, but without any lead) or `create`.

    Open leads come first; among equals the lead that stood for this caller before, then the surest match, then the newest lead.

    leads: those of the caller's number, newest first. known: the id of the lead that stood for this caller before.
    """
    preferred = sorted(leads, key=lambda lead: (lead.id != known, lead.match))
    still_open = [lead for lead in preferred if lead.is_open]
    if not_while_open and still_open:
        return still_open[0]
    if only_new_customers and preferred:
        return preferred[0]
    return "customer" if only_new_customers and is_customer else "create"


PLACE = re.compile(r"\{([^{}]*)\}")
UNKNOWN_HERE = (
    *("city", "region", "agent", "email", "name", "os", "metrikaClientId", "facebookClientId", "firstVisit"),
    *(f"sourceAliasLevel{level}" for level in range(1, 8)),
)
"""Known on the market and not to us: they stay empty, so that templates can be taken over as they are."""

OLD_PARAMS = {f"roistatParam{place}": f"roistat_param{place}" for place in range(1, 6)}
"""The market's placeholders of the site's own fields, with the fields that they stand for."""

PARAM = "param."
"""`{param.NAME}` is the site's own field of this name."""

LEVELS = tuple(f"sourceLevel{level}" for level in range(1, 8))
UTM = ("utmSource", "utmMedium", "utmCampaign", "utmTerm", "utmContent")
OF_VISIT = {"visit": "number", "landingPage": "page", "referrer": "referrer", "ip": "address", "visitor_uid": "visitor"}
"""Placeholders that are columns of the visit."""

PLACEHOLDERS = frozenset(
    (
        *(*UNKNOWN_HERE, *OLD_PARAMS, *CLICK_IDS, *LEVELS, *UTM, *OF_VISIT),
        *("phone", "source", "markerSource", "googleClientId", "country", "domain", "date"),
    )
)


def placeholder_values(call: Call, visit: Visit | None, project: Project) -> dict[str, str]:
    """Every placeholder with its value; what is not known is empty."""
    source: Mapping[str, Any] = call.source or {}
    levels = [str(source.get(part) or "") for part in ("source", "medium", "campaign", "term", "content")]
    site = project.site[0] if project.site else ""
    values = dict.fromkeys(PLACEHOLDERS, "")
    values.update(zip(LEVELS, levels, strict=False))
    values.update(zip(UTM, levels, strict=True))
    values |= {
        "phone": call.caller or "",
        "source": str(source.get("source") or source.get("channel") or ""),
        "markerSource": "_".join(level for level in levels[:3] if level),
        "country": (country_of(call.caller) if call.caller else None) or "",
        "domain": (host_of(visit.page) if visit else "") or site,
        "date": call.started_at.astimezone(ZoneInfo(project.timezone)).strftime("%Y-%m-%d %H:%M:%S"),
    }
    if visit is not None:
        values |= {name: str(getattr(visit, column)) for name, column in OF_VISIT.items()}
        values |= {name: str(visit.click_ids.get(name) or "") for name in CLICK_IDS}
        values |= {place: visit.params.get(name, "") for place, name in OLD_PARAMS.items()}
        values |= {f"{PARAM}{name}": text for name, text in visit.params.items()}
        values["googleClientId"] = str(visit.ga.get("client_id") or "")
    return values


def unknown_placeholder(template: str) -> str | None:
    """The first placeholder of a template that does not exist."""
    for name in PLACE.findall(template):
        is_own_field = name.startswith(PARAM) and FIELD_NAME.fullmatch(name, len(PARAM))
        if name not in PLACEHOLDERS and not is_own_field:
            return str(name)
    return None


def fill(template: str, values: Mapping[str, str]) -> str:
    """The template with its values; values are never read as templates themselves."""
    return PLACE.sub(lambda place: values.get(place.group(1), ""), template)


MARK = "Call id: "


def call_note(message: Message) -> str:
    """When, who, how the call ended, from where and how sure; its recording; and its id, by which the note is found again."""
    html = [essence(message), *(escape(line) for line in _origin(message)[1:])]
    if page := recording_page(message):
        html.append(_link("Recording", page))
    return _note(message, *html)


def essence(message: Message) -> str:
    """What a correction would change, as it stands in the note: how the call ended, from where and how sure."""
    call = message.call
    end = message.outcome.replace("_", " ")
    if call["duration"]:
        end += f", {format_duration(call['duration'])}"
    if call["ring_seconds"]:
        end += f" (rang {format_duration(call['ring_seconds'])})"
    summary = f"Call from {call['caller']} to {call['number']}, {message.placeholders['date']}: {end}."
    return f"{escape(summary)}<br>{escape(_origin(message)[0])}"


def correction_note(message: Message) -> str:
    return _note(message, "Corrected:", essence(message))


def recording_page(message: Message) -> str:
    """Where people hear what was recorded of the call; empty: there is nothing to hear, and nothing is expected."""
    recording: Mapping[str, Any] = message.call["recording"] or {}
    return str(recording["page"]) if recording.get("state") in ("waiting", "kept") else ""


def recording_note(message: Message) -> str:
    link = _link("Recording", recording_page(message))
    return _note(message, f"{link} of the call of {escape(message.placeholders['date'])}")


def _note(message: Message, *html: str) -> str:
    return f"<p>{'<br>'.join((*html, escape(MARK + message.call['sid'])))}</p>"


def description(message: Message) -> str:
    """Where the lead came from, for the lead itself."""
    return "<br>".join(escape(line) for line in _origin(message))


def _origin(message: Message) -> list[str]:
    call = message.call
    source: Mapping[str, Any] = call["source"] or {}
    parts = [str(source[name]) for name in ("source", "medium", "campaign") if source.get(name)]
    confidence = call["attribution"].get("source_confidence")
    if confidence is None:
        confidence = call["attribution"].get("confidence")
    sure = "" if confidence is None else f", {format_percent(confidence)} sure"
    lines = [f"Source: {' / '.join(parts) or 'not known'}{sure}"]
    if call["visit"]:
        lines.append(f"Visit: {call['visit']}")
    for label, value in (("Landing page", call["landing_page"]), ("Referrer", call["referrer"])):
        if value:
            lines.append(f"{label}: {value}")
    return lines


def _link(words: str, address: str) -> str:
    if not address.startswith(("https://", "http://")):
        return escape(f"{words}: {address}")
    return f'<a href="{escape(address)}">{escape(words)}</a>'

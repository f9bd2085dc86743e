"""Projects: the schema of their settings, which pages, API and demo share, and making and changing them."""

import re
import secrets
from collections.abc import Callable, Container, Iterable, Mapping
from datetime import datetime
from functools import cache, lru_cache
from ipaddress import ip_network
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit
from zoneinfo import available_timezones

from phonenumbers import SUPPORTED_REGIONS
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from router.accounts.audit import Change
from router.accounts.ledger import has_entries, lock_balance
from router.accounts.models import Project, fallback_chosen
from router.config import Networks, Settings
from router.db import start_visit_numbers
from router.lib.formats import CURRENCIES
from router.lib.phones import cost_warning, country_refusal, international, line_of, read_destination, read_phone
from router.lib.smtp import is_email_address
from router.web.errors import LOOPBACK, Problem, within
from router.web.network import (
    MOST_HOSTS,
    BadHost,
    host_of,
    host_of_pattern,
    is_same_site,
    parse_host,
    parse_hosts,
    registrable_domain,
)

PATH = re.compile(r"(/[A-Za-z0-9._~-]+)*")
MOST_STAFF = 100
WIDEST = {4: 8, 6: 32}

Consent = Literal["none", "limited", "full"]


def parse_tag_address(text: str, inside: Networks = ()) -> str:
    """`https://Calls.example.com/` gives `https://calls.example.com`; empty stays empty.

    Args:
        inside: private networks (ROUTER_ALLOW_PRIVATE) whose addresses may be http.

    Raises:
        ValueError: it is no address that a page can load a script from.
    """
    text = text.strip().rstrip("/")
    if not text:
        return ""
    try:
        parts = urlsplit(text)
        host = parse_host(f"{parts.scheme}://{parts.netloc}")
    except (BadHost, ValueError):
        raise _refusal(text) from None
    is_plain = parts.scheme in ("http", "https") and not (parts.query or parts.fragment or "*" in host)
    is_path = PATH.fullmatch(parts.path) is not None and not {".", ".."} & set(parts.path.split("/"))
    if not (is_plain and is_path) or len(text) > 200:
        raise _refusal(text)
    name = parts.hostname or ""
    if parts.scheme == "http" and name != "localhost" and not within(name, (*inside, *LOOPBACK)):
        raise ValueError("Begin it with https:// because browsers keep no secure cookie otherwise.")
    return f"{parts.scheme}://{host}{parts.path}"


def _refusal(text: str) -> ValueError:
    return ValueError(
        f"“{text[:80]}” is not an address like https://calls.example.com or https://www.example.com/calls."
    )


def is_of_site(tag_address: str, site: Iterable[str]) -> bool:
    """Whether the tag's own address has the registrable domain of one of the site's hosts: else its cookie is a foreign one."""
    return any(is_same_site(host_of(tag_address), host_of_pattern(pattern)) for pattern in site)


def parse_staff(typed: str | Iterable[str]) -> list[str]:
    """Addresses and networks in their short form, each once: `203.0.113.7`, `198.51.100.0/24`, `2001:db8::/48`.

    Raises:
        ValueError: one of them is none, or so wide that it takes in half a country; or there are too many.
    """
    parts = re.split(r"[\s,;]+", typed) if isinstance(typed, str) else [part.strip() for part in typed]
    networks: dict[str, None] = {}
    for text in filter(None, parts):
        try:
            network = ip_network(text, strict=False)
        except ValueError:
            raise ValueError(
                f"“{text[:60]}” is neither an address like 203.0.113.7 nor a network like 198.51.100.0/24."
            ) from None
        if network.prefixlen < WIDEST[network.version]:
            raise ValueError(f"“{text[:60]}” is too wide: name a network of /{WIDEST[network.version]} or smaller.")
        networks[str(network.network_address) if network.num_addresses == 1 else str(network)] = None
    if len(networks) > MOST_STAFF:
        raise ValueError(f"Name at most {MOST_STAFF} addresses and networks.")
    return list(networks)


def known_here(settings: Settings, before: Project | None = None) -> dict[str, Any]:
    """What the validators of a project's values have to know.

    Args:
        before: the project as it is stored; None: a new one.
    """
    return {
        "inside": settings.allow_private,
        "countries": settings.destination_countries,
        "fallback": before.fallback_destination if before else "",
    }


def _address(value: object, info: ValidationInfo) -> str:
    if value is not None and not isinstance(value, str):
        raise ValueError("Give an address as text.")
    return parse_tag_address(value or "", (info.context or {}).get("inside", ()))


def texts_read_by(read: Callable[[str | list[str]], list[str]], refusal: str) -> BeforeValidator:
    """For a list of texts, or one text of them, which `read` makes the field's value."""

    def check(value: object) -> list[str]:
        if not isinstance(value, str) and not (
            isinstance(value, list) and all(isinstance(text, str) for text in value)
        ):
            raise ValueError(refusal)
        return read(value)

    return BeforeValidator(check)


TEXTS = WithJsonSchema({"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "string"}]})


def parse_unwanted_referrals(typed: str | Iterable[str]) -> list[str]:
    """Hosts and patterns of hosts, each once, without a port: `https://Pay.Example.com/checkout` gives `pay.example.com`.

    Raises:
        ValueError: one of them is no host, or takes in all sites of an ending (`*.com`); or there are too many.
    """
    parts = re.split(r"[\s,;]+", typed) if isinstance(typed, str) else [part.strip() for part in typed]
    hosts = list(dict.fromkeys(re.sub(r":\d+$", "", parse_host(part)) for part in parts if part))
    for host in hosts:
        if host.startswith("*.") and registrable_domain(host[2:]) is None:
            raise ValueError(f"“{host[:60]}” is too wide: name a domain, like *.example.com.")
    if len(hosts) > MOST_HOSTS:
        raise ValueError(f"Name at most {MOST_HOSTS} hosts.")
    return hosts


TagAddress = Annotated[str, BeforeValidator(_address), Field(max_length=200)]
Staff = Annotated[list[str], texts_read_by(parse_staff, "Give a list of addresses and networks."), TEXTS]
UnwantedReferrals = Annotated[list[str], texts_read_by(parse_unwanted_referrals, "Give a list of hosts."), TEXTS]


class TagValues(BaseModel):
    """What is typed in about the tag; the columns of `Project` say what each means."""

    model_config = ConfigDict(extra="forbid")

    consent: Consent = "full"
    gpc_refuses: bool = Field(default=False, strict=True)
    tag_address: TagAddress = ""
    staff_addresses: Staff = Field(default_factory=list)
    ignore_automation: bool = Field(default=False, strict=True)
    unwanted_referrals: UnwantedReferrals = Field(default_factory=list)


@lru_cache(maxsize=1024)
def _networks(staff: tuple[str, ...]) -> Networks:
    return tuple(ip_network(network) for network in staff)


def is_staff(staff: tuple[str, ...], address: str) -> bool:
    """Whether a visitor's address is one of those that a project keeps out of its figures."""
    return bool(staff) and within(address, _networks(staff))


MOST_NUMBERS = 200
LONGEST_REMARK = 80
REMARK = re.compile(r"[,;:#\t]|(?=[^\W\d_])")
"""Where the remark of a line begins: behind a comma and the like, or with the first letter."""
DIVIDERS = " \t,;:#-–—"


class OwnNumber(BaseModel):
    """`number`: E.164 once it is read with the project's country."""

    model_config = ConfigDict(extra="forbid")

    number: str = Field(max_length=60)
    remark: str = Field(default="", max_length=LONGEST_REMARK)


def _listed(value: object) -> list[Any]:
    """Objects `{number, remark}` and lines, or one text of lines: `+49 30 7664398 (Anna, 2nd floor)` gives
    `{number: "+49 30 7664398", remark: "Anna, 2nd floor"}`."""
    lines = value.splitlines() if isinstance(value, str) else value
    if not isinstance(lines, list) or not all(isinstance(line, str | Mapping) for line in lines):
        raise ValueError("Give a list of numbers, each with its remark.")
    listed: list[Any] = []
    for line in lines:
        if isinstance(line, Mapping):
            listed.append(line)
        elif line.strip():
            number, remark = [*REMARK.split(line, maxsplit=1), ""][:2]
            remark = remark.strip(DIVIDERS)
            if number.rstrip().endswith("("):
                remark = remark.removesuffix(")")
            listed.append({"number": number.rstrip(DIVIDERS + "("), "remark": remark})
    return listed


OwnNumbers = Annotated[
    list[OwnNumber],
    BeforeValidator(_listed),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "array", "items": {"anyOf": [OwnNumber.model_json_schema(), {"type": "string"}]}},
                {"type": "string"},
            ]
        }
    ),
]


def parse_own_numbers(typed: Iterable[OwnNumber], country: str) -> list[OwnNumber]:
    """The numbers in E.164, each line once: of two spellings of one line the first stays.

    Raises:
        ValueError: one of them is no number, or can be read in two ways; or there are too many.
    """
    numbers: dict[str, OwnNumber] = {}
    for own in typed:
        if not own.number.strip():
            raise ValueError(f"“{own.remark[:40]}” has no number: write the number first, then its remark.")
        number = read_phone(own.number, country)
        numbers.setdefault(line_of(number), OwnNumber(number=number, remark=" ".join(own.remark.split())))
    if len(numbers) > MOST_NUMBERS:
        raise ValueError(f"Name at most {MOST_NUMBERS} numbers.")
    return list(numbers.values())


def written_numbers(own_numbers: Iterable[Mapping[str, str]]) -> str:
    """As they are typed, one a line: `+49 30 7664398, Anna`."""
    return "\n".join(", ".join(filter(None, [international(own["number"]), own.get("remark")])) for own in own_numbers)


def parse_email(value: object) -> str:
    """An e-mail address, case-folded.

    Raises:
        ValueError: it is none.
    """
    text = str(value).strip().casefold()
    if not is_email_address(text):
        raise ValueError(f"“{text[:80]}” is not an e-mail address.")
    return text


def _one_of(known: Callable[[], Container[str]], noun: str, capitals: bool = False) -> BeforeValidator:
    def check(value: object) -> str:
        text = str(value or "").strip()
        text = text.upper() if capitals else text
        if text not in known():
            raise ValueError(f"“{text[:60]}” is not {noun}.")
        return text

    return BeforeValidator(check)


def parse_name(value: object) -> str:
    """On one line.

    Raises:
        ValueError: there is none.
    """
    text = " ".join(value.split()) if isinstance(value, str) else ""
    if not text:
        raise ValueError("Give it a name.")
    return text


def parse_sentence(value: object) -> str:
    """On one line, without signs that no document of a carrier can hold."""
    text = value if isinstance(value, str) else ""
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())


Sentence = Annotated[str, BeforeValidator(parse_sentence), Field(max_length=300)]
Name = Annotated[str, BeforeValidator(parse_name), Field(max_length=120)]
Hosts = Annotated[list[str], texts_read_by(parse_hosts, "Give a host, an address or a list of them."), TEXTS]
Country = Annotated[
    str, _one_of(lambda: {"", *SUPPORTED_REGIONS}, "a country code of two letters, like DE", capitals=True)
]
Timezone = Annotated[str, _one_of(cache(available_timezones), "a time zone like Europe/Berlin")]
Currency = Annotated[str, _one_of(lambda: CURRENCIES, "a currency of ISO 4217, like EUR", capitals=True)]
RepeatCredit = Literal["first_call", "last_non_direct", "own_visit"]
TellInternal = Literal["nobody", "webhooks", "all"]
BlockedAnswer = Literal["busy", "not_in_service", "sentence"]
Email = Annotated[str, BeforeValidator(parse_email)]


class BlockingValues(BaseModel):
    """What is typed in about callers who are not put through; the columns of `Project` say what each means."""

    model_config = ConfigDict(extra="forbid")

    block_withheld: bool = Field(default=False, strict=True)
    block_failed_verification: bool = Field(default=False, strict=True)
    block_robocalls: bool = Field(default=True, strict=True)
    blocked_answer: BlockedAnswer = "busy"
    blocked_sentence: Sentence = ""
    calls_per_caller: int = Field(default=5, ge=0, le=1000)
    calls_per_number: int = Field(default=200, ge=0, le=10_000)
    tell_blocked: TellInternal = "nobody"

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.blocked_answer == "sentence" and not self.blocked_sentence:
            raise Problem(422, "Write the sentence that a blocked caller hears.", "blocked_sentence")
        return self


class ProjectValues(TagValues, BlockingValues):
    """What is typed in about a project. `fallback_destination` and `own_numbers` are read with the country; a change of `repeat_credit` or
    `own_numbers` counts for the calls that come after it, and only the operator changes the price of a number."""

    name: Name
    site: Hosts
    country: Country = ""
    timezone: Timezone
    currency: Currency
    email: Email
    fallback_destination: str = Field(max_length=200)
    visit_gap_seconds: int = Field(default=1800, ge=60, le=86400)
    source_days: int = Field(default=30, ge=0, le=365)
    repeat_credit: RepeatCredit = "first_call"
    recording_days: int = Field(default=90, ge=0, le=3650)
    message_days: int = Field(default=365, ge=0, le=3650)
    own_numbers: OwnNumbers = Field(default_factory=list)
    tell_internal: TellInternal = "nobody"
    number_price_minor: int | None = Field(default=None, ge=0, le=10**12, strict=True)

    @field_validator("fallback_destination")
    @classmethod
    def _callable(cls, text: str, info: ValidationInfo) -> str:
        destination, known = read_destination(text, info.data.get("country", "")), info.context or {}
        if destination == known.get("fallback"):
            return destination
        if refusal := country_refusal(destination, known.get("countries", ())):
            raise ValueError(refusal)
        if warning := cost_warning(destination):
            raise ValueError(f"{warning} Name an ordinary line: calls that nobody else takes go there.")
        return destination

    @field_validator("own_numbers")
    @classmethod
    def _in_e164(cls, numbers: list[OwnNumber], info: ValidationInfo) -> list[OwnNumber]:
        return parse_own_numbers(numbers, info.data.get("country", ""))

    @model_validator(mode="after")
    def _own_address(self) -> "ProjectValues":
        if self.tag_address and not is_of_site(self.tag_address, self.site):
            raise Problem(
                422,
                f"{self.tag_address} has to be an address of {self.site[0]} or of another host of the site.",
                "tag_address",
            )
        return self


def create_project(session: Session, values: ProjectValues, now: datetime) -> Project:
    """A new project with its counter of visit numbers.

    Raises:
        Problem: 422 when calls could not be forwarded to its fallback destination.
    """
    fallback_chosen.send(None, session=session, destination=values.fallback_destination)
    project = Project(**values.model_dump(), key=secrets.token_hex(8), created_at=now)
    session.add(project)
    session.flush()
    start_visit_numbers(session, project.id)
    return project


def change_project(change: Change, version: int, values: ProjectValues, action: str) -> None:
    """Stores the values; the audit trail tells each field that changed with `[before, after]`.

    Args:
        action: what the audit trail calls the change.

    Raises:
        Problem: 409 when somebody changed the project since `version` was read; 422 for another currency than the ledger's, and
            for a fallback destination to which calls could not be forwarded.
    """
    session, before = change.session, change.project
    fallback_chosen.send(None, session=session, destination=values.fallback_destination)
    stored = values.model_dump()
    lock_balance(session, before.id)
    currency = session.execute(select(Project.currency).where(Project.id == before.id)).scalar_one()
    if currency != values.currency and has_entries(session, before.id):
        raise Problem(
            422, f"The entries of the balance are in {currency}: the currency cannot change any more.", "currency"
        )
    changed = session.execute(
        update(Project)
        .where(Project.id == before.id, Project.version == version)
        .values(**stored, version=version + 1)
        .returning(Project.id)
        .execution_options(synchronize_session=False)
    ).first()
    if changed is None:
        raise Problem(409, "Somebody else changed the project meanwhile. Load it again and repeat your change.")
    changes = {name: [getattr(before, name), value] for name, value in stored.items() if getattr(before, name) != value}
    change.record(action, values.name, **changes)


def suspend_project(session: Session, project_id: int, suspended_at: datetime | None) -> None:
    session.execute(
        update(Project).where(Project.id == project_id).values(suspended_at=suspended_at, version=Project.version + 1)
    )

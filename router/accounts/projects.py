"""Making and changing projects; pages, API and demo use the same functions."""

import re
import secrets
from datetime import datetime
from functools import cache
from typing import Annotated, Any, Literal
from zoneinfo import available_timezones

import phonenumbers
from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from router.accounts.hosts import read_hosts
from router.accounts.ledger import has_entries, lock_balance
from router.accounts.models import Project
from router.accounts.own_numbers import OwnNumbers, read_own_numbers
from router.accounts.signals import fallback_chosen
from router.accounts.tag_values import TagValues, is_of_site
from router.database import start_visit_numbers
from router.money import CURRENCIES
from router.phones import BadPhone, read_destination
from router.web import Problem

EMAIL = re.compile(
    r"[^@\s,;<>()\[\]\\\"]{1,64}@(?=.{1,189}$)[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)+"
)


def read_email(value: object) -> str:
    """An e-mail address, case-folded.

    Raises:
        ValueError: it is none.
    """
    text = str(value).strip().casefold()
    if not EMAIL.fullmatch(text):
        raise ValueError(f"“{text[:80]}” is not an e-mail address.")
    return text


def _country(value: object) -> str:
    text = str(value or "").strip().upper()
    if text and text not in phonenumbers.SUPPORTED_REGIONS:
        raise ValueError(f"“{text[:20]}” is not a country code of two letters, like DE.")
    return text


def _timezone(value: object) -> str:
    text = str(value).strip()
    if text not in _zones():
        raise ValueError(f"“{text[:60]}” is not a time zone like Europe/Berlin.")
    return text


@cache
def _zones() -> set[str]:
    return available_timezones()


def _currency(value: object) -> str:
    text = str(value).strip().upper()
    if text not in CURRENCIES:
        raise ValueError(f"“{text[:20]}” is not a currency of ISO 4217, like EUR.")
    return text


def _hosts(value: object) -> list[str]:
    if not isinstance(value, str) and not (isinstance(value, list) and all(isinstance(one, str) for one in value)):
        raise ValueError("Give a host, an address or a list of them.")
    return read_hosts(value)


def _name(value: object) -> str:
    text = " ".join(value.split()) if isinstance(value, str) else ""
    if not text:
        raise ValueError("Give it a name.")
    return text


Name = Annotated[str, BeforeValidator(_name), Field(max_length=120)]
Hosts = Annotated[
    list[str],
    BeforeValidator(_hosts),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]
Country = Annotated[str, BeforeValidator(_country)]
Timezone = Annotated[str, BeforeValidator(_timezone)]
Currency = Annotated[str, BeforeValidator(_currency)]
RepeatCredit = Literal["first_call", "last_non_direct", "own_visit"]
TellInternal = Literal["nobody", "webhooks", "all"]
Email = Annotated[str, BeforeValidator(read_email)]


class ProjectValues(TagValues):
    """What is typed in about a project. `fallback_destination` and `own_numbers` are read with the country."""

    name: Name
    site: Hosts
    country: Country = ""
    timezone: Timezone
    currency: Currency
    email: Email
    fallback_destination: str = Field(max_length=200)
    visit_gap_seconds: int = Field(default=1800, ge=60, le=86400)
    source_days: int = Field(default=30, ge=0, le=365)
    """For how many days a visit that comes back directly keeps its last known marketing source; 0: not at all."""
    repeat_credit: RepeatCredit = "first_call"
    """What a repeat call is credited to (R7); a change counts for the calls that come after it."""
    own_numbers: OwnNumbers = Field(default_factory=list)
    """The company's own telephones, `{number, remark}` each: their calls are internal; a change counts for the calls that come after it."""
    tell_internal: TellInternal = "nobody"
    """Who is told about internal calls: nobody, webhooks, or all (CRM and analytics too)."""
    number_price_minor: int | None = Field(default=None, ge=0, le=10**12, strict=True)
    """What one number costs for 7 days here; None: the server's price. Only the operator changes it."""

    @model_validator(mode="after")
    def _destination(self) -> "ProjectValues":
        try:
            self.fallback_destination = read_destination(self.fallback_destination, self.country)
        except BadPhone as error:
            raise Problem(422, str(error), "fallback_destination") from None
        return self

    @model_validator(mode="after")
    def _own_telephones(self) -> "ProjectValues":
        try:
            self.own_numbers = read_own_numbers(self.own_numbers, self.country)
        except ValueError as error:
            raise Problem(422, str(error), "own_numbers") from None
        return self

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
    _ask_about_fallback(session, values)
    project = Project(**values.model_dump(), key=secrets.token_hex(8), created_at=now)
    session.add(project)
    session.flush()
    start_visit_numbers(session, project.id)
    return project


def change_project(session: Session, project_id: int, version: int, values: ProjectValues) -> None:
    """
    Raises:
        Problem: 409 when somebody changed it since `version` was read; 422 for another currency than the ledger's, and for a
            fallback destination to which calls could not be forwarded.
    """
    _ask_about_fallback(session, values)
    changes: dict[str, Any] = values.model_dump()
    _keep_currency(session, project_id, values.currency)
    changed = session.execute(
        update(Project)
        .where(Project.id == project_id, Project.version == version)
        .values(**changes, version=version + 1)
        .returning(Project.id)
        .execution_options(synchronize_session=False)
    ).first()
    if changed is None:
        raise Problem(409, "Somebody else changed the project meanwhile. Load it again and repeat your change.")


def _keep_currency(session: Session, project_id: int, currency: str) -> None:
    lock_balance(session, project_id)
    present = session.execute(select(Project.currency).where(Project.id == project_id)).scalar_one()
    if present != currency and has_entries(session, project_id):
        raise Problem(
            422, f"The entries of the balance are in {present}: the currency cannot change any more.", "currency"
        )


def _ask_about_fallback(session: Session, values: ProjectValues) -> None:
    fallback_chosen.send(None, session=session, destination=values.fallback_destination)


def differences(project: Project, values: ProjectValues) -> dict[str, Any]:
    """What the audit trail says about a change: field to `[before, after]`."""
    changes = values.model_dump()
    return {name: [getattr(project, name), new] for name, new in changes.items() if getattr(project, name) != new}


def suspend_project(session: Session, project_id: int, suspended_at: datetime | None) -> None:
    """Suspends a project, or resumes it (None)."""
    session.execute(
        update(Project).where(Project.id == project_id).values(suspended_at=suspended_at, version=Project.version + 1)
    )

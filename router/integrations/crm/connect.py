"""Connecting a CRM: what its buttons in the wizard do, what the form shows beside them, and whether the names in its settings exist there.

The CRM is asked outside of transactions; what it said is kept (`accounts.py`)."""

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from router.accounts.models import Project
from router.attribution.models import Visit
from router.integrations.base import DeliveryError, Expired, Message, Skipped, Vendor
from router.integrations.crm.accounts import (
    CHECK_SECONDS,
    FRESH,
    check_connection,
    choices_of,
    connector_of,
    keep_checked,
    known_account,
    unknown_name,
)
from router.integrations.crm.connector import OWN_FIELDS, Access, Checked, Connector, answers_read
from router.integrations.crm.placeholders import fill, placeholder_values
from router.lib.http_client import Outgoing
from router.lib.tls import trusted_authorities
from router.scenarios.documents import AskFirst, Pressed
from router.server import Server
from router.voice.models import EXTERNAL, Call
from router.web.errors import iso

log = structlog.get_logger(__name__)

LONGEST_LIST = 4 * 1024 * 1024
"""Of a CRM's answer that lists all its fields: some have hundreds, each with a page of description."""
TEST_CALLER = "+14155550100"
"""A number that is nobody's."""
SAMPLE = {"phone": TEST_CALLER, "visit": "10234", "utmSource": "google", "utmMedium": "cpc", "utmCampaign": "example"}
"""Of the placeholders, while no call was made yet."""
_SILENT: dict[tuple[int, str], float] = {}
"""CRMs that did not answer when they were asked for names, with the time (monotonic): saving does not wait for them again at once."""


@dataclass(frozen=True)
class CrmNames:
    """Whether a CRM has what its settings name."""

    server: Server
    session: Session
    project: Project
    vendor: Vendor
    receiver: str

    def refusal(self, member: str, name: str, config: Mapping[str, Any], secret: str) -> str | None:
        """Why this name of `Choices.<member>` cannot be used; None: it can, or the CRM does not answer.

        Raises:
            AskFirst: nobody has asked the CRM lately.
        """
        if not name.strip() or connector_of(self.vendor) is None:
            return None
        account = known_account(self.session, self.project.id, self.receiver)
        choices = getattr(choices_of(account), member)
        sentence = unknown_name(self.vendor.name, name, choices)
        if account is not None and (sentence is None and choices):
            return None
        now, asked = self.server.now(), (self.project.id, self.receiver)
        if account is not None and now - account.checked_at < FRESH:
            return sentence
        if time.monotonic() - _SILENT.get(asked, -1e9) < FRESH.total_seconds():
            return sentence
        server, project_id, vendor, receiver = self.server, self.project.id, self.vendor, self.receiver

        def ask() -> None:
            outgoing = _outgoing(server)
            try:
                checked = check_connection(vendor, outgoing, config, secret, (), now)
            except DeliveryError as error:
                log.info("the CRM was not asked for names", receiver=receiver, error=str(error))
                _SILENT[asked] = time.monotonic()
                return
            with server.database.writing() as session:
                keep_checked(session, project_id, receiver, vendor.kind, checked, now)

        raise AskFirst(ask)


@dataclass(frozen=True)
class CrmButtons:
    """The buttons of a CRM's form. Nothing of it is stored yet, except what the CRM answers."""

    server: Server
    project: Project
    vendor: Vendor
    receiver: str
    config: Mapping[str, Any]
    secret: str
    scenarios_manager: str
    where: str
    """The dotted name of the settings, for errors."""

    def press(self, verb: str) -> Pressed:
        """check, fields or test."""
        try:
            if verb == "check":
                return self.check()
            return self.make_fields() if verb == "fields" else self.test()
        except DeliveryError as error:
            field = self.vendor.sealed if error.refused_account else self.vendor.address
            return Pressed(errors={f"{self.where}.{field}": _sentence(str(error))})

    def look(self) -> Checked:
        """What the CRM says, which is kept.

        Raises:
            DeliveryError
        """
        now = self.server.now()
        managers = (self.scenarios_manager, str(self.config.get("manager") or ""))
        outgoing = _outgoing(self.server)
        checked = check_connection(self.vendor, outgoing, self.config, self.secret, managers, now)
        with self.server.database.writing() as session:
            keep_checked(session, self.project.id, self.receiver, self.vendor.kind, checked, now)
        return checked

    def check(self) -> Pressed:
        checked = self.look()
        said = [f"Connected to {checked.account.title}."]
        if not checked.problems:
            said.append("This key may do all that a call needs. Nothing was left there.")
        if checked.account.identity is None:
            said.append(
                "This key may not read the CRM’s own name, so it is known by its address: write that in the same way wherever you use it."
            )
        return Pressed(said, checked.problems)

    def make_fields(self) -> Pressed:
        """Our fields in the CRM, with their lines in the field mapping."""
        connector = connector_of(self.vendor)
        if connector is None:
            return Pressed(problems=[f"Fields of {self.vendor.name} have to be made there."])
        now = self.server.now()
        outgoing = _outgoing(self.server)
        access = Access(self.config, self.secret, time.monotonic() + CHECK_SECONDS, now)
        try:
            made = make_own_fields(connector, outgoing, access)
        except DeliveryError as error:
            if error.status not in (400, 403, 422):
                raise
            wanted = ", ".join(f"{field.label} ({field.template})" for field in OWN_FIELDS)
            return Pressed(
                problems=[
                    f"This key may not make fields: {_sentence(str(error))}",
                    f"An administrator of the CRM has to add those that you want, as lines of text: {wanted}.",
                    "Then name them under Fields of the lead.",
                ]
            )
        lines = {made[field.name]: field.template for field in OWN_FIELDS if field.name in made}
        typed = {**lines, **(self.config.get("fields") or {})}
        return Pressed(
            [f"{len(made)} fields are there, and filled with each new lead from now on: see below."], typed=typed
        )

    def test(self) -> Pressed:
        """A lead as a call would make it, of a number that is nobody's."""
        now, key, zone = self.server.now(), f"test{secrets.token_hex(12)}", ZoneInfo(self.project.timezone)
        with self.server.database.reading() as session:
            values = sample_values(session, self.project)
        call = {
            "sid": key,
            "kind": EXTERNAL,
            "caller": TEST_CALLER,
            "number": TEST_CALLER,
            "started_at": iso(now),
            "status": "answered",
            "duration": 60,
            "ring_seconds": 5,
            "visit": None,
            "landing_page": None,
            "referrer": None,
            "source": {"source": "google", "medium": "cpc", "campaign": "example"},
            "attribution": {},
            "recording": None,
            "first_call": True,
        }
        fields = {"name": "Test of {phone}", **(self.config.get("fields") or {})}
        steps: dict[str, Any] = {}
        message = Message(
            id=key,
            event="call.ended",
            event_at=now,
            now=now,
            config={**self.config, "fields": fields},
            secret=self.secret,
            call=call,
            placeholders={**values, "phone": TEST_CALLER, "date": now.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S")},
            visit_last_sign=None,
            reference={"creating": True},
            known_lead=None,
            deadline=time.monotonic() + CHECK_SECONDS,
            remember=steps.update,
            country=self.project.country,
            managers=(self.scenarios_manager, str(self.config.get("manager") or "")),
        )
        try:
            answer = self.vendor.sender(_outgoing(self.server)).deliver(message)
        except (Skipped, Expired) as reason:
            return Pressed(problems=[_sentence(str(reason))])
        said = f"A test lead was made ({answer.get('model', 'lead')} {answer.get('record', '')}): look at it in the CRM, then delete it."
        return Pressed([said], [_sentence(str(answer["warning"]))] if answer.get("warning") else [])


def make_own_fields(connector: type[Connector], outgoing: Outgoing, access: Access) -> dict[str, str]:
    """
    Raises:
        DeliveryError
    """
    crm = connector(outgoing, access)
    with answers_read(crm.product):
        return crm.make_fields(OWN_FIELDS)


def sample_values(session: Session, project: Project) -> dict[str, str]:
    """The placeholders of the last real call; of an imagined one while there was none."""
    last = (
        select(Call)
        .where(Call.project_id == project.id, Call.kind == EXTERNAL, Call.caller.is_not(None))
        .order_by(Call.id.desc())
    )
    call = session.scalar(last.limit(1))
    if call is None:
        return SAMPLE
    visit = session.get(Visit, call.visit_id) if call.visit_id is not None else None
    return placeholder_values(call, visit, project)


def beside_form(
    session: Session, project: Project, vendor: Vendor, receiver: str | None, config: Mapping[str, Any]
) -> dict[str, Any]:
    """What the CRM's form shows: whose it is and since when that is known, choices by the settings they are for, and filled fields."""
    if connector_of(vendor) is None:
        return {}
    account = known_account(session, project.id, receiver) if receiver is not None else None
    choices = choices_of(account)
    chosen_from: Mapping[str, str] = getattr(vendor.settings, "chosen_from", {})
    fields = config.get("fields") or {}
    fields = fields if isinstance(fields, Mapping) else {}
    values = sample_values(session, project) if fields else {}
    return {
        "account": account,
        "choices": {setting: getattr(choices, member) for setting, member in chosen_from.items()},
        "people": choices.people,
        "filled": {name: fill(str(template), values) for name, template in fields.items()},
        "nobody": getattr(vendor.settings, "falls_to_nobody", True)
        and not any(config.get(name) for name in chosen_from if name != "stage"),
    }


def _outgoing(server: Server) -> Outgoing:
    return Outgoing(
        server.settings.allow_private, tls=trusted_authorities(server.settings.ca_file), answer_limit=LONGEST_LIST
    )


def _sentence(text: str) -> str:
    return text if text.endswith((".", "…", "!")) else f"{text}."

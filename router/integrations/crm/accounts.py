"""Accounts of CRMs as *Check connection* found them: whose data it is, what there is to choose from, and what a lead would lack.

One CRM may be written in two ways, and used by several scenarios and projects. Its own name tells that it is one: then a caller has one
lead there, and his calls go one after the other."""

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from difflib import get_close_matches
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from router.db import insert_new
from router.integrations.base import DeliveryError, Vendor
from router.integrations.crm import CrmSettings
from router.integrations.crm.connector import Access, Checked, Choice, Choices, Connector, NewLead, answers_read
from router.integrations.crm.saga import CrmSender
from router.integrations.models import OPEN_STATES, CrmAccount, Delivery, Integration, Lead
from router.integrations.vendors import VENDORS
from router.lib.http_client import Outgoing
from router.scenarios.lint import Finding, Linted

LONGEST_NAME = 80
CHECK_SECONDS = 12.0
FRESH = timedelta(minutes=1)
"""A look at the CRM is not repeated sooner, whatever is named."""
SAMPLE = {"source": "google", "medium": "cpc", "campaign": "example"}


def connector_of(vendor: Vendor) -> type[Connector] | None:
    """None: it is no CRM, or one whose sender works in its own way."""
    is_shared = isinstance(vendor.sender, type) and issubclass(vendor.sender, CrmSender)
    return getattr(vendor.sender, "connector", None) if is_shared else None


def account_name(kind: str, identity: str) -> str:
    """`odoo:0a1b…`, at most 80 characters."""
    name = f"{kind}:{identity}"
    if len(name) > LONGEST_NAME:
        name = f"{kind}:{hashlib.blake2b(identity.encode(), digest_size=16).hexdigest()}"
    return name


def check_connection(
    vendor: Vendor, outgoing: Outgoing, config: Mapping[str, Any], secret: str, managers: Sequence[str], now: datetime
) -> Checked:
    """Asks the CRM all that people want to know before the first call; nothing is left behind there.

    Raises:
        DeliveryError: it cannot be reached, or does not take the key.
    """
    connector = connector_of(vendor)
    if connector is None:
        raise DeliveryError(f"{vendor.name} has no way to be checked.", permanent=True)
    crm = connector(outgoing, Access(config, secret, time.monotonic() + CHECK_SECONDS, now))
    with answers_read(vendor.name):
        checked = Checked(crm.account())
        checked.choices = crm.choices()
        person = None
        for name in filter(None, managers):
            found = crm.person(name)
            if isinstance(found, str):
                checked.problems.append(f"{found}.")
            else:
                person = person or found
        lead = NewLead(
            key="check-connection",
            phone="+14155550100",
            title="Check connection",
            description=["Source: google / cpc / example"],
            fields=dict.fromkeys(config.get("fields") or {}, ""),
            source={},
            responsible=person,
        )
        checked.problems += crm.check(lead)
        return checked


def keep_checked(session: Session, project_id: int, receiver: str, kind: str, checked: Checked, now: datetime) -> None:
    """Keeps what was found; integrations whose account has become known share its leads and its order from now on."""
    values = {
        "identity": checked.account.identity or "",
        "title": checked.account.title,
        "choices": {name: [asdict(choice) for choice in part] for name, part in vars(checked.choices).items()},
        "problems": {"said": checked.problems},
        "checked_at": now,
    }
    fresh = insert_new(session, CrmAccount, unique=["project_id", "receiver"])
    session.execute(fresh.values(project_id=project_id, receiver=receiver, **values))
    of_receiver = (CrmAccount.project_id == project_id, CrmAccount.receiver == receiver)
    session.execute(update(CrmAccount).where(*of_receiver).values(**values))
    if not checked.account.identity:
        return
    account = account_name(kind, checked.account.identity)
    used = select(Integration).where(Integration.project_id == project_id, Integration.receiver == receiver)
    for integration in session.scalars(used.order_by(Integration.id).with_for_update()):
        before = integration.account or integration.receiver
        if before != account:
            integration.account = account
            _move_leads(session, before, account)
            _move_order(session, integration.id, before, account)


def _move_leads(session: Session, before: str, account: str) -> None:
    """The lead that the account has for a caller already stays."""
    there = select(Lead.caller).where(Lead.account == account)
    session.execute(
        update(Lead)
        .where(Lead.account == before, Lead.caller.not_in(there))
        .values(account=account)
        .execution_options(synchronize_session=False)
    )
    session.execute(delete(Lead).where(Lead.account == before).execution_options(synchronize_session=False))


def _move_order(session: Session, integration_id: int, before: str, account: str) -> None:
    caller = func.substr(Delivery.order_key, len(before) + 1)
    session.execute(
        update(Delivery)
        .where(Delivery.integration_id == integration_id, Delivery.state.in_(OPEN_STATES))
        .where(Delivery.order_key.startswith(f"{before}|", autoescape=True))
        .values(order_key=account + caller)
        .execution_options(synchronize_session=False)
    )


def known_account(session: Session, project_id: int, receiver: str) -> CrmAccount | None:
    """What was found there when somebody of this project last looked."""
    of_receiver = (CrmAccount.project_id == project_id, CrmAccount.receiver == receiver)
    return session.scalar(select(CrmAccount).where(*of_receiver))


def account_of(session: Session, project_id: int, kind: str, receiver: str) -> str | None:
    """For an integration that goes there; None: its receiver stands for it."""
    known = known_account(session, project_id, receiver)
    return account_name(kind, known.identity) if known is not None and known.identity else None


def choices_of(account: CrmAccount | None) -> Choices:
    if account is None:
        return Choices()
    return Choices(
        **{
            name: tuple(Choice(**{**choice, "aliases": tuple(choice["aliases"])}) for choice in part)
            for name, part in account.choices.items()
            if name in Choices.__dataclass_fields__
        }
    )


def unknown_names(vendor: Vendor, config: Mapping[str, Any], choices: Choices) -> dict[str, str]:
    """Settings that name what the CRM does not have, each with a sentence that says what there is."""
    settings = vendor.settings
    found: dict[str, str] = {}
    if not issubclass(settings, CrmSettings):
        return found
    for setting, member in settings.chosen_from.items():
        if sentence := unknown_name(vendor.name, str(config.get(setting) or ""), getattr(choices, member)):
            found[setting] = sentence
    return found


def unknown_name(product: str, name: str, choices: Sequence[Choice]) -> str | None:
    """Why this name cannot be used; None: it is one of the choices, or nothing is known of them."""
    wanted = name.strip().casefold()
    if not wanted or not choices or any(wanted in choice.names() for choice in choices):
        return None
    by_name = {known: choice for choice in choices for known in choice.names()}
    close = get_close_matches(wanted, list(by_name), n=3, cutoff=0.5)
    offered = list(dict.fromkeys(by_name[known].label for known in close)) or [choice.label for choice in choices[:3]]
    return f"{product} has no “{name[:60]}” to choose. There is, for example: {', '.join(offered)}."


def leads_of_nobody(session: Session, scenarios: Sequence[Linted]) -> Mapping[int, list[Finding]]:
    """A lint rule: scenarios whose new leads belong to nobody and to no team."""
    by_id = {scenario.scenario_id: scenario for scenario in scenarios if scenario.scenario_id}
    nobodys = [kind for kind, vendor in VENDORS.items() if getattr(vendor.settings, "falls_to_nobody", False)]
    rows = select(Integration).where(Integration.scenario_id.in_(by_id), Integration.kind.in_(nobodys))
    findings = {}
    for integration in session.scalars(rows.where(Integration.removed_at.is_(None))) if by_id else ():
        named = (integration.config.get("manager"), integration.config.get("team"))
        if not any((*named, by_id[integration.scenario_id].document["manager"])):
            sentence = (
                "Nobody is responsible for the new leads in the CRM, and no team: most CRMs show such leads to no seller."
                " Choose a person or a team."
            )
            finding = Finding("crm_nobody", sentence, "integrations.crm.manager", "integrations")
            findings[integration.scenario_id] = [finding]
    return findings

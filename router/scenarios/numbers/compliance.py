"""Bundles and addresses (R5): what a project sends along when it buys numbers of a country and kind, chosen from what its account at the
carrier has.

The choice is the project's, so that all that buys takes it: people, programs, upkeep, and an order in the place of a lost one."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

import phonenumbers
from phonenumbers import PhoneNumberType
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from router.accounts.audit import Actor, Change
from router.accounts.models import Project
from router.carriers.accounts import sid_of_project
from router.carriers.base import (
    NO_COMPLIANCE,
    NUMBER_KINDS,
    Address,
    Bundle,
    Compliance,
    NotForUs,
    NumberKind,
    NumberShop,
    ShopError,
)
from router.db import insert_new
from router.lib.formats import country_name
from router.lib.phones import country_of
from router.scenarios.models import NumberCompliance
from router.server import Server
from router.web.errors import Problem

KINDS_BY_TYPE: Mapping[int, tuple[NumberKind, ...]] = {
    PhoneNumberType.MOBILE: ("mobile",),
    PhoneNumberType.TOLL_FREE: ("toll-free",),
    PhoneNumberType.FIXED_LINE_OR_MOBILE: ("local", "mobile"),
}
KIND_WORDS: Mapping[str, str] = {"local": "Local", "mobile": "Mobile", "toll-free": "Toll-free"}
SOON = timedelta(days=30)
"""The carrier needs days to approve another bundle."""
NOT_HIS = (
    "Numbers are bought at this server's own account at the carrier, which other projects use too. "
    "Its operator chooses the bundle and the address."
)


def numbers_of(country: str, kind: str) -> str:
    """`Local numbers in Hungary`."""
    return f"{KIND_WORDS[kind]} numbers in {country_name(country)}"


def kinds_of(e164: str) -> tuple[NumberKind, ...]:
    """What the carrier may call such a number, the likeliest first: in some countries nobody tells a mobile number from a local one."""
    return KINDS_BY_TYPE.get(phonenumbers.number_type(phonenumbers.parse(e164, None)), ("local",))


def choices_at(session: Session, project_id: int | None, account_sid: str) -> Sequence[NumberCompliance]:
    """All that a project chose at an account; empty: the server's. None: all projects."""
    at_account = select(NumberCompliance).where(NumberCompliance.carrier_account == account_sid)
    if project_id is not None:
        at_account = at_account.where(NumberCompliance.project_id == project_id)
    ordered = (NumberCompliance.country, NumberCompliance.kind, NumberCompliance.project_id)
    return session.scalars(at_account.order_by(*ordered)).all()


def chosen_at(session: Session, project_id: int, account_sid: str, country: str) -> dict[NumberKind, Compliance]:
    """What goes with orders of numbers in a country, by kind."""
    chosen = {row.kind: row for row in choices_at(session, project_id, account_sid) if row.country == country}
    return {
        kind: Compliance(row.bundle_sid, row.address_sid, row.address_country)
        for kind in NUMBER_KINDS
        if (row := chosen.get(kind))
    }


def chosen_now(server: Server, project_id: int, country: str) -> dict[NumberKind, Compliance]:
    """The same at the account at which the project buys now."""
    with server.database.reading() as session:
        return chosen_at(session, project_id, sid_of_project(session, project_id), country)


def compliance_of(session: Session, project_id: int, account_sid: str, e164: str) -> Compliance:
    """What goes with the order of a number."""
    chosen = chosen_at(session, project_id, account_sid, country_of(e164) or "")
    return next((chosen[kind] for kind in kinds_of(e164) if kind in chosen), NO_COMPLIANCE)


def kinds_without_bundle(
    server: Server, project_id: int, shop: NumberShop, numbers: Iterable[tuple[str, NumberKind]]
) -> list[tuple[str, NumberKind]]:
    """Of these countries and kinds, those for which the carrier has a regulation and no bundle is chosen. Where it does not tell, nobody
    is warned. Never inside a transaction."""
    missing = []
    for country, kind in sorted(set(numbers)):
        if chosen_now(server, project_id, country).get(kind, NO_COMPLIANCE).bundle_sid:
            continue
        with suppress(ShopError):
            if shop.wants_bundle(country, kind):
                missing.append((country, kind))
    return missing


def may_choose(session: Session, actor: Actor, project_id: int, account_sid: str) -> bool:
    """Bundles and addresses say who somebody is: those of the server's account are for its operator alone where several projects use it."""
    if account_sid or actor.is_operator:
        return actor.may("admin", project_id)
    is_shared = session.scalar(select(Project.id).where(Project.id != project_id).limit(1)) is not None
    return actor.may("admin", project_id) and not is_shared


@dataclass(frozen=True)
class Choices:
    """What can be chosen for numbers of a country and kind at an account. `bundles`: None where the carrier knows none, and in any state.
    `wants_bundle`: whether it has a regulation for them; None: it does not tell."""

    account_sid: str
    country: str
    kind: NumberKind
    bundles: Sequence[Bundle] | None
    addresses: Sequence[Address]
    wants_bundle: bool | None


def read_choices(
    server: Server, actor: Actor, project_id: int, shop: NumberShop, country: str, kind: NumberKind
) -> Choices:
    """Asks the carrier; never inside a transaction.

    Raises:
        Problem: 403, the account is not his to look through; 502, the carrier refuses; 503, it is away.
    """
    with server.database.reading() as session:
        account_sid = sid_of_project(session, project_id)
        if not may_choose(session, actor, project_id, account_sid):
            raise Problem(403, NOT_HIS)
    try:
        bundles, addresses = shop.bundles(country, kind), shop.addresses()
    except NotForUs as error:
        raise Problem(502, f"The carrier refuses: {error}") from None
    except ShopError as error:
        raise Problem(503, f"The carrier cannot be asked now: {error} Try again in a minute.") from None
    wants_bundle = None
    with suppress(ShopError):
        wants_bundle = shop.wants_bundle(country, kind)
    return Choices(account_sid, country, kind, bundles, addresses, wants_bundle)


def choose(change: Change, choices: Choices, bundle_sid: str, address_sid: str) -> NumberCompliance | None:
    """Keeps what goes with the project's orders from now on, also with those that are under way; None: nothing does.

    Args:
        choices: what the carrier just listed.
        bundle_sid, address_sid: empty: none.

    Raises:
        Problem: 409, the project has another account by now; 422, the account has no such address or approved bundle.
    """
    session, project_id, now = change.session, change.project.id, change.now
    if sid_of_project(session, project_id) != choices.account_sid:
        raise Problem(409, "The project has another account at the carrier by now. Look again, then repeat.")
    bundle = _listed(choices.bundles or (), bundle_sid, "bundle_sid", "bundle for such numbers")
    address = _listed(choices.addresses, address_sid, "address_sid", "address")
    if bundle and not bundle.is_usable(now):
        state = "approved, but not valid any more" if bundle.is_approved else bundle.status
        raise Problem(422, f"The carrier takes approved bundles only, and {bundle.name} is {state}.", "bundle_sid")
    key = {
        "project_id": project_id,
        "carrier_account": choices.account_sid,
        "country": choices.country,
        "kind": choices.kind,
    }
    values = {
        "bundle_sid": bundle.sid if bundle else "",
        "bundle_name": bundle.name if bundle else "",
        "address_sid": address.sid if address else "",
        "address_name": ", ".join(filter(None, (address.name, address.text))) if address else "",
        "address_country": address.country if address else "",
        "chosen_by": change.actor.name,
        "chosen_at": now,
    }
    of_key = [getattr(NumberCompliance, name) == value for name, value in key.items()]
    told = {"bundle": bundle_sid or "none", "address": address_sid or "none"}
    change.record("numbers.compliance", numbers_of(choices.country, choices.kind), **told)
    if not bundle and not address:
        session.execute(delete(NumberCompliance).where(*of_key))
        return None
    session.execute(insert_new(session, NumberCompliance, unique=list(key)).values(key | values))
    found = select(NumberCompliance).where(*of_key).with_for_update().execution_options(populate_existing=True)
    row = session.scalars(found).one()
    for name, value in values.items():
        setattr(row, name, value)
    session.flush()
    return row


Listed = TypeVar("Listed", Bundle, Address)


def _listed(listed: Sequence[Listed], sid: str, field: str, what: str) -> Listed | None:
    if not sid:
        return None
    found = next((one for one in listed if one.sid == sid), None)
    if found is None:
        raise Problem(422, f"The account at the carrier has no such {what}.", field)
    return found


def trouble_with(shop: NumberShop, row: NumberCompliance, now: datetime) -> str:
    """Why numbers cannot be bought with what was chosen, now or soon; empty: they can. Asks the carrier.

    Raises:
        ShopError: it does not tell.
    """
    said = []
    if row.bundle_sid:
        bundle = shop.find_bundle(row.bundle_sid)
        if bundle is None:
            said.append(f"the carrier has no bundle {row.bundle_name} any more")
        elif not bundle.is_approved:
            said.append(f"the bundle {row.bundle_name} is {bundle.status}")
        elif not bundle.is_usable(now):
            said.append(f"the bundle {row.bundle_name} is not valid any more")
        elif bundle.valid_until and not bundle.is_usable(now + SOON):
            said.append(f"the bundle {row.bundle_name} is valid only until {bundle.valid_until:%-d %B %Y}")
    if row.address_sid and shop.find_address(row.address_sid) is None:
        said.append(f"the carrier has no address {row.address_name} any more")
    return "; ".join(said)

"""Accounts of projects at the carrier: which is whose, what is stored of them, whether the carrier accepts them, and the REST side at each.

The auth tokens are sealed, in the database and in the routing snapshot. A number is rented at the account that its project had then, and
stays there: so the account cannot be exchanged or removed before what is rented at it is given back."""

import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

import structlog
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from sqlalchemy import column, false, func, select, table, true, update
from sqlalchemy.orm import Session

from router.accounts.audit import Change
from router.accounts.ledger import lock_balance
from router.accounts.models import raise_list_version
from router.carriers import shop_of, shop_of_account
from router.carriers.base import NotForUs, NumberShop, ShopError
from router.carriers.models import CarrierAccount
from router.carriers.twilio.webhooks import TwilioAccount
from router.config import SettingsError
from router.lib.crypto import KeyRing, SealBroken
from router.lib.formats import format_count
from router.server import Server
from router.web.errors import Problem

SID = re.compile(r"AC[0-9a-fA-F]{32}")
TOKEN = re.compile(r"[\x21-\x2b\x2d-\x7e]{8,128}")
"""Visible signs without a comma."""
CheckState = Literal["unchecked", "accepted", "refused"]
LEASE = timedelta(minutes=3)
MOST_AT_ONCE = 10
AGAIN = {"accepted": timedelta(days=1), "refused": timedelta(minutes=15), "unchecked": timedelta(minutes=1)}
"""When the carrier is asked again, by what it said; unchecked: it did not answer."""

log = structlog.get_logger(__name__)


def parse_sid(value: object) -> str:
    """
    Raises:
        ValueError: no account has such an id.
    """
    text = str(value).strip()
    if not SID.fullmatch(text):
        raise ValueError("An account SID is AC and 32 digits and letters from a to f; the carrier's console shows it.")
    return text


def parse_token(value: object) -> str | None:
    """None and an empty text: it is kept.

    Raises:
        ValueError: it is no auth token.
    """
    if value is None or value == "":
        return None
    text = value.strip() if isinstance(value, str) else ""
    if not TOKEN.fullmatch(text):
        raise ValueError("An auth token has 8 to 128 letters, digits and signs, without blanks and commas.")
    return text


Token = Annotated[str | None, BeforeValidator(parse_token)]


class AccountValues(BaseModel):
    """What is typed in. A token that is absent or empty is kept, as far as the SID is the same; `next_auth_token` is the one that will take
    the place of the present one at the carrier: both are accepted meanwhile. `forget_next` drops it."""

    model_config = ConfigDict(extra="forbid")

    account_sid: Annotated[str, BeforeValidator(parse_sid)] = Field(examples=["AC" + "0" * 32])
    auth_token: Token = None
    next_auth_token: Token = None
    forget_next: bool = Field(default=False, strict=True)


def read_tokens(keys: KeyRing, sealed: str) -> list[str]:
    """The auth tokens, the present one first.

    Raises:
        SealBroken: they were sealed under another key.
    """
    tokens = json.loads(keys.unseal(sealed))
    return [str(token) for token in tokens]


def find_account(session: Session, project_id: int) -> CarrierAccount | None:
    return session.scalar(select(CarrierAccount).where(CarrierAccount.project_id == project_id))


def sid_of_project(session: Session, project_id: int) -> str:
    """Of the account at which a project rents now; empty: the server's."""
    return session.scalar(select(CarrierAccount.sid).where(CarrierAccount.project_id == project_id)) or ""


def save_account(change: Change, values: AccountValues) -> CarrierAccount:
    """Stores the account of a project. The worker asks the carrier about it then.

    Raises:
        Problem: 422 without a token; 409 for another SID while something is rented at the present one.
    """
    session, project_id, keys = change.session, change.project.id, change.server.keys
    lock_balance(session, project_id)  # as whoever orders numbers does
    account = find_account(session, project_id)
    kept: list[str] = []
    if account is not None and account.sid == values.account_sid:
        with suppress(SealBroken):
            kept = read_tokens(keys, account.sealed)
    elif account is not None:
        _leave(session, account)
    present = values.auth_token or next(iter(kept), None)
    if present is None:
        raise Problem(422, "Type the account's auth token, as the carrier's console shows it.", "auth_token")
    following = values.next_auth_token or next(iter(kept[1:]), None)
    if values.forget_next or following == present:
        following = None
    tokens = [present, following] if following else [present]
    if account is None:
        account = CarrierAccount(project_id=project_id)
        session.add(account)
    detail = {
        "auth_token": "changed" if kept[:1] != tokens[:1] else "kept",
        "next_auth_token": "none" if not following else "changed" if kept[1:] != tokens[1:] else "kept",
    }
    account.sid, account.sealed = values.account_sid, keys.seal(json.dumps(tokens))
    account.state, account.reason, account.checked_at = "unchecked", "", None
    account.changed_at = account.next_at = change.now
    session.flush()
    raise_list_version(session, project_id)
    change.record("carrier_account.saved", account.sid, **detail)
    return account


def remove_account(change: Change) -> None:
    """The project rents at the server's account again.

    Raises:
        Problem: 404 without one; 409 while something is rented at it.
    """
    lock_balance(change.session, change.project.id)
    account = find_account(change.session, change.project.id)
    if account is None:
        raise Problem(404, "The project has no account of its own.")
    _leave(change.session, account)
    change.session.delete(account)
    change.session.flush()
    raise_list_version(change.session, change.project.id)
    change.record("carrier_account.removed", account.sid)


_NUMBERS = table("tracking_number", *map(column, ("project_id", "carrier_account", "owned_elsewhere", "released_at")))
_ORDERS = table("number_order", *map(column, ("project_id", "carrier_account", "state")))
"""Of a package above."""


def _leave(session: Session, account: CarrierAccount) -> None:
    """The project's numbers that are owned elsewhere are known at this account no more.

    Raises:
        Problem: 409, numbers are rented or being bought there.
    """
    there, ordered = (
        (of.c.project_id == account.project_id) & (of.c.carrier_account == account.sid) for of in (_NUMBERS, _ORDERS)
    )
    rented = there & _NUMBERS.c.released_at.is_(None) & (_NUMBERS.c.owned_elsewhere == false())
    open_orders = ordered & _ORDERS.c.state.in_(("intent", "unknown"))
    amount = sum(
        session.scalar(select(func.count()).select_from(of).where(condition)) or 0
        for of, condition in ((_NUMBERS, rented), (_ORDERS, open_orders))
    )
    if amount:
        numbers = format_count(amount, "number")
        raise Problem(409, f"{numbers} of the project at {account.sid}. Give them back first.", "account_sid")
    owned_elsewhere = there & (_NUMBERS.c.owned_elsewhere == true())
    session.execute(update(_NUMBERS).where(owned_elsewhere).values(carrier_account=""))


def shop_at(server: Server, project_id: int, sid: str) -> NumberShop:
    """The REST side at the account with this SID; empty: at the server's own. Never inside a transaction.

    Raises:
        NotForUs: the project has no such account, or its token cannot be read.
        SettingsError: the server has no account.
    """
    if not sid:
        return shop_of(server)
    with server.database.reading() as session:
        account = find_account(session, project_id)
    if account is None or account.sid != sid:
        raise NotForUs(f"The project has no account {sid} at the carrier any more.")
    return _shop(server, account)


def shop_of_project(server: Server, project_id: int) -> NumberShop:
    """Where a project rents now: at its own account, else at the server's. As `shop_at`."""
    with server.database.reading() as session:
        account = find_account(session, project_id)
    return shop_of(server) if account is None else _shop(server, account)


def _shop(server: Server, account: CarrierAccount) -> NumberShop:
    try:
        return shop_of_account(server, account.sid, read_tokens(server.keys, account.sealed)[0])
    except SealBroken:
        raise NotForUs("The auth token of the project’s account was sealed under another ROUTER_SECRET_KEY.") from None


def own_accounts(server: Server) -> list[CarrierAccount]:
    """Of all projects."""
    with server.database.reading() as session:
        return list(session.scalars(select(CarrierAccount).order_by(CarrierAccount.id)))


def shops_of_projects(server: Server) -> list[tuple[CarrierAccount, NumberShop]]:
    """The accounts of projects whose token can be read, each with its REST side."""
    shops = []
    for account in own_accounts(server):
        try:
            shops.append((account, _shop(server, account)))
        except (ShopError, SettingsError) as error:
            log.error("carrier_account_unusable", project=account.project_id, reason=str(error))
    return shops


def check_accounts(server: Server, now: datetime) -> int:
    """A job of the worker: asks the carrier about the accounts that are due, and keeps what it says. Returns how many were asked about."""
    with server.database.reading() as session:
        waiting = select(CarrierAccount).where(CarrierAccount.next_at <= now).order_by(CarrierAccount.next_at)
        due = session.scalars(waiting.limit(MOST_AT_ONCE)).all()
    if due:
        with server.database.writing() as session:
            claimed = update(CarrierAccount).where(CarrierAccount.id.in_([account.id for account in due]))
            session.execute(claimed.values(next_at=now + LEASE).execution_options(synchronize_session=False))
    for account in due:
        state: CheckState = "accepted"
        reason = ""
        try:
            known = _shop(server, account).account()
        except (NotForUs, SettingsError) as error:
            state, reason = "refused", str(error)
        except ShopError as error:
            state, reason = "unchecked", str(error)
        else:
            if known.status not in ("active", ""):
                state, reason = "refused", f"The carrier says that the account is {known.status}."
            elif known.kind == "trial":
                reason = "It is a trial account: only verified numbers can be called."
        with server.database.writing() as session:
            values: dict[str, Any] = {"reason": reason[:300], "next_at": now + AGAIN[state]}
            values |= {"state": state, "checked_at": now} if state != "unchecked" else {}
            kept = update(CarrierAccount).where(
                CarrierAccount.id == account.id,
                CarrierAccount.sealed == account.sealed,
                CarrierAccount.sid == account.sid,
            )
            session.execute(kept.values(values).execution_options(synchronize_session=False))
    return len(due)


def reseal_accounts(server: Server) -> int:
    """Seals under the first key what an older one sealed; snapshots follow. Returns of how many accounts."""
    count = 0
    for account in own_accounts(server):
        if (anew := server.keys.sealed_anew(account.sealed)) is None:
            continue
        with server.database.writing() as session:
            kept = update(CarrierAccount).where(
                CarrierAccount.id == account.id, CarrierAccount.sealed == account.sealed
            )
            session.execute(kept.values(sealed=anew).execution_options(synchronize_session=False))
            raise_list_version(session, account.project_id)
        count += 1
    return count


@dataclass(frozen=True, slots=True)
class SignedFor:
    """Whose requests an account's tokens prove."""

    project_id: int
    account: TwilioAccount


SealedAccount = tuple[str, int, str]
"""An account's SID, its project and its sealed tokens, as snapshots and their files have it."""


def sealed_accounts(session: Session, known: tuple[SealedAccount, ...] = ()) -> tuple[SealedAccount, ...]:
    """Those of all projects; `known` itself when nothing has changed."""
    rows = session.execute(
        select(CarrierAccount.sid, CarrierAccount.project_id, CarrierAccount.sealed).order_by(CarrierAccount.id)
    )
    accounts = tuple((row.sid, row.project_id, row.sealed) for row in rows)
    return known if accounts == known else accounts


def opened_accounts(
    accounts: Iterable[SealedAccount], keys: KeyRing
) -> tuple[Mapping[str, tuple[SignedFor, ...]], list[int]]:
    """By SID; two projects may share an account, each proves its own. And the projects whose tokens cannot be read."""
    by_sid: dict[str, tuple[SignedFor, ...]] = {}
    unreadable = []
    for sid, project_id, sealed in accounts:
        try:
            tokens = read_tokens(keys, sealed)
        except (SealBroken, ValueError):
            unreadable.append(project_id)
            continue
        by_sid[sid] = (*by_sid.get(sid, ()), SignedFor(project_id, TwilioAccount(tokens)))
    return by_sid, unreadable

"""Our numbers beside the carrier's: what only one side knows is brought in, marked or named. And the command for it."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import click
from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from router.accounts.cli import CONSOLE, Opener, opened
from router.accounts.ledger import BalanceTooLow
from router.accounts.models import Project
from router.carriers import shop_of
from router.carriers.accounts import shops_of_projects
from router.carriers.base import NumberShop, Owned, ShopError
from router.config import SettingsError
from router.lib.formats import format_money
from router.scenarios.models import OPEN_STATES, NumberOrder, OrderState, TrackingNumber
from router.scenarios.numbers.purchase import buy_now, label_of
from router.server import Server
from router.web.errors import Problem

MISSING = "The carrier does not have it."
"""The mark of a number that is rented here and unknown there."""
AT_ONCE = 500


@dataclass(frozen=True)
class Difference:
    """`both` are pairs of ours and the carrier's."""

    only_there: list[Owned]
    only_here: list[TrackingNumber]
    both: list[tuple[TrackingNumber, Owned]]


@dataclass
class Synced:
    """How many numbers both sides know, and what was found besides: a sentence each."""

    both: int
    sentences: list[str]


def compare(ours: Iterable[TrackingNumber], owned: Iterable[Owned]) -> Difference:
    """Numbers that are owned elsewhere, or on their way back, are not missed at the carrier."""
    here, there = {number.e164: number for number in ours}, {number.e164: number for number in owned}
    only_there = [number for e164, number in sorted(there.items()) if e164 not in here]
    missed = [number for e164, number in sorted(here.items()) if e164 not in there]
    only_here = [number for number in missed if not number.owned_elsewhere and number.releasing_at is None]
    both = [(number, there[e164]) for e164, number in sorted(here.items()) if e164 in there]
    return Difference(only_there, only_here, both)


def sync_numbers(server: Server, now: datetime, configure: bool = False) -> Synced:
    """Compares, adopts what a purchase of ours brought and nobody noticed, marks what the carrier does not have.

    Args:
        configure: the voice addresses of all numbers that both sides know are pointed to this server again.

    Raises:
        ShopError: the carrier's numbers could not be listed; nothing was changed.
    """
    own = shops_of_projects(server)
    try:
        synced = _sync_at(server, shop_of(server), None, "", now, configure)
    except SettingsError:
        if not own:
            raise
        synced = Synced(0, [])
    for account, shop in own:
        try:
            found = _sync_at(server, shop, account.project_id, account.sid, now, configure)
        except ShopError as error:
            synced.sentences.append(f"The account of project {account.project_id} was not compared. {error}")
            continue
        synced = Synced(synced.both + found.both, synced.sentences + found.sentences)
    return synced


def numbers_at(session: Session, project_id: int | None, sid: str) -> list[TrackingNumber]:
    """Our numbers that an account at the carrier may have: those of a project that are there or owned elsewhere; None: all that are at the
    server's own."""
    ours = select(TrackingNumber).where(TrackingNumber.released_at.is_(None))
    if project_id is None:
        ours = ours.where(TrackingNumber.carrier_account == "")
    else:
        at_account = or_(TrackingNumber.carrier_account == sid, TrackingNumber.owned_elsewhere)
        ours = ours.where(TrackingNumber.project_id == project_id, at_account)
    return list(session.scalars(ours))


def _sync_at(
    server: Server, shop: NumberShop, project_id: int | None, sid: str, now: datetime, configure: bool
) -> Synced:
    with server.database.reading() as session:  # first: a number that arrives meanwhile is not missed at the carrier
        ours = numbers_at(session, project_id, sid)
    difference = compare(ours, shop.owned())
    if difference.only_here:  # a fresh number may be absent from a list for a while
        again = {number.e164 for number in shop.owned()}
        difference.only_here[:] = [number for number in difference.only_here if number.e164 not in again]
    _mark(server, difference, sid)
    sentences = [f"{number.e164} is rented here, but the carrier does not have it." for number in difference.only_here]
    sentences += [_settle(server, number, now) for number in difference.only_there]
    for number, owned in difference.both if configure else ():
        if number.releasing_at is not None:
            continue
        try:
            shop.configure(owned.sid)
        except ShopError as error:
            sentences.append(f"{number.e164} could not be pointed to this server. {error}")
    return Synced(len(difference.both), sentences)


def _mark(server: Server, difference: Difference, sid: str) -> None:
    """Marks what is missing, and takes the mark from what is there again; the carrier's present ids are kept."""
    missing = [number.id for number in difference.only_here]
    found_again = [number.id for number, _ in difference.both if number.carrier_error == MISSING]
    for ids, mark in ((missing, MISSING), (found_again, "")):
        for start in range(0, len(ids), AT_ONCE):
            with server.database.writing() as session:
                of_part = TrackingNumber.id.in_(ids[start : start + AT_ONCE]), TrackingNumber.releasing_at.is_(None)
                session.execute(update(TrackingNumber).where(*of_part).values(carrier_error=mark))
    for number, owned in difference.both:
        if number.owned_elsewhere:
            values = {"carrier_account": sid} if number.carrier_account != sid else {}
        else:
            values = {"carrier_sid": owned.sid} if number.carrier_sid != owned.sid else {}
        if values:
            with server.database.writing() as session:
                session.execute(update(TrackingNumber).where(TrackingNumber.id == number.id).values(values))


def _settle(server: Server, owned: Owned, now: datetime) -> str:
    """What is done about a number that only the carrier has, or why nothing is.

    When our label says that it was bought here unnoticed, it is ordered again for the same project: charged, found in our account, and
    kept (R4, R5). A label that names an order of another number comes from another server with the same account.
    """
    e164 = owned.e164
    with server.database.reading() as session:
        orders = session.scalars(select(NumberOrder).where(NumberOrder.e164 == e164))
        order = next((order for order in orders if label_of(order.id) == owned.label), None)
        was_here = session.scalar(select(TrackingNumber.id).where(TrackingNumber.e164 == e164).limit(1)) is not None
        project = session.get_one(Project, order.project_id) if order else None
    if order is None or project is None:
        return f"{e164} is only at the carrier, labelled {owned.label!r}: not bought here."
    if order.state in OPEN_STATES:
        return f"{e164} is being bought for project {project.id}; the worker goes on with it."
    if was_here:
        return f"{e164} was given back here, but the carrier still has it."
    unnoticed = f"{e164} was bought for project {project.id} unnoticed"
    try:
        order = buy_now(server, project, CONSOLE.name, e164, now)
    except BalanceTooLow as error:
        missing = format_money(error.missing_minor, project.currency)
        return f"{unnoticed}, and its balance is too low to keep it: {missing} are missing."
    except Problem as problem:
        return f"{unnoticed}. {problem.detail}"
    if order.state == OrderState.BOUGHT:
        return f"{unnoticed}; it is among its free numbers now."
    return f"{unnoticed}; the worker brings it in."


@click.group("numbers")
def numbers() -> None:
    """Rented numbers."""


@numbers.command("sync")
@click.option("--configure", is_flag=True, help="Point the voice addresses of all numbers to this server again.")
@click.pass_obj
def sync(open_server: Opener, configure: bool) -> None:
    """Compare the carrier's numbers with ours: bring in what was bought unnoticed, mark what the carrier does not have."""
    with opened(open_server) as server:
        try:
            synced = sync_numbers(server, server.now(), configure)
        except ShopError as error:
            raise click.ClickException(str(error)) from None
    for sentence in synced.sentences:
        click.echo(sentence)
    click.echo(f"Here and at the carrier: {synced.both}.")

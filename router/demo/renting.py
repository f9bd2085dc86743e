"""What the example company pays: the numbers of its web site are rented at the simulated carrier, those on paper are its own."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy.orm import Session

from router.accounts.ledger import Post, post
from router.accounts.models import Project
from router.carriers import SIMULATOR_FILE
from router.carriers.simulator.account import Account
from router.demo.company import Room
from router.scenarios.models import Scenario

PRICE_MINOR = 150
TOP_UP_MINOR = 40_00
WEEK = timedelta(days=7)


def rent_numbers(session: Session, project: Project, web: Room, sids: dict[str, str], now: datetime) -> None:
    """The balance and its entries since the numbers were bought, week by week, up to `now`."""
    project.number_price_minor = PRICE_MINOR
    began = min(number.created_at for number in web.numbers.values())
    top_up = Post(TOP_UP_MINOR, "top-up:demo", "operator", "Transfer, the first month")
    post(session, project.id, top_up, began)
    for number in web.numbers.values():
        number.owned_elsewhere = False
        number.carrier_sid = sids[number.e164]
        number.bought_at = number.paid_until = began
    paid = began
    while paid <= now:
        for number in web.numbers.values():
            reason = f"rent:{number.e164}:{paid.isoformat()}"
            charge = Post(-PRICE_MINOR, reason, "renewal" if paid > began else project.email, "", number.e164, web.id)
            post(session, project.id, charge, paid)
            number.paid_until = paid + WEEK
        paid += WEEK
    session.flush()


def switch_upkeep_on(session: Session, web: Room) -> None:
    """So that the worker's first day shows a decision; the pool may grow to twice its numbers."""
    scenario = session.get_one(Scenario, web.id)
    scenario.upkeep_on = True
    scenario.upkeep_began_with = len(web.numbers)
    scenario.upkeep_spending_limit_minor = 10_00


def bought_at_the_carrier(data_dir: Path, e164s: Iterable[str]) -> dict[str, str]:
    """The carrier's ids of the numbers; those that are not ours there yet are bought."""
    account = Account(data_dir / SIMULATOR_FILE)
    found = {one["e164"]: str(one["sid"]) for one in account.numbers()}
    return {e164: found.get(e164) or account.buy(e164, {"FriendlyName": "demo"})["sid"] for e164 in e164s}


def ring_here(data_dir: Path) -> None:
    """Rented numbers forget their voice addresses: they ring wherever this run of the demo listens."""
    account = Account(data_dir / SIMULATOR_FILE)
    for one in account.numbers():
        account.change(one["sid"], {"VoiceUrl": ""})

"""What of the carrier's side keeps calls from this server: its account and balance, this server's public address, the numbers, and the
countries of the destinations. Each question is limited in time, and each answer says what to do."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal

import phonenumbers

from router.carriers import ANYWHERE, shop_of
from router.carriers.accounts import shops_of_projects
from router.carriers.base import NumberShop, ShopError
from router.carriers.twilio.account import is_open_for, shown_address
from router.carriers.twilio.round_trip import ask_round_trip
from router.config import SettingsError
from router.lib.formats import format_count
from router.lib.http_client import Outgoing, OutgoingError
from router.lib.phones import country_of
from router.lib.tls import trusted_authorities
from router.scenarios.flows import lines_in
from router.scenarios.numbers.compliance import choices_at, numbers_of, trouble_with
from router.scenarios.numbers.sync import compare, numbers_at
from router.server import Server
from router.voice.snapshot import Snapshot

SECONDS = 10.0
"""For each question to ourselves."""
LOW_BALANCE = Decimal(10)
"""In the account's currency."""
MOST_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Finding:
    subject: str
    words: str
    is_wrong: bool = False


def examine_carrier(
    server: Server, snapshot: Snapshot | None, has_database: bool, http: Outgoing | None = None
) -> Iterator[Finding]:
    """Nothing of the simulated carrier. Without the database the numbers and destinations are those of the snapshot.

    Args:
        http: how this server's own public address is asked.
    """
    if server.settings.carrier != "twilio":
        return
    try:
        shop = shop_of(server)
    except SettingsError as error:
        yield Finding("carrier's account", str(error), True)
        if has_database:
            yield from _own_accounts(server, snapshot)
        return
    account, is_usable = _account(shop)
    yield account
    if is_usable:
        yield _balance(shop)
    tls = trusted_authorities(server.settings.ca_file)
    yield from _public_address(server, http or Outgoing(ANYWHERE, total_seconds=SECONDS, tls=tls))
    if is_usable:
        yield from _numbers(server, shop, snapshot, has_database)
        yield from _countries(server, shop, snapshot)
        if has_database:
            yield from _compliance(server, shop)
    if has_database:
        yield from _own_accounts(server, snapshot)


def _own_accounts(server: Server, snapshot: Snapshot | None) -> Iterator[Finding]:
    """The accounts of projects, each with its state, balance and numbers."""
    unreadable = {project_id for _, project_id, _ in snapshot.accounts} if snapshot else set()
    for account, shop in shops_of_projects(server):
        unreadable.discard(account.project_id)
        of_project = f"project {account.project_id}: "
        found, is_usable = _account(shop)
        yield replace(found, subject=of_project + found.subject)
        if is_usable:
            balance = _balance(shop)
            yield replace(balance, subject=of_project + balance.subject)
            for number in _numbers(server, shop, snapshot, True, (account.project_id, account.sid)):
                yield replace(number, subject=of_project + number.subject)
            for country in _countries(server, shop, snapshot, account.project_id):
                yield replace(country, subject=of_project + country.subject)
            for choice in _compliance(server, shop, (account.project_id, account.sid)):
                yield replace(choice, subject=of_project + choice.subject)
    for project_id in sorted(unreadable):
        words = (
            "cannot be used: sealed under another ROUTER_SECRET_KEY, or without the carrier’s address; type it again"
        )
        yield Finding(f"project {project_id}: carrier's account", words, True)


def _compliance(server: Server, shop: NumberShop, account: tuple[int | None, str] = (None, "")) -> Iterator[Finding]:
    """Whether numbers can still be bought with the bundles and addresses that were chosen at an account."""
    subject, troubles, project_id = "carrier's bundles", 0, account[0]
    with server.database.reading() as session:
        chosen = choices_at(session, *account)
    try:
        for row in chosen:
            if words := trouble_with(shop, row, server.now()):
                of_project = f" (project {row.project_id})" if project_id is None else ""
                what = f"{numbers_of(row.country, row.kind)}{of_project}"
                yield Finding(subject, f"{what}: {words}; choose another under Numbers, Bundles and addresses", True)
                troubles += 1
    except ShopError as error:
        yield Finding(subject, str(error), True)
        return
    if chosen and not troubles:
        yield Finding(subject, f"what goes with orders of {format_count(len(chosen), 'kind')} of numbers is approved")


def _account(shop: NumberShop) -> tuple[Finding, bool]:
    """And whether it makes sense to ask the carrier anything else."""
    subject = "carrier's account"
    try:
        state = shop.account()
    except ShopError as error:
        return Finding(subject, f"{error} Its balance, numbers and permissions were not asked for", True), False
    if state.status not in ("active", ""):
        words = (
            f"{state.status}: no call comes in or goes out; see the carrier's console (balance, terms, parent account)"
        )
        return Finding(subject, words, True), False
    if state.kind == "trial":
        words = "a trial account: only verified numbers can be called, after a notice of the carrier's; upgrade it"
        return Finding(subject, words, True), True
    return Finding(subject, " ".join(filter(None, (state.status or "accepted", state.kind)))), True


def _balance(shop: NumberShop) -> Finding:
    subject = "carrier's balance"
    try:
        balance = shop.balance()
    except ShopError as error:
        return Finding(subject, str(error), True)
    if balance is None:
        return Finding(subject, "the carrier does not tell it")
    words, is_low = f"{balance.amount:f} {balance.currency}", balance.amount < LOW_BALANCE
    return Finding(subject, f"{words}: top it up, at zero calls stop" if is_low else words, is_low)


def _public_address(server: Server, http: Outgoing) -> Iterator[Finding]:
    base = server.settings.base_url
    if not server.settings.public_url:
        yield Finding("public address", f"ROUTER_PUBLIC_URL is not set, and the carrier cannot reach {base}", True)
        return
    if base.startswith("https://"):
        yield Finding("public address", base)
    else:
        words = f"{base} is not encrypted: callers' numbers can be read on the way; use a certificate and https://"
        yield Finding("public address", words, True)
    try:
        answer = http.request("GET", f"{base}/healthz", b"", {})
    except OutgoingError as error:
        words = f"{base}/healthz is not reached. {error} Look at its name, the firewall, the proxy and its certificate"
        yield Finding("  reached", words, True)
        return
    if answer.status != 200:
        to = f" and leads to {shown_address(answer.headers['location'])}" if "location" in answer.headers else ""
        words = f"{base}/healthz answers {answer.status}{to}: let the proxy pass it to this server"
        yield Finding("  reached", words, True)
    else:
        yield Finding("  reached", f"{base}/healthz answers")
    try:
        verdict = ask_round_trip(server, http)
    except OutgoingError as error:
        yield Finding("  signature", f"a signed request was not answered. {error}", True)
    else:
        yield Finding("  signature", verdict.words, not verdict.is_accepted)


def _numbers(
    server: Server,
    shop: NumberShop,
    snapshot: Snapshot | None,
    has_database: bool,
    account: tuple[int | None, str] = (None, ""),
) -> Iterator[Finding]:
    """The numbers' addresses beside what they should be; `router numbers sync` compares alike."""
    subject, ours, missing = "carrier's numbers", [], 0
    if has_database:
        with (
            server.database.reading() as session
        ):  # first: a number that arrives meanwhile is not missed at the carrier
            ours = numbers_at(session, *account)
    try:
        owned = shop.owned()
    except ShopError as error:
        yield Finding(subject, str(error), True)
        return
    if has_database:
        difference = compare(ours, owned)
        both = [there for here, there in difference.both if here.releasing_at is None]
        missing = len(difference.only_here)
    else:
        both = [number for number in owned if snapshot and number.e164 in snapshot.routes]
    astray = [number for number in both if number.misdirections]
    if missing:
        rented = format_count(missing, "number")
        words = f"{rented} of ours unknown to the carrier, calls do not come in there: router numbers sync"
        yield Finding(subject, words, True)
    if astray:
        words = (
            f"{len(astray)} of {len(both)} do not lead here: router numbers sync --configure points all of them here"
        )
        yield Finding(subject, words, True)
    elif not missing:
        others = len(owned) - len(both)
        words = f"{format_count(len(both), 'number')} of ours, pointed here" + (f"; {others} others" if others else "")
        yield Finding(subject, words)
    for number in astray[:MOST_SHOWN]:
        yield Finding(f"  {number.e164}", "; ".join(number.misdirections), True)


def _countries(
    server: Server, shop: NumberShop, snapshot: Snapshot | None, project_id: int | None = None
) -> Iterator[Finding]:
    """Whether the account may call the countries that calls are forwarded to; of a project's own account, that project's calls."""
    lines = {server.settings.fallback_destination} if project_id is None else set()
    for route in snapshot.routes.values() if snapshot else ():
        if project_id not in (None, route.project_id):
            continue
        lines |= {route.fallback, *(line["to"] for _, line, _ in lines_in(route.flow))}
    countries = sorted({country for line in lines if line.startswith("+") and (country := country_of(line))})
    if not countries:
        return
    subject = "carrier's countries"
    try:
        known = shop.dialled_countries()
    except ShopError as error:
        yield Finding(subject, str(error), True)
        return
    if known is None:
        yield Finding(subject, f"the carrier does not tell whether {', '.join(countries)} may be called")
        return
    codes = {country: str(phonenumbers.country_code_for_region(country)) for country in countries}
    open_ones = {country: is_open_for(country, codes[country], known) for country in countries}
    if closed := [country for country in countries if open_ones[country] is False]:
        words = (
            f"calls to {', '.join(closed)} are refused: allow them in the carrier's geographic permissions for voice"
        )
        yield Finding(subject, words, True)
        return
    unknown = [country for country in countries if open_ones[country] is None]
    words = (
        f"{', '.join(country for country in countries if open_ones[country])} may be called"
        if unknown != countries
        else ""
    )
    yield Finding(subject, "; ".join(filter(None, (words, f"{', '.join(unknown)}: not told" if unknown else ""))))

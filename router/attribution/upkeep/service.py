"""Upkeep (R9): what it does with a pool today (buy a few numbers, give a few back, or nothing) and why, which is pure but for the e-mail
about a limit that is reached; and its daily run: facts about the pool, a search for such numbers as it has already, the decision, and what
follows from it in one transaction with the row that claims the day."""

from collections import Counter
from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import phonenumbers
import structlog
from sqlalchemy import ColumnElement, and_, func, select
from sqlalchemy.orm import Session

from router.accounts.audit import Actor, Change
from router.accounts.ledger import lock_balance, price_of
from router.accounts.mail import write_mail
from router.accounts.models import LedgerEntry, Project
from router.attribution.models import PoolNumber, UpkeepRun
from router.attribution.pool.numbers import numbers_needed
from router.carriers.accounts import shop_of_project
from router.carriers.base import ComplianceMissing, ShopError
from router.config import SettingsError
from router.db import insert_new
from router.lib.formats import date_of, day_of, format_count, format_money, start_of
from router.lib.phones import country_of
from router.scenarios.models import OPEN, QUIET, NumberBatch, NumberOrder, Scenario, TrackingNumber
from router.scenarios.numbers.compliance import chosen_now
from router.scenarios.numbers.inventory import taken_numbers, wait_for_arrivals
from router.scenarios.numbers.purchase import order_numbers
from router.scenarios.numbers.release import active_numbers, begin_release
from router.server import Server
from router.web.errors import Problem

TOO_LOW = 90
"""Below this accuracy, in per cent, numbers are bought."""
STEP_PERCENT = 5
PAID_LEFT = timedelta(hours=24)
"""Only numbers with less paid time left are given back, so that no paid day is thrown away and no new number goes."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What buying may cost and how far the pool may grow. `spent_minor`: in the last or the coming 7 days, whichever is more, for
    numbers that upkeep bought."""

    max_numbers: int | None = None
    spending_limit_minor: int | None = None
    spent_minor: int = 0
    price_minor: int = 0
    balance_minor: int = 0
    currency: str = "USD"


@dataclass(frozen=True, slots=True)
class Pool:
    """A pool on a day. `numbers`: how many dynamic numbers it has, ordered ones included. `needed`: the smallest pool that would do; None
    when nobody visited. `in_use`: ids of the numbers that a visit holds now, or that were called lately."""

    numbers: int
    accuracy: int | None
    needed: int | None
    limits: Limits = Limits()
    candidates: Sequence[TrackingNumber] = ()
    in_use: Set[int] = frozenset()

    def may_spare(self, number: TrackingNumber, now: datetime) -> bool:
        if number.pinned or number.owned_elsewhere or not number.is_lendable or number.id in self.in_use:
            return False
        if number.paid_until is None or number.paid_until - now >= PAID_LEFT:
            return False
        return number.last_call_at is None or now - number.last_call_at > QUIET


@dataclass(frozen=True, slots=True)
class Decision:
    """`action`: buy, release or nothing; `wanted` is what the rule asked for, `count` what the limits left of it."""

    pool: Pool
    action: str
    why: str
    wanted: int = 0
    count: int = 0
    release: tuple[int, ...] = ()
    """Ids of the numbers that go."""
    reached: tuple[str, ...] = ()
    """The limits that are reached: numbers, spending."""

    def values(self) -> dict[str, Any]:
        """The columns of the day's row."""
        pool = self.pool
        told = {"accuracy": pool.accuracy, "numbers": pool.numbers, "needed": pool.needed, "why": self.why}
        return told | {"action": self.action, "wanted": self.wanted, "count": self.count}


def decide(pool: Pool, now: datetime) -> Decision:
    """R9 for one pool and day."""
    numbers, accuracy, needed = pool.numbers, pool.accuracy, pool.needed
    if accuracy is None:
        return Decision(
            pool, "nothing", "No visitor was shown a number in the last 7 days, so there is nothing to go by."
        )
    if TOO_LOW <= accuracy < 100:
        return Decision(pool, "nothing", f"The accuracy is {accuracy} %: good enough, so nothing changes.")
    if accuracy < TOO_LOW:
        return _buy(pool, needed or 0)
    least = max(1, needed or 0)
    if numbers <= least:
        why = f"The accuracy is 100 %, and no number is to spare: the busiest hour of the last 7 days needs {least}."
        return Decision(pool, "nothing", why)
    wanted = min(step_of(numbers), numbers - least)

    def usefulness(number: TrackingNumber) -> tuple[float, float, int]:
        """First goes what was shown longest ago, then what is paid for the shortest time."""
        shown = number.last_shown_at.timestamp() if number.last_shown_at else 0.0
        return shown, number.paid_until.timestamp() if number.paid_until else 0.0, number.id

    going = sorted((number for number in pool.candidates if pool.may_spare(number, now)), key=usefulness)[:wanted]
    need = f"the busiest hour of the last 7 days needs {needed or 0} of {format_count(numbers, 'number')}"
    need = f"The accuracy is 100 %, and {need}"
    if not going:
        why = f"{need}. None is given back today: each is pinned, in use, owned elsewhere, called lately or paid for longer than a day."
        return Decision(pool, "nothing", why, wanted)
    back = f"{len(going)} {'goes' if len(going) == 1 else 'go'} back to the carrier"
    return Decision(pool, "release", f"{need}: {back}.", wanted, len(going), tuple(number.id for number in going))


def step_of(numbers: int) -> int:
    """5 % of the pool, rounded up, at least 1: 17 numbers give 1, 22 give 2."""
    return max(1, (numbers * STEP_PERCENT + 99) // 100)


def _buy(pool: Pool, needed: int) -> Decision:
    numbers, limits, said = pool.numbers, pool.limits, f"The accuracy is {pool.accuracy} %"
    if numbers >= needed:
        why = f"{said}, but {format_count(numbers, 'number')} are enough: the busiest hour of the last 7 days needs {needed}."
        return Decision(pool, "nothing", why)
    wanted = within = step_of(numbers)
    reached, notes = [], []
    if limits.max_numbers is not None:
        room = max(0, limits.max_numbers - numbers)
        within = min(within, room)
        if room <= wanted:
            reached.append("numbers")
            notes.append(f"The limit of {format_count(limits.max_numbers, 'number')} is reached.")
    if limits.spending_limit_minor is not None and limits.price_minor:
        room = max(0, limits.spending_limit_minor - limits.spent_minor) // limits.price_minor
        within = min(within, room)
        if room <= wanted:
            reached.append("spending")
            limit = format_money(limits.spending_limit_minor, limits.currency)
            notes.append(f"The spending limit of {limit} in 7 days is reached.")
    need = f"{said}, and the busiest hour of the last 7 days needs {needed} numbers instead of {numbers}"
    action, count = "nothing", 0
    if within * limits.price_minor > limits.balance_minor:
        missing = format_money(within * limits.price_minor - limits.balance_minor, limits.currency)
        why = f"{need}: {within} more would be bought, but the balance is too low by {missing}, so nothing is."
    elif not within:
        why = f"{need}: {wanted} more would be bought."
    else:
        action, count, why = "buy", within, f"{need}: {within} more for 7 days."
    return Decision(pool, action, " ".join([why, *notes]), wanted, count, reached=tuple(reached))


def fewer(decision: Decision, for_sale: int) -> Decision:
    """What is left of buying when the carrier has fewer such numbers for sale."""
    if decision.action != "buy" or for_sale >= decision.count:
        return decision
    sold = f"The carrier has only {for_sale} such for sale." if for_sale else "The carrier has no such number for sale."
    action = "buy" if for_sale else "nothing"
    return replace(decision, action=action, count=for_sale, why=f"{decision.why} {sold}")


def tell_limits(session: Session, project: Project, scenario: Scenario, decision: Decision, now: datetime) -> None:
    limits = decision.pool.limits
    for limit in decision.reached:
        if limit == "numbers":
            value = limits.max_numbers
            sentence = f"Upkeep keeps this scenario at {value} numbers at most, and they are reached."
        else:
            value = limits.spending_limit_minor
            most = format_money(value or 0, limits.currency)
            sentence = f"Upkeep spends {most} at most in any 7 days for numbers that it bought, and they are reached."
        subject = f"Upkeep of “{scenario.title}” has reached its limit"
        body = (
            f"{sentence}\n\n{decision.why}\n\n"
            "Upkeep buys no more numbers beyond it, and the accuracy may stay low. Raise the limit on the scenario's upkeep page, "
            "or add numbers yourself. This is said once for each limit."
        )
        write_mail(session, project, f"upkeep:{scenario.id}:{limit}:{value}", subject, body, now)


WEEK = timedelta(days=7)


def read_pool(
    session: Session,
    server: Server,
    project: Project,
    scenario: Scenario,
    needed: int | None,
    now: datetime,
    *,
    lock: bool = False,
) -> Pool:
    """A fixed number of statements. With `lock` the numbers stay as they are to the end of the transaction."""
    in_pool = select(TrackingNumber).where(_in_pool(scenario)).order_by(TrackingNumber.id)
    if lock:
        in_pool = in_pool.with_for_update().execution_options(populate_existing=True)
    rows = session.scalars(in_pool).all()
    ordered = select(func.count(NumberOrder.id)).join(NumberBatch, NumberBatch.id == NumberOrder.batch_id)
    being_bought = session.scalar(ordered.where(NumberBatch.scenario_id == scenario.id, OPEN)) or 0
    numbers, price = len(rows) + being_bought, price_of(server.settings, project)
    limits = Limits(
        max_numbers=most_numbers(scenario, numbers),
        spending_limit_minor=scenario.upkeep_spending_limit_minor,
        spent_minor=spent_by_upkeep(session, scenario, price, now) if price else 0,
        price_minor=price,
        balance_minor=project.balance_minor,
        currency=project.currency,
    )
    ids = [row.id for row in rows]
    # active: shown now, or with a heartbeat younger than the hold, however long ago the number was leased
    held = select(PoolNumber.number_id).where(
        PoolNumber.scenario_id == scenario.id,
        PoolNumber.last_sign_at >= now - timedelta(seconds=scenario.hold_seconds),
    )
    in_use = active_numbers(session, server, ids, now) | set(session.scalars(held))
    if server.numbers_called:
        in_use |= server.numbers_called(session, ids, now - QUIET)
    return Pool(numbers, scenario.accuracy, needed, limits, rows, in_use)


def _in_pool(scenario: Scenario) -> ColumnElement[bool]:
    """WHERE of the numbers that visitors of the scenario are leased."""
    return and_(TrackingNumber.scenario_id == scenario.id, TrackingNumber.is_lendable)


def pool_size(session: Session, scenario: Scenario) -> int:
    """How many numbers the pool has, without ordered ones."""
    return session.scalar(select(func.count(TrackingNumber.id)).where(_in_pool(scenario))) or 0


def most_numbers(scenario: Scenario, numbers: int) -> int:
    """The limit of numbers: the admin's, else twice the pool when upkeep was switched on."""
    return scenario.upkeep_max_numbers or 2 * (scenario.upkeep_began_with or max(numbers, 1))


def spent_by_upkeep(session: Session, scenario: Scenario, price: int, now: datetime) -> int:
    """What numbers that upkeep bought for this scenario cost in any 7 days, in minor units: what the ledger says of the last 7 days, or
    what renewing them will cost in the coming ones, whichever is more. What was refunded was not spent."""
    orders = (
        select(NumberOrder)
        .join(UpkeepRun, UpkeepRun.batch_id == NumberOrder.batch_id)
        .where(UpkeepRun.scenario_id == scenario.id)
    ).subquery()
    charged = select(func.sum(LedgerEntry.amount_minor)).where(
        LedgerEntry.project_id == scenario.project_id,
        LedgerEntry.at > now - WEEK,
        LedgerEntry.number.in_(select(orders.c.e164)),
    )
    rented = select(func.count(TrackingNumber.id)).where(
        TrackingNumber.id.in_(select(orders.c.number_id)),
        TrackingNumber.releasing_at.is_(None),
        TrackingNumber.released_at.is_(None),
    )
    coming = select(func.count(orders.c.id)).where(orders.c.state.in_(("intent", "unknown")))
    numbers = (session.scalar(rented) or 0) + (session.scalar(coming) or 0)
    return max(-int(session.scalar(charged) or 0), numbers * price)


SPARE = 10
"""So many more are looked for, because somebody may be faster."""


def search_for(numbers: Sequence[TrackingNumber], scenario: Scenario, project: Project) -> dict[str, Any]:
    """`{country, area_code, contains}`: what most numbers of the pool have, else what was asked for when it was bought. Mobile numbers and
    toll-free ones have no area code."""
    places: Counter[tuple[str, str]] = Counter()
    for e164 in (number.e164 for number in numbers):
        parsed = phonenumbers.parse(e164, None)
        length = phonenumbers.length_of_geographical_area_code(parsed)
        places[country_of(e164) or "", phonenumbers.national_significant_number(parsed)[:length]] += 1
    if places:
        country, area_code = places.most_common(1)[0][0]
    else:
        country, area_code = scenario.to_buy.get("country") or "", scenario.to_buy.get("area_code") or ""
    return {"country": country or project.country, "area_code": area_code, "contains": ""}


def find_numbers(server: Server, project_id: int, search: dict[str, Any], count: int) -> list[str]:
    """Numbers for sale, at best of the same area, then of the same country; one or two requests to the carrier.

    Raises:
        ComplianceMissing: a bundle or an address has to be chosen first.
        ShopError, SettingsError: the carrier could not be asked.
    """
    if not search["country"]:
        return []
    shop, limit = shop_of_project(server, project_id), count + SPARE
    chosen = chosen_now(server, project_id, search["country"])
    offers = shop.search(search["country"], search["area_code"], limit=limit, chosen=chosen)
    if len(offers) < count and search["area_code"]:
        offers += shop.search(search["country"], limit=limit, chosen=chosen)
    return list(dict.fromkeys(offer.e164 for offer in offers))


JOB = "upkeep"
ACTOR = "upkeep"
PATIENCE = timedelta(hours=1)
"""So long into the day a carrier that cannot be asked is asked again; then the day is over without a purchase."""

log = structlog.get_logger(__name__)


def keep_pools(server: Server, now: datetime) -> int:
    """A job of the worker: runs upkeep for every scenario whose day has no decision yet; returns how many were decided. A scenario
    that fails is tried again at the next turn, and keeps no other from being decided."""
    decided = 0
    for scenario_id in due_scenarios(server, now):
        try:
            decided += run_upkeep(server, scenario_id, now) is not None
        except Exception:
            log.exception("upkeep_failed", scenario=scenario_id)
    return decided


def due_scenarios(server: Server, now: datetime) -> list[int]:
    """Scenarios with upkeep that are enabled, in projects that are not suspended, without a decision for today."""
    scenarios = select(Scenario.id, Project.timezone).join(Project, Project.id == Scenario.project_id)
    scenarios = scenarios.where(*_WITH_UPKEEP, Project.suspended_at.is_(None)).order_by(Scenario.id)
    with server.database.reading() as session:
        rows = session.execute(scenarios).all()
        recent = select(UpkeepRun.scenario_id, UpkeepRun.day).where(
            UpkeepRun.job == JOB, UpkeepRun.at > now - timedelta(days=3)
        )
        done = {(scenario_id, day) for scenario_id, day in session.execute(recent)}
    return [row.id for row in rows if (row.id, day_of(now, row.timezone)) not in done]


_WITH_UPKEEP = (Scenario.upkeep_on, Scenario.enabled, Scenario.deleted_at.is_(None))


def plan_upkeep(session: Session, server: Server, project: Project, scenario: Scenario, now: datetime) -> Decision:
    """The decision as it would be made now; nothing is written and nobody outside is asked."""
    return decide(read_pool(session, server, project, scenario, numbers_needed(session, scenario, now), now), now)


def run_upkeep(server: Server, scenario_id: int, now: datetime) -> UpkeepRun | None:
    """Decides and acts for today; None when somebody did before, or the carrier is to be asked again later.

    The carrier's search goes before the transaction. In it the decision is made again from locked facts, and stands or falls with the row
    that claims the day: two workers never both act, and a crash leaves nothing half done.
    """
    with server.database.reading() as session:
        scenario = session.get_one(Scenario, scenario_id)
        project = session.get_one(Project, scenario.project_id)
        planned = plan_upkeep(session, server, project, scenario, now)
    search = search_for(planned.pool.candidates, scenario, project)
    offers: list[str] = []
    trouble = ""
    if planned.action == "buy":
        try:
            offers = find_numbers(server, project.id, search, planned.count)
        except ComplianceMissing as missing:  # waiting does not help
            trouble = str(missing)
        except (ShopError, SettingsError) as error:
            if now < start_of(date_of(now, project.timezone), project.timezone) + PATIENCE:
                log.warning("upkeep_waits_for_the_carrier", scenario=scenario_id, why=str(error))
                return None
            trouble = f"The carrier could not be asked: {error}"
    with server.database.writing() as session:
        locked = select(Scenario).where(Scenario.id == scenario_id, *_WITH_UPKEEP).with_for_update()
        present = session.scalars(locked.execution_options(populate_existing=True)).one_or_none()
        if present is None:
            return None
        new = insert_new(session, UpkeepRun, unique=["job", "scenario_id", "day"]).values(
            job=JOB,
            project_id=present.project_id,
            scenario_id=present.id,
            day=day_of(now, project.timezone),
            at=now,
            **planned.values(),
        )
        run: UpkeepRun | None = session.scalars(new.returning(UpkeepRun)).one_or_none()
        if run is None:  # the day is decided
            return None
        if offers:
            wait_for_arrivals(session)
        lock_balance(session, present.project_id)  # scenario, arrivals, balance, numbers: in this order everywhere
        project = session.get_one(Project, present.project_id, populate_existing=True)
        change = Change(session, server, project, Actor(ACTOR), now)
        pool = read_pool(session, server, project, present, planned.pool.needed, now, lock=True)
        present.upkeep_began_with = present.upkeep_began_with or pool.numbers  # the limit must not grow with the pool
        decision = decide(pool, now)
        if decision.action == "buy" and trouble:
            decision = replace(decision, action="nothing", count=0, why=f"{decision.why} {trouble}")
        elif decision.action == "buy":
            taken = taken_numbers(session, offers)
            free = [e164 for e164 in offers if e164 not in taken]
            decision = fewer(decision, len(free))  # what the carrier does not have is said
            if decision.count:
                to_buy = free[: decision.count]
                run.batch_id = order_numbers(change, to_buy, scenario_id=scenario_id, search=search).id
        for number_id in decision.release:
            begin_release(change, session.get_one(TrackingNumber, number_id))
        tell_limits(session, project, present, decision, now)
        for name, value in decision.values().items():
            setattr(run, name, value)
        return run


def todays_run(session: Session, project: Project, scenario: Scenario, now: datetime) -> UpkeepRun | None:
    return session.scalar(
        select(UpkeepRun).where(
            UpkeepRun.job == JOB, UpkeepRun.scenario_id == scenario.id, UpkeepRun.day == day_of(now, project.timezone)
        )
    )


def check_may_run(project: Project, scenario: Scenario) -> None:
    """
    Raises:
        Problem: 409 when nothing would be decided for this scenario.
    """
    if not scenario.upkeep_on:
        raise Problem(409, f"Upkeep of “{scenario.title}” is off. Switch it on first, or ask with dry_run.", "scenario")
    if not scenario.enabled:
        raise Problem(409, f"“{scenario.title}” is off: nobody is shown its numbers. Enable it first.", "scenario")
    if project.suspended_at:
        raise Problem(409, "This project is suspended: nothing is bought or given back.")

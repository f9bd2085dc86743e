"""What upkeep does with a pool today (R9): buy a few numbers, give a few back, or nothing, and why. Pure, except the e-mail about a limit
that is reached."""

from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from router.accounts.mail import write_mail
from router.accounts.models import Project
from router.lib.formats import format_count, format_money
from router.scenarios.models import QUIET, Scenario, TrackingNumber

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

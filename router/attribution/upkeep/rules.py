"""What upkeep does with a pool today (R9): buy a few numbers, give a few back, or nothing, and why. Pure: the facts come in.

The e-mail that tells that upkeep reached one of its limits: once for each limit and its value (R9)."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from router.accounts.mail import write_mail
from router.accounts.models import Project
from router.lib.formats import format_count, format_money
from router.scenarios.billing.paid_time import QUIET
from router.scenarios.models import Scenario

TOO_LOW = 90
"""Below this accuracy, in per cent, numbers are bought."""
STEP_PERCENT = 5
PAID_LEFT = timedelta(hours=24)
"""Only numbers with less paid time left are given back, so that no paid day is thrown away and no new number goes."""


@dataclass(frozen=True, slots=True)
class PoolNumberFacts:
    """A dynamic number of the pool. `active`: a visit holds it now."""

    id: int
    pinned: bool
    owned_elsewhere: bool
    active: bool
    in_release: bool
    static: bool
    paid_until: datetime | None
    last_call_at: datetime | None
    last_shown_at: datetime | None = None

    def may_go(self, now: datetime) -> bool:
        kept = self.pinned or self.owned_elsewhere or self.active or self.in_release or self.static
        if kept or self.paid_until is None or self.paid_until - now >= PAID_LEFT:
            return False
        return self.last_call_at is None or now - self.last_call_at > QUIET


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
class Decision:
    """`action`: buy, release or nothing; `wanted` is what the rule asked for, `count` what the limits left of it."""

    action: str
    why: str
    wanted: int = 0
    count: int = 0
    release: tuple[int, ...] = ()
    """Ids of the numbers that go."""
    reached: tuple[str, ...] = ()
    """The limits that are reached: numbers, spending."""


def decide(
    numbers: int,
    accuracy: int | None,
    needed: int | None,
    limits: Limits,
    candidates: Iterable[PoolNumberFacts],
    now: datetime,
) -> Decision:
    """R9 for one pool and day.

    Args:
        numbers: how many dynamic numbers the pool has, those that are being bought with them.
        needed: the smallest pool that would do; None when nobody visited.
    """
    if accuracy is None:
        return Decision("nothing", "No visitor was shown a number in the last 7 days, so there is nothing to go by.")
    if TOO_LOW <= accuracy < 100:
        return Decision("nothing", f"The accuracy is {accuracy} %: good enough, so nothing changes.")
    if accuracy < TOO_LOW:
        return _buy(numbers, accuracy, needed or 0, limits)
    return _release(numbers, needed or 0, candidates, now)


def step_of(numbers: int) -> int:
    """5 % of the pool, rounded up, at least 1: 17 numbers give 1, 22 give 2."""
    return max(1, (numbers * STEP_PERCENT + 99) // 100)


def _buy(numbers: int, accuracy: int, needed: int, limits: Limits) -> Decision:
    said = f"The accuracy is {accuracy} %"
    if numbers >= needed:
        why = f"{said}, but {format_count(numbers, 'number')} are enough: the busiest hour of the last 7 days needs {needed}."
        return Decision("nothing", why)
    wanted = step_of(numbers)
    within, reached, notes = _within_limits(numbers, wanted, limits)
    need = f"{said}, and the busiest hour of the last 7 days needs {needed} numbers instead of {numbers}"
    if within * limits.price_minor > limits.balance_minor:
        missing = format_money(within * limits.price_minor - limits.balance_minor, limits.currency)
        why = f"{need}: {within} more would be bought, but the balance is too low by {missing}, so nothing is."
        return Decision("nothing", " ".join([why, *notes]), wanted, 0, reached=reached)
    if not within:
        return Decision(
            "nothing", " ".join([f"{need}: {wanted} more would be bought.", *notes]), wanted, reached=reached
        )
    return Decision("buy", " ".join([f"{need}: {within} more for 7 days.", *notes]), wanted, within, reached=reached)


def _within_limits(numbers: int, wanted: int, limits: Limits) -> tuple[int, tuple[str, ...], list[str]]:
    """How many of the wanted numbers may be bought, the limits that are reached by it, and a sentence for each of those."""
    within, reached, notes = wanted, [], []
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
    return within, tuple(reached), notes


def _release(numbers: int, needed: int, candidates: Iterable[PoolNumberFacts], now: datetime) -> Decision:
    said = "The accuracy is 100 %"
    least = max(1, needed)
    if numbers <= least:
        return Decision(
            "nothing", f"{said}, and no number is to spare: the busiest hour of the last 7 days needs {least}."
        )
    wanted = min(step_of(numbers), numbers - least)
    going = sorted((one for one in candidates if one.may_go(now)), key=_least_useful)[:wanted]
    need = f"{said}, and the busiest hour of the last 7 days needs {needed} of {format_count(numbers, 'number')}"
    if not going:
        why = f"{need}. None is given back today: each is pinned, in use, owned elsewhere, called lately or paid for longer than a day."
        return Decision("nothing", why, wanted)
    back = f"{len(going)} {'goes' if len(going) == 1 else 'go'} back to the carrier"
    return Decision("release", f"{need}: {back}.", wanted, len(going), tuple(one.id for one in going))


def _least_useful(one: PoolNumberFacts) -> tuple[float, float, int]:
    """First what was shown longest ago, then what is paid for the shortest time."""
    shown = one.last_shown_at.timestamp() if one.last_shown_at else 0.0
    return shown, one.paid_until.timestamp() if one.paid_until else 0.0, one.id


def fewer(decision: Decision, found: int) -> Decision:
    """What is left of buying when the carrier has fewer such numbers for sale."""
    if decision.action != "buy" or found >= decision.count:
        return decision
    sold = f"The carrier has only {found} such for sale." if found else "The carrier has no such number for sale."
    action = "buy" if found else "nothing"
    return replace(decision, action=action, count=found, why=f"{decision.why} {sold}")


def tell_limits(
    session: Session, project: Project, scenario: Scenario, limits: Limits, decision: Decision, now: datetime
) -> None:
    for limit in decision.reached:
        value = limits.max_numbers if limit == "numbers" else limits.spending_limit_minor
        subject = f"Upkeep of “{scenario.title}” has reached its limit"
        body = (
            f"{_sentence(limit, limits)}\n\n{decision.why}\n\n"
            "Upkeep buys no more numbers beyond it, and the accuracy may stay low. Raise the limit on the scenario's upkeep page, "
            "or add numbers yourself. This is said once for each limit."
        )
        write_mail(session, project, f"upkeep:{scenario.id}:{limit}:{value}", subject, body, now)


def _sentence(limit: str, limits: Limits) -> str:
    if limit == "numbers":
        return f"Upkeep keeps this scenario at {limits.max_numbers} numbers at most, and they are reached."
    said = format_money(limits.spending_limit_minor or 0, limits.currency)
    return f"Upkeep spends {said} at most in any 7 days for numbers that it bought, and they are reached."

"""Renewing rented numbers (R4): for 7 days from where the paid time ended, when it has ended and not before, also while their scenario
is disabled or their project suspended.

Numbers that cannot be renewed are not lost at once: 7 days of grace with e-mails; then only dynamic ones that nobody called for 30 days
are given back. The others keep ringing, and somebody decides. An e-mail also tells ahead of time that a balance will last less than 7
days, and does so again only after the balance lasted longer in between.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from datetime import date, datetime, timedelta

from sqlalchemy import ColumnElement, Select, func, or_, select
from sqlalchemy.orm import Session

from router.accounts.audit import Actor, Change
from router.accounts.ledger import RENEWED, Post, lock_balance, post_all, price_of
from router.accounts.mail import Letter, runs_low, write_mail
from router.accounts.models import Project
from router.lib.formats import date_of, format_count, format_moment, format_money
from router.scenarios.billing.statement import project_forecast
from router.scenarios.models import GRACE, PAID_TIME, QUIET, RENTED, Scenario, TrackingNumber, rent_reason
from router.scenarios.numbers.release import active_numbers, begin_release
from router.server import Server

STAGES = (("over", GRACE), ("ending", timedelta(days=6)), ("midway", GRACE / 2), ("began", timedelta(0)))
"""From which age on a group is in which stage, the last one first."""
RELEASED_AT_ONCE = 10
ACTOR = "server"
NumbersCalled = Callable[[Session, Iterable[int], datetime], set[int]]
"""(session, number ids, since) -> those that were called since."""


def unpaid(now: datetime) -> tuple[ColumnElement[bool], ...]:
    return RENTED, TrackingNumber.paid_until <= now


def keep_grace(server: Server, project_id: int, now: datetime) -> None:
    """Writes the e-mails that are due for the unpaid numbers of a project, and gives back what its grace leaves."""
    with server.database.reading() as session:
        unneeded = [row.id for row in session.execute(_nobody_needs(project_id, now)).all()]
    # a few at a time: one that is seen or called keeps no other waiting
    for first in range(0, len(unneeded), RELEASED_AT_ONCE):
        if not _give_back(server, project_id, unneeded[first : first + RELEASED_AT_ONCE], now):
            break
    ends = select(TrackingNumber.paid_until).where(TrackingNumber.project_id == project_id, *unpaid(now))
    with server.database.reading() as session:
        if session.scalar(ends.limit(1)) is None:
            return
    with server.database.writing() as session:
        lock_balance(session, project_id)
        project = session.get_one(Project, project_id, populate_existing=True)
        price = price_of(server.settings, project)
        counted = ends.add_columns(func.count()).group_by(TrackingNumber.paid_until).order_by(TrackingNumber.paid_until)
        began_at: dict[date, datetime] = {}
        numbers: Counter[date] = Counter()
        for ended_at, amount in session.execute(counted):
            day = date_of(ended_at, project.timezone)
            began_at.setdefault(day, ended_at)
            numbers[day] += amount
        for day, began in began_at.items():  # one e-mail a day and stage, whatever the number of numbers
            stage = next(name for name, age in STAGES if now >= began + age)
            missing = max(0, numbers[day] * price - project.balance_minor)
            letter = letter_for(stage, project, format_count(numbers[day], "number"), began, missing, now)
            write_mail(session, project, f"grace:{stage}:{day}", letter.subject, letter.body, now)


def _give_back(server: Server, project_id: int, ids: list[int], now: datetime) -> bool:
    """Looks without locking first; then scenarios, balance and numbers are locked in this order, as everywhere.

    Returns:
        Whether others may be given back, too: no, when there is money meanwhile.
    """
    with server.database.reading() as session:
        rows = session.execute(_nobody_needs(project_id, now).where(TrackingNumber.id.in_(ids))).all()
        unused = {row.id for row in rows}
        if server.numbers_called:
            unused -= server.numbers_called(session, unused, now - QUIET)
        unused -= active_numbers(session, server, unused, now)
    if not unused:
        return True
    with server.database.writing() as session:
        places = sorted({row.scenario_id for row in rows if row.scenario_id})
        session.execute(select(Scenario.id).where(Scenario.id.in_(places)).order_by(Scenario.id).with_for_update())
        balance = lock_balance(session, project_id)
        project = session.get_one(Project, project_id, populate_existing=True)
        if balance >= price_of(server.settings, project):
            return False
        still = _nobody_needs(project_id, now).where(TrackingNumber.id.in_(unused))
        leaving = sorted(row.id for row in session.execute(still).all())
        change = Change(session, server, project, Actor(ACTOR), now)
        for number_id in leaving:
            begin_release(change, session.get_one(TrackingNumber, number_id))
    return True


def _nobody_needs(project_id: int, now: datetime) -> Select[int, int | None]:
    """SELECT of what may be given back: dynamic, not pinned, its grace over and not called for 30 days."""
    quiet = or_(TrackingNumber.last_call_at.is_(None), TrackingNumber.last_call_at < now - QUIET)
    return (
        select(TrackingNumber.id, TrackingNumber.scenario_id)
        .where(
            TrackingNumber.project_id == project_id,
            *unpaid(now - GRACE),
            TrackingNumber.is_dynamic,
            TrackingNumber.pinned.is_(False),
            quiet,
        )
        .order_by(TrackingNumber.paid_until, TrackingNumber.id)
    )


RENEWED_AT_ONCE = 200


def renew_due(server: Server, now: datetime) -> int:
    """Charges every number whose paid time has ended, week by week until it is paid again; returns how many weeks were charged.

    Then each project with numbers that its balance does not cover is written to, and what its grace leaves is given back.
    """
    with server.database.reading() as session:
        due = select(TrackingNumber.project_id).where(*unpaid(now)).distinct().order_by(TrackingNumber.project_id)
        projects = session.scalars(due).all()
    renewed = 0
    for project_id in projects:
        while weeks := renew_some(server, project_id, now):
            renewed += weeks
        keep_grace(server, project_id, now)
    return renewed


def renew_some(server: Server, project_id: int, now: datetime) -> int:
    """Charges the next week of those numbers of a project whose paid time ended first, as far as the balance goes."""
    with server.database.reading() as session:
        if not _affordable(session, server, project_id, session.get_one(Project, project_id).balance_minor):
            return 0
    with server.database.writing() as session:
        affordable = _affordable(session, server, project_id, lock_balance(session, project_id))
        due = select(TrackingNumber.id).where(TrackingNumber.project_id == project_id, *unpaid(now))
        first = due.order_by(TrackingNumber.paid_until, TrackingNumber.id).limit(affordable)
        chosen = select(TrackingNumber).where(TrackingNumber.id.in_(session.scalars(first).all()), *unpaid(now))
        locked = chosen.order_by(TrackingNumber.id).with_for_update().execution_options(populate_existing=True)
        numbers = session.scalars(locked).all()
        price = price_of(server.settings, session.get_one(Project, project_id))
        rents = []
        for number in numbers:
            start = number.paid_until
            if start is None:
                raise ValueError(f"{number.id} is not rented")
            reason = rent_reason(number.e164, start)
            rents.append(Post(-price, reason, ACTOR, RENEWED, number.e164, number.scenario_id))
            number.paid_until = start + PAID_TIME
        if price:  # a rent that counted before is left out: these 7 days are paid then
            post_all(session, project_id, rents, now)
    return len(numbers)


def _affordable(session: Session, server: Server, project_id: int, balance: int) -> int:
    price = price_of(server.settings, session.get_one(Project, project_id, populate_existing=True))
    return min(RENEWED_AT_ONCE, balance // price) if price else RENEWED_AT_ONCE


SUBJECTS = {
    "began": "{numbers} of {project} could not be renewed",
    "midway": "{numbers} of {project} still wait for the balance",
    "ending": "The last day for {numbers} of {project}",
    "over": "{numbers} of {project} are not paid any more: please decide",
}
TELLS_WHAT_FOLLOWS = (
    "Until then they keep ringing as before. After that those dynamic numbers that nobody called for 30 days are given back to"
    " the carrier; static, pinned and recently called ones keep ringing, and you decide about them."
)
TELLS_WHAT_STAYS = (
    "They keep ringing because they are static, pinned or still called. Top up the balance to renew them, or give them back on"
    " the page Numbers."
)


def letter_for(
    stage: str, project: Project, numbers: str, began_at: datetime, missing_minor: int, now: datetime
) -> Letter:
    """
    Args:
        stage: began, midway, ending or over.
        numbers: how many, in words.
        began_at: when the paid time of the first of them ended.
    """
    subject = SUBJECTS[stage].format(numbers=numbers, project=project.name)
    money = (
        f"{format_money(missing_minor, project.currency)} are missing for 7 more days of them: ask the operator of this server"
        " to top up the balance. They are renewed then from where their paid time ended."
    )
    began, ends = (format_moment(at, project.timezone, now) for at in (began_at, began_at + GRACE))
    if stage == "over":
        facts = f"The grace of {numbers} of {project.name} ended {ends} ({project.timezone})."
        return Letter(subject, f"{facts}\n\n{TELLS_WHAT_STAYS}\n\n{money}")
    facts = (
        f"The paid time of {numbers} of {project.name} ended {began}, and the balance does not cover the next 7 days."
    )
    return Letter(subject, f"{facts} The grace ends {ends} ({project.timezone}).\n\n{TELLS_WHAT_FOLLOWS}\n\n{money}")


def watch_balances(server: Server, now: datetime) -> int:
    """Looks at every project; returns how many e-mails were written. Only a project whose state changed is written to."""
    with server.database.reading() as session:
        projects = session.scalars(select(Project).order_by(Project.id)).all()
        changed = [
            project.id
            for project in projects
            if project_forecast(session, server, project, now).is_low is (project.low_balance_since is None)
        ]
    written = 0
    for project_id in changed:
        with server.database.writing() as session:
            # the forecast is made again while the balance cannot change: a top-up counts
            lock_balance(session, project_id)
            project = session.get_one(Project, project_id, populate_existing=True)
            forecast = project_forecast(session, server, project, now)
            if not forecast.is_low or forecast.lasts_until is None:
                project.low_balance_since = None
            elif project.low_balance_since is None:
                project.low_balance_since = now
                letter = runs_low(project, forecast.lasts_until, forecast.weekly_minor, now)
                written += write_mail(session, project, f"low:{now.isoformat()}", letter.subject, letter.body, now)
    return written

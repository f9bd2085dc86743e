"""What people are told by e-mail of a receiver: that it refuses our key, that a delivery was given up, that it is going to be switched off,
and that it was. Once for each receiver and cause, not for each message."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from router.accounts.mail import Letter, write_mail
from router.accounts.models import Project
from router.db import dialect_insert
from router.integrations.models import OPEN_STATES, Delivery, Integration, ReceiverNotice
from router.lib.formats import format_count, format_moment
from router.scenarios.models import Scenario

DEAD_AGAIN_AFTER = timedelta(days=1)


class Cause(StrEnum):
    REFUSED = "refused"
    """It refuses our key. Told again only after it worked in between, as what follows."""
    DEAD = "dead"
    """A delivery was given up. Told once a day at most."""
    WARNING = "warning"
    OFF = "off"


@dataclass(frozen=True)
class Trouble:
    """What an e-mail tells. `since` is a moment as the project reads it."""

    place: str
    scenarios: str
    since: str
    why: str
    waiting: int

    @property
    def what_waits(self) -> str:
        if not self.waiting:
            return "Nothing waits for it at the moment."
        verb = "waits" if self.waiting == 1 else "wait"
        return f"{format_count(self.waiting, 'delivery', 'deliveries')} {verb} for it, and nothing is lost."


def place_of(receiver: str) -> str:
    """What people know a receiver by: `crm.example.com/main` of `odoo:3:crm.example.com/main`."""
    return receiver.split(":", 2)[-1]


def tell(session: Session, receiver: str, cause: Cause, now: datetime, since: datetime, why: str) -> None:
    """Writes the e-mail about it, to each project that names the receiver, unless it is told already."""
    fresh = dialect_insert(session, ReceiverNotice).values(receiver=receiver, cause=cause, told_at=now)
    told = fresh.on_conflict_do_update(
        index_elements=["receiver", "cause"],
        set_={"told_at": now},
        where=(ReceiverNotice.cause == Cause.DEAD) & (ReceiverNotice.told_at <= now - DEAD_AGAIN_AFTER),
    )
    if session.execute(told.returning(ReceiverNotice.receiver)).first() is None:
        return
    uses = (
        select(Integration.id, Integration.project_id, Scenario.title)
        .join(Scenario, Scenario.id == Integration.scenario_id)
        .where(Integration.receiver == receiver, Integration.removed_at.is_(None))
        .order_by(Integration.project_id, Integration.id)
    )
    by_project: dict[int, dict[int, str]] = {}
    for row in session.execute(uses):
        by_project.setdefault(row.project_id, {})[row.id] = row.title
    about = hashlib.blake2b(receiver.encode(), digest_size=12).hexdigest()
    for project_id, titles in by_project.items():
        project = session.get_one(Project, project_id)
        waits = select(func.count()).where(Delivery.integration_id.in_(titles), Delivery.state.in_(OPEN_STATES))
        trouble = Trouble(
            place=place_of(receiver),
            scenarios=", ".join(f"“{title}”" for title in dict.fromkeys(titles.values())),
            since=f"{format_moment(since, project.timezone, now)} ({project.timezone})",
            why=why.strip().rstrip("."),
            waiting=session.scalar(waits) or 0,
        )
        letter = LETTERS[cause](trouble)
        key = f"receiver:{cause}:{about}:{now.isoformat()}"
        write_mail(session, project, key, letter.subject, letter.body, now)


def refused_letter(trouble: Trouble) -> Letter:
    return Letter(
        f"{trouble.place} refuses the key that it gets from us",
        f"{trouble.place} refuses the key of the scenario {trouble.scenarios} since {trouble.since}. It says: {trouble.why}.\n\n"
        f"{trouble.what_waits} It is tried again every 30 minutes.\n\n"
        "What to do: see there whether the key has expired or lost its rights, make a new one if so, and type it in the scenario, step"
        " Integrations. What waits is sent as soon as you save.\n\n"
        "This is written once, and again only after it worked in between.",
    )


def dead_letter(trouble: Trouble) -> Letter:
    return Letter(
        f"A delivery to {trouble.place} was given up",
        f"A call of the scenario {trouble.scenarios} could not be told to {trouble.place}. The reason: {trouble.why}.\n\n"
        f"{trouble.what_waits} What was given up is kept too.\n\n"
        "What to do: open the page Deliveries and choose the state “given up”. When the reason is mended, press Send again there.\n\n"
        "More that are given up within a day are not told one by one; the page lists them all.",
    )


def warning_letter(trouble: Trouble) -> Letter:
    return Letter(
        f"{trouble.place} will be switched off tomorrow",
        f"{trouble.place} has taken nothing of the scenario {trouble.scenarios} since {trouble.since}. The last time: {trouble.why}.\n\n"
        f"{trouble.what_waits} If it goes on failing, this server stops asking it a day from now; everything is kept.\n\n"
        "What to do: have it mended there, or change or remove the integration in the scenario, step Integrations.",
    )


def off_letter(trouble: Trouble) -> Letter:
    return Letter(
        f"{trouble.place} is switched off",
        f"Nothing is sent to {trouble.place} (scenario {trouble.scenarios}) any more; it has failed since {trouble.since}."
        f" The last time: {trouble.why}.\n\n"
        f"{trouble.what_waits} What is for it from now on is kept and waits as well.\n\n"
        "What to do: once it is mended, switch it on again on the page Deliveries, or save another address in the scenario, step"
        " Integrations. Everything that waits is sent then, in its order.",
    )


LETTERS: dict[Cause, Callable[[Trouble], Letter]] = {
    Cause.REFUSED: refused_letter,
    Cause.DEAD: dead_letter,
    Cause.WARNING: warning_letter,
    Cause.OFF: off_letter,
}

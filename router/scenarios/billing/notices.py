"""E-mails about money (R4): about numbers that could not be renewed, and ahead of time about a balance that will last less than 7 days;
the latter again only after the balance lasted longer in between."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from router.accounts.ledger import lock_balance
from router.accounts.mail import Letter, runs_low, write_mail
from router.accounts.models import Project
from router.lib.formats import format_count, format_moment, format_money
from router.scenarios.billing.statement import project_forecast
from router.server import Server


@dataclass(frozen=True, slots=True)
class Group:
    """The numbers of a project whose paid time ended on one day, and when the first of them is given up."""

    numbers: int
    began_at: datetime
    ends_at: datetime


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


def letter_for(stage: str, project: Project, group: Group, missing_minor: int, now: datetime) -> Letter:
    """
    Args:
        stage: began, midway, ending or over.
    """
    numbers = format_count(group.numbers, "number")
    subject = SUBJECTS[stage].format(numbers=numbers, project=project.name)
    money = (
        f"{format_money(missing_minor, project.currency)} are missing for 7 more days of them: ask the operator of this server"
        " to top up the balance. They are renewed then from where their paid time ended."
    )
    began, ends = (format_moment(at, project.timezone, now) for at in (group.began_at, group.ends_at))
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
            lock_balance(
                session, project_id
            )  # the forecast is made again while the balance cannot change: a top-up counts
            project = session.get_one(Project, project_id, populate_existing=True)
            forecast = project_forecast(session, server, project, now)
            if not forecast.is_low or forecast.lasts_until is None:
                project.low_balance_since = None
            elif project.low_balance_since is None:
                project.low_balance_since = now
                letter = runs_low(project, forecast.lasts_until, forecast.weekly_minor, now)
                written += write_mail(session, project, f"low:{now.isoformat()}", letter.subject, letter.body, now)
    return written

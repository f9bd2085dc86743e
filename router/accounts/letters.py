"""What the e-mails about a balance say (R4)."""

from dataclasses import dataclass
from datetime import datetime

from router.accounts.models import Project
from router.formats import say_moment
from router.money import say_money


@dataclass(frozen=True, slots=True)
class Letter:
    """Subject and text of an e-mail."""

    subject: str
    body: str


def used_up(project: Project) -> Letter:
    """The balance has reached zero."""
    return Letter(
        f"The balance of {project.name} is used up",
        f"The balance of {project.name} is {say_money(0, project.currency)} now.\n\n"
        "Calls are still put through. Numbers whose paid time ends cannot be renewed until the balance is topped up;"
        " they keep ringing for 7 more days, after that those that nobody calls any more are given back.\n\n"
        "Ask the operator of this server to top it up. The page Balance shows every entry.",
    )


def runs_low(project: Project, lasts_until: datetime, weekly_minor: int, now: datetime) -> Letter:
    """The balance will last less than 7 days."""
    money = say_money(project.balance_minor, project.currency)
    when = say_moment(lasts_until, project.timezone, now)
    return Letter(
        f"The balance of {project.name} lasts less than 7 days",
        f"The balance of {project.name} is {money}. Its numbers cost {say_money(weekly_minor, project.currency)} for 7 days,"
        f" so it lasts until {when} ({project.timezone}).\n\n"
        "A number that cannot be renewed keeps ringing for 7 more days; after that those that nobody calls any more are"
        " given back.\n\nAsk the operator of this server to top it up in time. The page Balance shows every entry.",
    )

"""One e-mail ahead of time, when a balance will last less than 7 days; again only after it lasted longer in between (R4)."""

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from router.accounts.ledger import lock_balance
from router.accounts.letters import runs_low
from router.accounts.mail import write_mail
from router.accounts.models import Project
from router.scenarios.money.forecast import project_forecast
from router.server import Server


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
            written += _note(session, server, project_id, now)
    return written


def _note(session: Session, server: Server, project_id: int, now: datetime) -> bool:
    """Looks again while the balance cannot change, so that a top-up just made counts."""
    lock_balance(session, project_id)
    project = session.get_one(Project, project_id, populate_existing=True)
    forecast = project_forecast(session, server, project, now)
    if not forecast.is_low or forecast.lasts_until is None:
        project.low_balance_since = None
        return False
    if project.low_balance_since is not None:
        return False
    project.low_balance_since = now
    letter = runs_low(project, forecast.lasts_until, forecast.weekly_minor, now)
    return write_mail(session, project, f"low:{now.isoformat()}", letter.subject, letter.body, now)

"""How receivers fare (R11): the circuit breaker of each, which of them are in trouble, and what an integration names and its receiver does
not have (any more), which is told by e-mail once, and again only after it worked in between.

Workers share the circuit breakers through the database. After some failures in a row a receiver is left alone for a growing pause."""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, case, delete, func, select, union, update
from sqlalchemy.orm import Session

from router.accounts.mail import Letter, write_mail
from router.accounts.models import Project
from router.db import insert_new
from router.integrations.models import Delivery, DeliveryState, Integration, IntegrationProblem, ReceiverHealth
from router.jobs import backoff
from router.scenarios.models import Scenario

FAILURES_TO_OPEN = 5
FIRST_PAUSE = timedelta(seconds=60)
"""How long a receiver is left alone after the fifth failure in a row; doubled with each later one."""
LONGEST_PAUSE = timedelta(minutes=30)


def note_success(session: Session, receiver: str) -> None:
    session.execute(delete(ReceiverHealth).where(ReceiverHealth.receiver == receiver))


def note_failure(session: Session, receiver: str, error: str, now: datetime) -> None:
    """One more retryable failure in a row."""
    health = _locked(session, receiver, now)
    health.failures += 1
    health.failing_since = health.failing_since or now
    health.last_error = error
    if health.failures >= FAILURES_TO_OPEN:
        health.open_until = now + backoff(health.failures - FAILURES_TO_OPEN + 1, FIRST_PAUSE, LONGEST_PAUSE)


def leave_alone(session: Session, receiver: str, error: str, now: datetime, until: datetime) -> None:
    """The receiver itself asked for a pause, or refuses our account: nothing is tried before `until`."""
    health = _locked(session, receiver, now)
    health.failing_since = health.failing_since or now
    health.last_error = error
    health.open_until = max(until, health.open_until or until)


def try_at_once(session: Session, receiver: str) -> None:
    """An admin changed something or asks for it: the pause is over, what was learnt about failures is not."""
    session.execute(update(ReceiverHealth).where(ReceiverHealth.receiver == receiver).values(open_until=None))


def _locked(session: Session, receiver: str, now: datetime) -> ReceiverHealth:
    fresh = insert_new(session, ReceiverHealth, unique=["destination"])
    session.execute(fresh.values(receiver=receiver, failures=0, last_error="", failing_since=now))
    return session.get_one(ReceiverHealth, receiver, with_for_update=True, populate_existing=True)


def place_of(receiver: str) -> str:
    """What people know a receiver by: `crm.example.com/main` of `odoo:3:crm.example.com/main`."""
    return receiver.split(":", 2)[-1]


def troubles(session: Session, project_id: int) -> Sequence[Row[Any]]:
    """Receivers that do not get everything because they fail now or have dead deliveries, the longest first: receiver, since, why,
    dead (how many), fails_now (False when only what was given up is missing there), and waiting_until (nothing is tried before)."""
    count, since, why = func.count(), func.min(Delivery.event_at), func.max(Delivery.reason)
    given_up = select(Delivery.receiver.label("receiver"), count.label("count"), since.label("since"), why.label("why"))
    is_dead = Delivery.project_id == project_id, Delivery.state == DeliveryState.DEAD
    dead = given_up.where(*is_dead).group_by(Delivery.receiver).subquery()
    used = select(Integration.receiver).where(Integration.project_id == project_id, Integration.removed_at.is_(None))
    fails = ReceiverHealth.receiver.in_(used)
    both = union(select(dead.c.receiver), select(ReceiverHealth.receiver.label("receiver")).where(fails)).subquery()
    earlier = case((dead.c.since < ReceiverHealth.failing_since, dead.c.since))
    statement = (
        select(
            both.c.receiver,
            func.coalesce(earlier, ReceiverHealth.failing_since, dead.c.since).label("since"),
            func.coalesce(ReceiverHealth.last_error, dead.c.why).label("why"),
            func.coalesce(dead.c.count, 0).label("dead"),
            ReceiverHealth.receiver.is_not(None).label("fails_now"),
            ReceiverHealth.open_until.label("waiting_until"),
        )
        .outerjoin(dead, dead.c.receiver == both.c.receiver)
        .outerjoin(ReceiverHealth, (ReceiverHealth.receiver == both.c.receiver) & fails)
    )
    return session.execute(statement.order_by("since")).all()


MANAGER = "manager"
"""`what` of a responsible person; any other `what` is a field of a lead."""


def note_missing(session: Session, delivery: Delivery, missing: Sequence[Mapping[str, str]], now: datetime) -> None:
    """Keeps which names of the integration the receiver did not have at the last look-up of all of them; e-mails what is new.

    missing: `{what, name, why}` each; any other name works, or the integration does not have it any more.
    """
    reasons = {(item["what"][:80], item["name"][:200]): item["why"] for item in missing}
    if {(row.what, row.name) for row in _of(session, delivery.integration_id)} == reasons.keys():
        return
    integration = session.get_one(Integration, delivery.integration_id, with_for_update=True, populate_existing=True)
    for row in _of(session, integration.id):
        if (row.what, row.name) not in reasons:
            session.delete(row)
    session.flush()
    for (what, name), why in reasons.items():
        fresh = insert_new(session, IntegrationProblem, unique=["integration_id", "what", "name"])
        values = {"project_id": integration.project_id, "integration_id": integration.id, "what": what, "name": name}
        if session.execute(fresh.values(**values, why=why, since=now).returning(IntegrationProblem.id)).first():
            project = session.get_one(Project, integration.project_id)
            scenario = session.get_one(Scenario, integration.scenario_id)
            letter = missing_letter(scenario.title, place_of(integration.receiver), what, why)
            about = hashlib.blake2b(f"{what}:{name}".encode(), digest_size=12).hexdigest()
            key = f"missing:{integration.id}:{about}:{now.isoformat()}"
            write_mail(session, project, key, letter.subject, letter.body, now)


def open_problems(session: Session, project_id: int) -> list[Row[Any]]:
    """The problems with names that a project's integrations still have, the oldest first: scenario (its title), receiver, why, since."""
    problems = (
        select(Scenario.title.label("scenario"), Integration.receiver, IntegrationProblem.why, IntegrationProblem.since)
        .add_columns(IntegrationProblem.what, IntegrationProblem.name, Integration.config, Scenario.manager)
        .join_from(IntegrationProblem, Integration, Integration.id == IntegrationProblem.integration_id)
        .join(Scenario, Scenario.id == Integration.scenario_id)
        .where(IntegrationProblem.project_id == project_id)
        .where(Integration.removed_at.is_(None), Scenario.deleted_at.is_(None))
        .order_by(IntegrationProblem.since, IntegrationProblem.id)
    )
    return [row for row in session.execute(problems) if row.name in names_of(row.what, row.config, row.manager)]


def missing_letter(scenario: str, place: str, what: str, why: str) -> Letter:
    """The e-mail about one that is missing."""
    mend = (
        "Nothing is lost: leads are made all the same. Name somebody else as responsible (in the scenario, step Integrations, or in its"
        " CRM connection), or let this user work in the CRM again."
        if what == MANAGER
        else "Nothing is lost: leads are made all the same. Mend the field of the lead in the scenario's CRM connection, or what it"
        " names in the CRM."
    )
    return Letter(
        f"Leads of “{scenario}”: {why}",
        f"{why}. So it was with the last lead of the scenario “{scenario}” in {place}.\n\n{mend}\n\n"
        "The page Deliveries tells which leads it concerns. This is written once, and again only after it worked in between.",
    )


def _of(session: Session, integration_id: int) -> Sequence[IntegrationProblem]:
    problems = select(IntegrationProblem).where(IntegrationProblem.integration_id == integration_id)
    return session.scalars(problems.order_by(IntegrationProblem.id)).all()


def names_of(what: str, config: Mapping[str, Any], manager: str) -> set[str]:
    """What an integration and its scenario name by now, as long as the column `name`."""
    names = [manager, config.get("manager")] if what == MANAGER else [(config.get("fields") or {}).get(what)]
    return {str(name).strip()[:200] for name in names if name}

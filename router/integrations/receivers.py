"""How receivers fare (R11): the circuit breaker of each, which of them are in trouble or switched off, and what an integration names and
its receiver does not have (any more), which is told by e-mail once, and again only after it worked in between.

Workers share the circuit breakers through the database. After some failures in a row a receiver is left alone for a growing pause; then
one attempt of all workers together tries whether it works again. After days of nothing but failure it is switched off: what is for it
waits, and is sent when somebody switches it on again."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, case, delete, func, select, union, update
from sqlalchemy.orm import Session

from router.accounts.mail import Letter, write_mail
from router.accounts.models import Project
from router.db import insert_new
from router.integrations.models import (
    OPEN_STATES,
    Delivery,
    DeliveryState,
    Integration,
    IntegrationProblem,
    ReceiverHealth,
    ReceiverNotice,
)
from router.integrations.notices import Cause, place_of, tell
from router.jobs import backoff
from router.scenarios.models import Scenario

FAILURES_TO_OPEN = 5
FIRST_PAUSE = timedelta(seconds=6)
"""How long a receiver is left alone after the fifth failure in a row, doubled with each attempt that fails after such a pause. Longer than
the pause before a delivery's second attempt (5 s and a tenth), so that there is one to try it with."""
LONGEST_PAUSE = timedelta(minutes=30)
WARNED_AFTER, OFF_AFTER = timedelta(days=4), timedelta(days=5)
"""Of nothing but failure; between the warning and the end is a day at least."""
GONE = "The receiver says that this address is gone (410)."


def note_success(session: Session, receiver: str, *, was_failing: bool) -> None:
    """
    Args:
        was_failing: the attempt began when the receiver was known to fail. The success of an earlier one ends no pause.
    """
    worked = delete(ReceiverHealth).where(
        ReceiverHealth.receiver == receiver,
        ReceiverHealth.switched_off_at.is_(None),
        *(() if was_failing else (ReceiverHealth.open_until.is_(None),)),
    )
    if session.scalars(worked.returning(ReceiverHealth.receiver)).first() is not None:
        forget_notices(session, receiver)


def forget_notices(session: Session, receiver: str) -> None:
    """It worked: what is wrong next is told anew. What was given up meanwhile is not told again within a day."""
    told = (ReceiverNotice.receiver == receiver, ReceiverNotice.cause != Cause.DEAD)
    session.execute(delete(ReceiverNotice).where(*told))


def note_failure(session: Session, receiver: str, error: str, now: datetime, *, was_failing: bool = True) -> None:
    """One more retryable failure in a row. Of attempts that were under way together when a receiver began to fail no more count than it
    takes to leave it alone."""
    health = _locked(session, receiver, now)
    health.last_error = error
    if was_failing or health.failures < FAILURES_TO_OPEN:
        health.failures += 1
        if health.failures >= FAILURES_TO_OPEN:
            until = now + backoff(health.failures - FAILURES_TO_OPEN + 1, FIRST_PAUSE, LONGEST_PAUSE)
            health.open_until = max(until, health.open_until or until)
    _end_of_patience(session, health, now)


def end_probe(session: Session, receiver: str, now: datetime) -> None:
    """The attempt at a receiver that was left alone is over, and it did not work: another one may try at once, unless its end says
    otherwise."""
    waits = ReceiverHealth.receiver == receiver, ReceiverHealth.open_until > now
    session.execute(update(ReceiverHealth).where(*waits).values(open_until=now))


def leave_alone(session: Session, receiver: str, error: str, now: datetime, until: datetime) -> None:
    """The receiver itself asked for a pause: nothing is tried before `until`, and it does not count as a failure."""
    health = _locked(session, receiver, now)
    health.last_error = error
    health.open_until = max(until, health.open_until or until)


def note_refusal(session: Session, receiver: str, error: str, now: datetime, until: datetime) -> None:
    """It refuses our account: nothing is tried before `until`, and people are told."""
    leave_alone(session, receiver, error, now, until)
    health = _locked(session, receiver, now)
    tell(session, receiver, Cause.REFUSED, now, health.failing_since or now, error)
    _end_of_patience(session, health, now)


def switch_off(session: Session, receiver: str, error: str, now: datetime) -> None:
    """Nothing is sent to it any more; what is for it waits. People are told."""
    health = _locked(session, receiver, now)
    health.last_error = error
    if health.switched_off_at is None:
        health.switched_off_at = now
        tell(session, receiver, Cause.OFF, now, health.failing_since or now, error)


def switch_on(session: Session, receiver: str, now: datetime) -> None:
    """What waited for a receiver that was switched off is sent; it has as much time again until it would be switched off."""
    off = ReceiverHealth.receiver == receiver, ReceiverHealth.switched_off_at.is_not(None)
    found = session.scalars(delete(ReceiverHealth).where(*off).returning(ReceiverHealth.receiver)).first()
    if found is None:
        return
    forget_notices(session, receiver)
    ids = select(Integration.id).where(Integration.receiver == receiver)
    waiting = Delivery.integration_id.in_(ids), Delivery.state == DeliveryState.PENDING, Delivery.next_at > now
    session.execute(update(Delivery).where(*waiting).values(next_at=now).execution_options(synchronize_session=False))


def try_at_once(session: Session, receiver: str, now: datetime) -> None:
    """An admin changed something or asks for it: the pause is over, what was learnt about failures is not. A receiver that was switched
    off is switched on."""
    switch_on(session, receiver, now)
    session.execute(update(ReceiverHealth).where(ReceiverHealth.receiver == receiver).values(open_until=None))


def _locked(session: Session, receiver: str, now: datetime) -> ReceiverHealth:
    fresh = insert_new(session, ReceiverHealth, unique=["destination"])
    session.execute(fresh.values(receiver=receiver, failures=0, last_error="", failing_since=now))
    return session.get_one(ReceiverHealth, receiver, with_for_update=True, populate_existing=True)


def _end_of_patience(session: Session, health: ReceiverHealth, now: datetime) -> None:
    since = health.failing_since or now
    if health.switched_off_at is not None or since > now - WARNED_AFTER:
        return
    of_warning = (ReceiverNotice.receiver == health.receiver, ReceiverNotice.cause == Cause.WARNING)
    warned_at = session.scalar(select(ReceiverNotice.told_at).where(*of_warning))
    if warned_at is None:
        tell(session, health.receiver, Cause.WARNING, now, since, health.last_error)
    elif since <= now - OFF_AFTER and warned_at <= now - (OFF_AFTER - WARNED_AFTER):
        switch_off(session, health.receiver, health.last_error, now)


@dataclass(frozen=True)
class ReceiverStatus:
    """How a receiver of a project fares."""

    receiver: str
    kind: str
    scenarios: tuple[str, ...]
    """The titles of those that tell it of calls."""
    state: str
    """works; failing: tried all the same; paused: nothing is tried before `open_until`; off: switched off until somebody switches it on."""
    since: datetime | None
    """When it began to fail, or was switched off; None: it works."""
    waiting: int
    dead: int
    last_error: str
    open_until: datetime | None

    @property
    def place(self) -> str:
        return place_of(self.receiver)


def receivers_of_project(session: Session, project_id: int, now: datetime) -> list[ReceiverStatus]:
    """All that the project's integrations name, those in trouble first; four statements."""
    used = (
        select(Integration.id, Integration.receiver, Integration.kind, Scenario.title)
        .join(Scenario, Scenario.id == Integration.scenario_id)
        .where(Integration.project_id == project_id, Integration.removed_at.is_(None), Scenario.deleted_at.is_(None))
        .order_by(Integration.receiver, Integration.id)
    )
    by_receiver: dict[str, list[Any]] = {}
    for row in session.execute(used):
        by_receiver.setdefault(row.receiver, []).append(row)
    in_state = select(Delivery.integration_id, Delivery.state, func.count().label("amount")).where(
        Delivery.project_id == project_id, Delivery.state.in_((*OPEN_STATES, DeliveryState.DEAD))
    )
    waiting: dict[int, int] = {}
    dead: dict[int, int] = {}
    for integration_id, state, amount in session.execute(in_state.group_by(Delivery.integration_id, Delivery.state)):
        counts = dead if state == DeliveryState.DEAD else waiting
        counts[integration_id] = counts.get(integration_id, 0) + amount
    known = session.scalars(select(ReceiverHealth).where(ReceiverHealth.receiver.in_(by_receiver)))
    healths = {health.receiver: health for health in known}
    found = []
    for receiver, rows in by_receiver.items():
        health = healths.get(receiver)
        condition, since = "works", None
        if health is not None:
            condition, since = "failing", health.failing_since
            if health.switched_off_at is not None:
                condition, since = "off", health.switched_off_at
            elif health.open_until is not None and health.open_until > now:
                condition = "paused"
        found.append(
            ReceiverStatus(
                receiver=receiver,
                kind=rows[0].kind,
                scenarios=tuple(dict.fromkeys(row.title for row in rows)),
                state=condition,
                since=since,
                waiting=sum(waiting.get(row.id, 0) for row in rows),
                dead=sum(dead.get(row.id, 0) for row in rows),
                last_error=health.last_error if health else "",
                open_until=health.open_until if health and condition == "paused" else None,
            )
        )
    rank = ("off", "paused", "failing", "works")
    return sorted(found, key=lambda one: (rank.index(one.state), one.receiver))


def troubles(session: Session, project_id: int) -> Sequence[Row[Any]]:
    """Receivers that do not get everything because they fail now or have dead deliveries, the longest first: receiver, since, why,
    dead (how many), fails_now (False when only what was given up is missing there), waiting_until (nothing is tried before), and off_since
    (it is switched off)."""
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
            ReceiverHealth.switched_off_at.label("off_since"),
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

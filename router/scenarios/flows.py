"""Call flows: where calls go. Stored as immutable versions, so that a call in progress keeps the one it began with (R1)."""

import base64
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Select, func, select, union_all, update
from sqlalchemy.orm import Session

from router.accounts.ledger import lock_balance
from router.accounts.models import Project, fallback_chosen
from router.lib.crypto import KeyRing
from router.lib.phones import cost_warning, country_refusal, read_caller
from router.lib.signatures import PREFIX
from router.scenarios.models import CallFlow, Scenario, TrackingNumber
from router.server import Server
from router.web.errors import Problem

DEFAULT_RING_SECONDS = 20
IS_TRACKING = "This is a tracking number: calls would go round in circles. Name the company's own line."
LONG_RING_SECONDS = 20
"""The voicemails of many lines answer a little later."""
CONFIRM = "Confirm that in the wizard's forwarding step, or send “costs_confirmed”: true with this destination."
Destination = Mapping[str, Any]
Document = Mapping[str, Any]
"""A flow as it is stored: destinations that ring in turn, or steps."""


def is_full(flow: Document | None) -> bool:
    """It has steps."""
    return bool(flow and flow.get("steps"))


def steps_in(flow: Document | None) -> Iterator[tuple[str, Document]]:
    """Every step of a stored flow with its place in the document, `steps.0`. Flows of every release can be read."""

    def within(place: str, value: Any) -> Iterator[tuple[str, Document]]:
        if isinstance(value, Mapping):
            if isinstance(value.get("type"), str):
                yield place, value
            for name, inner in value.items():
                yield from within(f"{place}.{name}", inner)
        elif isinstance(value, list):
            for index, inner in enumerate(value):
                yield from within(f"{place}.{index}", inner)

    return within("steps", flow.get("steps") if flow else None)


def lines_in(flow: Document | None) -> Iterator[tuple[str, Destination, Document]]:
    """Every line that a stored flow may ring, in either form: its place, `destinations.0`, the line, and what rings it: a step, or the
    short form itself."""
    for place, ringing in (("", flow or {}), *steps_in(flow)):
        for index, line in enumerate(ringing.get("destinations") or ()):
            yield f"{place}.destinations.{index}".removeprefix("."), line, ringing


def flow_secret(keys: KeyRing, project_id: int) -> str:
    """By which the systems of a project check that a question of an *ask* step is ours. It follows from ROUTER_SECRET_KEY."""
    return f"{PREFIX}{base64.b64encode(keys.derive(f'flow {project_id}')[0]).decode()}"


def refusal_of(destination: Mapping[str, Any], countries: Collection[str]) -> tuple[str, str] | None:
    """The member of a destination for which calls may not be forwarded there, and a sentence that says what to do; None when they may."""
    to = str(destination.get("to") or "")
    if refusal := country_refusal(to, countries):
        return "to", refusal
    if not destination.get("costs_confirmed") and (warning := cost_warning(to)):
        return "costs_confirmed", f"{warning} {CONFIRM}"
    return None


def numbers_here(e164s: Iterable[str]) -> Select[TrackingNumber]:
    """SELECT of those of the numbers that are tracking numbers of this server, of whatever project."""
    return select(TrackingNumber).where(TrackingNumber.e164.in_(list(e164s)), TrackingNumber.released_at.is_(None))


def tracking_among(session: Session, numbers: Iterable[str]) -> set[str]:
    return set(session.scalars(numbers_here(numbers).with_only_columns(TrackingNumber.e164)))


def connect() -> None:
    """Projects ask here before they get a fallback destination; for several servers in a process once is enough."""
    fallback_chosen.connect(_refuse_tracking, weak=False)


def _refuse_tracking(sender: Any, *, session: Session, destination: str, **_: Any) -> None:
    if tracking_among(session, [destination]):
        raise Problem(422, IS_TRACKING, "fallback_destination")


def stored_flow(session: Session, scenario: Scenario) -> Document | None:
    flow = session.get(CallFlow, scenario.call_flow_id) if scenario.call_flow_id else None
    return flow.document if flow else None


def destinations_of(session: Session, project_id: int) -> set[str]:
    flows = session.scalars(
        select(CallFlow)
        .join(Scenario, Scenario.call_flow_id == CallFlow.id)
        .where(Scenario.project_id == project_id, Scenario.deleted_at.is_(None))
    )
    return {line["to"] for flow in flows for _, line, _ in lines_in(flow.document)}


def refresh_destination_numbers(server: Server, now: datetime) -> None:
    """Updates each project's `destination_numbers` by its flows. The worker's job, because a line may also no longer be forwarded to: a
    scenario was deleted, a number given back."""
    with server.database.reading() as session:
        present = _destination_numbers(session)
        known = session.execute(select(Project.id, Project.destination_numbers)).all()
    for project_id, numbers in known:
        if numbers != present.get(project_id, []):
            with server.database.writing() as session:
                _keep_destination_numbers(session, project_id)


def _keep_destination_numbers(session: Session, project_id: int) -> None:
    lock_balance(session, project_id)  # so that of two at once the second sees what the first one stored
    numbers = _destination_numbers(session, project_id).get(project_id, [])
    session.execute(update(Project).where(Project.id == project_id).values(destination_numbers=numbers))


def _destination_numbers(session: Session, project_id: int | None = None) -> dict[int, list[str]]:
    """By project, sorted: the numbers to which its scenarios, and its numbers without a scenario, forward calls; of a SIP address the
    number in it."""
    flows = union_all(
        select(Scenario.project_id, CallFlow.document)
        .join(CallFlow, CallFlow.id == Scenario.call_flow_id)
        .where(Scenario.deleted_at.is_(None)),
        select(TrackingNumber.project_id, CallFlow.document)
        .join(CallFlow, CallFlow.id == TrackingNumber.last_flow_id)
        .where(TrackingNumber.scenario_id.is_(None), TrackingNumber.released_at.is_(None)),
    ).subquery()
    rows = select(flows) if project_id is None else select(flows).where(flows.c.project_id == project_id)
    by_project: dict[int, set[str | None]] = defaultdict(set)
    for owner, document in session.execute(rows):
        by_project[owner].update(read_caller(line.get("to")).e164 for _, line, _ in lines_in(document))
    return {owner: sorted(number for number in numbers if number) for owner, numbers in by_project.items()}


def store_flow(session: Session, scenario: Scenario, document: Document | None, now: datetime) -> None:
    """Gives the scenario this flow: a new version only when it changed. The telephones at the ends of its lines are the project's own from
    now on. The project's row is locked then."""
    if document is None:
        scenario.call_flow_id = None
        return
    if stored_flow(session, scenario) == document:
        return
    last = session.scalar(select(func.max(CallFlow.number)).where(CallFlow.scenario_id == scenario.id))
    flow = CallFlow(scenario_id=scenario.id, number=(last or 0) + 1, document=dict(document), created_at=now)
    session.add(flow)
    session.flush()
    scenario.call_flow_id = flow.id
    session.flush()
    _keep_destination_numbers(session, scenario.project_id)

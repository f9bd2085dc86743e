"""One factory for each thing that the database holds: a plausible row, whose columns keyword arguments replace.

Factories write with the session's transaction and return the row, which has its id.
"""

import re
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from argon2 import PasswordHasher
from sqlalchemy import bindparam, func, select
from sqlalchemy.orm import Session

from router.accounts import members, tokens
from router.accounts.ledger import Post, post
from router.accounts.models import ApiToken, LedgerEntry, Mail, Membership, Person, Project
from router.attribution.decision import shares_by_source
from router.attribution.models import Lease, Tap, Visit, VisitSpan
from router.attribution.pool.numbers import follow_numbers
from router.attribution.tracking.sources import named_source
from router.db import FIRST_VISIT_NUMBER, Base, start_visit_numbers
from router.integrations.models import Delivery, Integration
from router.lib.audio import mu_law_wav
from router.lib.crypto import KeyRing
from router.lib.file_store import FOLDER, FolderStore
from router.scenarios.models import (
    CallFlow,
    NumberBatch,
    NumberCompliance,
    NumberOrder,
    OrderState,
    Scenario,
    ScenarioDraft,
    Sound,
    TrackingNumber,
)
from router.scenarios.wizard.drafts import keep
from router.voice.models import BlockedCaller, Call, CallRecording, TextMessage

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
COMPANY_LINE, SECOND_LINE = "+14155550100", "+14155550122"
NUMBER = "+12125552001"
CALLER = "+14155552671"
GOOGLE = {"channel": "paid_search", "source": "google", "medium": "cpc", "campaign": "spring"}
PASSWORD = "correct horse battery"
PASSWORD_HASH = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
"""Soon verified: a hash says how much work it is. Passwords that the product itself stores are the usual work."""

Row = TypeVar("Row", bound=Base)


def _add(session: Session, row: Row) -> Row:
    session.add(row)
    session.flush()
    return row


def make_project(session: Session, numbers: Sequence[str] = (), **fields: Any) -> Project:
    """A project with these free numbers. Its key follows from its name: `k-shop`, and `k-shop-2` for the second of that name."""
    name = fields.setdefault("name", "Shop")
    namesakes = session.scalar(_COUNTS[Project.name], {"value": name})
    defaults = {
        "key": "-".join(["k", *re.findall("[a-z0-9]+", name.lower()), *([f"{namesakes + 1}"] if namesakes else [])]),
        "site": ["shop.example"],
        "country": "US",
        "timezone": "America/New_York",
        "currency": "USD",
        "email": "owner@shop.example",
        "fallback_destination": "+14155550111",
        "created_at": NOON,
    }
    project = _add(session, Project(**(defaults | fields)))
    start_visit_numbers(session, project.id)
    make_numbers(session, project, numbers)
    return project


def make_person(session: Session, email: str = "", **fields: Any) -> Person:
    """Somebody whose password is PASSWORD."""
    email = email or f"{secrets.token_hex(4)}@example.com"
    fields.setdefault("name", email.partition("@")[0].capitalize())
    return members.create_person(session, email, PASSWORD_HASH, NOON, **fields)


def make_member(session: Session, project: Project, person: Person, role: str = "owner") -> Membership:
    """Makes somebody a member, or gives a member another role."""
    members.set_role(session, project.id, person.id, role)
    return session.query(Membership).filter_by(project_id=project.id, person_id=person.id).one()


def make_token(
    session: Session, project: Project | None = None, role: str = "owner", name: str = "test"
) -> tuple[ApiToken, str]:
    """A new API token and its text; without a project an operator's."""
    return tokens.create_token(session, name, NOON, project.id if project else None, role)


def make_ledger_entry(
    session: Session,
    project: Project,
    amount_minor: int,
    reason: str = "top-up:1",
    actor: str = "olivia",
    at: datetime = NOON,
    **details: Any,
) -> LedgerEntry | None:
    """What `post` writes: an entry, with which the project's balance moves; `details` are its note, number and scenario_id."""
    return post(session, project.id, Post(amount_minor, reason, actor, **details), at)


def make_mail(session: Session, project: Project, key: str = "low:1", **fields: Any) -> Mail:
    """An e-mail that waits since noon."""
    defaults = {
        "recipient": project.email,
        "subject": f"The balance of {project.name} lasts less than 7 days",
        "body": "It lasts until Fri 27 Nov, 13:00.\n\nTop it up.",
        "created_at": NOON,
        "next_at": NOON,
    }
    return _add(session, Mail(project_id=project.id, key=f"{project.id}:{key}", **(defaults | fields)))


def make_scenario(
    session: Session,
    project: Project,
    numbers: int | Sequence[str] = 3,
    *,
    destinations: Sequence[str] = (COMPANY_LINE,),
    ring_seconds: int = 20,
    static: dict[str, Any] | None = None,
    **fields: Any,
) -> Scenario:
    """A scenario with dynamic numbers (a count, or these), or static ones when `static` gives their source."""
    defaults = {"title": "Main line", "enabled": True, "tagging": {}, "created_at": NOON, "hold_seconds": 150}
    scenario = _add(session, Scenario(project_id=project.id, **(defaults | fields)))
    make_flow(session, scenario, destinations, ring_seconds)
    if isinstance(numbers, int):
        numbers = [f"+1212555{scenario.id % 10}{index:03d}" for index in range(numbers)]
    make_numbers(session, project, numbers, scenario, static)
    return scenario


def make_flow(
    session: Session, scenario: Scenario, destinations: Sequence[str] = (COMPANY_LINE,), ring_seconds: int = 20
) -> CallFlow:
    """The next call flow of a scenario, to these destinations one after the other."""
    number = session.scalar(_COUNTS[CallFlow.scenario_id], {"value": scenario.id}) + 1
    document = {"destinations": [{"to": to, "ring_seconds": ring_seconds} for to in destinations]}
    flow = _add(session, CallFlow(scenario_id=scenario.id, number=number, document=document, created_at=NOON))
    scenario.call_flow_id = flow.id
    return flow


def make_number(
    session: Session,
    project: Project,
    e164: str,
    scenario: Scenario | None = None,
    static: dict[str, Any] | None = None,
    **fields: Any,
) -> TrackingNumber:
    """A number that is owned elsewhere: free, dynamic in a scenario, or static when `static` gives its source."""
    return make_numbers(session, project, [e164], scenario, static, **fields)[0]


def make_numbers(
    session: Session,
    project: Project,
    numbers: Sequence[str],
    scenario: Scenario | None = None,
    static: dict[str, Any] | None = None,
    **fields: Any,
) -> list[TrackingNumber]:
    """Many of them, for the price of one."""
    defaults = {"scenario_id": scenario.id if scenario else None, "static_source": static, "created_at": NOON}
    return _add_numbers(
        session, [TrackingNumber(project_id=project.id, e164=e164, **(defaults | fields)) for e164 in numbers]
    )


def _add_numbers(session: Session, rows: list[TrackingNumber]) -> list[TrackingNumber]:
    session.add_all(rows)
    session.flush()
    follow_numbers(session, [row.id for row in rows])
    return rows


def make_rented_number(
    session: Session, project: Project, e164: str, paid_until: datetime, scenario: Scenario | None = None, **fields: Any
) -> TrackingNumber:
    """A number that was bought for the 7 days that end at `paid_until`."""
    return make_rented_numbers(session, project, [e164], paid_until, scenario, **fields)[0]


def make_rented_numbers(
    session: Session,
    project: Project,
    numbers: Sequence[str],
    paid_until: datetime,
    scenario: Scenario | None = None,
    **fields: Any,
) -> list[TrackingNumber]:
    bought_at = paid_until - timedelta(days=7)
    defaults: dict[str, Any] = {
        "project_id": project.id,
        "scenario_id": scenario.id if scenario else None,
        "owned_elsewhere": False,
        "bought_at": bought_at,
        "paid_until": paid_until,
        "created_at": bought_at,
    }
    return _add_numbers(
        session,
        [TrackingNumber(**({"e164": e164, "carrier_sid": f"PN{e164[1:]}"} | defaults | fields)) for e164 in numbers],
    )


def make_batch(session: Session, project: Project, **fields: Any) -> NumberBatch:
    """A batch of orders, without any."""
    defaults = {"search": {}, "actor": "alice@example.com", "created_at": NOON}
    return _add(session, NumberBatch(project_id=project.id, **(defaults | fields)))


def make_compliance(session: Session, project: Project, country: str, **fields: Any) -> NumberCompliance:
    """What goes with orders of local numbers at the server's account."""
    named = {"bundle_name": "Hungary", "address_name": "Budapest"}
    defaults = {"carrier_account": "", "kind": "local", "chosen_by": "alice@example.com", "chosen_at": NOON} | named
    return _add(session, NumberCompliance(project_id=project.id, country=country, **(defaults | fields)))


def make_order(session: Session, batch: NumberBatch, e164: str, **fields: Any) -> NumberOrder:
    """An order of which the carrier does not know yet."""
    defaults = {"state": OrderState.INTENT, "price_minor": 100}
    defaults |= dict.fromkeys(("charged_from", "next_at", "created_at"), NOON)
    return _add(session, NumberOrder(batch_id=batch.id, project_id=batch.project_id, e164=e164, **(defaults | fields)))


def make_draft(
    session: Session,
    keys: KeyRing,
    project: Project,
    person: Person,
    typed: Mapping[str, Any] | None = None,
    **fields: Any,
) -> ScenarioDraft:
    """A draft whose last step was opened, with what was typed."""
    defaults = {"sealed": keys.seal("{}"), "created_at": NOON, "updated_at": NOON}
    draft = _add(session, ScenarioDraft(project_id=project.id, person_id=person.id, **(defaults | fields)))
    keep(keys, draft, dict(typed or {}), 6, NOON)
    return draft


def visit_row(project_id: int, number: int, started_at: datetime = NOON, **fields: Any) -> dict[str, Any]:
    """The columns of a visit of four minutes that came by an advertisement, of a visitor of its own; for many rows at once."""
    source = GOOGLE | {"term": "city bikes", "content": "ad 3"} | fields
    defaults = {
        "project_id": project_id,
        "number": number,
        "visitor": f"visitor-{number}",
        "started_at": started_at,
        "span_started_at": started_at,
        "last_sign_at": started_at + timedelta(minutes=4),
        "page": "https://bikes.example.com/spring?utm_source=google&utm_medium=cpc&utm_campaign=spring",
        "referrer": "https://www.google.com/",
        "source_key": named_source(source["source"], source["medium"], source["campaign"]).key,
        "click_ids": {"gclid": "Cj0KCQ"},
        "ga": {},
        "address": "203.0.113.0",
    }
    return defaults | source


def make_visit(
    session: Session, project: Project, number: int | None = None, started_at: datetime = NOON, **fields: Any
) -> Visit:
    """A visit that was leased no number. Its public number is the next one, unless given."""
    if number is None:
        number = FIRST_VISIT_NUMBER + (session.scalar(_VISITS) or 0)
    return _add(session, Visit(**visit_row(project.id, number, started_at, **fields)))


def make_span(session: Session, visit: Visit, started_at: datetime, last_at: datetime, **fields: Any) -> VisitSpan:
    """An earlier span of heartbeats of a visit."""
    return _add(session, VisitSpan(visit_id=visit.id, started_at=started_at, last_at=last_at, **fields))


def make_lease(session: Session, visit: Visit, number: TrackingNumber, **fields: Any) -> Lease:
    """The newest lease of a number, from the visit's start on."""
    defaults = {
        "scenario_id": number.scenario_id,
        "turn": session.scalar(_COUNTS[Lease.number_id], {"value": number.id}) + 1,
        "started_at": visit.started_at,
    }
    return _add(session, Lease(number_id=number.id, visit_id=visit.id, **(defaults | fields)))


def make_leased_visit(
    session: Session, scenario: Scenario, started_at: datetime = NOON, minutes: float = 57.5, **fields: Any
) -> Visit:
    """A visit that was leased the scenario's first number at its start; by the hold of 150 s it keeps it for an hour."""
    return make_leased_visits(session, scenario, [{"started_at": started_at} | fields], minutes)[0]


def make_leased_visits(
    session: Session, scenario: Scenario, visits: Sequence[Mapping[str, Any]], minutes: float = 57.5
) -> list[Visit]:
    """Many of them, each with its start and any other field, leased the same number one after the other."""
    number = session.scalars(_NUMBERS.limit(1), {"scenario": scenario.id}).one()
    visit_no = FIRST_VISIT_NUMBER + (session.scalar(_VISITS) or 0)
    turn = session.scalar(_COUNTS[Lease.number_id], {"value": number.id}) + 1
    rows = []
    for index, fields in enumerate(visits):
        last_sign_at = fields["started_at"] + timedelta(minutes=minutes)
        values = {"number": visit_no + index, "last_sign_at": last_sign_at} | fields
        rows.append(Visit(**visit_row(scenario.project_id, **values)))
    session.add_all(rows)
    session.flush()
    for index, visit in enumerate(rows):
        lease = {"scenario_id": number.scenario_id, "turn": turn + index, "started_at": visit.started_at}
        session.add(Lease(number_id=number.id, visit_id=visit.id, **lease))
    session.flush()
    return rows


def numbers_of(session: Session, scenario: Scenario) -> list[TrackingNumber]:
    return list(session.scalars(_NUMBERS, {"scenario": scenario.id}))


_NUMBERS = select(TrackingNumber).where(TrackingNumber.scenario_id == bindparam("scenario")).order_by(TrackingNumber.id)
_VISITS = select(func.count(Visit.id))
_COUNTS: dict[Any, Any] = {
    column: select(func.count()).where(column == bindparam("value"))
    for column in (Project.name, CallFlow.scenario_id, Lease.number_id)
}
"""How many rows have a value. Statements that are put together once cost half of what others do."""


def make_tap(session: Session, visit: Visit, number: TrackingNumber, at: datetime) -> Tap:
    return _add(session, Tap(visit_id=visit.id, number_id=number.id, at=at))


def make_call(
    session: Session,
    place: Project | Scenario,
    number: str = "+12125551000",
    started_at: datetime = NOON,
    **fields: Any,
) -> Call:
    """An answered first call of nobody in particular, to a number of a project or of one of its scenarios."""
    scenario = place if isinstance(place, Scenario) else None
    talk_seconds: int | None = fields.get("talk_seconds", 185)
    defaults = {
        "sid": f"CA{session.scalar(select(func.max(Call.id))) or 0:032}",
        "number_id": 0,
        "scenario_id": scenario.id if scenario else None,
        "scenario_enabled": scenario.enabled if scenario else True,
        "flow": {"destinations": [{"to": COMPANY_LINE, "ring_seconds": 20}]},
        "caller": CALLER,
        "caller_raw": "",
        "last_event_at": started_at,
        "status": "answered",
        "first_call": True,
        "destination": COMPANY_LINE,
        "answered_at": started_at + timedelta(seconds=9),
        "ended_at": started_at + timedelta(seconds=9 + (talk_seconds or 0)),
        "ring_seconds": 9,
        "talk_seconds": talk_seconds,
        "rule": "none",
        "candidates": [],
        "decision": {"steps": [{"rule": "none", "applies": True}]},
    }
    project_id = place.project_id if isinstance(place, Scenario) else place.id
    return _add(session, Call(project_id=project_id, number=number, started_at=started_at, **(defaults | fields)))


def make_recording(session: Session, call: Call, **fields: Any) -> CallRecording:
    """A talk of a call that is to be fetched from the carrier."""
    defaults = {
        "sid": f"RE{session.query(CallRecording).count()}",
        "is_message": False,
        "channels": 2,
        "seconds": 44,
        "told_at": call.ended_at or call.started_at,
        "state": "waiting",
        "file": secrets.token_hex(20),
        "is_at_carrier": True,
        "next_at": call.ended_at or call.started_at,
    }
    return _add(session, CallRecording(project_id=call.project_id, call_sid=call.sid, **(defaults | fields)))


def make_sound(session: Session, project: Project, name: str, data_dir: Path | None = None, **fields: Any) -> Sound:
    """A sound of two seconds, whose file lies in the data folder that is named."""
    data = mu_law_wav(b"\x01" * 16_000)
    given = {
        "store": FOLDER,
        "kind": "wav",
        "size": len(data),
        "seconds": 2.0,
        "uploaded_at": NOON,
        "uploaded_by": "alice",
    }
    sound = _add(session, Sound(project_id=project.id, name=name, **(given | {"file": secrets.token_hex(20)} | fields)))
    if data_dir is not None:
        data_dir.mkdir(parents=True, exist_ok=True)
        source = data_dir / "sound"
        source.write_bytes(data)
        FolderStore(data_dir / "recordings").put(sound.file, source)
    return sound


def make_blocked_caller(session: Session, project: Project, pattern: str, **fields: Any) -> BlockedCaller:
    values = {"project_id": project.id, "pattern": pattern, "created_at": NOON, "created_by": "alice@example.com"}
    return _add(session, BlockedCaller(**values | fields))


def make_text_message(session: Session, project: Project, body: str, **fields: Any) -> TextMessage:
    values = {
        "sid": f"SM{session.query(TextMessage).count()}",
        "project_id": project.id,
        "kind": "external",
        "number_id": 0,
        "number": "+12125551000",
        "sender": CALLER,
        "sender_raw": "",
        "body": body,
        "media": [],
        "received_at": NOON,
        "is_announced": True,
    }
    return _add(session, TextMessage(**values | fields))


def lease_decision(*visits: Visit, shares: Sequence[float] = (0.87, 0.06, 0.03, 0.01)) -> dict[str, Any]:
    """The fields of a call that the lease rule decided, for visits from the most probable down."""
    states = ["open", "ended", "ended", "ended"]
    candidates: list[dict[str, Any]] = [
        {
            "visit": visit.number,
            "visit_id": visit.id,
            "source_key": visit.source_key,
            "probability": share,
            "state": state,
            "silent_seconds": 900 * index,
            "tapped_seconds": None if index else 8,
            "left": index == 1,
            "replaced": index == 3,
        }
        for index, (visit, share, state) in enumerate(zip(visits, shares, states, strict=False))
    ]
    best = visits[0]
    of_the_source = [entry["probability"] for entry in candidates if entry["source_key"] == best.source_key]
    return {
        "visit_id": best.id,
        "rule": "lease",
        "confidence": shares[0],
        "source_confidence": round(sum(of_the_source), 4),
        "source": {name: getattr(best, name) for name in (*GOOGLE, "term", "content")},
        "source_key": best.source_key,
        "candidates": candidates,
        "shares": shares_by_source(
            (entry["source_key"], entry["probability"], entry["visit_id"]) for entry in candidates
        ),
        "decision": {
            "steps": [
                {"rule": "repeat", "applies": False, "because": "first call"},
                {"rule": "static", "applies": False, "because": "the number is dynamic"},
                {"rule": "lease", "applies": True, "candidates": len(visits), "state": "open"},
            ]
        },
    }


def make_integration(
    session: Session, scenario: Scenario, slot: str = "webhook_end", kind: str = "webhook", **fields: Any
) -> Integration:
    defaults = {"receiver": f"{kind}:{scenario.id}:{slot}", "config": {}, "created_at": NOON}
    whose = {"project_id": scenario.project_id, "scenario_id": scenario.id}
    return _add(session, Integration(slot=slot, kind=kind, **(whose | defaults | fields)))


def make_delivery(
    session: Session, call: Call, integration: Integration, at: datetime = NOON, **fields: Any
) -> Delivery:
    """A message about the end of a call that was delivered at once, unless the fields say otherwise."""
    defaults = {
        "message_id": f"msg-{integration.id}-{call.id}",
        "project_id": call.project_id,
        "event": "call.ended",
        "receiver": integration.receiver,
        "order_key": "",
        "state": "done",
        "attempts": 1,
        "created_at": at,
        "event_at": at,
        "next_at": at,
        "done_at": at,
        "reference": {},
    }
    return _add(session, Delivery(integration_id=integration.id, call_id=call.id, **(defaults | fields)))

"""The carrier's books beside ours (R12): calls that the carrier knows and we do not are written late, calls that have ended there are
completed by what is missing here, and prices are noted. And the command for it.

Calls of the last 15 minutes are left alone, because their records may be on their way; and everything is, while a machine has records that
were not applied.
"""

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import click
import structlog
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from router.accounts.cli import Opener, opened
from router.accounts.models import read_fact, remember_fact
from router.carriers import shop_of
from router.carriers.accounts import shops_of_projects
from router.carriers.base import CarrierCall, InboundCall, NotForUs, NumberShop, Recording, ShopError
from router.config import SettingsError
from router.db import dialect_insert, wait_for_turns
from router.lib.formats import format_count
from router.scenarios.flows import DEFAULT_RING_SECONDS, is_full
from router.scenarios.models import TrackingNumber
from router.server import Server
from router.voice.applier import OF_THE_DATABASE
from router.voice.calls import record_inbound
from router.voice.events import (
    CALLS_TURN,
    call_destinations,
    machine_is_waiting,
    store_events,
    update_calls,
    write_and_announce,
)
from router.voice.forgotten import Forgettings
from router.voice.models import Call, CallEvent, LegStatus, UnknownCall
from router.voice.recordings import recording_event
from router.voice.records import call_values
from router.voice.routing import Route, destinations_of, find_route_of_call, kept_flow, kind_of, route_of
from router.voice.state import CALL_TERMINAL, Event

log = structlog.get_logger(__name__)

RECENT = timedelta(minutes=15)
WINDOW = timedelta(hours=6)
"""So much of the carrier's history is held in memory at once."""
LEGS_LATER = timedelta(hours=1)
"""So long after its call begins a destination may be rung."""
AT_ONCE = 500


@dataclass
class Reconciled:
    """Ids of calls, by what was done about them."""

    written: list[str] = field(default_factory=list)
    completed: list[str] = field(default_factory=list)
    """Callbacks of theirs were missing: their end, or what became of a destination."""
    priced: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    """They could not be written, because of themselves; the log says why."""
    is_waiting: bool = False
    """Nothing more was looked at: a machine has records that were not applied."""


@dataclass(frozen=True, slots=True)
class BookedCall:
    """A call that came in, with the destinations that were rung, as the carrier's books have them."""

    parent: CarrierCall
    inbound: InboundCall
    started_at: datetime
    legs: Sequence[CarrierCall]
    """In the order in which they were rung."""

    @property
    def was_only_spoken(self) -> bool:
        """It has ended, and rang nobody though the carrier answered it, or failed."""
        return not self.legs and self.parent.status in (LegStatus.COMPLETED.value, LegStatus.FAILED.value)

    @property
    def may_have_recordings(self) -> bool:
        """Somebody has talked, or the caller was answered by us and may have left a message."""
        has_talked = any(LEG_STATES[leg.status] == LegStatus.COMPLETED for leg in self.legs)
        return has_talked or self.parent.status == LegStatus.COMPLETED.value

    @property
    def prices(self) -> dict[str, Any]:
        """The columns of our call that its known prices fill."""
        outbound = [leg.price_micros for leg in self.legs if leg.price_micros is not None]
        prices = {
            "inbound_price_micros": self.parent.price_micros,
            "outbound_price_micros": sum(outbound) if outbound else None,
            "price_currency": next((call.currency for call in (self.parent, *self.legs) if call.currency), None),
        }
        return {name: value for name, value in prices.items() if value is not None}


def reconcile(server: Server, since: datetime, now: datetime, *, dry_run: bool = False) -> Reconciled:
    """Compares the calls that began since then.

    Args:
        dry_run: nothing is written; the result tells what would be.

    Raises:
        ShopError: an account's history could not be had, or not to its end; what is done is done, at all accounts.
        SettingsError: there is no account.
    """
    done, failure, until = Reconciled(), None, now - RECENT
    for project_id, shop in _shops(server):
        start = since
        try:
            while start < until:
                end = min(start + WINDOW, until)
                with server.database.reading() as session:
                    done.is_waiting = machine_is_waiting(session, now)
                if done.is_waiting:
                    break
                booked = _read_books(shop, start, end, now)
                for first in range(0, len(booked), AT_ONCE):
                    part = _calls_of(server, booked[first : first + AT_ONCE], project_id)
                    _settle(server, shop, part, now, done, dry_run=dry_run)
                start = end
        except ShopError as error:
            log.warning("account_not_reconciled", project=project_id, why=str(error))
            failure = failure or error
    if failure:
        raise failure
    return done


def _shops(server: Server) -> list[tuple[int | None, NumberShop]]:
    """The carrier's side at each account, with the project that it belongs to; None: it is the server's.

    Raises:
        SettingsError: there is none.
    """
    own: list[tuple[int | None, NumberShop]] = [
        (account.project_id, shop) for account, shop in shops_of_projects(server)
    ]
    try:
        return [(None, shop_of(server)), *own]
    except SettingsError:
        if not own:
            raise
        return own


def _calls_of(server: Server, booked: Sequence[BookedCall], project_id: int | None) -> Sequence[BookedCall]:
    """Those of the calls to a project's numbers; None: all. What the books of its own account have of others is none of them."""
    if project_id is None:
        return booked
    sids = [call.parent.sid for call in booked]
    with server.database.reading() as session:
        ours = {
            row.sid: row.project_id
            for row in session.execute(select(Call.sid, Call.project_id).where(Call.sid.in_(sids)))
        }
        return [
            call
            for call in booked
            if ours.get(call.parent.sid, project_id) == project_id
            and (route := _route_then(session, call)) is not None
            and route.project_id == project_id
        ]


def _read_books(shop: NumberShop, since: datetime, until: datetime, now: datetime) -> list[BookedCall]:
    """The calls that came in during this time, oldest first, without those that ended a moment ago."""
    parents: list[CarrierCall] = []
    legs: dict[str, dict[str, CarrierCall]] = {}
    for call in shop.calls(since, min(until + LEGS_LATER, now)):
        if call.parent_sid:
            legs.setdefault(call.parent_sid, {})[call.sid] = call
        elif call.inbound and call.started_at and call.started_at < until:
            parents.append(call)
    booked = {}
    for parent in parents:
        if parent.inbound and parent.started_at and not (parent.ended_at and parent.ended_at > now - RECENT):
            rung = [leg for leg in legs.get(parent.sid, {}).values() if leg.started_at]
            rung.sort(key=lambda leg: (leg.started_at or now, leg.ended_at or now))
            booked[parent.sid] = BookedCall(parent, parent.inbound, parent.started_at, rung)
    return sorted(booked.values(), key=lambda call: (call.started_at, call.parent.sid))


def _settle(
    server: Server, shop: NumberShop, booked: Sequence[BookedCall], now: datetime, done: Reconciled, *, dry_run: bool
) -> None:
    """Does what is to be done about these calls."""
    sids = [call.parent.sid for call in booked]
    told: dict[str, set[str]] = {}
    with server.database.reading() as session:
        ours = {call.sid: call for call in session.scalars(select(Call).where(Call.sid.in_(sids)))}
        for row in session.execute(select(CallEvent.call_sid, CallEvent.key).where(CallEvent.call_sid.in_(sids))):
            told.setdefault(row.call_sid, set()).add(row.key)
        missed = {call.parent.sid for call in booked if call.parent.sid not in ours and _route_then(session, call)}
    for call in booked:
        sid, our = call.parent.sid, ours.get(call.parent.sid)
        is_silent = is_priced = False
        if our is not None:
            keys = {key for key, _ in events_of(call, _in_turn(our))}
            is_silent = call.parent.ended_at is not None and not keys <= told.get(sid, set())
            is_priced = any(getattr(our, name) != value for name, value in call.prices.items())
        try:
            if (sid in missed or is_silent) and not dry_run:
                recordings: list[Recording] = []
                if call.may_have_recordings:
                    with suppress(NotForUs):  # the account may not list them
                        recordings = shop.recordings(sid)
                _write(server, call, recordings, now)
            if (sid in missed or is_priced) and call.prices and not dry_run:
                with server.database.writing() as session:
                    session.execute(update(Call).where(Call.sid == sid).values(call.prices))
        except (ShopError, *OF_THE_DATABASE):
            raise
        except Exception:
            log.exception("call_not_reconciled", call=sid)
            done.failed.append(sid)
            continue
        done.written += [sid] if sid in missed else []
        done.completed += [sid] if is_silent else []
        done.priced += [sid] if is_priced else []


def _route_then(session: Session, call: BookedCall) -> Route | None:
    """Where the dialled number led when the call came; None: it was not ours then."""
    route = find_route_of_call(session, call.inbound)
    if route is None or session.get_one(TrackingNumber, route.number_id).created_at <= call.started_at:
        return route
    before = select(TrackingNumber.id).where(
        TrackingNumber.e164 == route.number,
        TrackingNumber.created_at <= call.started_at,
        TrackingNumber.released_at > call.started_at,
    )
    number_id = session.scalar(before.order_by(TrackingNumber.created_at.desc()).limit(1))
    return route_of(session, number_id) if number_id is not None else None


def _write(server: Server, booked: BookedCall, recordings: Sequence[Recording], now: datetime) -> None:
    """The call as if its callbacks had come: each has the key that it has when the carrier tells of it. A call that is not known is
    marked as an adopted one, which its first request corrects when it turns up."""

    def work(session: Session, announcing: bool) -> None:
        sid = booked.parent.sid
        forgettings = Forgettings.since(server, session, booked.started_at)
        wait_for_turns(session, CALLS_TURN, [sid])
        if session.scalar(select(Call.id).where(Call.sid == sid)) is None:
            route = _route_then(session, booked)
            if route is None:
                return
            route = _with_rung(route, booked)
            caller, started_at = booked.inbound.caller, booked.started_at
            kind = kind_of(caller, route.own_lines)
            inbound = forgettings.applied_to(booked.inbound, route.project_id, started_at)
            if record_inbound(server, session, route, inbound, started_at, now, announcing, kind) is not None:
                told = {"call": call_values(inbound), "adopted_at": now, "forgotten_id": inbound.caller.forgotten}
                adopted = dialect_insert(session, UnknownCall).values(sid=sid, known_at=now, **told)
                session.execute(adopted.on_conflict_do_update(index_elements=["sid"], set_=told))
                log.warning("call_written_late", call=sid)
        call = session.scalars(select(Call).where(Call.sid == sid)).one()
        events = events_of(booked, _in_turn(call), recordings)
        store_events(session, [(sid, key, event) for key, event in events])
        update_calls(server, session, {sid: None}, now, announcing)

    write_and_announce(server, work)


def _with_rung(route: Route, booked: BookedCall) -> Route:
    """The route with the destinations that were rung, where they are not those of its present flow. Of a flow of steps the carrier's books
    do not tell which way the call went: it rang what it rang, or its caller heard something and hung up."""
    if is_full(route.flow) and not booked.legs:
        return replace(route, flow=kept_flow(route.flow, route.flow_id) | {"given": {"leads": "ask", "spoken": True}})
    if booked.was_only_spoken:
        return replace(route, flow=route.flow | {"destinations": []})
    planned = [step.to for step in destinations_of(route.flow, route.number, booked.inbound.caller.e164)]
    rung = list(dict.fromkeys(leg.to for leg in booked.legs))
    if rung == planned[: len(rung)]:
        return route
    steps = [{"to": to, "ring_seconds": DEFAULT_RING_SECONDS} for to in rung]
    return replace(route, flow={"destinations": steps})


def _in_turn(call: Call) -> list[str] | None:
    """The destinations that a call rings in turn; None: it follows steps, of whose requests the books hold nothing."""
    return None if "version" in call.flow else call_destinations(call)


def events_of(
    booked: BookedCall, in_turn: Sequence[str] | None, recordings: Sequence[Recording] = ()
) -> list[tuple[str, Event]]:
    """What the carrier's callbacks would have told of a call, with their keys.

    Args:
        in_turn: the destinations that our call rings so; None: it follows steps, and no more is told than of its legs and its end.
    """
    destinations = in_turn or ()
    events: list[tuple[str, Event]] = []
    rung: list[str] = []
    dials: dict[int, Event] = {}
    for leg in booked.legs:
        if leg.to not in rung:
            rung.append(leg.to)
        step = (destinations.index(leg.to) if leg.to in destinations else rung.index(leg.to)) + 1
        at = leg.ended_at or leg.started_at or booked.started_at
        status = LEG_STATES[leg.status]
        if status == LegStatus.COMPLETED:
            answered_at = at - timedelta(seconds=leg.seconds or 0)
            events.append(_leg_event(leg, LegStatus.ANSWERED, answered_at, None))
            dials.pop(step, None)  # it was rung a second time, with another caller id
        elif status in CALL_TERMINAL:
            facts = {"step": step, "leg_sid": leg.sid, "status": status, "bridged": False, "seconds": None}
            dials[step] = Event("dial", at, facts | {"call_status": None})
        events.append(_leg_event(leg, status, at, leg.seconds if status == LegStatus.COMPLETED else None))
    parent = booked.parent
    if parent.ended_at is not None:
        last = max(dials, default=len(destinations))
        is_answered = any(LEG_STATES[leg.status] == LegStatus.COMPLETED for leg in booked.legs)
        if last < len(destinations) and not is_answered:  # the next one was not rung: the caller had gone
            facts = {**dials[last].facts, "call_status": parent.status}
            dials[last] = Event("dial", dials[last].at, facts)
        if booked.was_only_spoken:
            facts = {"step": last, "leg_sid": None, "status": LegStatus.FAILED, "bridged": False, "seconds": None}
            dials[last] = Event("dial", parent.ended_at, facts | {"call_status": None})
        facts = {"status": parent.status, "seconds": parent.seconds}
        events.append((f"status:{parent.status}", Event("status", parent.ended_at, facts)))
    if in_turn is not None:
        events += [(f"dial:{step}", dial) for step, dial in dials.items()]
    events += [recording_event(recording, parent.ended_at or booked.started_at) for recording in recordings]
    return events


LEG_STATES: dict[str, LegStatus] = {status: status for status in LegStatus}
LEG_STATES |= {"queued": LegStatus.INITIATED, "in_progress": LegStatus.ANSWERED}


def _leg_event(leg: CarrierCall, status: LegStatus, at: datetime, seconds: int | None) -> tuple[str, Event]:
    facts = {"leg_sid": leg.sid, "to": leg.to, "status": status, "seconds": seconds}
    return f"leg:{leg.sid}:{status}", Event("leg", at, facts)


RECONCILED = "reconciled"
EVERY = timedelta(hours=1)
REACH = timedelta(hours=6)
"""How far each turn looks back: the longest calls have ended by then, and prices that come late are known."""
LONGEST_GAP = timedelta(days=7)
"""After which the turns that were left out are made up for no more."""


def reconcile_hourly(server: Server, now: datetime) -> Reconciled | None:
    """The worker's turn, from where the last one looked; None: it is not due, or there is no account at a carrier that could be asked."""
    with server.database.reading() as session:
        last = read_fact(session, RECONCILED)
    last_at = datetime.fromisoformat(last) if last else now - EVERY
    if last_at > now:  # a clock was wrong for a while, and what it hid is looked for
        last_at = now - LONGEST_GAP
    if now - last_at < EVERY:
        return None
    try:
        _shops(server)
    except SettingsError:
        return None
    done = reconcile(server, max(last_at - REACH, now - LONGEST_GAP), now)
    if not done.is_waiting:
        with server.database.writing() as session:
            remember_fact(session, RECONCILED, now.isoformat(), now)
    return done


SPAN = re.compile(r"([0-9]{1,4})([mhd])")
UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def read_span(_: click.Context, __: click.Parameter, text: str) -> timedelta:
    """`90m`, `2h`, `3d`."""
    found = SPAN.fullmatch(text.strip().lower())
    if found is None:
        raise click.BadParameter("write it like 90m, 2h or 3d.")
    return timedelta(**{UNITS[found[2]]: int(found[1])})


@click.command("reconcile")
@click.option("--since", default="2h", show_default=True, callback=read_span, help="How far to look back: 90m, 2h, 3d.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and change nothing.")
@click.pass_obj
def reconcile_command(open_server: Opener, since: timedelta, dry_run: bool) -> None:
    """Compare the carrier's calls with ours: write and complete what is missing here, note prices."""
    with opened(open_server) as server:
        now = server.now()
        try:
            done = reconcile(server, now - since, now, dry_run=dry_run)
        except ShopError as error:
            raise click.ClickException(str(error)) from None
    for sid in done.written:
        click.echo(f"{sid}: {'missing here' if dry_run else 'written late'}")
    for sid in done.completed:
        click.echo(f"{sid}: {'the carrier knows more of it' if dry_run else 'completed'}")
    for sid in done.failed:
        click.echo(f"{sid}: cannot be written; the log says why")
    counts = [format_count(len(sids), "call") for sids in (done.written, done.completed, done.priced)]
    would = "would be " if dry_run else ""
    click.echo(f"{counts[0]} {would}written late, {counts[1]} {would}completed; prices of {counts[2]} {would}noted.")
    if done.is_waiting:
        raise click.ClickException(
            "A machine has records that were not applied: nothing is concluded from what is missing. See: router doctor"
        )
    if done.failed:
        raise click.exceptions.Exit(1)

"""Callbacks of the carrier: kept once each, then the call's story is told anew from all of them."""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from router.database import dialect_insert, insert_new
from router.server import Server
from router.voice.calls import facts_of, values_of
from router.voice.models import Call, CallEvent, CallLeg
from router.voice.routing import destinations_of
from router.voice.signals import announce
from router.voice.story import Event, Leg, Story, tell


def keep_event(session: Session, call_sid: str, key: str, event: Event) -> bool:
    """Writes an event; False when it is there already. `key` is the same for repetitions of the same callback."""
    row = insert_new(session, CallEvent, unique=["call_sid", "key"]).values(
        call_sid=call_sid, key=key[:160], kind=event.kind, at=event.at, facts=dict(event.facts)
    )
    return session.execute(row.returning(CallEvent.id)).scalar_one_or_none() is not None


def follow(server: Server, session: Session, call_sid: str, now: datetime, announcing: bool = True) -> Call | None:
    """Brings a call up to its events and announces its end, once, or what changed after it. None: no such call.

    Args:
        announcing: False when a receiver failed before: the event is marked *fan-out due* instead.

    Raises:
        ReceiverFailed: a floor above failed; repeat with `announcing=False`.
    """
    call = session.scalars(select(Call).where(Call.sid == call_sid).with_for_update()).one_or_none()
    if call is None:
        return None
    story = tell(call.started_at, told_destinations(call), events_of(session, call_sid))
    had_ended, changed = call.ended_at is not None, _apply(call, story)
    call.last_event_at = max(call.last_event_at, now)
    _write_legs(session, call_sid, story.legs)
    event = "ended" if story.ended_at and not had_ended else "updated" if had_ended and changed else ""
    if event and announcing:
        session.flush()
        announce(server, session, event, facts_of(call.id, values_of(call)), now)
    elif event:
        call.fan_out_due = ",".join(filter(None, [call.fan_out_due, event]))
    return call


def events_of(session: Session, call_sid: str) -> list[Event]:
    rows = session.scalars(select(CallEvent).where(CallEvent.call_sid == call_sid).order_by(CallEvent.at, CallEvent.id))
    return [Event(row.kind, row.at, row.facts) for row in rows]


def told_destinations(call: Call) -> list[str]:
    """The destinations that this call rings in turn."""
    return [one.to for one in destinations_of(call.flow, call.number, call.caller)]


def _apply(call: Call, story: Story) -> bool:
    """Brings the columns up to the story. A call whose end was told stays ended, also when it turns out that the leg which had answered
    was refused and the next destination rings: what follows corrects it."""
    if call.ended_at is not None and story.ended_at is None:
        return False
    changed = {name: value for name, value in story.call_values().items() if getattr(call, name) != value}
    for name, value in changed.items():
        setattr(call, name, value)
    return bool(changed)


def _write_legs(session: Session, call_sid: str, legs: Iterable[Leg]) -> None:
    for leg in legs:
        values = {name: getattr(leg, name) for name in leg.__slots__}
        row = dialect_insert(session, CallLeg).values(call_sid=call_sid, **values)
        session.execute(row.on_conflict_do_update(index_elements=["call_sid", "sid"], set_=values))

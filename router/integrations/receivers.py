"""Connects the outbox to the events of calls: each receiver writes in the transaction of the event itself."""

from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from router.integrations.outbox import fan_out
from router.server import Server
from router.voice import signals
from router.voice.signals import CallFacts


def on_call_started(sender: Any, *, session: Session, call: CallFacts, now: datetime, **_: Any) -> None:
    fan_out(session, call, "call.started", now)


def on_call_ended(sender: Any, *, session: Session, call: CallFacts, now: datetime, **_: Any) -> None:
    fan_out(session, call, "call.ended", now)


def on_call_updated(sender: Any, *, session: Session, call: CallFacts, now: datetime, **_: Any) -> None:
    fan_out(session, call, "call.updated", now)


def connect(server: Server) -> None:
    """Connects every receiver, strongly; for several servers in a process once is enough, as they take all senders."""
    signals.call_started.connect(on_call_started, weak=False)
    signals.call_ended.connect(on_call_ended, weak=False)
    signals.call_updated.connect(on_call_updated, weak=False)

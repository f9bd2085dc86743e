"""The events of calls, announced in the same transaction. Sender: the Server; arguments: session, call (a CallFacts), now."""

from dataclasses import dataclass
from datetime import datetime

from blinker import Signal
from sqlalchemy.orm import Session

from router.server import Server

call_started = Signal("A call came in and is being forwarded.")
call_ended = Signal("A call ended; sent once for each call.")
call_updated = Signal(
    "Something about an ended call changed: a recording, a corrected duration or status, another attribution."
)
CALL_EVENTS = {"started": call_started, "ended": call_ended, "updated": call_updated}


@dataclass(frozen=True, slots=True)
class CallFacts:
    """What a receiver needs of a call, without loading it."""

    id: int
    sid: str
    project_id: int
    scenario_id: int | None
    scenario_enabled: bool
    caller: str | None
    started_at: datetime
    kind: str
    ended_at: datetime | None = None


class ReceiverFailed(Exception):
    """A receiver of a call event raised: the call's facts are committed all the same, marked *fan-out due*."""


def announce(server: Server, session: Session, event: str, call: CallFacts, now: datetime) -> None:
    """Sends `started`, `ended` or `updated` to the receivers of call events.

    Raises:
        ReceiverFailed: the transaction is spoilt; it has to be repeated without announcing.
    """
    try:
        CALL_EVENTS[event].send(server, session=session, call=call, now=now)
        session.flush()
    except Exception as error:
        raise ReceiverFailed(event) from error

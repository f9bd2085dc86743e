"""What calls tell the floors above, in the same transaction. Sender: the Server; arguments: session, call (a CallFacts), now."""

from blinker import Signal

call_started = Signal("A call came in and is being forwarded.")
call_ended = Signal("A call ended; sent once for each call.")
call_updated = Signal(
    "Something about an ended call changed: a recording, a corrected duration or status, another attribution."
)
CALL_EVENTS = {"started": call_started, "ended": call_ended, "updated": call_updated}

"""A carrier that behaves as Twilio does from outside, over HTTP. It knows the server only by its addresses."""

from router.carriers.simulator.call import (
    AFTER_HANG_UP,
    AfterHangUp,
    CallerScript,
    Chance,
    Exchange,
    Faults,
    Leg,
    Line,
    PhoneCall,
    Signalling,
)
from router.carriers.simulator.exchange import Simulator
from router.carriers.simulator.stage import RealClock, VirtualClock

__all__ = [
    "AFTER_HANG_UP",
    "AfterHangUp",
    "CallerScript",
    "Chance",
    "Exchange",
    "Faults",
    "Leg",
    "Line",
    "PhoneCall",
    "RealClock",
    "Signalling",
    "Simulator",
    "VirtualClock",
]

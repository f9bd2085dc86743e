"""A carrier that behaves as Twilio does from outside, over HTTP. It knows the server only by its addresses."""

from router.carriers.simulator.clock import RealClock, VirtualClock
from router.carriers.simulator.lines import CallerScript, Line, Ways
from router.carriers.simulator.phone_call import Exchange, Leg, PhoneCall
from router.carriers.simulator.switch import Simulator

__all__ = ["CallerScript", "Exchange", "Leg", "Line", "PhoneCall", "RealClock", "Simulator", "VirtualClock", "Ways"]

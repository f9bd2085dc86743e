"""What answers a carrier's request, as a plan: a pure function of the request and what is known of the number. The same request gives the
same plan. The last resort (R12) is a fallback destination, or a polite sentence, and never raises. Callers of internal calls hear an
announcement (R10)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from prometheus_client import Counter
from sqlalchemy import text
from sqlalchemy.orm import Session

from router.attribution.decision import OVERFLOW, reach_of, reach_then
from router.carriers.base import Forward, HangUp, InboundCall, Plan, Say, Target
from router.lib.crypto import KeyRing
from router.lib.formats import format_count, format_percent
from router.lib.metrics import record
from router.lib.phones import same_line
from router.scenarios.flows import lines_in
from router.server import Server
from router.voice.calls import decided_values
from router.voice.following import routing_of
from router.voice.models import INTERNAL
from router.voice.routing import Route, kept_flow

log = structlog.get_logger(__name__)

SORRY = "We are sorry, this number cannot be reached at the moment. Please call again later."
HANG_UP: Plan = (HangUp(),)

LAST_RESORTS = Counter("router_last_resort_total", "Documents of the last resort that were given to the carrier")


@dataclass(frozen=True, slots=True)
class Begun:
    """What the first answer fixed for a call. It travels in every later address, so that any process of any machine goes on with it."""

    started_at: datetime
    flow: Mapping[str, Any]
    flow_id: int | None
    """The stored version of the flow; None: the project's fallback destination."""
    announcement: str = ""
    """What the caller of an internal call hears first."""

    def kept_flow(self) -> dict[str, Any]:
        """As the call keeps it."""
        return kept_flow(self.flow, self.flow_id) | ({"announcement": self.announcement} if self.announcement else {})


def read_start(text: str) -> datetime | None:
    """The moment out of an address of ours; None: it holds none."""
    if not (text.isascii() and text.isdigit() and len(text) <= 14):
        return None
    return datetime.fromtimestamp(int(text) / 1000, UTC)


def read_id(text: str) -> int | None:
    """The id out of an address of ours; None: it holds none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else None


def leg_address(base_url: str, call: InboundCall, account: str = "") -> str:
    """`account`: as `account_sign` gives it."""
    return f"{base_url}/voice/leg/{call.sid}{f'?account={account}' if account else ''}"


ACCOUNT = "carrier account"
"""What the keys sign for addresses."""


def account_sign(server: Server, route: Route | None, call: InboundCall) -> str:
    """Ties a call that came from its project's own account to the project, for callbacks that name no number; empty: it came from the
    server's account."""
    own = routing_of(server).accounts.get(call.account_sid, ())
    if route is None or not any(each.project_id == route.project_id for each in own):
        return ""
    return server.keys.sign(ACCOUNT, _tied(route.project_id, call.sid)).hex()


def is_tied(keys: KeyRing, sign: str, call_sid: str, projects: Iterable[int]) -> bool:
    """Whether an address brings back the sign that ties this call to one of these projects."""
    try:
        mac = bytes.fromhex(sign)
    except ValueError:
        return False
    size = len(keys.sign(ACCOUNT, b""))
    return len(mac) == size and any(keys.verify(ACCOUNT, _tied(project, call_sid), mac) for project in projects)


def _tied(project_id: int, call_sid: str) -> bytes:
    return f"{project_id}:{call_sid}".encode("utf-8", "replace")


def plan_last_resort(destination: str, call: InboundCall | None, leg_address: str = "") -> Plan:
    """The last resort: nothing follows, nothing that could fail; without a destination a polite sentence.

    `call` is None when the carrier's request could not be read.
    """
    record(LAST_RESORTS.inc)
    caller, dialled = (call.caller.e164, call.number_e164) if call else (None, None)
    if not destination or same_line(destination, dialled) or same_line(destination, caller):
        return Say(SORRY), HangUp()
    shown = caller if call and call.caller_id == "accepted" else dialled
    return (Forward((Target(destination, leg_address),), 30, shown),)


# what every schema has had, and no model, so that a database of another version answers too
_FALLBACK = text(
    "SELECT project.fallback_destination FROM tracking_number"
    " JOIN project ON project.id = tracking_number.project_id WHERE tracking_number.e164 = :dialled"
)


def last_resort(server: Server, call: InboundCall | None, leg_address: str = "") -> Plan:
    """The fallback destination of the project whose number was dialled, else the operator's. `call` is None when the carrier's request
    could not be read."""
    try:
        destination = _fallback_of_project(server, call) if call else ""
    except Exception:
        log.exception("no_fallback_found")
        destination = ""
    return plan_last_resort(destination or server.settings.fallback_destination, call, leg_address)


def _fallback_of_project(server: Server, call: InboundCall) -> str:
    """By the snapshot; only a server that has neither snapshot nor another fallback asks the database."""
    routing = routing_of(server)
    if route := routing.known_route(call):
        return route.fallback

    def stored(session: Session) -> str:
        for number in (call.number_e164, *call.other_readings, call.forwarded_from):
            if destination := session.execute(_FALLBACK, {"dialled": number}).scalar():
                return str(destination)
        return ""

    is_needed = routing.snapshot is None and not server.settings.fallback_destination
    return routing.fallbacks.ask(stored, "") if is_needed else ""


UNITS = ((86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))
LONGEST_PART = 40
"""Letters of a source's name that are said: whoever makes a link to the site chooses them."""


def announcement_of(server: Server, call: InboundCall, route: Route, now: datetime) -> str:
    """What the caller of an internal call hears before the flow: what a visitor's call would have counted for. That is looked up for a
    moment, and left out when there is no answer."""
    lookups = routing_of(server).credits
    reach = reach_of(server.settings)
    values = lookups.ask(
        lambda session: decided_values(session, route, reach, call.caller, now, call.sid, INTERNAL), None
    )
    caller, lines = call.caller.e164, [line.get("to") for _, line, _ in lines_in(route.flow)]
    is_line = any(same_line(to, caller) for to in lines)
    rings = any(to and not same_line(to, route.number) and not same_line(to, caller) for to in lines)
    return announcement(route.scenario_title, route.scenario_enabled, values, now, rings, is_line)


def announcement(
    scenario: str | None,
    enabled: bool,
    values: Mapping[str, Any] | None,
    started_at: datetime,
    rings: bool,
    is_line: bool,
) -> str:
    """What the caller of an internal call hears.

    Args:
        scenario: its title; None: the number is in none.
        values: the columns of the call that hold its attribution; None: they could not be looked up.
        rings: a telephone rings after the announcement.
        is_line: the caller's telephone is one that this number is forwarded to.
    """
    place = "to a number that is in no scenario" if scenario is None else f"in the scenario {scenario}"
    off = "" if scenario is None or enabled else ", which is switched off"
    opening = f"This is a test call from one of your own telephones, recorded as internal, {place}{off}."
    if is_line and rings:
        ending = "Visitors are connected to this telephone too; the others ring now."
    elif is_line:
        ending = "Visitors are connected to this telephone, so nobody else is rung. Goodbye."
    else:
        ending = "You are put through now." if rings else "There is no telephone that could ring. Goodbye."
    credit = (
        "What a visitor's call would count for cannot be looked up at the moment."
        if values is None
        else _credit(values, started_at)
    )
    return f"{opening} {credit} {ending}"


def _credit(values: Mapping[str, Any], started_at: datetime) -> str:
    """Which source a visitor's call would have been credited to."""
    if values["rule"] == "none":
        if any(step.get("because") == OVERFLOW for step in values["decision"]["steps"]):
            return "Visitors are shown this number when all others are taken, so a call has no source."
        days = reach_then(values["decision"]).age
        return f"No visitor was shown this number in the last {_spoken(days)}, so a call has no source."
    source = ", ".join(
        str(values["source"][name])[:LONGEST_PART]
        for name in ("source", "medium", "campaign")
        if values["source"].get(name) not in (None, "", "none")
    )
    if values["rule"] == "static":
        return f"Calls to this number count for {source}."
    winner = values["candidates"][0]
    ago = _spoken(started_at - datetime.fromisoformat(winner["leased_at"]))
    confidence = format_percent(values["source_confidence"]).replace("%", "percent")
    return (
        f"A visitor who calls now would count for {source}, {confidence} sure:"
        f" visit {winner['visit']} was shown this number {ago} ago."
    )


def _spoken(time: timedelta) -> str:
    """`40 seconds`, `90 minutes`, `3 days`: in the largest unit of which there are at least two."""
    seconds = max(1, int(time.total_seconds()))
    size, unit = next((size, unit) for size, unit in UNITS if seconds >= 2 * size or size == 1)
    return format_count(seconds // size, unit)

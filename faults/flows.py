"""The companies that take part, with their flows, and the ways that are right for calls through them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any

from faults.calls import Case, Way
from router.carriers.simulator import CallerScript, Line
from router.scenarios.opening_hours import DAYS, END_OF_DAY

FACT, ANSWER, ALL = 0.3, 2.0, 2.5
"""The longest that an answer waits for a look-up in the database, for an address of the company, and for all its look-ups together."""
ZONE = "America/New_York"
GOOGLE = {"channel": "paid_search", "source": "google", "medium": "cpc", "campaign": "spring"}
BING = GOOGLE | {"source": "bing"}


@dataclass(frozen=True)
class Flow:
    """A flow with what callers of its number do.

    Attributes:
        static_source: of its number.
        is_leased: its number is leased to a visit from GOOGLE, and what a new number of its scenario leads to is another thing.
    """

    document: Mapping[str, Any]
    cases: tuple[Case, ...]
    static_source: Mapping[str, Any] | None = None
    is_leased: bool = False


@dataclass(frozen=True)
class Company:
    """A project.

    Attributes:
        flows: each is a scenario's.
        numbers: of each scenario.
        answerer: the line that talked to each of the known callers, once and long ago.
    """

    name: str
    fallback: str
    flows: tuple[Flow, ...]
    numbers: int = 1
    is_on_holiday: bool = False
    answerer: str = ""


BUSY, PLAIN_SECOND, GARAGE_LINE = "+14155550100", "+14155550101", "+14155550102"
SHOP_FALLBACK, GARAGE_FALLBACK = "+14155550111", "+14155550112"

AT_LINES = {
    "busy": Line.is_busy(0.2),
    "desk": Line.answers(after=0.4, talks=0.5),
    "office": Line.answers(after=0.4, talks=0.5),
    "store": Line.answers(after=0.3, talks=0.5),
    "slow": Line.rings_out(),
    "accepting": Line.answers(after=0.3, talks=0.5, digits="1"),
    "refusing": Line.answers(after=0.3, talks=0.5, digits="2"),
    "machine": Line.voicemail(after=0.3, seconds=5.0),
    "never": Line.answers(after=0.3, talks=0.5),
}
"""What the lines of a company with flows of every step do; none of its calls may reach the last one."""


def line_of(company: int, name: str) -> str:
    return f"+1415556{company}{list(AT_LINES).index(name):03d}"


LINES = {
    BUSY: Line.is_busy(0.2),
    **{line_of(company, name): line for company in (0, 1) for name, line in AT_LINES.items()},
    "*": Line.answers(after=0.4, talks=0.5),
}
"""One busy line, so that its calls come back for the one after it."""


def companies_in_turn() -> tuple[Company, ...]:
    """Two whose flows ring lines in turn."""
    lines = ((BUSY, PLAIN_SECOND), (GARAGE_LINE,))
    flows = [
        Flow({"destinations": [{"to": line} for line in ringing]}, (Case((Way(ringing, ringing[-1]),)),))
        for ringing in lines
    ]
    return Company("Shop", SHOP_FALLBACK, (flows[0],), 5), Company("Garage", GARAGE_FALLBACK, (flows[1],), 5)


def companies_of_every_step(answering: str, silent: str) -> tuple[Company, ...]:
    """Two with the same flows, of every step, to lines of their own; the second has a holiday.

    Args:
        answering: where their systems are asked: `/name/NAME` answers with the name of a branch, `/line/NUMBER` with a line,
            `/late/NAME` a second later, `/error` with an error.
        silent: the address of one that takes questions and never answers.
    """
    return (
        Company(
            *("Shop", SHOP_FALLBACK, tuple(_flows(0, "shop", False, answering, silent))), answerer=line_of(0, "office")
        ),
        Company(
            *("Garage", GARAGE_FALLBACK, tuple(_flows(1, "garage", True, answering, silent))),
            is_on_holiday=True,
            answerer=line_of(1, "office"),
        ),
    )


def ring(*lines: str, **members: Any) -> dict[str, Any]:
    return {"type": "ring", "destinations": [{"to": line, "ring_seconds": 10} for line in lines]} | members


def to(*rung: str, heard: tuple[str, ...] = (), **members: Any) -> Way:
    """The last one talks."""
    return Way(rung, rung[-1], heard, **members)


def nobody(*heard: str, rung: tuple[str, ...] = (), status: str = "missed") -> Way:
    return Way(rung, "", heard, status)


def _flows(company: int, name: str, is_on_holiday: bool, answering: str, silent: str) -> Iterator[Flow]:
    busy, desk, office, store, slow, accepting, refusing, machine, never = (line_of(company, each) for each in AT_LINES)
    # each company has its own words, so that no caller hears another's
    welcome, message, press, closed, sorry, goodbye, recorded = (
        f"{words} {name}"
        for words in ("Welcome to", "Speak to", "Press for", "Closed:", "Sorry from", "Goodbye from", "Recorded by")
    )
    voicemail = {"type": "voicemail", "prompt": {"text": message}, "silence_seconds": 2}
    whole_day = {"opens": "00:00", "closes": END_OF_DAY}
    always = [whole_day | {"days": list(DAYS)}]
    # the day before yesterday of whoever plays this
    another_day = [whole_day | {"days": [DAYS[(datetime.now(UTC) - timedelta(days=2)).weekday()]]}]
    yes, no = CallerScript(digits="1", message=1.2), CallerScript(message=1.2)
    left = (
        Case((nobody(message, status="voicemail"),), no),
        Case((nobody(message, status="voicemail"),), replace(no, after_message="#")),
        Case((nobody(message),), CallerScript(message=0)),
    )
    fact, answer = {"inbound": FACT}, {"inbound": ANSWER}

    # opening hours, and days on which they do not hold
    open_or_holiday = {
        "type": "hours",
        "branches": [{"times": always, "steps": [ring(busy, desk)]}],
        "holidays": [{"type": "hang_up", "prompt": {"text": closed}}],
        "otherwise": [ring(never)],
    }
    yield Flow({"steps": [open_or_holiday]}, (Case((nobody(closed) if is_on_holiday else to(busy, desk),)),))
    shut = {"type": "hours", "branches": [{"times": another_day, "steps": [ring(never)]}], "otherwise": [voicemail]}
    yield Flow({"steps": [shut]}, left)
    yield Flow({"steps": [{"type": "hang_up", "busy": True}]}, (Case((nobody(),)),))

    # ringing
    drawn = [{"to": line, "weight": weight} for weight, line in enumerate((busy, office, store), 1)]
    orders = [
        order[: min(order.index(office), order.index(store)) + 1] for order in permutations((busy, office, store))
    ]
    round_robin = {"type": "ring", "order": "round_robin", "destinations": drawn}
    yield Flow(
        {"steps": [{"type": "say", "text": welcome}, round_robin]},
        (Case(tuple(to(*order, heard=(welcome,)) for order in orders)),),
    )
    at_once = (slow, desk, busy)
    yield Flow({"steps": [ring(*at_once, order="at_once")]}, (Case((Way(at_once, desk),)),))
    by_visit = {"text": "From {source} for " + name}
    screened = [ring(refusing, machine, accepting, accept=True, whisper=by_visit), voicemail]
    yield Flow({"steps": screened}, (Case((to(refusing, machine, accepting),), looks_up=fact),), GOOGLE)
    refused = [ring(refusing, machine, accept=True), voicemail]
    unaccepted = nobody(message, rung=(refusing, machine), status="voicemail")
    yield Flow({"steps": refused}, (Case((unaccepted,), no),))
    yield Flow({"steps": [ring(desk, whisper={"text": name})]}, (Case((to(desk),)),))
    yield Flow({"steps": [ring(machine, detect_machines=True)]}, (Case((Way((machine,), machine, status="missed"),)),))
    yield Flow({"steps": [ring(desk, detect_machines=True)]}, (Case((to(desk),)),))
    announced = ring(desk, recording={"channels": "dual", "announcement": {"text": recorded}})
    yield Flow({"steps": [announced]}, (Case((to(desk, heard=(recorded,)),)),))
    returning = ring(desk, office, store, returning_first=True)
    yield Flow(
        {"steps": [returning]},
        (
            Case((to(office), to(desk, is_default=True)), callers="known", looks_up=fact),
            Case((to(desk),), callers="new", looks_up=fact),
        ),
    )
    impatient = CallerScript(gives_up_after=1.5)
    yield Flow(
        {"steps": [{"type": "play", "sound": "deleted"}, ring(slow)]},
        (Case((nobody(rung=(slow,), status="abandoned"),), impatient),),
    )

    # keys
    menu = {
        "type": "menu",
        "prompt": {"text": press},
        "keys": {"1": [ring(desk)], "2": [ring(office)]},
        "no_input": [voicemail],
        "wrong_key": [{"type": "hang_up", "prompt": {"text": goodbye}}],
        "seconds": 1,
    }
    yield Flow(
        {"steps": [menu]},
        (
            Case((to(office, heard=(press,)),), CallerScript(digits="2")),
            Case((to(desk, heard=(press, press)),), CallerScript(digits="71")),
            Case((nobody(press, press, message, status="voicemail"),), no),
            Case((nobody(press, press, goodbye),), CallerScript(digits="78")),
            Case((nobody(press, status="abandoned"),), CallerScript(gives_up_after=0.5)),
        ),
    )
    press_key = {"type": "press_key", "prompt": {"text": press}, "otherwise": [{"type": "say", "text": sorry}]}
    yield Flow(
        {"steps": [press_key | {"seconds": 1}, ring(busy, store)]},
        (Case((to(busy, store, heard=(press,)),), yes), Case((nobody(press, press, sorry),))),
    )

    # by what is known
    sip = f"sip:sales@{name}.example.com"
    to_google = {"type": "ring", "destinations": [{"to": sip, "headers": {"X-Source": "{source}"}}]}
    google = [{"match": {"source": "google"}, "steps": [to_google]}]
    by_source = {"steps": [{"type": "by_source", "branches": google, "otherwise": [ring(office)]}]}
    from_google = Case((to(f"{sip}?X-Source=google"), to(office, is_default=True)), callers="new", looks_up=fact)
    yield Flow(by_source, (from_google,), GOOGLE)
    yield Flow(by_source, (replace(from_google, ways=(to(office),)),), BING)
    yield Flow(by_source, (from_google,), is_leased=True)
    first, repeat, other = to(desk), to(office), to(store)
    late = replace(other, is_default=True)
    by_caller = {
        "type": "by_caller",
        "first": [ring(desk)],
        "repeat": [ring(office)],
        "otherwise": [ring(store)],
    }
    yield Flow(
        {"steps": [by_caller]},
        (
            Case((first, late), callers="new", looks_up=fact),
            Case((repeat, late), callers="known", looks_up=fact),
            Case((other,), callers="withheld"),
        ),
    )
    near = [{"prefixes": ["+1 415"], "steps": [ring(desk)]}]
    yield Flow(
        {"steps": [{"type": "by_area", "branches": near, "otherwise": [ring(office)]}]},
        (
            Case((first,), callers="new"),
            Case((repeat,), callers="distant"),
            Case((repeat,), callers="withheld"),
        ),
    )
    asking = {"type": "ask", "answers": {"vip": [ring(desk)]}, "otherwise": [ring(office)]}
    unasked = replace(repeat, is_default=True)
    for url, right in (
        (f"{answering}/name/vip", (first, unasked)),
        (f"{answering}/line/{store}", (other, unasked)),
        (f"{answering}/late/vip", (first, unasked)),
        (f"{answering}/error", (repeat,)),
        (f"{silent}/name/vip", (repeat,)),
    ):
        yield Flow({"steps": [asking | {"url": url}]}, (Case(right, looks_up=answer),))

    # one in another
    ask_vip = asking | {"url": f"{answering}/name/vip", "answers": {"vip": [ring(refusing, accepting, accept=True)]}}
    known_area = [{"prefixes": ["+1415"], "steps": [by_caller | {"first": [ask_vip], "repeat": [{"type": "hang_up"}]}]}]
    nested = menu | {"keys": {"1": [{"type": "by_area", "branches": known_area, "otherwise": [ring(never)]}]}}
    hours = {"type": "hours", "branches": [{"times": always, "steps": [nested]}], "otherwise": [ring(never)]}
    heard = (press,)
    whole = (
        to(refusing, accepting, heard=heard),
        to(office, heard=heard, is_default=True),
        to(store, heard=heard, is_default=True),
    )
    whole_case = Case(whole, yes, "new", {"gather": ALL})
    yield Flow({"steps": [hours, voicemail]}, (whole_case,))

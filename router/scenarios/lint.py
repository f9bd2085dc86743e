"""The linter (R2): what somebody should look at in a scenario before it is enabled, each with its field and the wizard's step.

Rules are pure. They look at facts that were read once for all scenarios of a page, stored or not, so the number of statements does not
depend on the number of scenarios. An element that several scenarios claim belongs to the one with the lowest id (R1)."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain, combinations
from typing import Any

from cssselect import SelectorError, parse
from cssselect.parser import CombinedSelector, Element
from phonenumbers import NumberParseException
from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from router.accounts.models import Project
from router.lib.formats import format_count
from router.lib.phones import international, is_foreign_to
from router.scenarios.channels import ChannelRow, is_for_visitors, never_reached, parts_of_match, static_sources
from router.scenarios.documents import Document, editable, present_scenarios, read_scenario, stored_members
from router.scenarios.flows import (
    DEFAULT_RING_SECONDS,
    LONG_RING_SECONDS,
    is_full,
    lines_in,
    refusal_of,
    steps_in,
    tracking_among,
)
from router.scenarios.flows import Document as FlowDocument
from router.scenarios.matching import fits, pattern_parts, read_source_pattern, source_fits
from router.scenarios.models import CallFlow, Scenario, TrackingNumber
from router.scenarios.numbers.inventory import present_numbers, taken_numbers
from router.server import Server

Key = frozenset[str] | str
"""What a selector asks of an element: its tag, classes, id and so on; with combinators, its text."""

MOST_CONDITIONS = 6
"""Selectors that ask more of one element are compared as they stand."""


@dataclass
class Claims:
    """The claims of many scenarios, so that each is compared with all others without a walk over them."""

    titles: dict[int, str] = field(default_factory=dict)
    _exact: dict[Key, list[int]] = field(default_factory=dict)
    _within: dict[Key, list[int]] = field(default_factory=dict)
    _replaced: dict[str, list[int]] = field(default_factory=dict)

    def add(self, scenario_id: int, title: str, tagging: Mapping[str, Any]) -> None:
        """To be called in ascending order of ids."""
        self.titles[scenario_id] = title
        for selector in tagging.get("selectors", ()):
            for own, wider in _keys(selector):
                _note(self._exact.setdefault(own, []), scenario_id)
                for key in wider:
                    _note(self._within.setdefault(key, []), scenario_id)
        for text in tagging.get("replace", ()):
            _note(self._replaced.setdefault(_digits(text), []), scenario_id)

    def others_with_selector(self, scenario_id: int, selector: str) -> int | None:
        """The lowest other scenario that surely claims elements of this selector as well, if there is one."""
        claiming: set[int] = set()
        for own, wider in _keys(selector):
            claiming.update(self._within.get(own, ()))
            for key in wider:
                claiming.update(self._exact.get(key, ()))
        return min(claiming - {scenario_id}, default=None)

    def others_with_number(self, scenario_id: int, text: str) -> int | None:
        """The lowest other scenario that replaces this number of the page's text."""
        return min(set(self._replaced.get(_digits(text), ())) - {scenario_id}, default=None)


def _note(lowest: list[int], scenario_id: int) -> None:
    """Keeps the two lowest ids, which are enough to know the lowest other scenario of each."""
    if len(lowest) < 2 and scenario_id not in lowest:
        lowest.append(scenario_id)


def _digits(text: str) -> str:
    return "".join(sign for sign in text if sign.isdigit())


@lru_cache(maxsize=8192)
def _keys(selector: str) -> tuple[tuple[Key, frozenset[Key]], ...]:
    """For each of a selector's alternatives: itself, and every selector that is known to claim all of its elements."""
    try:
        alternatives = parse(selector)
    except (SelectorError, RecursionError):
        return ()
    keys = []
    for alternative in alternatives:
        tree: Any = alternative.parsed_tree
        is_combined = isinstance(tree, CombinedSelector)
        node, parts = tree.subselector if is_combined else tree, set()
        while not isinstance(node, Element):  # `a.phone#top` asks for `a`, `.phone` and `#top`
            inner = node.selector
            parts.add(node.canonical().removeprefix(inner.canonical()))
            node = inner
        if node.element:
            parts.add(node.canonical())
        conditions = frozenset(parts)
        own: Key = tree.canonical() if is_combined else conditions
        wider: set[Key] = {own, conditions}
        if len(conditions) <= MOST_CONDITIONS:
            sizes = range(len(conditions) + 1)
            wider |= {frozenset(some) for size in sizes for some in combinations(conditions, size)}
        keys.append((own, frozenset(wider)))
    return tuple(keys)


INTEGRATIONS = "integrations"


@dataclass(frozen=True)
class Linted:
    scenario_id: int
    """0: not stored yet."""
    country: str
    document: Document
    """The members that are stored in the scenario's own row."""
    dynamic: int
    static: int
    overflow: str | None
    """The number that is shown when all others are taken."""
    examples: Sequence[str]
    """Some of its numbers, or all: if they are of several countries, so are these."""
    flow: FlowDocument | None
    """An empty `to` of a line cannot be called."""
    countries: Collection[str]
    """To which calls may be forwarded; empty: all."""
    told: bool
    claims: Claims
    """What other scenarios replace on the page."""
    tracking: set[str]
    """Those destinations that are tracking numbers."""
    taken: set[str]
    """Those numbers to be bought that are on this server already, or are being bought."""
    own_fallback: str
    """The project's fallback destination, if it is one of its tracking numbers."""
    stored: Scenario | None
    """Its own row, with what the worker found out about it."""

    @property
    def to_buy(self) -> int:
        return len(self.document["to_buy"]["numbers"]) + int(self.document["to_buy"]["count"])


def read_document(
    session: Session, server: Server, project: Project, scenario_id: int | None, document: Mapping[str, Any]
) -> Linted:
    """The facts of a document in the API's form; unreadable members are left out."""
    sections = {part.name for part in server.scenario_parts}
    scenario = session.get(Scenario, scenario_id) if scenario_id else None
    own = {name: value for name, value in editable(dict(document)).items() if name not in sections}
    read, _ = read_scenario(session, server, project, scenario, own)
    static, to_buy = len(static_sources(read["channels"])), read["to_buy"]["numbers"]
    return Linted(
        scenario_id=scenario_id or 0,
        country=project.country,
        document=read,
        dynamic=max(len(read["numbers"]) - static, 0),
        static=static,
        overflow=read["overflow"],
        examples=[*read["numbers"], *to_buy],
        flow=read["flow"],
        countries=server.settings.destination_countries,
        told=_is_told(server, document.get(INTEGRATIONS)),
        **_surroundings(session, project, [read["flow"]], to_buy, everybody=True),
        stored=scenario,
    )


def read_stored(session: Session, server: Server, project: Project, scenario_ids: Sequence[int]) -> list[Linted]:
    """The facts of stored scenarios, in a number of statements that does not depend on how many there are."""
    scenarios = session.scalars(select(Scenario).where(Scenario.id.in_(scenario_ids)).order_by(Scenario.id)).all()
    documents = {scenario.id: stored_members(scenario) for scenario in scenarios}
    e164 = TrackingNumber.e164
    counted = (
        select(
            Scenario.id,
            func.sum(case((TrackingNumber.is_dynamic, 1), else_=0)).label("dynamic"),
            func.count(TrackingNumber.static_source).label("static"),
            func.max(case((TrackingNumber.overflow, e164))).label("overflow"),
            func.min(e164).label("least"),
            func.max(e164).label("greatest"),
        )
        .outerjoin(TrackingNumber, TrackingNumber.scenario_id == Scenario.id)
        .where(Scenario.id.in_(scenario_ids))
        .group_by(Scenario.id)
    )
    counts = {row.id: row for row in session.execute(counted)}
    flow_ids = [scenario.call_flow_id for scenario in scenarios if scenario.call_flow_id]
    flows = {flow.id: flow.document for flow in session.scalars(select(CallFlow).where(CallFlow.id.in_(flow_ids)))}
    shown = {part.name: part.show(session, scenario_ids) for part in server.scenario_parts}.get(INTEGRATIONS, {})
    to_buy = [number for document in documents.values() for number in document["to_buy"]["numbers"]]
    around = _surroundings(session, project, flows.values(), to_buy, everybody=False)
    return [
        Linted(
            scenario_id=scenario.id,
            country=project.country,
            document=documents[scenario.id],
            dynamic=counts[scenario.id].dynamic,
            static=counts[scenario.id].static,
            overflow=counts[scenario.id].overflow,
            # country codes are prefixes: if the least and the greatest are of one country, all are
            examples=[number for number in (counts[scenario.id].least, counts[scenario.id].greatest) if number],
            flow=flows.get(scenario.call_flow_id or 0),
            countries=server.settings.destination_countries,
            told=_is_told(server, shown.get(scenario.id)),
            **around,
            stored=scenario,
        )
        for scenario in scenarios
    ]


def _surroundings(
    session: Session, project: Project, flows: Iterable[FlowDocument | None], to_buy: Iterable[str], everybody: bool
) -> dict[str, Any]:
    """`everybody`: the claims of disabled scenarios count too."""
    rows = present_scenarios(project.id).with_only_columns(Scenario.id, Scenario.title, Scenario.tagging)
    rows = rows.order_by(Scenario.id)
    claims = Claims()
    for row in session.execute(rows if everybody else rows.where(Scenario.enabled)):
        claims.add(row.id, row.title, row.tagging)
    fallback = project.fallback_destination
    called = {line["to"] for flow in flows for _, line, _ in lines_in(flow)}
    tracking = tracking_among(session, {*called, fallback} - {""})
    of_project = present_numbers(project.id).with_only_columns(TrackingNumber.e164)
    own_fallback = session.scalar(of_project.where(TrackingNumber.e164 == fallback))
    taken = taken_numbers(session, to_buy)
    return {"claims": claims, "tracking": tracking, "taken": taken, "own_fallback": own_fallback or ""}


def _is_told(server: Server, integrations: Any) -> bool:
    """Whether somebody is told about calls; always where no package above has integrations."""
    if not any(part.name == INTEGRATIONS for part in server.scenario_parts):
        return True
    return isinstance(integrations, Mapping) and any(integrations.values())


@dataclass(frozen=True, slots=True)
class Finding:
    """`field`: dotted, as in the API's document. `blocks`: enabling would be senseless."""

    code: str
    sentence: str
    field: str
    step: str
    """numbers, forwarding, tagging, channels, integrations or terms."""
    blocks: bool = False
    look: str = ""
    """The address of a page that helps to decide, and in `look_for` what it is called there."""
    look_for: str = ""

    def document(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("code", "sentence", "field", "step", "blocks")}


def shut_out(terms: Mapping[str, Any]) -> str | None:
    """The member of the terms (`only_sources`, `excluded_sources`, ...) that leaves no visitor; None when there may be some."""
    for what, is_covered, every in KINDS:
        only, excluded = terms.get(f"only_{what}") or [], terms.get(f"excluded_{what}") or []
        admitted = only or every
        if admitted and all(any(is_covered(wide, narrow) for wide in excluded) for narrow in admitted):
            return f"only_{what}" if only else f"excluded_{what}"
    return None


def channels_shut_out(channels: Sequence[ChannelRow], terms: Mapping[str, Any]) -> list[int]:
    """Indexes of the channels whose every visitor the terms exclude."""
    excluded = [read_source_pattern(pattern) for pattern in terms.get("excluded_sources") or []]
    return [
        index
        for index, channel in enumerate(channels)
        if is_for_visitors(channel) and any(source_fits(wide, parts_of_match(channel["match"])) for wide in excluded)
    ]


def page_covered(wide: str, narrow: str) -> bool:
    """A pattern without `?` is compared with the path alone, a pattern with `?` with path and query; a slash at the end of a path counts
    only before a query."""
    (wide_path, wide_query), (path, query) = pattern_parts(wide), pattern_parts(narrow)
    if wide_query is not None:
        return query is not None and fits(f"{wide_path}?{wide_query}", f"{path}?{query}")
    if query is not None and any(sign in path + query for sign in "*?"):
        path = f"{path.partition('*')[0]}*"  # what stands before the `?` of an address may be more than this path
    return fits(wide_path, path)


KINDS: tuple[tuple[str, Callable[[str, str], bool], list[str]], ...] = (
    ("sources", lambda wide, narrow: source_fits(read_source_pattern(wide), read_source_pattern(narrow)), ["*"]),
    ("landing_pages", page_covered, ["/*"]),
    ("regions", lambda wide, narrow: fits(wide, narrow) or fits(wide, narrow[:2]), []),
)
"""Each kind of terms, how one pattern covers another (`US` all of its regions), and what everybody fits."""


Findings = Iterator[Finding]


def numbers(linted: Linted) -> Findings:
    if not linted.dynamic + linted.static + linted.to_buy:
        yield Finding("no_numbers", "No numbers: visitors see the page's own.", "numbers", "numbers")
    for index, number in enumerate(linted.document["to_buy"]["numbers"]):
        if number in linted.taken:
            sentence = f"{international(number)} cannot be bought any more: it is here already or being bought."
            yield Finding("taken_number", sentence, f"to_buy.numbers.{index}", "numbers")


def exhausted(linted: Linted) -> Findings:
    if linted.document["exhausted"] == "overflow" and not linted.overflow:
        sentence = "An extra number is to be shown when all others are taken, but none is chosen: the page keeps its own number then."
        yield Finding("no_overflow", sentence, "overflow", "numbers")
    if linted.document["exhausted"] != "overflow" and linted.overflow:
        extra = international(linted.overflow)
        sentence = (
            f"{extra} is kept as the extra number, but shown to nobody: another rule holds when all others are taken."
        )
        yield Finding("unused_overflow", sentence, "overflow", "numbers")


def destinations(linted: Linted) -> Findings:
    lines = [*lines_in(linted.flow)]
    if not any(line["to"] for _, line, _ in lines) and not is_full(linted.flow):
        sentence = "No destination: calls go where they went before, else to the project's fallback."
        yield Finding("no_destination", sentence, "flow.destinations", "forwarding", blocks=True)
    elif not lines and not any(step["type"] in TAKING for _, step in steps_in(linted.flow)):
        sentence = "No step rings anybody or takes a message: callers talk to nobody."
        yield Finding("nobody_rings", sentence, "flow.steps", "forwarding")
    for place, line, _ in lines:
        if line["to"] in linted.tracking:
            sentence = f"{international(line['to'])} is a tracking number: calls would go round in circles. Name the company's own line."
            yield Finding("tracking_destination", sentence, f"flow.{place}.to", "forwarding", blocks=True)
    for place, line, ringing in lines:
        to, seconds = line["to"], line.get("ring_seconds", DEFAULT_RING_SECONDS)
        if refusal := refusal_of(line, linted.countries):
            member, sentence = refusal
            code = "country_not_allowed" if member == "to" else "costs_unconfirmed"
            yield Finding(code, sentence, f"flow.{place}.{member}", "forwarding", blocks=True)
        if to and seconds > LONG_RING_SECONDS and not (ringing.get("accept") or ringing.get("detect_machines")):
            is_last = line is ringing["destinations"][-1] or ringing.get("order") == "at_once"
            whom = "somebody does" if is_last else "the next destination rings"
            sentence = (
                f"{international(to)} rings for {seconds} s. Above {LONG_RING_SECONDS} s the line's own voicemail may answer before "
                f"{whom}, and the call counts as answered."
            )
            yield Finding("long_ring", sentence, f"flow.{place}.ring_seconds", "forwarding")


TAKING = ("voicemail", "ask")
"""Types of steps that may take a call without a line of the flow's own."""


def fallback(linted: Linted) -> Findings:
    if number := linted.own_fallback:
        sentence = (
            f"The project's fallback destination, {international(number)}, is one of its tracking numbers: "
            "calls that no scenario takes would go round in circles. Change it in Settings."
        )
        yield Finding("tracking_fallback", sentence, "flow", "forwarding")


def integrations(linted: Linted) -> Findings:
    if not linted.told:
        yield Finding("no_integration", "Nobody is told about its calls.", "integrations", "integrations")


def overlaps(linted: Linted) -> Findings:
    claims = linted.claims
    for index, selector in enumerate(linted.document["tagging"]["selectors"]):
        if (other := claims.others_with_selector(linted.scenario_id, selector)) is not None:
            yield _overlap(linted, other, f"Elements of “{selector}”", f"tagging.selectors.{index}")
    for index, text in enumerate(linted.document["tagging"]["replace"]):
        if (other := claims.others_with_number(linted.scenario_id, text)) is not None:
            yield _overlap(linted, other, f"“{text}”", f"tagging.replace.{index}")


def _overlap(linted: Linted, other: int, what: str, field: str) -> Finding:
    title = linted.claims.titles[other]
    first = not linted.scenario_id or other < linted.scenario_id
    who = "which comes first and gets it" if first else "but this one comes first and gets it"
    return Finding("overlap", f"{what} is also claimed by the scenario “{title}”, {who}.", field, "tagging")


def terms(linted: Linted) -> Findings:
    if member := shut_out(linted.document["terms"]):
        sentence = "No visitor can ever match these terms: all that they ask for is excluded again."
        yield Finding("nobody", sentence, f"terms.{member}", "terms")


def channels(linted: Linted) -> Findings:
    covered = never_reached(linted.document["channels"])
    for index, earlier in covered.items():
        sentence = (
            f"Nobody reaches channel {index + 1}: channel {earlier + 1} stands before it and takes all of its visitors."
        )
        yield Finding("channel_unreached", sentence, f"channels.{index}", "channels")
    for index in channels_shut_out(linted.document["channels"], linted.document["terms"]):
        if index not in covered:
            sentence = f"Nobody reaches channel {index + 1}: the terms exclude all of its visitors."
            yield Finding("channel_unreached", sentence, f"channels.{index}", "channels")


def upkeep(linted: Linted) -> Findings:
    if linted.document["upkeep"]["on"] and linted.static and not linted.dynamic + linted.to_buy:
        sentence = "Upkeep is on, but all numbers are static: there is no pool for it to look after."
        yield Finding("upkeep_static", sentence, "upkeep.on", "numbers")


def display_format(linted: Linted) -> Findings:
    mask = linted.document["tagging"]["format"]
    for number in linted.examples:
        with suppress(NumberParseException):  # nobody can read it, which is said elsewhere
            if is_foreign_to(mask, number, linted.country):
                sentence = (
                    f"{international(number)} cannot be dialled in this format: visitors see it as it stands here."
                )
                yield Finding("foreign_format", sentence, "tagging.format", "tagging")
                return


LEAST_TIMES = 20
"""Before so many pages have said something, a few of a site's odd pages could be all of them."""
HARDLY_EVER = 0.05
"""A smaller part of the pages is no site where only some pages have a place for the number, but selectors that match by accident."""


def never_shown(linted: Linted) -> Findings:
    given, shown = (linted.stored.given_times, linted.stored.shown_times) if linted.stored else (None, None)
    if given is not None and given >= LEAST_TIMES and shown is not None and shown < HARDLY_EVER * given:
        why = "its selectors match on hardly any page" if shown else "no selector matches"
        sentence = f"Given {format_count(given, 'time')} in 7 days, shown {format_count(shown, 'time')}: {why}."
        look = f"/scenarios/{linted.scenario_id}/tagging"
        yield Finding("never_shown", sentence, "tagging.selectors", "tagging", look=look, look_for="See its tagging")


FAR = 0.75
"""A pool with a smaller share of what is needed has an accuracy below about 90 % in its busiest hour."""


def small_pool(linted: Linted) -> Findings:
    needed = linted.stored.needed or 0 if linted.stored else 0
    has = linted.dynamic + linted.to_buy
    if linted.dynamic and has < FAR * needed:
        numbers = format_count(needed, "number")
        sentence = f"The busiest hour of the last 7 days needs {numbers}, and the pool has {has}: visitors share them."
        look = f"/scenarios/{linted.scenario_id}/plan"
        yield Finding("small_pool", sentence, "numbers", "numbers", look=look, look_for="What more would tell")


RULES: tuple[Callable[[Linted], Findings], ...] = (
    numbers,
    exhausted,
    destinations,
    fallback,
    integrations,
    overlaps,
    terms,
    channels,
    upkeep,
    display_format,
    never_shown,
    small_pool,
)


LintRule = Callable[[Session, Sequence[Linted]], Mapping[int, Iterable[Finding]]]
"""A rule of an upper floor: it gets all scenarios at once and answers its findings by `scenario_id` (0: one that is not stored).
Tables use it too: the number of its statements may not depend on how many scenarios there are."""


def lint(
    session: Session, server: Server, project: Project, scenario_id: int | None, document: Mapping[str, Any]
) -> list[Finding]:
    """The findings of a document of the API, stored or not; unreadable members are left out.

    Args:
        scenario_id: the scenario that the document is about; None: a new one.
    """
    linted = read_document(session, server, project, scenario_id, document)
    return _findings(session, server, [linted])[linted.scenario_id]


def lint_stored(
    session: Session, server: Server, project: Project, scenario_ids: Iterable[int]
) -> dict[int, list[Finding]]:
    """The findings of each of these scenarios of the project as they are stored; nothing is said about the claims of disabled others."""
    return _findings(session, server, read_stored(session, server, project, list(scenario_ids)))


def _findings(session: Session, server: Server, linted: Sequence[Linted]) -> dict[int, list[Finding]]:
    findings = {scenario.scenario_id: [*chain.from_iterable(rule(scenario) for rule in RULES)] for scenario in linted}
    for rule in server.lint_rules:
        for scenario_id, more in rule(session, linted).items():
            findings[scenario_id] += more
    return findings

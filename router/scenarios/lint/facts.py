"""What the rules of the linter look at, read once for all scenarios of a page, stored or not; and which scenarios claim the same elements:
an element of several belongs to the lowest id (R1)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import combinations
from typing import Any

from cssselect import SelectorError, parse
from cssselect.parser import CombinedSelector, Element
from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from router.accounts.models import Project
from router.scenarios.channels import static_sources
from router.scenarios.documents import Document, editable, present_scenarios, read_scenario, stored_members
from router.scenarios.flows import tracking_among
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
        conditions = _conditions(tree.subselector if is_combined else tree)
        own: Key = tree.canonical() if is_combined else conditions
        wider: set[Key] = {own, conditions}
        if len(conditions) <= MOST_CONDITIONS:
            sizes = range(len(conditions) + 1)
            wider |= {frozenset(some) for size in sizes for some in combinations(conditions, size)}
        keys.append((own, frozenset(wider)))
    return tuple(keys)


def _conditions(node: Any) -> frozenset[str]:
    """`a.phone#top` asks for `a`, `.phone` and `#top`."""
    conditions = set()
    while not isinstance(node, Element):
        inner = node.selector
        conditions.add(node.canonical().removeprefix(inner.canonical()))
        node = inner
    if node.element:
        conditions.add(node.canonical())
    return frozenset(conditions)


INTEGRATIONS = "integrations"


@dataclass(frozen=True)
class Surroundings:
    claims: Claims
    """What other scenarios replace on the page."""
    tracking: frozenset[str]
    """Those destinations that are tracking numbers."""
    taken: frozenset[str]
    """Those numbers to be bought that are on this server already, or are being bought."""
    own_fallback: str
    """The project's fallback destination, if it is one of its tracking numbers."""


@dataclass(frozen=True)
class NumberCounts:
    dynamic: int = 0
    static: int = 0
    overflow: str | None = None
    """The number that is shown when all others are taken."""
    examples: Sequence[str] = ()
    """Some of them, or all: if they are of several countries, so are these."""


@dataclass(frozen=True)
class Linted:
    """A scenario as the rules see it."""

    scenario_id: int
    """0: not stored yet."""
    project_id: int
    country: str
    """The project's."""
    document: Document
    """The members that are stored in the scenario's own row."""
    numbers: NumberCounts
    destinations: Sequence[str]
    """Empty ones cannot be called."""
    told: bool
    """Somebody is told about its calls."""
    around: Surroundings
    stored: Scenario | None
    """Its own row, with what the worker found out about it."""

    @property
    def dynamic(self) -> int:
        return self.numbers.dynamic

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
    destinations = [destination["to"] for destination in (read["flow"] or {}).get("destinations", [])]
    static, to_buy = len(static_sources(read["channels"])), read["to_buy"]["numbers"]
    return Linted(
        scenario_id=scenario_id or 0,
        project_id=project.id,
        country=project.country,
        document=read,
        numbers=NumberCounts(
            max(len(read["numbers"]) - static, 0), static, read["overflow"], [*read["numbers"], *to_buy]
        ),
        destinations=destinations,
        told=_is_told(server, document.get(INTEGRATIONS)),
        around=_surroundings(session, project, destinations, to_buy, _claims(session, project, everybody=True)),
        stored=scenario,
    )


def read_stored(session: Session, server: Server, project: Project, scenario_ids: Sequence[int]) -> list[Linted]:
    """The facts of stored scenarios, in a number of statements that does not depend on how many there are."""
    scenarios = session.scalars(select(Scenario).where(Scenario.id.in_(scenario_ids)).order_by(Scenario.id)).all()
    documents = {scenario.id: stored_members(scenario) for scenario in scenarios}
    counts = _number_counts(session, scenario_ids)
    flow_ids = [scenario.call_flow_id for scenario in scenarios if scenario.call_flow_id]
    flows = {
        flow.id: [destination["to"] for destination in flow.document["destinations"]]
        for flow in session.scalars(select(CallFlow).where(CallFlow.id.in_(flow_ids)))
    }
    shown = {part.name: part.show(session, scenario_ids) for part in server.scenario_parts}.get(INTEGRATIONS, {})
    around = _surroundings(
        session,
        project,
        [to for flow in flows.values() for to in flow],
        [number for document in documents.values() for number in document["to_buy"]["numbers"]],
        _claims(session, project, everybody=False),
    )
    return [
        Linted(
            scenario_id=scenario.id,
            project_id=project.id,
            country=project.country,
            document=documents[scenario.id],
            numbers=counts.get(scenario.id, NumberCounts()),
            destinations=flows.get(scenario.call_flow_id or 0, []),
            told=_is_told(server, shown.get(scenario.id)),
            around=around,
            stored=scenario,
        )
        for scenario in scenarios
    ]


def _number_counts(session: Session, scenario_ids: Sequence[int]) -> dict[int, NumberCounts]:
    e164 = TrackingNumber.e164
    counted = (
        select(
            TrackingNumber.scenario_id,
            func.sum(case((TrackingNumber.is_dynamic, 1), else_=0)).label("dynamic"),
            func.count(TrackingNumber.static_source).label("static"),
            func.max(case((TrackingNumber.overflow, e164))).label("overflow"),
            func.min(e164).label("least"),
            func.max(e164).label("greatest"),
        )
        .where(TrackingNumber.scenario_id.in_(scenario_ids))
        .group_by(TrackingNumber.scenario_id)
    )
    return {
        row.scenario_id or 0: NumberCounts(
            row.dynamic,
            row.static,
            row.overflow,
            tuple(dict.fromkeys((row.least, row.greatest))),  # country codes are prefixes: if these are of one, all are
        )
        for row in session.execute(counted)
    }


def _claims(session: Session, project: Project, everybody: bool) -> Claims:
    """What scenarios of the project replace on the page; `everybody`: the disabled ones too."""
    rows = present_scenarios(project.id).with_only_columns(Scenario.id, Scenario.title, Scenario.tagging)
    rows = rows.order_by(Scenario.id)
    claims = Claims()
    for row in session.execute(rows if everybody else rows.where(Scenario.enabled)):
        claims.add(row.id, row.title, row.tagging)
    return claims


def _surroundings(
    session: Session, project: Project, destinations: Iterable[str], to_buy: Iterable[str], claims: Claims
) -> Surroundings:
    fallback = project.fallback_destination
    tracking = tracking_among(session, {*destinations, fallback} - {""})
    of_project = present_numbers(project.id).with_only_columns(TrackingNumber.e164)
    own_fallback = session.scalar(of_project.where(TrackingNumber.e164 == fallback))
    return Surroundings(claims, frozenset(tracking), frozenset(taken_numbers(session, to_buy)), own_fallback or "")


def _is_told(server: Server, integrations: Any) -> bool:
    """Whether somebody is told about calls; always where no package above has integrations."""
    if not any(part.name == INTEGRATIONS for part in server.scenario_parts):
        return True
    return isinstance(integrations, Mapping) and any(integrations.values())

"""Scenarios and tracking numbers as programs see them.

Reads a scenario's document against the database: its numbers and destinations. Every error is found, not only the first.

Parts of a scenario that belong to floors above (its integrations): they register here, app.py puts them in."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy import select
from sqlalchemy.orm import Session

from router.accounts.models import Project
from router.lib.phones import BadPhone, read_phone
from router.scenarios.billing.paid_time import grace_ends
from router.scenarios.channels import (
    ChannelRow,
    StaticSource,
    read_channels,
    short_form,
    static_sources,
    with_static,
    without_numbers,
)
from router.scenarios.flows import BadDestination, read_destinations
from router.scenarios.models import OPEN, CallFlow, NumberBatch, NumberOrder, Scenario, TrackingNumber
from router.scenarios.schema import MOST_TO_BUY, ScenarioShape, Terms, ToBuy, read_shape
from router.server import Server
from router.web.errors import iso

REGISTRY = "scenario_parts"


class ScenarioPart(Protocol):
    """One member of a scenario's API document, with its fields in the form."""

    name: str
    """The member's name in the API, e.g. `integrations`."""
    form_template: str
    """A Jinja template with the fields; it gets `value` (veiled), `typed` (the secrets that the draft holds), `stored` (the member
    that is stored), `errors` (`errors.at(name)`) and `disabled`."""

    def check(self, session: Session, project: Project, scenario_id: int | None, value: Any) -> Any:
        """The clean form of what came in (the whole member, after any merge), to be passed to `save`; nothing is written.

        An absent secret means: the stored one is kept. Raises Problem(422, field="integrations.ga4.measurement_id").
        """

    def save(self, session: Session, project: Project, scenario_id: int, clean: Any, now: datetime) -> dict[str, Any]:
        """Stores it; returns what can be shown this once only (secrets that were made), by dotted field name."""

    def show(self, session: Session, scenario_ids: Iterable[int]) -> dict[int, dict[str, Any]]:
        """The member of each scenario, without secrets."""

    def copy(self, session: Session, project: Project, original_id: int, copy_id: int, now: datetime) -> None:
        """Gives a new scenario what another one has, its sealed secrets too."""

    def read_form(self, form: Mapping[str, str], before: Any) -> Any:
        """All that was typed, for a draft; a secret that is not typed again is kept from `before`."""

    def member(self, typed: Any) -> Any:
        """The member of the document that a draft's value (or None) stands for."""

    def veiled(self, typed: Any) -> tuple[Any, set[str]]:
        """A draft's value without its secrets, and the dotted names of those that it holds."""


def parts_of(server: Server) -> list[ScenarioPart]:
    return list(server.registries.setdefault(REGISTRY, []))


def add_part(server: Server, part: ScenarioPart) -> None:
    server.registries.setdefault(REGISTRY, []).append(part)


EMPTY_TERMS, NOTHING_TO_BUY = Terms().model_dump(), ToBuy().model_dump()


def scenario_document(session: Session, server: Server, scenario: Scenario) -> dict[str, Any]:
    return scenario_documents(session, server, [scenario])[0]


def scenario_documents(session: Session, server: Server, scenarios: Sequence[Scenario]) -> list[dict[str, Any]]:
    """One document for each, in the same order; the number of statements does not depend on how many."""
    ids = [scenario.id for scenario in scenarios]
    numbers = numbers_by_scenario(session, ids)
    channels = shown_channels(session, scenarios, numbers)
    flow_ids = [scenario.call_flow_id for scenario in scenarios if scenario.call_flow_id]
    flows = {flow.id: flow.document for flow in session.scalars(select(CallFlow).where(CallFlow.id.in_(flow_ids)))}
    parts = {part.name: part.show(session, ids) for part in parts_of(server)}
    return [
        _document(scenario, numbers[scenario.id], channels[scenario.id], flows.get(scenario.call_flow_id or 0))
        | {name: shown.get(scenario.id, {}) for name, shown in parts.items()}
        for scenario in scenarios
    ]


def numbers_by_scenario(session: Session, scenario_ids: Sequence[int]) -> dict[int, list[TrackingNumber]]:
    found: dict[int, list[TrackingNumber]] = defaultdict(list)
    numbers = select(TrackingNumber).where(TrackingNumber.scenario_id.in_(scenario_ids))
    for number in session.scalars(numbers.order_by(TrackingNumber.id)):
        found[number.scenario_id or 0].append(number)
    return found


def shown_channels(
    session: Session, scenarios: Sequence[Scenario], numbers: Mapping[int, Sequence[TrackingNumber]] | None = None
) -> dict[int, list[ChannelRow]]:
    """The channels of each scenario without those of static numbers that left it, and with one for each static number it has.

    The number of statements does not depend on how many scenarios there are.
    """
    ids = [scenario.id for scenario in scenarios]
    if numbers is None:
        numbers = numbers_by_scenario(session, ids)
    has_static = any(one["kind"] == "static" for scenario in scenarios for one in scenario.channels)
    coming = coming_numbers(session, ids) if has_static else {}
    shown: dict[int, list[ChannelRow]] = {}
    for scenario in scenarios:
        own = numbers.get(scenario.id, [])
        stay = {number.e164 for number in own} | coming.get(scenario.id, set())
        channels = without_numbers(scenario.channels, stay | set(scenario.to_buy.get("numbers", [])))
        missing = {number.e164: number.static_source for number in own if number.static_source}
        for one in channels:
            missing.pop(one.get("number", ""), None)
        shown[scenario.id] = with_static(channels, short_form(channels) | missing) if missing else channels
    return shown


def coming_numbers(session: Session, scenario_ids: Sequence[int]) -> dict[int, set[str]]:
    """The numbers that are being bought for each scenario."""
    orders = (
        select(NumberBatch.scenario_id, NumberOrder.e164)
        .join(NumberOrder, NumberOrder.batch_id == NumberBatch.id)
        .where(NumberBatch.scenario_id.in_(scenario_ids), OPEN)
    )
    found: dict[int, set[str]] = defaultdict(set)
    for scenario_id, e164 in session.execute(orders):
        found[scenario_id or 0].add(e164)
    return found


def _document(
    scenario: Scenario, numbers: list[TrackingNumber], channels: list[ChannelRow], flow: dict[str, Any] | None
) -> dict[str, Any]:
    return {
        "id": scenario.id,
        "title": scenario.title,
        "enabled": scenario.enabled,
        "numbers": [number.e164 for number in numbers if not number.overflow],
        "channels": channels,
        "static": short_form(channels),
        "flow": flow,
        "tagging": scenario.tagging,
        "aim": scenario.aim,
        "exhausted": scenario.exhausted,
        "overflow": next((number.e164 for number in numbers if number.overflow), None),
        "hold_seconds": scenario.hold_seconds,
        "terms": EMPTY_TERMS | scenario.terms,
        "upkeep": {
            "on": scenario.upkeep_on,
            "spending_limit_minor": scenario.upkeep_spending_limit_minor,
            "max_numbers": scenario.upkeep_max_numbers,
        },
        "manager": scenario.manager,
        "to_buy": NOTHING_TO_BUY | scenario.to_buy,
        "version": scenario.version,
        "created_at": iso(scenario.created_at),
        "calls": scenario.calls,
        "accuracy": scenario.accuracy,
    }


def number_document(number: TrackingNumber, now: datetime) -> dict[str, Any]:
    """`state` is in_use, free, grace (its paid time has ended) or releasing."""
    state = state_of(number, now)
    return {
        "e164": number.e164,
        "scenario": number.scenario_id,
        "static": number.static_source,
        "kind": kind_of(number),
        "owned_elsewhere": number.owned_elsewhere,
        "pinned": number.pinned,
        "state": state,
        "bought_at": _iso(number.bought_at),
        "paid_until": _iso(number.paid_until),
        "grace_until": _iso(grace_ends(number.paid_until)) if number.paid_until and state == "grace" else None,
        "carrier_error": number.carrier_error,
        "calls": number.calls,
        "last_call_at": _iso(number.last_call_at),
        "last_shown_at": _iso(number.last_shown_at),
        "created_at": iso(number.created_at),
    }


def kind_of(number: TrackingNumber) -> str | None:
    """dynamic, static or overflow; None for one that is in no scenario."""
    if number.scenario_id is None:
        return None
    return "overflow" if number.overflow else "static" if number.static_source is not None else "dynamic"


def state_of(number: TrackingNumber, now: datetime) -> str:
    if number.releasing_at is not None:
        return "releasing"
    if not number.owned_elsewhere and number.paid_until is not None and number.paid_until <= now:
        return "grace"
    return "in_use" if number.scenario_id is not None else "free"


def _iso(moment: datetime | None) -> str | None:
    return iso(moment) if moment else None


@dataclass(frozen=True)
class Wanted:
    """A scenario's document, read: numbers and destinations in E.164."""

    title: str
    enabled: bool
    numbers: list[str]
    channels: list[ChannelRow]
    destinations: list[dict[str, Any]]
    tagging: dict[str, Any]
    aim: str
    exhausted: str
    overflow: str | None
    hold_seconds: int
    terms: dict[str, Any]
    to_buy: dict[str, Any]
    upkeep: dict[str, Any]
    manager: str

    @property
    def static(self) -> dict[str, StaticSource]:
        return static_sources(self.channels)


def read_wanted(
    session: Session, server: Server, project: Project, scenario: Scenario | None, document: dict[str, Any]
) -> tuple[Wanted, dict[str, str]]:
    """The scenario that the document describes, and a sentence for each field that cannot be used."""
    shape, errors = read_shape(document)
    numbers = read_numbers(shape.numbers, project.country, errors, "numbers")
    to_buy = _read_to_buy(shape.to_buy, project.country, errors)
    coming = coming_numbers(session, [scenario.id])[scenario.id] if scenario else set()
    expected = {*numbers, *to_buy["numbers"], *coming}
    present = shown_channels(session, [scenario])[scenario.id] if scenario else []
    channels = read_channels(shape, present, expected, project.country, errors)
    overflow = _read_overflow(shape, project.country, {*numbers, *to_buy["numbers"]}, channels, errors)
    placed = {f"numbers.{index}": number for index, number in enumerate(numbers)}
    placed |= {"overflow": overflow} if overflow else {}
    errors = _placement_errors(session, project, scenario, placed) | errors
    _check_regions(server, shape.terms, errors)
    wanted = Wanted(
        title=shape.title,
        enabled=shape.enabled,
        numbers=numbers,
        channels=channels,
        destinations=_read_flow(session, shape, project.country, errors),
        tagging=shape.tagging.model_dump(),
        aim=shape.aim,
        exhausted=shape.exhausted,
        overflow=overflow,
        hold_seconds=shape.hold_seconds,
        terms=shape.terms.model_dump(),
        to_buy=to_buy,
        upkeep=shape.upkeep.model_dump(),
        manager=shape.manager,
    )
    return wanted, errors


def read_numbers(texts: list[str], country: str, errors: dict[str, str], field: str) -> list[str]:
    """One entry for each text, so that indexes stay; what cannot be read stays as it was written."""
    numbers: list[str] = []
    for index, text in enumerate(texts):
        number = text
        try:
            number = read_phone(text, country)
        except BadPhone as error:
            errors[f"{field}.{index}"] = str(error)
        if number in numbers:
            errors[f"{field}.{index}"] = f"{number} is named twice."
        numbers.append(number)
    return numbers


def _read_to_buy(shape: ToBuy, country: str, errors: dict[str, str]) -> dict[str, Any]:
    """In the project's country, if no other is named."""
    numbers = read_numbers(shape.numbers, country, errors, "to_buy.numbers")
    read = shape.model_dump() | {"numbers": numbers, "country": shape.country or (country if shape.count else "")}
    if shape.count and not read["country"]:
        errors["to_buy.country"] = "Say in which country the numbers are to be bought, like DE."
    if len(numbers) + shape.count > MOST_TO_BUY:
        errors["to_buy.count"] = f"At most {MOST_TO_BUY} numbers can be bought at once."
    return read


def _read_overflow(
    shape: ScenarioShape, country: str, pool: set[str], channels: list[ChannelRow], errors: dict[str, str]
) -> str | None:
    """The number that is shown when all others are taken: a number of its own, neither lent nor static."""
    if not shape.overflow:
        return None
    try:
        number = read_phone(shape.overflow, country)
    except BadPhone as error:
        errors["overflow"] = str(error)
        return None
    if number in static_sources(channels):
        errors["overflow"] = f"{number} is a static number. Choose another one, or take it out of the channels."
    elif number in pool:
        errors["overflow"] = (
            f"{number} is among the numbers that are lent to visitors. Take it out there, or choose another."
        )
    return number


def _check_regions(server: Server, terms: Terms, errors: dict[str, str]) -> None:
    for name in ("only_regions", "excluded_regions"):
        if getattr(terms, name) and server.settings.geoip is None:
            errors[f"terms.{name}"] = (
                "Nobody's region is known here: the operator has to name a file of regions in ROUTER_GEOIP first."
            )


def _placement_errors(
    session: Session, project: Project, scenario: Scenario | None, numbers: Mapping[str, str]
) -> dict[str, str]:
    """Why numbers cannot be in this scenario, by the field that names each: another project's are as unknown here as none at all."""
    owned = select(TrackingNumber.e164, TrackingNumber.scenario_id, Scenario.title)
    owned = owned.outerjoin(Scenario, Scenario.id == TrackingNumber.scenario_id)
    here = (TrackingNumber.project_id == project.id, TrackingNumber.releasing_at.is_(None))
    rows = session.execute(owned.where(*here, TrackingNumber.e164.in_(list(numbers.values()))))
    found = {row.e164: row for row in rows}
    errors: dict[str, str] = {}
    for field, number in numbers.items():
        row = found.get(number)
        if row is None:
            errors[field] = f"{number} is not a number of this project. Add it to the numbers first."
        elif row.scenario_id not in (None, scenario.id if scenario else None):
            errors[field] = f"{number} is in the scenario “{row.title}”. Take it out there first."
    return errors


def _read_flow(session: Session, shape: ScenarioShape, country: str, errors: dict[str, str]) -> list[dict[str, Any]]:
    if shape.flow is None:
        return []
    try:
        return read_destinations(session, [one.model_dump() for one in shape.flow.destinations], country)
    except BadDestination as refusal:
        for index, sentence in refusal.errors.items():
            errors[f"flow.destinations.{index}.to"] = sentence
        return []

"""Reads a scenario's document against the database: its numbers and destinations. Every error is found, not only the first."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from router.accounts.models import Project
from router.phones import BadPhone, read_phone
from router.scenarios.channel_reading import read_channels
from router.scenarios.channel_rows import Channel, StaticSource, static_sources
from router.scenarios.documents import coming_numbers, shown_channels
from router.scenarios.flows import BadDestination, read_destinations
from router.scenarios.models import Scenario, TrackingNumber
from router.scenarios.shape import MOST_TO_BUY, ScenarioShape, Terms, ToBuy
from router.scenarios.shape_errors import read_shape
from router.server import Server


@dataclass(frozen=True)
class Wanted:
    """A scenario's document, read: numbers and destinations in E.164."""

    title: str
    enabled: bool
    numbers: list[str]
    channels: list[Channel]
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
    shape: ScenarioShape, country: str, pool: set[str], channels: list[Channel], errors: dict[str, str]
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

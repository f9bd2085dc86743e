"""Reads a scenario's document against the database: its numbers and destinations. Every error is found, not only the first."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from router.accounts.models import Project
from router.phones import BadPhone, read_phone
from router.scenarios.flows import BadDestination, read_destinations
from router.scenarios.models import Scenario, TrackingNumber
from router.scenarios.shape import ScenarioShape, read_shape

StaticSources = dict[str, dict[str, str]]


@dataclass(frozen=True)
class Wanted:
    """A scenario's document, read: numbers and destinations in E.164."""

    title: str
    enabled: bool
    numbers: list[str]
    static: StaticSources
    destinations: list[dict[str, Any]]
    tagging: dict[str, Any]
    aim: str
    exhausted: str


def read_wanted(
    session: Session, project: Project, scenario_id: int | None, document: dict[str, Any]
) -> tuple[Wanted, dict[str, str]]:
    """The scenario that the document describes, and a sentence for each field that cannot be used."""
    shape, errors = read_shape(document)
    numbers = _read_numbers(shape.numbers, project.country, errors)
    static = _read_static(shape, numbers, project.country, errors)
    errors = _placement_errors(session, project, scenario_id, numbers) | errors
    destinations = _read_flow(session, shape, project.country, errors)
    wanted = Wanted(
        title=shape.title,
        enabled=shape.enabled,
        numbers=numbers,
        static=static,
        destinations=destinations,
        tagging=shape.tagging.model_dump(),
        aim=shape.aim,
        exhausted=shape.exhausted,
    )
    return wanted, errors


def _read_numbers(texts: list[str], country: str, errors: dict[str, str]) -> list[str]:
    """One entry for each text, so that indexes stay; what cannot be read stays as it was written."""
    numbers: list[str] = []
    for index, text in enumerate(texts):
        number = text
        try:
            number = read_phone(text, country)
        except BadPhone as error:
            errors[f"numbers.{index}"] = str(error)
        if number in numbers:
            errors[f"numbers.{index}"] = f"{number} is named twice."
        numbers.append(number)
    return numbers


def _read_static(shape: ScenarioShape, numbers: list[str], country: str, errors: dict[str, str]) -> StaticSources:
    static: StaticSources = {}
    for text, source in shape.static.items():
        try:
            number = read_phone(text, country)
        except BadPhone as error:
            errors[f"static.{text}"] = str(error)
            continue
        if number not in numbers:
            errors[f"static.{text}"] = f"{number} is not among this scenario's numbers. Name it in numbers as well."
        static[number] = source.model_dump()
    return static


def _placement_errors(
    session: Session, project: Project, scenario_id: int | None, numbers: list[str]
) -> dict[str, str]:
    """Why numbers cannot be in this scenario: another project's are as unknown here as none at all."""
    owned = select(TrackingNumber.e164, TrackingNumber.scenario_id, Scenario.title)
    owned = owned.outerjoin(Scenario, Scenario.id == TrackingNumber.scenario_id)
    here = (TrackingNumber.project_id == project.id, TrackingNumber.releasing_at.is_(None))
    rows = session.execute(owned.where(*here, TrackingNumber.e164.in_(numbers)))
    found = {row.e164: row for row in rows}
    errors: dict[str, str] = {}
    for index, number in enumerate(numbers):
        row = found.get(number)
        if row is None:
            errors[f"numbers.{index}"] = f"{number} is not a number of this project. Add it to the numbers first."
        elif row.scenario_id not in (None, scenario_id):
            errors[f"numbers.{index}"] = f"{number} is in the scenario “{row.title}”. Take it out there first."
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

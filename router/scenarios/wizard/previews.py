"""What the wizard shows on its steps: the draft or the stored scenario, its steps with a word on each, and previews."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import phonenumbers
from sqlalchemy.orm import Session

from router.lib.formats import format_count, parse_int
from router.lib.phones import BadPhone, country_of, display, international, read_destination, read_phone
from router.scenarios.documents import numbers_by_scenario
from router.scenarios.flows import DEFAULT_RING_SECONDS, tracking_among
from router.scenarios.matching import format_error
from router.scenarios.models import TrackingNumber
from router.scenarios.numbers.inventory import free_numbers
from router.scenarios.wizard.drafts import Editor
from router.scenarios.wizard.forms import STEPS, TERMS, Step, Values, lines_of, rows_in_use
from router.server import current_server

EXAMPLE = "+14155552671"
MOST_FREE = 500


@dataclass(frozen=True)
class Mark:
    """A step in the row at the top. `said` is one word or two on what it holds."""

    step: Step
    current: bool
    reached: bool
    said: str


def marks(editor: Editor, current: Step) -> list[Mark]:
    values, tagging = editor.values, editor.values["tagging"]
    chosen, to_buy = wanted_counts(values)
    numbers = _counted(chosen, "number", "no number")
    if to_buy:
        numbers = f"{chosen} + {to_buy} to buy" if chosen else f"{to_buy} to buy"
    typed = values["integrations"]["parts"]
    told = [sentence for part in current_server().scenario_parts for sentence in part.preview(typed.get(part.name))]
    places = lines_of(tagging["selectors"]) + lines_of(tagging["replace"])
    conditions = [line for name in TERMS for line in lines_of(values["terms"][name])]
    said = {
        "numbers": numbers,
        "forwarding": _counted(len(rows_in_use(values, "destinations")), "destination", "no destination"),
        "tagging": _counted(len(places), "place", "nothing replaced"),
        "channels": _counted(len(rows_in_use(values, "channels")), "rule", "all dynamic"),
        "integrations": _counted(len(told), "receiver", "nobody told"),
        "terms": _counted(len(conditions), "condition", "everybody"),
    }
    return [Mark(step, step is current, step.place <= editor.reached, said[step.name]) for step in STEPS]


def _counted(amount: int, noun: str, none: str) -> str:
    return format_count(amount, noun) if amount else none


def wanted_counts(values: Values) -> tuple[int, int]:
    """Numbers that are chosen or typed, and numbers to be bought."""
    numbers = values["numbers"]
    count = numbers["to_buy"]["count"]
    more = parse_int(count, greatest=99_999) or 0
    return len(numbers["numbers"]) + len(lines_of(numbers["own"])), len(numbers["to_buy"]["numbers"]) + more


def choices(session: Session, editor: Editor) -> list[TrackingNumber]:
    """The numbers that the scenario has, then free ones that it may take."""
    own = numbers_by_scenario(session, [editor.scenario.id])[editor.scenario.id] if editor.scenario else []
    free = free_numbers(session, editor.project.id)
    chosen = {*editor.values["numbers"]["numbers"], editor.values["numbers"].get("overflow", "")}
    return (
        own + [one for one in free if one.e164 in chosen] + [one for one in free if one.e164 not in chosen][:MOST_FREE]
    )


def extra_choices(editor: Editor, numbers: Iterable[TrackingNumber]) -> list[tuple[str, str]]:
    """Which of these numbers may be shown when all others are taken, as (value, text), and the one that was chosen before."""
    offered = {"": "none"} | {one.e164: international(one.e164) for one in numbers}
    chosen = editor.values["numbers"].get("overflow", "")
    return list((offered | ({} if chosen in offered else {chosen: chosen})).items())


def own_numbers(editor: Editor) -> list[str]:
    """What was typed as own numbers and can be read."""
    return [
        read for line in lines_of(editor.values["numbers"]["own"]) if (read := _phone(line, editor.project.country))
    ]


def chosen_numbers(editor: Editor) -> list[str]:
    return list(dict.fromkeys([*editor.values["numbers"]["numbers"], *own_numbers(editor)]))


def _phone(text: str, country: str) -> str:
    try:
        return read_phone(text, country)
    except BadPhone:
        return ""


def examples(editor: Editor) -> list[tuple[str, str]]:
    """Up to three of the scenario's numbers, one of each country first, as pages show them; an example when it has none."""
    numbers = [one for one in chosen_numbers(editor) + editor.values["numbers"]["to_buy"]["numbers"] if _phone(one, "")]
    firsts: dict[str | None, str] = {}
    for one in numbers:
        firsts.setdefault(country_of(one), one)
    picked = list(dict.fromkeys([*firsts.values(), *numbers]))[:3]
    country = editor.project.country
    if not picked:
        number = phonenumbers.example_number(country) if country else None
        picked = [phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164) if number else EXAMPLE]
    return [(e164, shown_as(editor.values["tagging"]["format"], e164, country)) for e164 in picked]


def shown_as(mask: str, e164: str, country: str) -> str:
    """The number in this format, on pages of this country; a dash when the format cannot be used."""
    return "–" if format_error(mask) else display(e164, mask, country)


@dataclass(frozen=True)
class Ring:
    """One destination as a call reaches it; `wrong` says why it cannot."""

    to: str
    seconds: str
    wrong: str = ""


def rings(session: Session, editor: Editor) -> list[Ring]:
    read: list[Ring] = []
    for row in rows_in_use(editor.values, "destinations"):
        seconds = row["ring_seconds"] or str(DEFAULT_RING_SECONDS)
        try:
            read.append(Ring(read_destination(row["to"], editor.project.country), seconds))
        except BadPhone as error:
            read.append(Ring(row["to"], seconds, str(error)))
    tracking = tracking_among(session, [one.to for one in read]) | set(chosen_numbers(editor))
    return [
        Ring(one.to, one.seconds, "is itself a tracking number: calls would go round in circles.")
        if one.to in tracking and not one.wrong
        else one
        for one in read
    ]


def differing(editor: Editor, stored: Values) -> list[Step]:
    """The steps in which the draft says something else than what is stored now."""
    return [step for step in STEPS if _compared(editor.values, step.name) != _compared(stored, step.name)]


def _compared(values: Values, step: str) -> Any:
    return {name: one for name, one in values[step].items() if name != "sample"}

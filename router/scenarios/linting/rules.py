"""The linter's rules about a scenario alone and beside the others of its project (R2). Pure: each takes facts and yields findings."""

from collections.abc import Callable, Iterator

from phonenumbers import NumberParseException

from router.phones import international, is_foreign_to
from router.scenarios.channel_rows import never_reached
from router.scenarios.linting.facts import Linted
from router.scenarios.linting.findings import Finding
from router.scenarios.linting.reach import channels_shut_out, shut_out

Found = Iterator[Finding]


def numbers(one: Linted) -> Found:
    if not one.dynamic + one.static + one.to_buy:
        yield Finding("no_numbers", "No numbers: visitors see the page's own.", "numbers", "numbers")
    for index, number in enumerate(one.named):
        if number in one.around.taken:
            said = f"{international(number)} cannot be bought any more: it is here already or being bought."
            yield Finding("taken_number", said, f"to_buy.numbers.{index}", "numbers")


def exhausted(one: Linted) -> Found:
    if one.exhausted == "overflow" and not one.overflow:
        said = "An extra number is to be shown when all others are taken, but none is chosen: the page keeps its own number then."
        yield Finding("no_overflow", said, "overflow", "numbers")
    if one.exhausted != "overflow" and one.overflow:
        extra = international(one.overflow)
        said = (
            f"{extra} is kept as the extra number, but shown to nobody: another rule holds when all others are taken."
        )
        yield Finding("unused_overflow", said, "overflow", "numbers")


def destinations(one: Linted) -> Found:
    if not any(one.destinations):
        said = "No destination: calls go where they went before, else to the project's fallback."
        yield Finding("no_destination", said, "flow.destinations", "forwarding", blocks=True)
    for index, to in enumerate(one.destinations):
        if to in one.around.tracking:
            said = f"{international(to)} is a tracking number: calls would go round in circles. Name the company's own line."
            yield Finding("tracking_destination", said, f"flow.destinations.{index}.to", "forwarding", blocks=True)


def fallback(one: Linted) -> Found:
    if number := one.around.own_fallback:
        said = (
            f"The project's fallback destination, {international(number)}, is one of its tracking numbers: "
            "calls that no scenario takes would go round in circles. Change it in Settings."
        )
        yield Finding("tracking_fallback", said, "flow", "forwarding")


def integrations(one: Linted) -> Found:
    if not one.told:
        yield Finding("no_integration", "Nobody is told about its calls.", "integrations", "integrations")


def overlaps(one: Linted) -> Found:
    claims = one.around.claims
    for index, selector in enumerate(one.selectors):
        if (other := claims.others_with_selector(one.scenario_id, selector)) is not None:
            yield _overlap(one, other, f"Elements of “{selector}”", f"tagging.selectors.{index}")
    for index, text in enumerate(one.replace):
        if (other := claims.others_with_number(one.scenario_id, text)) is not None:
            yield _overlap(one, other, f"“{text}”", f"tagging.replace.{index}")


def _overlap(one: Linted, other: int, what: str, field: str) -> Finding:
    title = one.around.claims.titles[other]
    first = not one.scenario_id or other < one.scenario_id
    who = "which comes first and gets it" if first else "but this one comes first and gets it"
    return Finding("overlap", f"{what} is also claimed by the scenario “{title}”, {who}.", field, "tagging")


def terms(one: Linted) -> Found:
    if member := shut_out(one.terms):
        said = "No visitor can ever match these terms: all that they ask for is excluded again."
        yield Finding("nobody", said, f"terms.{member}", "terms")


def channels(one: Linted) -> Found:
    covered = never_reached(one.channels)
    for index, earlier in covered.items():
        said = (
            f"Nobody reaches channel {index + 1}: channel {earlier + 1} stands before it and takes all of its visitors."
        )
        yield Finding("channel_unreached", said, f"channels.{index}", "channels")
    for index in channels_shut_out(one.channels, one.terms):
        if index not in covered:
            said = f"Nobody reaches channel {index + 1}: the terms exclude all of its visitors."
            yield Finding("channel_unreached", said, f"channels.{index}", "channels")


def upkeep(one: Linted) -> Found:
    if one.upkeep_on and one.static and not one.dynamic + one.to_buy:
        said = "Upkeep is on, but all numbers are static: there is no pool for it to look after."
        yield Finding("upkeep_static", said, "upkeep.on", "numbers")


def display_format(one: Linted) -> Found:
    foreign = next((number for number in one.examples if is_foreign(one.format, number, one.country)), None)
    if foreign is not None:
        said = f"{international(foreign)} cannot be dialled in this format: visitors see it as it stands here."
        yield Finding("foreign_format", said, "tagging.format", "tagging")


def is_foreign(mask: str, number: str, country: str) -> bool:
    try:
        return is_foreign_to(mask, number, country)
    except NumberParseException:
        return False  # nobody can read it, which is said elsewhere


RULES: tuple[Callable[[Linted], Found], ...] = (
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
)

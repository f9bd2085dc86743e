"""The linter (R2): what somebody should look at in a scenario before it is enabled, each with its field and the wizard's step.

Rules are pure. They look at facts that were read once, so the number of statements does not depend on the number of scenarios."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from phonenumbers import NumberParseException
from sqlalchemy.orm import Session

from router.accounts.models import Project
from router.lib.phones import international, is_foreign_to
from router.scenarios.channels import ChannelRow, is_for_visitors, never_reached, parts_of_match
from router.scenarios.lint.facts import Linted, read_document, read_stored
from router.scenarios.matching import covers, pattern_parts, read_source_pattern, source_covers
from router.server import Server


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
        return {
            "code": self.code,
            "sentence": self.sentence,
            "field": self.field,
            "step": self.step,
            "blocks": self.blocks,
        }


def shut_out(terms: Mapping[str, Any]) -> str | None:
    """The member of the terms (`only_sources`, `excluded_sources`, ...) that leaves no visitor; None when there may be some."""
    for what, is_covered, every in KINDS:
        only, excluded = terms.get(f"only_{what}") or [], terms.get(f"excluded_{what}") or []
        wanted = only or every
        if wanted and all(any(is_covered(wide, narrow) for wide in excluded) for narrow in wanted):
            return f"only_{what}" if only else f"excluded_{what}"
    return None


def channels_shut_out(channels: Sequence[ChannelRow], terms: Mapping[str, Any]) -> list[int]:
    """Indexes of the channels whose every visitor the terms exclude."""
    excluded = [read_source_pattern(one) for one in terms.get("excluded_sources") or []]
    return [
        index
        for index, one in enumerate(channels)
        if is_for_visitors(one) and any(source_covers(wide, parts_of_match(one["match"])) for wide in excluded)
    ]


def source_covered(wide: str, narrow: str) -> bool:
    return source_covers(read_source_pattern(wide), read_source_pattern(narrow))


def page_covered(wide: str, narrow: str) -> bool:
    """A pattern without `?` is compared with the path alone, one with it with path and query; a slash at the end of a path counts only
    before a query."""
    (wide_path, wide_query), (path, query) = pattern_parts(wide), pattern_parts(narrow)
    if wide_query is not None:
        return query is not None and covers(f"{wide_path}?{wide_query}", f"{path}?{query}")
    if query is not None and any(sign in path + query for sign in "*?"):
        path = f"{path.partition('*')[0]}*"  # what stands before the `?` of an address may be more than this path
    return covers(wide_path, path)


def region_covered(wide: str, narrow: str) -> bool:
    """`US` means all of its regions."""
    return covers(wide, narrow) or covers(wide, narrow[:2])


KINDS: tuple[tuple[str, Callable[[str, str], bool], list[str]], ...] = (
    ("sources", source_covered, ["*"]),
    ("landing_pages", page_covered, ["/*"]),
    ("regions", region_covered, []),
)
"""Each kind of terms, how one pattern covers another, and what everybody fits."""


Found = Iterator[Finding]


def numbers(linted: Linted) -> Found:
    if not linted.numbers.dynamic + linted.numbers.static + linted.to_buy:
        yield Finding("no_numbers", "No numbers: visitors see the page's own.", "numbers", "numbers")
    for index, number in enumerate(linted.document["to_buy"]["numbers"]):
        if number in linted.around.taken:
            said = f"{international(number)} cannot be bought any more: it is here already or being bought."
            yield Finding("taken_number", said, f"to_buy.numbers.{index}", "numbers")


def exhausted(linted: Linted) -> Found:
    if linted.document["exhausted"] == "overflow" and not linted.numbers.overflow:
        said = "An extra number is to be shown when all others are taken, but none is chosen: the page keeps its own number then."
        yield Finding("no_overflow", said, "overflow", "numbers")
    if linted.document["exhausted"] != "overflow" and linted.numbers.overflow:
        extra = international(linted.numbers.overflow)
        said = (
            f"{extra} is kept as the extra number, but shown to nobody: another rule holds when all others are taken."
        )
        yield Finding("unused_overflow", said, "overflow", "numbers")


def destinations(linted: Linted) -> Found:
    if not any(linted.destinations):
        said = "No destination: calls go where they went before, else to the project's fallback."
        yield Finding("no_destination", said, "flow.destinations", "forwarding", blocks=True)
    for index, to in enumerate(linted.destinations):
        if to in linted.around.tracking:
            said = f"{international(to)} is a tracking number: calls would go round in circles. Name the company's own line."
            yield Finding("tracking_destination", said, f"flow.destinations.{index}.to", "forwarding", blocks=True)


def fallback(linted: Linted) -> Found:
    if number := linted.around.own_fallback:
        said = (
            f"The project's fallback destination, {international(number)}, is one of its tracking numbers: "
            "calls that no scenario takes would go round in circles. Change it in Settings."
        )
        yield Finding("tracking_fallback", said, "flow", "forwarding")


def integrations(linted: Linted) -> Found:
    if not linted.told:
        yield Finding("no_integration", "Nobody is told about its calls.", "integrations", "integrations")


def overlaps(linted: Linted) -> Found:
    claims = linted.around.claims
    for index, selector in enumerate(linted.document["tagging"]["selectors"]):
        if (other := claims.others_with_selector(linted.scenario_id, selector)) is not None:
            yield _overlap(linted, other, f"Elements of “{selector}”", f"tagging.selectors.{index}")
    for index, text in enumerate(linted.document["tagging"]["replace"]):
        if (other := claims.others_with_number(linted.scenario_id, text)) is not None:
            yield _overlap(linted, other, f"“{text}”", f"tagging.replace.{index}")


def _overlap(linted: Linted, other: int, what: str, field: str) -> Finding:
    title = linted.around.claims.titles[other]
    first = not linted.scenario_id or other < linted.scenario_id
    who = "which comes first and gets it" if first else "but this one comes first and gets it"
    return Finding("overlap", f"{what} is also claimed by the scenario “{title}”, {who}.", field, "tagging")


def terms(linted: Linted) -> Found:
    if member := shut_out(linted.document["terms"]):
        said = "No visitor can ever match these terms: all that they ask for is excluded again."
        yield Finding("nobody", said, f"terms.{member}", "terms")


def channels(linted: Linted) -> Found:
    covered = never_reached(linted.document["channels"])
    for index, earlier in covered.items():
        said = (
            f"Nobody reaches channel {index + 1}: channel {earlier + 1} stands before it and takes all of its visitors."
        )
        yield Finding("channel_unreached", said, f"channels.{index}", "channels")
    for index in channels_shut_out(linted.document["channels"], linted.document["terms"]):
        if index not in covered:
            said = f"Nobody reaches channel {index + 1}: the terms exclude all of its visitors."
            yield Finding("channel_unreached", said, f"channels.{index}", "channels")


def upkeep(linted: Linted) -> Found:
    if linted.document["upkeep"]["on"] and linted.numbers.static and not linted.dynamic + linted.to_buy:
        said = "Upkeep is on, but all numbers are static: there is no pool for it to look after."
        yield Finding("upkeep_static", said, "upkeep.on", "numbers")


def display_format(linted: Linted) -> Found:
    foreign = next(
        (
            number
            for number in linted.numbers.examples
            if is_foreign(linted.document["tagging"]["format"], number, linted.country)
        ),
        None,
    )
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


__all__ = ["Finding", "LintRule", "Linted", "lint", "lint_stored"]

LintRule = Callable[[Session, Sequence[Linted]], Mapping[int, Iterable[Finding]]]
"""A rule of an upper floor: it gets all scenarios at once and answers its findings by `scenario_id` (0: one that is not stored).
Tables use it too: the number of its statements may not depend on how many scenarios there are."""


def lint(
    session: Session, server: Server, project: Project, scenario_id: int | None, document: Mapping[str, Any]
) -> list[Finding]:
    """What is to be said about a document of the API, stored or not; what cannot be read of it is left out.

    Args:
        scenario_id: the scenario that it is about; None: a new one.
    """
    linted = read_document(session, server, project, scenario_id, document)
    return _findings(session, server, [linted])[linted.scenario_id]


def lint_stored(
    session: Session, server: Server, project: Project, scenario_ids: Iterable[int]
) -> dict[int, list[Finding]]:
    """The findings of each of these scenarios of the project as they are stored; nothing is said about the claims of disabled others."""
    return _findings(session, server, read_stored(session, server, project, list(scenario_ids)))


def _findings(session: Session, server: Server, linted: Sequence[Linted]) -> dict[int, list[Finding]]:
    found = {one.scenario_id: [finding for rule in RULES for finding in rule(one)] for one in linted}
    for rule in server.lint_rules:
        for scenario_id, findings in rule(session, linted).items():
            found[scenario_id] += findings
    return found

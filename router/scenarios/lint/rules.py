"""The linter (R2): what somebody should look at in a scenario before it is enabled, each with its field and the wizard's step.

Rules are pure. They look at facts that were read once, so the number of statements does not depend on the number of scenarios."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from phonenumbers import NumberParseException
from sqlalchemy.orm import Session

from router.accounts.models import Project
from router.lib.formats import format_count
from router.lib.phones import international, is_foreign_to
from router.scenarios.channels import ChannelRow, is_for_visitors, never_reached, parts_of_match
from router.scenarios.lint.facts import Linted, read_document, read_stored
from router.scenarios.matching import fits, pattern_parts, read_source_pattern, source_fits
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


def source_covered(wide: str, narrow: str) -> bool:
    return source_fits(read_source_pattern(wide), read_source_pattern(narrow))


def page_covered(wide: str, narrow: str) -> bool:
    """A pattern without `?` is compared with the path alone, a pattern with `?` with path and query; a slash at the end of a path counts
    only before a query."""
    (wide_path, wide_query), (path, query) = pattern_parts(wide), pattern_parts(narrow)
    if wide_query is not None:
        return query is not None and fits(f"{wide_path}?{wide_query}", f"{path}?{query}")
    if query is not None and any(sign in path + query for sign in "*?"):
        path = f"{path.partition('*')[0]}*"  # what stands before the `?` of an address may be more than this path
    return fits(wide_path, path)


def region_covered(wide: str, narrow: str) -> bool:
    """`US` means all of its regions."""
    return fits(wide, narrow) or fits(wide, narrow[:2])


KINDS: tuple[tuple[str, Callable[[str, str], bool], list[str]], ...] = (
    ("sources", source_covered, ["*"]),
    ("landing_pages", page_covered, ["/*"]),
    ("regions", region_covered, []),
)
"""Each kind of terms, how one pattern covers another, and what everybody fits."""


Findings = Iterator[Finding]


def numbers(linted: Linted) -> Findings:
    if not linted.dynamic + linted.numbers.static + linted.to_buy:
        yield Finding("no_numbers", "No numbers: visitors see the page's own.", "numbers", "numbers")
    for index, number in enumerate(linted.document["to_buy"]["numbers"]):
        if number in linted.around.taken:
            sentence = f"{international(number)} cannot be bought any more: it is here already or being bought."
            yield Finding("taken_number", sentence, f"to_buy.numbers.{index}", "numbers")


def exhausted(linted: Linted) -> Findings:
    if linted.document["exhausted"] == "overflow" and not linted.numbers.overflow:
        sentence = "An extra number is to be shown when all others are taken, but none is chosen: the page keeps its own number then."
        yield Finding("no_overflow", sentence, "overflow", "numbers")
    if linted.document["exhausted"] != "overflow" and linted.numbers.overflow:
        extra = international(linted.numbers.overflow)
        sentence = (
            f"{extra} is kept as the extra number, but shown to nobody: another rule holds when all others are taken."
        )
        yield Finding("unused_overflow", sentence, "overflow", "numbers")


def destinations(linted: Linted) -> Findings:
    if not any(linted.destinations):
        sentence = "No destination: calls go where they went before, else to the project's fallback."
        yield Finding("no_destination", sentence, "flow.destinations", "forwarding", blocks=True)
    for index, to in enumerate(linted.destinations):
        if to in linted.around.tracking:
            sentence = f"{international(to)} is a tracking number: calls would go round in circles. Name the company's own line."
            yield Finding("tracking_destination", sentence, f"flow.destinations.{index}.to", "forwarding", blocks=True)


def fallback(linted: Linted) -> Findings:
    if number := linted.around.own_fallback:
        sentence = (
            f"The project's fallback destination, {international(number)}, is one of its tracking numbers: "
            "calls that no scenario takes would go round in circles. Change it in Settings."
        )
        yield Finding("tracking_fallback", sentence, "flow", "forwarding")


def integrations(linted: Linted) -> Findings:
    if not linted.told:
        yield Finding("no_integration", "Nobody is told about its calls.", "integrations", "integrations")


def overlaps(linted: Linted) -> Findings:
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
    if linted.document["upkeep"]["on"] and linted.numbers.static and not linted.dynamic + linted.to_buy:
        sentence = "Upkeep is on, but all numbers are static: there is no pool for it to look after."
        yield Finding("upkeep_static", sentence, "upkeep.on", "numbers")


def display_format(linted: Linted) -> Findings:
    foreign = next(
        (
            number
            for number in linted.numbers.examples
            if is_foreign(linted.document["tagging"]["format"], number, linted.country)
        ),
        None,
    )
    if foreign is not None:
        sentence = f"{international(foreign)} cannot be dialled in this format: visitors see it as it stands here."
        yield Finding("foreign_format", sentence, "tagging.format", "tagging")


def is_foreign(mask: str, number: str, country: str) -> bool:
    try:
        return is_foreign_to(mask, number, country)
    except NumberParseException:
        return False  # nobody can read it, which is said elsewhere


LEAST_TIMES = 20
"""Before so many pages have said something, a few of a site's odd pages could be all of them."""
HARDLY_EVER = 0.05
"""A smaller part of the pages is no site where only some pages have a place for the number, but selectors that match by accident."""


def never_shown(linted: Linted) -> Findings:
    """The numbers of a scenario are given to pages and stand on none or hardly any of them."""
    given, shown = (linted.stored.given_times, linted.stored.shown_times) if linted.stored else (None, None)
    if given is not None and given >= LEAST_TIMES and shown is not None and shown < HARDLY_EVER * given:
        why = "its selectors match on hardly any page" if shown else "no selector matches"
        sentence = f"Given {format_count(given, 'time')} in 7 days, shown {format_count(shown, 'time')}: {why}."
        look = f"/scenarios/{linted.scenario_id}/tagging"
        yield Finding("never_shown", sentence, "tagging.selectors", "tagging", look=look, look_for="See its tagging")


FAR = 0.75
"""A pool with a smaller share of what is needed has an accuracy below about 90 % in its busiest hour."""


def small_pool(linted: Linted) -> Findings:
    """A pool is far too small for last week's load."""
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

"""Which number a visit is shown by its marketing source (R1): a dynamic one, or a static one of its own. Pure rules.

Channels: which marketing sources get dynamic numbers and which a static one of its own (R1). The first that fits counts.

Reads the channels of a scenario's document, and `static`, their short form, which both say what static numbers stand for."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from router.lib.phones import BadPhone, read_phone
from router.scenarios.matching import SourceParts, fits, source_covers
from router.scenarios.schema import Channel as ChannelShape
from router.scenarios.schema import ScenarioShape

Channel = tuple[Literal["dynamic"], None] | tuple[Literal["static"], str]
DYNAMIC: Channel = ("dynamic", None)


def channel_for(channels: Iterable[Mapping[str, Any]], source: SourceParts) -> Channel:
    """The first row of `Scenario.channels` that fits decides; when none does: dynamic. A static number without a match is shown to
    nobody (a billboard's)."""
    for row in channels:
        match: Mapping[str, str] = {name: text for name, text in (row.get("match") or {}).items() if text}
        if not all(fits(match.get(name, "*"), given) for name, given in source._asdict().items()):
            continue
        if row.get("kind") != "static":
            return DYNAMIC
        if match and row.get("number"):
            return "static", row["number"]
    return DYNAMIC


ChannelRow = dict[str, Any]
"""`{match: {source?, medium?, campaign?}, kind: dynamic|static, number?: e164}`; a match is of patterns, absent parts fit anything."""
StaticSource = dict[str, str]
"""`{source, medium, campaign}`"""

PARTS = ("source", "medium", "campaign")
OFFLINE: StaticSource = {"source": "offline", "medium": "offline", "campaign": ""}
"""What a static number without a match stands for, like one on a billboard: it is shown to nobody."""


def static_sources(channels: Iterable[ChannelRow]) -> dict[str, StaticSource]:
    """What R7 claims for the calls of each static number."""
    return {one["number"]: _claimed(one["match"]) for one in channels if one["kind"] == "static"}


def _claimed(match: Mapping[str, str]) -> StaticSource:
    """The match; a part that is nothing but a star names no source."""
    return {part: name if name.strip("*") else "" for part, name in _whole(match).items()} if match else dict(OFFLINE)


def short_form(channels: Iterable[ChannelRow]) -> dict[str, StaticSource]:
    """The static channels that have a match source, by number."""
    return {one["number"]: _whole(one["match"]) for one in channels if _is_short(one)}


def with_static(channels: Sequence[ChannelRow], static: Mapping[str, StaticSource]) -> list[ChannelRow]:
    """The channels with exactly these in their short form; static numbers without a match source stay unless they are named.

    A number keeps its place; a new one goes before the first channel that would take its sources away.
    """
    kept = [_renewed(one, static) for one in channels if not _is_short(one) or one["number"] in static]
    there = {one.get("number") for one in kept}
    for number, source in static.items():
        if number not in there:
            kept.insert(_place_of(kept, source), _static_channel(number, source))
    return kept


def without_numbers(channels: Iterable[ChannelRow], stay: Iterable[str]) -> list[ChannelRow]:
    """The channels whose static number is one of these, and all dynamic ones."""
    stay = set(stay)
    return [one for one in channels if one["kind"] == "dynamic" or one["number"] in stay]


def never_reached(channels: Sequence[ChannelRow]) -> dict[int, int]:
    """Index of each channel that no visitor can reach, and of the earlier one that takes all of its visitors."""
    matching = [(index, parts_of_match(one["match"])) for index, one in enumerate(channels) if is_for_visitors(one)]
    found: dict[int, int] = {}
    for position, (index, parts) in enumerate(matching):
        earlier = (other for other, wide in matching[:position] if source_covers(wide, parts))
        if (other := next(earlier, None)) is not None:
            found[index] = other
    return found


def is_for_visitors(channel: ChannelRow) -> bool:
    """A static number without a match is shown to nobody."""
    return channel["kind"] == "dynamic" or bool(channel["match"])


def parts_of_match(match: Mapping[str, str]) -> SourceParts:
    return SourceParts(*(match.get(part) or "*" for part in PARTS))


def _is_short(channel: ChannelRow) -> bool:
    return channel["kind"] == "static" and bool(channel["match"].get("source"))


def _whole(match: Mapping[str, str]) -> StaticSource:
    return {part: match.get(part, "") for part in PARTS}


def _renewed(channel: ChannelRow, static: Mapping[str, StaticSource]) -> ChannelRow:
    source = static.get(channel.get("number", ""))
    return _static_channel(channel["number"], source) if source and channel["kind"] == "static" else channel


def _static_channel(number: str, source: StaticSource) -> ChannelRow:
    return {
        "match": {part: source[part] for part in PARTS if source.get(part)},
        "kind": "static",
        "number": number,
    }


def _place_of(channels: Sequence[ChannelRow], source: StaticSource) -> int:
    parts = parts_of_match(source)
    wide = (
        index
        for index, one in enumerate(channels)
        if is_for_visitors(one) and source_covers(parts_of_match(one["match"]), parts)
    )
    return next(wide, len(channels))


TWO_TONGUES = "This and channels say different things. Change one of the two."
ONE_CHANNEL = "{number} has a static channel already. Give each one a number of its own."
NOT_HERE = "{number} is not among this scenario's numbers. Name it in numbers as well."


def read_channels(
    shape: ScenarioShape, present: list[ChannelRow], expected: Iterable[str], country: str, errors: dict[str, str]
) -> list[ChannelRow]:
    """The channels that the document describes. Where it has both forms, the one counts that differs from the present state.

    Args:
        present: the scenario's channels before the change.
        expected: numbers that are in the scenario, or will be.
    """
    expected = set(expected)
    static = _read_static(shape, expected, country, errors)
    given = _read_list(shape.channels, country, errors)
    channels = _chosen(shape, given, static, present, errors)
    named = set(static) if "static" in shape.model_fields_set else set()
    for index, one in enumerate(channels):
        number = one.get("number")
        if number is not None and number not in expected | named and f"channels.{index}.number" not in errors:
            errors[f"channels.{index}.number"] = NOT_HERE.format(number=number)
    return channels


def _chosen(
    shape: ScenarioShape,
    given: list[ChannelRow],
    static: dict[str, StaticSource],
    present: list[ChannelRow],
    errors: dict[str, str],
) -> list[ChannelRow]:
    has_list, has_short = ("channels" in shape.model_fields_set, "static" in shape.model_fields_set)
    if not has_short:
        return given
    if not has_list:
        return with_static(present, static)
    if static in (short_form(given), short_form(present)):
        return given
    if given != present:
        errors["static"] = TWO_TONGUES
    return with_static(present, static)


def _read_list(shapes: list[ChannelShape], country: str, errors: dict[str, str]) -> list[ChannelRow]:
    channels: list[ChannelRow] = []
    numbers: set[str] = set()
    for index, shape in enumerate(shapes):
        channel: ChannelRow = {"match": _match(shape), "kind": shape.kind}
        if shape.kind == "static":
            number = channel["number"] = _read_number(shape.number, country, errors, f"channels.{index}.number")
            if number and number in numbers:
                errors[f"channels.{index}.number"] = ONE_CHANNEL.format(number=number)
            numbers.add(number)
        elif shape.number:
            errors[f"channels.{index}.number"] = "Only a static channel has a number of its own."
        channels.append(channel)
    return channels


def _match(shape: ChannelShape) -> dict[str, str]:
    given = shape.match.model_dump()
    return {part: given[part] for part in PARTS if given[part]}


def _read_number(text: str | None, country: str, errors: dict[str, str], field: str) -> str:
    if not text:
        errors[field] = "Say which number: one of this scenario's."
        return ""
    try:
        return read_phone(text, country)
    except BadPhone as error:
        errors[field] = str(error)
        return text


def _read_static(
    shape: ScenarioShape, expected: set[str], country: str, errors: dict[str, str]
) -> dict[str, StaticSource]:
    static: dict[str, StaticSource] = {}
    for text, source in shape.static.items():
        try:
            number = read_phone(text, country)
        except BadPhone as error:
            errors[f"static.{text}"] = str(error)
            continue
        if number not in expected:
            errors[f"static.{text}"] = NOT_HERE.format(number=number)
        static[number] = source.model_dump()
    return static

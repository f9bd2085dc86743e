"""Channels (R1): which marketing sources are shown dynamic numbers and which a static one. The first channel that fits counts."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from router.lib.phones import BadPhone, read_phone
from router.scenarios.matching import SourceParts, source_fits
from router.scenarios.schema import ScenarioSchema

Channel = tuple[Literal["dynamic"], None] | tuple[Literal["static"], str]
DYNAMIC: Channel = ("dynamic", None)


def channel_for(channels: Iterable[Mapping[str, Any]], source: SourceParts) -> Channel:
    """The first row of `Scenario.channels` that fits decides; when none does: dynamic. A static number without a match is shown to
    nobody (a billboard's)."""
    for row in channels:
        match = row.get("match") or {}
        if not source_fits(parts_of_match(match), source):
            continue
        if row.get("kind") != "static":
            return DYNAMIC
        if any(match.values()) and row.get("number"):
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
    """What R7 claims for the calls of each static number: the parts of its match that are more than a star."""
    sources = {}
    for channel in channels:
        if channel["kind"] == "static":
            match = {part: name if name.strip("*") else "" for part, name in _whole(channel["match"]).items()}
            sources[channel["number"]] = match if channel["match"] else dict(OFFLINE)
    return sources


def short_form(channels: Iterable[ChannelRow]) -> dict[str, StaticSource]:
    return {channel["number"]: _whole(channel["match"]) for channel in channels if _is_short(channel)}


def with_static(channels: Sequence[ChannelRow], static: Mapping[str, StaticSource]) -> list[ChannelRow]:
    """The channels with exactly these static numbers in their short form; static numbers without a match source stay unless they are named.

    A number keeps its place; a new number goes before the first channel that would take its sources away."""
    kept = [
        _static_channel(channel["number"], static[channel["number"]])
        if channel["kind"] == "static" and channel["number"] in static
        else channel
        for channel in channels
        if not _is_short(channel) or channel["number"] in static
    ]
    placed = {channel.get("number") for channel in kept}
    for number, source in static.items():
        if number not in placed:
            parts = parts_of_match(source)
            wide = (
                index
                for index, channel in enumerate(kept)
                if is_for_visitors(channel) and source_fits(parts_of_match(channel["match"]), parts)
            )
            kept.insert(next(wide, len(kept)), _static_channel(number, source))
    return kept


def without_numbers(channels: Iterable[ChannelRow], numbers: Iterable[str]) -> list[ChannelRow]:
    """All dynamic channels, and the static ones of these numbers."""
    numbers = set(numbers)
    return [channel for channel in channels if channel["kind"] == "dynamic" or channel["number"] in numbers]


def never_reached(channels: Sequence[ChannelRow]) -> dict[int, int]:
    """Index of each channel that no visitor can reach, and of the earlier one that takes all of its visitors."""
    matching = [
        (index, parts_of_match(channel["match"])) for index, channel in enumerate(channels) if is_for_visitors(channel)
    ]
    taken: dict[int, int] = {}
    for position, (index, parts) in enumerate(matching):
        earlier = (earliest for earliest, wide in matching[:position] if source_fits(wide, parts))
        if (earliest := next(earlier, None)) is not None:
            taken[index] = earliest
    return taken


def is_for_visitors(channel: ChannelRow) -> bool:
    """A static number without a match is shown to nobody."""
    return channel["kind"] == "dynamic" or bool(channel["match"])


def parts_of_match(match: Mapping[str, str]) -> SourceParts:
    return SourceParts(*(match.get(part) or "*" for part in PARTS))


def _is_short(channel: ChannelRow) -> bool:
    return channel["kind"] == "static" and bool(channel["match"].get("source"))


def _whole(match: Mapping[str, str]) -> StaticSource:
    return {part: match.get(part, "") for part in PARTS}


def _static_channel(number: str, source: StaticSource) -> ChannelRow:
    return {
        "match": {part: source[part] for part in PARTS if source.get(part)},
        "kind": "static",
        "number": number,
    }


NOT_HERE = "{number} is not among this scenario's numbers. Name it in numbers as well."


def read_channels(
    document: ScenarioSchema, present: list[ChannelRow], expected: Iterable[str], country: str, errors: dict[str, str]
) -> list[ChannelRow]:
    """The channels that a document describes. When `channels` and `static` are both there, the one that differs from the present state
    counts.

    Args:
        present: the scenario's channels before the change.
        expected: numbers that are in the scenario, or will be.
        errors: by field; what cannot be used is added.
    """
    expected = set(expected)
    static: dict[str, StaticSource] = {}
    for text, source in document.static.items():
        try:
            number = read_phone(text, country)
        except BadPhone as error:
            errors[f"static.{text}"] = str(error)
            continue
        if number not in expected:
            errors[f"static.{text}"] = NOT_HERE.format(number=number)
        static[number] = source.model_dump()

    listed: list[ChannelRow] = []
    with_channel: set[str] = set()
    for index, channel in enumerate(document.channels):
        match = {part: text for part, text in channel.match.model_dump().items() if text}
        row: ChannelRow = {"match": match, "kind": channel.kind}
        field = f"channels.{index}.number"
        if channel.kind == "dynamic" and channel.number:
            errors.setdefault(field, "Only a static channel has a number of its own.")
        if channel.kind == "static":
            row["number"] = channel.number or ""
            if not channel.number:
                errors.setdefault(field, "Say which number: one of this scenario's.")
            elif channel.number in with_channel:
                errors[field] = f"{channel.number} has a static channel already. Give each one a number of its own."
            with_channel.add(row["number"])
        listed.append(row)

    channels = listed
    if "static" in document.model_fields_set:
        if "channels" not in document.model_fields_set:
            channels = with_static(present, static)
        elif static not in (short_form(listed), short_form(present)):
            channels = with_static(present, static)
            if listed != present:
                errors["static"] = "This and channels say different things. Change one of the two."
        expected |= static.keys()
    for index, row in enumerate(channels):
        if "number" in row and row["number"] not in expected:
            errors.setdefault(f"channels.{index}.number", NOT_HERE.format(number=row["number"]))
    return channels

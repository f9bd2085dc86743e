"""Channels: which marketing sources get dynamic numbers and which a static one of its own (R1). The first that fits counts."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from router.scenarios.patterns import SourceParts, source_covers

Channel = dict[str, Any]
"""`{match: {source?, medium?, campaign?}, kind: dynamic|static, number?: e164}`; a match is of patterns, absent parts fit anything."""
StaticSource = dict[str, str]
"""`{source, medium, campaign}`"""

PARTS = ("source", "medium", "campaign")
OFFLINE: StaticSource = {"source": "offline", "medium": "offline", "campaign": ""}
"""What a static number without a match stands for, like one on a billboard: it is shown to nobody."""


def static_sources(channels: Iterable[Channel]) -> dict[str, StaticSource]:
    """What R7 claims for the calls of each static number."""
    return {one["number"]: _claimed(one["match"]) for one in channels if one["kind"] == "static"}


def _claimed(match: Mapping[str, str]) -> StaticSource:
    """The match; a part that is nothing but a star names no source."""
    return {part: name if name.strip("*") else "" for part, name in _whole(match).items()} if match else dict(OFFLINE)


def short_form(channels: Iterable[Channel]) -> dict[str, StaticSource]:
    """The static channels that have a match source, by number."""
    return {one["number"]: _whole(one["match"]) for one in channels if _is_short(one)}


def with_static(channels: Sequence[Channel], static: Mapping[str, StaticSource]) -> list[Channel]:
    """The channels with exactly these in their short form; static numbers without a match source stay unless they are named.

    A number keeps its place; a new one goes before the first channel that would take its sources away.
    """
    kept = [_renewed(one, static) for one in channels if not _is_short(one) or one["number"] in static]
    there = {one.get("number") for one in kept}
    for number, source in static.items():
        if number not in there:
            kept.insert(_place_of(kept, source), _static_channel(number, source))
    return kept


def without_numbers(channels: Iterable[Channel], stay: Iterable[str]) -> list[Channel]:
    """The channels whose static number is one of these, and all dynamic ones."""
    stay = set(stay)
    return [one for one in channels if one["kind"] == "dynamic" or one["number"] in stay]


def never_reached(channels: Sequence[Channel]) -> dict[int, int]:
    """Index of each channel that no visitor can reach, and of the earlier one that takes all of its visitors."""
    matching = [(index, parts_of_match(one["match"])) for index, one in enumerate(channels) if is_for_visitors(one)]
    found: dict[int, int] = {}
    for position, (index, parts) in enumerate(matching):
        earlier = (other for other, wide in matching[:position] if source_covers(wide, parts))
        if (other := next(earlier, None)) is not None:
            found[index] = other
    return found


def is_for_visitors(channel: Channel) -> bool:
    """A static number without a match is shown to nobody."""
    return channel["kind"] == "dynamic" or bool(channel["match"])


def parts_of_match(match: Mapping[str, str]) -> SourceParts:
    return SourceParts(*(match.get(part) or "*" for part in PARTS))


def _is_short(channel: Channel) -> bool:
    return channel["kind"] == "static" and bool(channel["match"].get("source"))


def _whole(match: Mapping[str, str]) -> StaticSource:
    return {part: match.get(part, "") for part in PARTS}


def _renewed(channel: Channel, static: Mapping[str, StaticSource]) -> Channel:
    source = static.get(channel.get("number", ""))
    return _static_channel(channel["number"], source) if source and channel["kind"] == "static" else channel


def _static_channel(number: str, source: StaticSource) -> Channel:
    return {
        "match": {part: source[part] for part in PARTS if source.get(part)},
        "kind": "static",
        "number": number,
    }


def _place_of(channels: Sequence[Channel], source: StaticSource) -> int:
    parts = parts_of_match(source)
    wide = (
        index
        for index, one in enumerate(channels)
        if is_for_visitors(one) and source_covers(parts_of_match(one["match"]), parts)
    )
    return next(wide, len(channels))

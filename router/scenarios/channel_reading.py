"""Reads the channels of a scenario's document, and `static`, their short form, which both say what static numbers stand for."""

from collections.abc import Iterable

from router.phones import BadPhone, read_phone
from router.scenarios.channel_rows import PARTS, Channel, StaticSource, short_form, with_static
from router.scenarios.shape import Channel as ChannelShape
from router.scenarios.shape import ScenarioShape

TWO_TONGUES = "This and channels say different things. Change one of the two."
ONE_CHANNEL = "{number} has a static channel already. Give each one a number of its own."
NOT_HERE = "{number} is not among this scenario's numbers. Name it in numbers as well."


def read_channels(
    shape: ScenarioShape, present: list[Channel], expected: Iterable[str], country: str, errors: dict[str, str]
) -> list[Channel]:
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
    given: list[Channel],
    static: dict[str, StaticSource],
    present: list[Channel],
    errors: dict[str, str],
) -> list[Channel]:
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


def _read_list(shapes: list[ChannelShape], country: str, errors: dict[str, str]) -> list[Channel]:
    channels: list[Channel] = []
    numbers: set[str] = set()
    for index, shape in enumerate(shapes):
        channel: Channel = {"match": _match(shape), "kind": shape.kind}
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

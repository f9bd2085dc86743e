"""Numbers without a plus that can be read in two ways: a file's plan shows both readings of each column, and asks.

The commands' option for numbers that can be read in two ways, and how a plan asks for it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import click

from router.lib.formats import format_count
from router.lib.phones import AmbiguousPhone, BadPhone, international, numbers_in, readings_of

Choice = Literal["international", "national"]
CHOICES: tuple[Choice, ...] = get_args(Choice)
MOST_SHOWN = 20


class BadChoice(ValueError):
    """A choice that there is not; the message is for the person who made it."""


@dataclass(frozen=True, slots=True)
class TwoReadings:
    """A number of a file that has two readings, E.164."""

    line: int
    text: str
    national: str
    international: str


@dataclass
class NumbersQuestion:
    """The numbers of one column that can be read in two ways; the first of them."""

    column: str
    count: int = 0
    examples: list[TwoReadings] = field(default_factory=list)

    def add(self, line: int, text: str, readings: tuple[str, ...]) -> None:
        self.count += 1
        if len(self.examples) < MOST_SHOWN:
            self.examples.append(TwoReadings(line, text, readings[0], readings[-1]))

    def say(self) -> str:
        """`3 numbers of the column caller can be read in two ways, like 436641234567: +43 664 1234567 or +49 43664 1234567.`"""
        first = self.examples[0]
        shown = f"{international(first.international)} or {international(first.national)}"
        return (
            f"{format_count(self.count, 'number')} of the column “{self.column}” can be read in two ways, "
            f"like {first.text} in line {first.line}: {shown}."
        )


class Questions(dict[str, NumbersQuestion]):
    """The questions of a file that are open, by column."""

    def ask(self, column: str, line: int, text: str, readings: tuple[str, ...]) -> None:
        self.setdefault(column, NumbersQuestion(column)).add(line, text, readings)


def read_choices(given: Mapping[str, str]) -> dict[str, Choice]:
    """Choices by column; the empty column stands for all.

    Raises:
        BadChoice: it is neither international nor national.
    """
    read: dict[str, Choice] = {}
    for column, text in given.items():
        match = next((one for one in CHOICES if one == text), None)
        if match is None:
            raise BadChoice(f"“{text[:40]}” is neither {' nor '.join(CHOICES)}.")
        read[column] = match
    return read


def read_file_phone(text: str, country: str, choice: Choice | None) -> str:
    """E.164 of a cell; a name beside the number does no harm.

    Raises:
        BadPhone: it is no number.
        AmbiguousPhone: it has two readings, and nobody chose one.
    """
    readings = readings_of(text, country)
    if not readings:
        beside = numbers_in(text, country)
        readings = tuple(beside) if len(beside) == 1 else ()
    if not readings:
        raise BadPhone(
            f"“{text[:40]}” is not a phone number. Write it with its country code, like +14155552671."
            if text
            else "it is empty."
        )
    if len(readings) == 1:
        return readings[0]
    if choice is None:
        raise AmbiguousPhone(text, readings)
    return readings[-1] if choice == "international" else readings[0]


def numbers_option(*columns: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """`--numbers [COLUMN=]international|national`, given to the command as choices by column; the empty column stands for all.

    Args:
        columns: those that hold numbers.
    """

    def read(context: click.Context, parameter: click.Parameter, given: tuple[str, ...]) -> dict[str, Choice]:
        pairs = [text.rpartition("=")[::2] for text in given]
        try:
            choices = read_choices({column.strip(): choice.strip() for column, choice in pairs})
        except BadChoice as error:
            raise click.BadParameter(str(error)) from None
        if unknown := [column for column in choices if column not in ("", *columns)]:
            raise click.BadParameter(f"“{unknown[0]}” is none of the columns {' and '.join(columns)}.")
        return choices

    return click.option(
        "--numbers",
        multiple=True,
        callback=read,
        metavar="[COLUMN=]international|national",
        help="How numbers without a plus are read that can be read in two ways. May be repeated, for one column each.",
    )


def say_number_questions(questions: Questions, options: Mapping[str, str] | None = None) -> None:
    """
    Args:
        options: what the option calls a column, where that is not its head.
    """
    for column, question in questions.items():
        name = (options or {}).get(column, column)
        click.echo(question.say(), err=True)
        for one in question.examples:
            both = f"{international(one.international)} or {international(one.national)}"
            click.echo(f"  line {one.line}: {one.text} is {both}", err=True)
        if question.count > len(question.examples):
            click.echo(f"  … and {question.count - len(question.examples):,} more.", err=True)
        click.echo(
            f"  Say --numbers {name}=international (they begin with a country code), or --numbers {name}=national.",
            err=True,
        )

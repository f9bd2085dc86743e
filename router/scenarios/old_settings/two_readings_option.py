"""The commands' option for numbers that can be read in two ways, and how a plan asks for it."""

from collections.abc import Callable, Mapping
from typing import Any

import click

from router.phones import international
from router.scenarios.old_settings.two_readings import BadChoice, Choice, Questions, read_choices


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

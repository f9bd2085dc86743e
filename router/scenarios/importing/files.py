"""Files that a person sent: kept sealed until he has looked at their plan, and the numbers in them that can be read in two ways. The plan,
or the command, shows both readings of each column and asks."""

import base64
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal, get_args

import click
from flask import Blueprint, redirect, request, url_for
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response

from router.accounts.sessions import require_person
from router.db import dialect_insert
from router.lib.crypto import KeyRing, SealBroken
from router.lib.formats import format_count
from router.lib.phones import AmbiguousPhone, BadPhone, international, numbers_in, readings_of
from router.server import current_server
from router.web.access import Audience, current_actor, current_project, guard

LONGEST_NAME = 120
KEPT_FOR = timedelta(days=7)
"""Callers' numbers are in these files: who does not come back sends his file again."""


@dataclass(frozen=True)
class KeptFile:
    name: str
    data: bytes
    choices: dict[str, Any]


def keep_file(session: Session, table: Any, name: str, data: bytes) -> None:
    """Replaces the file that this person sent before, and forgets what he said about it. Files of long ago are thrown away."""
    server = current_server()
    now = server.now()
    session.execute(delete(table).where(table.created_at < now - KEPT_FOR))
    sealed = server.keys.seal(base64.b64encode(zlib.compress(data)).decode())
    changed = {"name": name.replace("\0", "")[-LONGEST_NAME:], "sealed": sealed, "choices": {}, "created_at": now}
    mine = {"project_id": current_project().id, "person_id": current_actor().person_id}
    row = dialect_insert(session, table).values(mine | changed)
    session.execute(row.on_conflict_do_update(index_elements=list(mine), set_=changed))


def find_file(table: Any) -> KeptFile | None:
    """The file that this person sent last; None also when the key changed, so that it cannot be opened any more."""
    server = current_server()
    with server.database.reading() as session:
        kept = session.scalar(select(table).where(*_mine(table)))
    if kept is None:
        return None
    try:
        return KeptFile(kept.name, opened_file(server.keys, kept.sealed), kept.choices)
    except SealBroken:
        return None


def opened_file(keys: KeyRing, sealed: str) -> bytes:
    """
    Raises:
        SealBroken: the key changed.
    """
    packed = base64.b64decode(keys.unseal(sealed))
    try:
        return zlib.decompress(packed)
    except zlib.error:  # kept by a release that did not pack them
        return packed


def choose(session: Session, table: Any, choices: dict[str, Any]) -> None:
    session.execute(update(table).where(*_mine(table)).values(choices=choices))


def forget_file(session: Session, table: Any) -> None:
    session.execute(delete(table).where(*_mine(table)))


def pages_of_file(name: str, path: str, table: Any, most_bytes: int) -> Blueprint:
    """The pages of a file that people send. The form that sends it, the view `send`, may be larger than others; `forget` takes away what
    was sent."""
    pages = guard(Blueprint(name, __name__, url_prefix=path), Audience.PEOPLE, require_person)

    @pages.url_value_preprocessor
    def allow_a_file(endpoint: str | None, _: Any) -> None:
        """Runs before the hooks of requests, of which the CSRF check reads the form."""
        if endpoint == f"{name}.send":
            request.max_content_length = most_bytes

    @pages.post("/forget")
    def forget() -> Response:
        with current_server().database.writing() as session:
            forget_file(session, table)
        return redirect(url_for(f"{name}.show"))

    return pages


def _mine(table: Any) -> tuple[Any, Any]:
    return table.project_id == current_project().id, table.person_id == (current_actor().person_id or 0)


Choice = Literal["international", "national"]
CHOICES: tuple[Choice, ...] = get_args(Choice)
MOST_SHOWN = 20


class BadChoice(ValueError):
    """A reading that does not exist; the message is for the person who chose it."""


@dataclass(frozen=True, slots=True)
class TwoReadings:
    line: int
    text: str
    national: str
    international: str


@dataclass
class NumbersQuestion:
    """How many numbers of one column can be read in two ways, and the first of these numbers."""

    column: str
    count: int = 0
    examples: list[TwoReadings] = field(default_factory=list)

    def say(self) -> str:
        """`3 numbers of the column caller can be read in two ways, like 436641234567: +43 664 1234567 or +49 43664 1234567.`"""
        first = self.examples[0]
        shown = f"{international(first.international)} or {international(first.national)}"
        return (
            f"{format_count(self.count, 'number')} of the column “{self.column}” can be read in two ways, "
            f"like {first.text} in line {first.line}: {shown}."
        )


class Questions(dict[str, NumbersQuestion]):
    def ask(self, column: str, line: int, text: str, readings: tuple[str, ...]) -> None:
        question = self.setdefault(column, NumbersQuestion(column))
        question.count += 1
        if question.count <= MOST_SHOWN:
            question.examples.append(TwoReadings(line, text, readings[0], readings[-1]))


def read_choices(texts: Mapping[str, str]) -> dict[str, Choice]:
    """Choices by column; the empty column stands for all.

    Raises:
        BadChoice: it is neither international nor national.
    """
    read: dict[str, Choice] = {}
    for column, text in texts.items():
        if text not in CHOICES:
            raise BadChoice(f"“{text[:40]}” is neither {' nor '.join(CHOICES)}.")
        read[column] = text
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
        columns: the heads of columns with numbers.
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
        for example in question.examples:
            both = f"{international(example.international)} or {international(example.national)}"
            click.echo(f"  line {example.line}: {example.text} is {both}", err=True)
        if question.count > len(question.examples):
            click.echo(f"  … and {question.count - len(question.examples):,} more.", err=True)
        click.echo(
            f"  Say --numbers {name}=international (they begin with a country code), or --numbers {name}=national.",
            err=True,
        )
